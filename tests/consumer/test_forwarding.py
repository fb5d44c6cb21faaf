"""What travels with a forwarded event, and what may not come from outside."""

from consumer.forwarding import PURPOSE, REFRESH, forwarded_headers, is_refresh


def test_forwarded_headers_keep_the_originals_and_add_the_source() -> None:
    headers = forwarded_headers([("trace", b"1"), ("trace", b"2")], "track-events", 3, 42, refresh=False)
    assert headers == [
        ("trace", b"1"),
        ("trace", b"2"),
        ("source.topic", b"track-events"),
        ("source.partition", b"3"),
        ("source.offset", b"42"),
    ]
    assert not is_refresh(headers)


def test_forwarded_headers_refresh_is_marked() -> None:
    assert is_refresh(forwarded_headers([], "track-events", 0, 0, refresh=True))


def test_forwarded_headers_from_outside_cannot_suppress_an_answer_or_forge_a_source() -> None:
    forged = [(PURPOSE, REFRESH), ("source.topic", b"elsewhere"), ("source.offset", b"7")]
    headers = forwarded_headers(list(forged), "track-events", 0, 1, refresh=False)
    assert not is_refresh(headers)
    assert dict(headers) == {
        "source.topic": b"track-events",
        "source.partition": b"0",
        "source.offset": b"1",
    }
