"""Poison, servers that never end, and more work than there is time for."""

import http.server
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime

import pytest

from tests.integration.administration import await_no_lag
from tests.integration.auditor import Auditor
from tests.integration.conftest import Record, WorkerFactory
from tests.integration.faults import judge
from tests.integration.traffic import POISON, Load, Platform, tracks
from tests.integration.worker import WorkerProcess

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.fault, pytest.mark.timeout(900)]

MEGABYTE = 2**20


def test_poison_of_every_shape_in_five_percent_of_the_stream(
    bootstrap: str, platform: Platform, auditor: Auditor, new_worker: WorkerFactory, record: Record
) -> None:
    catalogue = tracks(platform, 10)
    worker = new_worker(bootstrap).start()
    platform.mix(catalogue, 200)
    platform.flush()
    assert auditor.wait(platform.entries, 60).balanced
    rates: dict[float, list[float]] = {0.0: [], 0.05: []}
    for share in (0.0, 0.05) * 3:
        rates[share].append(healthy_events_per_second(worker, platform, auditor, catalogue, poison_share=share))
    healthy, spoiled = (statistics.median(rates[share]) for share in (0.0, 0.05))
    verdict = auditor.wait(platform.entries, 60)
    judge(verdict, record, f"healthy events a second: {spoiled / healthy:.2f} of those without poison")
    assert {letter.reason for letter in auditor.dead_letters} == {reason for reason, _ in POISON}
    await_no_lag(bootstrap)
    assert spoiled >= 0.9 * healthy


def healthy_events_per_second(
    worker: WorkerProcess, platform: Platform, auditor: Auditor, catalogue: list[str], *, poison_share: float
) -> float:
    """Let a backlog wait for the worker and give the rate of its answers between the first and the last."""
    assert worker.terminate()[0] == 0, worker.tail()
    platform.mix(catalogue, 30_000, poison_share=poison_share)
    platform.flush()
    read = len(auditor.emotions)
    worker.start()
    assert auditor.follow(platform.entries, 120, until_missing=0) == 0
    times = [datetime.fromisoformat(emotion.payload["classified_at"]) for emotion in auditor.emotions[read:]]
    return len(times) / (max(times) - min(times)).total_seconds()


@pytest.fixture
def hostile_server() -> Iterator[str]:
    """Serve downloads that never start, never hurry or never end; give its ``host:port``."""
    over = threading.Event()

    class Hostile(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind = self.path.split("/")[1]
            with suppress(OSError):
                if kind != "silent":
                    self.send_response(200)
                    self.send_header("Content-Type", "audio/wav")
                    self.end_headers()
                while not over.wait(0.2):
                    if kind != "silent":
                        self.wfile.write(b"R" * (1 if kind == "drip" else MEGABYTE))

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    over.set()
    server.shutdown()
    server.server_close()
    thread.join(10)


def test_endless_and_silent_servers_are_given_up_while_others_go_on(
    bootstrap: str,
    platform: Platform,
    auditor: Auditor,
    new_worker: WorkerFactory,
    hostile_server: str,
    record: Record,
) -> None:
    worker = new_worker(
        bootstrap, pool_size=2, allowed_private_hosts=hostile_server, allowed_hosts=hostile_server,
        fetch_timeout_seconds=1.5, analysis_timeout_seconds=3, max_attempts=2, retry_backoff_seconds=0.2,
    ).start()  # fmt: skip
    piece = platform.track(0)
    for number in range(4):
        for path in ("silent", "drip", "endless"):
            uri = f"http://{hostile_server}/{path}/{number}.wav"
            platform.play(f"{path}-{number}", audio_uri=uri, expected="dead_letter")
    for number in range(40):
        platform.play(f"fresh-{number}", audio_uri=f"file://{platform.folder / piece}.wav")
    platform.flush()
    verdict = auditor.wait(platform.entries, 120)
    retries = worker.metric("emotion_retries_total")
    judge(verdict, record, f"{retries:.0f} retries of 12 stuck downloads")
    assert {letter.reason for letter in auditor.dead_letters} <= {"timeout", "unavailable", "too_large"}
    assert retries == 12
    await_no_lag(bootstrap)


def test_overload_three_times_over_stays_bounded_and_catches_up(
    bootstrap: str, platform: Platform, new_worker: WorkerFactory, record: Record
) -> None:
    catalogue = tracks(platform, 5)
    piece = platform.track(9, seconds=30.0)
    worker = new_worker(bootstrap, deadline_seconds=20, analysis_timeout_seconds=10).start()
    with Auditor(bootstrap, deadline_seconds=20) as auditor:
        platform.mix(catalogue, 100)
        for number in range(20):
            platform.play(f"warm-{number}", audio_uri=f"file://{platform.folder / piece}.wav")
        platform.flush()
        assert auditor.wait(platform.entries, 60).balanced
        # Capacity of this machine now: one process, back to back.
        begun = time.monotonic()
        for number in range(30):
            platform.play(f"gauge-{number}", audio_uri=f"file://{platform.folder / piece}.wav")
        platform.flush()
        auditor.follow(platform.entries, 60, until_missing=0)
        capacity = 30 / (time.monotonic() - begun)
        read = len(auditor.emotions)
        with Load(platform, catalogue, per_second=50):
            time.sleep(20)
        idle = known_p99(auditor, platform, since=read)
        read = len(auditor.emotions)
        before = worker.rss_bytes()
        with (
            Load(platform, catalogue, per_second=50),
            Load(platform, [piece], per_second=3 * capacity, new_share=1.0),
        ):
            time.sleep(120)
            after = worker.rss_bytes()
        loaded = known_p99(auditor, platform, since=read)
        verdict = auditor.wait(platform.entries, 400)
        note = (
            f"{3 * capacity:.1f} new tracks a second for 120 s; memory {(after - before) / MEGABYTE:+.0f} MB; "
            f"known p99 {idle * 1000:.0f} ms idle, {loaded * 1000:.0f} ms overloaded"
        )
        judge(verdict, record, note, p99_seconds=600)
    await_no_lag(bootstrap)
    assert verdict.late > 0, "not an overload"
    assert after - before <= 100 * MEGABYTE
    assert loaded <= 2 * idle


def known_p99(auditor: Auditor, platform: Platform, *, since: int) -> float:
    """Give the known lane's p99 latency in seconds, of the answers after the first ``since``."""
    auditor.close_books(platform.entries)
    latencies = [emotion.latency_seconds for emotion in auditor.emotions[since:] if emotion.lane == "known"]
    return statistics.quantiles(latencies, n=100)[98]
