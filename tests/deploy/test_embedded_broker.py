import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from consumer.topics import TOPICS
from deploy.embedded_broker import embedded_broker


def produce(bootstrap: str, topic: str, key: str, value: bytes) -> int | None:
    delivered: list[Message] = []
    producer = Producer({"bootstrap.servers": bootstrap})
    producer.produce(topic, key=key, value=value, on_delivery=lambda error, message: delivered.append(message))
    assert producer.flush(10) == 0
    assert delivered[0].error() is None
    return delivered[0].partition()


def consumer(bootstrap: str, topic: str) -> Consumer:
    client = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "test",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "session.timeout.ms": 2000,
        }
    )
    client.subscribe([topic])
    return client


def port_of(bootstrap: str) -> tuple[str, int]:
    host, _, port = bootstrap.rpartition(":")
    return host, int(port)


def test_broker_start_has_every_topic_with_equal_partitions() -> None:
    with embedded_broker(partitions=3) as bootstrap:
        topics = AdminClient({"bootstrap.servers": bootstrap}).list_topics(timeout=10).topics
    assert {name: len(topic.partitions) for name, topic in topics.items()} == {topic.name: 3 for topic in TOPICS}


def test_broker_committed_message_is_not_seen_again_by_its_group() -> None:
    with embedded_broker() as bootstrap:
        produce(bootstrap, "track-events", "a", b"first")
        first = consumer(bootstrap, "track-events")
        message = first.poll(20)
        assert message is not None and message.value() == b"first"
        first.commit(message=message, asynchronous=False)
        first.close()

        produce(bootstrap, "track-events", "a", b"second")
        second = consumer(bootstrap, "track-events")
        message = second.poll(20)
        second.close()
    assert message is not None and message.value() == b"second"


def test_two_brokers_beside_each_other_share_nothing() -> None:
    with embedded_broker() as one, embedded_broker() as other:
        assert one != other
        produce(one, "track-events", "a", b"value")
        low, high = {}, {}
        for bootstrap in (one, other):
            client = consumer(bootstrap, "track-events")
            marks = [client.get_watermark_offsets(TopicPartition("track-events", p), timeout=10) for p in range(4)]
            client.close()
            low[bootstrap], high[bootstrap] = sum(m[0] for m in marks), sum(m[1] for m in marks)
    assert (high[one] - low[one], high[other] - low[other]) == (1, 0)


def test_broker_end_closes_its_port() -> None:
    with embedded_broker() as bootstrap:
        socket.create_connection(port_of(bootstrap), timeout=5).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(port_of(bootstrap), timeout=5)


def test_broker_without_partitions_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one partition, got 0"), embedded_broker(partitions=0):
        pass


def test_broker_with_a_topic_named_twice_is_refused() -> None:
    with pytest.raises(RuntimeError, match="refused topic twice"), embedded_broker(topics=["twice", "twice"]):
        pass


def test_broker_process_writes_its_port_and_ends_on_sigterm(tmp_path: Path) -> None:
    port_file = tmp_path / "port"
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy.embedded_broker", "--port-file", port_file, "--partitions", "2"]
    )
    try:
        deadline = time.monotonic() + 60
        while not port_file.exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        partition = produce(f"127.0.0.1:{port_file.read_text()}", "emotion-events", "a", b"value")
        assert partition in {0, 1}
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
