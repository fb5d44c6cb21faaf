"""Kafka over SASL_SSL and mutual TLS with certificates made here, whom the worker refuses, and what it never tells."""

import json
import pickle
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from consumer.dead_letter import ADDED_HEADERS
from consumer.drift_watch import FEATURES
from consumer.forwarding import CORRECTION, PURPOSE
from tests.consumer.hostile import response, scripted
from tests.integration.administration import CONTRACT, await_no_lag, read_topic
from tests.integration.auditor import Auditor
from tests.integration.certificates import Authority, encrypted_key
from tests.integration.conftest import ClusterFactory, Record, WorkerFactory
from tests.integration.faults import await_metric, judge, until
from tests.integration.kafka import PASSWORD, USER
from tests.integration.traffic import Platform, tracks
from tests.integration.worker import WorkerProcess

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

KEY_PASSWORD, SIGNATURE = "staple-of-the-key", "5ec2e7f00d"
# How long a worker that was refused is watched on.
REFUSED_SECONDS = 5.0


@pytest.mark.ledger
def test_both_lanes_work_over_scram_and_mutual_tls_and_tell_no_secret(
    new_cluster: ClusterFactory, authority: Authority, audio: Path, new_worker: WorkerFactory, record: Record
) -> None:
    cluster = new_cluster(authority=authority)
    bootstrap = cluster.bootstrap()
    platform = Platform(bootstrap, audio)
    catalogue = tracks(platform, 4)
    client = authority.issue("client")
    mutual = {
        "security_protocol": "SSL", "ssl_ca_location": authority.certificate,
        "ssl_certificate_location": client.certificate, "ssl_key_location": encrypted_key(client, KEY_PASSWORD),
        "ssl_key_password": KEY_PASSWORD,
    }  # fmt: skip
    workers = [
        new_worker(cluster.bootstrap("SCRAM"), "scram", log_level="DEBUG", **_scram(authority)),
        new_worker(cluster.bootstrap("MTLS"), "mutual-tls", log_level="DEBUG", **mutual),
    ]
    private = [line for line in client.key.read_text().splitlines() if "-----" not in line]
    with Auditor(bootstrap) as auditor:
        # One after the other, so that each does the work of both lanes alone; the second finds what the first left.
        for number, worker in enumerate(workers):
            worker.start()
            platform.mix([*catalogue, platform.track(10 + number)], 100, poison_share=0.1)
            platform.flush()
            verdict = auditor.settle(platform.entries, 60)
            assert verdict.balanced, verdict.line()
            metrics = worker.metrics_text()
            for child in worker.children():
                environment = Path(f"/proc/{child}/environ").read_text()
                assert PASSWORD not in environment and KEY_PASSWORD not in environment
            assert worker.terminate()[0] == 0, worker.tail()
            _assert_untold([PASSWORD, KEY_PASSWORD, "PRIVATE KEY", *private], bootstrap, worker, metrics)
    judge(verdict, record, "SCRAM-SHA-512 over TLS, then mutual TLS with an encrypted key")


@pytest.mark.fault
@pytest.mark.parametrize("lane", ["known", "new"])
def test_wrong_password_keeps_each_lane_out(
    new_cluster: ClusterFactory, authority: Authority, new_worker: WorkerFactory, lane: str
) -> None:
    cluster = new_cluster(authority=authority)
    wrong = "battery-staple"
    secrets = _scram(authority) | {"sasl_password": wrong}
    worker = new_worker(cluster.bootstrap("SCRAM"), "wrong", lanes=lane, **secrets)
    _assert_refused(worker, "authentication failed", "invalid credentials")
    assert wrong not in worker.log.read_text()
    # It was the password.
    new_worker(cluster.bootstrap("SCRAM"), "right", lanes=lane, **_scram(authority)).start()


@pytest.mark.fault
@pytest.mark.parametrize("lane", ["known", "new"])
def test_broker_of_a_foreign_authority_is_refused_by_each_lane(
    new_cluster: ClusterFactory, authority: Authority, new_worker: WorkerFactory, tmp_path: Path, lane: str
) -> None:
    cluster = new_cluster(authority=authority)
    foreign = Authority(tmp_path / "foreign", "an authority that signed no broker here")
    worker = new_worker(cluster.bootstrap("SCRAM"), "foreign", lanes=lane, **_scram(foreign))
    _assert_refused(worker, "certificate verify failed", "certificate_verify_failed")
    new_worker(cluster.bootstrap("SCRAM"), "own", lanes=lane, **_scram(authority)).start()


@pytest.mark.fault
@pytest.mark.parametrize("lane", ["known", "new"])
def test_broker_with_the_certificate_of_another_host_is_refused_by_each_lane(
    new_cluster: ClusterFactory, new_worker: WorkerFactory, tmp_path: Path, lane: str
) -> None:
    authority = Authority(tmp_path / "authority", hosts="DNS:kafka.example.org")
    cluster = new_cluster(authority=authority)
    worker = new_worker(cluster.bootstrap("SCRAM"), lanes=lane, **_scram(authority))
    _assert_refused(worker, "mismatch", "certificate verify failed")


def test_signed_address_is_told_to_nobody(
    bootstrap: str, platform: Platform, auditor: Auditor, new_worker: WorkerFactory
) -> None:
    piece = (platform.folder / platform.track(0)).with_suffix(".wav").read_bytes()

    def answer(connection: socket.socket, head: bytes) -> None:
        path = head.split(b" ")[1].decode().partition("?")[0].strip("/")
        outcomes = {
            "heard": response(piece), "absent": response(status="404 Not Found"), "broken": response(piece[:999]),
            "busy": response(status="503 Service Unavailable"),
            "elsewhere": response(status="302 Found", Location=f"https://example.org/x?X-Amz-Signature={SIGNATURE}"),
        }  # fmt: skip
        connection.sendall(outcomes[path])

    with scripted(answer) as server:
        host = f"127.0.0.1:{server.port}"
        worker = new_worker(
            bootstrap, log_level="DEBUG", allowed_hosts=host, allowed_private_hosts=host, max_attempts=2,
            retry_backoff_seconds=0.1,
        ).start()  # fmt: skip
        query = f"X-Amz-Credential=someone&X-Amz-Signature={SIGNATURE}"
        for path in ("heard", "absent", "broken", "busy", "elsewhere"):
            outcome: Any = "emotion" if path == "heard" else "dead_letter"
            platform.play(path, audio_uri=f"http://{host}/{path}?{query}", expected=outcome)
        platform.play("forbidden", audio_uri=f"https://host/x?{query}", expected="dead_letter", reason="forbidden_host")
        platform.play("malformed", audio_uri=f"https://host/x?{query}", schema_version=9, expected="dead_letter")
        platform.flush()
        verdict = auditor.settle(platform.entries, 60)
        assert verdict.balanced, verdict.line()
        asked = [request for request in server.requests if SIGNATURE.encode() in request]
        assert len(asked) >= 5, "the server never saw the signature, so nobody could have told it"
    metrics = worker.metrics_text()
    assert worker.terminate()[0] == 0, worker.tail()
    _assert_untold([SIGNATURE], bootstrap, worker, metrics)


class Detonator:
    """A pickle that leaves a file behind when somebody opens it."""

    def __init__(self, crater: Path) -> None:
        self.crater = crater

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.crater), "w")


@pytest.mark.fault
def test_pickles_from_the_wire_are_opened_by_nobody(
    bootstrap: str, platform: Platform, new_worker: WorkerFactory, tmp_path: Path
) -> None:
    track = platform.track(0)
    crater, proof = tmp_path / "crater", tmp_path / "proof"
    pickle.loads(pickle.dumps(Detonator(proof))).close()  # noqa: S301  (the test's own bytes: it does go off)
    assert proof.exists()
    worker = new_worker(bootstrap).start()
    platform.play(track)
    platform.flush()
    await_metric(worker, "emotion_events_emitted_total", 1)

    letters = {"track-events": "invalid_json", "track-analysis": "invalid_json", "emotion-feedback": "invalid_json"}
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random"})
    event = {
        "schema_version": 1, "event_id": "by-header", "event_type": "track_played",
        "occurred_at": "2026-01-01T12:00:00Z", "track_id": "by-header", "audio_uri": f"{platform.folder / track}.wav",
    }  # fmt: skip
    read_back = next(m for m in read_topic(bootstrap, "track-emotions") if m.key() == track.encode())
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        bomb = pickle.dumps(Detonator(crater), protocol)
        for topic in (*letters, "track-emotions"):
            producer.produce(topic, bomb, f"bomb-{protocol}".encode())
            producer.produce(topic, bomb, bomb)
        # In every header that the worker reads, beside a value that it takes.
        headers: list[tuple[str, str | bytes | None]] = [
            (name, bomb) for name in (FEATURES, PURPOSE, CORRECTION, *ADDED_HEADERS, "traceparent")
        ]
        record = json.dumps(json.loads(read_back.value()) | {"track_id": f"known-{protocol}"})
        own = json.dumps(event | {"event_id": f"by-header-{protocol}", "track_id": f"by-header-{protocol}"})
        producer.produce("track-emotions", record, f"known-{protocol}", headers=headers)
        producer.produce("track-analysis", own, f"by-header-{protocol}", headers=headers)
        producer.produce("track-events", own, f"by-header-{protocol}", headers=headers)
    assert producer.flush(30) == 0
    protocols = pickle.HIGHEST_PROTOCOL + 1
    until(
        worker,
        lambda: len(read_topic(bootstrap, "track-events.dead-letter")) >= 2 * len(letters) * protocols,
        "every pickle is buried",
    )
    buried = [dict(message.headers()) for message in read_topic(bootstrap, "track-events.dead-letter")]
    for topic, reason in letters.items():
        theirs = [headers for headers in buried if headers["source.topic"] == topic.encode()]
        assert [headers["error.reason"].decode() for headers in theirs] == [reason] * 2 * protocols
    # It goes on, and so does the next one, which reads them all again.
    for number in range(2):
        platform.play(track)
        platform.flush()
        place = platform.entries[-1]
        until(worker, lambda place=place: place.event_id in _answered(bootstrap), "it goes on")  # type: ignore[misc]
        await_no_lag(bootstrap)
        assert worker.running
        if not number:
            assert worker.terminate()[0] == 0, worker.tail()
            worker.start()
    assert not crater.exists()


def _answered(bootstrap: str) -> set[str]:
    return {json.loads(message.value())["source_event_id"] for message in read_topic(bootstrap, "emotion-events")}


def _scram(authority: Authority) -> dict[str, object]:
    return {
        "security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512", "sasl_username": USER,
        "sasl_password": PASSWORD, "ssl_ca_location": authority.certificate,
    }  # fmt: skip


def _assert_refused(worker: WorkerProcess, *words: str) -> None:
    """See that a worker says in its log why it cannot get in, and that it is not ready then or later."""
    worker.start(wait=False)
    deadline = time.monotonic() + 90
    while not any(word in worker.log.read_text().lower() for word in words):
        assert worker.status("/ready") != 200, f"it got in: {worker.tail()}"
        assert time.monotonic() < deadline, f"not in its log: {words}\n{worker.tail()}"
        time.sleep(0.2)
    with pytest.raises(AssertionError, match=r"ended with|/ready said"):
        worker.wait_ready(REFUSED_SECONDS)
    worker.kill(check=False)


def _assert_untold(secrets: Iterable[str], bootstrap: str, worker: WorkerProcess, metrics: str) -> None:
    """See that no secret is in a worker's log or metrics, nor in any message but where the platform had put it."""
    told = {"log": worker.log.read_text(errors="replace"), "metrics": metrics}
    # What came from the platform goes on as it came: an event to the new lane, an original into its dead letter.
    originals = {"track-events", "track-analysis", "track-events.dead-letter"}
    for topic in CONTRACT - {"track-events"}:
        for message in read_topic(bootstrap, topic):
            place = f"{topic}[{message.partition()}]@{message.offset()}"
            told[f"headers of {place}"] = str(message.headers())
            if topic not in originals:
                told[f"value of {place}"] = message.value().decode()
    assert [(where, secret) for where, text in told.items() for secret in secrets if secret in text] == []
