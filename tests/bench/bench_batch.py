"""How much of the machine `emotion-stream classify` uses: its rate beside that of bare loops over the same tracks.

A bare loop is one process that analyses track after track and keeps nothing. The batch command is held to
``cores × one bare loop alone``; as many bare loops at once as there are cores show what the machine itself can do.
All are as nice as the command's processes, so that whatever else runs takes as much from each. Turns are
interleaved; the best round of each is compared, and medians stand beside it: ``python -m tests.bench.bench_batch``.
"""

import argparse
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np
import soundfile

from consumer.pool import _NICENESS, _ONE_THREAD
from consumer.settings import available_cores
from tests.bench.bench_features import SR, synthesise

# What is timed begins after the processes are warm, and ends before the last ones wait for each other.
FIRST, LAST = 0.1, 0.95

BARE: Final = """
import sys, tempfile, time
from pathlib import Path
from consumer.analyst import AnalysisRequest, AnalystPlan
from consumer.settings import Settings
from model.registry import SHIPPED_ROOT, Registry

version = Registry(SHIPPED_ROOT).load("champion").version
settings = Settings(audio_roots=(Path("/"),), log_level="ERROR")
analyse = AnalystPlan.from_settings(settings, model_version=version, scratch=Path(tempfile.mkdtemp()))()
requests = [
    AnalysisRequest(audio_uri=path, position_seconds=None, whole_track=True, model_version=version)
    for path in sys.argv[1:]
]
analyse(requests[0])
print("ready", flush=True)
sys.stdin.readline()
begin = time.perf_counter()
for request in requests:
    analyse(request)
print(len(requests) / (time.perf_counter() - begin))
"""


def make_tracks(folder: Path, count: int) -> list[str]:
    """Write so many tracks of 30 s, no two the same."""
    folder.mkdir()
    sounds = [synthesise(noise=0.01, seed=seed) for seed in range(4)]
    rng = np.random.default_rng(0)
    paths = []
    for number in range(count):
        path = folder / f"{number:05d}.wav"
        soundfile.write(path, np.clip(sounds[number % 4] * rng.uniform(0.5, 0.9), -1, 1), SR, subtype="PCM_16")
        paths.append(str(path))
    return paths


def bare_rate(paths: list[str], processes: int) -> float:
    """Give the tracks a second of bare loops side by side, each over its share."""
    shares = [paths[first::processes] for first in range(processes)]
    running = [
        subprocess.Popen(
            ["nice", "-n", str(_NICENESS), sys.executable, "-c", BARE, *share],
            env=os.environ | dict.fromkeys(_ONE_THREAD, "1"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for share in shares
    ]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    return sum(float(process.communicate()[0]) for process in running)


def batch_rate(folder: Path, output: Path, workers: int, count: int) -> float:
    """Give the tracks a second of the batch command, by its own journal."""
    journal = output.with_name(f".{output.name}.journal")
    command = [sys.executable, "-m", "consumer", "classify", str(folder), "--output", str(output)]
    running = subprocess.Popen([*command, "--workers", str(workers)], stderr=subprocess.PIPE)
    first = begun = 0.0
    while True:
        done, now = _recorded(journal), time.perf_counter()
        if not begun and done >= FIRST * count:
            first, begun = done, now
        if done >= LAST * count:
            break
        if running.poll() is not None:
            raise RuntimeError(f"classify ended after {done} tracks: {running.communicate()[1].decode()}")
        time.sleep(0.02)
    running.communicate()
    return (done - first) / (now - begun)


def _recorded(journal: Path) -> int:
    if not journal.exists():
        return 0
    database = sqlite3.connect(f"file:{journal}?mode=ro", uri=True)
    try:
        return int(database.execute("SELECT COUNT(*) FROM results").fetchone()[0])
    except sqlite3.OperationalError:
        return 0
    finally:
        database.close()


def main() -> None:
    """Take turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tracks", type=int, default=240)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=available_cores())
    options = parser.parse_args()
    workers = options.workers
    alone, together, batch = [], [], []
    with tempfile.TemporaryDirectory(prefix="bench-batch-") as scratch:
        paths = make_tracks(Path(scratch) / "music", options.tracks)
        for turn in range(options.rounds):
            alone.append(bare_rate(paths[: max(1, options.tracks // workers)], 1))
            together.append(bare_rate(paths, workers))
            output = Path(scratch) / f"turn-{turn}.jsonl"
            batch.append(batch_rate(Path(scratch) / "music", output, workers, options.tracks))
            print(f"turn {turn + 1}: {alone[-1]:.2f}  {together[-1]:.2f}  {batch[-1]:.2f} tracks/s", flush=True)
    whole = workers * max(alone)
    for name, rates in (
        ("one bare loop alone", alone),
        (f"{workers} bare loops at once", together),
        (f"classify --workers {workers}", batch),
    ):
        best, median = max(rates), statistics.median(rates)
        print(
            f"{name:<22} best {best:6.2f}, median {median:6.2f} tracks/s; {best / whole:.3f} of {workers} x one alone"
        )
    print(f"classify is at {max(batch) / max(together):.3f} of the bare loops at once")


if __name__ == "__main__":
    main()
