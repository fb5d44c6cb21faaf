"""Workers killed, restarted, added and taken away while events flow."""

import os
import random
import signal
import time

import pytest

from tests.integration.administration import await_no_lag
from tests.integration.auditor import Auditor
from tests.integration.conftest import Record, WorkerFactory
from tests.integration.faults import await_metric, busiest_child, judge
from tests.integration.processes import open_descriptors
from tests.integration.traffic import Load, Platform, tracks

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.fault, pytest.mark.timeout(1200)]

BATCH, IN_FLIGHT = 200, 64


def test_kill_nine_of_two_workers_in_turn_ten_times(
    bootstrap: str, platform: Platform, auditor: Auditor, new_worker: WorkerFactory, record: Record
) -> None:
    catalogue = tracks(platform, 20)
    workers = [
        new_worker(bootstrap, f"worker-{n}", known_batch_events=BATCH, max_in_flight=IN_FLIGHT).start() for n in (0, 1)
    ]
    rng = random.Random(5)
    with Load(platform, catalogue, per_second=70, new_share=0.02, poison_share=0.02, limit=10_000) as load:
        for number in range(10):
            # Killed in the middle of work, at a moment that differs from kill to kill.
            time.sleep(rng.uniform(1, 4))
            victim = workers[number % 2]
            victim.kill()  # asserts that no process and no port outlives it
            victim.start()
        load.finish()
    verdict = auditor.wait(platform.entries, 120)
    await_no_lag(bootstrap)
    judge(verdict, record, "10 kills")
    assert verdict.inputs == 10_000
    assert verdict.duplicated <= 10 * (BATCH + IN_FLIGHT), verdict.line()


def test_rolling_restart_under_load_duplicates_nothing(
    bootstrap: str, platform: Platform, auditor: Auditor, new_worker: WorkerFactory, record: Record
) -> None:
    catalogue = tracks(platform, 20)
    # The session of production: who leaves in order must not be waited for until it ends.
    workers = [new_worker(bootstrap, f"worker-{n}", session_timeout_seconds=45).start() for n in (0, 1)]
    stops = []
    with Load(platform, catalogue, per_second=100, new_share=0.02, poison_share=0.02):
        for _ in range(2):
            for worker in workers:
                time.sleep(2)
                code, seconds = worker.terminate()
                assert code == 0, worker.tail()
                stops.append(seconds)
                worker.start()
        time.sleep(2)
    verdict = auditor.wait(platform.entries, 120)
    await_no_lag(bootstrap)
    judge(verdict, record, f"4 restarts, slowest stop {max(stops):.1f} s")
    assert verdict.duplicated == 0, verdict.line()
    assert max(stops) <= 10


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
    verdict = auditor.wait(platform.entries, 120)
    await_no_lag(bootstrap)
    judge(verdict, record, f"partitions at three: {shares}")
    assert sum(shares) == 4 and min(shares) >= 1
    assert verdict.duplicated == 0, verdict.line()


def test_pool_children_killed_in_the_middle_of_an_analysis(
    bootstrap: str, platform: Platform, auditor: Auditor, new_worker: WorkerFactory, record: Record
) -> None:
    long_piece = platform.track(0, seconds=30.0)
    worker = new_worker(bootstrap, pool_size=2).start()
    descriptors = open_descriptors(worker.pid)
    uri = f"file://{platform.folder / long_piece}.wav"
    for number in range(60):
        platform.play(f"fresh-{number}", audio_uri=uri)
    platform.flush()
    for kills in range(1, 7):
        started = worker.metric("emotion_analyses_started_total")
        os.kill(busiest_child(worker), signal.SIGKILL)
        await_metric(worker, "emotion_pool_restarts_total", kills, {"cause": "crash"})
        # The same track hit twice would rightly be given up: let others have their turn between two kills.
        await_metric(worker, "emotion_pool_processes", 2)
        await_metric(worker, "emotion_analyses_started_total", started + 3)
    verdict = auditor.wait(platform.entries, 120)
    await_no_lag(bootstrap)
    judge(verdict, record, "6 kills", p99_seconds=180)
    assert verdict.emotions == 60 and verdict.duplicated == 0, verdict.line()
    assert worker.status("/live") == 200
    assert open_descriptors(worker.pid) <= descriptors + 4


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
    verdict = auditor.wait(platform.entries, 60)
    killed = worker.metric("emotion_pool_restarts_total", {"cause": "timeout"})
    judge(verdict, record, f"{killed:.0f} child killed at its timeout")
    assert verdict.emotions == 20, verdict.line()
    assert killed == 1
