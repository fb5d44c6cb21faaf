"""Disks that are full: the broker's, the worker's own, its log's; and a Kafka that does not acknowledge in time."""

import http.server
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.integration.administration import await_no_lag, committed_offsets, set_topic_config
from tests.integration.auditor import Auditor
from tests.integration.conftest import ClusterFactory, Record, WorkerFactory
from tests.integration.disk import SmallDisk
from tests.integration.faults import judge
from tests.integration.impatient import GIVES_UP_SECONDS
from tests.integration.traffic import Load, Platform, tracks

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.fault, pytest.mark.timeout(600)]


def test_full_disk_of_the_broker_is_waited_for(
    new_cluster: ClusterFactory, audio: Path, new_worker: WorkerFactory, record: Record, tmp_path: Path
) -> None:
    with SmallDisk(tmp_path / "disk", megabytes=64) as disk:
        cluster = new_cluster(disk=disk.path)
        broker = cluster.brokers[0]
        platform = Platform(cluster.bootstrap(), audio)
        catalogue = tracks(platform, 10)
        worker = new_worker(cluster.bootstrap()).start()
        with Load(platform, catalogue, per_second=50, new_share=0.02):
            time.sleep(3)
            disk.fill()
            # A broker whose only disk takes nothing more gives up.
            broker.wait_exit(60)
            time.sleep(8)
            assert worker.running, worker.tail()
            disk.free()
            broker.start()
            cluster.wait_ready()
            time.sleep(3)
        with Auditor(cluster.bootstrap()) as auditor:
            verdict = auditor.wait(platform.entries, 120)
            judge(verdict, record, "the broker ended by itself and was started again with room", p99_seconds=90)
        await_no_lag(cluster.bootstrap())
        assert "Kafka error in the known lane" in worker.log.read_text()
        worker.kill(check=False)
        cluster.close()


def test_kafka_that_acknowledges_nothing_in_time_stops_the_worker(
    new_cluster: ClusterFactory, audio: Path, new_worker: WorkerFactory, record: Record
) -> None:
    cluster = new_cluster(brokers=3)
    bootstrap = cluster.bootstrap()
    platform = Platform(bootstrap, audio)
    track = platform.track(0)
    worker = new_worker(bootstrap)
    worker.module = "tests.integration.impatient"
    worker.start()
    with Auditor(bootstrap) as auditor:
        platform.play(track)
        platform.flush()
        assert auditor.wait(platform.entries, 60).balanced
        await_no_lag(bootstrap)
        set_topic_config(bootstrap, "emotion-events", "min.insync.replicas", "3")
        cluster.brokers[2].kill()
        cluster.await_in_sync("emotion-events", 2)
        for number in range(50):
            platform.play(track if number % 2 else f"fresh-{number}", audio_uri=f"file://{platform.folder / track}.wav")
        platform.flush()
        assert worker.wait_exit(60) == 1, worker.tail()
        log = worker.log.read_text()
        assert "waiting for Kafka to acknowledge" in log
        assert "Kafka did not take" in log
        auditor.close_books(platform.entries)
        assert_acknowledged_only_what_was_answered(bootstrap, platform, auditor)
        cluster.brokers[2].start()
        cluster.wait_ready()
        cluster.await_in_sync("emotion-events", 3)
        worker.start()
        verdict = auditor.wait(platform.entries, 90)
        judge(verdict, record, f"the worker stopped with status 1 after {GIVES_UP_SECONDS} s without acknowledgement")
    await_no_lag(bootstrap)


@pytest.fixture
def audio_server(audio: Path) -> Iterator[str]:
    """Serve the catalogue over HTTP; give its ``host:port``."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(audio)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join(10)


def test_full_disk_of_the_worker_stops_it_and_no_event_is_blamed(
    bootstrap: str,
    platform: Platform,
    auditor: Auditor,
    new_worker: WorkerFactory,
    audio_server: str,
    record: Record,
    tmp_path: Path,
) -> None:
    with SmallDisk(tmp_path / "scratch", megabytes=16) as disk:
        worker = new_worker(bootstrap, allowed_hosts=audio_server, allowed_private_hosts=audio_server)
        worker.environment["TMPDIR"] = str(disk.path)
        worker.start()
        uri = f"http://{audio_server}/{platform.track(0)}.wav"
        for number in range(5):
            platform.play(f"before-{number}", audio_uri=uri)
        platform.flush()
        assert auditor.wait(platform.entries, 60).balanced
        disk.fill()
        for number in range(20):
            platform.play(f"during-{number}", audio_uri=uri)
        platform.flush()
        assert worker.wait_exit(60) == 1, worker.tail()
        assert "No space left on device" in worker.log.read_text()
        auditor.close_books(platform.entries)
        assert len(auditor.emotions) == 5 and not auditor.dead_letters
        disk.free()
        worker.start()
        verdict = auditor.wait(platform.entries, 60)
        judge(verdict, record, "the worker stopped with status 1; started again with room")
        await_no_lag(bootstrap)
        assert worker.terminate()[0] == 0, worker.tail()


def test_full_disk_of_the_log_costs_nothing_but_the_log(
    bootstrap: str, platform: Platform, auditor: Auditor, new_worker: WorkerFactory, record: Record
) -> None:
    worker = new_worker(bootstrap)
    worker.log = Path("/dev/full")
    worker.start()
    platform.mix(tracks(platform, 5), 300, poison_share=0.1)
    platform.flush()
    verdict = auditor.wait(platform.entries, 60)
    judge(verdict, record, "every log line refused")
    await_no_lag(bootstrap)
    assert worker.terminate()[0] == 0


def assert_acknowledged_only_what_was_answered(bootstrap: str, platform: Platform, auditor: Auditor) -> None:
    """Hold the known lane's committed offsets against what the auditor has read."""
    places = committed_offsets(bootstrap, "emotion-stream-known", "track-events")
    forwarded = committed_offsets(bootstrap, "emotion-stream", "track-analysis")
    answered = {emotion.payload["source_event_id"] for emotion in auditor.emotions}
    waiting = [entry for entry in platform.entries if entry.event_id not in answered]
    assert waiting, "the fault did not bite"
    known = [entry for entry in waiting if not entry.track_id.startswith("fresh-")]
    assert all(entry.offset >= places[entry.partition] for entry in known), "acknowledged what nobody was told of"
    assert forwarded is not None
