"""Disks that are full: the broker's, the worker's own, its log's; and a Kafka that does not acknowledge in time."""

import http.server
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.integration.auditor import Auditor
from tests.integration.conftest import ClusterFactory, Record, WorkerFactory
from tests.integration.disk import SmallDisk
from tests.integration.faults import (
    assert_acknowledged_only_what_has_its_outcome,
    judge,
    make_output_unwritable,
    make_output_writable,
)
from tests.integration.impatient import GIVES_UP_SECONDS
from tests.integration.traffic import Load, Platform, tracks

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.fault, pytest.mark.timeout(600)]

# After Kafka is back: clients reconnect, and the group comes together again after a session of 6 s.
RECOVERY_SECONDS = 10


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
            filled = time.time()
            disk.fill()
            # A broker whose only disk takes nothing more gives up.
            broker.wait_exit(60)
            time.sleep(8)
            assert worker.running, worker.tail()
            disk.free()
            broker.start()
            cluster.wait_ready()
            back = time.time()
            time.sleep(RECOVERY_SECONDS + 3)
        with Auditor(cluster.bootstrap()) as auditor:
            verdict = auditor.settle(platform.entries, 120)
        note = "the broker ended by itself and was started again with room"
        judge(verdict, record, note, window=(filled, back), recovery_seconds=RECOVERY_SECONDS)
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
        assert auditor.settle(platform.entries, 60).balanced
        begun = make_output_unwritable(cluster, platform, track)
        assert worker.wait_exit(60) == 1, worker.tail()
        log = worker.log.read_text()
        assert "waiting for Kafka to acknowledge" in log
        assert "Kafka did not take" in log
        auditor.close_books(platform.entries)
        unanswered = auditor.missing(platform.entries)
        assert len(unanswered) == 50, "the fault did not bite"
        assert len(assert_acknowledged_only_what_has_its_outcome(bootstrap, unanswered)) == 25
        make_output_writable(cluster)
        worker.start()
        window = begun, time.time()
        verdict = auditor.settle(platform.entries, 90)
    note = f"the worker stopped with status 1 after {GIVES_UP_SECONDS} s without acknowledgement"
    judge(verdict, record, note, window=window)


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
        assert auditor.settle(platform.entries, 60).balanced
        filled = time.time()
        disk.fill()
        for number in range(20):
            platform.play(f"during-{number}", audio_uri=uri)
        platform.flush()
        assert worker.wait_exit(60) == 1, worker.tail()
        assert "No space left on device" in worker.log.read_text()
        auditor.close_books(platform.entries)
        assert len(auditor.emotions) == 5 and not auditor.dead_letters
        assert_acknowledged_only_what_has_its_outcome(bootstrap, auditor.missing(platform.entries))
        disk.free()
        worker.start()
        verdict = auditor.settle(platform.entries, 60)
        judge(verdict, record, "the worker stopped with status 1; started again with room", faults=[filled])
        assert worker.terminate()[0] == 0, worker.tail()


def test_full_disk_of_the_log_costs_nothing_but_the_log(
    bootstrap: str, platform: Platform, auditor: Auditor, new_worker: WorkerFactory, record: Record
) -> None:
    worker = new_worker(bootstrap)
    worker.log = Path("/dev/full")
    worker.start()
    platform.mix(tracks(platform, 5), 300, poison_share=0.1)
    platform.flush()
    verdict = auditor.settle(platform.entries, 60)
    judge(verdict, record, "every log line refused")
    assert worker.terminate()[0] == 0
