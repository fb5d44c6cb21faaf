"""The feedback reader on the embedded broker, beside a lane that is only its table."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from prometheus_client import CollectorRegistry

from consumer.dead_letter_store import StoredLetter
from consumer.feedback_reader import FeedbackReader
from consumer.health import Health
from consumer.metrics import Metrics
from consumer.settings import Settings
from consumer.topics import DEAD_LETTERS, EMOTION_FEEDBACK, TRACK_EMOTIONS
from consumer.track_table import TrackTable
from deploy.embedded_broker import embedded_broker
from tests.consumer.records import feedback_json, track_emotion_json
from tests.consumer.unreadable import produce_unreadable

PATIENCE_SECONDS = 60
LONG_AGO = datetime.now(UTC) - timedelta(hours=1)


class FakeLane:
    """Holds partition 0 and knows one track in it."""

    def __init__(self) -> None:
        self.table = TrackTable()
        for partition in (0, 1):
            self.table.open(partition)
        self.know("t-1")
        self.live = frozenset({0})

    def know(self, track_id: str, **changes: Any) -> None:
        self.table.apply(0, track_id.encode(), track_emotion_json(track_id, **changes))


class Bench:
    """A broker with feedback in it, and a reader that can be restarted."""

    def __init__(self, bootstrap: str) -> None:
        self.settings = Settings(kafka_bootstrap_servers=bootstrap, session_timeout_seconds=6)
        self.lane = FakeLane()
        self.producer = Producer({"bootstrap.servers": bootstrap})
        self.consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "test"})
        topics = (TRACK_EMOTIONS.name, DEAD_LETTERS.name)
        places = [TopicPartition(topic, partition, OFFSET_BEGINNING) for topic in topics for partition in (0, 1)]
        self.consumer.assign(places)
        self.registry = CollectorRegistry()

    def send(self, *values: bytes, partition: int = 0) -> None:
        for value in values:
            self.producer.produce(EMOTION_FEEDBACK.name, value, b"key", partition, headers=[("mine", b"kept")])
        self.producer.flush()

    @contextmanager
    def reading(self) -> Iterator[None]:
        self.registry = CollectorRegistry()
        reader = FeedbackReader(self.settings, lane=self.lane, metrics=Metrics(self.registry), health=Health([]))
        failures: list[BaseException] = []

        def run() -> None:
            try:
                reader.run()
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            reader.stop()
            thread.join(PATIENCE_SECONDS)
        assert not failures
        assert not thread.is_alive()

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"emotion_feedback_{name}", labels) or 0.0

    def acts(self, kind: str) -> float:
        return self.count("total", emotion="sad", decision="apply", kind=kind)

    def next_message(self) -> Any:
        found: list[Any] = []

        def arrived() -> bool:
            message = self.consumer.poll(0.2)
            if message is not None and message.error() is None:
                found.append(message)
            return bool(found)

        until(arrived)
        return found[0]


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "did not come about"
        time.sleep(0.02)


@pytest.fixture
def bench() -> Iterator[Bench]:
    with embedded_broker(2) as bootstrap:
        bench = Bench(bootstrap)
        try:
            yield bench
        finally:
            bench.consumer.close()


def test_label_is_published_as_the_corrected_record(bench: Bench) -> None:
    said_at = datetime(2026, 6, 1, tzinfo=UTC)
    bench.send(feedback_json(kind="label", label="happy", listener_id="curator-7", occurred_at=said_at))
    with bench.reading():
        message = bench.next_message()
        until(lambda: bench.acts("label") == 1)
    record = json.loads(message.value())
    assert (message.topic(), message.key()) == (TRACK_EMOTIONS.name, b"t-1")
    assert (record["emotion"], record["corrected_by"], record["model_emotion"]) == ("happy", "curator-7", "sad")
    assert dict(message.headers())["ce_type"] == b"emotion-stream.track-emotion.v1"


def test_bad_feedback_is_a_dead_letter_with_its_bytes_and_holds_nobody_up(bench: Bench) -> None:
    bad = {
        b"nonsense": "invalid_json",
        b"{}": "schema",
        feedback_json(kind="label"): "schema",
        feedback_json("huge", listener_id="x" * 70_000): "event_too_large",
        feedback_json("stray", track_id="never-judged", occurred_at=LONG_AGO): "unmatched",
    }
    bench.send(*bad, feedback_json("f-2"))
    with bench.reading():
        until(lambda: bench.acts("accepted") == 1)
        letters = {}
        for _ in bad:
            message = bench.next_message()
            letters[message.value()] = dict(message.headers())
    assert {value: headers["error.reason"].decode() for value, headers in letters.items()} == bad
    for headers in letters.values():
        assert headers["source.topic"] == EMOTION_FEEDBACK.name.encode()
        assert headers["mine"] == b"kept"
    assert sum(bench.count("rejected_total", reason=reason) for reason in set(bad.values())) == 5


def test_header_name_that_cannot_be_decoded_makes_a_dead_letter_and_holds_nobody_up(bench: Bench) -> None:
    produce_unreadable(bench.settings.kafka_bootstrap_servers, EMOTION_FEEDBACK.name, feedback_json("f-1"))
    bench.send(feedback_json("f-2", kind="liked"))
    with bench.reading():
        until(lambda: bench.acts("liked") == 1)
        letter = bench.next_message()
        assert bench.acts("accepted") == 0
        assert bench.count("rejected_total", reason="schema") == 1
    assert letter.topic() == DEAD_LETTERS.name
    assert json.loads(letter.value())["event_id"] == "f-1"
    assert dict(letter.headers())["error.reason"] == b"schema"


def test_partition_lost_and_regained_between_two_looks_is_read_from_where_it_was_left(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up: list[str] = []
    find = TrackTable.find

    def losing(table: TrackTable, partition: int, track_id: str) -> Any:
        # The lane loses its partition while the second event is taken in, and has it again at the next look.
        looked_up.append(track_id)
        live.extend([frozenset()] if len(looked_up) == 2 else [])
        return find(table, partition, track_id)

    live: list[frozenset[int]] = []
    monkeypatch.setattr(TrackTable, "find", losing)
    monkeypatch.setattr(FakeLane, "live", property(lambda _: live.pop() if live else frozenset({0})), raising=False)
    bench.send(*[feedback_json(f"f-{number}") for number in range(4)])
    with bench.reading():
        until(lambda: len(looked_up) >= 2)
        bench.send(feedback_json("f-4", kind="skipped"))
        until(lambda: bench.acts("skipped") == 1)
        assert bench.acts("accepted") == 4


def test_feedback_that_cannot_be_unpacked_is_a_dead_letter_and_holds_nobody_up(bench: Bench) -> None:
    packing = {"compression.type": "zstd", "message.max.bytes": 2**28}
    packer = Producer({"bootstrap.servers": bench.settings.kafka_bootstrap_servers} | packing)
    bench.send(feedback_json("f-0"))
    packer.produce(EMOTION_FEEDBACK.name, b"x" * (110 * 2**20), b"key", 0)
    packer.flush()
    bench.send(feedback_json("f-1"))
    with bench.reading():
        until(lambda: bench.acts("accepted") == 2)
        letter = bench.next_message()
        assert bench.count("rejected_total", reason="event_too_large") == 1
    headers = dict(letter.headers())
    assert (letter.topic(), letter.value()) == (DEAD_LETTERS.name, None)
    assert (headers["source.offset"], headers["error.reason"]) == (b"1", b"event_too_large")


def test_same_event_counts_once_also_after_a_restart(bench: Bench) -> None:
    bench.send(*[feedback_json(f"f-{number}") for number in range(30)], feedback_json("f-0"))
    with bench.reading():
        until(lambda: bench.acts("accepted") == 30)
        until(lambda: bench.count("duplicates_total") == 1)
        until(lambda: bench.count("acceptance_ratio", emotion="sad", decision="apply") == 1.0)
    bench.send(feedback_json("f-1"), feedback_json("f-30", kind="skipped"))
    with bench.reading():
        until(lambda: bench.acts("skipped") == 1)
        assert bench.acts("accepted") == 0, "what was counted before the restart is not counted again"
        assert bench.count("duplicates_total") == 1
        # But it is remembered: 30 of 31.
        until(lambda: 0.9 < bench.count("acceptance_ratio", emotion="sad", decision="apply") < 1.0)


def test_feedback_quicker_than_the_record_waits_for_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.feedback_reader._PATIENCE_SECONDS", float(PATIENCE_SECONDS))
    asked = threading.Event()
    find = bench.lane.table.find

    def find_and_tell(partition: int, track_id: str) -> Any:
        asked.set()
        return find(partition, track_id)

    monkeypatch.setattr(bench.lane.table, "find", find_and_tell)
    bench.send(feedback_json(track_id="t-2"))
    with bench.reading():
        assert asked.wait(PATIENCE_SECONDS)
        bench.lane.know("t-2")
        until(lambda: bench.acts("accepted") == 1)


def test_partition_gained_is_read_and_one_lost_is_left_to_its_new_owner(bench: Bench) -> None:
    bench.lane.table.apply(1, b"t-9", track_emotion_json("t-9"))
    bench.send(feedback_json("f-1"))
    bench.send(feedback_json("f-2", track_id="t-9", kind="liked"), partition=1)
    with bench.reading():
        until(lambda: bench.acts("accepted") == 1)
        assert bench.acts("liked") == 0
        bench.lane.live = frozenset({1})
        until(lambda: bench.acts("liked") == 1)
        bench.send(feedback_json("f-3"))
        bench.send(feedback_json("f-4", track_id="t-9", kind="completed"), partition=1)
        until(lambda: bench.acts("completed") == 1)
        assert bench.acts("accepted") == 1
    bench.lane.live = frozenset({0, 1})
    with bench.reading():
        until(lambda: bench.acts("accepted") == 1)
        assert bench.acts("liked") == 0


def test_older_word_read_again_does_not_replace_a_newer_one(bench: Bench) -> None:
    bench.lane.know("t-1", emotion="angry", corrected_by="curator-8", classified_at=datetime.now(UTC))
    bench.send(feedback_json(kind="label", label="happy", occurred_at=LONG_AGO), b"nonsense")
    with bench.reading():
        assert bench.next_message().topic() == DEAD_LETTERS.name, "no record was published before the letter"


def test_dead_letter_of_feedback_can_be_replayed() -> None:
    letter = StoredLetter(
        partition=0, offset=0, key=None, value=b"x", headers=[("source.topic", EMOTION_FEEDBACK.name.encode())]
    )
    assert letter.replay_topic == EMOTION_FEEDBACK.name
