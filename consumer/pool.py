"""A pool of analysis processes, one pipe each, driven by the event loop.

Hearing a track takes a second of CPU and may run into anything: a decoder that never returns, memory that runs out,
somebody's kill -9. Each process has a pipe of its own and no lock is shared, so the end of one touches no other: it is
noticed at once, its track is tried again, and the process is replaced. (pebble's pool breaks as a whole when an idle
process is killed; concurrent.futures' when any is.)
"""

import asyncio
import contextlib
import ctypes
import logging
import multiprocessing
import os
import pickle
import resource
import signal
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, TypeVar, cast

from consumer.errors import (
    AnalysisTimeoutError,
    EmotionServiceError,
    FatalError,
    PermanentError,
    Reason,
    WorkerCrashError,
)

if TYPE_CHECKING:
    # Processes import this module before they import anything else; metrics would bring half of the worker along.
    from consumer.metrics import Metrics

logger = logging.getLogger(__name__)

Request = TypeVar("Request")
Result = TypeVar("Result")

_CONTEXT: Final = multiprocessing.get_context("spawn")
# The first may be somebody else's fault (memory ran out, an operator); a second one with the same track is the track.
_CRASHES_PER_TASK: Final = 2
# Replacements that fail to start one after the other before the worker gives up.
_FAILED_STARTS: Final = 3
_PR_SET_PDEATHSIG: Final = 1
# Below the known lane and the brokers' clients: its milliseconds must not wait for our seconds.
_NICENESS: Final = 10
_ONE_THREAD: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


class _ProcessDiedError(Exception):
    """The process at the other end of the pipe is gone."""


class Pool(Generic[Request, Result]):
    """Run requests in processes that can be lost.

    Parameters
    ----------
    build : callable
        Called in each process when it starts; loads and warms what it needs and gives the function that serves
        requests. Must pickle.
    size : int
        Number of processes, >= 1.
    timeout_seconds : float
        A request that takes longer is ended by killing its process.
    memory_bytes : int
        What a process may take beyond what it holds when built.
    metrics : Metrics
        Where restarts and timeouts are counted.
    """

    def __init__(
        self,
        build: Callable[[], Callable[[Request], Result]],
        *,
        size: int,
        timeout_seconds: float,
        memory_bytes: int,
        metrics: "Metrics",
    ) -> None:
        self._build = pickle.dumps(build)
        self._size = size
        self._memory_bytes = memory_bytes
        self._timeout = timeout_seconds
        self._metrics = metrics
        self._idle: asyncio.Queue[_Process] = asyncio.Queue()
        self._processes: set[_Process] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failed_starts = 0
        self._failure: asyncio.Future[NoReturn] | None = None

    @property
    def pids(self) -> list[int]:
        """Process ids of the living processes."""
        return sorted(process.pid for process in self._processes)

    async def start(self) -> None:
        """Start every process and wait until all are warm.

        Raises
        ------
        FatalError
            If one fails to start.
        """
        self._failure = asyncio.get_running_loop().create_future()
        starting = (self._add_process() for _ in range(self._size))
        for outcome in await asyncio.gather(*starting, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def stop(self) -> None:
        """Kill every process, whatever it is doing."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for process in list(self._processes):
            self._remove(process)
        if self._failure is not None:
            self._failure.cancel()

    async def run(self, request: Request) -> Result:
        """Serve one request.

        Cancelling the call gives the answer up; the process finishes, or is killed at its timeout, and is used again.

        Parameters
        ----------
        request : object
            Must pickle.

        Returns
        -------
        object
            What the built function returned.

        Raises
        ------
        EmotionServiceError
            What the function raised. ``AnalysisTimeoutError`` if it took too long, ``WorkerCrashError`` if its process
            died, and died again; ``PermanentError`` with reason ``internal`` if it raised anything else.
        FatalError
            If processes can no longer be started.
        """
        for _ in range(_CRASHES_PER_TASK):
            process = await self._next_idle()
            serving = self._spawn_task(self._serve(process, request))
            with contextlib.suppress(_ProcessDiedError):
                return cast(Result, await asyncio.shield(serving))
        raise WorkerCrashError(f"the analysis ended its process {_CRASHES_PER_TASK} times")

    async def _next_idle(self) -> "_Process":
        if self._failure is None:
            raise RuntimeError("the pool is not started")
        while True:
            waiting = asyncio.ensure_future(self._idle.get())
            try:
                await asyncio.wait((waiting, self._failure), return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:
                # The process may have been handed over in the same turn of the loop.
                if not waiting.cancel() and not waiting.cancelled():
                    self._idle.put_nowait(waiting.result())
                raise
            if self._failure.done():
                waiting.cancel()
                self._failure.result()
            process = waiting.result()
            if process in self._processes:
                return process

    async def _serve(self, process: "_Process", request: Request) -> Result:
        self._metrics.analyses_started.inc()
        try:
            async with asyncio.timeout(self._timeout):
                is_result, answer = await process.ask(request)
        except TimeoutError as error:
            self._metrics.analyses_timed_out.inc()
            self._replace(process, "timeout")
            raise AnalysisTimeoutError(f"expected an answer within {self._timeout:g} s, killed the process") from error
        except _ProcessDiedError:
            self._replace(process, "crash")
            raise
        self._idle.put_nowait(process)
        if is_result:
            return cast(Result, answer)
        raise answer

    async def _add_process(self) -> None:
        process = _Process(self._build, self._memory_bytes, self._lost_while_idle)
        self._processes.add(process)
        try:
            is_result, answer = await process.started
        except BaseException as error:
            self._remove(process)
            if isinstance(error, _ProcessDiedError):
                raise FatalError("an analysis process ended before it was ready") from error
            raise
        if not is_result:
            self._remove(process)
            raise FatalError(f"an analysis process cannot start: {answer}")
        self._failed_starts = 0
        self._idle.put_nowait(process)
        self._metrics.pool_processes.set(len(self._processes))

    def _lost_while_idle(self, process: "_Process") -> None:
        if process in self._processes:
            self._replace(process, "crash")

    def _replace(self, process: "_Process", cause: str) -> None:
        logger.warning("analysis process replaced", extra={"facts": {"pid": process.pid, "cause": cause}})
        # First: whoever sees the restart counted must not see its process counted still.
        self._remove(process)
        self._metrics.pool_restarts.labels(cause).inc()
        self._spawn_task(self._restart())

    async def _restart(self) -> None:
        while True:
            try:
                return await self._add_process()
            except FatalError as error:
                self._failed_starts += 1
                logger.error("analysis process did not start", extra={"facts": {"error": str(error)}})
                if self._failed_starts >= _FAILED_STARTS:
                    if self._failure is not None and not self._failure.done():
                        self._failure.set_exception(error)
                    return None

    def _remove(self, process: "_Process") -> None:
        self._processes.discard(process)
        process.kill()
        self._metrics.pool_processes.set(len(self._processes))

    def _spawn_task(self, coroutine: Any) -> "asyncio.Task[Any]":
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._forget_task)
        return task

    def _forget_task(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Whoever waited was given the exception; if the wait was cancelled, nobody is left to be told.
            task.exception()


class _Process:
    """One process and its pipe; at most one request at a time."""

    def __init__(self, build: bytes, memory_bytes: int, on_lost: Callable[["_Process"], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_lost = on_lost
        self._connection, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_main, args=(theirs, build, memory_bytes, os.getpid()), daemon=True)
        self._process.start()
        # Ours would keep the pipe open after the process has died, and nobody would notice.
        theirs.close()
        self.pid: int = self._process.pid or 0
        self._is_open = True
        self._answer: asyncio.Future[tuple[bool, Any]] | None = self._loop.create_future()
        self.started = self._answer
        self._loop.add_reader(self._connection.fileno(), self._receive)

    async def ask(self, request: object) -> tuple[bool, Any]:
        self._answer = self._loop.create_future()
        try:
            self._connection.send(request)
        except OSError as error:
            self._answer = None
            raise _ProcessDiedError from error
        return await self._answer

    def kill(self) -> None:
        self._close()
        self._process.kill()
        # SIGKILL is prompt; one second is for a machine that swaps.
        self._process.join(1.0)

    def _receive(self) -> None:
        answer, self._answer = self._answer, None
        try:
            message = self._connection.recv()
        except (EOFError, OSError):
            self._close()
            if answer is None:
                self._on_lost(self)
            elif not answer.done():
                answer.set_exception(_ProcessDiedError())
            return
        if answer is not None and not answer.done():
            answer.set_result(message)

    def _close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._connection.fileno())
            self._connection.close()


def limit_memory(allowance_bytes: int) -> None:
    """Let this process take no more address space than it has now and so much beyond; for good.

    A hostile file makes a decoder ask for gigabytes before any check of ours can run: 17 kB of MP4 that declare 80
    million samples of one byte become an index of 2 GB inside FFmpeg. Past the limit the decoder is refused, and says
    so. Address space is what the kernel can limit; it is more than what is resident, hence an allowance with room.

    Parameters
    ----------
    allowance_bytes : int
        Beyond the address space of this moment; a stricter limit that is in force already stays.
    """
    with open("/proc/self/statm") as statm:
        pages = int(statm.read().split()[0])
    limit = pages * resource.getpagesize() + allowance_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _main(connection: Connection, build: bytes, memory_bytes: int, parent_pid: int) -> None:
    """Serve requests until the pipe closes; the body of a pool process."""
    # Killed with its parent, whatever kills that: an orphan would keep its memory and its temporary files.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        return
    # Ctrl-C and a group's SIGTERM are for the parent, which drains first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # Before numpy is imported, which happens when ``build`` is unpickled: one process is one core.
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        serve = pickle.loads(build)()  # noqa: S301  # made by our parent, for us
    except Exception as error:
        connection.send((False, f"{type(error).__name__}: {error}"))
        return
    # After the start, which everybody waits for.
    os.nice(_NICENESS)
    # After the start too: kernels, model and libraries are ours, and what they take differs between machines.
    limit_memory(memory_bytes)
    connection.send((True, None))
    with contextlib.suppress(EOFError):
        while True:
            connection.send(_attempt(serve, connection.recv()))


def _attempt(serve: Callable[[Any], Any], request: object) -> tuple[bool, Any]:
    try:
        return True, serve(request)
    except EmotionServiceError as error:
        return False, error
    except MemoryError:
        # Not the audio's doing: decoders that are refused memory say so themselves. A successor begins empty.
        logger.error("analysis process out of memory", exc_info=True)
        raise SystemExit(1) from None
    except Exception as error:
        logger.error("analysis failed unexpectedly", exc_info=True)
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(last.filename)}:{last.lineno}"
        return False, PermanentError(f"{type(error).__name__} at {where}: {error}", reason=Reason.INTERNAL)
