"""Bulk reading and writing for the stream's bench: plain clients, no code of the service."""

import json
import time
from datetime import datetime

from confluent_kafka import Consumer, Producer, TopicPartition

PARTITIONS = 4


def play_json(number: int, track_id: str, occurred_at: str) -> str:
    """Write a TrackEvent as the platform would, without the cost of an encoder."""
    return (
        f'{{"schema_version":1,"event_id":"bench-{number:09d}","event_type":"track_played",'
        f'"occurred_at":"{occurred_at}","track_id":"{track_id}","audio_uri":"file:///music/{track_id}.flac",'
        f'"session_id":"session-{number % 1000}","listener_id":"listener-{number % 500}"}}'
    )


def bulk_producer(bootstrap: str, linger_ms: int = 20) -> Producer:
    """Give a producer for many small messages."""
    return Producer(
        {
            "bootstrap.servers": bootstrap,
            "partitioner": "murmur2_random",
            "enable.idempotence": True,
            "linger.ms": linger_ms,
            "queue.buffering.max.messages": 1_000_000,
        }
    )


def send(producer: Producer, topic: str, value: str, key: str) -> None:
    """Produce, waiting while the queue is full."""
    while True:
        try:
            return producer.produce(topic, value.encode(), key.encode())
        except BufferError:
            producer.poll(0.1)


def end_offset(bootstrap: str, topic: str, partition: int | None = None) -> int:
    """Sum the ends of a topic's partitions, or give one's."""
    reader = _reader(bootstrap)
    places = range(PARTITIONS) if partition is None else [partition]
    return sum(reader.get_watermark_offsets(TopicPartition(topic, place), timeout=10)[1] for place in places)


_readers: dict[str, Consumer] = {}


def _reader(bootstrap: str) -> Consumer:
    # Asked a hundred times a second: one connection is kept.
    if bootstrap not in _readers:
        _readers[bootstrap] = Consumer({"bootstrap.servers": bootstrap, "group.id": "bench", "log_level": 0})
    return _readers[bootstrap]


def read_one(bootstrap: str, topic: str) -> dict[str, object]:
    """Give the first record of a topic."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "bench-one", "log_level": 0})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    try:
        message = consumer.poll(30)
        assert message is not None and message.error() is None, f"no record in {topic}"
        record: dict[str, object] = json.loads(message.value() or b"{}")
        return record
    finally:
        consumer.close()


def read_latencies(bootstrap: str, places: dict[int, int], expected: int) -> list[float]:
    """Read answers from the given offsets on and give their latencies in seconds, until all have come."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "bench-latency", "log_level": 0})
    consumer.assign([TopicPartition("emotion-events", partition, offset) for partition, offset in places.items()])
    latencies: list[float] = []
    deadline = time.monotonic() + 120
    while len(latencies) < expected and time.monotonic() < deadline:
        for message in consumer.consume(10_000, 0.5):
            payload = json.loads(message.value() or b"{}")
            taken = datetime.fromisoformat(payload["classified_at"]) - datetime.fromisoformat(payload["occurred_at"])
            latencies.append(taken.total_seconds())
    consumer.close()
    assert len(latencies) >= expected, f"{len(latencies)} answers to {expected} plays"
    return latencies
