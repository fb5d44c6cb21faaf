"""Reads both topics an event can end on, and enters what it finds in the ledger."""

import threading
import time
from collections.abc import Callable
from typing import Final

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition

from consumer.dead_letter import MESSAGE, REASON
from consumer.events import EmotionEvent
from consumer.kafka_config import consumer_config
from consumer.settings import Settings
from consumer.topics import DEAD_LETTERS, EMOTION_EVENTS
from deploy.demo.ledger import Ledger, Outcome

_decode = msgspec.json.Decoder(EmotionEvent).decode
_TIMEOUT_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.1
_BATCH: Final = 1000


class Observer:
    """Watch ``emotion-events`` and ``track-events.dead-letter`` from now on.

    Parameters
    ----------
    settings : Settings
        Where Kafka is.
    ledger : Ledger
        What to enter outcomes in.
    on_outcome : callable
        Called with each message's first outcome, from the thread that reads.
    """

    def __init__(self, settings: Settings, ledger: Ledger, on_outcome: Callable[[Outcome], None]) -> None:
        self._ledger, self._on_outcome = ledger, on_outcome
        # No group: partitions are assigned by hand and nothing is committed. librdkafka wants a name all the same.
        self._consumer = Consumer(consumer_config(settings, "demo-observer"))
        topics = self._consumer.list_topics(timeout=_TIMEOUT_SECONDS).topics
        partitions = [
            TopicPartition(topic.name, number)
            for topic in (EMOTION_EVENTS, DEAD_LETTERS)
            for number in topics[topic.name].partitions
        ]
        # Where each partition is read up to; events of before this run are not ours.
        self._positions = {(part.topic, part.partition): self._end(part) for part in partitions}
        self._consumer.assign(
            [TopicPartition(*place, offset or OFFSET_BEGINNING) for place, offset in self._positions.items()]
        )

    def run(self, stop: threading.Event) -> None:
        """Read until ``stop`` is set."""
        while not stop.is_set():
            self._read()

    def drain(self) -> None:
        """Read what there is by now to its end; the producers of both topics must have stopped."""
        partitions = [TopicPartition(*place) for place in self._positions]
        ends = {(part.topic, part.partition): self._end(part) for part in partitions}
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while any(self._positions[place] < end for place, end in ends.items()) and time.monotonic() < deadline:
            self._read()

    def close(self) -> None:
        """Part from Kafka."""
        self._consumer.close()

    def _read(self) -> None:
        # Not consume(_BATCH, _POLL_SECONDS): that waits for the batch to fill, and the wait would show as latency.
        first = self._consumer.poll(_POLL_SECONDS)
        if first is None:
            return
        for message in (first, *self._consumer.consume(_BATCH, 0)):
            if message.error() is None:
                self._positions[str(message.topic()), int(message.partition() or 0)] = int(message.offset() or 0) + 1
                outcome = self._enter(message)
                if outcome is not None:
                    self._on_outcome(outcome)

    def _enter(self, message: Message) -> Outcome | None:
        arrived_at, value = time.time(), message.value() or b""
        if message.topic() == DEAD_LETTERS.name:
            headers = {name: _text(content) for name, content in dict(message.headers() or []).items()}
            return self._ledger.bury(value, headers.get(REASON, ""), headers.get(MESSAGE, ""), arrived_at)
        return self._ledger.answer(_decode(value), arrived_at)

    def _end(self, partition: TopicPartition) -> int:
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while True:
            try:
                _, end = self._consumer.get_watermark_offsets(partition, timeout=_TIMEOUT_SECONDS)
                return int(end)
            except KafkaException:
                # A partition that was created a moment ago may not have its leader yet.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


def _text(content: str | bytes | None) -> str:
    return content.decode(errors="replace") if isinstance(content, bytes) else content or ""
