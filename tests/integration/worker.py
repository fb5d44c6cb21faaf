"""A worker as an operator runs it: ``emotion-stream worker`` in a process of its own, told by the environment."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from prometheus_client.parser import text_string_to_metric_families

from tests.integration.processes import descendants, die_with_parent, free_port, port_is_free, rss_bytes, survivors

READY_SECONDS = 120.0
# A pool child dies with its parent by a signal from the kernel; this is for the kernel's own tidying.
ORPHAN_SECONDS = 5.0


class WorkerProcess:
    """One worker process; a context manager that leaves no process and no port behind.

    Parameters
    ----------
    bootstrap : str
        Brokers.
    directory : Path
        Where its log goes; ``audio`` below it is its default audio root.
    name : str
        Names the log.
    settings : str
        Further settings without their prefix, in lower case: ``pool_size="1"``.

    Attributes
    ----------
    module : str
        What ``python -m`` runs.
    environment : dict of str to str
        What the process is given.
    """

    def __init__(self, bootstrap: str, directory: Path, name: str = "worker", **settings: object) -> None:
        self.port = free_port()
        self.log = directory / f"{name}.log"
        self.module = "consumer"
        chosen = {
            "kafka_bootstrap_servers": bootstrap,
            "metrics_port": self.port,
            "audio_roots": directory / "audio",
            "pool_size": 1,
            # Kafka's shortest by our settings: a killed worker's partitions move on soon.
            "session_timeout_seconds": 6,
        } | settings
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("EMOTION_")}
        self.environment = inherited | {f"EMOTION_{key.upper()}": str(value) for key, value in chosen.items()}
        self.environment |= {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self if self.process is not None else self.start()

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.kill(check=False)

    @property
    def pid(self) -> int:
        """Process id of the worker itself."""
        assert self.process is not None, "the worker is not started"
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether the process has not ended."""
        return self.process is not None and self.process.poll() is None

    def start(self, *, wait: bool = True) -> Self:
        """Start the process and, by default, wait until it says it is ready."""
        assert not self.running, "the worker is started already"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self.module, "worker"],
                env=self.environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent,
            )  # fmt: skip
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, timeout_seconds: float = READY_SECONDS) -> None:
        """Wait until ``/ready`` answers 200."""
        deadline = time.monotonic() + timeout_seconds
        status = 0
        while time.monotonic() < deadline:
            if not self.running:
                raise AssertionError(f"the worker ended with {self.pid and self.exit_code()}:\n{self.tail()}")
            status = self.status("/ready")
            if status == 200:
                return
            time.sleep(0.05)
        raise AssertionError(f"/ready said {status} for {timeout_seconds:.0f} s:\n{self.tail()}")

    def status(self, path: str) -> int:
        """Give the HTTP status of ``path``, 0 where nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except OSError:
            return 0

    def metrics_text(self) -> str:
        """Read ``/metrics`` as Prometheus does."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            return str(answer.read().decode())

    def metrics(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Read ``/metrics``: sample name and sorted labels to value."""
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(self.metrics_text())
            for sample in family.samples
        }

    def metric(self, name: str, labels: Mapping[str, str] | None = None) -> float:
        """Sum every sample of ``name`` whose labels include the given ones."""
        wanted = set((labels or {}).items())
        return sum(
            value for (sample, found), value in self.metrics().items() if sample == name and wanted <= set(found)
        )

    def children(self) -> list[int]:
        """List the processes below the worker."""
        return descendants(self.pid)

    def rss_bytes(self) -> int:
        """Give the resident memory of the worker and everything below it."""
        return sum(rss_bytes(pid) for pid in [self.pid, *self.children()])

    def kill(self, *, check: bool = True) -> None:
        """Kill -9 the worker alone, and see that everything below it ends and its port comes free."""
        self._end(signal.SIGKILL, 10.0, check=check)

    def terminate(self, timeout_seconds: float = 15.0) -> tuple[int, float]:
        """Ask the worker to stop (SIGTERM); give its exit code and the seconds it took."""
        begun = time.monotonic()
        self._end(signal.SIGTERM, timeout_seconds, check=True)
        return self.exit_code(), time.monotonic() - begun

    def wait_exit(self, timeout_seconds: float) -> int:
        """Wait until the worker ends of itself; give its exit code."""
        assert self.process is not None, "the worker is not started"
        return self.process.wait(timeout_seconds)

    def exit_code(self) -> int:
        """Give the code the worker ended with."""
        assert self.process is not None and self.process.returncode is not None, "the worker has not ended"
        return self.process.returncode

    def tail(self, characters: int = 3000) -> str:
        """Give the end of the log."""
        # Not every log can be read back: a test may send it to /dev/full.
        return self.log.read_text(errors="replace")[-characters:] if self.log.is_file() else f"{self.log}"

    def log_lines(self) -> list[dict[str, Any]]:
        """Give the log's entries; what a library wrote past the log is left out."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def _end(self, how: signal.Signals, timeout_seconds: float, *, check: bool) -> None:
        assert self.process is not None, "the worker is not started"
        family = self.children()
        self.process.send_signal(how)
        try:
            self.process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            for pid in [*self.children(), self.pid]:
                os.kill(pid, signal.SIGKILL)
            self.process.wait(10)
            if check:
                raise AssertionError(
                    f"still running {timeout_seconds:.0f} s after {how.name}:\n{self.tail()}"
                ) from None
        orphans = survivors(family, ORPHAN_SECONDS)
        for pid in orphans:
            os.kill(pid, signal.SIGKILL)
        if check:
            assert not orphans, f"processes {orphans} outlived their worker"
            assert port_is_free(self.port), f"port {self.port} is still held"
