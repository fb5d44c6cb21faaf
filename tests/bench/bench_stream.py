"""What the stream costs, beside its peers on the same real broker (``make bench-stream``).

- known lane: this worker, a bare confluent-kafka loop with the same guarantee, Quix Streams and a plain Faust agent
  take turns at the same backlog; medians of the rounds, and ratios;
- new lane: analyses a second against the ear alone on the same files and cores;
- latencies from ``occurred_at``: known tracks at half of what the machine answers, new ones at 0.7;
- restore: a table of many tracks, time and memory a track, twice;
- scale: what 1, 2 and 4 workers restore and answer together on this machine's cores;
- transactions: what ``EMOTION_TRANSACTIONS`` costs, and what it saves after ``kill -9``.

Ratios are the result; absolute figures depend on the machine and on who else uses it, so processor time is given
beside the clock's.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.bulk import end_offset
from tests.bench.contest import KNOWN_TRACKS, Bench, Contestant, Run, family_cpu
from tests.bench.fleet import restore, scale
from tests.bench.latency import known_latency, new_latency, stamp_on_arrival
from tests.bench.transactions import transactions
from tests.integration.kafka import Cluster
from tests.integration.worker import WorkerProcess

PARTS = ("known", "latency", "new", "restore", "scale", "transactions")


def known_lane(bench: Bench, record: dict[str, object], rounds: int, events: int, peers_python: str | None) -> None:
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
    for name, theirs in runs.items():
        ratio = statistics.median(a.rate / b.rate for a, b in zip(ours, theirs, strict=True))
        cpu = statistics.median(b.cpu_microseconds / a.cpu_microseconds for a, b in zip(ours, theirs, strict=True))
        rate, spent = (statistics.median(getattr(r, f) for r in theirs) for f in ("rate", "cpu_microseconds"))
        print(f"  {name:28}{rate:>10,.0f}{spent:>15.1f}{ratio:>9.2f}{cpu:>11.2f}", flush=True)


def new_lane(bench: Bench, rounds: int, analyses: int, latency_seconds: float) -> None:
    """Time new tracks through the worker against the ear alone, in turns, on 30 s of audio each; then latency."""
    cores = len(os.sched_getaffinity(0))
    piece = bench.platform.track(30, seconds=30.0)
    path = bench.platform.folder / f"{piece}.wav"
    ear: list[Run] = []
    stream: list[Run] = []
    bench.fresh_topics()
    stamp_on_arrival(bench)
    with WorkerProcess(bench.bootstrap, bench.directory, "new-lane", pool_size=cores, app_id="new-lane") as worker:
        for number in range(-1, rounds):
            heard = hear_alone(path, analyses // cores)
            base, begun, cpu = end_offset(bench.bootstrap, "emotion-events"), time.monotonic(), family_cpu(worker.pid)
            for index in range(analyses):
                bench.platform.play(f"bench-{number}-{index}", audio_uri=f"file://{path}")
            bench.platform.flush()
            while end_offset(bench.bootstrap, "emotion-events") - base < analyses:
                time.sleep(0.01)
            seconds, spent = time.monotonic() - begun, family_cpu(worker.pid) - cpu
            if number >= 0:  # the first turn warms both
                ear.append(heard)
                stream.append(Run(analyses / seconds, 1e6 * spent / analyses))
        print(f"\nnew lane, {analyses} new tracks of 30 s a turn, {rounds} turns, {cores} cores")
        ratio = statistics.median(s.rate / (cores * e.rate) for s, e in zip(stream, ear, strict=True))
        cpu_ratio = statistics.median(e.cpu_microseconds / s.cpu_microseconds for s, e in zip(stream, ear, strict=True))
        rate = statistics.median(run.rate for run in stream)
        print(f"  the ear alone, one process   {statistics.median(e.rate for e in ear):8.2f} tracks/s")
        print(f"  the stream                   {rate:8.2f} tracks/s")
        print(f"  stream / (cores × ear)       {ratio:8.2f}   by processor time {cpu_ratio:.2f}", flush=True)
        new_latency(bench, worker, path, rate, latency_seconds)


def hear_alone(path: Path, analyses: int) -> Run:
    """Give the ear's rate in one process that does nothing else."""
    code = (
        "import sys, time, features\n"
        "path, count = sys.argv[1], int(sys.argv[2])\n"
        "for _ in range(2): features.extract_file(path)\n"
        "clock, cpu = time.perf_counter(), time.process_time()\n"
        "for _ in range(count): features.extract_file(path)\n"
        "print(time.perf_counter() - clock, time.process_time() - cpu)\n"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    told = subprocess.run(
        [sys.executable, "-c", code, str(path), str(analyses)],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    clock, cpu = map(float, told.stdout.split())
    return Run(analyses / clock, 1e6 * cpu / analyses)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each contestant")
    parser.add_argument("--events", type=int, default=100_000, help="known tracks' plays a turn")
    parser.add_argument("--analyses", type=int, default=60, help="new tracks a turn")
    parser.add_argument("--tracks", type=int, default=1_000_000, help="tracks to restore")
    parser.add_argument("--latency-seconds", type=float, default=60)
    parser.add_argument("--peers-python", help="interpreter of the environment that has Quix Streams")
    parser.add_argument("--only", choices=PARTS, action="append", help="parts to run")
    options = parser.parse_args(arguments)
    parts = options.only or PARTS
    # The broker must not be what is measured.
    with tempfile.TemporaryDirectory() as scratch, Cluster(Path(scratch) / "kafka", long_lived=True) as cluster:
        directory = Path(scratch)
        (directory / "audio").mkdir()
        bench = Bench(cluster.bootstrap(), directory)
        record = bench.real_record()
        if "known" in parts:
            known_lane(bench, record, options.rounds, options.events, options.peers_python)
        if "latency" in parts:
            known_latency(bench, record, options.latency_seconds)
        if "new" in parts:
            new_lane(bench, options.rounds, options.analyses, options.latency_seconds)
        if "restore" in parts:
            restore(bench, record, options.tracks)
        if "scale" in parts:
            scale(bench, record, options.tracks // 4, 3 * options.events)
        if "transactions" in parts:
            transactions(bench, record, options.rounds, options.events)


if __name__ == "__main__":
    main()
