"""How often the label survives what happens to audio on its way to a listener.

``python -m tests.bench.label_stability CLIPS`` hears every 30 s clip of music in a folder as it is and after each
treatment, with the real ear and the shipped champion, and prints the share of labels unchanged (Wilson 95 % interval).
MP3 is encoded and decoded by FFmpeg's libraries (PyAV); gain is followed by clipping at full scale.
"""

import argparse
import io
from collections.abc import Callable
from pathlib import Path
from typing import Final

import av
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from features import extract
from model.registry import Registry

Samples = NDArray[np.float32]
Treatment = Callable[[Samples, int], tuple[Samples, int]]

# Music only: rendered, recorded and re-encoded clips; syn* are test signals, real10 is a whale.
MUSIC: Final = ("own", "sym", "real", "mp3")
NOT_MUSIC: Final = ("real10",)
SHIFT_SECONDS: Final = 2.0


def mp3(kilobits: int) -> Treatment:
    def treat(y: Samples, sr: int) -> tuple[Samples, int]:
        buffer = io.BytesIO()
        with av.open(buffer, "w", format="mp3") as container:
            stream = container.add_stream("libmp3lame", rate=sr, layout="stereo" if y.shape[1] == 2 else "mono")
            stream.bit_rate = kilobits * 1000
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(y.T), format="fltp", layout="stereo" if y.shape[1] == 2 else "mono"
            )
            frame.sample_rate = sr
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                container.mux(packet)
        decoded, rate = soundfile.read(io.BytesIO(buffer.getvalue()), dtype="float32", always_2d=True)
        return decoded, rate

    return treat


def gain(decibels: float) -> Treatment:
    return lambda y, sr: (np.clip(y * np.float32(10 ** (decibels / 20)), -1.0, 1.0), sr)


def resampled(rate: int) -> Treatment:
    return lambda y, sr: (np.asarray(soxr.resample(y, sr, rate), dtype=np.float32), rate)


def last_seconds(y: Samples, sr: int) -> tuple[Samples, int]:
    return y[round(SHIFT_SECONDS * sr) :], sr


def first_seconds(y: Samples, sr: int) -> tuple[Samples, int]:
    return y[: len(y) - round(SHIFT_SECONDS * sr)], sr


AS_IT_IS: Final = "as it is"
TREATMENTS: Final[dict[str, Treatment]] = {
    AS_IT_IS: lambda y, sr: (y, sr),
    **{f"MP3 {k} kb/s": mp3(k) for k in (320, 192, 128, 64)},
    "gain +12 dB": gain(12),
    "gain -12 dB": gain(-12),
    "22.05 kHz source": resampled(22050),
    "last 28 s": last_seconds,
    "first 28 s": first_seconds,
}
# A shifted fragment is compared with the same length of audio, two seconds earlier.
COMPARED_WITH: Final = {"last 28 s": "first 28 s"}


def hear(clips: list[Path]) -> dict[str, NDArray[np.float64]]:
    """Give the features of every clip after every treatment, each (n_clips, 50)."""
    heard: dict[str, list[NDArray[np.float64]]] = {name: [] for name in TREATMENTS}
    for clip in clips:
        y, sr = soundfile.read(clip, dtype="float32", always_2d=True)
        for name, treat in TREATMENTS.items():
            heard[name].append(extract(*treat(y, sr)).finite)
    return {name: np.array(rows) for name, rows in heard.items()}


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Give the Wilson 95 % interval of a share."""
    z = 1.96
    centre, half = hits / n + z**2 / (2 * n), z * np.sqrt(hits / n * (1 - hits / n) / n + z**2 / (4 * n**2))
    return (centre - half) / (1 + z**2 / n), (centre + half) / (1 + z**2 / n)


def music_clips(folder: Path) -> list[Path]:
    """List the clips of music that last 25 seconds or more."""
    named = sorted(p for p in folder.glob("*.flac") if p.name.startswith(MUSIC) and not p.name.startswith(NOT_MUSIC))
    return [path for path in named if soundfile.info(path).duration >= 25]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--keep", type=Path, help="Features of every treatment, kept as .npz and read if there.")
    arguments = parser.parse_args()
    clips = music_clips(arguments.clips)
    if arguments.keep and arguments.keep.exists():
        with np.load(arguments.keep) as kept:
            heard = {name: kept[name] for name in TREATMENTS}
    else:
        heard = hear(clips)
        if arguments.keep:
            np.savez(arguments.keep, **heard)  # type: ignore[arg-type]  # NumPy types keyword arrays as a flag
    classifier = Registry().load("champion").classifier
    print(f"{len(clips)} clips")
    for name in TREATMENTS:
        reference = COMPARED_WITH.get(name, AS_IT_IS)
        before, after = (classifier.predict_proba(heard[n]).argmax(axis=1) for n in (reference, name))
        unchanged = int((before == after).sum())
        low, high = wilson(unchanged, len(clips))
        print(f"{name:18s} against {reference:10s} {unchanged / len(clips):.3f} ({low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
