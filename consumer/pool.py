"""A pool of analysis processes, one pipe each, driven by the event loop.

Hearing a track takes a second of CPU and may run into anything: a decoder that never returns, memory that runs out,
somebody's kill -9. Each process has a pipe of its own and no lock is shared, so the end of one touches no other: it is
noticed at once, its track is tried again, and the process is replaced. (pebble's pool breaks as a whole when an idle
process is killed; concurrent.futures' when any is.)
"""

import asyncio
import contextlib
import ctypes
import io
import logging
import multiprocessing
import os
import pickle
import resource
import signal
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

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
# Features and a judgement are some kilobytes.
_MOST_ANSWER_BYTES: Final = 64 * 2**20
_ANSWER_MODULES: Final = (
    "consumer.errors",
    "consumer.pipeline",
    "consumer.timing",
    "model.emotions",
    "model.judgement",
)
_ANSWER_BUILDERS: Final = (
    ("consumer.errors", "_rebuild"),
    ("msgspec._utils", "rebuild"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy._core.multiarray", "_reconstruct"),
)


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
        self._processes: set[_Process] = set()
        self._idle: deque[_Process] = deque()
        self._busy: dict[_Process, tuple[_Call, asyncio.TimerHandle]] = {}
        self._waiting: deque[_Call] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed_starts = 0
        self._failure: Exception | None = RuntimeError("the pool is not started")

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
        self._failure = None
        starting = (self._add_process() for _ in range(self._size))
        for outcome in await asyncio.gather(*starting, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def stop(self) -> None:
        """Kill every process, whatever it is doing."""
        self._failure = RuntimeError("the pool is stopped")
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for call, overdue in self._busy.values():
            overdue.cancel()
            call.answer.cancel()
        for call in self._waiting:
            call.answer.cancel()
        for process in list(self._processes):
            self._remove(process)

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
            if self._failure is not None:
                raise self._failure
            call = _Call(request, asyncio.get_running_loop().create_future())
            self._waiting.append(call)
            if self._idle:
                self._give_next(self._idle.popleft())
            with contextlib.suppress(_ProcessDiedError):
                return cast(Result, await call.answer)
        raise WorkerCrashError(f"the analysis ended its process {_CRASHES_PER_TASK} times")

    def hurry(self, requests: Iterable[Request]) -> None:
        """Serve some of the requests that wait before the others.

        Parameters
        ----------
        requests : iterable of object
            The very objects given to ``run``; those that do not wait are ignored.
        """
        urgent = {id(request) for request in requests}
        self._waiting = deque(sorted(self._waiting, key=lambda call: id(call.request) not in urgent))

    def _give_next(self, process: "_Process") -> None:
        """Give a process the request that has waited longest, or keep it for the next that comes."""
        while self._waiting:
            call = self._waiting.popleft()
            if call.answer.done():  # nobody waits for it any more
                continue
            self._metrics.analyses_started.inc()
            overdue = asyncio.get_running_loop().call_later(self._timeout, self._overdue, process)
            self._busy[process] = call, overdue
            try:
                process.send(call.request)
            except OSError:
                self._lost(process)
            return
        self._idle.append(process)

    def _answered(self, process: "_Process", message: tuple[bool, Any]) -> None:
        call, overdue = self._busy.pop(process)
        overdue.cancel()
        # First: a core does nothing until its process has the next request, and what an answer leads to takes the
        # event loop a millisecond or two.
        self._give_next(process)
        is_result, answer = message
        if not is_result:
            call.fail(answer)
        elif not call.answer.done():
            call.answer.set_result(answer)

    def _overdue(self, process: "_Process") -> None:
        self._metrics.analyses_timed_out.inc()
        error = AnalysisTimeoutError(f"expected an answer within {self._timeout:g} s, killed the process")
        self._give_up(process, "timeout", error)

    def _lost(self, process: "_Process") -> None:
        self._give_up(process, "crash", _ProcessDiedError())

    def _give_up(self, process: "_Process", cause: str, error: Exception) -> None:
        self._replace(process, cause)
        if process in self._busy:
            call, overdue = self._busy.pop(process)
            overdue.cancel()
            call.fail(error)

    async def _add_process(self) -> None:
        try:
            process = _Process(self._build, self._memory_bytes, self._answered, self._lost)
        except OSError as error:
            raise FatalError(f"an analysis process cannot start: {error}") from error
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
        self._metrics.pool_processes.set(len(self._processes))
        self._give_next(process)

    def _replace(self, process: "_Process", cause: str) -> None:
        logger.warning("analysis process replaced", extra={"facts": {"pid": process.pid, "cause": cause}})
        # First: whoever sees the restart counted must not see its process counted still.
        self._remove(process)
        self._metrics.pool_restarts.labels(cause).inc()
        restarting = asyncio.get_running_loop().create_task(self._restart())
        self._tasks.add(restarting)
        restarting.add_done_callback(self._tasks.discard)

    async def _restart(self) -> None:
        while True:
            try:
                return await self._add_process()
            except FatalError as error:
                self._failed_starts += 1
                logger.error("analysis process did not start", extra={"facts": {"error": str(error)}})
                if self._failed_starts >= _FAILED_STARTS:
                    self._failure = error
                    while self._waiting:
                        self._waiting.popleft().fail(error)
                    return None

    def _remove(self, process: "_Process") -> None:
        self._processes.discard(process)
        with contextlib.suppress(ValueError):
            self._idle.remove(process)
        process.kill()
        self._metrics.pool_processes.set(len(self._processes))


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """A request, and who waits for its answer."""

    request: object
    answer: asyncio.Future[Any]

    def fail(self, error: Exception) -> None:
        if not self.answer.done():  # else nobody waits for it any more
            self.answer.set_exception(error)


class _Process:
    """One process and its pipe; at most one request at a time."""

    def __init__(
        self,
        build: bytes,
        memory_bytes: int,
        on_answer: Callable[["_Process", tuple[bool, Any]], None],
        on_lost: Callable[["_Process"], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        self._on_answer = on_answer
        self._on_lost = on_lost
        self._connection, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_main, args=(theirs, build, memory_bytes, os.getpid()), daemon=True)
        self._process.start()
        # Ours would keep the pipe open after the process has died, and nobody would notice.
        theirs.close()
        self.pid: int = self._process.pid or 0
        self._is_open = True
        self.started: asyncio.Future[tuple[bool, Any]] = loop.create_future()
        loop.add_reader(self._connection.fileno(), self._receive)

    def send(self, request: object) -> None:
        self._connection.send(request)

    def kill(self) -> None:
        self._close()
        self._process.kill()
        # SIGKILL is prompt; one second is for a machine that swaps.
        self._process.join(1.0)

    def _receive(self) -> None:
        try:
            message = _Answer.read(self._connection.recv_bytes(_MOST_ANSWER_BYTES))
        except Exception as error:
            if not isinstance(error, EOFError | OSError):
                logger.error("analysis process sent no answer", extra={"facts": {"pid": self.pid, "error": str(error)}})
            self._close()
            if self.started.done():
                self._on_lost(self)
            else:
                self.started.set_exception(_ProcessDiedError())
            return
        if self.started.done():
            self._on_answer(self, message)
        else:
            self.started.set_result(message)

    def _close(self) -> None:
        if self._is_open:
            self._is_open = False
            asyncio.get_running_loop().remove_reader(self._connection.fileno())
            self._connection.close()


class _Answer(pickle.Unpickler):
    """Reads what an analysis process may say, and nothing else.

    It decodes strangers' files: taken over by one of them, it must not have its parent run what it likes, for that has
    Kafka's credentials.
    """

    @classmethod
    def read(cls, data: bytes) -> Any:
        return cls(io.BytesIO(data)).load()

    def find_class(self, module: str, name: str) -> Any:
        found = getattr(sys.modules.get(module), name, None)
        is_ours = module in _ANSWER_MODULES and isinstance(found, type) and found.__module__ == module
        if is_ours or (module, name) in _ANSWER_BUILDERS:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is no part of an answer")


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
