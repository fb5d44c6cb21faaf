"""What the fault tests share: waiting for the worker to reach a state, and the promise every ledger is held to."""

import time
from collections.abc import Callable, Mapping

from tests.integration.ledger import Verdict
from tests.integration.processes import cpu_seconds
from tests.integration.worker import WorkerProcess


def judge(
    verdict: Verdict,
    record: Callable[..., None],
    note: str = "",
    *,
    p99_seconds: float = 60.0,
    rejudged: int = 0,
) -> None:
    """Print the ledger's line and hold it to the promise: nothing lost, wrong or out of order, p99 in time.

    ``rejudged`` is how many events may have been answered by an older and by a newer model.
    """
    record(verdict, note)
    assert len(verdict.rejudged) <= rejudged, verdict.line()
    assert not (verdict.lost or verdict.wrong or verdict.misordered), verdict.line()
    for lane in verdict.latencies:
        assert verdict.latency(lane, 0.99) <= p99_seconds, verdict.line()


def busiest_child(worker: WorkerProcess) -> int:
    """Wait for an analysis and give the pool process that is on it: the one that used the processor most lately."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        before = {pid: cpu_seconds(pid) for pid in worker.children()}
        time.sleep(0.15)
        spent = {pid: cpu_seconds(pid) - was for pid, was in before.items()}
        pid = max(spent, key=lambda pid: spent[pid])
        if spent[pid] >= 0.05:
            return pid
    raise AssertionError(f"no pool process had work within 30 s:\n{worker.tail()}")


def await_metric(
    worker: WorkerProcess,
    name: str,
    at_least: float,
    labels: Mapping[str, str] | None = None,
    timeout_seconds: float = 60.0,
) -> None:
    """Wait until a metric has reached a value."""
    until(worker, lambda: worker.metric(name, labels) >= at_least, f"{name} >= {at_least:g}", timeout_seconds)


def until(worker: WorkerProcess, condition: Callable[[], bool], what: str, timeout_seconds: float = 60.0) -> None:
    """Wait for a condition of the worker."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_seconds:.0f} s: {what}\n{worker.tail()}"
        time.sleep(0.05)
