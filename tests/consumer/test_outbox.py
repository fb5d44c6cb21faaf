"""A dead letter that Kafka finds too large is sent again as what we say of it; anything else that is refused is not."""

from typing import Any

import pytest
from confluent_kafka import KafkaError

from consumer.outbox import Outgoing, _without_original
from consumer.topics import DEAD_LETTERS, EMOTION_EVENTS

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
