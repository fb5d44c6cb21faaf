"""The event contract for other languages: one JSON Schema (draft 2020-12) per event, made from ``consumer.events``.

``python -m consumer.schemas`` writes the files anew; a test fails while they differ from the classes.
"""

import json
import re
from importlib import resources
from typing import Any, Final

import msgspec

from consumer.events import EmotionEvent, FeedbackEvent, TrackEmotion, TrackEvent

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
EVENTS: Final[tuple[type[msgspec.Struct], ...]] = (TrackEvent, EmotionEvent, TrackEmotion, FeedbackEvent)

# ``format`` is only an annotation to most validators: the pattern asks for the offset that a time needs.
_TIMESTAMP_PATTERN: Final = (
    r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[Tt ]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?"
    r"([Zz]|[+-]([01]\d|2[0-3]):?[0-5]\d)$"
)

FIELD_MEANINGS: Final[dict[str, str]] = {
    "schema_version": "Version of this schema. Version 1 only ever gains optional fields.",
    "event_id": "Identity of the event; a replay of the source repeats an EmotionEvent's.",
    "event_type": "What happened to the track.",
    "occurred_at": "When it happened: RFC 3339 with an offset.",
    "track_id": "The track, as the platform knows it; also the message's key.",
    "audio_uri": "Where the audio is: an absolute path, or a file, http, https or s3 location.",
    "position_seconds": "Where in the track it is played; the 30 s around it are judged.",
    "session_id": "Listening session; passed through.",
    "listener_id": "Listener; passed through.",
    "playlist_id": "Playlist; passed through.",
    "source_event_id": "event_id of the TrackEvent answered.",
    "classified_at": "When the answer was made.",
    "emotion": "The most probable perceived emotion.",
    "confidence": "Its calibrated probability.",
    "probabilities": "Calibrated probabilities, summing to 1.",
    "prediction_set": "Labels that cover the truth with the configured probability, most probable first.",
    "valence": "From unpleasant (-1) to pleasant (1).",
    "arousal": "From calm (-1) to energetic (1).",
    "decisions": "What each use should do with the emotion.",
    "fragments": "The emotion of each 30 s fragment heard, in order of time.",
    "start_seconds": "Where the fragment begins in the track.",
    "known": "Answered from the track's record, without hearing it again.",
    "late": "Answered past the deadline.",
    "model_version": "Model that judged.",
    "feature_version": "Version of the 50 features it judged by.",
    "audio_sha256": "Digest of the audio file's bytes.",
    "corrected_by": "Who corrected the model's emotion, if anyone did.",
    "model_emotion": "What the model had said, in a corrected record.",
    "emotion_event_id": "event_id of the EmotionEvent this is about.",
    "kind": "What was done with the emotion; `label` is a correction.",
    "label": "The right emotion, with kind `label`.",
    **dict.fromkeys(("relax", "happy", "sad", "angry"), "Probability of this emotion."),
    "playlist": "For reordering a queue.",
    "therapy": "For use with patients.",
    "catalogue": "For the label in the catalogue.",
}


def file_name(event: type[msgspec.Struct]) -> str:
    """Give the file of an event's schema.

    Parameters
    ----------
    event : type
        One of ``EVENTS``.

    Returns
    -------
    str
        Such as ``track-event.v1.json``.
    """
    return re.sub(r"(?<!^)(?=[A-Z])", "-", event.__name__).lower() + ".v1.json"


def build_schema(event: type[msgspec.Struct]) -> dict[str, Any]:
    """Make an event's schema from its class.

    Parameters
    ----------
    event : type
        One of ``EVENTS``.

    Returns
    -------
    dict
        A self-contained JSON Schema; unknown fields are allowed, and to be ignored.
    """
    (_,), definitions = msgspec.json.schema_components([event])
    root = definitions.pop(event.__name__)
    for definition in [root, *definitions.values()]:
        definition["description"] = " ".join(definition["description"].replace("``", "").split())
        for name, field in definition["properties"].items():
            definition["properties"][name] = {"description": FIELD_MEANINGS[name], **_without_default(field)}
    if event is not FeedbackEvent:
        # Every message of ours says its version; readers of older records still allow for one that does not.
        root["required"] = ["schema_version", *(name for name in root["required"] if name != "schema_version")]
    schema = {"$schema": DIALECT, "$id": f"https://github.com/emotion-stream/schemas/{file_name(event)}", **root}
    text = json.dumps(schema | ({"$defs": definitions} if definitions else {}))
    built: dict[str, Any] = json.loads(text, object_hook=_with_timestamp_pattern)
    return built


def load_schema(event: type[msgspec.Struct]) -> dict[str, Any]:
    """Read the shipped schema of an event.

    Parameters
    ----------
    event : type
        One of ``EVENTS``.

    Returns
    -------
    dict
        The JSON Schema.
    """
    loaded: dict[str, Any] = json.loads(resources.files(__name__).joinpath(file_name(event)).read_text("utf-8"))
    return loaded


def _without_default(field: dict[str, Any]) -> dict[str, Any]:
    # ``"default": null`` says no more than that the field is optional.
    return {name: value for name, value in field.items() if name != "default"}


def _with_timestamp_pattern(node: dict[str, Any]) -> dict[str, Any]:
    return node | {"pattern": _TIMESTAMP_PATTERN} if node.get("format") == "date-time" else node
