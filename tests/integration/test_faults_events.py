"""Poison, servers that never end, and more work than there is time for."""

import gc
import http.server
import json
import os
import signal
import socket
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.bench.bulk import bulk_producer, end_offset
from tests.consumer.hostile import response, scripted
from tests.integration.administration import await_no_lag, lag, read_topic
from tests.integration.auditor import Auditor
from tests.integration.conftest import ClusterFactory, Record, WorkerFactory
from tests.integration.faults import assert_acknowledged_only_what_has_its_outcome, judge, until
from tests.integration.ledger import Entry
from tests.integration.memory import TouchedMemory
from tests.integration.pace import Pace
from tests.integration.processes import Host, is_alive, undisturbed
from tests.integration.stuck import STUCK_FILE
from tests.integration.traffic import POISON, SHORT_POISON, Load, Platform, Poison, tracks
from tests.integration.worker import WorkerProcess

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.fault, pytest.mark.timeout(900)]

MEGABYTE = 2**20
DOWNLOAD_SECONDS = 0.5
IDLE_SECONDS = 45
OVERLOAD_SECONDS = 120
LATE_SECONDS = 20
# Half a second of the known lane's work.
BACKLOG = 50_000
# The first ones warm the broker up: it compiles itself on the same cores.
WARM_UP_TURNS = 6
TURNS = 80


@pytest.mark.parametrize("shapes", [SHORT_POISON, POISON], ids=["short shapes", "every shape"])
def test_known_lane_alone_under_poison_in_five_percent_of_the_stream(
    new_cluster: ClusterFactory,
    audio: Path,
    new_worker: WorkerFactory,
    record: Record,
    shapes: Sequence[Poison],
) -> None:
    bootstrap = new_cluster(long_lived=True).bootstrap()
    platform = Platform(bootstrap, audio)
    catalogue = tracks(platform, 10)
    # A worker for each lane, as they are deployed.
    known = new_worker(bootstrap, "known", lanes="known", session_timeout_seconds=60).start()
    new = new_worker(bootstrap, "new", lanes="new").start()
    with Auditor(bootstrap) as auditor:
        platform.mix(catalogue, 200, poison_share=0.5, shapes=shapes)
        platform.flush()
        assert auditor.settle(platform.entries, 60).balanced
        platform.mix(catalogue, BACKLOG, poison_share=0.05, shapes=shapes)
        platform.flush()
        verdict = auditor.settle(platform.entries, 300)
        assert {letter.reason for letter in auditor.dead_letters} == {reason for reason, _ in shapes}
    # The audit is over: a consumer fetches ahead of what it is asked for, and would read along.
    new.terminate()
    backlogs = {
        name: list(platform.draw(catalogue, BACKLOG, poison_share=share, shapes=shapes))
        for name, share in (("without", 0.0), ("with", 0.05))
    }
    expected = {name: Counter(entry.expected for entry in backlog) for name, backlog in backlogs.items()}
    before = outcomes(bootstrap)
    turns: dict[str, list[_Turn]] = {name: [] for name in backlogs}
    with TouchedMemory() as memory, Pace() as pace:
        for number in range(WARM_UP_TURNS + TURNS):
            for name, backlog in backlogs.items():
                # Halted meanwhile, not ended: a start would be measured with it.
                _signal(known, signal.SIGSTOP)
                send_quickly(bootstrap, backlog)
                # The backlog goes to the disk now, not while it is worked off.
                os.sync()
                memory.give()
                turn = work_off(bootstrap, known, pace, expected[name]["emotion"])
                if number >= WARM_UP_TURNS:
                    turns[name].append(turn)
    await_no_lag(bootstrap, lanes=["known"])
    grown = outcomes(bootstrap) - before
    without, beside = (undisturbed(turns[name], lambda turn: turn.taken) for name in ("without", "with"))
    ratio = statistics.mean(turn.paced for turn in without) / statistics.mean(turn.paced for turn in beside)
    judge(
        verdict,
        record,
        f"then the known lane alone: {_told(without)} without poison, {_told(beside)} beside it: "
        f"{ratio:.3f} by the machine's pace, {_median_rate(beside) / _median_rate(without):.3f} by the clock",
    )
    # The same bytes again and again have their outcomes again and again; some poison only an analysis finds out.
    rounds = WARM_UP_TURNS + TURNS
    assert grown["emotion-events"] == rounds * sum(outcome["emotion"] for outcome in expected.values())
    assert grown["track-events.dead-letter"] + grown["track-analysis"] == rounds * expected["with"]["dead_letter"]
    assert ratio >= 0.9


class _Turn(NamedTuple):
    # Share of the processors.
    taken: float
    # Answers a second, and what one took in pieces of the pace's work.
    rate: float
    paced: float


def _median_rate(turns: Sequence[_Turn]) -> float:
    return statistics.median(turn.rate for turn in turns)


def _told(turns: Sequence[_Turn]) -> str:
    return f"{_median_rate(turns):,.0f} healthy events a second in {len(turns)} of {TURNS} turns"


def outcomes(bootstrap: str) -> Counter[str]:
    """Give how much the known lane ever wrote to each of its topics."""
    topics = ("emotion-events", "track-events.dead-letter", "track-analysis")
    return Counter({topic: end_offset(bootstrap, topic) for topic in topics})


def send_quickly(bootstrap: str, backlog: Sequence[Entry]) -> None:
    """Produce a backlog by a client that keeps no book."""
    producer = bulk_producer(bootstrap)
    for entry in backlog:
        producer.produce("track-events", entry.value, entry.track_id.encode())
    assert producer.flush(60) == 0


def work_off(bootstrap: str, known: WorkerProcess, pace: Pace, healthy: int) -> _Turn:
    """Let the halted known lane go on, wait until it is through, and give its rate from the first answers to the last.

    Nothing else runs: at full speed, poison that only an analysis finds out asks for some 900 analyses a second, and
    on the same cores they would be what is measured, as would an auditor that reads along.
    """
    before, host, mark = end_offset(bootstrap, "emotion-events"), Host(), pace.mark()
    begun = time.monotonic()
    _signal(known, signal.SIGCONT)
    first: tuple[float, int] | None = None
    while (done := end_offset(bootstrap, "emotion-events") - before) < healthy:
        now = time.monotonic()
        assert now - begun < 120, f"{done} of {healthy} answers"
        if first is None and done > healthy / 50:
            first = now, done
        time.sleep(0.01)
    ended = time.monotonic()
    taken = host.share()
    piece = pace.since(mark)
    until(known, lambda: not lag(bootstrap, lanes=["known"]), "the known lane is through", 120)
    assert first is not None, f"{healthy} answers came at once"
    rate = (healthy - first[1]) / (ended - first[0])
    return _Turn(taken, rate, 1 / rate / piece)


def _signal(worker: WorkerProcess, number: signal.Signals) -> None:
    assert worker.process is not None, "the worker is not started"
    worker.process.send_signal(number)


# What becomes of a download that never starts, one that drips, and one that never ends: reason and attempts.
STUCK_DOWNLOADS = {"silent": ("timeout", 2), "drip": ("timeout", 2), "endless": ("too_large", 1)}


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
                while not over.wait(0 if kind == "endless" else 0.2):
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
        max_audio_bytes=4 * MEGABYTE, fetch_timeout_seconds=1.5, analysis_timeout_seconds=5, max_attempts=2,
        retry_backoff_seconds=0.2,
    ).start()  # fmt: skip
    piece = platform.track(0)
    for number in range(4):
        for path, (reason, _) in STUCK_DOWNLOADS.items():
            uri = f"http://{hostile_server}/{path}/{number}.wav"
            platform.play(f"{path}-{number}", audio_uri=uri, expected="dead_letter", reason=reason)
    for number in range(40):
        platform.play(f"fresh-{number}", audio_uri=f"file://{platform.folder / piece}.wav")
    platform.flush()
    verdict = auditor.settle(platform.entries, 120)
    letters = dead_letters(bootstrap)
    answered = answered_at(bootstrap)
    last_answer, last_letter = max(answered.values()), max(letter.at for letter in letters)
    judge(
        verdict,
        record,
        f"12 stuck downloads, the last given up {last_letter - min(answered.values()):.1f} s after the first of 40 "
        f"other tracks was answered and {last_letter - last_answer:.1f} s after the last",
    )
    # The lane was never theirs alone: who came behind them was answered before they were through.
    assert len(answered) == 40 and last_answer < last_letter
    assert Counter((letter.kind, letter.reason, letter.attempts) for letter in letters) == {
        (path, reason, attempts): 4 for path, (reason, attempts) in STUCK_DOWNLOADS.items()
    }
    assert worker.metric("emotion_retries_total", {"reason": "timeout"}) == 8
    assert worker.metric("emotion_retries_total") == 8
    # The download is ended, not the process it ran in.
    assert worker.metric("emotion_pool_restarts_total") == 0


def test_stuck_decode_is_killed_tried_again_and_buried_while_others_go_on(
    bootstrap: str, platform: Platform, auditor: Auditor, new_worker: WorkerFactory, record: Record
) -> None:
    timeout, backoff, attempts, tracks_stuck = 3.0, 0.5, 3, 2
    worker = new_worker(
        bootstrap,
        pool_size=2,
        fetch_timeout_seconds=2,
        analysis_timeout_seconds=timeout,
        max_attempts=attempts,
        retry_backoff_seconds=backoff,
    )
    worker.module = "tests.integration.stuck"
    worker.start()
    piece = platform.folder / f"{platform.track(0)}.wav"
    stuck = piece.with_name(STUCK_FILE)
    stuck.write_bytes(piece.read_bytes())
    for number in range(tracks_stuck):
        platform.play(f"stuck-{number}", audio_uri=f"file://{stuck}", expected="dead_letter", reason="timeout")
    # Some at once behind the stuck ones, and others all along.
    for number in range(20):
        platform.play(f"fresh-{number}", audio_uri=f"file://{piece}")
    platform.flush()
    hopeless = [entry for entry in platform.entries if entry.expected == "dead_letter"]
    with Load(platform, [f"file://{piece}"], per_second=4, new_share=1.0):
        assert auditor.follow(hopeless, 120, until_missing=0) == 0
    verdict = auditor.settle(platform.entries, 120)
    letters = dead_letters(bootstrap)
    last = max(letter.at for letter in letters)
    before = sum(at < last for at in answered_at(bootstrap).values())
    killed = [line for line in worker.log_lines() if line["event"] == "analysis process replaced"]
    judge(
        verdict,
        record,
        f"{tracks_stuck} tracks on which the decoder hangs, {len(killed)} pool processes killed at {timeout:g} s; "
        f"{before} of {verdict.emotions} other tracks answered before the last of them was given up",
    )
    assert [(letter.reason, letter.attempts) for letter in letters] == [("timeout", attempts)] * tracks_stuck
    assert [line["cause"] for line in killed] == ["timeout"] * attempts * tracks_stuck
    assert not any(is_alive(int(line["pid"])) for line in killed)
    for cause, restarts in (("timeout", attempts * tracks_stuck), ("crash", 0)):
        assert worker.metric("emotion_pool_restarts_total", {"cause": cause}) == restarts
    assert worker.metric("emotion_analyses_timed_out_total") == attempts * tracks_stuck
    assert worker.metric("emotion_retries_total", {"reason": "timeout"}) == (attempts - 1) * tracks_stuck
    for number in range(tracks_stuck):
        failed = [
            datetime.fromisoformat(line["time"]).timestamp()
            for line in worker.log_lines()
            if line["event"] == "analysis failed, trying again" and line["track_id"] == f"stuck-{number}"
        ]
        assert len(failed) == attempts - 1
        # Between two failures lie the wait, longer each time, and the attempt itself.
        assert failed[1] - failed[0] >= backoff + timeout
    # Both processes hang at once, and each time both are started anew: the others wait for that, within the minute.
    assert before >= 20
    until(worker, lambda: worker.metric("emotion_pool_processes") == 2, "the pool is whole again")


class Letter(NamedTuple):
    """What a dead letter says: the kind of its track (all before the number), reason, attempts, and when it came."""

    kind: str
    reason: str
    attempts: int
    at: float


def dead_letters(bootstrap: str) -> list[Letter]:
    """Read every dead letter."""
    letters = []
    for message in read_topic(bootstrap, "track-events.dead-letter"):
        headers = dict(message.headers())
        kind = message.key().decode().rpartition("-")[0]
        reason, attempts = headers["error.reason"].decode(), int(headers["attempts"])
        letters.append(Letter(kind, reason, attempts, message.timestamp()[1] / 1000))
    return letters


def answered_at(bootstrap: str) -> dict[str, float]:
    """Give when each answer came into Kafka's log, by its input."""
    return {
        json.loads(message.value())["source_event_id"]: message.timestamp()[1] / 1000
        for message in read_topic(bootstrap, "emotion-events")
    }


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

    flooded = time.time()
    platform.mix(catalogue, 3_000, poison_share=0.3)
    platform.flush()
    assert worker.wait_exit(60) == 1, worker.tail()
    stopped = time.time()
    assert "EMOTION_DEAD_LETTER_LIMIT is 100" in worker.log.read_text()
    auditor.close_books(platform.entries)
    unanswered = auditor.missing(platform.entries)
    assert unanswered, "it stopped too late to stop anything"
    assert_acknowledged_only_what_has_its_outcome(bootstrap, unanswered)

    # Somebody has looked: the limit is lifted, and what waited has its outcome.
    second = new_worker(bootstrap, "second", dead_letter_limit=0).start()
    verdict = auditor.settle(platform.entries, 120)
    judge(
        verdict,
        record,
        f"stopped after {len(platform.entries) - len(unanswered)} outcomes, status 1; then unlimited",
        faults=[(flooded, stopped)],
    )
    assert second.running


@pytest.mark.parametrize("short_of", ["downloads", "processor"])
def test_overload_three_times_over_stays_bounded_and_catches_up(
    new_cluster: ClusterFactory, audio: Path, new_worker: WorkerFactory, record: Record, short_of: str
) -> None:
    bootstrap = new_cluster(long_lived=True).bootstrap()
    platform = Platform(bootstrap, audio)
    catalogue = tracks(platform, 5)
    piece = (platform.folder / platform.track(9, seconds=30.0)).with_suffix(".wav")
    body = response(piece.read_bytes())
    # Held up by slow downloads, one process leaves the processor to the brokers and the known lane. Held up by the
    # processor, the pool has a process on every core that those have to share with it, at its lower priority.
    pool_size = 1 if short_of == "downloads" else len(os.sched_getaffinity(0))

    def answer(connection: socket.socket, _: bytes) -> None:
        server.closing.wait(DOWNLOAD_SECONDS)
        connection.sendall(body)

    with scripted(answer) as server, Auditor(bootstrap, deadline_seconds=LATE_SECONDS) as auditor:
        host = f"127.0.0.1:{server.port}"
        uri = f"http://{host}/track.wav" if short_of == "downloads" else f"file://{piece}"
        worker = new_worker(
            bootstrap, pool_size=pool_size, deadline_seconds=LATE_SECONDS, analysis_timeout_seconds=10,
            allowed_hosts=host, allowed_private_hosts=host,
        ).start()  # fmt: skip
        platform.mix(catalogue, 100)
        for number in range(2 * pool_size):
            platform.play(f"warm-{number}", audio_uri=uri)
        platform.flush()
        assert auditor.wait(platform.entries, 60).balanced
        capacity = new_tracks_per_second(platform, auditor, uri, count=20 if short_of == "downloads" else 120)

        # What the book holds by now is not to hold up the clock that plays are stamped by.
        gc.collect()
        gc.freeze()
        idle = [time.time()]
        with Load(platform, catalogue, per_second=50):
            time.sleep(IDLE_SECONDS)
        idle.append(time.time())
        memory = Memory(worker)
        overload = [time.time()]
        with (
            Load(platform, catalogue, per_second=50),
            Load(platform, [uri], per_second=3 * capacity, new_share=1.0) as excess,
        ):
            memory.watch(OVERLOAD_SECONDS)
        overload.append(time.time())
        auditor.close_books(platform.entries)
        waiting = len(auditor.missing(platform.entries))

        # Nothing is made easier: what waits is heard at the rate that was too slow for it.
        begun, bound = time.monotonic(), 1.5 * waiting / capacity
        while auditor.follow(platform.entries, 2, until_missing=0):
            memory.take()
            assert time.monotonic() - begun < bound, f"of {waiting} that waited, not all were heard in {bound:.0f} s"
        recovery = time.monotonic() - begun
        # In real time again: a new track is answered as before the overload.
        platform.play("afterwards", audio_uri=uri)
        platform.flush()
        verdict = auditor.settle(platform.entries, 30)
        known = {name: known_p99(auditor, *window) for name, window in (("idle", idle), ("overloaded", overload))}
        note = (
            f"short of {short_of}: {excess.sent / OVERLOAD_SECONDS:.1f} new tracks a second where {capacity:.1f} can "
            f"be heard, for {OVERLOAD_SECONDS} s; memory {memory.growth / MEGABYTE:+.0f} MB at its highest; known p99 "
            f"of all answers {known['idle'] * 1000:.1f} ms idle, {known['overloaded'] * 1000:.1f} ms overloaded; the "
            f"{waiting} that waited took {recovery:.0f} s of {bound:.0f} s allowed"
        )
        judge(verdict, record, note, window=(overload[0], overload[1]), recovery_seconds=recovery)
    assert verdict.duplicated == 0, verdict.line()
    assert waiting >= capacity * OVERLOAD_SECONDS, "not an overload"
    assert verdict.late > 0, "not an overload"
    # By the broker's clock: the ledger holds the mark against the worker's own.
    unmarked = [e for e in auditor.emotions if e.latency_seconds > LATE_SECONDS + 2 and not e.payload["late"]]
    assert not unmarked, f"{len(unmarked)} late answers are not marked, such as {unmarked[0]}"
    assert not next(e for e in auditor.emotions if e.payload["track_id"] == "afterwards").payload["late"]
    assert memory.growth <= 100 * MEGABYTE
    assert known["overloaded"] <= 2 * known["idle"]


class Memory:
    """Watches the resident memory of a worker and its pool against what it was at first."""

    def __init__(self, worker: WorkerProcess) -> None:
        self._worker = worker
        self._first = worker.rss_bytes()
        self.growth = 0

    def watch(self, seconds: float) -> None:
        """Take a sample every two seconds."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            time.sleep(min(2.0, left))
            self.take()

    def take(self) -> None:
        """Take a sample."""
        self.growth = max(self.growth, self._worker.rss_bytes() - self._first)


def new_tracks_per_second(platform: Platform, auditor: Auditor, uri: str, *, count: int) -> float:
    """Give the rate at which new tracks are heard when nothing else is asked.

    The better of two: whatever else this machine does can only make it less, and three times too little is no overload.
    """
    rates = []
    for attempt in range(2):
        begun, read = time.time(), len(auditor.emotions)
        for number in range(count):
            platform.play(f"gauge-{attempt}-{number}", audio_uri=uri)
        platform.flush()
        assert auditor.follow(platform.entries, 120, until_missing=0) == 0
        times = [datetime.fromisoformat(emotion.payload["classified_at"]) for emotion in auditor.emotions[read:]]
        rates.append(count / (max(times).timestamp() - begun))
    return max(rates)


def known_p99(auditor: Auditor, begun: float, ended: float) -> float:
    """Give the known lane's p99 latency in seconds, of every play that occurred between two moments."""
    latencies = [
        emotion.latency_seconds
        for emotion in auditor.emotions
        if emotion.lane == "known"
        and begun <= datetime.fromisoformat(emotion.payload["occurred_at"]).timestamp() < ended
    ]
    return statistics.quantiles(latencies, n=100)[98]
