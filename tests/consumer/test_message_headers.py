"""Headers whose names are no UTF-8: an error of the message, however often and wherever it is asked."""

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from consumer.errors import InvalidEventError, Reason
from consumer.message_headers import read_headers
from consumer.topics import TRACK_EVENTS
from deploy.embedded_broker import embedded_broker
from tests.consumer.unreadable import produce_unreadable

# The interpreter's fast calls, which do not look for the exception, begin after a few dozen turns of a loop.
COPIES = 50


def test_read_gives_headers_and_refuses_those_that_cannot_be_decoded_also_in_a_hot_loop() -> None:
    with embedded_broker(1) as bootstrap:
        producer = Producer({"bootstrap.servers": bootstrap})
        for _ in range(COPIES):
            producer.produce(TRACK_EVENTS.name, b"good", headers=[("a", b"1"), ("b", None)])
            producer.produce(TRACK_EVENTS.name, b"bare")
        producer.flush()
        produce_unreadable(bootstrap, TRACK_EVENTS.name, b"bad")
        for _ in range(COPIES):
            producer.produce(TRACK_EVENTS.name, b"good", headers=[("a", b"1"), ("b", None)])
        producer.flush()
        consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "test"})
        try:
            consumer.assign([TopicPartition(TRACK_EVENTS.name, 0, OFFSET_BEGINNING)])
            messages = consumer.consume(3 * COPIES + 1, 30)
        finally:
            consumer.close()
    refused = []
    for message in messages:
        try:
            received = read_headers(message)
        except InvalidEventError as error:
            refused.append((message.value(), error.reason))
        else:
            assert received == ([("a", b"1"), ("b", None)] if message.value() == b"good" else None)
    assert len(messages) == 3 * COPIES + 1
    assert refused == [(b"bad", Reason.SCHEMA)]


def test_read_refuses_a_name_that_fails_in_the_call_itself() -> None:
    class Broken:
        def headers(self) -> object:
            raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")

    with pytest.raises(InvalidEventError, match="UTF-8"):
        read_headers(Broken())  # type: ignore[arg-type]  # a client that raises what it should
