"""The book of the demo: what was sent, what came of it, and whether each event had exactly one outcome."""

import math
import threading
from dataclasses import dataclass, field
from typing import Literal

from consumer.events import EmotionEvent

Kind = Literal["upload", "play", "broken", "malformed"]
Lane = Literal["known", "new", "dead letter"]


@dataclass(frozen=True, slots=True)
class Sent:
    """One message the platform sent to ``track-events``.

    Parameters
    ----------
    event_id : str
        As in the event; for a malformed one, as it would have been.
    kind : {'upload', 'play', 'broken', 'malformed'}
        What the platform meant by it.
    title : str
        The track's.
    value : bytes
        The message; a dead letter is recognised by it.
    sent_at : float
        Seconds since the epoch.
    listener : str
        Who plays; empty for an upload.
    """

    event_id: str
    kind: Kind
    title: str
    value: bytes
    sent_at: float
    listener: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one message.

    Parameters
    ----------
    sent : Sent
        The message.
    lane : {'known', 'new', 'dead letter'}
        Who answered.
    latency_seconds : float
        From the sending to the arrival of the answer back here.
    emotion : EmotionEvent, optional
        The answer, unless it is a dead letter.
    reason, message : str
        Why it is a dead letter, as slug and in words.
    """

    sent: Sent
    lane: Lane
    latency_seconds: float
    emotion: EmotionEvent | None = None
    reason: str = ""
    message: str = ""


@dataclass(slots=True)
class Ledger:
    """Sent messages and their outcomes; safe to use from several threads.

    ``repeated`` counts deliveries of an outcome that had arrived already, which at-least-once allows;
    ``contradictions`` holds second outcomes that are not the first one again, which nothing allows.
    """

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    contradictions: list[Outcome] = field(default_factory=list)
    repeated: int = 0
    _sent: dict[str, Sent] = field(default_factory=dict)
    _by_value: dict[bytes, Sent] = field(default_factory=dict)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def expect(self, sent: Sent) -> None:
        """Enter a message, before it is produced."""
        with self._changed:
            self._sent[sent.event_id] = self._by_value[sent.value] = sent

    def answer(self, event: EmotionEvent, arrived_at: float) -> Outcome | None:
        """Enter an emotion event.

        Returns
        -------
        Outcome or None
            None for a repetition, a contradiction, or somebody else's event.
        """
        sent = self._sent.get(event.source_event_id)
        if sent is None:
            return None
        lane: Lane = "known" if event.known else "new"
        return self._enter(Outcome(sent, lane, arrived_at - sent.sent_at, emotion=event))

    def bury(self, value: bytes, reason: str, message: str, arrived_at: float) -> Outcome | None:
        """Enter a dead letter, recognised by its original bytes; returns as :meth:`answer` does."""
        sent = self._by_value.get(value)
        if sent is None:
            return None
        return self._enter(Outcome(sent, "dead letter", arrived_at - sent.sent_at, reason=reason, message=message))

    def missing(self) -> list[Sent]:
        """List the messages without an outcome, in the order they were sent."""
        with self._changed:
            return [sent for event_id, sent in self._sent.items() if event_id not in self.outcomes]

    def wait(self, stall_seconds: float) -> bool:
        """Wait until every message has an outcome.

        Parameters
        ----------
        stall_seconds : float
            Give up when no outcome has come for so long.

        Returns
        -------
        bool
            Whether every message has one.
        """
        with self._changed:
            while len(self.outcomes) < len(self._sent):
                if not self._changed.wait(stall_seconds):
                    return False
            return True

    @property
    def sent_count(self) -> int:
        """How many messages were sent."""
        return len(self._sent)

    @property
    def is_complete(self) -> bool:
        """Whether every message has exactly one outcome."""
        return not self.missing() and not self.contradictions

    def latencies(self, lane: Lane) -> list[float]:
        """Give the latencies of a lane in seconds, ascending."""
        with self._changed:
            return sorted(outcome.latency_seconds for outcome in self.outcomes.values() if outcome.lane == lane)

    def _enter(self, outcome: Outcome) -> Outcome | None:
        with self._changed:
            first = self.outcomes.setdefault(outcome.sent.event_id, outcome)
            if first is outcome:
                self._changed.notify_all()
                return outcome
            if _is_same(first, outcome):
                self.repeated += 1
            else:
                self.contradictions.append(outcome)
            return None


def quantile(ascending: list[float], share: float) -> float:
    """Give the smallest value that at least ``share`` of the values do not exceed; NaN of none."""
    return ascending[max(0, math.ceil(share * len(ascending)) - 1)] if ascending else math.nan


def _is_same(first: Outcome, second: Outcome) -> bool:
    if first.emotion is not None and second.emotion is not None:
        return first.emotion.event_id == second.emotion.event_id
    return first.emotion is second.emotion and first.reason == second.reason
