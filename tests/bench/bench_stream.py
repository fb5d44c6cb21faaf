"""What the stream costs, beside its peers on the same real broker (``make bench-stream``).

- known lane: this worker, a bare confluent-kafka loop with the same guarantee, Quix Streams and a plain Faust agent
  take turns at the same backlog; medians of the rounds, and ratios;
- new lane: analyses a second against the ear alone on the same files and cores;
- latencies from ``occurred_at``: known tracks at half of what the machine answers, new ones at 0.7;
- restore: a table of many tracks, time and memory a track, at first and second starts in turns;
- scale: what 1, 2 and 4 workers restore and answer together on this machine's cores;
- transactions: what ``EMOTION_TRANSACTIONS`` costs, and what it saves after ``kill -9``.

At the end stands what was aimed at beside what was measured; the exit status is 1 if anything fell short.
Ratios are the result; absolute figures depend on the machine and on who else uses it, so processor time is given
beside the clock's.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.contest import KNOWN_TRACKS, Bench, Contestant, Run
from tests.bench.fleet import restore, scale
from tests.bench.latency import known_latency, warm_up
from tests.bench.new_tracks import new_lane
from tests.bench.targets import Target, print_targets
from tests.bench.transactions import transactions
from tests.integration.kafka import Cluster
from tests.integration.memory import full_memory

# How many times as fast as each peer the known lane is to be.
AIMED_AT = {"bare confluent-kafka loop": 0.8, "Quix Streams": 2.0, "plain Faust agent": 10.0}
PARTS = ("known", "latency", "new", "restore", "scale", "transactions")


def known_lane(
    bench: Bench, record: dict[str, object], rounds: int, events: int, peers_python: str | None
) -> list[Target]:
    """Let the contestants take turns, and print the table."""
    python = sys.executable
    contestants = [
        Contestant("this worker", [], events),
        Contestant("bare confluent-kafka loop", [python, "-m", "tests.bench.peer_bare"], events),
        Contestant("plain Faust agent", [python, "-m", "tests.bench.peer_faust"], events // 10),
    ]
    if peers_python:
        contestants.insert(2, Contestant("Quix Streams", [peers_python, "-m", "tests.bench.peer_quix"], events))
    bench.fresh_topics()
    bench.seed(record, KNOWN_TRACKS)
    bench.backlog(max(contestant.events for contestant in contestants))
    runs: dict[str, list[Run]] = {contestant.name: [] for contestant in contestants}
    for number in range(rounds):
        for contestant in contestants:
            label = f"{contestant.name.split()[-1]}-{number}-{time.monotonic_ns()}"
            runs[contestant.name].append(bench.turn(contestant, label))
    ours = runs["this worker"]
    print(f"\nknown lane, {rounds} rounds in turns, medians (ratio: ours to theirs by the clock; by processor time)")
    print(f"  {'':28}{'events/s':>10}{'µs CPU/event':>15}{'ratio':>9}{'CPU ratio':>11}")
    targets = []
    for name, theirs in runs.items():
        ratio = statistics.median(a.rate / b.rate for a, b in zip(ours, theirs, strict=True))
        cpu = statistics.median(b.cpu_microseconds / a.cpu_microseconds for a, b in zip(ours, theirs, strict=True))
        rate, spent = (statistics.median(getattr(r, f) for r in theirs) for f in ("rate", "cpu_microseconds"))
        print(f"  {name:28}{rate:>10,.0f}{spent:>15.1f}{ratio:>9.2f}{cpu:>11.2f}", flush=True)
        if name in AIMED_AT:
            targets.append(Target(f"known lane: this worker / {name}", "at least", AIMED_AT[name], ratio, "×"))
    return targets


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench; 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each contestant")
    parser.add_argument("--events", type=int, default=100_000, help="known tracks' plays a turn")
    parser.add_argument("--analyses", type=int, default=400, help="new tracks a turn")
    parser.add_argument("--tracks", type=int, default=1_000_000, help="tracks to restore")
    parser.add_argument("--latency-seconds", type=float, default=60)
    parser.add_argument("--peers-python", help="interpreter of the environment that has Quix Streams")
    parser.add_argument("--only", choices=PARTS, action="append", help="parts to run")
    options = parser.parse_args(arguments)
    parts = options.only or PARTS
    # The broker must not be what is measured.
    with (
        tempfile.TemporaryDirectory() as scratch,
        full_memory(Path(scratch)),
        Cluster(Path(scratch) / "kafka", long_lived=True) as cluster,
    ):
        directory = Path(scratch)
        (directory / "audio").mkdir()
        bench = Bench(cluster.bootstrap(), directory)
        record = bench.real_record()
        warm_up(bench, record, cluster.brokers[0].pid)
        targets = []
        if "known" in parts:
            targets += known_lane(bench, record, options.rounds, options.events, options.peers_python)
        if "latency" in parts:
            targets += known_latency(bench, record, options.rounds, options.latency_seconds)
        if "new" in parts:
            targets += new_lane(
                bench, cluster.brokers[0].pid, options.rounds, options.analyses, options.latency_seconds
            )
        if "restore" in parts:
            targets += restore(bench, record, options.tracks, options.rounds)
        if "scale" in parts:
            scale(bench, record, options.tracks // 4, 3 * options.events)
        if "transactions" in parts:
            transactions(bench, record, options.rounds, options.events)
    return 0 if print_targets(targets) else 1


if __name__ == "__main__":
    sys.exit(main())
