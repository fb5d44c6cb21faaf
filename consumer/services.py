"""The parts of a worker as services of the Faust worker: started in order, stopped in reverse, crashing together."""

import asyncio
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from aiokafka.errors import KafkaError
from faust.types import TP
from mode import Service

from consumer.analyst import AnalysisRequest, AnalystPlan
from consumer.app import REBALANCE_TIMEOUT_SECONDS, analysis_partitions, buffered_events, create_app
from consumer.dead_letter import DeadLetterLimit
from consumer.errors import BrokerError, FatalError
from consumer.faust_consumer import LaneConsumer
from consumer.feedback_reader import FeedbackReader
from consumer.health import Health, HealthServer
from consumer.known_lane import KnownLane
from consumer.metrics import Metrics, forget_series
from consumer.model_watch import ModelWatch
from consumer.new_lane import LANE, NewLane
from consumer.outbox import AsyncOutbox
from consumer.pipeline import Analysis
from consumer.pool import Pool
from consumer.recent_tracks import read_tail
from consumer.settings import Settings
from consumer.topics import TRACK_ANALYSIS
from consumer.tracing import Tracing

logger = logging.getLogger(__name__)

POOL_WARM: Final = "pool_warm"
NEW_LANE_ASSIGNED: Final = "new_lane_assigned"
_LOOK_EVERY_SECONDS: Final = 2.0
_MEASURE_EVERY_SECONDS: Final = 1.0
_SHOW_DRIFT_EVERY_SECONDS: Final = 15.0
# Before partitions are given up; well within Kafka's patience with a rebalance (60 s).
_REVOKE_DRAIN_SECONDS: Final = 20.0


class _Part(Service):
    # mode reports every start and stop at INFO by default; the worker says itself what matters.
    mundane_level = "debug"


class HealthService(_Part):
    """``/metrics``, ``/live`` and ``/ready``, from before anything else starts until after everything has stopped.

    Parameters
    ----------
    server : HealthServer
        The server.
    """

    def __init__(self, server: HealthServer) -> None:
        super().__init__()
        self._server = server

    async def on_start(self) -> None:
        """Begin to answer probes."""
        self._server.start()
        logger.info("serving metrics", extra={"facts": {"port": self._server.port}})

    async def on_stop(self) -> None:
        """Give the port back."""
        self._server.stop()


class ModelWatchService(_Part):
    """Looks for another champion every few seconds.

    Parameters
    ----------
    models : ModelWatch
        What is in use.
    """

    def __init__(self, models: ModelWatch) -> None:
        super().__init__()
        self._models = models
        # Of its own: in asyncio's, a look that met another call would leave one thread more behind for good.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model-watch")

    async def on_shutdown(self) -> None:
        """Let the thread end."""
        self._thread.shutdown(wait=False)

    @Service.timer(_LOOK_EVERY_SECONDS)
    async def _look_often(self) -> None:
        await self.look()

    async def look(self) -> None:
        """Look whether the registry points elsewhere now."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._models.look)


class LoopService(_Part):
    """A loop in a thread of its own: the known lane's, or the feedback reader's.

    Parameters
    ----------
    lane : KnownLane or FeedbackReader
        The loop.
    name : str
        Of the thread.
    """

    def __init__(self, lane: KnownLane | FeedbackReader, name: str) -> None:
        super().__init__()
        self._lane = lane
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    async def on_start(self) -> None:
        """Start the thread."""
        self._thread.start()

    async def on_stop(self) -> None:
        """End the loop after the batch in hand and wait for it."""
        self._lane.stop()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        try:
            self._lane.run()
        except Exception as error:
            asyncio.run_coroutine_threadsafe(self.crash(error), self.loop)


class NewLaneService(_Part):
    """The new lane with its pool, its producer and its Faust application.

    Parameters
    ----------
    settings : Settings
        The worker's.
    models : ModelWatch
        Which model judges.
    metrics : Metrics
        Where everything is counted.
    health : Health
        Told when the pool is warm and the partitions are there.
    limit : DeadLetterLimit
        When to stop because of dead letters.
    scratch : Path
        Private folder for the pool's downloads.
    tracing : Tracing
        On or off.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        models: ModelWatch,
        metrics: Metrics,
        health: Health,
        limit: DeadLetterLimit,
        scratch: Path,
        tracing: Tracing,
    ) -> None:
        super().__init__()
        self._settings = settings
        self._models = models
        self._metrics = metrics
        self._health = health
        self._heartbeat = health.heartbeat("new_lane", settings.stall_timeout_seconds)
        self._pool: Pool[AnalysisRequest, Analysis] = Pool(
            AnalystPlan.from_settings(settings, model_version=models.champion.version, scratch=scratch),
            size=settings.pool_size,
            timeout_seconds=settings.analysis_timeout_seconds,
            memory_bytes=settings.analysis_memory_bytes,
            metrics=metrics,
        )
        self._outbox = AsyncOutbox(settings, metrics)
        self.lane = NewLane(
            settings,
            pool=self._pool,
            outbox=self._outbox,
            models=models,
            metrics=metrics,
            limit=limit,
            crash=self._crashed_by,
            tracing=tracing,
        )
        self.app = create_app(settings, self.lane.accept, self)
        self._warming: asyncio.Task[None] | None = None
        self._joining_since: float | None = None
        self._seen = (0, 0)
        self._moved_at = time.monotonic()

    async def on_start(self) -> None:
        """Warm the pool; only then join the group."""
        # Compiling the ear's kernels anew can take minutes on a busy machine: not ready, but not stuck either.
        starting = asyncio.ensure_future(self._pool.start())
        while not starting.done():
            self._heartbeat.beat()
            await asyncio.wait((starting,), timeout=_MEASURE_EVERY_SECONDS)
        await starting
        self._health.mark(POOL_WARM, holds=True)
        self._outbox.start()
        self._joining_since = time.monotonic()
        await self.add_runtime_dependency(self.app)

    async def drain(self, timeout_seconds: float) -> None:
        """Stop accepting, finish what would be answered twice, commit.

        Parameters
        ----------
        timeout_seconds : float
            Longest wait.
        """
        self.lane.close()
        if self._warming is not None:
            self._warming.cancel()
        await self.lane.drain(timeout_seconds)
        try:
            async with asyncio.timeout(2.0):
                await self._consumer.commit_all()
        except TimeoutError:
            logger.warning("Kafka did not take the last commit in time; some answers may be given again")

    async def on_stop(self) -> None:
        """Abandon what is left."""
        if self._warming is not None:
            self._warming.cancel()
        await self.lane.stop()

    async def on_shutdown(self) -> None:
        """End the pool and the producer, after Faust has stopped."""
        await self._pool.stop()
        self._outbox.stop()

    async def before_revoked(self, partitions: set[TP]) -> None:
        """Drain the lane; Faust takes every partition away and then gives some back."""
        if self._warming is not None:
            self._warming.cancel()
        self._health.mark(NEW_LANE_ASSIGNED, holds=False)
        self._joining_since = time.monotonic()
        await self.lane.drain(_REVOKE_DRAIN_SECONDS)
        await self._consumer.commit_all()
        self.lane.revoke(analysis_partitions(partitions))
        for metric in (self._metrics.consumer_lag_events, self._metrics.consumer_lag_seconds):
            for partition in analysis_partitions(partitions):
                forget_series(metric, TRACK_ANALYSIS.name, str(partition))
        self._metrics.rebalances.labels(LANE).inc()
        self._metrics.partitions_assigned.labels(LANE).set(0)
        logger.info(
            "partitions revoked", extra={"facts": {"lane": LANE, "partitions": analysis_partitions(partitions)}}
        )

    async def after_assigned(self, partitions: set[TP]) -> None:
        """Learn what was judged lately, then accept events."""
        numbers = analysis_partitions(partitions)
        self._metrics.rebalances.labels(LANE).inc()
        self._metrics.partitions_assigned.labels(LANE).set(len(numbers))
        logger.info("partitions assigned", extra={"facts": {"lane": LANE, "partitions": numbers}})
        # Beside the rebalance, which must not wait for it; events wait until it is done.
        self._warming = asyncio.get_running_loop().create_task(self._open(numbers))

    async def _open(self, partitions: list[int]) -> None:
        try:
            # Whatever was in flight at a crash is among the newest records.
            known = await asyncio.to_thread(read_tail, self._settings, partitions, 2 * self._settings.max_in_flight)
            places = (TP(TRACK_ANALYSIS.name, partition) for partition in partitions)
            self.lane.open(known, await self._consumer.first_offsets(places))
        except Exception as error:
            await self.crash(error)
            return
        self._joining_since = None
        self._health.mark(NEW_LANE_ASSIGNED, holds=True)

    @Service.timer(_MEASURE_EVERY_SECONDS)
    async def _measure_often(self) -> None:
        await self.measure()

    async def measure(self) -> None:
        """Look whether the lane is still a member of its group and whether it moves; show both."""
        metrics, lane = self._metrics, self.lane
        if self._joining_since is not None or NEW_LANE_ASSIGNED not in self._health.missing:
            try:
                await self._consumer.check_coordination()
            except KafkaError as error:
                await self.crash(BrokerError(f"cannot be a member of the group {self._settings.app_id}: {error!r}"))
                return
        oldest = lane.oldest_occurred_at
        metrics.queue_oldest_timestamp.labels(LANE).set(oldest.timestamp() if oldest is not None else 0.0)
        now = time.monotonic()
        moved = (lane.accepted, lane.finished)
        if moved != self._seen or not self._has_work():
            self._seen, self._moved_at = moved, now
        # A consumer that silently stops fetching (faust-streaming #175, #532) looks idle from inside: it is alive only
        # while there is nothing to read, or something moves.
        if self._moved_at == now:
            self._heartbeat.beat()
            metrics.last_progress.labels(LANE).set_to_current_time()

    @Service.timer(_SHOW_DRIFT_EVERY_SECONDS)
    async def _show_drift(self) -> None:
        await asyncio.to_thread(self.lane.drift.show, self._models.champion.deciles)

    def _has_work(self) -> bool:
        """Measure the lag, and tell whether there is anything to do."""
        if NEW_LANE_ASSIGNED in self._health.missing:
            # A rebalance is over when every member has drained; one that takes longer is a lane that stands still.
            joining = self._joining_since
            return joining is not None and time.monotonic() - joining > REBALANCE_TIMEOUT_SECONDS
        consumer, unread = self._consumer, 0
        # Faust pauses a partition whose buffer is full, and shows it nowhere else.
        self._metrics.partitions_paused.labels(LANE).set(len(consumer._buffered_partitions))
        oldest = self.lane.oldest_occurred_at
        age = max(0.0, time.time() - oldest.timestamp()) if oldest is not None else 0.0
        for tp in consumer.assignment():
            if tp.topic == TRACK_ANALYSIS.name:
                partition_unread = consumer.unread(tp)
                unread += partition_unread
                lag = partition_unread + self.lane.in_flight_of(tp.partition)
                self._metrics.consumer_lag_events.labels(tp.topic, str(tp.partition)).set(lag)
                # The oldest of all partitions stands for each that has work: the greatest is exact, and it pages.
                self._metrics.consumer_lag_seconds.labels(tp.topic, str(tp.partition)).set(age if lag else 0.0)
        return bool(unread or self.lane.in_flight or buffered_events(self.app))

    @property
    def _consumer(self) -> LaneConsumer:
        consumer = self.app.consumer
        if not isinstance(consumer, LaneConsumer):
            raise FatalError(f"expected our own Faust consumer, got {type(consumer).__name__}")
        return consumer

    def _crashed_by(self, error: BaseException) -> None:
        self.add_future(self.crash(error))
