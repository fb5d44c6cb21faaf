"""Faust's Kafka consumer with the parts that lose or repeat events replaced: the one place where Faust is patched.

- It commits past unfinished offsets, and takes a gap left by a transaction's marker or by compaction for an event
  (faust-streaming #606, #312, #378). Here the new lane acknowledges in order, so what may be committed is simply what
  follows the last acknowledged offset.
- It notes a refused commit as done, and crashes on one that Kafka could not take just then. Here it is tried again.
- When partitions are revoked it forgets what was acknowledged but not committed yet, so that it is processed twice
  (#502). Here the lane is drained and the commit made first.
- It reads uncommitted messages unless it produces in transactions itself.
- It never asks aiokafka's coordinator for its errors, so that a member without permission, or one whose heartbeat
  failed for good, is silent for ever (#175, #523, #532). Here somebody asks.
- It hands aiokafka the live set of active partitions: a fetch that a rebalance overtakes sees it empty, which means
  "any" there, and takes events of the new assignment that Faust then drops. It seeks back to what was committed, but
  not where nothing was committed yet, and goes on when the seek fails. Here a fetch keeps the partitions it was asked
  for, the seek includes the beginning, and its failure ends the worker.
- What lies between two records is not told: events that were dropped look like the markers of transactions. Here each
  message says which one it follows.
- aiokafka gives up on a partition whose next record has a header name that is no UTF-8: one such message ended every
  worker that came to it. Here it is read with those bytes spelt out.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any, ClassVar, Protocol, cast

import aiokafka
from aiokafka.consumer import fetcher
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

logger = logging.getLogger(__name__)


class PartitionListener(Protocol):
    """Who must know when partitions move; called on the event loop."""

    async def before_revoked(self, partitions: set[TP]) -> None:
        """Finish what can be finished; the commit follows."""

    async def after_assigned(self, partitions: set[TP]) -> None:
        """Take note of what is ours now; called with every assignment, also an empty one."""


class LaneTransport(driver.Transport):
    """The aiokafka transport with the consumer below.

    Parameters
    ----------
    *args
        As the base class.
    listener : PartitionListener
        Told when partitions move.
    """

    def __init__(self, *args: Any, listener: PartitionListener, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.listener = listener


class LaneConsumer(driver.Consumer):
    """See the module's docstring."""

    def _new_consumer_thread(self) -> "LaneConsumerThread":
        return LaneConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Drain and commit before anything is forgotten."""
        listener = cast(LaneTransport, self.transport).listener
        await listener.before_revoked(revoked)
        await self.commit_all()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Tell the listener when Faust is done."""
        await super().on_partitions_assigned(assigned, generation_id)
        await cast(LaneTransport, self.transport).listener.after_assigned(assigned)

    async def commit_all(self) -> None:
        """Commit everything acknowledged, even if another commit is under way already."""
        if not await self.commit():
            await self.commit()

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit what follows the last acknowledged offset of each partition.

        Parameters
        ----------
        topics : object
            Ignored: everything is committed.
        start_new_transaction : bool
            Ignored: there are none.

        Returns
        -------
        bool
            Whether there was something, and Kafka took it.
        """
        pending = {tp: max(acked) + 1 for tp, acked in self._acked.items() if acked}
        # Asked only when there is something: Faust commits while stopping too, also before it was ever connected.
        assigned = self.assignment() if pending else set()
        offsets = {tp: offset for tp, offset in pending.items() if tp in assigned}
        if not offsets:
            return False
        try:
            await cast(LaneConsumerThread, self._thread).commit_offsets(offsets)
        except (CommitFailedError, IllegalStateError) as error:
            logger.warning("commit refused; the events will be read again", extra={"facts": {"error": str(error)}})
            return False
        except KafkaError as error:
            if not error.retriable:
                await self.crash(error)
            logger.warning("commit failed, it is tried again", extra={"facts": {"error": str(error)}})
            return False
        for tp, offset in offsets.items():
            self._committed_offset[tp] = offset
            self._acked[tp] = [acked for acked in self._acked[tp] if acked >= offset]
            self._acked_index[tp] = set(self._acked[tp])
        return True

    async def perform_seek(self) -> None:
        """Go back to what was committed, or crash: going on would skip what was fetched and dropped."""
        try:
            await super().perform_seek()
        except Exception as error:
            await self.crash(error)
            raise

    async def check_coordination(self) -> None:
        """Raise what ended the membership of the group, or keeps this member from joining it.

        Raises
        ------
        KafkaError
            What aiokafka's coordinator met and keeps for whoever asks: no permission, an answer it does not know. One
            that passes is logged, and the coordinator goes on.
        """
        await cast(LaneConsumerThread, self._thread).check_coordination()

    async def first_offsets(self, partitions: Iterable[TP]) -> dict[int, int]:
        """Ask Kafka where each partition must be read from.

        Parameters
        ----------
        partitions : iterable of TP
            Assigned partitions of one topic.

        Returns
        -------
        dict of int to int
            By partition, the offset that follows the last commit, or the first one there is.

        Raises
        ------
        KafkaError
            If Kafka does not answer.
        """
        return await cast(LaneConsumerThread, self._thread).first_offsets(list(partitions))

    def unread(self, tp: TP) -> int:
        """Count the offsets of a partition that were not fetched yet.

        Parameters
        ----------
        tp : TP
            An assigned partition.

        Returns
        -------
        int
            0 as well where aiokafka does not know yet. Markers of transactions count as long as they are not fetched.
        """
        consumer = cast(LaneConsumerThread, self._thread)._ensure_consumer()
        place = TopicPartition(tp.topic, tp.partition)
        assignment = consumer._subscription.subscription.assignment
        # Faust's verify_event_path looks at the same state; aiokafka's own position() is a coroutine of its thread.
        state = assignment.state_value(place) if assignment is not None else None
        if state is None or not state.has_valid_position or (end := consumer.last_stable_offset(place)) is None:
            return 0
        return max(0, int(end) - int(state.position))

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Ignore gaps: see the module's docstring."""


class LaneConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread that owns the aiokafka consumer."""

    async def commit_offsets(self, offsets: dict[TP, int]) -> None:
        """Commit; raises what aiokafka raises.

        Parameters
        ----------
        offsets : dict of TP to int
            Next offset to read of each partition.
        """
        commit: Callable[..., Awaitable[None]] = self._ensure_consumer().commit
        await self.call_thread(
            commit,
            {TopicPartition(tp.topic, tp.partition): OffsetAndMetadata(offset, "") for tp, offset in offsets.items()},
        )

    async def check_coordination(self) -> None:
        """Raise the coordinator's error if there is one that does not pass."""
        if self._consumer is None:
            return
        # Not by the method queue: both its workers may wait for the very coordinator that has failed.
        asking = asyncio.run_coroutine_threadsafe(_check_errors(self._consumer), self.thread_loop)
        await asyncio.wrap_future(asking)

    async def first_offsets(self, partitions: list[TP]) -> dict[int, int]:
        """Give the offset after the last commit of each partition, or the first there is."""
        first: dict[int, int] = await self.call_thread(_first_offsets, self._ensure_consumer(), partitions)
        return first

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek to what was committed; where nothing was, to the beginning; nowhere if a rebalance comes meanwhile."""
        committed: Mapping[TP, int] = await self.call_thread(_seek_to_committed, self._ensure_consumer())
        return committed

    async def _fetch_records(
        self,
        consumer: aiokafka.AIOKafkaConsumer,
        active_partitions: set[TP],
        timeout: float | None = None,
        max_records: int | None = None,
    ) -> Any:
        asked = set(active_partitions)
        return await super()._fetch_records(consumer, asked, timeout, max_records) if asked else {}

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        # Faust derives the isolation level from whether it produces in transactions. The known lane may.
        was, self.consumer.in_transaction = self.consumer.in_transaction, True
        try:
            return super()._create_worker_consumer(transport)
        finally:
            self.consumer.in_transaction = was


class FetchedPartition(fetcher.PartitionRecords):
    """One partition's part of a fetch, as aiokafka's, whose records say which offset they follow.

    They say so as their ``checksum``: Kafka's records have had none since they are kept in batches. From there to the
    record lie markers of transactions, what was aborted and what compaction took, but no event.
    """

    # By partition, what follows its last record and how far it was read: beyond that record, markers may lie.
    _read: ClassVar[dict[TopicPartition, tuple[int, int]]] = {}

    def __init__(self, tp: TopicPartition, records: Any, aborted: Any, fetch_offset: int, *rest: Any) -> None:
        follows, reached = self._read.get(tp, (fetch_offset, fetch_offset))
        self._follows = follows if reached == fetch_offset else fetch_offset
        super().__init__(tp, records, aborted, fetch_offset, *rest)

    @property
    def next_fetch_offset(self) -> int:
        """Where the next fetch begins."""
        return self._read[self._tp][1]

    @next_fetch_offset.setter
    def next_fetch_offset(self, offset: int) -> None:
        self._read[self._tp] = self._follows, offset

    def _consumer_record(self, tp: TopicPartition, record: Any) -> Any:
        follows, self._follows = self._follows, record.offset + 1
        return replace(super()._consumer_record(tp, record), checksum=follows)


class FetchedRecords:
    """The record batches of one partition in a fetch, as aiokafka's ``MemoryRecords``, whatever their headers' names.

    Parameters
    ----------
    data : bytes
        Whole batches one behind the other, and perhaps a part of one more.
    """

    # Of a batch, before what its length counts: the offset, and the length itself.
    _LENGTH_AT, _OVERHEAD = 8, 12

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._records = MemoryRecords(data)
        self._begin = 0

    def size_in_bytes(self) -> int:
        """Give the bytes of all batches."""
        return int(self._records.size_in_bytes())

    def has_next(self) -> bool:
        """Tell whether there is another whole batch."""
        return bool(self._records.has_next())

    def next_batch(self) -> "_Batch":
        """Give the next batch; only after ``has_next``."""
        begin, batch = self._begin, self._records.next_batch()
        length = int.from_bytes(self._data[begin + self._LENGTH_AT : begin + self._OVERHEAD], "big")
        self._begin = begin + self._OVERHEAD + length
        return _Batch(batch, self._data, begin, self._begin)


class _Batch:
    """What aiokafka's reader in C gives, and from the record on that it cannot read, what its reader in Python does."""

    def __init__(self, batch: Any, data: bytes, begin: int, end: int) -> None:
        self._batch = batch
        self._data, self._begin, self._end = data, begin, end

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        # How aiokafka reads a transaction's marker, which has no headers.
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        given = 0
        try:
            for record in self._batch:
                yield record
                given += 1
        except UnicodeDecodeError:
            logger.warning("a header's name is no UTF-8", extra={"facts": {"offset": self._batch.base_offset + given}})
            again: Any = _DefaultRecordBatchPy(self._data[self._begin : self._end])
            again._maybe_uncompress()
            again._buffer = _SpeltOut(again._buffer)
            yield from islice(again, given, None)


class _SpeltOut(bytes):
    r"""Bytes whose slices decode to text whatever they hold, ``\xff`` for what is no UTF-8."""

    def __getitem__(self, place: Any) -> Any:
        part = super().__getitem__(place)
        return type(self)(part) if isinstance(part, bytes) else part

    def decode(self, encoding: str = "utf-8", errors: str = "backslashreplace") -> str:
        return super().decode(encoding, errors)


fetcher.MemoryRecords = FetchedRecords
fetcher.PartitionRecords = FetchedPartition


async def _check_errors(consumer: aiokafka.AIOKafkaConsumer) -> None:
    try:
        consumer._coordinator.check_errors()
    except KafkaError as error:
        if not error.retriable:
            raise
        logger.warning("the group's coordination failed, it is tried again", extra={"facts": {"error": str(error)}})


async def _first_offsets(consumer: aiokafka.AIOKafkaConsumer, partitions: list[TP]) -> dict[int, int]:
    places = [TopicPartition(tp.topic, tp.partition) for tp in partitions]
    beginnings = await consumer.beginning_offsets(places) if places else {}
    # Retention may have removed what follows the last commit.
    return {place.partition: max(await consumer.committed(place) or 0, beginnings[place]) for place in places}


async def _seek_to_committed(consumer: aiokafka.AIOKafkaConsumer) -> Mapping[TP, int | None]:
    assignment = consumer._subscription.subscription.assignment
    if assignment is None:
        return {}
    committed = {place: await consumer.committed(place) for place in assignment.tps}
    if not assignment.active:
        # A rebalance came while Kafka was asked. The next assignment begins at its commits, and by now others may
        # have made newer ones, so that what was answered must not be sought.
        return {}
    for place, offset in committed.items():
        if offset:
            consumer.seek(place, offset)
    # aiokafka's own leaves a partition without a commit where it is, past what was fetched and dropped.
    if fresh := [place for place, offset in committed.items() if not offset]:
        await consumer.seek_to_beginning(*fresh)
    return committed


LaneTransport.Consumer = LaneConsumer
