"""What the known lane makes of a commit that Kafka does not take; no broker is needed."""

from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from confluent_kafka import KafkaError
from prometheus_client import CollectorRegistry

from consumer.corrections import Correction, correct
from consumer.dead_letter import DeadLetterLimit
from consumer.errors import BrokerError
from consumer.health import Health
from consumer.known_lane import RESTORED, KnownLane, _Batch
from consumer.metrics import Metrics
from consumer.settings import Settings
from tests.consumer.records import track_emotion


class Commits:
    """Stands in for the consumer and remembers what was committed."""

    def __init__(self) -> None:
        self.offsets: list[dict[int, int]] = []

    def commit(self, *, offsets: list[Any], asynchronous: bool) -> None:
        assert asynchronous
        self.offsets.append({place.partition: place.offset for place in offsets})


@pytest.fixture
def lane() -> Iterator[KnownLane]:
    lane = KnownLane(
        Settings(kafka_bootstrap_servers="127.0.0.1:1"),
        metrics=Metrics(CollectorRegistry()),
        health=Health([RESTORED]),
        models=cast(Any, SimpleNamespace()),
        limit=DeadLetterLimit(0),
    )
    lane._consumer.close()
    yield lane


def test_batch_that_kafka_does_not_acknowledge_is_given_up_seconds_after_the_stop_and_beats_meanwhile(
    lane: KnownLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    health = Health([], clock=lambda: now[0])
    lane._heartbeat = health.heartbeat("known_lane", 60.0)
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    assert not lane._kept_waiting()
    now[0] += 600
    assert not lane._kept_waiting(), "nobody told it to stop"
    assert health.stuck == [], "waiting for Kafka is not being stuck"
    lane.stop()
    now[0] += 4
    assert not lane._kept_waiting()
    now[0] += 2
    assert lane._kept_waiting()


@pytest.mark.parametrize(
    "code", [KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.NOT_COORDINATOR, KafkaError._TRANSPORT]
)
def test_commit_while_coordinator_is_away_is_repeated(
    lane: KnownLane, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    commits = Commits()
    lane._consumer = commits  # type: ignore[assignment]  # a fake of the one method in use
    lane._uncommitted = {0: 7}
    lane._commit_due()
    assert commits.offsets == [], "nothing was refused yet"

    lane._on_commit(KafkaError(code), [])
    lane._uncommitted[1] = 3
    monkeypatch.setattr("consumer.known_lane.time.monotonic", lambda: float("inf"))
    lane._commit_due()
    lane._commit_due()
    assert commits.offsets == [{0: 7, 1: 3}], "once, with the newest offsets"
    assert lane._failure is None


def test_commits_of_many_small_batches_are_joined_to_ten_a_second(
    lane: KnownLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = Commits()
    lane._consumer = commits  # type: ignore[assignment]  # a fake of the one method in use
    clock = [0.0]
    monkeypatch.setattr("consumer.known_lane.time.monotonic", lambda: clock[0])
    for offset in range(1, 201):
        lane._finish(_Batch(datetime.now(UTC), offsets={0: offset}), must_commit=False)
        clock[0] += 1 / 200
    assert commits.offsets[0] == {0: 1}, "the first at once"
    assert 9 <= len(commits.offsets) <= 11
    clock[0] += 1
    lane._commit_due()
    lane._commit_due()
    assert commits.offsets[-1] == {0: 200}, "the newest, though no event follows"
    assert len(commits.offsets) <= 12


def test_commit_refused_for_a_newer_generation_is_left_to_the_new_owner(lane: KnownLane) -> None:
    lane._on_commit(KafkaError(KafkaError.ILLEGAL_GENERATION), [])
    assert lane._failure is None
    assert not lane._must_commit


def test_commit_refused_for_good_stops_the_lane(lane: KnownLane) -> None:
    lane._on_commit(KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED), [])
    assert isinstance(lane._failure, BrokerError)


@pytest.mark.parametrize(("must_commit", "commits"), [(True, [[]]), (False, [])])
def test_transaction_with_nothing_but_a_kept_correction_is_committed(
    lane: KnownLane, must_commit: bool, commits: list[list[Any]]
) -> None:
    committed: list[list[Any]] = []

    def commit(offsets: list[Any], group: object) -> bool:
        committed.append(offsets)
        return True

    lane._outbox = cast(Any, SimpleNamespace(finish=lambda: None, is_transactional=True, commit=commit))
    lane._consumer = cast(Any, SimpleNamespace(consumer_group_metadata=lambda: None))
    lane._finish(_Batch(datetime.now(UTC)), must_commit=must_commit)
    assert committed == commits, "an open transaction would hold back who reads committed records"


def test_kept_correction_of_an_aborted_transaction_is_published_again(lane: KnownLane) -> None:
    analysis = track_emotion()
    for record in (correct(analysis, Correction("happy", "curator-7", datetime(2026, 11, 1, tzinfo=UTC))), analysis):
        lane.table.open(0)
        lane.table.apply(0, b"t-1", msgspec.json.encode(record))
    lane._live.add(0)
    published: list[Any] = []
    taken = iter((False, True))
    lane._outbox = cast(
        Any,
        SimpleNamespace(
            produce=lambda _, value, *__: published.append(msgspec.json.decode(value)),
            finish=lambda: None,
            is_transactional=True,
            commit=lambda *_: next(taken),
        ),
    )
    lane._consumer = cast(Any, SimpleNamespace(consumer_group_metadata=lambda: None))
    kept = []
    for _ in range(3):
        lane._batch = _Batch(datetime.now(UTC))
        lane._complete()
        kept.append(lane._metrics.registry.get_sample_value("emotion_corrections_kept_total"))
    assert [(record["emotion"], record["corrected_by"]) for record in published] == [("happy", "curator-7")] * 2
    assert kept == [0, 1, 1], "counted once somebody can read it"
