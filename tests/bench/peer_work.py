"""The work every contestant of ``bench_stream.py`` does to a known track's play, with the least code that does it.

Decode and check the event, look the track up, derive the answer's id, write the EmotionEvent. Needs msgspec and
confluent-kafka only, so that peers with dependencies of their own can run it in an environment of their own.
"""

import hashlib
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Self

import msgspec
from confluent_kafka import Consumer, KafkaError, TopicPartition

NAMESPACE = hashlib.sha1(uuid.uuid5(uuid.NAMESPACE_URL, "https://github.com/emotion-stream").bytes)  # noqa: S324
VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}
# Any: confluent-kafka, Faust and Quix Streams each type headers in a way of their own.
Headers = list[tuple[str, Any]]
HEADERS: Headers = [
    ("ce_type", b"emotion-stream.emotion-event.v1"),
    ("ce_specversion", b"1.0"),
    ("ce_source", b"/emotion-stream"),
    ("content-type", b"application/json"),
]
# The worker's own, and what a batch at full speed gains most by.
LINGER_MS = 20
NOT_JUDGEMENT = ("schema_version", "track_id", "classified_at")


class Play(msgspec.Struct):
    """What a contestant reads of a TrackEvent."""

    event_id: str
    event_type: str
    occurred_at: datetime
    track_id: str
    audio_uri: str
    session_id: str | None = None
    listener_id: str | None = None


class Moment(NamedTuple):
    """When answers are given: taken once a batch where a contestant sees batches, as the worker does."""

    at: datetime
    header: bytes
    late_before: datetime

    @classmethod
    def now(cls) -> Self:
        """Take the time."""
        at = datetime.now(UTC)
        return cls(at, at.isoformat().replace("+00:00", "Z").encode(), at - timedelta(seconds=60))


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


def answer(value: bytes, table: dict[str, Known], moment: Moment) -> tuple[bytes, bytes, Headers]:
    """Give key, value and headers of the answer to one play."""
    play = decode(value)
    known = table[play.track_id]
    event_id = _event_id(f"{play.event_id}\n{known.model_version}\n{known.feature_version}")
    head = encode(
        {
            "schema_version": 1,
            "event_id": event_id,
            "source_event_id": play.event_id,
            "event_type": play.event_type,
            "occurred_at": play.occurred_at,
            "classified_at": moment.at,
            "track_id": play.track_id,
            "known": True,
            "late": play.occurred_at < moment.late_before,
            "session_id": play.session_id,
            "listener_id": play.listener_id,
        }
    )
    headers: Headers = [("ce_id", event_id.encode()), ("ce_time", moment.header), *HEADERS]
    return play.track_id.encode(), head[:-1] + b"," + known.members, headers


def _event_id(name: str) -> str:
    # As the worker: uuid.uuid5 without its object, which would be four microseconds of an event's ten to twenty.
    sha1 = NAMESPACE.copy()
    sha1.update(name.encode())
    digest = sha1.hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{VARIANT[digest[16]]}{digest[17:20]}-{digest[20:32]}"
