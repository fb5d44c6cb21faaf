"""The event schemas: what enters, what leaves, and the record of a track.

Every value on the wire is UTF-8 JSON. Decoding validates types and ranges (msgspec); fields that a reader does not
know are ignored, so that producers may add some. The JSON Schemas in ``consumer/schemas`` say the same to other
languages, and a contract test holds the two together.
"""

import hashlib
import sys
import uuid
from datetime import datetime
from typing import Annotated, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from consumer.errors import InvalidEventError, Reason
from consumer.redaction import shorten

EventType = Literal["track_played", "track_uploaded"]
EmotionLabel = Literal["relax", "happy", "sad", "angry"]
DecisionLabel = Literal["apply", "suggest", "withhold"]
FeedbackKind = Literal["accepted", "skipped", "completed", "liked", "label"]

Identifier = Annotated[str, Meta(min_length=1, max_length=256)]
AudioUri = Annotated[str, Meta(min_length=1, max_length=2048)]
Probability = Annotated[float, Meta(ge=0.0, le=1.0)]
Affect = Annotated[float, Meta(ge=-1.0, le=1.0)]
Seconds = Annotated[float, Meta(ge=0.0)]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
# RFC 3339 with an offset; a time without one means nothing across machines.
Timestamp = Annotated[datetime, Meta(tz=True)]

# Namespace of every event id this service derives: uuid5(NAMESPACE_URL, "https://github.com/emotion-stream").
EVENT_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "https://github.com/emotion-stream")
# Fed with the namespace once: every id goes on from a copy.
_NAMESPACE_DIGEST: Final = hashlib.sha1(EVENT_NAMESPACE.bytes, usedforsecurity=False)
# RFC 9562's variant: the two high bits of this digit are 10.
_VARIANT: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}

# msgspec quotes what it refuses, be it the whole event, between its verdict and the place.
_MAX_VERDICT_CHARACTERS: Final = 300
# Quoting an event type of 30 kB takes ten times as long as answering a play: looked at first in an event so large.
_LARGE_EVENT_BYTES: Final = 4096
_MAX_EVENT_TYPE_CHARACTERS: Final = 64

Event = TypeVar("Event", "TrackEvent", "FeedbackEvent")


def _one() -> Literal[1]:
    # A factory, because ``omit_defaults`` leaves plain defaults out, and every message must say its version.
    return 1


class TrackEvent(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A track was played or uploaded (topic ``track-events``; forwarded unchanged on ``track-analysis``)."""

    schema_version: Literal[1]
    event_id: Identifier
    event_type: EventType
    occurred_at: Timestamp
    track_id: Identifier
    audio_uri: AudioUri
    position_seconds: Seconds | None = None
    session_id: Identifier | None = None
    listener_id: Identifier | None = None
    playlist_id: Identifier | None = None


class Probabilities(Struct, frozen=True, kw_only=True):
    """Calibrated probabilities of the four emotions, summing to 1."""

    relax: Probability
    happy: Probability
    sad: Probability
    angry: Probability


class Decisions(Struct, frozen=True, kw_only=True):
    """What each use should do with the emotion."""

    playlist: DecisionLabel
    therapy: DecisionLabel
    catalogue: DecisionLabel


class Fragment(Struct, frozen=True, kw_only=True):
    """The emotion of one 30-second fragment."""

    start_seconds: Seconds
    emotion: EmotionLabel
    confidence: Probability


class TrackEmotion(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The judgement of a track (topic ``track-emotions``, compacted: one record per track)."""

    schema_version: Literal[1] = field(default_factory=_one)
    track_id: Identifier
    emotion: EmotionLabel
    confidence: Probability
    probabilities: Probabilities
    prediction_set: list[EmotionLabel]
    valence: Affect
    arousal: Affect
    decisions: Decisions
    fragments: list[Fragment]
    model_version: str
    feature_version: str
    audio_sha256: Sha256
    classified_at: Timestamp
    corrected_by: str | None = None
    model_emotion: EmotionLabel | None = None


class EmotionEvent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The emotion of one play or upload (topic ``emotion-events``)."""

    schema_version: Literal[1] = field(default_factory=_one)
    event_id: str
    source_event_id: Identifier
    event_type: EventType
    occurred_at: Timestamp
    classified_at: Timestamp
    track_id: Identifier
    session_id: Identifier | None = None
    listener_id: Identifier | None = None
    playlist_id: Identifier | None = None
    emotion: EmotionLabel
    confidence: Probability
    probabilities: Probabilities
    prediction_set: list[EmotionLabel]
    valence: Affect
    arousal: Affect
    decisions: Decisions
    fragments: list[Fragment]
    known: bool
    late: bool
    model_version: str
    feature_version: str
    audio_sha256: Sha256


class FeedbackEvent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a listener, curator or therapist did with an emotion (topic ``emotion-feedback``)."""

    schema_version: Literal[1] = field(default_factory=_one)
    event_id: Identifier
    occurred_at: Timestamp
    track_id: Identifier
    emotion_event_id: Identifier
    kind: FeedbackKind
    label: EmotionLabel | None = None
    listener_id: Identifier | None = None


def emotion_event_id(source_event_id: str, model_version: str, feature_version: str) -> str:
    """Derive the id of an emotion event, the same for every replay.

    UUIDv5 of source event id, model version and feature version (RFC 9562), so that a consumer recognises a
    redelivered event, and a new model's answer is a new event.

    Parameters
    ----------
    source_event_id : str
        ``event_id`` of the TrackEvent.
    model_version, feature_version : str
        As in the artifact's manifest.

    Returns
    -------
    str
        A UUID in canonical form.
    """
    # What uuid.uuid5 does, without building a UUID object: a third of its time, and it is paid for every play.
    sha1 = _NAMESPACE_DIGEST.copy()
    sha1.update(f"{source_event_id}\n{model_version}\n{feature_version}".encode())
    digest = sha1.hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{_VARIANT[digest[16]]}{digest[17:20]}-{digest[20:32]}"


class _EventTypeAlone(Struct):
    event_type: Annotated[str, Meta(max_length=_MAX_EVENT_TYPE_CHARACTERS)] = ""


_event_type_decoder: Final = msgspec.json.Decoder(_EventTypeAlone)
_track_event_decoder: Final = msgspec.json.Decoder(TrackEvent)
_feedback_event_decoder: Final = msgspec.json.Decoder(FeedbackEvent)


class Refusal(Struct, frozen=True, gc=False):
    """Why bytes are no event.

    Parameters
    ----------
    reason : Reason
        The slug of the dead letter.
    message : str
        What was expected and what came.
    """

    reason: Reason
    message: str


# Looked up once: an enumeration's members are found by Python code.
_SCHEMA: Final = Reason.SCHEMA
_INVALID_JSON: Final = Reason.INVALID_JSON
_UNKNOWN_EVENT_TYPE: Final = Reason.UNKNOWN_EVENT_TYPE
_EVENT_TOO_LARGE: Final = Reason.EVENT_TOO_LARGE


def read_track_event(value: bytes | None, max_bytes: int = sys.maxsize) -> TrackEvent | Refusal:
    """Decode and validate one message value, and return what is wrong with it instead of raising it.

    Raising and catching it took two thirds as long as finding it, and in a bad hour there is something wrong with many.

    Parameters
    ----------
    value : bytes or None
        The Kafka message's value.
    max_bytes : int
        Longest value to look at; any by default.

    Returns
    -------
    TrackEvent or Refusal
        The validated event; or why there is none, with reason ``event_too_large``, ``invalid_json`` if the bytes are
        not JSON, ``unknown_event_type`` if only the type is unknown, ``schema`` if a field is missing or has the wrong
        type or range.
    """
    if value is not None and _LARGE_EVENT_BYTES < len(value) <= max_bytes and _has_endless_event_type(value):
        verdict = f"Invalid enum value of more than {_MAX_EVENT_TYPE_CHARACTERS} characters - at `$.event_type`"
        return Refusal(_UNKNOWN_EVENT_TYPE, verdict)
    return _read(_track_event_decoder, value, max_bytes)


def decode_track_event(value: bytes | None, max_bytes: int = sys.maxsize) -> TrackEvent:
    """Decode and validate one message value.

    Parameters
    ----------
    value : bytes or None
        The Kafka message's value.
    max_bytes : int
        Longest value to look at; any by default.

    Returns
    -------
    TrackEvent
        The validated event.

    Raises
    ------
    InvalidEventError
        For the reasons that ``read_track_event`` returns.
    """
    return _or_raise(read_track_event(value, max_bytes))


def decode_feedback_event(value: bytes | None, max_bytes: int = sys.maxsize) -> FeedbackEvent:
    """Decode and validate one message value of ``emotion-feedback``.

    Parameters
    ----------
    value : bytes or None
        The Kafka message's value.
    max_bytes : int
        Longest value to look at; any by default.

    Returns
    -------
    FeedbackEvent
        The validated event; one of kind ``label`` has a label.

    Raises
    ------
    InvalidEventError
        With reason ``event_too_large``, ``invalid_json`` if the bytes are not JSON, ``schema`` if a field is missing or
        has the wrong type or range.
    """
    event = _or_raise(_read(_feedback_event_decoder, value, max_bytes))
    if event.kind == "label" and event.label is None:
        raise InvalidEventError("expected a label with kind `label`, got none", reason=Reason.SCHEMA)
    return event


def _or_raise(read: Event | Refusal) -> Event:
    if isinstance(read, Refusal):
        raise InvalidEventError(read.message, reason=read.reason)
    return read


def _has_endless_event_type(value: bytes) -> bool:
    try:
        _event_type_decoder.decode(value)
    except msgspec.ValidationError as error:
        return str(error).startswith("Expected `str` of length <=")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    return False


def _read(decoder: msgspec.json.Decoder[Event], value: bytes | None, max_bytes: int) -> Event | Refusal:
    if value is None:
        return Refusal(_INVALID_JSON, "expected a JSON object, got a null value")
    if len(value) > max_bytes:
        return Refusal(_EVENT_TOO_LARGE, f"expected at most {max_bytes} bytes, got {len(value)}")
    try:
        return decoder.decode(value)
    except msgspec.ValidationError as error:
        verdict = str(error)
        # At its ends: between them stands what the event says, which may be anything.
        unknown_type = verdict.startswith("Invalid enum value") and verdict.endswith("`$.event_type`")
        return Refusal(_UNKNOWN_EVENT_TYPE if unknown_type else _SCHEMA, shorten(verdict, _MAX_VERDICT_CHARACTERS))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Refusal(_INVALID_JSON, f"not JSON: {error}")
