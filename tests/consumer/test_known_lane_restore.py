"""When the known lane takes a partition's table for restored; no broker is needed."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, TopicPartition
from prometheus_client import CollectorRegistry

from consumer.dead_letter import DeadLetterLimit
from consumer.health import Health
from consumer.known_lane import RESTORED, KnownLane
from consumer.metrics import Metrics
from consumer.settings import Settings
from consumer.topics import TRACK_EMOTIONS, TRACK_EVENTS


class Rebalancing:
    """Stands in for a consumer that is given partitions inside ``poll`` or ``consume``, and says they are empty."""

    def __init__(self, lane: KnownLane, during: str) -> None:
        self.lane, self.during, self.paused = lane, during, set[int]()

    def poll(self, timeout: float) -> Any:
        self.rebalance("poll")
        return self.end_of(0)

    def consume(self, count: int, timeout: float) -> list[Any]:
        self.rebalance("consume")
        return [self.end_of(0), self.end_of(1)] if self.during == "consume" else [self.end_of(1)]

    def rebalance(self, call: str) -> None:
        if call == self.during:
            topics = (TRACK_EVENTS.name, TRACK_EMOTIONS.name)
            self.lane._on_assign(cast(Any, self), [TopicPartition(topic, n) for topic in topics for n in (0, 1)])

    def end_of(self, partition: int) -> Any:
        values = {"error": KafkaError(KafkaError._PARTITION_EOF), "topic": TRACK_EMOTIONS.name, "offset": 0}
        return SimpleNamespace(partition=lambda: partition, **{name: lambda v=v: v for name, v in values.items()})

    def assign(self, partitions: list[TopicPartition]) -> None:
        self.paused.clear()

    def pause(self, partitions: list[TopicPartition]) -> None:
        self.paused |= {place.partition for place in partitions}

    def resume(self, partitions: list[TopicPartition]) -> None:
        self.paused -= {place.partition for place in partitions}


@pytest.mark.parametrize("during", ["poll", "consume"])
def test_regression_end_of_table_given_with_its_assignment_counts(during: str) -> None:
    health = Health([RESTORED])
    lane = KnownLane(
        Settings(kafka_bootstrap_servers="127.0.0.1:1"),
        metrics=Metrics(CollectorRegistry()),
        health=health,
        models=cast(Any, SimpleNamespace(champion=SimpleNamespace(version="m-1", feature_version="f-1"))),
        limit=DeadLetterLimit(0),
    )
    lane._consumer.close()
    lane._outbox = cast(Any, SimpleNamespace(produce=None, finish=lambda: None, is_transactional=False))
    consumer = lane._consumer = cast(Any, Rebalancing(lane, during))
    lane._turn()
    assert health.missing == []
    assert consumer.paused == set()
