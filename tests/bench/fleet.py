"""The stream bench's starts: how long a table takes to come back, and what one, two and four workers do together."""

import json
import signal
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from datetime import datetime

from tests.bench.contest import KNOWN_TRACKS, Bench, family_cpu
from tests.bench.targets import Target
from tests.integration.worker import WorkerProcess

# Halted while the backlog is written, and still a member of the group.
SESSION_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Start:
    """One start: seconds until the table was restored and until the worker was ready, its memory and processor time."""

    restored: float
    ready: float
    memory_bytes: int
    cpu_seconds: float


def restore(bench: Bench, record: dict[str, object], tracks: int, rounds: int) -> list[Target]:
    """Time a worker's first and second start with a full table, in turns, and weigh the table.

    A first start is that of a group Kafka has never heard of, a second one that of the same group after its only
    worker has left in order, so that neither waits for anybody's session. Both read the same records of the same
    broker, which has served them once before: what it does for the first time is not the worker's.
    """
    print(f"\nrestore of {tracks:,} tracks, {rounds} rounds in turns, medians")
    bench.fresh_topics()
    bench.seed(record, 0)
    empty = _start(bench, f"empty-{time.monotonic_ns()}", 0)
    bench.fresh_topics()
    bench.seed(record, tracks)
    _start(bench, f"unmeasured-{time.monotonic_ns()}", tracks)
    starts: dict[str, list[Start]] = {"first": [], "second": []}
    for _ in range(rounds):
        group = f"restore-{time.monotonic_ns()}"
        for taken in starts.values():
            taken.append(_start(bench, group, tracks))
    weights = {}
    for name, taken in {"empty": [empty], **starts}.items():
        restored, ready, memory, cpu = (
            statistics.median(getattr(start, field.name) for start in taken) for field in fields(Start)
        )
        weights[name] = (memory - empty.memory_bytes) / tracks
        told = f"   {weights[name]:.0f} bytes a track" if name != "empty" else ""
        print(
            f"  {name:8} table restored in {restored:5.1f} s   ready {ready:5.1f} s after the start, "
            f"{cpu:.1f} s of processor time{told}   ({', '.join(f'{start.restored:.1f}' for start in taken)} s)",
            flush=True,
        )
    ratios = [other.ready / one.ready for one, other in zip(starts["first"], starts["second"], strict=True)]
    print(f"  second / first start, until ready: {', '.join(f'{ratio:.2f}' for ratio in ratios)}", flush=True)
    slowest = max(statistics.median(start.restored for start in taken) for taken in starts.values())
    return [
        Target(f"restore: {tracks:,} tracks", "at most", 15, slowest, "s"),
        Target("restore: memory a track", "at most", 400, max(weights.values()), "bytes"),
        # Two starts that are alike differ by some hundredths on a machine that does anything else.
        Target("restore: second / first start", "at most", 1.1, statistics.median(ratios), "×"),
    ]


def _start(bench: Bench, group: str, tracks: int) -> Start:
    """Start a worker, weigh it, and let it leave in order."""
    name = f"{group}-{time.monotonic_ns()}"  # a log of its own
    begun = time.monotonic()
    with WorkerProcess(bench.bootstrap, bench.directory, name, lanes="known", app_id=group) as worker:
        ready = time.monotonic() - begun
        assert worker.metric("emotion_table_tracks") == tracks
        start = Start(_restore_seconds([worker]), ready, worker.rss_bytes(), family_cpu(worker.pid))
        assert worker.terminate()[0] == 0, worker.tail()
    return start


def scale(bench: Bench, record: dict[str, object], tracks: int, events: int, sizes: Sequence[int] = (1, 2, 4)) -> None:
    """Print what so many workers restore and answer together, on the cores there are."""
    print(f"\nscale on this machine's cores, which the broker shares: {tracks:,} tracks, {events:,} events")
    bench.fresh_topics()
    bench.seed(record, max(tracks, KNOWN_TRACKS))
    for size in sizes:
        label = f"scale-{size}-{time.monotonic_ns()}"
        settings = {"lanes": "known", "app_id": label, "session_timeout_seconds": SESSION_SECONDS}
        with ExitStack() as stack:
            workers = [WorkerProcess(bench.bootstrap, bench.directory, f"{label}-{n}", **settings) for n in range(size)]
            for worker in workers:
                stack.enter_context(worker.start(wait=False))
            _await_shares(workers)
            restored = _restore_seconds(workers)
            for worker in workers:
                _signal(worker, signal.SIGSTOP)
            base = bench.written()
            bench.backlog(events)
            for worker in workers:
                _signal(worker, signal.SIGCONT)
            rate = _rate(bench, base, events)
        print(f"  workers {size}   restored {restored:5.1f} s   {rate:>9,.0f} events/s", flush=True)


def _await_shares(workers: Sequence[WorkerProcess]) -> None:
    """Wait until every worker is ready and holds partitions."""
    deadline = time.monotonic() + 180
    while not all(
        worker.status("/ready") == 200 and worker.metric("emotion_partitions_assigned") for worker in workers
    ):
        if time.monotonic() > deadline:
            raise TimeoutError(f"no share for every worker: {workers[0].tail(800)}")
        time.sleep(0.2)


def _restore_seconds(workers: Sequence[WorkerProcess]) -> float:
    """Give the time from the first assignment in the workers' logs to the last restored table."""
    assigned, restored = [], []
    for worker in workers:
        for line in map(json.loads, worker.log.read_text().splitlines()):
            at = datetime.fromisoformat(line["time"]).timestamp()
            if line["event"] == "partitions assigned":
                assigned.append(at)
            elif line["event"] == "known lane restored":
                restored.append(at)
    return max(restored) - min(assigned)


def _rate(bench: Bench, base: int, events: int) -> float:
    """Give answers a second from a tenth of the backlog to all of it."""
    deadline = time.monotonic() + 180
    first, begun = 0, 0.0
    while (done := bench.written() - base) < events:
        if not first and done >= events * 0.1:
            first, begun = done, time.monotonic()
        if time.monotonic() > deadline:
            raise TimeoutError(f"{done} answers to {events} plays")
        time.sleep(0.01)
    return (done - first) / (time.monotonic() - begun)


def _signal(worker: WorkerProcess, number: signal.Signals) -> None:
    assert worker.process is not None, "the worker is not started"
    worker.process.send_signal(number)
