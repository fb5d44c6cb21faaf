"""The four emotions, their one order, and where they lie in Russell's circumplex.

The labels are *perceived* emotions, one per quadrant of valence and arousal (Russell 1980, A circumplex model of
affect, J. Pers. Soc. Psychol. 39(6); the quadrant reading is that of Er and Aydilek 2019).
"""

from enum import StrEnum
from typing import Final


class Emotion(StrEnum):
    """A perceived emotion; the value is the label in data, events and metrics."""

    RELAX = "relax"
    HAPPY = "happy"
    SAD = "sad"
    ANGRY = "angry"


# The order of probabilities, confusion matrices and tables everywhere.
EMOTIONS: Final[tuple[Emotion, ...]] = tuple(Emotion)

# Signs of (valence, arousal) of each quadrant.
QUADRANTS: Final[dict[Emotion, tuple[int, int]]] = {
    Emotion.RELAX: (1, -1),
    Emotion.HAPPY: (1, 1),
    Emotion.SAD: (-1, -1),
    Emotion.ANGRY: (-1, 1),
}
