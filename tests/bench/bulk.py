"""Bulk reading and writing for the stream's bench: plain clients, no code of the service."""

import json
import time
from datetime import datetime
from typing import NamedTuple

from confluent_kafka import Consumer, Message, Producer, TopicPartition

PARTITIONS = 4


class Taken(NamedTuple):
    """Seconds from an event's ``occurred_at`` to its answer's ``classified_at``, and to its timestamp in Kafka."""

    classified: float
    appended: float


def play_json(number: int, track_id: str, occurred_at: str, audio_uri: str | None = None) -> str:
    """Write a TrackEvent as the platform would, without the cost of an encoder."""
    return (
        f'{{"schema_version":1,"event_id":"bench-{number:09d}","event_type":"track_played",'
        f'"occurred_at":"{occurred_at}","track_id":"{track_id}",'
        f'"audio_uri":"{audio_uri or f"file:///music/{track_id}.flac"}",'
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


def read_latencies(bootstrap: str, places: dict[int, int], expected: int) -> list[Taken]:
    """Read answers from the given offsets on and give their latencies, until all have come."""
    latencies: list[Taken] = []
    for message in read_answers(bootstrap, places, expected):
        payload = json.loads(message.value() or b"{}")
        occurred = datetime.fromisoformat(payload["occurred_at"]).timestamp()
        classified = datetime.fromisoformat(payload["classified_at"]).timestamp()
        latencies.append(Taken(classified - occurred, message.timestamp()[1] / 1000 - occurred))
    return latencies


def read_answers(bootstrap: str, places: dict[int, int], expected: int) -> list[Message]:
    """Read what ``emotion-events`` holds from the given offsets to its end, at least so many messages."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "bench-read", "enable.partition.eof": True, "log_level": 0}
    )
    consumer.assign([TopicPartition("emotion-events", partition, offset) for partition, offset in places.items()])
    messages: list[Message] = []
    ended: set[int | None] = set()
    deadline = time.monotonic() + 120
    while len(messages) < expected or len(ended) < len(places):
        assert time.monotonic() < deadline, f"{len(messages)} answers to {expected} plays"
        for message in consumer.consume(10_000, 0.5):
            if message.error() is not None:
                ended.add(message.partition())
            else:
                messages.append(message)
    consumer.close()
    return messages
