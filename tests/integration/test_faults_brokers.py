"""Brokers restarted, lost, paused and cut off; topics that vanish or refuse."""

import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.administration import (
    create_topics,
    delete_topics,
    partition_leader,
    read_topic,
)
from tests.integration.auditor import Auditor
from tests.integration.conftest import ClusterFactory, Record, WorkerFactory
from tests.integration.faults import (
    assert_acknowledged_only_what_has_its_outcome,
    judge,
    make_output_unwritable,
    make_output_writable,
)
from tests.integration.traffic import Load, Platform, tracks
from tests.integration.worker import WorkerProcess

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.fault, pytest.mark.timeout(900)]

# After Kafka is back: clients reconnect, and the group comes together again after a session of 6 s.
RECOVERY_SECONDS = 10


def test_rolling_restart_and_loss_of_three_brokers_under_load(
    new_cluster: ClusterFactory, audio: Path, new_worker: WorkerFactory, record: Record
) -> None:
    cluster = new_cluster(brokers=3)
    bootstrap = cluster.bootstrap()
    platform = Platform(bootstrap, audio)
    catalogue = tracks(platform, 10)
    worker = new_worker(bootstrap).start()
    with Load(platform, catalogue, per_second=50, new_share=0.02):
        begun = time.time()
        for broker in cluster.brokers:
            broker.stop()
            broker.start()
            cluster.wait_ready()
        # And without a word: the leader of a partition in use, kill -9.
        before = partition_leader(bootstrap, "track-events", 0)
        leader = cluster.brokers[before - 1]
        leader.kill()
        time.sleep(8)
        after = partition_leader(bootstrap, "track-events", 0)
        assert after not in (before, -1), f"no other leader than {before} within 8 s"
        leader.start()
        cluster.wait_ready()
        ended = time.time()
        time.sleep(RECOVERY_SECONDS + 3)
    with Auditor(bootstrap) as auditor:
        verdict = auditor.settle(platform.entries, 120)
    note = f"3 restarts in order, 1 kill; the leader changed from {before} to {after}"
    judge(verdict, record, note, faults=[(begun, ended + RECOVERY_SECONDS)])
    assert worker.running and worker.status("/live") == 200, worker.tail()


def test_every_broker_gone_for_thirty_seconds_and_back(
    new_cluster: ClusterFactory, audio: Path, new_worker: WorkerFactory, record: Record
) -> None:
    cluster = new_cluster(brokers=3)
    platform = Platform(cluster.bootstrap(), audio)
    catalogue = tracks(platform, 10)
    worker = new_worker(cluster.bootstrap()).start()
    with Load(platform, catalogue, per_second=50, new_share=0.02):
        time.sleep(3)
        gone = time.time()
        for broker in cluster.brokers:
            broker.kill()
        time.sleep(30)
        for broker in cluster.brokers:
            broker.start()
        cluster.wait_ready()
        back = time.time()
        time.sleep(RECOVERY_SECONDS + 3)
    restarts = keep_running(worker)
    with Auditor(cluster.bootstrap()) as auditor:
        verdict = auditor.settle(platform.entries, 120)
    # Whatever came during the 30 s waited for them.
    note = f"three brokers, all killed, back after {back - gone:.0f} s; worker restarts {restarts}"
    judge(verdict, record, note, window=(gone, back), recovery_seconds=RECOVERY_SECONDS)
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
        paused = time.time()
        cluster.brokers[0].pause()
        time.sleep(20)
        cluster.brokers[0].resume()
        resumed = time.time()
        time.sleep(RECOVERY_SECONDS + 3)
    restarts = keep_running(worker)
    with Auditor(cluster.bootstrap()) as auditor:
        verdict = auditor.settle(platform.entries, 120)
    judge(verdict, record, f"worker restarts {restarts}", faults=[(paused, resumed + RECOVERY_SECONDS)])
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
        begun = time.time()
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
        ended = time.time()
        time.sleep(RECOVERY_SECONDS + 3)
    restarts = keep_running(worker)
    with Auditor(cluster.bootstrap()) as auditor:
        verdict = auditor.settle(platform.entries, 120)
    note = f"delay 8 s, silence 15 s, cut 15 s; worker restarts {restarts}"
    judge(verdict, record, note, faults=[(begun, ended + RECOVERY_SECONDS)])
    assert restarts == 0, worker.tail()


@pytest.mark.parametrize("topic", ["emotion-events", "track-analysis", "track-emotions"])
def test_topic_deleted_under_the_worker_acknowledges_nothing_without_its_outcome(
    bootstrap: str, platform: Platform, new_worker: WorkerFactory, record: Record, topic: str
) -> None:
    track = platform.track(0)
    worker = new_worker(bootstrap).start()
    platform.play(track)
    platform.flush()
    with Auditor(bootstrap) as auditor:
        assert auditor.settle(platform.entries, 60).balanced
    answered = platform.entries if topic == "emotion-events" else []  # gone with the topic, and read
    deleted = time.time()
    delete_topics(bootstrap, [topic])
    play_known_and_new(platform, track)
    trouble = await_trouble(worker)
    worker.kill(check=False)

    pending = [entry for entry in platform.entries if entry not in answered]
    unanswered = pending
    if topic != "emotion-events":
        with Auditor(bootstrap) as auditor:
            auditor.close_books(pending)
            unanswered = auditor.missing(pending)
    assert unanswered, "the fault did not bite"
    assert not read_topic(bootstrap, "track-events.dead-letter"), "a healthy event was blamed"
    assert_acknowledged_only_what_has_its_outcome(bootstrap, unanswered)

    create_topics(bootstrap, only=[topic])
    worker.start()
    window = deleted, time.time()
    with Auditor(bootstrap) as auditor:
        verdict = auditor.settle(pending, 90)
        assert not auditor.dead_letters
    judge(verdict, record, f"the worker {trouble}; {len(unanswered)} waited", window=window)


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
        assert auditor.settle(platform.entries, 60).balanced
        begun = make_output_unwritable(cluster, platform, track)
        time.sleep(15)
        auditor.close_books(platform.entries)
        unanswered = auditor.missing(platform.entries)
        assert len(unanswered) == 50, "the fault did not bite"
        handed_on = assert_acknowledged_only_what_has_its_outcome(bootstrap, unanswered)
        assert len(handed_on) == 25, "the known lane forwarded the new tracks, and acknowledged nothing else"
        assert "waiting for Kafka to acknowledge" in worker.log.read_text()
        make_output_writable(cluster)
        ended = time.time()
        restarts = keep_running(worker)
        verdict = auditor.settle(platform.entries, 90)
    note = f"15 s without in-sync replicas; worker restarts {restarts}"
    judge(verdict, record, note, faults=[(begun, ended + RECOVERY_SECONDS)])


def play_known_and_new(platform: Platform, track: str) -> None:
    """Play a known track and new ones in turns, 25 of each."""
    for number in range(50):
        platform.play(track if number % 2 else f"fresh-{number}", audio_uri=f"file://{platform.folder / track}.wav")
    platform.flush()


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
        # It may end between two questions: the next turn sees that.
        with suppress(OSError):
            if worker.status("/live") == 503 or worker.metric("emotion_produce_failures_total") > 0:
                return "waited, and said so"
        time.sleep(0.2)
    raise AssertionError(f"neither stopped nor said a word in {timeout_seconds:.0f} s:\n{worker.tail()}")
