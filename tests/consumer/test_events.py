"""The wire contract: what decodes, what is refused, and why."""

import json
import uuid

import pytest

from consumer.errors import InvalidEventError, Reason
from consumer.events import (
    EVENT_NAMESPACE,
    Refusal,
    decode_feedback_event,
    decode_track_event,
    emotion_event_id,
    read_track_event,
)

EVENT = {
    "schema_version": 1,
    "event_id": "e-1",
    "event_type": "track_played",
    "occurred_at": "2026-01-01T12:00:00Z",
    "track_id": "t-1",
    "audio_uri": "file:///music/t-1.flac",
}

FEEDBACK = {
    "schema_version": 1,
    "event_id": "f-1",
    "occurred_at": "2026-01-01T12:00:00Z",
    "track_id": "t-1",
    "emotion_event_id": "e-1",
    "kind": "liked",
}


def encode(**changes: object) -> bytes:
    return json.dumps({**EVENT, **changes}).encode()


def test_decode_valid_event_gives_fields() -> None:
    event = decode_track_event(encode(position_seconds=12))
    assert event.track_id == "t-1"
    assert event.position_seconds == 12.0


@pytest.mark.parametrize("size", [1, 5000])
def test_decode_unknown_field_is_ignored(size: int) -> None:
    assert decode_track_event(encode(new_field={"a": "x" * size})).event_id == "e-1"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, Reason.INVALID_JSON),
        (b"", Reason.INVALID_JSON),
        (b"{", Reason.INVALID_JSON),
        (b"\xff\xfe", Reason.INVALID_JSON),
        (b'{"a":' * 100_000, Reason.INVALID_JSON),
        (b"[]", Reason.SCHEMA),
        (encode(schema_version=2), Reason.SCHEMA),
        (encode(event_id=7), Reason.SCHEMA),
        (encode(event_type="track_deleted"), Reason.UNKNOWN_EVENT_TYPE),
        (encode(event_type=3), Reason.SCHEMA),
        (encode(event_type="played" * 1000), Reason.UNKNOWN_EVENT_TYPE),
        (encode(event_type=3, more="x" * 5000), Reason.SCHEMA),
        (encode(event_type="track_paused", more="x" * 5000), Reason.UNKNOWN_EVENT_TYPE),
        (encode(more="x" * 5000)[:-1], Reason.INVALID_JSON),
        (b'["' + b"x" * 5000 + b'"]', Reason.SCHEMA),
        (encode(occurred_at="yesterday"), Reason.SCHEMA),
        (encode(occurred_at="2026-01-01T12:00:00"), Reason.SCHEMA),
        (encode(track_id=""), Reason.SCHEMA),
        (encode(audio_uri="x" * 3000), Reason.SCHEMA),
        (encode(position_seconds=-1), Reason.SCHEMA),
    ],
)
def test_decode_bad_value_raises_with_reason(value: bytes | None, reason: Reason) -> None:
    with pytest.raises(InvalidEventError) as caught:
        decode_track_event(value)
    assert caught.value.reason is reason


@pytest.mark.parametrize("value", [encode(), encode(event_type="a-" * 5000), b"\xff" * 9000])
def test_decode_value_longer_than_allowed_is_not_looked_at(value: bytes) -> None:
    refusal = read_track_event(value, len(value) - 1)
    said = f"expected at most {len(value) - 1} bytes, got {len(value)}"
    assert refusal == Refusal(Reason.EVENT_TOO_LARGE, said)
    assert read_track_event(value, len(value)) != refusal


def test_emotion_event_id_is_deterministic_and_version_bound() -> None:
    assert emotion_event_id("e", "m1", "f1") == emotion_event_id("e", "m1", "f1")
    assert emotion_event_id("e", "m1", "f1") != emotion_event_id("e", "m2", "f1")


@pytest.mark.parametrize("source", ["e-1", "", "é\n", "x" * 300])
def test_emotion_event_id_equals_uuid5(source: str) -> None:
    assert emotion_event_id(source, "m", "f") == str(uuid.uuid5(EVENT_NAMESPACE, f"{source}\nm\nf"))


def test_decode_names_the_place_of_an_endless_value_and_quotes_little_of_it() -> None:
    with pytest.raises(InvalidEventError) as caught:
        decode_track_event(encode(event_type="://" + "a-" * 30_000))
    assert caught.value.reason is Reason.UNKNOWN_EVENT_TYPE
    assert len(str(caught.value)) <= 300
    assert str(caught.value).endswith("at `$.event_type`")


def test_decode_believes_msgspec_not_the_event_about_the_place() -> None:
    with pytest.raises(InvalidEventError) as caught:
        decode_feedback_event(json.dumps(FEEDBACK | {"kind": "`$.event_type`"}).encode())
    assert caught.value.reason is Reason.SCHEMA
