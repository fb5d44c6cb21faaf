"""Dead letters keep the original and say why, without leaking."""

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest

from consumer.dead_letter import (
    ADDED_HEADERS,
    MAX_MESSAGE_CHARACTERS,
    DeadLetter,
    Headers,
    build_dead_letter,
    clean_message,
    original_headers,
    source_headers,
)
from consumer.errors import Reason


def letter(
    headers: Headers | dict[str, bytes] | None = None,
    value: bytes | None = b"\xff{",
    message: str = "not JSON",
    topic: str = "track-events",
) -> DeadLetter:
    return build_dead_letter(
        topic=topic,
        partition=3,
        offset=42,
        key=b"\x00key",
        value=value,
        headers=headers,
        reason=Reason.INVALID_JSON,
        message=message,
        attempts=2,
        first_seen=datetime(2026, 1, 1, 13, tzinfo=timezone(timedelta(hours=1))),
    )


def test_build_keeps_key_value_and_headers_byte_for_byte() -> None:
    headers: Headers = [("traceparent", b"00-1"), ("traceparent", b"00-2"), ("empty", None)]
    built = letter(headers)
    assert (built.key, built.value) == (b"\x00key", b"\xff{")
    assert built.headers[:3] == headers
    assert original_headers(built.headers) == headers


def test_build_adds_reason_source_attempts_and_time() -> None:
    assert dict(letter().headers) == {
        "error.reason": b"invalid_json",
        "error.message": b"not JSON",
        "source.topic": b"track-events",
        "source.partition": b"3",
        "source.offset": b"42",
        "attempts": b"2",
        "first_seen": b"2026-01-01T12:00:00Z",
    }
    assert tuple(name for name, _ in letter().headers) == ADDED_HEADERS


def test_build_null_value_and_mapping_headers_are_kept() -> None:
    built = letter({"a": b"1"}, value=None)
    assert built.value is None
    assert built.headers[0] == ("a", b"1")


def test_build_forwarded_event_names_where_it_first_came_from() -> None:
    built = letter([("a", b"1"), *source_headers("track-events", 7, 99)], topic="track-analysis")
    added = dict(built.headers)
    assert (added["source.topic"], added["source.partition"], added["source.offset"]) == (b"track-events", b"7", b"99")
    assert [name for name, _ in built.headers].count("source.topic") == 1
    assert original_headers(built.headers) == [("a", b"1")]


def test_build_does_not_believe_a_forwarded_source_that_no_topic_can_have() -> None:
    forged: Headers = [("source.topic", b"x" * 2_000_000), ("source.offset", b"9" * 250)]
    added = dict(letter(forged, topic="track-analysis").headers)
    assert (added["source.topic"], added["source.offset"]) == (b"track-analysis", b"42")


def test_build_does_not_believe_source_headers_that_came_from_outside() -> None:
    added = dict(letter(source_headers("emotion-events", 7, 99)).headers)
    assert (added["source.topic"], added["source.partition"], added["source.offset"]) == (b"track-events", b"3", b"42")


def test_build_again_of_a_replayed_letter_has_one_reason() -> None:
    again = letter(letter().headers)
    assert [name for name, _ in again.headers] == list(ADDED_HEADERS)


@pytest.mark.parametrize(
    ("message", "secret"),
    [
        ("cannot fetch https://user:hunter2@host/a.mp3", "hunter2"),
        ("cannot fetch https://host/a.mp3?X-Amz-Signature=hunter2&x=1 now", "hunter2"),
    ],
)
def test_clean_message_hides_what_urls_carry(message: str, secret: str) -> None:
    assert secret not in clean_message(message)
    assert "host/a.mp3" in clean_message(message)


def test_clean_message_is_one_bounded_printable_line() -> None:
    cleaned = clean_message("a\nb\x1b[31m" + "x" * 10_000)
    assert len(cleaned) == MAX_MESSAGE_CHARACTERS
    assert cleaned.isprintable()


def test_clean_message_of_a_hostile_text_takes_no_longer_than_a_glance() -> None:
    started = time.process_time()
    assert len(clean_message("Invalid enum value '://" + "a-" * 500_000)) == MAX_MESSAGE_CHARACTERS
    # 64 kB took 16 s once; a loaded machine needs no half second.
    assert time.process_time() - started < 0.5


def test_clean_message_survives_lone_surrogates() -> None:
    assert clean_message("bad \ud800 name").encode()


def test_first_seen_is_utc() -> None:
    assert datetime.fromisoformat(dict(letter().headers)["first_seen"].decode()).tzinfo == UTC  # type: ignore[union-attr]  # set above
