"""Brokers restarted, lost, paused and cut off; topics that vanish or refuse."""

import time
from pathlib import Path

import pytest

from tests.integration.administration import (
    await_no_lag,
    committed_offsets,
    create_topics,
    delete_topics,
    partition_leader,
    set_topic_config,
)
from tests.integration.auditor import Auditor
from tests.integration.conftest import ClusterFactory, Record, WorkerFactory
from tests.integration.faults import judge
from tests.integration.traffic import Load, Platform, tracks
from tests.integration.worker import WorkerProcess

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.fault, pytest.mark.timeout(900)]


def test_rolling_restart_and_loss_of_three_brokers_under_load(
    new_cluster: ClusterFactory, audio: Path, new_worker: WorkerFactory, record: Record
) -> None:
    cluster = new_cluster(brokers=3)
    bootstrap = cluster.bootstrap()
    platform = Platform(bootstrap, audio)
    catalogue = tracks(platform, 10)
    worker = new_worker(bootstrap).start()
    with Load(platform, catalogue, per_second=50, new_share=0.02):
        for broker in cluster.brokers:
            broker.stop()
            broker.start()
            cluster.wait_ready()
        # And without a word: the leader of a partition in use, kill -9.
        leader = cluster.brokers[partition_leader(bootstrap, "track-events", 0) - 1]
        leader.kill()
        time.sleep(8)
        leader.start()
        cluster.wait_ready()
    with Auditor(bootstrap) as auditor:
        verdict = auditor.wait(platform.entries, 120)
        judge(verdict, record, "3 restarts in order, 1 kill")
    await_no_lag(bootstrap)
    assert worker.status("/live") == 200, worker.tail()


def test_every_broker_gone_for_thirty_seconds_and_back(
    new_cluster: ClusterFactory, audio: Path, new_worker: WorkerFactory, record: Record
) -> None:
    cluster = new_cluster()
    platform = Platform(cluster.bootstrap(), audio)
    catalogue = tracks(platform, 10)
    worker = new_worker(cluster.bootstrap()).start()
    with Load(platform, catalogue, per_second=50, new_share=0.02):
        time.sleep(3)
        cluster.brokers[0].stop()
        time.sleep(30)
        cluster.brokers[0].start()
        cluster.wait_ready()
        time.sleep(3)
    restarts = keep_running(worker)
    with Auditor(cluster.bootstrap()) as auditor:
        verdict = auditor.wait(platform.entries, 120)
        # Whatever came during the 30 s waited for them.
        judge(verdict, record, f"worker restarts {restarts}", p99_seconds=90)
    await_no_lag(cluster.bootstrap())
    assert restarts == 0, worker.tail()


def test_paused_broker_is_waited_for(
    new_cluster: ClusterFactory, audio: Path, new_worker: WorkerFactory, record: Record
) -> None:
    cluster = new_cluster()
    platform = Platform(cluster.bootstrap(), audio)
    catalogue = tracks(platform, 10)
    worker = new_worker(cluster.bootstrap()).start()
    with Load(platform, catalogue, per_second=50, new_share=0.02):
        time.sleep(3)
        cluster.brokers[0].pause()
        time.sleep(20)
        cluster.brokers[0].resume()
        time.sleep(5)
    restarts = keep_running(worker)
    with Auditor(cluster.bootstrap()) as auditor:
        verdict = auditor.wait(platform.entries, 120)
        judge(verdict, record, f"worker restarts {restarts}")
    await_no_lag(cluster.bootstrap())
    assert restarts == 0, worker.tail()


def test_network_delayed_frozen_and_cut_between_worker_and_broker(
    new_cluster: ClusterFactory, audio: Path, new_worker: WorkerFactory, record: Record
) -> None:
    cluster = new_cluster(proxied=True)
    proxy = cluster.brokers[0].proxy
    assert proxy is not None
    platform = Platform(cluster.bootstrap(), audio)
    catalogue = tracks(platform, 10)
    worker = new_worker(cluster.bootstrap("PROXIED")).start()
    with Load(platform, catalogue, per_second=50, new_share=0.02):
        time.sleep(2)
        proxy.delay_seconds = 0.2
        time.sleep(8)
        proxy.restore()
        proxy.freeze()
        time.sleep(15)
        proxy.restore()
        time.sleep(3)
        proxy.cut()
        time.sleep(15)
        proxy.restore()
        time.sleep(3)
    restarts = keep_running(worker)
    with Auditor(cluster.bootstrap()) as auditor:
        verdict = auditor.wait(platform.entries, 120)
        judge(verdict, record, f"delay 8 s, silence 15 s, cut 15 s; worker restarts {restarts}")
    await_no_lag(cluster.bootstrap())


def test_output_topic_deleted_under_the_worker_acknowledges_nothing(
    bootstrap: str, platform: Platform, auditor: Auditor, new_worker: WorkerFactory, record: Record
) -> None:
    track = platform.track(0)
    worker = new_worker(bootstrap).start()
    platform.play(track)
    platform.flush()
    assert auditor.wait(platform.entries, 60).balanced
    await_no_lag(bootstrap)
    before = committed_offsets(bootstrap, "emotion-stream-known", "track-events")
    delete_topics(bootstrap, ["emotion-events"])
    answered = set(platform.book)
    for number in range(50):
        platform.play(track if number % 2 else f"fresh-{number}", audio_uri=f"file://{platform.folder / track}.wav")
    platform.flush()
    trouble = await_trouble(worker)
    places = committed_offsets(bootstrap, "emotion-stream-known", "track-events")
    known = [entry for entry in platform.entries if entry.track_id == track and entry.event_id not in answered]
    assert places[known[0].partition] == before[known[0].partition], "acknowledged an event nobody was told of"

    worker.kill(check=False)
    delete_topics(bootstrap, ["track-events.dead-letter"])  # it may hold nothing: nothing was poison
    create_outputs(bootstrap)
    worker.start()
    with Auditor(bootstrap) as fresh:
        pending = [entry for entry in platform.entries if entry.event_id not in answered]
        verdict = fresh.wait(pending, 90)
        judge(verdict, record, f"the worker {trouble}", p99_seconds=120)
        assert not fresh.dead_letters
    await_no_lag(bootstrap)


def test_unwritable_output_is_waited_for_loudly(
    new_cluster: ClusterFactory, audio: Path, new_worker: WorkerFactory, record: Record
) -> None:
    cluster = new_cluster(brokers=3)
    bootstrap = cluster.bootstrap()
    platform = Platform(bootstrap, audio)
    track = platform.track(0)
    worker = new_worker(bootstrap).start()
    with Auditor(bootstrap) as auditor:
        platform.play(track)
        platform.flush()
        assert auditor.wait(platform.entries, 60).balanced
        # One topic wants more replicas than there are now: NOT_ENOUGH_REPLICAS, what a broker also says whose
        # followers' disks are full. Everything else can be written.
        set_topic_config(bootstrap, "emotion-events", "min.insync.replicas", "3")
        cluster.brokers[2].kill()
        cluster.await_in_sync("emotion-events", 2)
        for number in range(50):
            platform.play(track if number % 2 else f"fresh-{number}", audio_uri=f"file://{platform.folder / track}.wav")
        platform.flush()
        time.sleep(15)
        places = committed_offsets(bootstrap, "emotion-stream-known", "track-events")
        auditor.close_books(platform.entries)
        answered = {emotion.payload["source_event_id"] for emotion in auditor.emotions}
        known = [entry for entry in platform.entries if entry.track_id == track]
        assert len([entry for entry in known if entry.event_id not in answered]) == 25, "the fault did not bite"
        assert all(entry.event_id in answered for entry in known if entry.offset < places[entry.partition]), (
            "acknowledged an event nobody was told of"
        )
        assert "waiting for Kafka to acknowledge" in worker.log.read_text()
        cluster.brokers[2].start()
        cluster.wait_ready()
        cluster.await_in_sync("emotion-events", 3)
        restarts = keep_running(worker)
        verdict = auditor.wait(platform.entries, 90)
        judge(verdict, record, f"15 s without in-sync replicas; worker restarts {restarts}")
    await_no_lag(bootstrap)


def keep_running(worker: WorkerProcess) -> int:
    """Do what an orchestrator does: start the worker again if it ended; it must have ended on purpose."""
    time.sleep(1)
    if worker.running:
        return 0
    assert worker.exit_code() > 0, f"ended with {worker.exit_code()}:\n{worker.tail()}"
    worker.start()
    return 1


def await_trouble(worker: WorkerProcess, timeout_seconds: float = 60.0) -> str:
    """Wait until the worker stops or says aloud that it cannot go on; tell which."""
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        if not worker.running:
            assert worker.exit_code() != 0, "stopped as if all were well"
            return f"stopped with exit code {worker.exit_code()}"
        if worker.status("/live") == 503 or worker.metric("emotion_produce_failures_total") > 0:
            return "waited, and said so"
        time.sleep(0.2)
    raise AssertionError(f"neither stopped nor said a word in {timeout_seconds:.0f} s:\n{worker.tail()}")


def create_outputs(bootstrap: str) -> None:
    """Create the output topics anew, leaving the inputs."""
    create_topics(bootstrap, only=("emotion-events", "track-events.dead-letter"))
