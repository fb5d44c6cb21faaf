"""From a judgement to what leaves: the track's record, and one EmotionEvent per play with its CloudEvents headers.

Both lanes answer through ``build_answer``, so a play is answered alike wherever it was answered.
"""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from msgspec import Struct

from consumer.events import (
    EVENT_NAMESPACE,
    Decisions,
    EventType,
    Fragment,
    Probabilities,
    TrackEmotion,
    TrackEvent,
    emotion_event_id,
)
from consumer.track_record import KnownTrack
from model.judgement import Judgement

EMOTION_EVENT_TYPE: Final = b"emotion-stream.emotion-event.v1"
TRACK_EMOTION_TYPE: Final = b"emotion-stream.track-emotion.v1"
SOURCE: Final = b"/emotion-stream"

Header = tuple[str, bytes | None]
# CloudEvents 1.0, Kafka binding, binary mode: what is the same in every message.
_COMMON: Final[tuple[Header, ...]] = (
    ("ce_specversion", b"1.0"),
    ("ce_source", SOURCE),
    ("content-type", b"application/json"),
)
_EMOTION_EVENT_HEADERS: Final = (("ce_type", EMOTION_EVENT_TYPE), *_COMMON)
_TRACK_EMOTION_HEADERS: Final = (("ce_type", TRACK_EMOTION_TYPE), *_COMMON)


class Moment(Struct, frozen=True, gc=False):
    """When a lane gives a batch of answers, and what all of them say for that.

    Parameters
    ----------
    at : datetime
        ``classified_at``.
    late_before : datetime
        Events that occurred before are late.
    members_json : bytes
        The members of an EmotionEvent that are the same in all answers, without braces.
    headers : tuple of (str, bytes)
        CloudEvents of an EmotionEvent, all but ``ce_id``.
    """

    at: datetime
    late_before: datetime
    members_json: bytes
    headers: tuple[Header, ...]

    @classmethod
    def now(cls, deadline: timedelta, *, known: bool) -> "Moment":
        """Take the time.

        Parameters
        ----------
        deadline : timedelta
            Longest time from ``occurred_at`` to ``classified_at``.
        known : bool
            Whether the tracks had been judged before.

        Returns
        -------
        Moment
            Now.
        """
        at = datetime.now(UTC)
        members = _encode({"classified_at": at, "known": known})[1:-1]
        time = at.isoformat().replace("+00:00", "Z").encode()
        return cls(at, at - deadline, members, (("ce_time", time), *_EMOTION_EVENT_HEADERS))


class Answer(Struct, frozen=True, gc=False):
    """One message for ``emotion-events``.

    Parameters
    ----------
    value : bytes
        An EmotionEvent.
    headers : list of (str, bytes)
        CloudEvents.
    is_late : bool
        Past the deadline.
    """

    value: bytes
    headers: list[Header]
    is_late: bool


class _Play(Struct, omit_defaults=True, gc=False):
    """The part of an EmotionEvent that is this play's own."""

    schema_version: int
    event_id: str
    source_event_id: str
    event_type: EventType
    occurred_at: datetime
    track_id: str
    late: bool
    session_id: str | None = None
    listener_id: str | None = None
    playlist_id: str | None = None


_encode: Final = msgspec.json.Encoder().encode


def build_answer(event: TrackEvent, track: KnownTrack, moment: Moment) -> Answer:
    """Answer one play or upload.

    Parameters
    ----------
    event : TrackEvent
        What is answered.
    track : KnownTrack
        The track's judgement.
    moment : Moment
        When.

    Returns
    -------
    Answer
        Value and headers of the EmotionEvent.
    """
    shape = track.shape
    event_id = emotion_event_id(event.event_id, shape.model_version, shape.feature_version)
    is_late = event.occurred_at < moment.late_before
    play = _encode(
        _Play(
            1,
            event_id,
            event.event_id,
            event.event_type,
            event.occurred_at,
            event.track_id,
            is_late,
            event.session_id,
            event.listener_id,
            event.playlist_id,
        )
    )
    value = b"".join((play[:-1], b",", track.judgement_json, b",", moment.members_json, b"}"))
    return Answer(value, [("ce_id", event_id.encode()), *moment.headers], is_late)


def build_track_emotion(
    track_id: str,
    judgement: Judgement,
    *,
    model_version: str,
    feature_version: str,
    audio_sha256: str,
    classified_at: datetime,
) -> TrackEmotion:
    """Build the record of a track from its judgement.

    The judge's numbers have six decimals, so that a record read back from Kafka says exactly what was first said.

    Parameters
    ----------
    track_id : str
        The track.
    judgement : Judgement
        What the model said.
    model_version, feature_version : str
        Who said it.
    audio_sha256 : str
        Digest of the audio heard.
    classified_at : datetime
        When.

    Returns
    -------
    TrackEmotion
        Value of a message of ``track-emotions``.
    """
    return TrackEmotion(
        track_id=track_id,
        emotion=judgement.emotion.value,
        confidence=judgement.confidence,
        probabilities=Probabilities(**{emotion.value: share for emotion, share in judgement.probabilities.items()}),
        prediction_set=[emotion.value for emotion in judgement.prediction_set],
        valence=judgement.valence,
        arousal=judgement.arousal,
        decisions=Decisions(**judgement.decisions),
        fragments=[
            Fragment(
                start_seconds=round(fragment.start_seconds, 3),
                emotion=fragment.emotion.value,
                confidence=fragment.confidence,
            )
            for fragment in judgement.fragments
        ],
        model_version=model_version,
        feature_version=feature_version,
        audio_sha256=audio_sha256,
        classified_at=classified_at,
    )


def track_emotion_headers(record: TrackEmotion) -> list[Header]:
    """Give the CloudEvents headers of a track's record.

    Parameters
    ----------
    record : TrackEmotion
        The record.

    Returns
    -------
    list of (str, bytes)
        ``ce_id`` is the same whenever the same model says the same of the same audio.
    """
    name = "\n".join((record.track_id, record.audio_sha256, record.model_version, record.feature_version))
    time = record.classified_at.isoformat().replace("+00:00", "Z")
    return [
        ("ce_id", str(uuid.uuid5(EVENT_NAMESPACE, name)).encode()),
        ("ce_time", time.encode()),
        *_TRACK_EMOTION_HEADERS,
    ]
