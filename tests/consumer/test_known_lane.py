"""The known lane on a bench: nothing is committed before its outcome is safe."""

import json
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, KafkaError, TopicPartition
from prometheus_client import CollectorRegistry

from consumer import known_lane
from consumer.dead_letter import DeadLetterLimit
from consumer.errors import BrokerError, ConfigurationError, FatalError
from consumer.forwarding import is_refresh
from consumer.health import Health
from consumer.known_lane import RESTORED, KnownLane
from consumer.metrics import Metrics
from consumer.outbox import Stopped
from consumer.settings import Settings
from consumer.topics import DEAD_LETTERS, EMOTION_EVENTS, TRACK_ANALYSIS, TRACK_EMOTIONS, TRACK_EVENTS
from consumer.tracing import OFF, Tracing
from tests.consumer.records import track_emotion_json, track_event_json

END = KafkaError(KafkaError._PARTITION_EOF)
PACKED = KafkaError(KafkaError._BAD_COMPRESSION)


class Message:
    def __init__(
        self,
        topic: str,
        partition: int,
        offset: int,
        value: bytes | None,
        key: bytes = b"t-1",
        error: Any = None,
        headers: list[tuple[str, bytes]] | None = None,
    ) -> None:
        self._headers = headers or [("trace", b"1")]
        self._fields: tuple[Any, ...] = (topic, partition, offset, value, key, error)

    def topic(self) -> str:
        return str(self._fields[0])

    def partition(self) -> int:
        return int(self._fields[1])

    def offset(self) -> int:
        return int(self._fields[2])

    def value(self) -> Any:
        return self._fields[3]

    def key(self) -> Any:
        return self._fields[4]

    def error(self) -> Any:
        return self._fields[5]

    def headers(self) -> list[tuple[str, bytes]]:
        return self._headers


class FakeConsumer:
    """Gives what the script says, and notes what it is told."""

    def __init__(self, *_: object, **__: object) -> None:
        self.steps: list[Callable[[], None] | list[Message]] = []
        self.notes: list[tuple[str, Any]] = []
        self.callbacks: dict[str, Callable[..., None]] = {}
        self.lane: KnownLane | None = None

    def subscribe(self, topics: list[str], **callbacks: Callable[..., None]) -> None:
        self.callbacks = callbacks

    def poll(self, timeout: float) -> Message | None:
        while self.steps:
            step = self.steps.pop(0)
            if callable(step):
                step()
            else:
                self._rest = step[1:]
                return step[0]
        assert self.lane is not None
        self.lane.stop()
        return None

    def consume(self, count: int, timeout: float) -> list[Message]:
        given, self._rest = self._rest[:count], self._rest[count:]
        return given

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> None:
        self.note("commit" if asynchronous else "commit and wait", offsets)

    def assign(self, partitions: list[TopicPartition]) -> None:
        self.note("assign", partitions)

    def pause(self, partitions: list[TopicPartition]) -> None:
        self.note("pause", partitions)

    def resume(self, partitions: list[TopicPartition]) -> None:
        self.note("resume", partitions)

    def seek(self, partition: TopicPartition) -> None:
        self.note("seek", [partition])

    def close(self) -> None:
        self.notes.append(("close", None))

    def get_watermark_offsets(self, partition: TopicPartition, *, cached: bool) -> tuple[int, int]:
        return (0, 100)

    def position(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        return [TopicPartition(partition.topic, partition.partition, 40) for partition in partitions]

    def note(self, what: str, partitions: Iterable[TopicPartition]) -> None:
        self.notes.append((what, [(part.topic, part.partition, part.offset) for part in partitions]))

    def noted(self, what: str) -> list[Any]:
        return [content for name, content in self.notes if name == what]


class FakeOutbox:
    is_transactional = False

    def __init__(self, *_: object) -> None:
        self.messages: list[tuple[Any, ...]] = []
        self.error: Exception | None = None

    def open(self) -> None:
        """Nothing to do."""

    def produce(self, *message: Any) -> None:
        self.messages.append(message)

    def finish(self) -> None:
        if self.error is not None:
            raise self.error

    def to(self, topic: str) -> list[Any]:
        return [message for message in self.messages if message[0] == topic]


class Champion:
    version, feature_version = "m-1", "f-1"


class Models:
    champion = Champion


class Bench:
    """A lane that will be assigned partition 0 of both topics and run through a script."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tracing: Tracing = OFF, **settings: Any) -> None:
        monkeypatch.setattr(known_lane, "Consumer", FakeConsumer)
        monkeypatch.setattr(known_lane, "BatchOutbox", FakeOutbox)
        self.metrics, self.health = Metrics(CollectorRegistry()), Health([RESTORED])
        configured = Settings(**settings)
        self.lane = KnownLane(
            configured,
            metrics=self.metrics,
            health=self.health,
            models=Models,  # type: ignore[arg-type]  # all it looks at is the champion's versions
            limit=DeadLetterLimit(configured.dead_letter_limit),
            tracing=tracing,
        )
        fakes: Any = self.lane
        self.consumer, self.outbox = fakes._consumer, fakes._outbox
        self.consumer.lane = self.lane

    def assign(self, *partitions: int) -> Callable[[], None]:
        return self.rebalance("on_assign", *partitions)

    def revoke(self, *partitions: int) -> Callable[[], None]:
        return self.rebalance("on_revoke", *partitions)

    def rebalance(self, callback: str, *partitions: int) -> Callable[[], None]:
        both = [TopicPartition(topic.name, p) for topic in (TRACK_EVENTS, TRACK_EMOTIONS) for p in partitions]
        return lambda: self.consumer.callbacks[callback](self.consumer, both)

    def consume_by(self, consume: Callable[[int, float], list[Message]]) -> Callable[[], None]:
        """Give the step from which on a script of the test's own says what is consumed after a first message."""
        return lambda: setattr(self.consumer, "consume", consume)

    def run(self, *steps: Any) -> None:
        self.consumer.steps = list(steps)
        self.lane.run()

    def run_assigned(self, *batches: list[Message], record: bytes | None = None) -> None:
        known = [record_of(0, record)] if record is not None else []
        self.run(self.assign(0), [*known, end_of(0, len(known))], *batches)

    def value(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def record_of(offset: int, value: bytes, partition: int = 0) -> Message:
    return Message(TRACK_EMOTIONS.name, partition, offset, value)


def end_of(partition: int, offset: int) -> Message:
    return Message(TRACK_EMOTIONS.name, partition, offset, None, error=END)


def event_of(offset: int, value: bytes | None, partition: int = 0) -> Message:
    return Message(TRACK_EVENTS.name, partition, offset, value)


def test_event_that_cannot_be_unpacked_becomes_a_dead_letter_and_what_follows_is_read(bench: Bench) -> None:
    unreadable = Message(TRACK_EVENTS.name, 0, 8, b"words of the client's", error=PACKED)
    before, behind = (event_of(offset, track_event_json(f"e-{offset}")) for offset in (7, 9))
    # What came with it is left: it comes again from where the lane then asks.
    bench.run_assigned([before, unreadable, unreadable, behind], [behind], record=track_emotion_json())
    ((_, value, key, headers),) = bench.outbox.to(DEAD_LETTERS.name)
    said = dict(headers)
    assert (value, key) == (None, None)
    assert (said["error.reason"], said["source.partition"], said["source.offset"]) == (b"event_too_large", b"0", b"8")
    assert bench.consumer.noted("seek") == [[(TRACK_EVENTS.name, 0, 9)]]
    answered = [json.loads(answer[1])["source_event_id"] for answer in bench.outbox.to(EMOTION_EVENTS.name)]
    assert answered == ["e-7", "e-9"]
    assert bench.consumer.noted("commit")[0] == [(TRACK_EVENTS.name, 0, 9)]
    assert bench.value("emotion_events_dead_lettered_total", lane="known", reason="event_too_large") == 1


def test_batch_of_events_that_cannot_be_unpacked_is_told_of_one_by_one(bench: Bench) -> None:
    # Of each the client says only where their batch begins.
    unreadable = Message(TRACK_EVENTS.name, 0, 8, b"words of the client's", error=PACKED)
    bench.run_assigned([unreadable], [unreadable], [unreadable])
    places = [dict(headers)["source.offset"] for _, _, _, headers in bench.outbox.to(DEAD_LETTERS.name)]
    assert places == [b"8", b"9", b"10"]
    assert bench.consumer.noted("seek")[-1] == [(TRACK_EVENTS.name, 0, 11)]


def test_record_that_cannot_be_unpacked_is_passed_over_and_the_table_restored(bench: Bench) -> None:
    unreadable = Message(TRACK_EMOTIONS.name, 0, 0, b"words of the client's", error=PACKED)
    bench.run(
        bench.assign(0),
        [unreadable, unreadable, record_of(1, track_emotion_json("left"))],
        [record_of(1, track_emotion_json()), end_of(0, 2)],
        [event_of(7, track_event_json("e-1"))],
    )
    assert bench.consumer.noted("seek") == [[(TRACK_EMOTIONS.name, 0, 1)]]
    assert len(bench.outbox.to(EMOTION_EVENTS.name)) == 1
    assert len(bench.lane.table) == 1


def test_plays_from_the_ends_of_time_are_answered_and_counted(bench: Bench) -> None:
    # More of them than a sum of their ages could hold, and moments that no other time zone has.
    first, last = "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"
    times = [first, last, *["0001-01-01T00:00:00Z"] * 1990]
    plays = [event_of(n, track_event_json(f"e-{n}", occurred_at=time)) for n, time in enumerate(times)]
    bench.run_assigned(plays, record=track_emotion_json())
    outcomes = len(bench.outbox.to(EMOTION_EVENTS.name)), len(bench.outbox.to(DEAD_LETTERS.name))
    assert sum(outcomes) == len(plays)
    assert outcomes[0] >= 1990
    assert bench.value("emotion_latency_seconds_count", lane="known") == outcomes[0]
    assert bench.value("emotion_latency_seconds_sum", lane="known") > 6e10 * 1990


def test_worker_left_without_partitions_shows_an_empty_table(bench: Bench) -> None:
    bench.run(bench.assign(0), [record_of(0, track_emotion_json()), end_of(0, 1)], bench.revoke(0), bench.assign())
    assert bench.value("emotion_table_tracks") == 0


def test_lag_of_a_partition_that_was_never_read_grows_older(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.run(bench.assign(0), [end_of(0, 0)])
    later = datetime.now(UTC) + timedelta(seconds=90)
    monkeypatch.setattr("consumer.known_lane.datetime", SimpleNamespace(now=lambda _: later))
    bench.lane._next_lag = 0.0
    bench.lane._measure_lag()
    place = {"topic": TRACK_EVENTS.name, "partition": "0"}
    assert bench.value("emotion_consumer_lag_events", **place) == 60
    assert bench.value("emotion_consumer_lag_seconds", **place) == pytest.approx(90, abs=5)


def test_play_of_a_known_track_is_answered_then_committed(bench: Bench) -> None:
    bench.run_assigned([event_of(7, track_event_json("e-1"))], record=track_emotion_json())
    ((_, value, key, headers),) = bench.outbox.to(EMOTION_EVENTS.name)
    answer = json.loads(value)
    assert (answer["source_event_id"], answer["known"], answer["emotion"]) == ("e-1", True, "sad")
    assert key == b"t-1"
    assert dict(headers)["ce_id"] == answer["event_id"].encode()
    assert bench.consumer.noted("commit") == [[(TRACK_EVENTS.name, 0, 8)]]
    assert bench.value("emotion_events_emitted_total", lane="known", emotion="sad") == 1
    assert bench.value("emotion_latency_seconds_count", lane="known") == 1


def test_play_of_an_unknown_track_is_forwarded_unchanged(bench: Bench) -> None:
    value = track_event_json("e-1", "t-9")
    bench.run_assigned([event_of(7, value)])
    ((_, forwarded, key, headers),) = bench.outbox.to(TRACK_ANALYSIS.name)
    assert (forwarded, key) == (value, b"t-9")
    assert dict(headers) == {
        "trace": b"1",
        "source.topic": b"track-events",
        "source.partition": b"0",
        "source.offset": b"7",
    }
    assert bench.consumer.noted("commit") == [[(TRACK_EVENTS.name, 0, 8)]]


def test_events_are_counted_once_by_their_type(bench: Bench) -> None:
    bench.run_assigned(
        [
            event_of(0, track_event_json("answered")),
            event_of(1, track_event_json("never judged", "t-9")),
            event_of(2, track_event_json("uploaded", event_type="track_uploaded")),
            event_of(3, b"{}"),
        ],
        # Answered, and heard again by the newer model.
        [record_of(1, track_emotion_json(model_version="m-0"))],
        [event_of(4, track_event_json("stale"))],
        record=track_emotion_json(),
    )
    assert bench.value("emotion_analyses_stale_total") == 1
    assert bench.value("emotion_event_types_total", event_type="track_played") == 3
    assert bench.value("emotion_event_types_total", event_type="track_uploaded") == 1


def test_upload_of_a_known_track_is_forwarded(bench: Bench) -> None:
    bench.run_assigned([event_of(0, track_event_json(event_type="track_uploaded"))], record=track_emotion_json())
    assert len(bench.outbox.to(TRACK_ANALYSIS.name)) == 1
    assert bench.outbox.to(EMOTION_EVENTS.name) == []


def test_bad_messages_become_dead_letters_and_the_next_event_is_answered(bench: Bench) -> None:
    values = (None, b"nonsense", b"{}", track_event_json(event_type="paused"), b"x" * 70_000)
    bench.run_assigned(
        [event_of(offset, value) for offset, value in enumerate((*values, track_event_json()))],
        record=track_emotion_json(),
    )
    letters = bench.outbox.to(DEAD_LETTERS.name)
    assert [letter[1] for letter in letters] == list(values)
    assert [dict(letter[3])["error.reason"] for letter in letters] == [
        b"invalid_json",
        b"invalid_json",
        b"schema",
        b"unknown_event_type",
        b"event_too_large",
    ]
    assert len(bench.outbox.to(EMOTION_EVENTS.name)) == 1
    assert bench.consumer.noted("commit") == [[(TRACK_EVENTS.name, 0, 6)]]


@pytest.mark.parametrize("count", [1, 49, 50, 51, 100, 130])
def test_every_bad_message_of_a_batch_is_a_dead_letter_once_before_the_batch_is_safe(bench: Bench, count: int) -> None:
    values = [b"nonsense %d" % number for number in range(count)]
    safe: list[list[bytes]] = []
    bench.outbox.finish = lambda: safe.append([letter[1] for letter in bench.outbox.to(DEAD_LETTERS.name)])
    bench.run_assigned([event_of(offset, value) for offset, value in enumerate(values)])
    assert safe[-1] == values
    assert bench.outbox.to(DEAD_LETTERS.name)[-1][3][-5:-2] == [
        ("source.topic", TRACK_EVENTS.name.encode()),
        ("source.partition", b"0"),
        ("source.offset", str(count - 1).encode()),
    ]
    assert bench.value("emotion_events_dead_lettered_total", lane="known", reason="invalid_json") == count
    assert bench.consumer.noted("commit") == [[(TRACK_EVENTS.name, 0, count)]]


def test_new_track_with_outsized_headers_becomes_a_dead_letter_and_a_known_one_is_answered(bench: Bench) -> None:
    events = [event_of(0, track_event_json(track_id="new")), event_of(1, track_event_json())]
    for event in events:
        event.headers = lambda: [("trace", b"x" * 70_000)]  # type: ignore[method-assign]
    bench.run_assigned(events, record=track_emotion_json(model_version="m-0"))
    (letter,) = bench.outbox.to(DEAD_LETTERS.name)
    assert dict(letter[3])["error.reason"] == b"event_too_large"
    assert len(bench.outbox.to(EMOTION_EVENTS.name)) == 1
    # The known one's record is an older model's, but neither is there a way to forward it.
    assert bench.outbox.to(TRACK_ANALYSIS.name) == []
    assert bench.value("emotion_events_forwarded_total") == 0
    assert bench.consumer.noted("commit") == [[(TRACK_EVENTS.name, 0, 2)]]


def test_header_name_that_cannot_be_decoded_makes_a_dead_letter_and_the_next_event_is_answered(bench: Bench) -> None:
    asked = 0

    def broken() -> Any:
        nonlocal asked
        asked += 1
        raise SystemError("returned a result with an exception set")

    events = [event_of(offset, track_event_json()) for offset in range(2)]
    events[0].headers = broken  # type: ignore[method-assign]
    bench.run_assigned(events, record=track_emotion_json())
    (letter,) = bench.outbox.to(DEAD_LETTERS.name)
    assert letter[1] == events[0].value()
    assert dict(letter[3])["error.reason"] == b"schema"
    assert asked == 1, "a second question is answered with what must not be touched"
    assert len(bench.outbox.to(EMOTION_EVENTS.name)) == 1
    assert bench.value("emotion_events_dead_lettered_total", lane="known", reason="schema") == 1
    assert bench.consumer.noted("commit") == [[(TRACK_EVENTS.name, 0, 2)]]


def test_produce_that_fails_stops_the_lane_and_nothing_is_committed(bench: Bench) -> None:
    bench.outbox.error = BrokerError("refused")
    with pytest.raises(BrokerError):
        bench.run_assigned([event_of(0, track_event_json())], record=track_emotion_json())
    assert bench.consumer.noted("commit") == []
    assert bench.consumer.noted("commit and wait") == []
    assert bench.consumer.notes[-1] == ("close", None)


def test_record_of_another_model_answers_at_once_and_is_renewed_once(bench: Bench) -> None:
    plays = [event_of(offset, track_event_json(f"e-{offset}")) for offset in range(3)]
    bench.run_assigned(plays, record=track_emotion_json(model_version="m-0"))
    answers = [json.loads(message[1]) for message in bench.outbox.to(EMOTION_EVENTS.name)]
    assert [answer["model_version"] for answer in answers] == ["m-0"] * 3
    (refresh,) = bench.outbox.to(TRACK_ANALYSIS.name)
    assert is_refresh(refresh[3])
    assert bench.value("emotion_analyses_stale_total") == 1


def test_record_corrected_by_a_person_is_not_renewed(bench: Bench) -> None:
    record = track_emotion_json(model_version="m-0", corrected_by="curator-7")
    bench.run_assigned([event_of(0, track_event_json())], record=record)
    assert len(bench.outbox.to(EMOTION_EVENTS.name)) == 1
    assert bench.outbox.to(TRACK_ANALYSIS.name) == []


def test_record_that_arrives_between_two_plays_counts_for_the_second(bench: Bench) -> None:
    first, second = event_of(0, track_event_json("e-0")), event_of(1, track_event_json("e-1"))
    bench.run_assigned([first, record_of(0, track_emotion_json()), second])
    assert len(bench.outbox.to(TRACK_ANALYSIS.name)) == 1
    assert len(bench.outbox.to(EMOTION_EVENTS.name)) == 1


def test_assignment_restores_the_table_before_the_events_are_resumed(bench: Bench) -> None:
    bench.run(bench.assign(0), [record_of(0, track_emotion_json())], [end_of(0, 1)])
    kinds = [name for name, _ in bench.consumer.notes]
    assert kinds[:3] == ["assign", "pause", "resume"]
    assigned = bench.consumer.noted("assign")[0]
    assert (TRACK_EMOTIONS.name, 0, OFFSET_BEGINNING) in assigned
    assert bench.consumer.noted("pause")[0] == [(TRACK_EVENTS.name, 0, -1001)]
    assert bench.health.missing == []
    assert bench.value("emotion_table_tracks") == 1


def test_event_that_comes_before_the_table_is_restored_is_read_again(bench: Bench) -> None:
    early = [event_of(4, track_event_json("e-4")), event_of(5, track_event_json("e-5"))]
    bench.run(bench.assign(0), early, [record_of(0, track_emotion_json()), end_of(0, 1)])
    assert bench.outbox.messages == []
    assert bench.consumer.noted("seek") == [[(TRACK_EVENTS.name, 0, 4)]]
    assert bench.consumer.noted("commit") == []


def test_table_is_kept_for_a_partition_that_comes_back_and_dropped_for_one_that_does_not(bench: Bench) -> None:
    restore = [
        record_of(0, track_emotion_json()),
        end_of(0, 1),
        record_of(8, track_emotion_json(), partition=1),
        end_of(1, 9),
    ]
    bench.run(bench.assign(0, 1), restore, bench.revoke(0, 1), bench.assign(1), [end_of(1, 9)])
    assert (TRACK_EMOTIONS.name, 1, 9) in bench.consumer.noted("assign")[1]
    assert bench.lane._table.partitions == {1}
    assert len(bench.lane._table) == 1


def test_revocation_waits_for_the_commit_of_what_was_answered(bench: Bench) -> None:
    bench.run(
        bench.assign(0),
        [record_of(0, track_emotion_json()), end_of(0, 1)],
        [event_of(3, track_event_json())],
        bench.revoke(0),
    )
    assert bench.consumer.noted("commit and wait") == [[(TRACK_EVENTS.name, 0, 4)]]
    assert bench.health.missing == [RESTORED]


def test_topics_with_different_partition_counts_stop_the_lane(bench: Bench) -> None:
    uneven = [TopicPartition(TRACK_EVENTS.name, 0), TopicPartition(TRACK_EVENTS.name, 1)]
    uneven.append(TopicPartition(TRACK_EMOTIONS.name, 0))
    with pytest.raises(ConfigurationError, match="same number of partitions"):
        bench.run(lambda: bench.consumer.callbacks["on_assign"](bench.consumer, uneven), [end_of(0, 0)])


def test_flood_of_dead_letters_stops_the_lane_after_their_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, dead_letter_limit=2)
    with pytest.raises(FatalError, match="EMOTION_DEAD_LETTER_LIMIT"):
        bench.run_assigned([event_of(offset, b"poison") for offset in range(3)])
    assert bench.consumer.noted("commit") == [[(TRACK_EVENTS.name, 0, 3)]]


def test_first_message_of_a_batch_is_dropped_when_its_partition_is_taken_away_meanwhile(bench: Bench) -> None:
    def taken_away(count: int, timeout: float) -> list[Message]:
        bench.revoke(0)()
        return []

    steps = [bench.assign(0), [record_of(0, track_emotion_json()), end_of(0, 1)]]

    bench.run(*steps, bench.consume_by(taken_away), [event_of(3, track_event_json(occurred_at=datetime.now(UTC)))])
    assert bench.outbox.messages == []
    assert bench.consumer.noted("commit") == []


@pytest.mark.parametrize(("most", "taken"), [(1, 1), (2, 2), (5, 4), (6, 6), (7, 6), (20, 7)])
def test_batch_is_taken_in_portions_and_safe_as_a_whole(monkeypatch: pytest.MonkeyPatch, most: int, taken: int) -> None:
    monkeypatch.setattr(known_lane, "_PORTION_EVENTS", 2)
    bench = Bench(monkeypatch, known_batch_events=most)
    answered: list[int] = []
    bench.outbox.finish = lambda: answered.append(len(bench.outbox.to(EMOTION_EVENTS.name)))
    events = [event_of(offset, track_event_json(f"e-{offset}")) for offset in range(7)]
    bench.run(bench.assign(0), [record_of(0, track_emotion_json())], [end_of(0, 1)], events)
    # Nothing before the whole batch; what the last portion leaves, the test's consumer does not give again.
    assert answered == [0, 0, taken]
    assert bench.consumer.noted("commit") == [[(TRACK_EVENTS.name, 0, taken)]]


@pytest.mark.parametrize("callback", ["on_revoke", "on_lost"])
def test_batch_is_completed_before_its_partition_is_given_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, callback: str
) -> None:
    monkeypatch.setattr(known_lane, "_PORTION_EVENTS", 2)
    events = [event_of(offset, track_event_json(f"e-{offset}")) for offset in (3, 4)]
    safe: list[int] = []

    def given_up(count: int, timeout: float) -> list[Message]:
        if count == 1:
            return events[1:]
        bench.outbox.finish = lambda: safe.append(len(bench.outbox.to(EMOTION_EVENTS.name)))
        bench.rebalance(callback, 0)()
        assert safe == [2]
        # Fetched for the former owner.
        return [event_of(5, track_event_json("e-5"))]

    bench.run(
        bench.assign(0), [record_of(0, track_emotion_json()), end_of(0, 1)], bench.consume_by(given_up), events[:1]
    )
    assert len(bench.outbox.to(EMOTION_EVENTS.name)) == 2
    waited = [[(TRACK_EVENTS.name, 0, 5)]] if callback == "on_revoke" else []
    assert bench.consumer.noted("commit and wait") == waited
    assert bench.consumer.noted("seek") == []
    assert bench.value("emotion_events_consumed_total", lane="known") == 2


def test_nothing_is_to_be_read_again_of_a_partition_that_is_given_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_lane, "_PORTION_EVENTS", 1)

    def given_up(count: int, timeout: float) -> list[Message]:
        if count:
            bench.revoke(0)()
        return []

    # Fetched before the pause took hold; the table is not there yet.
    bench.run(bench.assign(0), bench.consume_by(given_up), [event_of(3, track_event_json("e-3"))])
    assert bench.consumer.noted("seek") == []
    assert bench.outbox.messages == []


@pytest.mark.parametrize("error", [BrokerError("refused"), Stopped()])
def test_batch_that_cannot_be_completed_before_its_partition_is_given_up_is_not_committed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(known_lane, "_PORTION_EVENTS", 1)

    def given_up(count: int, timeout: float) -> list[Message]:
        if not count:
            return []
        bench.outbox.error = error
        bench.revoke(0)()
        bench.outbox.error = None
        return [event_of(4, track_event_json("e-4"))]

    steps = [bench.assign(0), [record_of(0, track_emotion_json())], [end_of(0, 1)], bench.consume_by(given_up)]
    expected = pytest.raises(BrokerError, match="refused") if isinstance(error, BrokerError) else nullcontext()
    with expected:
        bench.run(*steps, [event_of(3, track_event_json("e-3"))])
    assert len(bench.outbox.to(EMOTION_EVENTS.name)) == 1, "nothing was answered after that"
    assert bench.consumer.noted("commit") == bench.consumer.noted("commit and wait") == []


def test_a_lane_that_turns_while_events_wait_shows_no_progress(bench: Bench) -> None:
    # The fake consumer's end is at 100, its position at 40.
    bench.run(bench.assign(0), [end_of(0, 0)])
    assert bench.value("emotion_consumer_lag_events", topic=TRACK_EVENTS.name, partition="0") == 60
    assert bench.value("emotion_last_progress_timestamp_seconds", lane="known") == 0


def test_a_lane_with_nothing_to_read_shows_progress(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeConsumer, "get_watermark_offsets", lambda *_, cached: (0, 40))
    bench.run(bench.assign(0), [end_of(0, 0)])
    assert bench.value("emotion_last_progress_timestamp_seconds", lane="known") > 0


def test_what_is_set_aside_keeps_its_order_and_none_is_left_behind(bench: Bench) -> None:
    # More than are sent together, and no multiple of it.
    values = [track_event_json(f"e-{n}", f"new-{n}") if n % 3 else b"no event %d" % n for n in range(130)]
    bench.run_assigned([event_of(offset, value) for offset, value in enumerate(values)])
    forwarded = [value for _, value, _, _ in bench.outbox.to(TRACK_ANALYSIS.name)]
    letters = [value for _, value, _, _ in bench.outbox.to(DEAD_LETTERS.name)]
    assert forwarded == [value for n, value in enumerate(values) if n % 3]
    assert letters == [value for n, value in enumerate(values) if not n % 3]
    assert bench.consumer.noted("commit") == [[(TRACK_EVENTS.name, 0, 130)]]
    assert bench.value("emotion_events_forwarded_total") == len(forwarded)
    assert bench.value("emotion_events_dead_lettered_total", lane="known", reason="invalid_json") == len(letters)
