"""The stream bench's latencies: known tracks at half of what the machine answers, new ones at seven tenths."""

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from confluent_kafka import Producer

from tests.bench.bulk import Taken, bulk_producer, end_offset, play_json, read_latencies, send
from tests.bench.contest import KNOWN_TRACKS, Bench
from tests.bench.targets import Target
from tests.integration.administration import set_topic_config
from tests.integration.processes import Host, thread_seconds, undisturbed
from tests.integration.worker import WorkerProcess

BUDGET_SECONDS = 60.0
_WARM_UP_STEP_SECONDS = 20.0
_WARM_UP_MOST_SECONDS = 300.0
# Java's, as the kernel cuts their names off.
_COMPILERS = ("C1 Compiler", "C2 Compiler")
_COMPILING_CORES = 0.02


def warm_up(bench: Bench, record: dict[str, object], broker: int) -> None:
    """Have the broker do the bench's work until it hardly compiles itself any more: that takes a quarter of a core.

    At full speed and then at half of it, which are not the same code: few large requests, and many small ones.
    """
    bench.fresh_topics()
    bench.seed(record, KNOWN_TRACKS)
    numbers = itertools.count()
    with WorkerProcess(bench.bootstrap, bench.directory, "warm-up", lanes="known", app_id="warm-up"):
        capacity = _capacity(bench, numbers, _WARM_UP_STEP_SECONDS)
        begun, share = time.monotonic(), 1.0
        while share > _COMPILING_CORES and time.monotonic() - begun < _WARM_UP_MOST_SECONDS:
            print(f"warming the broker up: {time.monotonic() - begun:.0f} s ...", flush=True)
            compiled, started = thread_seconds(broker, *_COMPILERS), time.monotonic()
            _play_steadily(bench, capacity / 2, _WARM_UP_STEP_SECONDS, lambda: _known_play(next(numbers)))
            share = (thread_seconds(broker, *_COMPILERS) - compiled) / (time.monotonic() - started)
        print(f"the broker's compiler takes {share:.3f} of a core now", flush=True)


def known_latency(bench: Bench, record: dict[str, object], rounds: int, seconds: float) -> list[Target]:
    """Find what the worker answers beside this load generator, and print the latencies at half and a quarter of it.

    In turns, as the contest: a machine's slow spell of a minute would decide a single one. There are twice ``rounds``,
    each half as long as ``seconds``: a host that gives the processors to others for a tenth of a second is a p99 of its
    own, so that a turn in which it took more than a fiftieth does not count, as in the fault tests.
    """
    _empty_topics(bench)
    bench.seed(record, KNOWN_TRACKS)
    label = f"latency-{time.monotonic_ns()}"
    settings = {"lanes": "known", "app_id": label, "log_level": "WARNING"}
    turns = []
    with WorkerProcess(bench.bootstrap, bench.directory, label, **settings) as worker:
        assert worker.metric("emotion_table_tracks") == KNOWN_TRACKS
        numbers = itertools.count()
        for turn in range(1, 2 * rounds + 1):
            capacity = _capacity(bench, numbers)
            _wait_until_answered(bench)
            print(f"\nknown lane's latency, turn {turn}; worker, broker and load generator do {capacity:,.0f} events/s")
            turns.append(_latency_at(bench, capacity / 2, seconds / 2, numbers))
            # What is left of it where the three do not fight for the cores.
            _latency_at(bench, capacity / 4, seconds / 4, numbers)
    counted = undisturbed(turns, lambda turn: turn[0])
    told = ", ".join(f"{1000 * p99:.0f} ms ({taken:.1%})" for taken, p99 in sorted(turns))
    print(f"\np99 at half load, and what the host took of the processors: {told}; the first {len(counted)} count")
    name = f"known lane: p99 from occurred_at to Kafka's log, half load, median of {len(counted)}"
    return [Target(name, "at most", 50, 1000 * statistics.median(p99 for _, p99 in counted), "ms")]


def _latency_at(bench: Bench, rate: float, seconds: float, numbers: Iterator[int]) -> tuple[float, float]:
    """Play at a rate; give the share of the processors that the host took meanwhile, and the p99."""
    base, host = bench.ends(), Host()
    sent = _play_steadily(bench, rate, seconds, lambda: _known_play(next(numbers)))
    taken = host.share()
    what = f"at {rate:,.0f} events/s for {seconds:.0f} s, of which the host took {taken:.1%} of the processors"
    return taken, _print(what, read_latencies(bench.bootstrap, base, sent))


def new_latency(bench: Bench, worker: WorkerProcess, path: Path, capacity: float, seconds: float) -> list[Target]:
    """Print the latencies of new tracks of 30 s, evenly spread at seven tenths of the lane's capacity."""
    assert worker.running
    base, rate = bench.ends(), 0.7 * capacity
    numbers = itertools.count()
    uri = f"file://{path}"
    sent = _play_steadily(bench, rate, seconds, lambda: _new_play(next(numbers), uri))
    taken = read_latencies(bench.bootstrap, base, sent)
    p99 = _print(f"latency at 0.7 of the stream's rate, {rate:.1f} tracks/s evenly for {seconds:.0f} s", taken)
    return [Target("new lane: p99 from occurred_at to Kafka's log, 0.7 load", "at most", 1000, 1000 * p99, "ms")]


def _print(what: str, taken: list[Taken]) -> float:
    """Print the latencies; give the p99 to Kafka's log, which is when somebody can read the answer."""
    print(f"  {what}: {len(taken):,} answers")
    for name, latencies in (
        ("occurred_at to classified_at", [one.classified for one in taken]),
        ("occurred_at to Kafka's log", [one.appended for one in taken]),
    ):
        cuts = statistics.quantiles(latencies, n=1000, method="inclusive")
        print(
            f"    {name:30} p50 {cuts[499] * 1000:6.1f} ms   p99 {cuts[989] * 1000:6.1f} ms   "
            f"p99.9 {cuts[998] * 1000:6.1f} ms   highest {max(latencies) * 1000:5.0f} ms   "
            f"{BUDGET_SECONDS - cuts[989]:.2f} s of the minute to spare",
            flush=True,
        )
    return cuts[989]


def _capacity(bench: Bench, numbers: Iterator[int], seconds: float = 8.0) -> float:
    """Give the answers a second while the load generator sends as fast as it can."""
    producer = bulk_producer(bench.bootstrap)
    begun = time.monotonic()
    while time.monotonic() - begun < seconds / 4:
        _flood(producer, numbers)
    base, counted = end_offset(bench.bootstrap, "emotion-events"), time.monotonic()
    while time.monotonic() - begun < seconds:
        _flood(producer, numbers)
    rate = (end_offset(bench.bootstrap, "emotion-events") - base) / (time.monotonic() - counted)
    producer.flush()
    return rate


def _flood(producer: Producer, numbers: Iterator[int]) -> None:
    for number in itertools.islice(numbers, 1000):
        send(producer, "track-events", *_known_play(number))
    producer.poll(0)


def _play_steadily(bench: Bench, rate: float, seconds: float, play: Callable[[], tuple[str, str]]) -> int:
    """Produce ``rate`` plays a second, evenly; give their number."""
    # Both librdkafka's and Java's own default: with 1 ms the load generator alone keeps the broker busy.
    producer = bulk_producer(bench.bootstrap, linger_ms=5)
    # A new producer connects and asks for its id first: up to two seconds, in which its events would only wait in it.
    producer.produce("track-emotions", None, b"nobody-knows-this-track")
    producer.flush()
    begun, sent = time.monotonic(), 0
    while (elapsed := time.monotonic() - begun) < seconds:
        for _ in range(sent, due := int(elapsed * rate)):
            send(producer, "track-events", *play())
        sent = due
        producer.poll(0.001)
    producer.flush()
    return sent


def _known_play(number: int) -> tuple[str, str]:
    name = f"track-{number * 7919 % KNOWN_TRACKS:07d}"
    return play_json(number, name, datetime.now(UTC).isoformat()), name


def _new_play(number: int, uri: str) -> tuple[str, str]:
    name = f"steady-{number}"
    return play_json(number, name, datetime.now(UTC).isoformat(), uri), name


def _empty_topics(bench: Bench) -> None:
    bench.fresh_topics()
    stamp_on_arrival(bench)


def stamp_on_arrival(bench: Bench) -> None:
    """Have the broker stamp an answer when it has it: the moment from which it can be read."""
    set_topic_config(bench.bootstrap, "emotion-events", "message.timestamp.type", "LogAppendTime")


def _wait_until_answered(bench: Bench) -> None:
    events, deadline = end_offset(bench.bootstrap, "track-events"), time.monotonic() + 120
    while (written := end_offset(bench.bootstrap, "emotion-events")) < events:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{written} answers to {events} plays")
        time.sleep(0.1)
