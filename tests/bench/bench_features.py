"""How fast the ear is beside its peers, and what it costs besides time.

Everything is CPU time of one thread, decoding included; contestants take turns within one process, and medians are
printed. Run it by ``make bench-features``, which installs the peers apart from everything else.
"""

import argparse
import csv
import functools
import importlib.util
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile
from numpy.typing import NDArray

SHARED: Final = Path(__file__).resolve().parents[2].parent / "shared" / "features"
SECONDS: Final = 30.0
SR: Final = 44_100

COLD_START: Final = """
import time, sys
import features
features.extract_file(sys.argv[1])
"""

MANY: Final = """
import sys, time
import features
features.warm_up()
print("ready", flush=True)
sys.stdin.readline()
begin = time.perf_counter()
for _ in range(int(sys.argv[2])):
    features.extract_file(sys.argv[1])
print(time.perf_counter() - begin)
"""


def synthesise(noise: float, seed: int = 7, seconds: float = SECONDS) -> NDArray[np.float64]:
    """Give music in stereo: chords of plucked tones over a beat, with noise at this level."""
    rng = np.random.default_rng(seed)
    n = round(seconds * SR)
    y = noise * rng.standard_normal((n, 2))
    for onset in range(0, n - SR // 2, SR // 4):
        t = np.arange(min(SR, n - onset)) / SR
        for pitch in 110 * 2 ** (rng.choice([0, 3, 7, 10, 12, 15, 19], 3) / 12):
            tone = sum(np.sin(2 * np.pi * pitch * h * t) / h for h in range(1, 12))
            y[onset : onset + len(t)] += (0.04 * np.exp(-5 * t) * tone)[:, None] * rng.uniform(0.5, 1.5, 2)
        hit = np.exp(-60 * t[: SR // 8]) * rng.standard_normal(len(t[: SR // 8]))
        y[onset : onset + len(hit)] += 0.15 * hit[:, None]
    return np.clip(y, -1, 1 - 2**-15)


def naive_librosa(path: str, *, tonnetz_from_chroma: bool = False) -> int:
    """Compute what comes nearest to the ear's columns in librosa, at its defaults; gives how many numbers that is: 74.

    The file is loaded at 22 050 Hz. Mean and standard deviation of 37 curves: 13 MFCCs, 12 pitch classes of
    ``chroma_stft``, 6 dimensions of the tonnetz, RMS, zero crossings, centroid, bandwidth, rolloff and flatness, each
    call given the samples, as librosa's documentation shows it. So given, ``tonnetz`` computes a constant-Q chromagram,
    the longest call of all; with ``tonnetz_from_chroma`` it takes the chroma that is there already.
    """
    import librosa

    y, sr = librosa.load(path)
    chroma = librosa.feature.chroma_stft(y=y, sr=sr)
    tonnetz = {"chroma": chroma} if tonnetz_from_chroma else {"y": y}
    curves = [
        librosa.feature.mfcc(y=y, sr=sr, n_mfcc=13),
        chroma,
        librosa.feature.tonnetz(**tonnetz, sr=sr),
        librosa.feature.rms(y=y),
        librosa.feature.zero_crossing_rate(y=y),
        librosa.feature.spectral_centroid(y=y, sr=sr),
        librosa.feature.spectral_bandwidth(y=y, sr=sr),
        librosa.feature.spectral_rolloff(y=y, sr=sr),
        librosa.feature.spectral_flatness(y=y),
    ]
    return len([statistic for curve in curves for statistic in (*curve.mean(axis=1), *curve.std(axis=1))])


def essentia_extractor() -> Callable[[str], int]:
    """Set up essentia's MusicExtractor at its defaults."""
    import essentia
    import essentia.standard

    essentia.log.infoActive = False
    essentia.log.warningActive = False
    extractor = essentia.standard.MusicExtractor()
    return lambda path: len(extractor(path)[0].descriptorNames())


def cpu_milliseconds(contestants: dict[str, Callable[[], Any]], rounds: int) -> dict[str, tuple[float, float]]:
    """Time contestants in turns and give the median and the best of each; neighbours on a machine slow all rounds."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for contestant in contestants.values():
        contestant()
    for _ in range(rounds):
        for name, contestant in contestants.items():
            begin = time.process_time()
            contestant()
            times[name].append(1e3 * (time.process_time() - begin))
    return {name: (statistics.median(values), min(values)) for name, values in times.items()}


def stages(path: str) -> dict[str, Callable[[], Any]]:
    """Name the ear's stages, each ready to be run by itself."""
    from features import dynamics, fluctuation, onsets, roughness, spectral, tempo, timbre, tonal
    from features.audio import load_window
    from features.spectrum import clip_spectrum

    audio = load_window(path)
    y, sr = audio.y, audio.sr
    spectrum = clip_spectrum(y, sr)
    curve, attack_onsets = onsets.onset_curves(y, sr)
    return {
        "decode": lambda: load_window(path),
        "spectrum of the clip": lambda: clip_spectrum(y, sr),
        "shape, MFCC, chroma": lambda: (
            spectral.spectral_shape(spectrum),
            timbre.mfcc(spectrum),
            tonal.clip_chroma(y, spectrum),
        ),
        "harmonic change": lambda: tonal.harmonic_change(y, sr),
        "roughness": lambda: roughness.roughness_curve(y, sr),
        "tempo": lambda: tempo.tempo(y, sr),
        "attacks": lambda: onsets.attacks(y, sr, attack_onsets),
        "fluctuation": lambda: fluctuation.fluctuation(y, sr),
        "onsets, events, pulse": lambda: (
            onsets.onset_curves(y, sr),
            onsets.event_density(curve),
            onsets.pulse_clarity(curve),
        ),
        "energy, crossings": lambda: (
            dynamics.rms_energy(y),
            dynamics.low_energy(y, sr),
            dynamics.zero_crossing_rate(y, sr),
        ),
    }


def run(code: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def seconds_to_first_vector(path: str, **environment: str) -> tuple[float, float]:
    """Start a process that extracts once; gives wall and CPU seconds."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with run(COLD_START, path, **environment) as process:
        if process.wait() != 0:
            raise RuntimeError("expected the ear to start, but its process failed")
    wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def megabytes_of_warm_process(path: str) -> float:
    """Give the peak resident memory of a process that extracts twenty times, with a compile cache."""
    code = (
        "import sys, features\n"
        "for _ in range(20): features.extract_file(sys.argv[1])\n"
        # Not getrusage: its maximum counts the parent's memory at the fork.
        "status = dict(line.split(':', 1) for line in open('/proc/self/status'))\n"
        "print(int(status['VmHWM'].split()[0]) / 1024)"
    )
    with run(code, path) as process:
        return float(process.communicate()[0])


def clips_per_second(path: str, processes: int, clips: int = 25) -> float:
    """Let warm processes work side by side."""
    workers = [run(MANY, path, str(clips)) for _ in range(processes)]
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.readline()
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    return sum(clips / float(worker.communicate()[0]) for worker in workers)


def speed_of_two(path: str, rounds: int = 3) -> tuple[float, float]:
    """Give clips per second of one process and of two, medians of runs taken in turns."""
    pairs = [(clips_per_second(path, 1), clips_per_second(path, 2)) for _ in range(rounds)]
    return statistics.median(one for one, _ in pairs), statistics.median(two for _, two in pairs)


def machine() -> str:
    """Name processor, cores and load."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{model}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}"


def print_peers(path: str, noise_path: str, rounds: int) -> None:
    from features import extract_file

    contestants: dict[str, Callable[[], Any]] = {
        "the ear (50 columns)": lambda: extract_file(path),
        "the ear on white noise": lambda: extract_file(noise_path),
        f"naive librosa ({naive_librosa(path)} numbers)": lambda: naive_librosa(path),
        "the same, tonnetz from chroma_stft": lambda: naive_librosa(path, tonnetz_from_chroma=True),
    }
    if importlib.util.find_spec("essentia"):
        music_extractor = essentia_extractor()
        contestants[f"essentia MusicExtractor ({music_extractor(path)} descriptors)"] = lambda: music_extractor(path)
    else:
        print("essentia is not installed here: make bench-features installs it")
    times = cpu_milliseconds(contestants, rounds)
    ear, ear_best = next(iter(times.values()))
    print(f"\n{'CPU ms':44s} {'median':>8s} {'of the ear':>11s} {'best':>8s} {'of the ear':>11s}")
    for name, (median, best) in times.items():
        print(f"{name:44s} {median:8.1f} {median / ear:10.2f}x {best:8.1f} {best / ear_best:10.2f}x")
    timing = SHARED / "timing.csv"
    if timing.is_file():
        with timing.open() as file:
            octave = sum(float(row["mean_s"]) for row in csv.DictReader(file))
        print(f"{'MIRtoolbox under Octave (timing.csv)':44s} {1e3 * octave:8.0f} {1e3 * octave / ear:10.0f}x")
    print("\nstages, CPU ms")
    shares = {name: median for name, (median, _) in cpu_milliseconds(stages(path), rounds).items()}
    for name, milliseconds in shares.items():
        print(f"  {name:24s} {milliseconds:6.1f}  {milliseconds / sum(shares.values()):4.0%}")
    print(
        f"  {'all':24s} {sum(shares.values()):6.1f}        {sum(shares.values()) / shares['decode']:.1f} x decode alone"
    )


def print_growth(folder: Path) -> None:
    """Print what longer windows cost, on synthesised music."""
    from features import extract_file

    contestants: dict[str, Callable[[], Any]] = {}
    for seconds in (30, 60, 120, 240):
        path = folder / f"{seconds}.flac"
        soundfile.write(path, synthesise(noise=0.001, seconds=seconds), SR)
        contestants[f"{seconds} s"] = functools.partial(extract_file, path, 0, math.inf)
    medians = {length: median for length, (median, _) in cpu_milliseconds(contestants, rounds=7).items()}
    first = next(iter(medians.values()))
    grown = ", ".join(f"{length} {median:.0f} ms ({median / first:.2f}x)" for length, median in medians.items())
    print(f"\nlonger windows                       {grown}")


def print_costs(path: str) -> None:
    print(f"peak memory of a warm process        {megabytes_of_warm_process(path):6.0f} MB")
    one, two = speed_of_two(path)
    print(
        f"one process, two processes           {one:6.1f}, {two:.1f} clips/s ({two / one:.2f}x; needs two idle cores)"
    )
    with tempfile.TemporaryDirectory() as cache:
        wall, cpu = seconds_to_first_vector(path, NUMBA_CACHE_DIR=cache)
        print(f"first vector, empty compile cache    {wall:6.2f} s ({cpu:.2f} s CPU)")
        starts = sorted(seconds_to_first_vector(path, NUMBA_CACHE_DIR=cache) for _ in range(5))
        wall, cpu = starts[2]
        print(f"first vector, warm compile cache     {wall:6.2f} s ({cpu:.2f} s CPU), the median of five starts")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", nargs="?", help="30 s at 44.1 kHz; a golden clip or a synthesised one by default")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        noise_path, music_path = Path(folder) / "noise.flac", Path(folder) / "synthesised.flac"
        noise = np.clip(0.25 * np.random.default_rng(1).standard_normal((round(SECONDS * SR), 2)), -1, 1 - 2**-15)
        soundfile.write(noise_path, noise, SR)
        golden = SHARED / "clips" / "real01_fishin_a.flac"
        path = options.clip or (str(golden) if golden.is_file() else str(music_path))
        if path == str(music_path):
            soundfile.write(music_path, synthesise(noise=0.001), SR)
        info = soundfile.info(path)
        print(
            f"{Path(path).name}: {info.duration:.2f} s, {info.samplerate} Hz, {info.channels} channels, {info.format}"
        )
        print(machine())
        print_peers(path, str(noise_path), options.rounds)
        print_growth(Path(folder))
        print_costs(path)


if __name__ == "__main__":
    main()
