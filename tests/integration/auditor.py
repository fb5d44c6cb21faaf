"""Reads the output topics to their end for the ledger, as an independent consumer would: no code of the service."""

import time
from collections.abc import Iterable
from itertools import islice
from types import TracebackType
from typing import Any, Self

import msgspec
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, KafkaError, KafkaException, TopicPartition

from tests.integration.administration import LANES, await_no_lag
from tests.integration.ledger import DeadLetter, Emotion, Entry, Verdict, audit

EMOTION_EVENTS = "emotion-events"
DEAD_LETTERS = "track-events.dead-letter"
# What the service adds to the original's headers; docs/asyncapi.yaml says it to others.
ADDED_HEADERS = frozenset(
    {"error.reason", "error.message", "source.topic", "source.partition", "source.offset", "attempts", "first_seen"}
)
# Answers of a broker that is down, restarting or electing: asked again until the test's own deadline.
_PASSING = (
    KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT, KafkaError._RESOLVE,
    KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.REQUEST_TIMED_OUT,
)  # fmt: skip


class Auditor:
    """Follows ``emotion-events`` and the dead letters from their beginning, committed records only.

    Parameters
    ----------
    bootstrap : str
        Brokers to read from.
    deadline_seconds : float
        The worker's setting.
    """

    def __init__(self, bootstrap: str, *, deadline_seconds: float = 60.0) -> None:
        self.emotions: list[Emotion] = []
        self.dead_letters: list[DeadLetter] = []
        self._bootstrap = bootstrap
        self._deadline_seconds = deadline_seconds
        self._answered: set[str] = set()
        self._buried: set[bytes | tuple[int, int]] = set()
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "auditor",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "log_level": 0,
            }
        )
        topics = self._consumer.list_topics(timeout=30).topics
        # Our own book of places: the client forgets a position when it is assigned anew and nothing came since, and
        # what is read twice would look like a copy.
        self._next = {
            (name, partition): 0 for name in (EMOTION_EVENTS, DEAD_LETTERS) for partition in topics[name].partitions
        }
        self._assign()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.close()

    def settle(
        self, entries: Iterable[Entry], timeout_seconds: float, *, lanes: Iterable[str] = LANES, but_for: int = 0
    ) -> Verdict:
        """Read until every input has an outcome and the service has acknowledged them all, then to the end, and audit.

        In this order, because what is not acknowledged may be answered again: a copy that comes late must be in the
        books.

        Parameters
        ----------
        entries : iterable of Entry
            The inputs so far.
        timeout_seconds : float
            After which what is missing counts as lost.
        lanes : iterable of str
            Those that run.
        but_for : int
            Messages that are never acknowledged: the markers behind transactions.

        Returns
        -------
        Verdict
            The balance.
        """
        entries = list(entries)
        # What has no outcome is lost, which says more than a lag.
        if not self.follow(entries, timeout_seconds, until_missing=0):
            await_no_lag(self._bootstrap, lanes=lanes, but_for=but_for)
        return self.close_books(entries)

    def wait(self, entries: Iterable[Entry], timeout_seconds: float) -> Verdict:
        """Read until every input has an outcome, then to the end, and audit: before a fault, or without a worker.

        Parameters
        ----------
        entries : iterable of Entry
            The inputs so far.
        timeout_seconds : float
            After which what is missing counts as lost.

        Returns
        -------
        Verdict
            The balance.
        """
        entries = list(entries)
        self.follow(entries, timeout_seconds, until_missing=0)
        return self.close_books(entries)

    def follow(self, entries: Iterable[Entry], timeout_seconds: float, *, until_missing: int) -> int:
        """Read until at most so many inputs lack an outcome; give the number that still do."""
        open_entries = self.missing(entries)
        missing = {entry.event_id for entry in open_entries}
        buried: dict[bytes | tuple[int, int], str] = {entry.value: entry.event_id for entry in open_entries}
        buried |= {(entry.partition, entry.offset): entry.event_id for entry in open_entries}
        deadline = time.monotonic() + timeout_seconds
        while len(missing) > until_missing and time.monotonic() < deadline:
            read = len(self.emotions), len(self.dead_letters)
            self._read(timeout_seconds=0.2)
            missing -= {emotion.payload["source_event_id"] for emotion in islice(self.emotions, read[0], None)}
            missing -= {buried.get(_sign(letter), "") for letter in islice(self.dead_letters, read[1], None)}
        return len(missing)

    def missing(self, entries: Iterable[Entry]) -> list[Entry]:
        """List the inputs that have no outcome as far as was read."""
        answered, buried = self._answered, self._buried
        return [
            entry
            for entry in entries
            if entry.event_id not in answered
            and entry.value not in buried
            and (entry.partition, entry.offset) not in buried
        ]

    def close_books(self, entries: Iterable[Entry]) -> Verdict:
        """Read every output partition to its end and audit."""
        self._assign()
        open_places = set(self._next)
        deadline = time.monotonic() + 60
        while open_places:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no end of {sorted(open_places)} within 60 s")
            open_places -= self._read(timeout_seconds=1.0)
        return audit(entries, self.emotions, self.dead_letters, deadline_seconds=self._deadline_seconds)

    def _assign(self) -> None:
        self._consumer.assign([TopicPartition(*place, offset) for place, offset in self._next.items()])

    def _read(self, timeout_seconds: float) -> set[tuple[str, int]]:
        ended = set()
        for message in self._consumer.consume(1000, timeout_seconds):
            error = message.error()
            if error is None:
                self._enter(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                ended.add((str(message.topic()), int(message.partition() or 0)))
            elif error.code() not in _PASSING:
                raise KafkaException(error)
        return ended

    def _enter(self, message: Any) -> None:
        place = message.topic(), message.partition()
        if message.offset() < self._next[place]:
            return
        self._next[place] = message.offset() + 1
        kind, milliseconds = message.timestamp()
        assert kind == TIMESTAMP_LOG_APPEND_TIME, f"{message.topic()} must be stamped by the broker"
        headers = message.headers() or []
        named = dict(headers)
        if message.topic() == DEAD_LETTERS:
            letter = DeadLetter(
                message.value() or b"",
                named["error.reason"].decode(),
                (int(named["source.partition"]), int(named["source.offset"])),
                named["source.topic"].decode(),
                message.key(),
                tuple(header for header in headers if header[0] not in ADDED_HEADERS),
                milliseconds / 1000,
            )
            self.dead_letters.append(letter)
            self._buried.add(_sign(letter))
            return
        # The names of the fields are the same objects in all of them: 2.4 instead of 4.0 kB an answer, of millions.
        payload = msgspec.json.decode(message.value())
        self.emotions.append(
            Emotion(
                payload, message.partition(), message.offset(), message.key(), named.get("ce_id"), milliseconds / 1000
            )
        )
        self._answered.add(payload["source_event_id"])


def _sign(letter: DeadLetter) -> bytes | tuple[int, int]:
    """Give what a dead letter's input is known by."""
    return letter.value or letter.source
