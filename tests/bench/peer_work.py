"""The work every contestant of ``bench_stream.py`` does to a known track's play, with the least code that does it.

Decode and check the event, look the track up, derive the answer's id, write the EmotionEvent. Needs msgspec and
confluent-kafka only, so that peers with dependencies of their own can run it in an environment of their own.
"""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaError, TopicPartition

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://github.com/emotion-stream")
# Any: confluent-kafka, Faust and Quix Streams each type headers in a way of their own.
Headers = list[tuple[str, Any]]
HEADERS: Headers = [
    ("ce_type", b"emotion-stream.emotion-event.v1"),
    ("ce_specversion", b"1.0"),
    ("ce_source", b"/peer"),
]
NOT_JUDGEMENT = ("schema_version", "track_id", "classified_at")


class Play(msgspec.Struct):
    """What a contestant reads of a TrackEvent."""

    event_id: str
    event_type: str
    occurred_at: datetime
    track_id: str
    audio_uri: str


class Known(msgspec.Struct):
    """A track's judgement, rendered once."""

    model_version: str
    feature_version: str
    members: bytes


decode = msgspec.json.Decoder(Play).decode
encode = msgspec.json.Encoder().encode


def load_table(bootstrap: str) -> dict[str, Known]:
    """Read ``track-emotions`` to its end."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "table", "enable.partition.eof": True, "enable.auto.commit": False}
    )
    partitions = consumer.list_topics("track-emotions", timeout=30).topics["track-emotions"].partitions
    consumer.assign([TopicPartition("track-emotions", partition, 0) for partition in partitions])
    table: dict[str, Known] = {}
    left = len(partitions)
    while left:
        for message in consumer.consume(10_000, 1.0):
            error = message.error()
            if error is not None:
                left -= error.code() == KafkaError._PARTITION_EOF
                continue
            record: dict[str, Any] = msgspec.json.decode(message.value() or b"{}")
            members = {name: value for name, value in record.items() if name not in NOT_JUDGEMENT}
            known = Known(record["model_version"], record["feature_version"], encode(members)[1:])
            table[record["track_id"]] = known
    consumer.close()
    return table


def answer(value: bytes, table: dict[str, Known]) -> tuple[bytes, bytes, Headers]:
    """Give key, value and headers of the answer to one play."""
    play = decode(value)
    known = table[play.track_id]
    event_id = str(uuid.uuid5(NAMESPACE, f"{play.event_id}\n{known.model_version}\n{known.feature_version}"))
    now = datetime.now(UTC)
    head = encode(
        {
            "schema_version": 1,
            "event_id": event_id,
            "source_event_id": play.event_id,
            "event_type": play.event_type,
            "occurred_at": play.occurred_at,
            "classified_at": now,
            "track_id": play.track_id,
            "known": True,
            "late": now - play.occurred_at > timedelta(seconds=60),
        }
    )
    headers: Headers = [
        ("ce_id", event_id.encode()),
        ("ce_time", now.isoformat().encode()),
        *HEADERS,
    ]
    return play.track_id.encode(), head[:-1] + b"," + known.members, headers
