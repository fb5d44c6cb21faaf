"""The ledger: what went in, what came out, and whether the books balance.

The promise (docs/reliability.md): after de-duplication by ``event_id`` every input event has exactly one outcome, an
emotion event or a dead letter; order per track holds within a lane. ``audit`` checks it from two lists and knows no
Kafka; ``auditor.py`` fills the second list from the output topics.

An input is recognised by its ``event_id`` in emotion events, and by its very bytes in dead letters, which must carry
them unchanged: poison has no other identity. Only a letter whose original Kafka found too large says where it lies.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

# Two copies of one emotion event may differ in these and in nothing else: when it was said, by which lane, and what
# follows from the two. A worker killed between its answer and its commit gives the answer again, later, and the track
# it heard the first time is known by then.
NOT_JUDGEMENT = frozenset({"classified_at", "late", "known"})
SHOWN_FINDINGS = 5


@dataclass(frozen=True, slots=True)
class Entry:
    """One input event.

    Parameters
    ----------
    event_id : str
        Its id; a made-up one for poison that has none.
    track_id : str
        The Kafka key.
    value : bytes
        What was produced, unique in the book.
    expected : {'emotion', 'dead_letter', 'either'}
        The outcome a healthy worker gives.
    reason : str, optional
        The expected dead letter's reason.
    partition, offset : int
        Where Kafka put it.
    """

    event_id: str
    track_id: str
    value: bytes
    expected: Literal["emotion", "dead_letter", "either"] = "emotion"
    reason: str | None = None
    partition: int = -1
    offset: int = -1


@dataclass(frozen=True, slots=True)
class Emotion:
    """One message of ``emotion-events``, in the order of its partition.

    Parameters
    ----------
    payload : Mapping
        The decoded EmotionEvent.
    partition, offset : int
        Where it was read.
    latency_seconds : float
        ``classified_at`` less ``occurred_at``.
    """

    payload: Mapping[str, Any]
    partition: int
    offset: int
    latency_seconds: float = 0.0

    @property
    def lane(self) -> str:
        """The lane that answered."""
        return "known" if self.payload["known"] else "new"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message of ``track-events.dead-letter``.

    Parameters
    ----------
    value : bytes
        The original's; empty where it was too large to be kept.
    reason : str
        The slug.
    source : tuple of int
        Partition and offset of the original, as the letter says.
    """

    value: bytes
    reason: str
    source: tuple[int, int] = (-1, -1)


@dataclass(slots=True)
class Verdict:
    """What the audit found; ``balanced`` is the promise kept.

    Attributes
    ----------
    lost : list of str
        Input ids without an outcome.
    duplicated : int
        Outcomes beyond the first of an input, identical in id and judgement.
    wrong : list of str
        Findings that no promise allows: copies that differ, two different outcomes of one input, an outcome of no
        input, an outcome other than the expected, a ``late`` flag that disagrees with the clock.
    rejudged : list of str
        Input ids answered twice, by an older and by a newer model: a copy of the answer was due when the track's
        record had changed, and the model is part of the answer's id.
    misordered : int
        Outcomes of a track that overtook an earlier input of it within one lane.
    late : int
        Answers past the deadline, marked so.
    """

    inputs: int = 0
    emotions: int = 0
    dead_letters: int = 0
    lost: list[str] = field(default_factory=list)
    duplicated: int = 0
    duplicated_ids: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    rejudged: list[str] = field(default_factory=list)
    misordered: int = 0
    late: int = 0
    latencies: dict[str, list[float]] = field(default_factory=dict)

    @property
    def balanced(self) -> bool:
        """Whether nothing was lost, wrong, answered twice or out of order; copies and late answers may be."""
        return not (self.lost or self.wrong or self.rejudged or self.misordered)

    def latency(self, lane: str, quantile: float) -> float:
        """Give a quantile of the latency of a lane's first answers in seconds, 0 without any."""
        ordered = sorted(self.latencies.get(lane, []))
        return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))] if ordered else 0.0

    def line(self) -> str:
        """Write the verdict on one line, and what is wrong below it."""
        speed = "".join(
            f" | {lane} p50 {self.latency(lane, 0.5):.3f} p99 {self.latency(lane, 0.99):.3f} s"
            for lane in sorted(self.latencies)
        )
        text = (
            f"{self.inputs} in = {self.emotions} emotions + {self.dead_letters} dead letters | lost {len(self.lost)} | "
            f"duplicated {self.duplicated} | wrong {len(self.wrong)} | mis-ordered {self.misordered} | "
            f"late {self.late}{speed}"
        )
        if self.rejudged:
            text += f" | answered by two models {len(self.rejudged)}"
        return "\n  ".join([text, *self.findings()])

    def findings(self) -> list[str]:
        """Say what is wrong, the first few of each kind."""
        kinds = (
            [f"lost: {event_id}" for event_id in self.lost],
            self.wrong,
            [f"answered by two models: {event_id}" for event_id in self.rejudged],
        )
        return [finding for kind in kinds for finding in kind[:SHOWN_FINDINGS]]


def audit(
    entries: Iterable[Entry],
    emotions: Iterable[Emotion],
    dead_letters: Iterable[DeadLetter],
    *,
    deadline_seconds: float = 60.0,
) -> Verdict:
    """State for each input exactly one outcome, and every way in which there is not.

    Parameters
    ----------
    entries : iterable of Entry
        The inputs, ids and values unique.
    emotions, dead_letters : iterable
        Every output to the end of its topic, each partition in offset order.
    deadline_seconds : float
        As the worker was told; decides what ``late`` must say.

    Returns
    -------
    Verdict
        The balance.
    """
    book = {entry.event_id: entry for entry in entries}
    by_value = {entry.value: entry for entry in book.values()}
    by_source = {(entry.partition, entry.offset): entry for entry in book.values()}
    verdict = Verdict(inputs=len(book))
    outcomes: dict[str, set[str]] = defaultdict(set)
    models: dict[str, set[str]] = defaultdict(set)
    first: dict[str, Emotion] = {}
    newest: dict[tuple[str, str], int] = {}
    for emotion in emotions:
        entry = book.get(emotion.payload["source_event_id"])
        if entry is None:
            verdict.wrong.append(f"emotion event of no input: {emotion.payload['source_event_id']}")
            continue
        late = emotion.latency_seconds > deadline_seconds
        if bool(emotion.payload["late"]) != late:
            verdict.wrong.append(f"late={emotion.payload['late']} after {emotion.latency_seconds:.1f} s: {entry}")
        identity = f"emotion {emotion.payload['event_id']}"
        if identity in outcomes[entry.event_id]:
            verdict.duplicated += 1
            verdict.duplicated_ids.add(entry.event_id)
            verdict.wrong += _differences(first[entry.event_id], emotion)
            continue
        outcomes[entry.event_id].add(identity)
        models[entry.event_id].add(emotion.payload["model_version"])
        if entry.event_id in first:
            continue
        first[entry.event_id] = emotion
        verdict.late += late
        verdict.latencies.setdefault(emotion.lane, []).append(emotion.latency_seconds)
        if emotion.payload["track_id"] != entry.track_id:
            verdict.wrong.append(f"track_id {emotion.payload['track_id']!r}, expected {entry.track_id!r}")
        furthest = newest.get((entry.track_id, emotion.lane), -1)
        verdict.misordered += entry.offset < furthest
        newest[entry.track_id, emotion.lane] = max(furthest, entry.offset)
    for letter in dead_letters:
        entry = by_value.get(letter.value) if letter.value else by_source.get(letter.source)
        if entry is None:
            verdict.wrong.append(f"dead letter of no input ({letter.reason}): {letter.value[:80]!r}")
            continue
        identity = f"dead letter {letter.reason}"
        if identity in outcomes[entry.event_id]:
            verdict.duplicated += 1
            verdict.duplicated_ids.add(entry.event_id)
        outcomes[entry.event_id].add(identity)
    for entry in book.values():
        _close(entry, outcomes.get(entry.event_id, set()), models.get(entry.event_id, set()), verdict)
    return verdict


def _close(entry: Entry, outcomes: set[str], models: set[str], verdict: Verdict) -> None:
    if not outcomes:
        verdict.lost.append(entry.event_id)
        return
    if len(outcomes) > 1 and len(outcomes) == len(models):
        verdict.rejudged.append(entry.event_id)
    elif len(outcomes) > 1:
        verdict.wrong.append(f"{len(outcomes)} outcomes of {entry.event_id}: {sorted(outcomes)}")
    kinds = Counter("emotion" if outcome.startswith("emotion") else "dead_letter" for outcome in outcomes)
    verdict.emotions += "emotion" in kinds
    verdict.dead_letters += "emotion" not in kinds
    if entry.expected != "either" and entry.expected not in kinds:
        verdict.wrong.append(
            f"{entry.event_id}: expected {entry.expected} {entry.reason or ''}, got {sorted(outcomes)}"
        )
    elif entry.reason and f"dead letter {entry.reason}" not in outcomes:
        verdict.wrong.append(f"{entry.event_id}: expected reason {entry.reason}, got {sorted(outcomes)}")


def _differences(one: Emotion, other: Emotion) -> list[str]:
    names = (one.payload.keys() | other.payload.keys()) - NOT_JUDGEMENT
    differ = sorted(name for name in names if one.payload.get(name) != other.payload.get(name))
    return [f"copies of {one.payload['event_id']} differ in {', '.join(differ)}"] if differ else []
