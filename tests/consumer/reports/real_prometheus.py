"""A real Prometheus over samples written beforehand: promtool makes the blocks, the server only answers."""

import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from urllib.error import URLError

import pytest

# None where nothing was scraped.
Samples = Mapping[str, Callable[[float], float | None]]


@contextmanager
def prometheus_over(samples: Samples, folder: Path, start: datetime, until: datetime, step: timedelta) -> Iterator[str]:
    """Serve series, each a function of the days since ``start``, and give the server's URL."""
    for program in ("prometheus", "promtool"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}, from Debian's package prometheus")
    text, data = folder / "samples.txt", folder / "data"
    with text.open("w") as file:
        for series, value in samples.items():
            for number in range(int((until - start) / step) + 1):
                moment, sample = start + number * step, value(number * step / timedelta(days=1))
                if sample is not None:
                    file.write(f"{series} {sample} {moment.timestamp():.0f}\n")
        file.write("# EOF\n")
    made = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=2400h", str(text), str(data)]
    subprocess.run(made, check=True, capture_output=True, timeout=200)
    config = folder / "prometheus.yml"
    config.write_text("global: {}\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    options = [f"--config.file={config}", f"--storage.tsdb.path={data}", "--storage.tsdb.retention.time=100y"]
    with (folder / "prometheus.log").open("w") as log:
        server = subprocess.Popen(["prometheus", *options, f"--web.listen-address={address}"], stdout=log, stderr=log)
    try:
        _await_ready(f"http://{address}/-/ready", server, folder / "prometheus.log")
        yield f"http://{address}"
    finally:
        server.terminate()
        server.wait(timeout=60)


def _await_ready(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - our own server on loopback
                if response.status == 200:
                    return
        except (URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    raise AssertionError(f"Prometheus was not ready: {log.read_text()}")
