"""A person's word on a track: it wins over the model, and over every later model, until another person says otherwise.

A corrected record carries the corrected emotion, ``corrected_by``, and in ``model_emotion`` what the model had said;
its ``classified_at`` is when the person said so. So the compacted topic of records is also the durable list of all
corrections: one for each track, whole or not there, read again at every start. Whoever holds a track's record (the
known lane's table) lets a newer analysis change everything but the person's word, and publishes that.
"""

from datetime import UTC, datetime
from typing import Final

import msgspec
from msgspec import Struct

from consumer.events import Decisions, EmotionLabel, FeedbackEvent, Probabilities, Timestamp, TrackEmotion
from consumer.track_record import KnownTrack, Name
from model.emotions import EMOTIONS, QUADRANTS, Emotion

# Somebody who may write feedback, but did not say who they are.
UNNAMED: Final = "unnamed"
# One person's word is enough to play a track. In therapy another person decides.
_DECISIONS: Final = Decisions(playlist="apply", therapy="suggest", catalogue="apply")


class Correction(Struct, frozen=True):
    """What was said of a track.

    Parameters
    ----------
    emotion : str
        By the person.
    corrected_by : str
        Who; at most 256 characters, as a record takes.
    at : datetime
        When; the newest word wins.
    model_emotion : str or None
        By the model; None in a record that does not say.
    """

    emotion: EmotionLabel
    corrected_by: Name
    at: Timestamp
    model_emotion: EmotionLabel | None = None


def correction_from(event: FeedbackEvent, now: datetime) -> Correction:
    """Take the correction from a feedback event of kind ``label``.

    Parameters
    ----------
    event : FeedbackEvent
        With a label.
    now : datetime
        The latest a correction can have been made; a clock that runs ahead must not win over later words.

    Returns
    -------
    Correction
        Not joined to the model's word yet.
    """
    if event.label is None:
        raise ValueError("expected a label")
    return Correction(event.label, event.listener_id or UNNAMED, min(event.occurred_at, now))


def correct(record: TrackEmotion, correction: Correction) -> TrackEmotion:
    """Put a person's word into a track's record.

    The emotion is certain, its probability 1, and valence and arousal are those of its quadrant; fragments, versions
    and digest stay what the analysis gave. Decisions are ``apply``, but ``suggest`` for therapy.

    Parameters
    ----------
    record : TrackEmotion
        The model's, or one corrected before.
    correction : Correction
        The word.

    Returns
    -------
    TrackEmotion
        The corrected record.
    """
    label = correction.emotion
    valence, arousal = QUADRANTS[Emotion(label)]
    return msgspec.structs.replace(
        record,
        emotion=label,
        confidence=1.0,
        probabilities=Probabilities(**{emotion.value: float(emotion == label) for emotion in EMOTIONS}),
        prediction_set=[label],
        valence=float(valence),
        arousal=float(arousal),
        decisions=_DECISIONS,
        classified_at=correction.at,
        corrected_by=correction.corrected_by,
        model_emotion=record.emotion if record.corrected_by is None else record.model_emotion,
    )


def correction_of(record: TrackEmotion) -> Correction | None:
    """Give the correction that a record carries.

    Parameters
    ----------
    record : TrackEmotion
        Any.

    Returns
    -------
    Correction or None
        None for the model's own word.
    """
    if record.corrected_by is None:
        return None
    return Correction(record.emotion, record.corrected_by, record.classified_at, record.model_emotion)


def record_of(track_id: str, track: KnownTrack, correction: Correction | None) -> TrackEmotion:
    """Give back the record of a known track.

    Parameters
    ----------
    track_id : str
        The track.
    track : KnownTrack
        Its judgement.
    correction : Correction or None
        What a person said of it.

    Returns
    -------
    TrackEmotion
        As published, but for ``classified_at`` of one that was not corrected.
    """
    record: dict[str, object] = msgspec.json.decode(b"{%b}" % track.judgement_json)
    record |= {"schema_version": 1, "track_id": track_id, "classified_at": datetime.now(UTC)}
    if correction is not None:
        record |= {
            "classified_at": correction.at,
            "corrected_by": correction.corrected_by,
            "model_emotion": correction.model_emotion,
        }
    return msgspec.convert(record, TrackEmotion)
