"""Made-up answers and events for the rhythms' tests."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from consumer.events import DecisionLabel, Decisions, EmotionLabel, FeedbackKind
from consumer.reports.prometheus import Answers, Series
from consumer.reports.recording import Feedback, Play

UNTIL = datetime(2026, 11, 16, tzinfo=UTC)

Rows = Sequence[tuple[Mapping[str, str], Sequence[float | None]]]


def answers(queries: Mapping[str, str], days: int, **series: Rows) -> Answers:
    """Answer the questions named; the others have no series. A short row is of the newest days."""
    ends = tuple(ends_of(days))
    found = {
        name: [Series(labels, (*[None] * (days - len(values)), *values)) for labels, values in rows]
        for name, rows in series.items()
    }
    assert set(series) <= set(queries)
    return Answers(ends, queries, found)


def ends_of(days: int) -> list[datetime]:
    """Give the ends of the last days."""
    return [UNTIL - timedelta(days=back) for back in reversed(range(days))]


def play(
    number: int,
    minute: float = 0.0,
    *,
    session: str | None = "s",
    playlist: DecisionLabel = "apply",
    catalogue: DecisionLabel = "apply",
    emotion: EmotionLabel = "happy",
    **others: Any,
) -> Play:
    """Make a play on the 10th, so many minutes after midnight."""
    values: dict[str, Any] = {
        "event_id": f"e{number}",
        "source_event_id": f"p{number}",
        "event_type": "track_played",
        "occurred_at": datetime(2026, 11, 10, tzinfo=UTC) + timedelta(minutes=minute),
        "track_id": f"t{number}",
        "emotion": emotion,
        "decisions": Decisions(playlist=playlist, therapy="withhold", catalogue=catalogue),
        "session_id": session,
    }
    return Play(**(values | others))


def feedback(number: int, kind: FeedbackKind, label: EmotionLabel | None = None, *, after: float = 1.0) -> Feedback:
    """Make feedback to ``play(number)``."""
    moment = datetime(2026, 11, 10, tzinfo=UTC) + timedelta(minutes=after)
    return Feedback(f"f{number}-{kind}-{after}", moment, f"e{number}", kind, label)
