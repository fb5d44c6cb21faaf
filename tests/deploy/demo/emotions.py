"""Emotion events for tests, with everything that does not matter filled in."""

from datetime import UTC, datetime

from consumer.events import DecisionLabel, Decisions, EmotionEvent, EmotionLabel, EventType, Probabilities
from deploy.demo.playlist.mood import TARGETS


def emotion_event(
    track_id: str,
    emotion: EmotionLabel = "happy",
    *,
    event_id: str | None = None,
    event_type: EventType = "track_uploaded",
    session_id: str | None = None,
    playlist: DecisionLabel = "apply",
    known: bool = False,
    source_event_id: str | None = None,
) -> EmotionEvent:
    return EmotionEvent(
        event_id=event_id or f"{track_id}-{event_type}-{session_id}",
        source_event_id=source_event_id or f"source of {event_id or track_id}",
        event_type=event_type,
        occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
        classified_at=datetime(2026, 1, 1, tzinfo=UTC),
        track_id=track_id,
        session_id=session_id,
        emotion=emotion,
        confidence=0.9,
        probabilities=Probabilities(relax=0.25, happy=0.25, sad=0.25, angry=0.25),
        prediction_set=[emotion],
        valence=TARGETS[emotion].valence,
        arousal=TARGETS[emotion].arousal,
        decisions=Decisions(playlist=playlist, therapy="withhold", catalogue="apply"),
        fragments=[],
        known=known,
        late=False,
        model_version="m1",
        feature_version="f1",
        audio_sha256="0" * 64,
    )


def play(
    track_id: str, session_id: str, emotion: EmotionLabel = "happy", *, playlist: DecisionLabel = "apply"
) -> EmotionEvent:
    return emotion_event(
        track_id, emotion, event_type="track_played", session_id=session_id, playlist=playlist, known=True
    )
