"""Faust's commit and revocation, replaced: what it lost or repeated before, it does not now."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import faust
import pytest
from aiokafka.errors import (
    CommitFailedError,
    GroupAuthorizationFailedError,
    IllegalStateError,
    KafkaConnectionError,
    TopicAuthorizationFailedError,
)
from aiokafka.structs import TopicPartition
from faust.exceptions import ConsumerNotStarted
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from yarl import URL

from consumer.app import create_app
from consumer.faust_consumer import LaneConsumer, LaneConsumerThread, LaneTransport
from consumer.new_lane import Incoming
from consumer.settings import Settings

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


def test_seek_that_fails_stops_the_worker_instead_of_going_on_behind_what_was_dropped() -> None:
    # Faust's getmany drops what it fetched while the flow was stopped, seeks back, and only logs a failure of that.
    async def scenario(consumer: Any, thread: FakeThread) -> None:
        async def unreachable() -> dict[TP, int]:
            raise KafkaConnectionError("gone")

        thread.seek_to_committed = unreachable  # type: ignore[attr-defined]
        with pytest.raises(KafkaConnectionError):
            await consumer.perform_seek()
        assert [type(crash) for crash in consumer.crashes] == [KafkaConnectionError]

    with_consumer(scenario)


class FakeClient:
    """The parts of aiokafka's consumer that the thread below asks."""

    def __init__(self, committed: dict[TopicPartition, int | None]) -> None:
        self._closed = False
        self._coordinator = self._fetcher = self
        self._subscriptions = self
        self.offsets, self.to_beginning = committed, list[TopicPartition]()
        self.sought: dict[TopicPartition, int] = {}
        self.assignment: Any = SimpleNamespace(tps=frozenset(committed), active=True)
        self._subscription = SimpleNamespace(subscription=self)
        self.rebalances_while_asked = False
        self.asked: list[set[TP]] = []
        self.error: Exception | None = None

    def fetch_context(self) -> Any:
        return contextlib.nullcontext()

    async def fetched_records(self, partitions: set[TP], **_: Any) -> dict[TP, list[str]]:
        self.asked.append(partitions)
        await asyncio.sleep(0)  # a rebalance may come here
        return {tp: ["event"] for tp in self.offsets if tp in partitions or not partitions}

    def seek(self, place: TopicPartition, offset: int) -> None:
        self.refuse_unassigned(place)
        self.sought[place] = offset

    async def seek_to_beginning(self, *places: TopicPartition) -> None:
        self.refuse_unassigned(*places)
        self.to_beginning += places

    def refuse_unassigned(self, *places: TopicPartition) -> None:
        if not self.assignment.active:
            raise IllegalStateError(f"Partitions {places} are not assigned")

    async def committed(self, place: TopicPartition) -> int | None:
        if self.rebalances_while_asked:
            self.assignment.active = False
        return self.offsets[place]

    async def beginning_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, 3)

    def check_errors(self) -> None:
        if self.error is not None:
            raise self.error


def with_thread(client: FakeClient, scenario: Callable[[Any], Awaitable[None]]) -> None:
    """Run Faust's own thread code on the test's loop, against a fake client."""

    async def main() -> None:
        thread: Any = object.__new__(LaneConsumerThread)
        thread._consumer = client
        thread.consumer = SimpleNamespace(flow_active=True)
        thread._thread_loop = thread.thread_loop = asyncio.get_running_loop()

        async def call_thread(function: Callable[..., Any], *arguments: Any) -> Any:
            return await function(*arguments)

        thread.call_thread = call_thread
        await scenario(thread)

    asyncio.run(main())


NEW, OLD = TopicPartition("track-analysis", 0), TopicPartition("track-analysis", 1)


def test_seek_goes_to_the_beginning_where_nothing_was_committed() -> None:
    # aiokafka's seek_to_committed leaves such a partition behind the events that Faust dropped: they were lost.
    client = FakeClient({NEW: None, OLD: 7})

    async def scenario(thread: Any) -> None:
        assert await thread.seek_to_committed() == {NEW: None, OLD: 7}
        assert client.to_beginning == [NEW]
        assert client.sought == {OLD: 7}

    with_thread(client, scenario)


def test_seek_overtaken_by_a_rebalance_goes_nowhere() -> None:
    # It ended the worker once: two that start together take partitions from each other at any moment.
    client = FakeClient({NEW: None, OLD: 7})
    client.rebalances_while_asked = True

    async def scenario(thread: Any) -> None:
        assert await thread.seek_to_committed() == {}
        assert (client.to_beginning, client.sought) == ([], {})
        client.assignment = None
        assert await thread.seek_to_committed() == {}

    with_thread(client, scenario)


def test_first_offsets_follow_the_commit_or_the_beginning() -> None:
    async def scenario(thread: Any) -> None:
        assert await thread.first_offsets([TP(*NEW), TP(*OLD)]) == {0: 3, 1: 7}
        assert await thread.first_offsets([]) == {}

    with_thread(FakeClient({NEW: None, OLD: 7}), scenario)


def test_fetch_that_a_rebalance_overtakes_takes_nothing_of_the_new_assignment() -> None:
    # Faust empties the set it handed over, and aiokafka takes an empty set for every partition there is.
    client = FakeClient({NEW: None})

    async def scenario(thread: Any) -> None:
        active = {TP(*OLD)}
        fetching = asyncio.ensure_future(thread._fetch_records(client, active, timeout=1.0))
        await asyncio.sleep(0)
        active.clear()
        assert await fetching == {}
        assert await thread._fetch_records(client, active, timeout=1.0) == {}
        assert client.asked == [{TP(*OLD)}]

    with_thread(client, scenario)


def test_error_of_the_groups_coordination_is_raised_and_one_that_passes_only_logged() -> None:
    # Faust fetches past aiokafka's own getmany(), the only place that asks.
    client = FakeClient({})

    async def scenario(thread: Any) -> None:
        await thread.check_coordination()
        client.error = KafkaConnectionError("away for a moment")
        await thread.check_coordination()
        client.error = GroupAuthorizationFailedError("emotion-stream")
        with pytest.raises(GroupAuthorizationFailedError):
            await thread.check_coordination()
        thread._consumer = None  # not connected yet
        await thread.check_coordination()

    with_thread(client, scenario)


def test_group_is_not_left_because_a_fetch_takes_long_to_hand_over() -> None:
    # aiokafka leaves the group then, and Faust fetches again only once it has rejoined: neither ever happens.
    settings = Settings()
    app = create_app(settings, accept=_accept, listener=Listener())
    thread: Any = app.consumer._thread  # type: ignore[attr-defined]
    thread.thread_loop.close()
    assert app.conf.broker_max_poll_interval > 365 * 86_400
    assert app.conf.consumer_max_fetch_size <= 2**16


async def _accept(message: Incoming, is_current: Callable[[], bool]) -> None:
    """Nobody sends anything."""
