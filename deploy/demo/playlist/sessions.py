"""Who listens to what, where their mood is going, and what that does to their queue.

Plain state in memory, no Kafka: events go in, changes of queues and feedback come out. Bounded, so that it can run
for months: the least recently active sessions and the oldest event ids are forgotten.
"""

import uuid
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeVar

from consumer.events import EVENT_NAMESPACE, EmotionEvent, EmotionLabel, FeedbackEvent, FeedbackKind
from deploy.demo.playlist.mood import TARGETS, Mood, arrange, mood_of, suggest_next

# Half of a listener's mood is the last track; the rest what came before it.
_MOOD_WEIGHT: Final = 0.5
# Moods remembered of a session: about a day of music.
_TRAJECTORY_LENGTH: Final = 400

Value = TypeVar("Value")


@dataclass(slots=True)
class Session:
    """One listener's sitting.

    Parameters
    ----------
    session_id : str
        As in the events.
    target : EmotionLabel
        Where the listener wants to be.
    queue : list of str
        Track ids, next first.
    mood : Mood, optional
        Where the listener is: an exponentially weighted mean over the tracks played; None before the first.
    trajectory : deque of Mood
        ``mood`` after each of the last plays.
    placed : EmotionEvent, optional
        The judgement on which this service put a track first, until something is played.
    offered : EmotionEvent, optional
        The judgement on which it suggests a track, until something is played.
    """

    session_id: str
    target: EmotionLabel
    queue: list[str]
    mood: Mood | None = None
    trajectory: deque[Mood] = field(default_factory=lambda: deque(maxlen=_TRAJECTORY_LENGTH))
    placed: EmotionEvent | None = None
    offered: EmotionEvent | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A queue that was put into another order, or a track that is offered to its listener.

    Parameters
    ----------
    session_id : str
        Whose queue.
    target : EmotionLabel
        What the order leads to.
    before, after : tuple of str
        Track ids, next first; the same tracks.
    suggestion : str, optional
        A track that only the listener may move to the front.
    cause : str, optional
        ``source_event_id`` of the play or upload it came from; None for a session that was started.
    """

    session_id: str
    target: EmotionLabel
    before: tuple[str, ...]
    after: tuple[str, ...]
    suggestion: str | None
    cause: str | None


@dataclass(frozen=True, slots=True)
class Reaction:
    """What came of one emotion event.

    Parameters
    ----------
    changes : tuple of Change
        One per session whose queue changed.
    feedback : tuple of FeedbackEvent
        What the listener's choice says about an earlier judgement.
    """

    changes: tuple[Change, ...] = ()
    feedback: tuple[FeedbackEvent, ...] = ()


class Sessions:
    """Every session, every judged track, and the ids of events already seen.

    Parameters
    ----------
    default_target : EmotionLabel
        Target of a session that was never started explicitly.
    max_sessions, max_tracks, max_event_ids : int
        Above these the least recently used are forgotten.
    """

    def __init__(
        self,
        default_target: EmotionLabel = "relax",
        *,
        max_sessions: int = 10_000,
        max_tracks: int = 100_000,
        max_event_ids: int = 100_000,
    ) -> None:
        self._default_target = default_target
        self._max_sessions, self._max_tracks, self._max_event_ids = max_sessions, max_tracks, max_event_ids
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._judged: OrderedDict[str, EmotionEvent] = OrderedDict()
        self._seen: OrderedDict[str, None] = OrderedDict()

    def start(self, session_id: str, target: EmotionLabel, queue: Iterable[str]) -> Change | None:
        """Begin a session, or begin it anew, with a queue.

        Parameters
        ----------
        session_id : str
            As it will stand in the events.
        target : EmotionLabel
            Where the listener wants to be.
        queue : iterable of str
            Track ids, next first; repetitions are dropped.

        Returns
        -------
        Change or None
            What was moved at once, out of what is known of the tracks.
        """
        session = self._sessions.pop(session_id, None) or Session(session_id, target, [])
        session.target, session.queue = target, list(dict.fromkeys(queue))
        self._sessions[session_id] = session
        _bound(self._sessions, self._max_sessions)
        return self._rearrange(session, cause=None)

    def queue(self, session_id: str) -> tuple[str, ...]:
        """Give a session's queue, next first; empty where there is no such session."""
        session = self._sessions.get(session_id)
        return tuple(session.queue) if session else ()

    def trajectory(self, session_id: str) -> tuple[Mood, ...]:
        """Give a session's moods in order of time."""
        session = self._sessions.get(session_id)
        return tuple(session.trajectory) if session else ()

    def hear(self, event: EmotionEvent) -> Reaction:
        """Take in one emotion event.

        An event whose id was seen before changes nothing. An upload teaches the track's emotion; a play also moves
        its session's mood and takes the track off its queue. Then every queue that the news concerns is rearranged.

        Parameters
        ----------
        event : EmotionEvent
            As read from ``emotion-events``.

        Returns
        -------
        Reaction
            Empty for a repetition and where no order changed.
        """
        if event.event_id in self._seen:
            return Reaction()
        self._seen[event.event_id] = None
        _bound(self._seen, self._max_event_ids)

        before = self._judged.pop(event.track_id, None)
        self._judged[event.track_id] = event
        _bound(self._judged, self._max_tracks)
        is_news = before is None or mood_of(before) != mood_of(event) or before.decisions != event.decisions

        concerned = [session for session in self._sessions.values() if is_news and event.track_id in session.queue]
        feedback: tuple[FeedbackEvent, ...] = ()
        if event.event_type == "track_played" and event.session_id is not None:
            session = self._active(event.session_id)
            feedback = tuple(_verdicts(session, event))
            _play(session, event)
            concerned = [session, *(other for other in concerned if other is not session)]
        changes = (self._rearrange(session, cause=event.source_event_id) for session in concerned)
        return Reaction(tuple(change for change in changes if change is not None), feedback)

    def _active(self, session_id: str) -> Session:
        session = self._sessions.pop(session_id, None)
        if session is None:
            session = Session(session_id, self._default_target, list(self._judged))
        self._sessions[session_id] = session
        _bound(self._sessions, self._max_sessions)
        return session

    def _rearrange(self, session: Session, cause: str | None) -> Change | None:
        if not session.queue:
            session.placed = session.offered = None
            return None
        target = TARGETS[session.target]
        # Before the first play nothing is known of the listener: the queue aims at the target at once.
        mood = session.mood or target
        before = tuple(session.queue)
        session.queue = arrange(before, self._judged, mood, target)
        head = self._judged.get(session.queue[0])
        session.placed = head if head is not None and head.decisions.playlist == "apply" else None
        suggestion = suggest_next(session.queue, self._judged, mood, target)
        is_new_offer = suggestion is not None and (session.offered is None or session.offered.track_id != suggestion)
        session.offered = None if suggestion is None else self._judged[suggestion]
        if tuple(session.queue) == before and not is_new_offer:
            return None
        return Change(session.session_id, session.target, before, tuple(session.queue), suggestion, cause)


def _verdicts(session: Session, play: EmotionEvent) -> Iterator[FeedbackEvent]:
    """Say what a play means for what this service had put first, and for what it had suggested."""
    if session.placed is not None:
        yield _feedback(session.placed, play, "accepted" if play.track_id == session.placed.track_id else "skipped")
    # A suggestion that is not taken says nothing: it was only offered.
    if session.offered is not None and play.track_id == session.offered.track_id:
        yield _feedback(session.offered, play, "accepted")


def _feedback(judgement: EmotionEvent, play: EmotionEvent, kind: FeedbackKind) -> FeedbackEvent:
    # Derived, not random: a play that is delivered again gives the same feedback again, and is recognised.
    feedback_id = uuid.uuid5(EVENT_NAMESPACE, f"playlist\n{play.source_event_id}\n{judgement.event_id}\n{kind}")
    return FeedbackEvent(
        event_id=str(feedback_id),
        occurred_at=play.occurred_at,
        track_id=judgement.track_id,
        emotion_event_id=judgement.event_id,
        kind=kind,
        listener_id=play.listener_id,
    )


def _play(session: Session, event: EmotionEvent) -> None:
    # An emotion nobody should act on says nothing about the listener's mood either.
    if event.decisions.playlist != "withhold":
        heard = mood_of(event)
        session.mood = heard if session.mood is None else session.mood.towards(heard, _MOOD_WEIGHT)
        session.trajectory.append(session.mood)
    if event.track_id in session.queue:
        session.queue.remove(event.track_id)


def _bound(table: OrderedDict[str, Value], limit: int) -> None:
    while len(table) > limit:
        table.popitem(last=False)
