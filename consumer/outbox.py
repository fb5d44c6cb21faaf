"""Producing so that nothing counts as said before every replica has it.

Two forms of the same promise: the known lane produces a batch and waits for all of it (``BatchOutbox``), the new lane
awaits the few messages of one outcome (``AsyncOutbox``). A message that Kafka refuses or does not acknowledge in time
stops the worker; its source was not acknowledged and will be delivered again.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, cast

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from consumer.client_log import client_logger
from consumer.dead_letter import ADDED_HEADERS, MESSAGE, Headers, header_bytes
from consumer.errors import BrokerError
from consumer.kafka_config import packed_producer_config, producer_config
from consumer.metrics import Metrics
from consumer.settings import Settings
from consumer.topics import DEAD_LETTERS, EMOTION_EVENTS

logger = logging.getLogger(__name__)

# Kafka may be away for so long (a restart, an election) before an outcome counts as undeliverable.
_DELIVERY_TIMEOUT_MS: Final = 120_000
# The group has moved on without this member: its batch will be read again by whoever has the partition now.
OVERTAKEN: Final = (
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError._STATE,
    KafkaError._ASSIGNMENT_LOST,
    KafkaError._NO_OFFSET,
)
# flush() sends at once whatever the linger. At a second, the first answers of a long batch, which follows every pause
# of the broker's, waited for its last.
_LINGER_MS: Final = 20
# Letters and forwarded events are few, and the client sends a request for each partition: at 20 ms two of three
# requests would be theirs, fifty times a second and partition. So they leave when the batch ends.
_LINGER_OF_OTHERS_MS: Final = 1000
# What a topic takes by default, less what a batch adds.
_USUAL_MESSAGE_BYTES: Final = 1_000_000
# The client's own defaults, given by position: names cost it more, at every message.
_ANY_PARTITION: Final = -1
_NOW: Final = 0
_BEGIN_SECONDS: Final = 0.001
_WAIT_SECONDS: Final = 0.5
_LOUD_AFTER_SECONDS: Final = 5.0


class Outgoing(NamedTuple):
    """One message to produce.

    Parameters
    ----------
    topic : str
        Where to.
    key, value : bytes or None
        As on the wire.
    headers : list of (str, bytes or None)
        In order.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers


class Stopped(Exception):  # noqa: N818  # not an error: the worker was told to stop while Kafka kept it waiting
    """The wait for an acknowledgement was given up because the worker stops; nothing was committed."""


class BatchOutbox:
    """Produce a batch, then wait until all of it is safe.

    Used by one thread.

    Parameters
    ----------
    settings : Settings
        Where Kafka is; whether to use transactions.
    transactional_id : str or None
        Of this worker, under transactions: a later producer of the same id fences this one off.
    should_stop : callable
        Asked while waiting.
    metrics : Metrics
        Where messages that Kafka did not take are counted; attempts are counted by whoever makes them, by the batch.
    """

    def __init__(
        self, settings: Settings, transactional_id: str | None, should_stop: Callable[[], bool], metrics: Metrics
    ) -> None:
        self._should_stop = should_stop
        self._metrics = metrics
        self._errors: list[tuple[KafkaError, str]] = []
        self._too_large: list[Outgoing] = []
        config = {
            # A callback for each of 80,000 messages a second would cost a fifth of the lane; only failures matter.
            "on_delivery": self._failed,
            "delivery.report.only.error": True,
        }
        if transactional_id is not None:
            config["transactional.id"] = transactional_id
        else:
            config["message.timeout.ms"] = _DELIVERY_TIMEOUT_MS
        self._is_transactional = self._must_begin = transactional_id is not None
        answers = producer_config(settings) | config | {"linger.ms": _LINGER_MS}
        self._answers = self._others = Producer(answers, logger=client_logger())
        # A transaction is one client's; otherwise what is no answer has a client of its own, which may wait and pack.
        if not self._is_transactional:
            others = packed_producer_config(settings) | config | {"linger.ms": _LINGER_OF_OTHERS_MS}
            self._others = Producer(others, logger=client_logger())

    def open(self) -> None:
        """Connect, and fence off an earlier producer of the same transactional id.

        Raises
        ------
        BrokerError
            If Kafka refuses.
        """
        if self._is_transactional:
            self._guarded(self._answers.init_transactions)

    def produce(self, topic: str, value: bytes | None, key: bytes | None, headers: Headers) -> None:
        """Add a message to the batch; the first one begins the transaction.

        Parameters
        ----------
        topic : str
            Where to.
        value, key : bytes or None
            As on the wire.
        headers : list of (str, bytes or None)
            In order.

        Raises
        ------
        BrokerError
            If the client refuses it. A dead letter that is too large is sent without its original instead; in a
            transaction, one that is larger than a topic takes by default.
        """
        is_letter = topic == DEAD_LETTERS.name
        # What the broker refuses spoils a transaction, at every attempt: not to be found out there.
        if is_letter and self._is_transactional:
            letter = Outgoing(topic, key, value, headers)
            if sum(_sizes(letter)) > _USUAL_MESSAGE_BYTES:
                topic, key, value, headers = _stripped(letter) or letter
        if self._must_begin:
            self._guarded(self._answers.begin_transaction)
            self._must_begin = False
        producer = self._answers if topic == EMOTION_EVENTS.name else self._others
        send: Callable[..., None] = producer.produce
        # The client does not give a refused message's headers back, and a dead letter's are what matters.
        on_delivery = partial(self._letter_failed, value, key, headers) if is_letter else None
        while True:
            try:
                # The None is the client's second name for the callback, which it does not look at beside the first.
                return send(topic, value, key, _ANY_PARTITION, on_delivery, None, _NOW, headers)
            except BufferError:
                producer.poll(_WAIT_SECONDS)
            except KafkaException as error:
                # The client has a limit of its own, and refuses at once: a small message on the wire can be a large
                # one when it is unpacked.
                smaller = _without_original(error.args[0], Outgoing(topic, key, value, headers))
                if smaller is None:
                    raise BrokerError(f"cannot produce to {topic}: {error}") from error
                return self.produce(smaller.topic, smaller.value, smaller.key, smaller.headers)

    def finish(self) -> None:
        """Wait until every message of the batch is acknowledged by all in-sync replicas.

        Raises
        ------
        BrokerError
            If one was refused or timed out.
        Stopped
            If the worker was told to stop meanwhile.
        """
        self._flush()
        if self._too_large:
            for letter in self._too_large:
                self.produce(letter.topic, letter.value, letter.key, letter.headers)
            self._too_large.clear()
            self._flush()

    def commit(self, offsets: list[TopicPartition], group_metadata: object) -> bool:
        """Commit the transaction with the sources' offsets in it.

        Parameters
        ----------
        offsets : list of TopicPartition
            Next offset to read of every source partition.
        group_metadata : object
            From the consumer: fences off a member that was already replaced.

        Returns
        -------
        bool
            False if the group has moved on without this member: the transaction is aborted, nobody saw its messages.

        Raises
        ------
        BrokerError
            If this producer was fenced off, or Kafka refuses.
        """
        self._must_begin = True
        try:
            self._guarded(lambda: self._answers.send_offsets_to_transaction(offsets, group_metadata))
        except BrokerError as error:
            cause = error.__cause__
            if isinstance(cause, KafkaException) and cause.args[0].code() in OVERTAKEN:
                self._guarded(self._answers.abort_transaction)
                return False
            raise
        self._guarded(self._answers.commit_transaction)
        return True

    @property
    def is_transactional(self) -> bool:
        """Whether batches are transactions."""
        return self._is_transactional

    def _flush(self) -> None:
        started = warned = time.monotonic()
        while left := self._flush_once():
            now = time.monotonic()
            if self._should_stop():
                raise Stopped
            if now - warned > _LOUD_AFTER_SECONDS:
                warned = now
                facts = {"messages": left, "seconds": round(now - started, 1)}
                logger.warning("waiting for Kafka to acknowledge", extra={"facts": facts})
                self._metrics.produce_waiting.labels("known").set(now - started)
        if warned != started:
            self._metrics.produce_waiting.labels("known").set(0)
        if self._errors:
            error, topic = self._errors[0]
            raise BrokerError(f"Kafka did not take {len(self._errors)} messages; the first, to {topic}: {error}")

    def _flush_once(self) -> int:
        if self._others is self._answers:
            return self._answers.flush(_WAIT_SECONDS)
        # Sent while the answers are waited for; a flush sends nothing unless it waits a moment.
        self._others.flush(_BEGIN_SECONDS)
        left = self._answers.flush(_WAIT_SECONDS)
        return left + self._others.flush(0 if left else _WAIT_SECONDS)

    def _failed(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._metrics.produce_failures.labels(message.topic()).inc()
            self._errors.append((error, str(message.topic())))

    def _letter_failed(
        self, value: bytes | None, key: bytes | None, headers: Headers, error: KafkaError | None, message: Message
    ) -> None:
        smaller = _without_original(error, Outgoing(DEAD_LETTERS.name, key, value, headers))
        if smaller is not None:
            self._too_large.append(smaller)
        else:
            self._failed(error, message)

    def _guarded(self, call: Callable[[], Any]) -> None:
        while True:
            try:
                call()
                return
            except KafkaException as error:
                cause = error.args[0]
                if not cause.retriable():
                    raise BrokerError(f"the transaction failed: {cause}") from error
                if self._should_stop():
                    raise Stopped from error
                logger.warning("the transaction is tried again", extra={"facts": {"error": str(cause)}})


class AsyncOutbox:
    """Produce from the event loop and await the acknowledgements.

    Parameters
    ----------
    settings : Settings
        Where Kafka is.
    metrics : Metrics
        Where messages and those that Kafka did not take are counted.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._metrics = metrics
        self._config = producer_config(settings) | {"message.timeout.ms": _DELIVERY_TIMEOUT_MS}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="outbox", daemon=True)

    def start(self) -> None:
        """Connect and begin to deliver."""
        self._producer = Producer(self._config, logger=client_logger())
        self._thread.start()

    def stop(self) -> None:
        """Stop delivering; what is not acknowledged by now is given up."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
            self._producer.purge()
            self._producer.flush(0)

    async def deliver(self, messages: Sequence[Outgoing]) -> None:
        """Produce messages, in order, and wait until all are acknowledged by all in-sync replicas.

        Parameters
        ----------
        messages : sequence of Outgoing
            At least one.

        Raises
        ------
        BrokerError
            If one was refused or timed out.
        """
        delivery = _Delivery(asyncio.get_running_loop(), len(messages), self._metrics)
        for message in messages:
            self._metrics.produce_attempts.labels(message.topic).inc()
            await self._produce(message, delivery)
        started = time.monotonic()
        while True:
            refused = await self._wait(delivery, started)
            if not refused:
                return
            delivery = _Delivery(asyncio.get_running_loop(), len(refused), self._metrics)
            for message in refused:
                await self._produce(message, delivery)

    async def _wait(self, delivery: "_Delivery", started: float) -> list[Outgoing]:
        waiting = self._metrics.produce_waiting.labels("new")
        while True:
            done, _ = await asyncio.wait((delivery.future,), timeout=_LOUD_AFTER_SECONDS)
            seconds = time.monotonic() - started
            if done:
                if seconds > _LOUD_AFTER_SECONDS:
                    waiting.set(0)
                return delivery.future.result()
            waiting.set(seconds)
            facts = {"messages": delivery.left, "seconds": round(seconds, 1)}
            logger.warning("waiting for Kafka to acknowledge", extra={"facts": facts})

    async def _produce(self, message: Outgoing, delivery: "_Delivery") -> None:
        while True:
            try:
                return self._producer.produce(
                    message.topic,
                    message.value,
                    message.key,
                    headers=cast(Any, message.headers),
                    on_delivery=partial(delivery.done, message),
                )
            except BufferError:
                await asyncio.sleep(0.01)
            except KafkaException as error:
                smaller = _without_original(error.args[0], message)
                if smaller is None:
                    raise BrokerError(f"cannot produce to {message.topic}: {error}") from error
                message = smaller

    def _poll(self) -> None:
        while not self._stopping.is_set():
            self._producer.poll(0.1)


class _Delivery:
    """The acknowledgements of one group of messages, counted in the poll thread, told to the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, count: int, metrics: Metrics) -> None:
        self._metrics = metrics
        self.future: asyncio.Future[list[Outgoing]] = loop.create_future()
        self.left = count
        self._loop = loop
        self._error: BrokerError | None = None
        self._too_large: list[Outgoing] = []

    def done(self, outgoing: Outgoing, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            smaller = _without_original(error, outgoing)
            if smaller is not None:
                self._too_large.append(smaller)
            else:
                self._metrics.produce_failures.labels(outgoing.topic).inc()
                self._error = BrokerError(f"Kafka did not take a message to {outgoing.topic}: {error}")
        self.left -= 1
        if self.left == 0:
            self._loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        if self.future.done():
            return
        if self._error is not None:
            self.future.set_exception(self._error)
        else:
            self.future.set_result(self._too_large)


def _without_original(error: KafkaError | None, letter: Outgoing) -> Outgoing | None:
    """Give the dead letter to send instead of one that Kafka finds too large: only what we say of it."""
    if error is None or error.code() != KafkaError.MSG_SIZE_TOO_LARGE or letter.topic != DEAD_LETTERS.name:
        return None
    return _stripped(letter)


def _stripped(letter: Outgoing) -> Outgoing | None:
    """Give a dead letter without its original; None if there is nothing of it any more."""
    ours = [(name, value) for name, value in letter.headers if name in ADDED_HEADERS]
    of_value, of_key, of_headers = _sizes(letter)
    of_headers -= header_bytes(ours)
    if not (of_value or of_key or of_headers):
        return None
    note = (
        f" [value of {of_value} bytes, key of {of_key} and headers of {of_headers} exceed the dead-letter topic's "
        "limit: see the source]"
    )
    said = [(name, (value or b"") + note.encode() if name == MESSAGE else value) for name, value in ours]
    return Outgoing(DEAD_LETTERS.name, None, None, said)


def _sizes(letter: Outgoing) -> tuple[int, int, int]:
    """Give the bytes of value, key and headers."""
    return len(letter.value or b""), len(letter.key or b""), header_bytes(letter.headers)
