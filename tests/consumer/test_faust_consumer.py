"""Faust's commit and revocation, replaced: what it lost or repeated before, it does not now."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import faust
import pytest
from aiokafka.errors import CommitFailedError, KafkaConnectionError, TopicAuthorizationFailedError
from faust.exceptions import ConsumerNotStarted
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from yarl import URL

from consumer.faust_consumer import LaneConsumer, LaneTransport

PLACE = TP("track-analysis", 0)


class Listener:
    def __init__(self) -> None:
        self.consumer: Any = None

    async def before_revoked(self, partitions: set[TP]) -> None:
        # The lane finishes an event here: its acknowledgement must still be committed.
        acknowledge(self.consumer, 2)

    async def after_assigned(self, partitions: set[TP]) -> None:
        """Nothing to do."""


class FakeThread:
    """Kafka's side: takes commits, or raises."""

    def __init__(self) -> None:
        self.commits: list[dict[TP, int]] = []
        self.error: Exception | None = None

    def assignment(self) -> set[TP]:
        return {PLACE}

    async def commit_offsets(self, offsets: dict[TP, int]) -> None:
        if self.error is not None:
            raise self.error
        self.commits.append(offsets)


def acknowledge(consumer: Any, *offsets: int) -> None:
    consumer._acked[PLACE] += offsets
    consumer._acked_index[PLACE].update(offsets)


def with_consumer(scenario: Callable[[Any, FakeThread], Awaitable[None]]) -> None:
    async def main() -> None:
        app = faust.App("test", broker="kafka://127.0.0.1:1", topic_disable_leader=True)
        listener = Listener()
        transport = LaneTransport([URL("kafka://127.0.0.1:1")], app, listener=listener)
        app.transport = transport
        assert isinstance(app.consumer, LaneConsumer)
        consumer: Any = app.consumer
        listener.consumer = consumer
        consumer._thread.thread_loop.close()
        # The part of it that talks to Kafka.
        consumer._thread = thread = FakeThread()
        crashes: list[BaseException] = []

        async def crash(reason: BaseException) -> None:
            crashes.append(reason)

        consumer.crash = crash
        consumer.crashes = crashes
        await scenario(consumer, thread)

    asyncio.run(main())


def test_commit_goes_past_what_is_acknowledged_and_no_further() -> None:
    async def scenario(consumer: Any, thread: FakeThread) -> None:
        acknowledge(consumer, 0, 1, 2)
        assert await consumer.force_commit()
        assert not await consumer.force_commit()
        assert thread.commits == [{PLACE: 3}]

    with_consumer(scenario)


def test_commit_of_nothing_asks_kafka_nothing() -> None:
    async def scenario(consumer: Any, thread: FakeThread) -> None:
        def not_connected() -> set[TP]:
            raise ConsumerNotStarted

        thread.assignment = not_connected  # type: ignore[method-assign]
        assert not await consumer.force_commit()

    with_consumer(scenario)


def test_commit_offsets_left_out_by_transactions_are_no_gap() -> None:
    async def scenario(consumer: Any, thread: FakeThread) -> None:
        consumer._committed_offset[PLACE] = 3
        await consumer._add_gap(PLACE, 4, 9)
        # Behind two markers: Faust's own rule takes it for a gap and never commits again.
        acknowledge(consumer, 6)
        assert driver.Consumer._new_offset(consumer, PLACE) is None
        assert await consumer.force_commit()
        assert thread.commits == [{PLACE: 7}]

    with_consumer(scenario)


@pytest.mark.parametrize("error", [KafkaConnectionError("gone"), CommitFailedError("the group has moved on")])
def test_commit_refused_is_not_noted_as_done(error: Exception) -> None:
    async def scenario(consumer: Any, thread: FakeThread) -> None:
        acknowledge(consumer, 0, 1)
        thread.error = error
        assert not await consumer.force_commit()
        assert consumer._committed_offset[PLACE] is None
        thread.error = None
        assert await consumer.force_commit()
        assert thread.commits == [{PLACE: 2}]
        assert consumer.crashes == []

    with_consumer(scenario)


def test_commit_forbidden_stops_the_worker() -> None:
    async def scenario(consumer: Any, thread: FakeThread) -> None:
        acknowledge(consumer, 0)
        thread.error = TopicAuthorizationFailedError("no")
        assert not await consumer.force_commit()
        assert consumer.crashes == [thread.error]

    with_consumer(scenario)


def test_revocation_commits_what_the_lane_finishes_before_anything_is_forgotten() -> None:
    async def scenario(consumer: Any, thread: FakeThread) -> None:
        acknowledge(consumer, 0, 1)

        async def revoked(_: set[TP]) -> None:
            """Faust's own part ends here."""

        consumer._on_partitions_revoked = revoked
        await consumer.on_partitions_revoked({PLACE})
        assert thread.commits == [{PLACE: 3}]
        assert PLACE not in consumer._acked

    with_consumer(scenario)
