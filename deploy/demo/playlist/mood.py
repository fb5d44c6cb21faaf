"""Where a mood lies, and how a queue is put in order on the way from one mood to another.

A listener is met where they are and led to the target in a few steps, rather than thrown there by the first track.
Music therapy calls this the iso principle (Altshuler 1948, A psychiatrist's experience with music as a therapeutic
agent); the plane is Russell's circumplex of valence and arousal (1980).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from consumer.events import EmotionEvent, EmotionLabel


@dataclass(frozen=True, slots=True)
class Mood:
    """A point in the circumplex.

    Parameters
    ----------
    valence, arousal : float
        Unpleasant to pleasant and calm to excited, each in [-1, 1].
    """

    valence: float
    arousal: float

    def distance(self, other: "Mood") -> float:
        """Give the Euclidean distance to another mood, in [0, 2.83]."""
        return math.hypot(self.valence - other.valence, self.arousal - other.arousal)

    def towards(self, other: "Mood", share: float) -> "Mood":
        """Give the mood ``share`` of the way to another, 0 being here and 1 there."""
        return Mood(
            self.valence + share * (other.valence - self.valence),
            self.arousal + share * (other.arousal - self.arousal),
        )


# What a listener can ask for. Inside the quadrants, not at their corners: no track is all joy.
TARGETS: Final[dict[EmotionLabel, Mood]] = {
    "relax": Mood(0.5, -0.5),
    "happy": Mood(0.5, 0.5),
    "sad": Mood(-0.5, -0.5),
    "angry": Mood(-0.5, 0.5),
}
# The target is reached after this many tracks: about a quarter of an hour of songs.
STEPS: Final = 4


def mood_of(event: EmotionEvent) -> Mood:
    """Give the point of a track's emotion."""
    return Mood(event.valence, event.arousal)


def arrange(
    queue: Sequence[str], judged: Mapping[str, EmotionEvent], start: Mood, target: Mood, steps: int = STEPS
) -> list[str]:
    """Order a queue so that it leads from one mood to another.

    Only tracks whose playlist decision is ``apply`` are moved, and only among the places they already hold: a track
    that is unknown, or whose emotion is uncertain (``suggest``, ``withhold``), stays exactly where a person put it.
    Each place takes the nearest remaining track to its waypoint on the straight line from ``start`` to ``target``;
    of equally near tracks, the one queued first.

    Parameters
    ----------
    queue : sequence of str
        Track ids, next first, each once.
    judged : mapping of str to EmotionEvent
        What is known of tracks; it may lack some.
    start, target : Mood
        Where the listener is and wants to be.
    steps : int
        Tracks until the target is reached, >= 1.

    Returns
    -------
    list of str
        The same tracks in their new order.
    """
    movable = [track for track in queue if track in judged and judged[track].decisions.playlist == "apply"]
    arranged: list[str] = []
    for place, track in enumerate(queue):
        if track in judged and judged[track].decisions.playlist == "apply":
            waypoint = start.towards(target, min(1.0, (place + 1) / steps))
            track = min(movable, key=lambda candidate: waypoint.distance(mood_of(judged[candidate])))
            movable.remove(track)
        arranged.append(track)
    return arranged


def suggest_next(
    queue: Sequence[str], judged: Mapping[str, EmotionEvent], start: Mood, target: Mood, steps: int = STEPS
) -> str | None:
    """Name the track a person may want to move to the front.

    Tracks whose playlist decision is ``suggest`` are not moved by a machine; one of them is offered when it is nearer
    to the next waypoint than the track that would come next.

    Parameters
    ----------
    queue, judged, start, target, steps
        As for :func:`arrange`; the queue already arranged.

    Returns
    -------
    str or None
        A track id out of the queue, or None where nothing fits better.
    """
    waypoint = start.towards(target, 1 / steps)
    offers = [track for track in queue[1:] if track in judged and judged[track].decisions.playlist == "suggest"]
    if not offers:
        return None
    best = min(offers, key=lambda track: waypoint.distance(mood_of(judged[track])))
    head = judged.get(queue[0])
    if head is not None and waypoint.distance(mood_of(head)) <= waypoint.distance(mood_of(judged[best])):
        return None
    return best
