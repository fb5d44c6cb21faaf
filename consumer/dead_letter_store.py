"""Read the dead-letter topic, and publish its letters again where they came from.

How far each reason has been replayed is kept in Kafka, as the offsets of one consumer group per reason: a replay that
is interrupted goes on where it stopped, and none is repeated because another reason was replayed in between. (Kafka
forgets a group's offsets after ``offsets.retention.minutes``, 7 days unless set: keep letters no longer than that.)
"""

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Final, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from msgspec import Struct, field

from consumer import dead_letter
from consumer.dead_letter import Headers, header_list, original_headers
from consumer.errors import BrokerError, InvalidEventError, Reason
from consumer.kafka_config import consumer_config, packed_producer_config
from consumer.message_headers import Received, read_headers
from consumer.settings import Settings
from consumer.topics import DEAD_LETTERS, EMOTION_FEEDBACK, TRACK_ANALYSIS, TRACK_EVENTS

TIMEOUT_SECONDS: Final = 15.0
_BATCH: Final = 500
_COORDINATOR_MOVES: Final = frozenset(
    {
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError._WAIT_COORD,
    }
)
# Where a letter's own headers may send it: anyone who can write a letter could otherwise have it published anywhere.
_REPLAY_TOPICS: Final = frozenset({TRACK_EVENTS.name, TRACK_ANALYSIS.name, EMOTION_FEEDBACK.name})


T = TypeVar("T")


class StoredLetter(Struct, frozen=True):
    """A dead letter as it lies in its topic.

    Parameters
    ----------
    partition, offset : int
        Where it lies.
    key, value : bytes or None
        The original's.
    headers : list of (str, bytes or None)
        The original's and ours.
    """

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers

    def header(self, name: str) -> str:
        """Give the last header of a name as text.

        Parameters
        ----------
        name : str
            One of ``dead_letter.ADDED_HEADERS``.

        Returns
        -------
        str
            Empty where there is none.
        """
        values = [value for found, value in self.headers if found == name and value is not None]
        return values[-1].decode("utf-8", "replace") if values else ""

    @property
    def reason(self) -> str:
        """Why it is here; ``unknown`` where someone else wrote it."""
        reason = self.header(dead_letter.REASON)
        return reason if reason in tuple(Reason) else "unknown"

    @property
    def source(self) -> str:
        """Where it came from, as ``topic[partition]@offset``."""
        topic, partition, offset = (
            self.header(name)
            for name in (dead_letter.SOURCE_TOPIC, dead_letter.SOURCE_PARTITION, dead_letter.SOURCE_OFFSET)
        )
        return f"{topic}[{partition}]@{offset}"

    @property
    def replay_topic(self) -> str | None:
        """Topic it may be published to again; None where its headers name no input of this service.

        None also for a letter without a value: it was too large to be kept, and nothing cannot become an event.
        """
        topic = self.header(dead_letter.SOURCE_TOPIC)
        return topic if topic in _REPLAY_TOPICS and self.value is not None else None


class ReplayReport(Struct):
    """What a replay did.

    Parameters
    ----------
    replayed, done_before, beyond_limit, unreplayable : Counter of str
        Letters by reason: published now, published by an earlier replay, left for later, and without a value or a
        source that they may go back to.
    interrupted : bool
        Whether it was asked to stop before the end.
    """

    replayed: Counter[str] = field(default_factory=Counter)
    done_before: Counter[str] = field(default_factory=Counter)
    beyond_limit: Counter[str] = field(default_factory=Counter)
    unreplayable: Counter[str] = field(default_factory=Counter)
    interrupted: bool = False


def read_letters(settings: Settings) -> Iterator[StoredLetter]:
    """Read every letter that is in the topic now.

    Parameters
    ----------
    settings : Settings
        Brokers and security.

    Yields
    ------
    StoredLetter
        In order within each partition.

    Raises
    ------
    BrokerError
        If the topic is missing or the brokers stop answering.
    """
    consumer = _consumer(settings, f"{settings.app_id}-dead-letters")
    try:
        unread = _unread_ranges(consumer)
        consumer.assign(
            [TopicPartition(DEAD_LETTERS.name, partition, first) for partition, (first, _) in unread.items()]
        )
        while unread:
            # One by one: consume() would wait for a full batch, or the whole timeout.
            message = consumer.poll(TIMEOUT_SECONDS)
            if message is None:
                raise BrokerError(f"no dead letter came within {TIMEOUT_SECONDS:g} s; the brokers may be down")
            partition = int(message.partition() or 0)
            if (error := message.error()) is not None:
                if error.code() != KafkaError._PARTITION_EOF:
                    raise BrokerError(f"cannot read the dead letters: {error.str()}")
                unread.pop(partition, None)
            elif partition in unread:
                yield _stored(message)
                if int(message.offset() or 0) + 1 >= unread[partition][1]:
                    # Letters that come while we read are the next reader's: a replay must not chase its own.
                    del unread[partition]
    except KafkaException as error:
        raise BrokerError(f"cannot read the dead letters: {error.args[0].str()}") from error
    finally:
        consumer.close()


def replay(
    settings: Settings,
    *,
    reasons: Iterable[str],
    limit: int | None = None,
    dry_run: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> ReplayReport:
    """Publish letters again as they first came: same key, value and headers, to the topic they came from.

    Each batch is acknowledged by Kafka before its offsets are committed. A kill in between repeats that batch in the
    next replay, and the events' ids make the repetition recognisable.

    Parameters
    ----------
    settings : Settings
        Brokers and security.
    reasons : iterable of str
        Reasons to replay.
    limit : int, optional
        Most letters to publish.
    dry_run : bool
        Count only.
    stop : callable
        Asked before each batch; True ends the replay there.

    Returns
    -------
    ReplayReport
        What was done.

    Raises
    ------
    BrokerError
        If Kafka does not acknowledge; what was committed before stays so.
    """
    report = ReplayReport()
    progress = _Progress(settings)
    producer = Producer(packed_producer_config(settings) | {"log_level": 0})
    pending = _pending(read_letters(settings), frozenset(reasons), progress, report, limit)
    try:
        while batch := list(islice(pending, _BATCH)):
            if stop():
                report.interrupted = True
                break
            if not dry_run:
                _publish(producer, batch)
                progress.commit(batch)
            report.replayed.update(letter.reason for letter in batch)
    except KafkaException as error:
        raise BrokerError(f"cannot replay: {error.args[0].str()}") from error
    finally:
        pending.close()
        progress.close()
    return report


class _Progress:
    """How far each reason has been replayed, kept by Kafka."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # Made when a letter of the reason comes by: a consumer is several threads and connections.
        self._consumers: dict[str, Consumer] = {}
        self._offsets: dict[str, dict[int, int]] = {}

    def has_passed(self, letter: StoredLetter) -> bool:
        if letter.reason not in self._consumers:
            consumer = _consumer(self._settings, f"{self._settings.app_id}-replay-{letter.reason}")
            self._consumers[letter.reason] = consumer
            partitions = [TopicPartition(DEAD_LETTERS.name, partition) for partition in _partitions(consumer)]
            committed = _patiently(lambda: consumer.committed(partitions, timeout=TIMEOUT_SECONDS))
            self._offsets[letter.reason] = {found.partition: found.offset for found in committed}
        return letter.offset < self._offsets[letter.reason].get(letter.partition, 0)

    def commit(self, letters: Iterable[StoredLetter]) -> None:
        ends: dict[str, dict[int, int]] = {}
        for letter in letters:
            ends.setdefault(letter.reason, {})[letter.partition] = letter.offset + 1
        for reason, offsets in ends.items():
            partitions = [TopicPartition(DEAD_LETTERS.name, partition, end) for partition, end in offsets.items()]
            commit = partial(self._consumers[reason].commit, offsets=partitions, asynchronous=False)
            _patiently(commit)

    def close(self) -> None:
        for consumer in self._consumers.values():
            consumer.close()


def _patiently(call: Callable[[], T]) -> T:
    """Ask again while the group's coordinator is moving or only just starting: a matter of a second."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while True:
        try:
            return call()
        except KafkaException as error:
            if error.args[0].code() not in _COORDINATOR_MOVES or time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _pending(
    letters: Iterable[StoredLetter],
    reasons: frozenset[str],
    progress: _Progress,
    report: ReplayReport,
    limit: int | None,
) -> Generator[StoredLetter]:
    given = 0
    for letter in letters:
        if letter.reason not in reasons:
            continue
        if progress.has_passed(letter):
            report.done_before[letter.reason] += 1
        elif letter.replay_topic is None:
            report.unreplayable[letter.reason] += 1
        elif limit is not None and given >= limit:
            report.beyond_limit[letter.reason] += 1
        else:
            given += 1
            yield letter


def _publish(producer: Producer, letters: Iterable[StoredLetter]) -> None:
    failures: list[str] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failures.append(error.str())

    for letter in letters:
        producer.produce(
            letter.replay_topic or "",
            value=letter.value,
            key=letter.key,
            headers=list(original_headers(letter.headers)),
            on_delivery=delivered,
        )
    unsent = producer.flush(TIMEOUT_SECONDS)
    if failures or unsent:
        raise BrokerError(
            f"{len(failures) + unsent} letters were not acknowledged ({failures[0] if failures else 'timed out'}); "
            "run the replay again"
        )


def _unread_ranges(consumer: Consumer) -> dict[int, tuple[int, int]]:
    ranges = {
        partition: consumer.get_watermark_offsets(TopicPartition(DEAD_LETTERS.name, partition), timeout=TIMEOUT_SECONDS)
        for partition in _partitions(consumer)
    }
    return {partition: bounds for partition, bounds in ranges.items() if bounds[0] < bounds[1]}


def _partitions(consumer: Consumer) -> list[int]:
    try:
        topic = consumer.list_topics(DEAD_LETTERS.name, timeout=TIMEOUT_SECONDS).topics[DEAD_LETTERS.name]
    except KafkaException as error:
        raise BrokerError(f"no broker answers: {error.args[0].str()}") from error
    if topic.error is not None:
        raise BrokerError(f"topic {DEAD_LETTERS.name}: {topic.error.str()}; run emotion-stream topics create")
    return sorted(topic.partitions)


def _consumer(settings: Settings, group_id: str) -> Consumer:
    return Consumer(
        consumer_config(settings, group_id)
        | {
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "allow.auto.create.topics": False,
            "log_level": 0,
        }
    )


def _readable_headers(message: Message) -> Received:
    try:
        return read_headers(message)
    except InvalidEventError:
        # No letter of ours: it says neither why nor where from, and must not keep anybody from the others.
        return None


def _stored(message: Message) -> StoredLetter:
    return StoredLetter(
        partition=int(message.partition() or 0),
        offset=int(message.offset() or 0),
        key=message.key(),
        value=message.value(),
        headers=header_list(_readable_headers(message)),
    )
