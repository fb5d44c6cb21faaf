"""What the fault tests share: waiting for the worker to reach a state, and the promise every ledger is held to."""

import json
import time
from collections.abc import Callable, Iterable, Mapping

from tests.integration.administration import await_no_lag, committed_offsets, read_topic, set_topic_config
from tests.integration.kafka import Cluster
from tests.integration.ledger import Entry, Verdict, Window
from tests.integration.processes import cpu_seconds
from tests.integration.traffic import Platform
from tests.integration.worker import WorkerProcess

# How long before a fault an answer may have been given that is given again: what the two lanes have not acknowledged
# by then (docs/reliability.md), and the machine's slowness. What was handed on before the fault may be handed on
# again after it and be answered twice by then. And what was under way to the broker arrives after it.
IN_FLIGHT_SECONDS = 2.0
ON_THE_WAY_SECONDS = 0.5
# From an event to its answer, outside of faults.
BUDGET_SECONDS = 60.0


def judge(
    verdict: Verdict,
    record: Callable[..., None],
    note: str = "",
    *,
    window: Window | None = None,
    recovery_seconds: float = 0.0,
    faults: Iterable[float | Window] = (),
    rejudged: int = 0,
) -> None:
    """Print the ledger's line and hold it to the promise.

    Nothing lost, wrong or out of order; p99 in time for what occurred outside of the fault's window; answered twice
    only what was in flight at a fault, and nothing without one.

    Parameters
    ----------
    verdict : Verdict
        Of books that were closed when nothing was left to be acknowledged (``Auditor.settle``).
    record : callable
        Puts it into the table.
    note : str
        What else is worth knowing.
    window : tuple of float, optional
        When the fault began and was over, in seconds since the epoch.
    recovery_seconds : float
        How long after the fault events may still wait for its sake; told apart as those within it.
    faults : iterable of float or (float, float)
        Moments at which something was killed, and spans of faults that excuse copies but no latency, in seconds since
        the epoch.
    rejudged : int
        How many events may have been answered by an older and by a newer model.
    """
    if window is not None:
        verdict.window = window[0], window[1] + recovery_seconds
    record(verdict, note)
    assert len(verdict.rejudged) <= rejudged, verdict.line()
    assert not (verdict.lost or verdict.wrong or verdict.misordered), verdict.line()
    for lane in verdict.latencies:
        assert verdict.latency(lane, 0.99) <= BUDGET_SECONDS, verdict.line()
    assert_repeated_only_in_flight(verdict, faults if verdict.window is None else [*faults, verdict.window])


def assert_repeated_only_in_flight(verdict: Verdict, faults: Iterable[float | Window]) -> None:
    """Hold events with two answers, alike or by two models, to what was in flight at a moment or in a span."""
    spans = [fault if isinstance(fault, tuple) else (fault, fault + ON_THE_WAY_SECONDS) for fault in faults]
    apart = {
        event_id: (sent, answered)
        for event_id, (sent, answered) in verdict.repeated.items()
        if not any(sent <= end and answered >= begin - IN_FLIGHT_SECONDS for begin, end in spans)
    }
    assert not apart, f"answered twice, though not in flight at any fault {spans}: {apart}\n{verdict.line()}"


def waiting_in_analysis(bootstrap: str) -> set[str]:
    """Give the ids of events in ``track-analysis`` that nobody has acknowledged."""
    committed = committed_offsets(bootstrap, "emotion-stream", "track-analysis")
    waiting = (m for m in read_topic(bootstrap, "track-analysis") if m.offset() >= committed.get(m.partition(), 0))
    return {json.loads(message.value())["event_id"] for message in waiting}


def assert_acknowledged_only_what_has_its_outcome(bootstrap: str, unanswered: Iterable[Entry]) -> set[str]:
    """Hold both lanes' committed offsets against the inputs that have no outcome; give the ids handed on.

    Each waits in ``track-events`` for the known lane, or was handed on and waits in ``track-analysis`` for the new one.
    """
    places = committed_offsets(bootstrap, "emotion-stream-known", "track-events")
    handed_on = {entry.event_id for entry in unanswered if entry.offset < places.get(entry.partition, 0)}
    lost = handed_on - waiting_in_analysis(bootstrap)
    assert not lost, f"acknowledged without an outcome: {sorted(lost)[:5]} and {max(0, len(lost) - 5)} more"
    return handed_on


def make_output_unwritable(cluster: Cluster, platform: Platform, track: str) -> float:
    """Take a replica from ``emotion-events``, which wants all three; then play 25 new and 25 known tracks.

    The broker says NOT_ENOUGH_REPLICAS, as one does whose followers' disks are full. Everything else can be written:
    the new tracks are handed on and acknowledged by the known lane, and wait for the new one.

    Parameters
    ----------
    cluster : Cluster
        Of three brokers.
    platform : Platform
        Of whose catalogue ``track`` is known already.
    track : str
        A track with audio.

    Returns
    -------
    float
        When the fault began, in seconds since the epoch.
    """
    set_topic_config(cluster.bootstrap(), "emotion-events", "min.insync.replicas", "3")
    begun = time.time()
    cluster.brokers[2].kill()
    cluster.await_in_sync("emotion-events", 2)
    for number in range(25):
        platform.play(f"fresh-{number}", audio_uri=f"file://{platform.folder / track}.wav")
    platform.flush()
    await_no_lag(cluster.bootstrap(), lanes=["known"])
    for _ in range(25):
        platform.play(track)
    platform.flush()
    return begun


def make_output_writable(cluster: Cluster) -> None:
    """Bring the replica back."""
    cluster.brokers[2].start()
    cluster.wait_ready()
    cluster.await_in_sync("emotion-events", 3)


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
