"""Dead letters through the embedded broker: shown, counted, replayed once, and the original byte for byte."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Consumer, Producer, TopicPartition
from rich.console import Console

from consumer.commands import dead_letters as dead_letters_command
from consumer.commands.dead_letters import command
from consumer.dead_letter import (
    ATTEMPTS,
    FIRST_SEEN,
    MESSAGE,
    REASON,
    SOURCE_OFFSET,
    SOURCE_PARTITION,
    SOURCE_TOPIC,
    Headers,
    build_dead_letter,
    header_list,
)
from consumer.dead_letter_store import read_letters, replay
from consumer.errors import BrokerError, Reason
from consumer.settings import Settings
from consumer.topics import DEAD_LETTERS, TRACK_EVENTS
from deploy.embedded_broker import embedded_broker

START = datetime(2026, 1, 1, tzinfo=UTC)
ORIGINAL: Headers = [("traceparent", b"00-\xff"), ("traceparent", b"second"), ("empty", b"")]


MIXED = {
    1: Reason.TIMEOUT,
    2: Reason.SILENT,
    3: Reason.TIMEOUT,
    4: Reason.UNAVAILABLE,
    5: Reason.SILENT,
    6: Reason.DECODE,
}


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with embedded_broker(partitions=3) as servers:
        monkeypatch.setenv("EMOTION_KAFKA_BOOTSTRAP_SERVERS", servers)
        yield servers


@pytest.fixture(scope="module")
def mixed() -> Iterator[str]:
    """One broker for the tests that only read: a second each to start would be most of their time."""
    with embedded_broker(partitions=3) as servers:
        write(servers, MIXED)
        yield servers


@pytest.fixture
def read_only(mixed: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("EMOTION_KAFKA_BOOTSTRAP_SERVERS", mixed)
    return Settings(kafka_bootstrap_servers=mixed)


@pytest.fixture
def settings(broker: str) -> Settings:
    return Settings(kafka_bootstrap_servers=broker)


def write(broker: str, reasons: Mapping[int, Reason], *, topic: str = TRACK_EVENTS.name, partitions: int = 3) -> None:
    """Put one letter per reason into the topic, the number naming it."""
    producer = Producer({"bootstrap.servers": broker})
    for number, reason in reasons.items():
        letter = build_dead_letter(
            topic=topic,
            partition=1,
            offset=number,
            key=b"track-%d" % number,
            value=b'{"n": %d}\xff' % number,
            headers=ORIGINAL,
            reason=reason,
            message=f"letter {number} \x1b[31m",
            attempts=3,
            first_seen=START + timedelta(minutes=number),
        )
        producer.produce(
            DEAD_LETTERS.name,
            value=letter.value,
            key=letter.key,
            headers=list(letter.headers),
            partition=number % partitions,
        )
    assert producer.flush(10) == 0


def published(broker: str, topic: str = TRACK_EVENTS.name) -> list[tuple[bytes | None, bytes | None, Headers]]:
    """Read everything in a topic now."""
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "test", "enable.auto.commit": False})
    found: list[tuple[bytes | None, bytes | None, Headers]] = []
    try:
        for partition in range(3):
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
            consumer.assign([TopicPartition(topic, partition, low)])
            for _ in range(high - low):
                message = consumer.poll(10)
                assert message is not None
                assert message.error() is None
                found.append((message.key(), message.value(), header_list(message.headers())))
    finally:
        consumer.close()
    return sorted(found, key=lambda message: message[0] or b"")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments), catch_exceptions=False)


def test_read_letters_gives_all_that_is_there_now(read_only: Settings) -> None:
    letters = sorted(read_letters(read_only), key=lambda letter: letter.key or b"")
    assert [letter.key for letter in letters] == [b"track-%d" % number for number in MIXED]
    assert [letter.reason for letter in letters] == list(MIXED.values())
    assert letters[0].source == "track-events[1]@1"
    assert letters[0].value == b'{"n": 1}\xff'


def test_replay_gives_back_the_original(broker: str, settings: Settings) -> None:
    write(broker, {1: Reason.TIMEOUT})
    report = replay(settings, reasons=["timeout"])
    assert report.replayed == {"timeout": 1}
    assert published(broker) == [(b"track-1", b'{"n": 1}\xff', ORIGINAL)]


def test_replay_takes_only_the_reasons_asked_for_and_each_letter_once(broker: str, settings: Settings) -> None:
    write(broker, MIXED)
    assert replay(settings, reasons=["timeout"]).replayed == {"timeout": 2}
    again = replay(settings, reasons=["timeout", "silent"])
    assert again.replayed == {"silent": 2}
    assert again.done_before == {"timeout": 2}
    write(broker, {7: Reason.TIMEOUT})
    assert replay(settings, reasons=["timeout"]).replayed == {"timeout": 1}
    assert [key for key, _, _ in published(broker)] == [b"track-%d" % number for number in (1, 2, 3, 5, 7)]


def test_replay_limit_leaves_the_rest_for_the_next(broker: str, settings: Settings) -> None:
    write(broker, dict.fromkeys(range(1, 8), Reason.TIMEOUT))
    first = replay(settings, reasons=["timeout"], limit=3)
    assert (first.replayed.total(), first.beyond_limit.total()) == (3, 4)
    assert replay(settings, reasons=["timeout"]).replayed.total() == 4
    assert len(published(broker)) == 7


def test_replay_dry_run_changes_nothing(mixed: str, read_only: Settings) -> None:
    for _ in range(2):
        assert replay(read_only, reasons=["silent"], dry_run=True).replayed == {"silent": 2}
    assert published(mixed) == []


def test_replay_stopped_between_batches_goes_on_where_it_was(
    broker: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.dead_letter_store._BATCH", 2)
    write(broker, dict.fromkeys(range(1, 6), Reason.TIMEOUT))
    turns = iter([False, True])
    stopped = replay(settings, reasons=["timeout"], stop=lambda: next(turns))
    assert stopped.interrupted
    assert stopped.replayed.total() == 2
    assert replay(settings, reasons=["timeout"]).replayed.total() == 3
    assert len(published(broker)) == 5


def test_replay_never_publishes_where_a_forged_header_says(broker: str, settings: Settings) -> None:
    write(broker, {1: Reason.TIMEOUT}, topic="emotion-events")
    report = replay(settings, reasons=["timeout"])
    assert (report.replayed.total(), report.unreplayable) == (0, {"timeout": 1})
    assert published(broker, "emotion-events") == []


def test_replay_leaves_letters_whose_original_was_too_large_to_keep(broker: str, settings: Settings) -> None:
    ours: Any = [("error.reason", b"event_too_large"), ("source.topic", b"track-events")]
    producer = Producer({"bootstrap.servers": broker})
    producer.produce(DEAD_LETTERS.name, value=None, key=None, headers=ours)
    producer.flush(10)
    report = replay(settings, reasons=["event_too_large"])
    assert (report.replayed.total(), report.unreplayable) == (0, {"event_too_large": 1})
    assert published(broker) == []


def test_replay_gives_back_an_original_as_large_as_a_packed_letter_can_hold(broker: str, settings: Settings) -> None:
    # Beyond what a client sends unless it is told to, and within what the known lane sends.
    original = b"x" * (3 * 2**20)
    headers: Any = [("error.reason", b"event_too_large"), ("source.topic", TRACK_EVENTS.name.encode())]
    producer = Producer({"bootstrap.servers": broker, "message.max.bytes": 2**23})
    producer.produce(DEAD_LETTERS.name, value=original, key=b"large", headers=headers)
    assert producer.flush(10) == 0
    assert replay(settings, reasons=["event_too_large"]).replayed == {"event_too_large": 1}
    ((key, value, _),) = published(broker)
    assert (key, value) == (b"large", original)


def test_letter_without_our_headers_is_unknown_and_stays(broker: str, settings: Settings) -> None:
    producer = Producer({"bootstrap.servers": broker})
    producer.produce(DEAD_LETTERS.name, value=None, key=None, headers=[("error.reason", b"made up")])
    producer.flush(10)
    (letter,) = read_letters(settings)
    assert (letter.reason, letter.key, letter.value) == ("unknown", None, None)
    assert replay(settings, reasons=["unknown"]).unreplayable == {"unknown": 1}


def test_read_letters_without_brokers_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.dead_letter_store.TIMEOUT_SECONDS", 0.2)
    with pytest.raises(BrokerError, match="no broker answers"):
        list(read_letters(Settings(kafka_bootstrap_servers="127.0.0.1:1")))


# --- the command ---------------------------------------------------------------------------------------------------


def test_list_shows_the_latest_letters_and_counts_all(read_only: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters_command._output, "width", 160)
    result = run("list", "--limit", "2")
    assert result.exit_code == 0
    assert "track-6" in result.output
    assert "track-5" in result.output
    assert "track-4" not in result.output
    assert "2026-01-01 00:06:00" in result.output
    assert "track-events[1]@6" in result.output
    assert "\x1b" not in result.output
    counts = [line.split() for line in result.output.splitlines()[-5:]]
    assert sorted(counts[:4]) == [["decode", "1"], ["silent", "2"], ["timeout", "2"], ["unavailable", "1"]]
    assert counts[4] == ["all", "6"]


@pytest.mark.parametrize("width", [80, 160])
def test_list_letter_of_a_stranger_cannot_write_to_the_terminal(
    broker: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = "\x1b[2J\r\n[/bold][link=x]"
    names = (FIRST_SEEN, MESSAGE, ATTEMPTS, SOURCE_TOPIC, SOURCE_PARTITION, SOURCE_OFFSET, REASON)
    producer = Producer({"bootstrap.servers": broker})
    producer.produce(DEAD_LETTERS.name, b"{}", hostile.encode(), headers=[(name, hostile.encode()) for name in names])
    producer.flush()
    monkeypatch.setattr(dead_letters_command, "_output", Console(width=width, highlight=False))
    result = run("list")
    assert result.exit_code == 0
    assert "\x1b" not in result.output and "\r" not in result.output
    # Shown as it was written, not taken for markup: the time, the key, the source, the tries and the message.
    assert result.output.count("[2J  [/bold][link=x]") >= 4 if width > 80 else "[/bold]" in result.output
    assert "unknown" in result.output


def test_list_reason_filters(read_only: Settings) -> None:
    result = run("list", "--reason", "silent", "--reason", "decode", "--json")
    assert {json.loads(line)["reason"] for line in result.output.splitlines()} == {"silent", "decode"}
    assert len(result.output.splitlines()) == 3


def test_list_json_carries_bytes_that_are_no_text(read_only: Settings) -> None:
    letters = [json.loads(line) for line in run("list", "--json").output.splitlines()]
    (letter,) = (letter for letter in letters if letter["key"] == "track-1")
    assert letter["value_base64"] == "eyJuIjogMX3/"
    assert letter["key"] == "track-1"
    assert letter["source"] == "track-events[1]@1"
    assert (letter["attempts"], letter["reason"]) == ("3", "timeout")


def test_list_nothing_says_so(read_only: Settings) -> None:
    assert run("list", "--reason", "crash").output == "There are no dead letters of these reasons.\n"


def test_replay_command_says_what_it_did(broker: str) -> None:
    write(broker, MIXED)
    dry = run("replay", "--reason", "timeout", "--dry-run")
    assert dry.output == "2 dead letters would be replayed (2 timeout).\n"
    first = run("replay", "--reason", "timeout", "--limit", "1")
    assert first.output == "1 dead letters replayed (1 timeout).\n1 are left by --limit (1 timeout).\n"
    everything = run("replay")
    assert everything.output.splitlines()[0].startswith("5 dead letters replayed (")
    assert everything.output.splitlines()[1] == "1 were replayed before (1 timeout)."


def test_unknown_reason_is_refused_with_the_list() -> None:
    result = run("list", "--reason", "bad_mood")
    assert result.exit_code == 2
    assert "'timeout'" in result.output
