"""A dead letter that Kafka finds too large is sent again as what we say of it; anything else that is refused is not."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition
from prometheus_client import CollectorRegistry

from consumer.dead_letter import header_list
from consumer.errors import BrokerError
from consumer.metrics import Metrics
from consumer.outbox import AsyncOutbox, BatchOutbox, Outgoing, _without_original
from consumer.settings import Settings
from consumer.topics import DEAD_LETTERS, EMOTION_EVENTS, TRACK_ANALYSIS
from deploy.embedded_broker import embedded_broker

OURS = [("error.reason", b"event_too_large"), ("error.message", b"too large"), ("source.offset", b"7")]


def smaller(code: int, *fields: Any) -> Outgoing | None:
    return _without_original(KafkaError(code), Outgoing(*fields))


@pytest.mark.parametrize(
    ("key", "value", "headers"),
    [(b"k", b"x" * 100, []), (b"k" * 100, None, []), (None, b"", [("trace", b"x" * 100)])],
)
def test_dead_letter_found_too_large_keeps_what_is_said_of_it(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]
) -> None:
    again = smaller(KafkaError.MSG_SIZE_TOO_LARGE, DEAD_LETTERS.name, key, value, [*headers, *OURS])
    assert again is not None
    assert (again.topic, again.key, again.value) == (DEAD_LETTERS.name, None, None)
    said = dict(again.headers)
    assert said.keys() == {name for name, _ in OURS}
    assert said["source.offset"] == b"7"
    assert (
        said["error.message"]
        == (
            f"too large [value of {len(value or b'')} bytes, key of {len(key or b'')} and headers of "
            f"{sum(len(name) + len(content) for name, content in headers)} exceed the dead-letter topic's limit: "
            "see the source]"
        ).encode()
    )


def test_dead_letter_that_cannot_be_made_smaller_is_refused_for_good() -> None:
    assert smaller(KafkaError.MSG_SIZE_TOO_LARGE, DEAD_LETTERS.name, None, None, OURS) is None


def test_other_messages_and_other_refusals_are_not_made_smaller() -> None:
    assert smaller(KafkaError.MSG_SIZE_TOO_LARGE, EMOTION_EVENTS.name, b"k", b"x" * 100, []) is None
    assert smaller(KafkaError._MSG_TIMED_OUT, DEAD_LETTERS.name, b"k", b"x" * 100, OURS) is None


@pytest.mark.parametrize(("transactional_id", "is_cut"), [("t", True), (None, False)])
def test_letter_that_a_topic_may_refuse_is_cut_before_it_spoils_a_transaction(
    monkeypatch: pytest.MonkeyPatch, transactional_id: str | None, is_cut: bool
) -> None:
    class FakeProducer:
        def __init__(self, *_: object, **__: object) -> None: ...

        def begin_transaction(self) -> None: ...

        def produce(self, topic: str, value: bytes | None, key: bytes | None, *_: object, **__: object) -> None:
            produced.append((topic, value, key))

    produced: list[tuple[str, bytes | None, bytes | None]] = []
    monkeypatch.setattr("consumer.outbox.Producer", FakeProducer)
    outbox = BatchOutbox(Settings(), transactional_id, lambda: False, Metrics(CollectorRegistry()))
    large = b"x" * 1_100_000
    outbox.produce(DEAD_LETTERS.name, large, b"k", [*OURS])
    outbox.produce(DEAD_LETTERS.name, b"small", b"k", [*OURS])
    outbox.produce(EMOTION_EVENTS.name, large, b"k", [])
    assert produced == [
        (DEAD_LETTERS.name, None, None) if is_cut else (DEAD_LETTERS.name, large, b"k"),
        (DEAD_LETTERS.name, b"small", b"k"),
        (EMOTION_EVENTS.name, large, b"k"),
    ]


# What the client itself refuses, whatever a broker would say: as large as an event can be that came compressed.
ENDLESS = b"x" * (12 * 2**20)
BEHIND = Outgoing(DEAD_LETTERS.name, b"k", b"behind it", [])


@pytest.fixture(scope="module")
def bootstrap() -> Iterator[str]:
    with embedded_broker(1) as bootstrap:
        yield bootstrap


def send_as_the_known_lane(settings: Settings, metrics: Metrics, messages: list[Outgoing]) -> None:
    outbox = BatchOutbox(settings, None, lambda: False, metrics)
    outbox.open()
    for message in messages:
        outbox.produce(message.topic, message.value, message.key, message.headers)
    outbox.finish()


def send_as_the_new_lane(settings: Settings, metrics: Metrics, messages: list[Outgoing]) -> None:
    outbox = AsyncOutbox(settings, metrics)
    outbox.start()
    try:
        asyncio.run(asyncio.wait_for(outbox.deliver(messages), 30))
    finally:
        outbox.stop()


senders = pytest.mark.parametrize("send", [send_as_the_known_lane, send_as_the_new_lane])
Send = Callable[[Settings, Metrics, list[Outgoing]], None]


@senders
@pytest.mark.parametrize(
    ("key", "value", "headers"),
    [(b"k", ENDLESS, []), (ENDLESS, b"v", []), (None, None, [("x", ENDLESS)])],
    ids=["value", "key", "header"],
)
def test_dead_letter_that_the_client_refuses_keeps_what_is_said_of_it(
    send: Send, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]], bootstrap: str
) -> None:
    metrics = Metrics(CollectorRegistry())
    letter = Outgoing(DEAD_LETTERS.name, key, value, [*headers, *OURS])
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "test"})
    try:
        place = TopicPartition(DEAD_LETTERS.name, 0)
        before = consumer.get_watermark_offsets(place, timeout=10)[1]
        send(Settings(kafka_bootstrap_servers=bootstrap), metrics, [letter, BEHIND])
        consumer.assign([TopicPartition(DEAD_LETTERS.name, 0, before or OFFSET_BEGINNING)])
        found = consumer.consume(2, 30)
    finally:
        consumer.close()
    first, second = found
    assert (first.key(), first.value(), second.value()) == (None, None, b"behind it")
    said = dict(header_list(first.headers()))
    assert said.keys() == {name for name, _ in OURS}
    assert b"see the source" in (said["error.message"] or b"")
    assert metrics.registry.get_sample_value("emotion_produce_failures_total", {"topic": DEAD_LETTERS.name}) in (
        None,
        0,
    )


@senders
@pytest.mark.parametrize(
    "message",
    [
        Outgoing(EMOTION_EVENTS.name, b"k", ENDLESS, []),
        Outgoing(DEAD_LETTERS.name, None, None, [("attempts", ENDLESS)]),
    ],
)
def test_other_message_that_the_client_refuses_stops_the_worker(send: Send, message: Outgoing, bootstrap: str) -> None:
    with pytest.raises(BrokerError, match="cannot produce"):
        send(Settings(kafka_bootstrap_servers=bootstrap), Metrics(CollectorRegistry()), [message])


def test_letter_that_fails_is_told_of_with_its_own_headers_and_another_message_as_all_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The real client: it has two positions for one message's callback, and heeds only the first.
    monkeypatch.setattr("consumer.outbox._DELIVERY_TIMEOUT_MS", 1500)
    monkeypatch.setattr(BatchOutbox, "_letter_failed", lambda _, *facts: letters.append(facts[:3]))
    letters: list[tuple[object, ...]] = []
    outbox = BatchOutbox(
        Settings(kafka_bootstrap_servers="127.0.0.1:1"), None, lambda: False, Metrics(CollectorRegistry())
    )
    outbox.produce(DEAD_LETTERS.name, b"v", b"k", [*OURS])
    outbox.produce(TRACK_ANALYSIS.name, b"v", b"k", [])
    with pytest.raises(BrokerError, match="did not take 1 messages; the first, to track-analysis"):
        outbox.finish()
    assert letters == [(b"v", b"k", OURS)]
