"""Poison, servers that never end, and more work than there is time for."""

import http.server
import json
import signal
import socket
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import pytest

from tests.consumer.hostile import response, scripted
from tests.integration.administration import await_no_lag, committed_offsets, lag, read_topic
from tests.integration.auditor import Auditor
from tests.integration.conftest import ClusterFactory, Record, WorkerFactory
from tests.integration.faults import judge, until
from tests.integration.traffic import POISON, Load, Platform, tracks
from tests.integration.worker import WorkerProcess

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.fault, pytest.mark.timeout(900)]

MEGABYTE = 2**20
DOWNLOAD_SECONDS = 0.5
# Seconds of the known lane's work: what it does in less than one says more of the moment than of poison.
BACKLOG = 150_000


def test_poison_of_every_shape_in_five_percent_of_the_stream(
    new_cluster: ClusterFactory, audio: Path, new_worker: WorkerFactory, record: Record
) -> None:
    bootstrap = new_cluster(long_lived=True).bootstrap()
    platform = Platform(bootstrap, audio)
    catalogue = tracks(platform, 10)
    # A worker for each lane, as they are deployed.
    known = new_worker(bootstrap, "known", lanes="known", session_timeout_seconds=60).start()
    new = new_worker(bootstrap, "new", lanes="new", session_timeout_seconds=60).start()
    with Auditor(bootstrap) as auditor:
        platform.mix(catalogue, 200, poison_share=0.5)
        platform.flush()
        assert auditor.wait(platform.entries, 60).balanced
        rates: dict[float, list[float]] = {0.0: [], 0.05: []}
        for share in (0.0, 0.05) * 3:
            rate = healthy_events_per_second(bootstrap, known, new, platform, auditor, catalogue, poison_share=share)
            rates[share].append(rate)
        healthy, spoiled = (statistics.median(rates[share]) for share in (0.0, 0.05))
        verdict = auditor.wait(platform.entries, 60)
        rounds = ", ".join(f"{one:,.0f} / {other:,.0f}" for one, other in zip(rates[0.05], rates[0.0], strict=True))
        judge(verdict, record, f"healthy events a second: {spoiled / healthy:.2f} of those without poison ({rounds})")
        assert {letter.reason for letter in auditor.dead_letters} == {reason for reason, _ in POISON}
        await_no_lag(bootstrap)
        assert spoiled >= 0.9 * healthy


def healthy_events_per_second(
    bootstrap: str,
    known: WorkerProcess,
    new: WorkerProcess,
    platform: Platform,
    auditor: Auditor,
    catalogue: list[str],
    *,
    poison_share: float,
) -> float:
    """Let a backlog wait for the known lane and give the rate of its answers between the first and the last.

    The workers are halted meanwhile, not ended: a start would be measured with it. The new lane goes on when the
    known one is through. At full speed, poison that only an analysis finds out asks for some 900 analyses a second,
    and on the same cores they would be what is measured, as would an auditor that reads along.
    """
    for worker in (known, new):
        _signal(worker, signal.SIGSTOP)
    platform.mix(catalogue, BACKLOG, poison_share=poison_share)
    platform.flush()
    read = len(auditor.emotions)
    _signal(known, signal.SIGCONT)
    until(known, lambda: not lag(bootstrap, lanes=["known"]), "the known lane is through", 120)
    _signal(new, signal.SIGCONT)
    await_no_lag(bootstrap, 120)
    assert auditor.follow(platform.entries, 120, until_missing=0) == 0
    times = [datetime.fromisoformat(emotion.payload["classified_at"]) for emotion in auditor.emotions[read:]]
    return len(times) / (max(times) - min(times)).total_seconds()


def _signal(worker: WorkerProcess, number: signal.Signals) -> None:
    assert worker.process is not None, "the worker is not started"
    worker.process.send_signal(number)


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


def test_flood_of_dead_letters_is_counted_and_above_the_limit_stops_the_worker(
    bootstrap: str, platform: Platform, auditor: Auditor, new_worker: WorkerFactory, record: Record
) -> None:
    catalogue = tracks(platform, 5)
    worker = new_worker(bootstrap, dead_letter_limit=100).start()
    platform.mix(catalogue, 200, poison_share=0.3)
    platform.flush()
    assert auditor.wait(platform.entries, 60).balanced
    # What the alert EmotionDeadLetterFlood is made of; so far the worker goes on.
    buried = len(auditor.dead_letters)
    assert worker.metric("emotion_events_dead_lettered_total") == buried > 0.05 * len(platform.entries)
    assert worker.running

    platform.mix(catalogue, 3_000, poison_share=0.3)
    platform.flush()
    assert worker.wait_exit(60) == 1, worker.tail()
    assert "EMOTION_DEAD_LETTER_LIMIT is 100" in worker.log.read_text()
    auditor.close_books(platform.entries)
    unanswered = auditor.missing(platform.entries)
    places = committed_offsets(bootstrap, "emotion-stream-known", "track-events")
    assert unanswered, "it stopped too late to stop anything"
    forwarded = {entry.event_id for entry in unanswered if entry.offset < places[entry.partition]}
    # Acknowledged by the known lane without an answer is only what it handed on to the new one.
    assert forwarded <= _waiting_in_analysis(bootstrap)

    # Somebody has looked: the limit is lifted, and what waited has its outcome.
    second = new_worker(bootstrap, "second", dead_letter_limit=0).start()
    verdict = auditor.wait(platform.entries, 120)
    judge(
        verdict, record, f"stopped after {len(platform.entries) - len(unanswered)} outcomes, status 1; then unlimited"
    )
    await_no_lag(bootstrap)
    assert second.running


def _waiting_in_analysis(bootstrap: str) -> set[str]:
    """Give the ids of events in ``track-analysis`` that nobody has acknowledged."""
    committed = committed_offsets(bootstrap, "emotion-stream", "track-analysis")
    waiting = (m for m in read_topic(bootstrap, "track-analysis") if m.offset() >= committed.get(m.partition(), 0))
    return {json.loads(message.value())["event_id"] for message in waiting}


def test_overload_three_times_over_stays_bounded_and_catches_up(
    bootstrap: str, platform: Platform, new_worker: WorkerFactory, record: Record
) -> None:
    catalogue = tracks(platform, 5)
    piece = (platform.folder / platform.track(9)).with_suffix(".wav").read_bytes()
    hurry = threading.Event()

    def answer(connection: socket.socket, _: bytes) -> None:
        hurry.wait(DOWNLOAD_SECONDS)
        connection.sendall(response(piece))

    # One process, held up by slow downloads and not by the processor: it is the new lane that has too much to do, not
    # the machine, which runs the brokers and the known lane as well.
    with scripted(answer) as server, Auditor(bootstrap, deadline_seconds=20) as auditor:
        host = f"127.0.0.1:{server.port}"
        uri = f"http://{host}/track.wav"
        worker = new_worker(
            bootstrap, pool_size=1, deadline_seconds=20, analysis_timeout_seconds=10,
            allowed_hosts=host, allowed_private_hosts=host,
        ).start()  # fmt: skip
        platform.mix(catalogue, 100)
        platform.play("warm", audio_uri=uri)
        platform.flush()
        assert auditor.wait(platform.entries, 60).balanced
        begun = time.monotonic()
        for number in range(10):
            platform.play(f"gauge-{number}", audio_uri=uri)
        platform.flush()
        auditor.follow(platform.entries, 60, until_missing=0)
        capacity = 10 / (time.monotonic() - begun)
        read = len(auditor.emotions)
        with Load(platform, catalogue, per_second=50):
            time.sleep(45)
        idle = known_p99(auditor, platform, since=read)
        read = len(auditor.emotions)
        before = worker.rss_bytes()
        with (
            Load(platform, catalogue, per_second=50),
            Load(platform, [uri], per_second=3 * capacity, new_share=1.0),
        ):
            time.sleep(120)
            after = worker.rss_bytes()
        loaded = known_p99(auditor, platform, since=read)
        waiting = auditor.follow(platform.entries, 0, until_missing=0)
        hurry.set()
        begun = time.monotonic()
        verdict = auditor.wait(platform.entries, 300)
        note = (
            f"{3 * capacity:.1f} new tracks a second where {capacity:.1f} can be heard, for 120 s; "
            f"memory {(after - before) / MEGABYTE:+.0f} MB; known p99 {idle * 1000:.0f} ms idle, "
            f"{loaded * 1000:.0f} ms overloaded; the {waiting} that waited took {time.monotonic() - begun:.0f} s"
        )
        judge(verdict, record, note, p99_seconds=600)
    await_no_lag(bootstrap)
    assert verdict.duplicated == 0, verdict.line()
    assert waiting >= capacity * 120, "not an overload"
    assert verdict.late > 0, "not an overload"
    assert after - before <= 100 * MEGABYTE
    assert loaded <= 2 * idle


def known_p99(auditor: Auditor, platform: Platform, *, since: int) -> float:
    """Give the known lane's p99 latency in seconds, of the answers after the first ``since``.

    The median of the p99 of every ten seconds: what else this machine does in one of them is not the lane's doing.
    """
    auditor.close_books(platform.entries)
    windows = defaultdict(list)
    for emotion in auditor.emotions[since:]:
        if emotion.lane == "known":
            occurred = datetime.fromisoformat(emotion.payload["occurred_at"]).timestamp()
            windows[occurred // 10].append(emotion.latency_seconds)
    whole = [latencies for latencies in windows.values() if len(latencies) >= 400]
    return statistics.median(statistics.quantiles(latencies, n=100)[98] for latencies in whole)
