"""What the topics say and Prometheus cannot: sessions, tracks, and which feedback answers which decision.

Read from recordings as JSON lines of ``emotion-events`` and ``emotion-feedback``. A play counts once, however often it
was delivered or judged (``source_event_id``); feedback likewise (``event_id``). Lines that are no
such event are counted. Holds every play of the period in memory, some 500 bytes each: record a sample
of *sessions* where there are too many.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Final, TypeVar

import msgspec

from consumer.errors import ConfigurationError
from consumer.events import DecisionLabel, Decisions, EmotionLabel, EventType, FeedbackKind
from consumer.reports.share import Share

# A listener who plays nothing for half an hour has gone; web analytics ends a session after as long.
SESSION_GAP: Final = timedelta(minutes=30)
# What a listener does to say yes; a skip says no; a label is a curator's, and no listener's verdict.
LIKING: Final = ("accepted", "completed", "liked")
DECISIONS: Final[tuple[DecisionLabel, ...]] = ("apply", "suggest", "withhold")


class Play(msgspec.Struct, frozen=True):
    """What the reports need of an EmotionEvent."""

    event_id: str
    source_event_id: str
    event_type: EventType
    occurred_at: datetime
    track_id: str
    emotion: EmotionLabel
    decisions: Decisions
    session_id: str | None = None
    listener_id: str | None = None


class Feedback(msgspec.Struct, frozen=True):
    """What the reports need of a FeedbackEvent."""

    event_id: str
    occurred_at: datetime
    emotion_event_id: str
    kind: FeedbackKind
    label: EmotionLabel | None = None


_Event = TypeVar("_Event", Play, Feedback)


@dataclass(frozen=True, slots=True)
class Recording:
    """The recorded events of a period.

    Parameters
    ----------
    plays : list of Play or None
        Plays and uploads in the order of ``occurred_at``; None without a recording.
    feedback : list of Feedback or None
        None without a recording.
    answered : mapping of str to Play
        The event that feedback speaks of, by ``emotion_event_id``; also from before the period.
    notes : list of str
        Files read, and what in them was left out.
    """

    plays: list[Play] | None = None
    feedback: list[Feedback] | None = None
    answered: Mapping[str, Play] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def joined(self) -> list[tuple[Play, Feedback]] | None:
        """Pair feedback with the event it is about; None without both recordings."""
        if self.plays is None or self.feedback is None:
            return None
        return [
            (self.answered[one.emotion_event_id], one) for one in self.feedback if one.emotion_event_id in self.answered
        ]

    def corrections(self) -> list[tuple[Play, EmotionLabel]] | None:
        """Give each corrected event and the truth, the latest correction of each event; None without recordings."""
        pairs = self.joined()
        if pairs is None:
            return None
        pairs.sort(key=lambda pair: pair[1].occurred_at)
        latest = {play.event_id: (play, one.label) for play, one in pairs if one.kind == "label" and one.label}
        return [(play, label) for play, label in latest.values() if label]


def read_recording(events: Path | None, feedback: Path | None, start: datetime, until: datetime) -> Recording:
    """Read what was recorded of a period.

    Parameters
    ----------
    events, feedback : Path, optional
        JSON lines.
    start, until : datetime
        Events count from ``start`` on and before ``until``.

    Returns
    -------
    Recording

    Raises
    ------
    ConfigurationError
        If a file holds lines, but not one such event.
    """
    notes: list[str] = []
    said: list[Feedback] | None = None
    if feedback is not None:
        found = {one.event_id: one for one in _read(feedback, Feedback, notes) if start <= one.occurred_at < until}
        said = list(found.values())
    if events is None:
        return Recording(None, said, {}, notes)
    wanted = {one.emotion_event_id for one in said or ()}
    plays: dict[str, Play] = {}
    answered: dict[str, Play] = {}
    for play in _read(events, Play, notes):
        if play.event_id in wanted:
            answered[play.event_id] = play
        if start <= play.occurred_at < until:
            plays.setdefault(play.source_event_id, play)
    ordered = sorted(plays.values(), key=lambda play: play.occurred_at)
    notes.append(f"{events.name}: {len(ordered):,} distinct plays and uploads in the period.")
    if said is not None:
        notes.append(f"{feedback.name if feedback else ''}: {len(said):,} distinct events in the period.")
        unmatched = sum(one.emotion_event_id not in answered for one in said)
        if unmatched:
            notes.append(
                f"{unmatched:,} of {len(said):,} feedback events answer an event that is not in {events.name}."
            )
    return Recording(ordered, said, answered, notes)


def _read(path: Path, kind: type[_Event], notes: list[str]) -> Iterator[_Event]:
    decoder = msgspec.json.Decoder(kind)
    good = bad = 0
    first = ""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                event = decoder.decode(line)
                if event.occurred_at.tzinfo is None:
                    raise msgspec.ValidationError("occurred_at without an offset")
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                bad += 1
                first = first or f"line {number}: {error}"
                continue
            good += 1
            yield event
    if bad and not good:
        raise ConfigurationError(f"{path}: expected emotion-{'events' if kind is Play else 'feedback'}, got {first}")
    notes.append(f"{path.name}: {good:,} events read" + (f", {bad:,} lines refused ({first})." if bad else "."))


def acceptance(pairs: Sequence[tuple[Play, Feedback]]) -> dict[DecisionLabel, tuple[Share, Share]]:
    """Count what listeners did, by what the playlist was advised.

    Parameters
    ----------
    pairs : sequence of (Play, Feedback)

    Returns
    -------
    dict of str to (liked, skipped)
        Shares of all verdicts (``LIKING`` and skips) on events of that decision.
    """
    counts = Counter((play.decisions.playlist, one.kind) for play, one in pairs)
    shares = {}
    for decision in DECISIONS:
        liked, skipped = sum(counts[decision, kind] for kind in LIKING), counts[decision, "skipped"]
        shares[decision] = (Share(liked, liked + skipped), Share(skipped, liked + skipped))
    return shares


@dataclass(frozen=True, slots=True)
class Retention:
    """Sessions whose first play had one decision.

    Parameters
    ----------
    went_on : Share
        Of those sessions, the ones with another play within ``SESSION_GAP`` of the first.
    median_plays : float or None
        Plays in such a session; None without any.
    """

    went_on: Share
    median_plays: float | None


def sessions(plays: Sequence[Play]) -> list[list[Play]]:
    """Give the plays of each session: those of one ``session_id`` without a gap longer than ``SESSION_GAP``.

    Parameters
    ----------
    plays : sequence of Play
        In the order of ``occurred_at``; uploads, and plays without a session, are left out.

    Returns
    -------
    list of list of Play
    """
    found: list[list[Play]] = []
    newest: dict[str, list[Play]] = {}
    for play in plays:
        if play.event_type != "track_played" or play.session_id is None:
            continue
        session = newest.get(play.session_id)
        if session is None or play.occurred_at - session[-1].occurred_at > SESSION_GAP:
            session = newest[play.session_id] = []
            found.append(session)
        session.append(play)
    return found


def retention(plays: Sequence[Play]) -> dict[DecisionLabel, Retention]:
    """Compare how many sessions go on after their first play, by the decision on it.

    The first play, because later ones are only reached by listeners who stayed: by then every decision looks good. A
    session that begins within ``SESSION_GAP`` of the recording's start or end is left out: it may have begun before, or
    gone on after.

    Parameters
    ----------
    plays : sequence of Play
        In the order of ``occurred_at``.

    Returns
    -------
    dict of str to Retention
        For each decision about the playlist.
    """
    groups: dict[DecisionLabel, list[list[Play]]] = defaultdict(list)
    if plays:
        begin, end = plays[0].occurred_at + SESSION_GAP, plays[-1].occurred_at - SESSION_GAP
        for session in sessions(plays):
            if begin <= session[0].occurred_at <= end:
                groups[session[0].decisions.playlist].append(session)
    return {
        decision: Retention(
            Share(sum(len(session) > 1 for session in groups[decision]), len(groups[decision])),
            median(map(len, groups[decision])) if groups[decision] else None,
        )
        for decision in DECISIONS
    }
