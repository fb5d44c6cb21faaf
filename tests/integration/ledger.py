"""The ledger: what went in, what came out, and whether the books balance.

The promise (docs/reliability.md): after de-duplication by ``event_id`` every input event has exactly one outcome, an
emotion event or a dead letter; order per track holds within a lane. ``audit`` checks it from two lists and knows no
Kafka; ``auditor.py`` fills the second list from the output topics.

An input is recognised by its ``event_id`` in emotion events, and by its very bytes in dead letters, which must carry
them unchanged: poison has no other identity. Only a letter whose original Kafka found too large says where it lies,
and only an input that may be so large (``Entry.may_be_stripped``) may have such a letter.

Whose judgement an answer carries is held against what the ledger knows itself: which audio the input named, and what
was said before of the same fragments of the same audio by the same model. A judgement follows from these alone, so
the check holds across records, lanes, re-analyses and uploads. A person's correction would break it: the tests that
correct tracks keep no ledger.
"""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

# Two copies of one emotion event may differ in these and in nothing else: when it was said, by which lane, and what
# follows from the two. A worker killed between its answer and its commit gives the answer again, later, and the track
# it heard the first time is known by then.
LETTERS = "letters"
NOT_JUDGEMENT = frozenset({"classified_at", "late", "known"})
JUDGEMENT = (
    "emotion", "confidence", "probabilities", "prediction_set", "valence", "arousal", "decisions", "fragments",
)  # fmt: skip
# What an answer repeats of its event; absent in both is equal.
REPEATED = ("event_type", "track_id", "session_id", "listener_id", "playlist_id")
SOURCE_TOPIC = "track-events"
SHOWN_FINDINGS = 5

Headers = tuple[tuple[str, bytes | None], ...]
# From and until, in seconds since the epoch.
Window = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Entry:
    """One input event.

    Parameters
    ----------
    event_id : str
        Its id; a made-up one for poison that has none.
    track_id : str
        The track; the Kafka key too, unless ``key`` says otherwise.
    value : bytes
        What was produced, unique in the book.
    expected : {'emotion', 'dead_letter', 'either'}
        The outcome a healthy worker gives.
    reason : str, optional
        The expected dead letter's reason.
    partition, offset : int
        Where Kafka put it.
    key : bytes, optional
        The Kafka key where it is not the track id.
    headers : tuple of (str, bytes)
        As produced.
    may_be_stripped : bool
        Whether it is so large that its dead letter may come without its value, key and headers.
    audio_sha256 : str, optional
        Digest of the audio it names, where the platform knows it.
    sent_at : float
        When it was given to Kafka, in seconds since the epoch; by default not before it was answered.
    """

    event_id: str
    track_id: str
    value: bytes
    expected: Literal["emotion", "dead_letter", "either"] = "emotion"
    reason: str | None = None
    partition: int = -1
    offset: int = -1
    key: bytes | None = None
    headers: Headers = ()
    may_be_stripped: bool = False
    audio_sha256: str | None = None
    sent_at: float = math.inf


@dataclass(frozen=True, slots=True)
class Emotion:
    """One message of ``emotion-events``, in the order of its partition.

    Parameters
    ----------
    payload : Mapping
        The decoded EmotionEvent.
    partition, offset : int
        Where it was read.
    key : bytes or None
        The Kafka key.
    ce_id : bytes or None
        The CloudEvents header.
    appended_at : float
        When the broker put it into its log, in seconds since the epoch.
    """

    payload: Mapping[str, Any]
    partition: int
    offset: int
    key: bytes | None
    ce_id: bytes | None
    appended_at: float

    @property
    def lane(self) -> str:
        """The lane that answered."""
        return "known" if self.payload["known"] else "new"

    @property
    def latency_seconds(self) -> float:
        """From ``occurred_at``, as the answer repeats it, to Kafka's log."""
        return self.appended_at - datetime.fromisoformat(self.payload["occurred_at"]).timestamp()


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
    topic : str
        The original's, as the letter says.
    key : bytes or None
        The original's.
    headers : tuple of (str, bytes)
        The original's: without those the service adds.
    appended_at : float
        When the broker put it into its log, in seconds since the epoch.
    """

    value: bytes
    reason: str
    source: tuple[int, int] = (-1, -1)
    topic: str = SOURCE_TOPIC
    key: bytes | None = None
    headers: Headers = ()
    appended_at: float = 0.0


@dataclass(slots=True)
class Verdict:
    """What the audit found; ``balanced`` is the promise kept.

    Attributes
    ----------
    lost : list of str
        Input ids without an outcome.
    duplicated : int
        Outcomes beyond the first of an input, identical in id and judgement.
    repeated : dict of str to (float, float)
        Input ids answered more than once, to when the event was sent and when Kafka had its first answer, in seconds
        since the epoch.
    wrong : list of str
        Findings that no promise allows: copies that differ, two different outcomes of one input, an outcome of no
        input, an outcome other than the expected, an answer that repeats its event wrongly or carries the judgement
        of other audio, a ``late`` flag that disagrees with the clock, a letter that does not give its original back.
    rejudged : list of str
        Input ids answered twice, by an older and by a newer model: a copy of the answer was due when the track's
        record had changed, and the model is part of the answer's id.
    misordered : int
        Outcomes of a track that overtook an earlier input of it within one lane.
    late : int
        Answers past the deadline, marked so.
    latencies, occurred : dict of str to list of float
        By lane, for each first answer: seconds from the input's ``occurred_at`` to Kafka's log, and that
        ``occurred_at`` in seconds since the epoch. Under ``LETTERS`` the same for each first dead letter, from when
        the input was sent: poison may have no time of its own.
    window : tuple of float, optional
        Of the fault: what occurred in it is told apart.
    """

    inputs: int = 0
    emotions: int = 0
    dead_letters: int = 0
    lost: list[str] = field(default_factory=list)
    duplicated: int = 0
    repeated: dict[str, Window] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    rejudged: list[str] = field(default_factory=list)
    misordered: int = 0
    late: int = 0
    latencies: dict[str, list[float]] = field(default_factory=dict)
    occurred: dict[str, list[float]] = field(default_factory=dict)
    window: Window | None = None

    @property
    def balanced(self) -> bool:
        """Whether nothing was lost, wrong, answered twice or out of order; copies and late answers may be."""
        return not (self.lost or self.wrong or self.rejudged or self.misordered)

    def latency(self, lane: str, quantile: float, *, inside: bool = False) -> float:
        """Give a quantile of the latency of a lane's first answers in seconds, 0 without any.

        Of the events that occurred outside of the fault's window, or of those inside.
        """
        ordered = sorted(self._latencies(lane, inside=inside))
        return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))] if ordered else 0.0

    def answered(self, lane: str, *, inside: bool = False) -> int:
        """Count a lane's first answers to events that occurred outside of the fault's window, or inside."""
        return len(self._latencies(lane, inside=inside))

    def line(self) -> str:
        """Write the verdict on one line, and what is wrong below it."""
        speed = "".join(
            f" | {lane} p50 {self.latency(lane, 0.5):.3f} p99 {self.latency(lane, 0.99):.3f} s"
            for lane in sorted(self.latencies)
        )
        if self.window is not None:
            speed += "".join(
                f" | {lane} in the fault p99 {self.latency(lane, 0.99, inside=True):.3f} s"
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

    def _latencies(self, lane: str, *, inside: bool) -> list[float]:
        latencies = self.latencies.get(lane, [])
        if self.window is None:
            return [] if inside else latencies
        begin, end = self.window
        return [
            latency
            for latency, occurred in zip(latencies, self.occurred.get(lane, []), strict=True)
            if (begin <= occurred <= end) is inside
        ]


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
    first_letters: dict[str, DeadLetter] = {}
    newest: dict[tuple[str, str], int] = {}
    heard = _Heard(book.values())
    for emotion in emotions:
        payload = emotion.payload
        entry = book.get(payload["source_event_id"])
        if entry is None:
            verdict.wrong.append(f"emotion event of no input: {payload['source_event_id']}")
            continue
        taken = (_moment(payload["classified_at"]) - _moment(payload["occurred_at"])).total_seconds()
        late = taken > deadline_seconds
        if bool(payload["late"]) != late:
            verdict.wrong.append(f"late={payload['late']} after {taken:.1f} s: {entry.event_id}")
        verdict.wrong += _misaddressed(entry, emotion)
        identity = f"emotion {payload['event_id']}"
        if outcomes[entry.event_id]:
            verdict.repeated.setdefault(entry.event_id, _in_flight(entry, first[entry.event_id].appended_at))
        if identity in outcomes[entry.event_id]:
            verdict.duplicated += 1
            verdict.wrong += _differences(first[entry.event_id], emotion)
            continue
        outcomes[entry.event_id].add(identity)
        models[entry.event_id].add(payload["model_version"])
        verdict.wrong += heard.differences(entry, payload)
        if entry.event_id in first:
            continue
        first[entry.event_id] = emotion
        try:
            event = json.loads(entry.value)
            occurred = _moment(event["occurred_at"]).timestamp()
        except (ValueError, TypeError, KeyError):
            verdict.wrong.append(f"{entry.event_id} was answered and is no event")
            continue
        verdict.wrong += _rewritten(event, payload)
        verdict.late += late
        verdict.latencies.setdefault(emotion.lane, []).append(emotion.appended_at - occurred)
        verdict.occurred.setdefault(emotion.lane, []).append(occurred)
        furthest = newest.get((entry.track_id, emotion.lane), -1)
        verdict.misordered += entry.offset < furthest
        newest[entry.track_id, emotion.lane] = max(furthest, entry.offset)
    for letter in dead_letters:
        entry = by_value.get(letter.value) if letter.value else by_source.get(letter.source)
        if entry is None:
            verdict.wrong.append(f"dead letter of no input ({letter.reason}): {letter.value[:80]!r}")
            continue
        verdict.wrong += _altered(entry, letter)
        identity = f"dead letter {letter.reason}"
        one = first_letters.setdefault(entry.event_id, letter)
        if one is letter and math.isfinite(entry.sent_at):
            verdict.latencies.setdefault(LETTERS, []).append(letter.appended_at - entry.sent_at)
            verdict.occurred.setdefault(LETTERS, []).append(entry.sent_at)
        elif one is not letter:
            verdict.repeated.setdefault(entry.event_id, _in_flight(entry, one.appended_at))
            if _original(one) != _original(letter):
                verdict.wrong.append(f"copies of the dead letter of {entry.event_id} differ")
        verdict.duplicated += identity in outcomes[entry.event_id]
        outcomes[entry.event_id].add(identity)
    for entry in book.values():
        _close(entry, outcomes.get(entry.event_id, set()), models.get(entry.event_id, set()), verdict)
    return verdict


class _Heard:
    """What was said of which audio, held against what the inputs named."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        # A track is answered from its record whatever audio a later play names: any that was named may be in it.
        self._named: dict[str, set[str | None]] = defaultdict(set)
        for entry in entries:
            if entry.expected != "dead_letter":
                self._named[entry.track_id].add(entry.audio_sha256)
        self._said: dict[tuple[object, ...], Mapping[str, Any]] = {}

    def differences(self, entry: Entry, payload: Mapping[str, Any]) -> list[str]:
        digest, named = payload["audio_sha256"], self._named[entry.track_id]
        if None not in named and digest not in named:
            return [f"{entry.event_id} of {entry.track_id!r} carries the judgement of other audio: {digest[:12]}"]
        fragments = tuple(fragment["start_seconds"] for fragment in payload["fragments"])
        said = self._said.setdefault((digest, payload["model_version"], payload["feature_version"], fragments), payload)
        differ = [name for name in JUDGEMENT if said[name] != payload[name]]
        if not differ:
            return []
        return [f"{entry.event_id} and {said['source_event_id']} were judged differently: {', '.join(differ)}"]


def _in_flight(entry: Entry, answered_at: float) -> Window:
    """Give from when to when an input was in Kafka without an answer."""
    return min(entry.sent_at, answered_at), answered_at


def _misaddressed(entry: Entry, emotion: Emotion) -> list[str]:
    found = []
    if emotion.key != entry.track_id.encode():
        found.append(f"answer of {entry.event_id} under key {emotion.key!r}, expected {entry.track_id!r}")
    if emotion.ce_id != emotion.payload["event_id"].encode():
        found.append(f"answer of {entry.event_id} with ce_id {emotion.ce_id!r}")
    return found


def _rewritten(event: Mapping[str, Any], payload: Mapping[str, Any]) -> list[str]:
    differ = [name for name in REPEATED if event.get(name) != payload.get(name)]
    if _moment(event["occurred_at"]) != _moment(payload["occurred_at"]):
        differ.append("occurred_at")
    return [f"answer of {event['event_id']} differs from its event in {', '.join(differ)}"] if differ else []


def _altered(entry: Entry, letter: DeadLetter) -> list[str]:
    found = []
    if (letter.topic, *letter.source) != (SOURCE_TOPIC, entry.partition, entry.offset):
        found.append(f"says it came from {letter.topic}[{letter.source[0]}]@{letter.source[1]}")
    key: bytes | None = None
    headers: Headers = ()
    if letter.value:
        key, headers = entry.track_id.encode() if entry.key is None else entry.key, entry.headers
    elif not entry.may_be_stripped:
        found.append("has lost its value")
    if letter.key != key:
        found.append(f"has key {(letter.key or b'')[:80]!r}")
    if letter.headers != headers:
        found.append(f"has headers {[name for name, _ in letter.headers][:SHOWN_FINDINGS]}")
    return [f"dead letter of {entry.event_id} {what}" for what in found]


def _original(letter: DeadLetter) -> tuple[object, ...]:
    return letter.value, letter.reason, letter.source, letter.topic, letter.key, letter.headers


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


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
