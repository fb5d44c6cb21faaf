"""The worker: its parts put together, run until a signal or a failure, ended within a bounded time."""

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import shutil
import signal
import socket
import threading
from collections.abc import Iterable
from typing import Final

from mode import Service
from mode.types import ServiceT
from prometheus_client import REGISTRY, CollectorRegistry

from consumer.dead_letter import DeadLetterLimit
from consumer.feedback_reader import FeedbackReader
from consumer.health import Health, HealthServer
from consumer.known_lane import RESTORED, KnownLane
from consumer.metrics import Metrics
from consumer.model_watch import ModelWatch
from consumer.scratch import scratch_directory
from consumer.services import (
    NEW_LANE_ASSIGNED,
    POOL_WARM,
    HealthService,
    LoopService,
    ModelWatchService,
    NewLaneService,
)
from consumer.settings import Settings
from consumer.tracing import open_tracing
from model.registry import SHIPPED_ROOT, Registry

logger = logging.getLogger(__name__)

MODEL_LOADED: Final = "model_loaded"
# What stopping takes after the drain: Faust leaves its group, the pool is killed, threads are joined.
_STOP_SECONDS: Final = 1.5
_CRASH_STOP_SECONDS: Final = 5.0
# Python's own 700 is for programs that make garbage in cycles; here almost none is. A batch is 20,000 objects.
_COLLECT_EVERY_OBJECTS: Final = 50_000
# glibc's parameters (malloc.h), and its own greatest threshold for blocks that are mapped one by one.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_KEPT_FREE_BYTES: Final = 64 * 2**20
_MAPPED_FROM_BYTES: Final = 32 * 2**20


class Worker(Service):
    """Every part of a worker, wired together; nothing runs before ``start``.

    Parameters
    ----------
    settings : Settings
        Which lanes, and everything else.
    registry : CollectorRegistry, optional
        Where metrics are registered.

    Raises
    ------
    ConfigurationError
        If the champion model must not be used, or the metrics address cannot be listened on.
    """

    mundane_level = "debug"

    def __init__(self, settings: Settings, registry: CollectorRegistry = REGISTRY) -> None:
        super().__init__()
        self.settings = settings
        metrics = Metrics(registry)
        self.health = health = Health(_conditions(settings))
        # Before the address is taken and long before a group is joined: a worker without a model is of no use.
        models = ModelWatch(Registry(settings.model_dir or SHIPPED_ROOT), shadow=settings.shadow, metrics=metrics)
        health.mark(MODEL_LOADED, holds=True)
        limit = DeadLetterLimit(settings.dead_letter_limit)
        self.tracing = open_tracing(settings)
        self.scratch = scratch_directory()
        self.known: LoopService | None = None
        self.feedback: LoopService | None = None
        self.new: NewLaneService | None = None
        if "known" in settings.lanes:
            lane = KnownLane(
                settings,
                metrics=metrics,
                health=health,
                models=models,
                limit=limit,
                transactional_id=_transactional_id(settings) if settings.transactions else None,
                tracing=self.tracing,
            )
            self.known = LoopService(lane, "known-lane")
            reader = FeedbackReader(settings, lane=lane, metrics=metrics, health=health)
            self.feedback = LoopService(reader, "feedback")
        if "new" in settings.lanes:
            self.new = NewLaneService(
                settings,
                models=models,
                metrics=metrics,
                health=health,
                limit=limit,
                scratch=self.scratch,
                tracing=self.tracing,
            )
        server = HealthServer(settings.metrics_host, settings.metrics_port, registry, health)
        # The known lane restores its table while the pool warms.
        self._parts = [HealthService(server), ModelWatchService(models), self.known, self.feedback, self.new]

    def on_init_dependencies(self) -> Iterable[ServiceT]:
        """Give the parts in the order in which they start."""
        return [part for part in self._parts if part is not None]

    async def on_started(self) -> None:
        """Take what was imported and loaded out of the garbage collector's sight, and keep what a batch is made of.

        A full collection of it holds every thread of ours up for some 130 ms, the known lane's too. The rest is looked
        through when a batch or two have come, not thirty times while one is being answered.
        """
        gc.collect()
        gc.freeze()
        gc.set_threshold(_COLLECT_EVERY_OBJECTS)
        keep_freed_memory()

    async def drain(self) -> None:
        """Stop consuming, finish or abandon what is in flight, flush and commit."""
        parts = []
        if self.known is not None:
            parts.append(self.known.stop())
        if self.feedback is not None:
            parts.append(self.feedback.stop())
        if self.new is not None:
            parts.append(self.new.drain(self.settings.shutdown_timeout_seconds - _STOP_SECONDS))
        await asyncio.gather(*parts)

    async def on_shutdown(self) -> None:
        """Remove downloads, and send the last spans."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        await asyncio.to_thread(self.tracing.close)


def run(settings: Settings) -> int:
    """Run a worker until SIGTERM, SIGINT or a failure.

    Parameters
    ----------
    settings : Settings
        The worker's.

    Returns
    -------
    int
        Exit status: 0 after a signal, 1 after a failure.

    Raises
    ------
    ConfigurationError
        If it cannot start as configured.
    """
    return asyncio.run(_run(Worker(settings)))


async def _run(worker: Worker) -> int:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()

    def on_signal(number: signal.Signals) -> None:
        logger.info("stopping", extra={"facts": {"signal": number.name}})
        _exit_after(worker.settings.shutdown_timeout_seconds + _STOP_SECONDS)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    starting = loop.create_task(worker.start())
    signalled = loop.create_task(stopping.wait())
    crashed = loop.create_task(worker._crashed.wait())
    try:
        await asyncio.wait((starting, signalled, crashed), return_when=asyncio.FIRST_COMPLETED)
        if starting.done() and not signalled.done() and not crashed.done():
            starting.result()
            await asyncio.wait((signalled, crashed), return_when=asyncio.FIRST_COMPLETED)
    except Exception as error:
        worker._crash(error)
    failure = worker.crash_reason
    if failure is not None:
        logger.critical("worker failed", extra={"facts": {"error": f"{type(failure).__name__}: {failure}"}})
        _exit_after(_CRASH_STOP_SECONDS)
    elif starting.done():
        await worker.drain()
    starting.cancel()
    await worker.stop()
    failure = worker.crash_reason
    for task in (signalled, crashed):
        task.cancel()
    return 0 if failure is None else 1


def _exit_after(seconds: float) -> None:
    """End the process by force if it has not ended by then: a hanging shutdown holds its partitions hostage."""

    def exit_now() -> None:
        logger.error("shutdown took too long", extra={"facts": {"seconds": seconds}})
        logging.shutdown()
        os._exit(1)

    timer = threading.Timer(seconds, exit_now)
    timer.daemon = True
    timer.start()


def _conditions(settings: Settings) -> list[str]:
    conditions = [MODEL_LOADED]
    if "known" in settings.lanes:
        conditions.append(RESTORED)
    if "new" in settings.lanes:
        conditions += [POOL_WARM, NEW_LANE_ASSIGNED]
    return conditions


def _transactional_id(settings: Settings) -> str:
    """Name this worker so that after a restart it fences off what is left of itself, and nobody else."""
    return f"{settings.known_group_id}-{socket.gethostname()}-{settings.metrics_port or os.getpid()}"


def keep_freed_memory() -> None:
    """Have the C library keep the memory of one batch for the next one, instead of giving it back in between.

    It gives back what is free beyond 128 kB: a large message was then put into pages that the kernel cleared one by
    one for it, which took four times as long as copying it. Elsewhere than on glibc nothing is changed.
    """
    with contextlib.suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, _KEPT_FREE_BYTES)
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_FROM_BYTES)
