"""What the stream costs, beside its peers on the same real broker (``make bench-stream``).

- known lane: this worker, a bare confluent-kafka loop with the same guarantee, Quix Streams and a plain Faust agent
  take turns at the same backlog; medians of the rounds, and ratios;
- new lane: analyses a second against the ear alone on the same files and cores;
- latency of the known lane at half of its capacity;
- restore: a table of many tracks, time to ready and memory a track, twice.

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
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.bulk import PARTITIONS, bulk_producer, end_offset, play_json, read_latencies, send
from tests.bench.contest import KNOWN_TRACKS, Bench, Contestant, Run, family_cpu
from tests.integration.kafka import Cluster
from tests.integration.worker import WorkerProcess


def known_lane(bench: Bench, record: dict[str, object], rounds: int, peers_python: str | None) -> float:
    """Let the contestants take turns; print the table and give the worker's rate."""
    python = sys.executable
    contestants = [
        Contestant("this worker", [], 100_000),
        Contestant("bare confluent-kafka loop", [python, "-m", "tests.bench.peer_bare"], 100_000),
        Contestant("plain Faust agent", [python, "-m", "tests.bench.peer_faust"], 10_000),
    ]
    if peers_python:
        contestants.insert(2, Contestant("Quix Streams", [peers_python, "-m", "tests.bench.peer_quix"], 60_000))
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
    return statistics.median(run.rate for run in ours)


def latency(bench: Bench, record: dict[str, object], rate: float, seconds: float) -> None:
    """Play known tracks steadily at ``rate`` and print the quantiles of occurred_at to classified_at."""
    bench.fresh_topics()
    bench.seed(record, KNOWN_TRACKS)
    label = f"latency-{time.monotonic_ns()}"
    with WorkerProcess(
        bench.bootstrap, bench.directory, label, lanes="known", app_id=label, log_level="WARNING"
    ) as worker:
        assert worker.metric("emotion_table_tracks") == KNOWN_TRACKS
        producer = bulk_producer(bench.bootstrap, linger_ms=1)
        begun, sent = time.monotonic(), 0
        while (elapsed := time.monotonic() - begun) < seconds:
            due = int(elapsed * rate)
            for number in range(sent, due):
                name = f"track-{number * 7919 % KNOWN_TRACKS:07d}"
                send(producer, "track-events", play_json(number, name, datetime.now(UTC).isoformat()), name)
            sent = due
            producer.poll(0.001)
        producer.flush()
        latencies = read_latencies(bench.bootstrap, dict.fromkeys(range(PARTITIONS), 0), sent)
    cuts = statistics.quantiles(latencies, n=1000)
    print(f"\nknown lane's latency at {rate:,.0f} events/s for {seconds:.0f} s, occurred_at to classified_at")
    print(
        f"  p50 {cuts[499] * 1000:.1f} ms   p99 {cuts[989] * 1000:.1f} ms   p99.9 {cuts[998] * 1000:.1f} ms   "
        f"highest {max(latencies) * 1000:.0f} ms   ({len(latencies):,} answers)",
        flush=True,
    )


def new_lane(bench: Bench, rounds: int, analyses: int) -> None:
    """Time new tracks through the worker against the ear alone, in turns, on 30 s of audio each."""
    cores = len(os.sched_getaffinity(0))
    piece = bench.platform.track(30, seconds=30.0)
    path = bench.platform.folder / f"{piece}.wav"
    ear: list[Run] = []
    stream: list[Run] = []
    bench.fresh_topics()
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
    ratio = statistics.median(s.rate / (cores * e.rate) for s, e in zip(stream, ear, strict=True))
    cpu_ratio = statistics.median(e.cpu_microseconds / s.cpu_microseconds for s, e in zip(stream, ear, strict=True))
    print(f"\nnew lane, {analyses} new tracks of 30 s a turn, {rounds} turns, {cores} cores")
    print(f"  the ear alone, one process   {statistics.median(e.rate for e in ear):8.2f} tracks/s")
    print(f"  the stream                   {statistics.median(s.rate for s in stream):8.2f} tracks/s")
    print(f"  stream / (cores × ear)       {ratio:8.2f}   by processor time {cpu_ratio:.2f}", flush=True)


def restore(bench: Bench, record: dict[str, object], tracks: int) -> None:
    """Time a worker's start with an empty and with a full table, twice, and weigh the table."""
    print(f"\nrestore of {tracks:,} tracks")
    idle, empty = 0.0, 0
    for name, count in (("empty", 0), ("full", tracks), ("full again", tracks)):
        if name != "full again":
            bench.fresh_topics()
            bench.seed(record, count)
        label = f"restore-{time.monotonic_ns()}"
        begun = time.monotonic()
        with WorkerProcess(bench.bootstrap, bench.directory, label, lanes="known", app_id=label) as worker:
            ready = time.monotonic() - begun
            assert worker.metric("emotion_table_tracks") == count
            memory = worker.rss_bytes()
        if not count:
            idle, empty = ready, memory
            print(f"  {name:12} ready after {ready:5.1f} s", flush=True)
            continue
        print(
            f"  {name:12} ready after {ready:5.1f} s, {ready - idle:.1f} s of it for the table   "
            f"{(memory - empty) / count:.0f} bytes a track",
            flush=True,
        )


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
    parser.add_argument("--analyses", type=int, default=60, help="new tracks a turn")
    parser.add_argument("--tracks", type=int, default=1_000_000, help="tracks to restore")
    parser.add_argument("--latency-seconds", type=float, default=20)
    parser.add_argument("--peers-python", help="interpreter of the environment that has Quix Streams")
    parser.add_argument("--only", choices=("known", "new", "restore"), action="append", help="parts to run")
    options = parser.parse_args(arguments)
    parts = options.only or ("known", "new", "restore")
    # The broker runs for minutes here and must not be what is measured.
    os.environ["EMOTION_KAFKA_FULL_JIT"] = "1"
    with tempfile.TemporaryDirectory() as scratch, Cluster(Path(scratch) / "kafka") as cluster:
        directory = Path(scratch)
        (directory / "audio").mkdir()
        bench = Bench(cluster.bootstrap(), directory)
        record = bench.real_record()
        if "known" in parts:
            rate = known_lane(bench, record, options.rounds, options.peers_python)
            latency(bench, record, rate / 2, options.latency_seconds)
        if "new" in parts:
            new_lane(bench, options.rounds, options.analyses)
        if "restore" in parts:
            restore(bench, record, options.tracks)


if __name__ == "__main__":
    main()
