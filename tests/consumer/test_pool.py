"""A pool whose processes may die at any time: what is lost is tried again, what is stuck is killed."""

import asyncio
import errno
import os
import pickle
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from consumer.errors import (
    AnalysisTimeoutError,
    AudioNotFoundError,
    FatalError,
    PermanentError,
    Reason,
    WorkerCrashError,
)
from consumer.metrics import Metrics
from consumer.pool import Pool, _Answer
from tests.consumer.pool_work import (
    Call,
    announce_and_sleep,
    betray,
    build,
    build_badly,
    die,
    die_once,
    divide,
    not_found,
    sleep_forever,
    take_memory,
)
from tests.integration.processes import is_alive, survivors

MEMORY_BYTES = 256 * 1024 * 1024


@asynccontextmanager
async def running(size: int = 1, timeout_seconds: float = 30.0) -> AsyncIterator[tuple[Pool[Call, Any], Metrics]]:
    metrics = Metrics(CollectorRegistry())
    pool: Pool[Call, Any] = Pool(
        build, size=size, timeout_seconds=timeout_seconds, memory_bytes=MEMORY_BYTES, metrics=metrics
    )
    await pool.start()
    try:
        yield pool, metrics
    finally:
        await pool.stop()


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


async def file_appears(path: Path) -> str:
    while not path.exists() or not path.read_text():
        await asyncio.sleep(0.01)
    return path.read_text()


def test_run_gives_the_answer_from_another_process() -> None:
    async def scenario() -> None:
        async with running(size=2) as (pool, _):
            pids = await asyncio.gather(*(pool.run(os.getpid) for _ in range(4)))
            assert set(pids) <= set(pool.pids)
            assert os.getpid() not in pids

    asyncio.run(scenario())


def test_run_typed_error_comes_back_typed() -> None:
    async def scenario() -> None:
        async with running() as (pool, metrics):
            with pytest.raises(AudioNotFoundError, match="nothing there"):
                await pool.run(not_found)
            assert value(metrics, "emotion_pool_restarts_total", cause="crash") == 0

    asyncio.run(scenario())


def test_run_unexpected_error_is_internal_and_says_where() -> None:
    async def scenario() -> None:
        async with running() as (pool, _):
            with pytest.raises(PermanentError, match=r"ZeroDivisionError at pool_work.py:\d+") as caught:
                await pool.run(divide)
            assert caught.value.reason is Reason.INTERNAL

    asyncio.run(scenario())


def test_run_stuck_task_kills_its_process_only_and_the_pool_goes_on() -> None:
    async def scenario() -> None:
        async with running(size=2, timeout_seconds=1.0) as (pool, metrics):
            before = set(pool.pids)
            stuck = asyncio.ensure_future(pool.run(sleep_forever))
            other = await pool.run(os.getpid)
            with pytest.raises(AnalysisTimeoutError):
                await stuck
            assert value(metrics, "emotion_pool_restarts_total", cause="timeout") == 1
            assert value(metrics, "emotion_analyses_timed_out_total") == 1
            assert other in pool.pids
            assert survivors(before - {other}, 5.0) == []
            assert await pool.run(os.getpid) in pool.pids

    asyncio.run(scenario())


def test_run_process_killed_once_is_tried_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running() as (pool, metrics):
            assert await pool.run(partial(die_once, tmp_path / "marker")) == "second time"
            assert value(metrics, "emotion_pool_restarts_total", cause="crash") == 1

    asyncio.run(scenario())


def test_run_process_killed_twice_blames_the_track() -> None:
    async def scenario() -> None:
        async with running() as (pool, metrics):
            with pytest.raises(WorkerCrashError) as caught:
                await pool.run(die)
            assert caught.value.reason is Reason.CRASH
            assert value(metrics, "emotion_pool_restarts_total", cause="crash") == 2
            assert await pool.run(os.getpid) in pool.pids

    asyncio.run(scenario())


def test_run_beyond_its_memory_ends_its_process_and_the_next_one_has_its_own() -> None:
    async def scenario() -> None:
        async with running() as (pool, metrics):
            assert await pool.run(partial(take_memory, MEMORY_BYTES // 2)) == MEMORY_BYTES // 2
            with pytest.raises(WorkerCrashError):
                await pool.run(partial(take_memory, 2 * MEMORY_BYTES))
            assert value(metrics, "emotion_pool_restarts_total", cause="crash") == 2
            assert await pool.run(partial(take_memory, MEMORY_BYTES // 2)) == MEMORY_BYTES // 2

    asyncio.run(scenario())


def test_idle_process_killed_is_replaced() -> None:
    async def scenario() -> None:
        async with running(size=2) as (pool, metrics):
            victim = pool.pids[0]
            os.kill(victim, signal.SIGKILL)
            while victim in pool.pids or len(pool.pids) < 2:
                await asyncio.sleep(0.01)
            assert await pool.run(os.getpid) != victim
            assert value(metrics, "emotion_pool_restarts_total", cause="crash") == 1

    asyncio.run(scenario())


def test_answer_that_would_run_code_is_not_read_and_its_process_is_replaced(tmp_path: Path) -> None:
    async def scenario() -> float:
        async with running() as (pool, metrics):
            with pytest.raises(WorkerCrashError):
                await pool.run(partial(betray, tmp_path / "taken over"))
            assert await pool.run(partial(int, 7)) == 7
            return value(metrics, "emotion_pool_restarts_total", cause="crash")

    assert asyncio.run(scenario()) == 2
    assert not (tmp_path / "taken over").exists()


@pytest.mark.parametrize("name", ["Path", "Analysis.__init__", "FRAGMENT_SECONDS", "nothing"])
def test_answer_of_other_things_in_known_modules_is_not_read(name: str) -> None:
    with pytest.raises(pickle.UnpicklingError, match="no part of an answer"):
        _Answer.read(f"cconsumer.pipeline\n{name}\n.".encode())


def test_hurried_requests_are_served_before_others_that_wait() -> None:
    async def scenario() -> list[int]:
        async with running() as (pool, _):
            served: list[int] = []

            async def serve(number: int) -> None:
                await pool.run(requests[number])
                served.append(number)

            requests = [partial(int, number) for number in range(5)]
            tasks = [asyncio.create_task(serve(number)) for number in range(5)]
            await asyncio.sleep(0)
            pool.hurry([requests[3], requests[4], requests[0], partial(int, 9)])
            await asyncio.gather(*tasks)
            return served

    assert asyncio.run(scenario()) == [0, 3, 4, 1, 2]


def test_run_cancelled_gives_the_process_back() -> None:
    async def scenario() -> None:
        async with running() as (pool, metrics):
            cancelled = asyncio.ensure_future(pool.run(partial(time.sleep, 0.2)))
            await asyncio.sleep(0.05)
            cancelled.cancel()
            pid = pool.pids[0]
            assert await pool.run(os.getpid) == pid
            assert value(metrics, "emotion_analyses_started_total") == 2

    asyncio.run(scenario())


def test_stop_leaves_no_process(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running() as (pool, _):
            busy = asyncio.ensure_future(pool.run(partial(announce_and_sleep, tmp_path / "pid")))
            pid = int(await file_appears(tmp_path / "pid"))
            busy.cancel()
        assert survivors([pid], 5.0) == []
        with pytest.raises(RuntimeError, match="the pool is stopped"):
            await pool.run(os.getpid)

    asyncio.run(scenario())


def test_start_that_fails_says_why() -> None:
    async def scenario() -> None:
        metrics = Metrics(CollectorRegistry())
        pool: Pool[Call, Any] = Pool(
            build_badly, size=1, timeout_seconds=1.0, memory_bytes=MEMORY_BYTES, metrics=metrics
        )
        with pytest.raises(FatalError, match="ValueError: no model"):
            await pool.start()
        await pool.stop()

    asyncio.run(scenario())


def test_run_after_processes_cannot_be_started_any_more_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        def Pipe(self) -> None:  # noqa: N802  # multiprocessing's name
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async def scenario() -> None:
        async with running() as (pool, metrics):
            monkeypatch.setattr("consumer.pool._CONTEXT", Refusing())
            waiting = [asyncio.ensure_future(pool.run(die)), asyncio.ensure_future(pool.run(os.getpid))]
            for run in [*waiting, pool.run(os.getpid)]:
                with pytest.raises(FatalError, match=r"cannot start: .*Too many open files"):
                    await run
            assert value(metrics, "emotion_pool_processes") == 0

    asyncio.run(scenario())


def test_processes_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    # A parent of its own: this process cannot be the one to die.
    script = tmp_path / "parent.py"
    script.write_text(
        "import asyncio, threading\n"
        "from tests.consumer.test_pool import running\n"
        "async def main():\n"
        "    async with running() as (pool, _):\n"
        "        print(pool.pids[0], flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "if __name__ == '__main__':\n"
        "    asyncio.run(main())\n"
    )

    async def scenario() -> None:
        root = Path(__file__).parents[2]
        parent = await asyncio.create_subprocess_exec(
            sys.executable,
            str(script),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        assert parent.stdout is not None
        pid = int(await parent.stdout.readline())
        assert is_alive(pid)
        parent.kill()
        await parent.wait()
        assert survivors([pid], 5.0) == []

    asyncio.run(scenario())
