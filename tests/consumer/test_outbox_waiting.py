"""A worker whose messages Kafka does not acknowledge says so while it waits, not only when it ends."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from prometheus_client import CollectorRegistry

from consumer import outbox
from consumer.errors import BrokerError
from consumer.metrics import Metrics
from consumer.outbox import AsyncOutbox, BatchOutbox, Outgoing
from consumer.settings import Settings
from consumer.topics import DEAD_LETTERS, EMOTION_EVENTS, TRACK_ANALYSIS


class FakeProducer:
    """Acknowledges when told to, and lets time pass while it is waited for."""

    def __init__(self, config: dict[str, Any], **_: Any) -> None:
        self.config = config
        self.produced: list[str] = []
        self.unacknowledged = 0
        self.seen: list[float] = []
        self.watch: Callable[[], float] = lambda: 0.0
        self.on_delivery: Any = None

    def produce(self, topic: str, *_: Any, **options: Any) -> None:
        self.produced.append(topic)
        self.on_delivery = options.get("on_delivery")

    def flush(self, _: float) -> int:
        self.seen.append(self.watch())
        self.unacknowledged -= 1
        return max(0, self.unacknowledged)

    def poll(self, _: float) -> None:
        """Nothing to serve."""


def waiting(metrics: Metrics, lane: str) -> float:
    return metrics.registry.get_sample_value("emotion_produce_waiting_seconds", {"lane": lane}) or 0.0


def test_known_lane_shows_how_long_it_waits_and_that_it_no_longer_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "Producer", FakeProducer)
    seconds = itertools.count(step=4.0)
    monkeypatch.setattr("consumer.outbox.time.monotonic", lambda: next(seconds))
    metrics = Metrics(CollectorRegistry())
    sending = BatchOutbox(Settings(), None, lambda: False, metrics)
    producer: Any = sending._answers
    producer.unacknowledged, producer.watch = 6, lambda: waiting(metrics, "known")
    sending.finish()
    assert producer.seen == [0.0, 0.0, 8.0, 8.0, 16.0, 16.0]
    assert waiting(metrics, "known") == 0.0


def test_answer_that_finds_the_queue_full_waits_for_room(monkeypatch: pytest.MonkeyPatch) -> None:
    class FullOnce(FakeProducer):
        def produce(self, topic: str, *_: Any, **options: Any) -> None:
            if not self.polled:
                raise BufferError("Local: Queue full")
            super().produce(topic, **options)

        polled = False

        def poll(self, _: float) -> None:
            self.polled = True

    monkeypatch.setattr(outbox, "Producer", FullOnce)
    sending = BatchOutbox(Settings(), None, lambda: False, Metrics(CollectorRegistry()))
    sending.produce(EMOTION_EVENTS.name, b"{}", b"t-1", [])
    producer: Any = sending._answers
    assert producer.produced == [EMOTION_EVENTS.name]


def test_answer_that_the_client_refuses_stops_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(FakeProducer):
        def produce(self, topic: str, *_: Any, **options: Any) -> None:
            raise KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))

    monkeypatch.setattr(outbox, "Producer", Refusing)
    sending = BatchOutbox(Settings(), None, lambda: False, Metrics(CollectorRegistry()))
    with pytest.raises(BrokerError, match="cannot produce to emotion-events"):
        sending.produce(EMOTION_EVENTS.name, b"{}", b"t-1", [])


def test_new_lane_shows_how_long_it_waits_and_that_it_no_longer_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "Producer", FakeProducer)
    monkeypatch.setattr(outbox, "_LOUD_AFTER_SECONDS", 0.01)

    async def scenario() -> None:
        metrics = Metrics(CollectorRegistry())
        sending = AsyncOutbox(Settings(), metrics)
        sending.start()
        producer: Any = sending._producer
        delivering = asyncio.ensure_future(sending.deliver([Outgoing("emotion-events", b"k", b"v", [])]))
        while not waiting(metrics, "new"):
            await asyncio.sleep(0.001)
        producer.on_delivery(None, None)
        await delivering
        assert waiting(metrics, "new") == 0.0
        sending._stopping.set()

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_a_refusal_ends_the_wait_with_what_kafka_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "Producer", FakeProducer)
    sending = BatchOutbox(Settings(), None, lambda: False, Metrics(CollectorRegistry()))
    sending._errors.append(("UNKNOWN_TOPIC_OR_PART", "emotion-events"))  # type: ignore[arg-type]  # only its text is used
    with pytest.raises(BrokerError, match="emotion-events: UNKNOWN_TOPIC_OR_PART"):
        sending.finish()


def test_all_but_answers_is_gathered_and_packed_and_waited_for_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "Producer", FakeProducer)
    sending = BatchOutbox(Settings(), None, lambda: False, Metrics(CollectorRegistry()))
    answers: Any = sending._answers
    others: Any = sending._others
    for topic in (EMOTION_EVENTS.name, DEAD_LETTERS.name, TRACK_ANALYSIS.name):
        sending.produce(topic, b"v", b"k", [])
    assert answers.produced == [EMOTION_EVENTS.name] and others.produced == [DEAD_LETTERS.name, TRACK_ANALYSIS.name]
    own = answers.config | {"compression.type": "lz4", "linger.ms": 1000}
    assert (others.config, answers.config["linger.ms"]) == (own, 20)
    others.unacknowledged = 4
    sending.finish()
    assert len(others.seen) == 4


def test_a_transaction_is_one_producer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "Producer", FakeProducer)
    sending = BatchOutbox(Settings(), "worker-1", lambda: False, Metrics(CollectorRegistry()))
    assert sending._others is sending._answers
