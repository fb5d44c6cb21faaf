"""The stream bench's starts: how long a table takes to come back, and what one, two and four workers do together."""

import json
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime

from tests.bench.contest import KNOWN_TRACKS, Bench, family_cpu
from tests.integration.worker import WorkerProcess

# Halted while the backlog is written, and still a member of the group.
SESSION_SECONDS = 120


def restore(bench: Bench, record: dict[str, object], tracks: int) -> None:
    """Time a worker's start with an empty and with a full table, twice, and weigh the table."""
    print(f"\nrestore of {tracks:,} tracks")
    empty = 0
    for name, count in (("empty", 0), ("full", tracks), ("full again", tracks)):
        if name != "full again":
            bench.fresh_topics()
            bench.seed(record, count)
        label = f"restore-{time.monotonic_ns()}"
        begun = time.monotonic()
        with WorkerProcess(bench.bootstrap, bench.directory, label, lanes="known", app_id=label) as worker:
            ready = time.monotonic() - begun
            assert worker.metric("emotion_table_tracks") == count
            memory, cpu = worker.rss_bytes(), family_cpu(worker.pid)
            seconds = _restore_seconds([worker])
        empty = memory if not count else empty
        weight = f"   {(memory - empty) / count:.0f} bytes a track" if count else ""
        print(
            f"  {name:12} table restored in {seconds:5.1f} s   ready {ready:5.1f} s after the start, "
            f"{cpu:.1f} s of processor time{weight}",
            flush=True,
        )


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
