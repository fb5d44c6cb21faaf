"""The stream bench's new lane: tracks a second beside the ear alone, and where the processor time goes."""

import contextlib
import itertools
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.bench.bulk import read_answers
from tests.bench.contest import Bench, Run
from tests.bench.latency import new_latency, stamp_on_arrival
from tests.bench.targets import Target
from tests.integration.processes import cpu_seconds, descendants
from tests.integration.worker import WorkerProcess


@dataclass(frozen=True, slots=True)
class NewRun:
    """One turn: tracks a second by the clock, and milliseconds of processor time a track, by who spent them."""

    rate: float
    cpu_milliseconds: dict[str, float]


def new_lane(bench: Bench, broker_pid: int, rounds: int, analyses: int, latency_seconds: float) -> list[Target]:
    """Time new tracks through the worker against the ear alone, in turns, on 30 s of audio each; then latency."""
    cores = len(os.sched_getaffinity(0))
    piece = bench.platform.track(30, seconds=30.0)
    path = bench.platform.folder / f"{piece}.wav"
    ear: list[Run] = []
    ears: list[Run] = []
    stream: list[NewRun] = []
    bench.fresh_topics()
    stamp_on_arrival(bench)
    with WorkerProcess(bench.bootstrap, bench.directory, "new-lane", pool_size=cores, app_id="new-lane") as worker:
        for number in range(-1, rounds):
            one = _hear_alone(path, analyses // cores, processes=1)
            every = _hear_alone(path, analyses // cores, processes=cores)
            run = _hear_new(bench, broker_pid, worker, path, analyses, f"turn-{number}")
            if number >= 0:  # the first turn warms the broker, the worker and the ear
                ear.append(one)
                ears.append(every)
                stream.append(run)
        # Each turn of the stream stands between two of the ear: a machine that slows down meanwhile is neither's doing.
        ear.append(_hear_alone(path, analyses // cores, processes=1))
        ratio = _print(ear, ears, stream, cores)
        rate = statistics.median(run.rate for run in stream)
        return [
            Target("new lane: stream / (cores × the ear in one process)", "at least", 0.9, ratio, "×"),
            *new_latency(bench, worker, path, rate, latency_seconds),
        ]


def _hear_new(bench: Bench, broker_pid: int, worker: WorkerProcess, path: Path, analyses: int, label: str) -> NewRun:
    """Play so many new tracks at once; timed from the first play to the last answer in Kafka's log."""
    pool = descendants(worker.pid)
    meters: dict[str, Callable[[], float]] = {
        "pool": lambda: sum(map(cpu_seconds, pool)),
        "worker": lambda: cpu_seconds(worker.pid),
        "broker": lambda: cpu_seconds(broker_pid),
        "load generator": time.process_time,
    }
    places, before = bench.ends(), bench.written()
    spent = {who: -meter() for who, meter in meters.items()}
    begun = time.time()
    for index in range(analyses):
        bench.platform.play(f"{label}-{index}", audio_uri=f"file://{path}")
    bench.platform.flush()
    deadline = time.monotonic() + 300
    while (done := bench.written() - before) < analyses:
        assert time.monotonic() < deadline, f"{done} answers to {analyses} plays"
        # Seldom: asked a hundred times a second, the broker spends a third of a core on answering this question.
        time.sleep(0.5)
    for who, meter in meters.items():
        spent[who] += meter()
    ended = max(message.timestamp()[1] for message in read_answers(bench.bootstrap, places, analyses)) / 1000
    return NewRun(analyses / (ended - begun), {who: 1e3 * seconds / analyses for who, seconds in spent.items()})


def _hear_alone(path: Path, analyses: int, *, processes: int) -> Run:
    """Give the rate of the ear in processes that do nothing else, begun at the same moment."""
    code = (
        "import sys, time, features\n"
        "path, count = sys.argv[1], int(sys.argv[2])\n"
        "for _ in range(2): features.extract_file(path)\n"
        "print(flush=True); sys.stdin.readline()\n"
        "clock, cpu = time.perf_counter(), time.process_time()\n"
        "for _ in range(count): features.extract_file(path)\n"
        "print(time.perf_counter() - clock, time.process_time() - cpu)\n"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    with contextlib.ExitStack() as stack:
        started = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", code, str(path), str(analyses)],
                    env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                )
            )
            for _ in range(processes)
        ]  # fmt: skip
        for ear in started:
            assert ear.stdout is not None and ear.stdout.readline() == "\n"
        for ear in started:
            assert ear.stdin is not None
            ear.stdin.write("\n")
            ear.stdin.flush()
        told = [tuple(map(float, ear.communicate()[0].split())) for ear in started]
    return Run(
        analyses * sum(1 / clock for clock, _ in told), 1e6 * sum(cpu for _, cpu in told) / (analyses * processes)
    )


def _print(ear: list[Run], ears: list[Run], stream: list[NewRun], cores: int) -> float:
    """Print the turns; give the median ratio of the stream to as many ears as there are cores, undisturbed.

    One turn of the ear more than of the stream: each of the stream's is held against the mean of those around it.
    """

    def to(theirs: list[float]) -> list[float]:
        return [run.rate / rate for run, rate in zip(stream, theirs, strict=True)]

    def told(ratios: list[float]) -> str:
        return f"{statistics.median(ratios):.2f} (turns: {', '.join(f'{ratio:.2f}' for ratio in ratios)})"

    to_cores = to([cores * (before.rate + after.rate) / 2 for before, after in itertools.pairwise(ear)])
    spent = {who: statistics.median(run.cpu_milliseconds[who] for run in stream) for who in stream[0].cpu_milliseconds}
    alone, together = (statistics.median(run.cpu_microseconds for run in runs) / 1000 for runs in (ear, ears))
    print(f"\nnew lane, new tracks of 30 s, {len(stream)} turns, {cores} cores")
    print(f"  the ear alone, one process            {statistics.median(run.rate for run in ear):8.2f} tracks/s")
    print(f"  the ear alone, a process on each core {statistics.median(run.rate for run in ears):8.2f} tracks/s")
    print(f"  the stream                            {statistics.median(run.rate for run in stream):8.2f} tracks/s")
    print(f"  stream / (cores × one process)        {told(to_cores)}")
    print(f"  stream / a process on each core       {told(to([run.rate for run in ears]))}")
    shares = ", ".join(f"{who} {milliseconds:.1f}" for who, milliseconds in spent.items())
    print(
        f"  ms of processor time a track: {shares}; the ear alone {alone:.1f}, on each core {together:.1f}", flush=True
    )
    return statistics.median(to_cores)
