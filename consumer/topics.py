"""Every topic once: its name, key, value, cleanup and direction.

All topics have the same partition count, and every producer uses Kafka's default partitioner (murmur2), so that a
track's events, its record and its analysis share a partition number.
"""

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic of the contract.

    Parameters
    ----------
    name : str
        As other teams know it.
    value : str
        The schema of its values; ``bytes`` where the original is kept.
    direction : {'in', 'out', 'internal'}
        Seen from this service.
    cleanup : {'delete', 'compact'}
        Kafka's ``cleanup.policy``.
    """

    name: str
    value: str
    direction: Literal["in", "out", "internal"]
    cleanup: Literal["delete", "compact"] = "delete"


TRACK_EVENTS: Final = Topic("track-events", "TrackEvent", "in")
TRACK_ANALYSIS: Final = Topic("track-analysis", "TrackEvent", "internal")
TRACK_EMOTIONS: Final = Topic("track-emotions", "TrackEmotion", "out", "compact")
EMOTION_EVENTS: Final = Topic("emotion-events", "EmotionEvent", "out")
DEAD_LETTERS: Final = Topic("track-events.dead-letter", "bytes", "out")
EMOTION_FEEDBACK: Final = Topic("emotion-feedback", "FeedbackEvent", "in")

TOPICS: Final[tuple[Topic, ...]] = (
    TRACK_EVENTS,
    TRACK_ANALYSIS,
    TRACK_EMOTIONS,
    EMOTION_EVENTS,
    DEAD_LETTERS,
    EMOTION_FEEDBACK,
)
