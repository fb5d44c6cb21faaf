"""Workers killed, restarted, added and taken away while events flow."""

import json
import os
import random
import signal
import socket
import time
from collections.abc import Iterable, Sequence

import pytest

from tests.bench.bulk import bulk_producer, read_one, send
from tests.consumer.hostile import response, scripted
from tests.integration.auditor import Auditor
from tests.integration.conftest import Record, WorkerFactory
from tests.integration.faults import await_metric, busiest_child, judge
from tests.integration.traffic import Load, Platform, tracks
from tests.integration.worker import WorkerProcess

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.fault, pytest.mark.timeout(1200)]

SEEDED_TRACKS, LUMP = 50_000, 5_000
# Long beside an analysis of 6 s of audio, short beside what a worker has to stop in.
SLOW_SECONDS = 2.0


def test_kill_nine_of_two_workers_in_turn_ten_times(
    bootstrap: str, platform: Platform, auditor: Auditor, new_worker: WorkerFactory, record: Record
) -> None:
    catalogue = tracks(platform, 20)
    workers = [new_worker(bootstrap, f"worker-{n}").start() for n in (0, 1)]
    rng = random.Random(5)
    kills = []
    # Slow enough for ten starts on a slow machine.
    with Load(platform, catalogue, per_second=40, new_share=0.02, poison_share=0.02, limit=10_000) as load:
        for number in range(10):
            # Killed in the middle of work, at a moment that differs from kill to kill.
            time.sleep(rng.uniform(1, 4))
            assert load.sent < load.limit, f"kill {number + 1} would come after the last event"
            victim = workers[number % 2]
            kills.append(time.time())
            victim.kill()  # asserts that no process and no port outlives it
            victim.start()
        load.finish()
    verdict = auditor.settle(platform.entries, 120)
    judge(verdict, record, "10 kills", faults=kills)
    assert verdict.inputs == 10_000


def test_rolling_restart_under_load_duplicates_nothing(
    bootstrap: str, platform: Platform, auditor: Auditor, new_worker: WorkerFactory, record: Record
) -> None:
    catalogue = tracks(platform, 20)
    body = response((platform.folder / catalogue[0]).with_suffix(".wav").read_bytes())

    def answer(connection: socket.socket, _: bytes) -> None:
        server.closing.wait(SLOW_SECONDS)
        connection.sendall(body)

    with scripted(answer) as server:
        host = f"127.0.0.1:{server.port}"
        # The session of production: who leaves in order must not be waited for until it ends. And two processes each:
        # a track that is slow to come is overtaken by those behind it, and must be finished before their answers count.
        workers = [
            new_worker(
                bootstrap, f"worker-{n}", session_timeout_seconds=45, pool_size=2, allowed_hosts=host,
                allowed_private_hosts=host,
            ).start()
            for n in (0, 1)
        ]  # fmt: skip
        stops, held = [], []
        with (
            Load(platform, catalogue, per_second=100, new_share=0.02, poison_share=0.02),
            Load(platform, [f"http://{host}/track.wav"], per_second=0.5, new_share=1.0),
        ):
            for _ in range(2):
                for worker in workers:
                    time.sleep(4)
                    await_metric(worker, "emotion_events_in_progress", 1, {"lane": "new"}, timeout_seconds=20)
                    held.append(worker.metric("emotion_events_in_progress", {"lane": "new"}))
                    code, seconds = worker.terminate()
                    assert code == 0, worker.tail()
                    stops.append(seconds)
                    worker.start()
            time.sleep(2)
        verdict = auditor.settle(platform.entries, 120)
    note = f"4 restarts with {', '.join(f'{events:.0f}' for events in held)} new tracks in hand, slowest stop"
    judge(verdict, record, f"{note} {max(stops):.1f} s")
    assert verdict.duplicated == 0, verdict.line()
    assert max(stops) <= 10
    assert max(held) > 0, "no worker had anything to finish"


def test_scale_out_to_three_workers_and_back_to_one(
    bootstrap: str, platform: Platform, auditor: Auditor, new_worker: WorkerFactory, record: Record
) -> None:
    catalogue = tracks(platform, 20)
    first = new_worker(bootstrap, "worker-0").start()
    with Load(platform, catalogue, per_second=100, new_share=0.02, poison_share=0.02):
        time.sleep(3)
        others = [new_worker(bootstrap, f"worker-{n}") for n in (1, 2)]
        for worker in others:
            worker.start(wait=False)
        for worker in others:
            worker.wait_ready()
        time.sleep(3)
        shares = [w.metric("emotion_partitions_assigned", {"lane": "known"}) for w in (first, *others)]
        for worker in others:
            assert worker.terminate()[0] == 0, worker.tail()
        time.sleep(3)
    verdict = auditor.settle(platform.entries, 120)
    judge(verdict, record, f"partitions at three: {shares}")
    assert sum(shares) == 4 and min(shares) >= 1
    assert verdict.duplicated == 0, verdict.line()


def test_rebalances_in_the_middle_of_batches_take_no_known_track_for_a_new_one(
    bootstrap: str, platform: Platform, auditor: Auditor, new_worker: WorkerFactory, record: Record
) -> None:
    catalogue = seed(bootstrap, platform, new_worker(bootstrap, "worker-0").start())
    workers = [new_worker(bootstrap, f"worker-{n}", session_timeout_seconds=30) for n in (1, 2, 3)]
    rng = random.Random(7)

    def lumps(seconds: float, ready: Sequence[WorkerProcess] = ()) -> None:
        """Let so many plays wait at once that batches are full, and again, for a time and until workers are ready."""
        until = time.monotonic() + seconds
        while time.monotonic() < until or any(worker.status("/ready") != 200 for worker in ready):
            assert time.monotonic() < until + 120, "not ready within two minutes"
            # Halted meanwhile: a worker answers faster than this test can play.
            halted = [worker for worker in workers if worker.running]
            for worker in halted:
                os.kill(worker.pid, signal.SIGSTOP)
            for _ in range(LUMP):
                number = rng.randrange(SEEDED_TRACKS)
                platform.play(f"seed-{number:05d}", audio_uri=catalogue)
            platform.flush()
            for worker in halted:
                os.kill(worker.pid, signal.SIGCONT)
            time.sleep(0.2)

    workers[0].start()
    restored = workers[0].metric("emotion_table_tracks")
    lumps(2)
    for worker in workers[1:]:
        worker.start(wait=False)
    lumps(3, ready=workers[1:])
    batches = mean_batch(workers)
    for worker in workers[1:]:
        lumps(1)
        assert worker.terminate()[0] == 0, worker.tail()
    lumps(2)
    verdict = auditor.settle(platform.entries, 120)
    judge(verdict, record, f"{restored:,.0f} tracks in the table; batches of {batches:.0f} events on average")
    assert verdict.duplicated == 0, verdict.line()
    assert restored == SEEDED_TRACKS + 1
    assert batches >= 50
    # Answered before its partition's table was complete, a play of these would have been taken for a new track's.
    new = [emotion.payload["track_id"] for emotion in auditor.emotions if not emotion.payload["known"]]
    assert new == [platform.track(0)]


def seed(bootstrap: str, platform: Platform, worker: WorkerProcess) -> str:
    """Make many tracks known by copies of one record, and stop the worker that judged it; give its audio's location."""
    track = platform.track(0)
    platform.play(track)
    platform.flush()
    with Auditor(bootstrap) as auditor:
        assert auditor.settle(platform.entries, 60).balanced
    assert worker.terminate()[0] == 0, worker.tail()
    template = json.dumps(read_one(bootstrap, "track-emotions") | {"track_id": "TRACK"})
    producer = bulk_producer(bootstrap)
    for number in range(SEEDED_TRACKS):
        name = f"seed-{number:05d}"
        send(producer, "track-emotions", template.replace("TRACK", name), name)
    producer.flush()
    return f"file://{platform.folder / track}.wav"


def mean_batch(workers: Iterable[WorkerProcess]) -> float:
    """Give the mean number of events in a batch of the known lane."""
    counts = [
        (worker.metric("emotion_events_consumed_total", {"lane": "known"}),
         worker.metric("emotion_stage_duration_seconds_count", {"stage": "produce"}))
        for worker in workers
    ]  # fmt: skip
    return sum(events for events, _ in counts) / sum(batches for _, batches in counts)


def test_pool_children_killed_in_the_middle_of_an_analysis(
    bootstrap: str, platform: Platform, auditor: Auditor, new_worker: WorkerFactory, record: Record
) -> None:
    long_piece = platform.track(0, seconds=30.0)
    worker = new_worker(bootstrap, pool_size=2).start()
    descriptors = worker.metric("process_open_fds")
    # A steady stream and no backlog: behind one, the tracks that were hit come last, and are hit again.
    with Load(platform, [f"file://{platform.folder / long_piece}.wav"], per_second=5, new_share=1.0):
        for kills in range(1, 7):
            started = worker.metric("emotion_analyses_started_total")
            os.kill(busiest_child(worker), signal.SIGKILL)
            await_metric(worker, "emotion_pool_restarts_total", kills, {"cause": "crash"})
            # The same track hit twice would rightly be given up: let others have their turn between two kills.
            await_metric(worker, "emotion_pool_processes", 2)
            await_metric(worker, "emotion_analyses_started_total", started + 3)
    verdict = auditor.settle(platform.entries, 120)
    judge(verdict, record, "6 kills")
    assert verdict.emotions == verdict.inputs and verdict.duplicated == 0, verdict.line()
    assert worker.status("/live") == 200
    assert worker.metric("process_open_fds") <= descriptors + 4


def test_stuck_child_is_killed_at_its_timeout_and_its_track_tried_again(
    bootstrap: str, platform: Platform, auditor: Auditor, new_worker: WorkerFactory, record: Record
) -> None:
    piece = platform.track(0, seconds=30.0)
    # Ten times what the analysis takes on an idle core: only the stopped process may run into it.
    worker = new_worker(bootstrap, pool_size=2, analysis_timeout_seconds=10).start()
    uri = f"file://{platform.folder / piece}.wav"
    for number in range(20):
        platform.play(f"fresh-{number}", audio_uri=uri)
    platform.flush()
    os.kill(busiest_child(worker), signal.SIGSTOP)
    verdict = auditor.settle(platform.entries, 60)
    killed = worker.metric("emotion_pool_restarts_total", {"cause": "timeout"})
    judge(verdict, record, f"{killed:.0f} child killed at its timeout")
    assert verdict.emotions == 20, verdict.line()
    assert killed == 1
