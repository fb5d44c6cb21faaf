"""The stream bench's price of ``EMOTION_TRANSACTIONS``: throughput with and without, and copies after ``kill -9``."""

import statistics
import time

from tests.bench.bulk import read_answers
from tests.bench.contest import KNOWN_TRACKS, Bench, Contestant, Run
from tests.integration.administration import lag
from tests.integration.worker import WorkerProcess


def transactions(bench: Bench, record: dict[str, object], rounds: int, events: int = 100_000) -> None:
    """Print the ratio of the rates, and what readers of ``read_committed`` get twice."""
    bench.fresh_topics()
    bench.seed(record, KNOWN_TRACKS)
    bench.backlog(events)
    runs: dict[bool, list[Run]] = {False: [], True: []}
    for number in range(rounds):
        for used in runs:
            worker = Contestant("this worker", [], events, {"transactions": used})
            runs[used].append(bench.turn(worker, f"transactions-{used}-{number}-{time.monotonic_ns()}"))
    ratio = statistics.median(a.rate / b.rate for a, b in zip(runs[True], runs[False], strict=True))
    print(f"\ntransactions, {rounds} rounds in turns, medians")
    for used, theirs in runs.items():
        rate, cpu = (statistics.median(getattr(run, f) for run in theirs) for f in ("rate", "cpu_microseconds"))
        copies = _copies_after_kills(bench, events, used=used)
        assert not (used and copies), f"{copies} answers read twice although the lane used transactions"
        print(
            f"  {'with' if used else 'without':8} {rate:>9,.0f} events/s   {cpu:5.1f} µs CPU/event   "
            f"{copies:,} of {events:,} answers read twice (read_committed) after three kill -9",
            flush=True,
        )
    print(f"  with transactions the worker does {ratio:.2f} of what it does without", flush=True)


def _copies_after_kills(bench: Bench, events: int, *, used: bool) -> int:
    """Kill a worker three times in the middle of the backlog, and count the answers that are there twice."""
    label = f"kills-{time.monotonic_ns()}"
    settings = {"lanes": "known", "app_id": label, "log_level": "WARNING", "transactions": used}
    base = bench.ends()
    begun = bench.written()
    worker = WorkerProcess(bench.bootstrap, bench.directory, label, **settings)
    for kill in range(1, 5):
        with worker.start(wait=False):
            _await_written(bench, begun + events * min(kill, 3) // 4, worker)
            if kill == 4:
                _await_no_lag(bench, label)
    answers = [dict(message.headers() or [])["ce_id"] for message in read_answers(bench.bootstrap, base, events)]
    assert len(set(answers)) == events, f"{len(set(answers))} of {events} answered"
    return len(answers) - events


def _await_no_lag(bench: Bench, label: str) -> None:
    deadline = time.monotonic() + 120
    while left := lag(bench.bootstrap, app_id=label):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{left} events left")
        time.sleep(0.2)


def _await_written(bench: Bench, end: int, worker: WorkerProcess) -> None:
    deadline = time.monotonic() + 120
    while bench.written() < end:
        if not worker.running or time.monotonic() > deadline:
            raise TimeoutError(f"{bench.written()} of {end} answers: {worker.tail(800)}")
        time.sleep(0.005)
