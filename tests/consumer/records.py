"""TrackEmotions and TrackEvents for tests."""

import hashlib
from datetime import UTC, datetime
from typing import Any

import msgspec

from consumer.events import Decisions, Fragment, Probabilities, TrackEmotion

SHA = hashlib.sha256(b"audio").hexdigest()


def track_emotion(track_id: str = "t-1", **changes: Any) -> TrackEmotion:
    """Build a record."""
    fields: dict[str, Any] = {
        "track_id": track_id,
        "emotion": "sad",
        "confidence": 0.712345,
        "probabilities": Probabilities(relax=0.2, happy=0.05, sad=0.712345, angry=0.037655),
        "prediction_set": ["sad", "relax"],
        "valence": -0.461001,
        "arousal": -0.83,
        "decisions": Decisions(playlist="apply", therapy="withhold", catalogue="suggest"),
        "fragments": [Fragment(start_seconds=12.345, emotion="sad", confidence=0.712345)],
        "model_version": "m-1",
        "feature_version": "f-1",
        "audio_sha256": SHA,
        "classified_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    return TrackEmotion(**(fields | changes))


def track_emotion_json(track_id: str = "t-1", **changes: Any) -> bytes:
    """Build a record as it lies in Kafka."""
    return msgspec.json.encode(track_emotion(track_id, **changes))


def track_event_json(event_id: str = "e-1", track_id: str = "t-1", **changes: Any) -> bytes:
    """Build a TrackEvent as it lies in Kafka."""
    fields: dict[str, Any] = {
        "schema_version": 1,
        "event_id": event_id,
        "event_type": "track_played",
        "occurred_at": datetime.now(UTC),
        "track_id": track_id,
        "audio_uri": f"file:///music/{track_id}.flac",
    }
    return msgspec.json.encode(fields | changes)


def feedback_json(event_id: str = "f-1", track_id: str = "t-1", **changes: Any) -> bytes:
    """Build a FeedbackEvent as it lies in Kafka."""
    fields: dict[str, Any] = {
        "event_id": event_id,
        "occurred_at": datetime.now(UTC),
        "track_id": track_id,
        "emotion_event_id": "e-1",
        "kind": "accepted",
    }
    return msgspec.json.encode(fields | changes)
