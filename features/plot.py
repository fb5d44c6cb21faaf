"""Draw what the ear hears in one window: the sound over time, and the 50 numbers against the dataset.

Needs matplotlib, which is not among the worker's dependencies; import this module only to draw.
"""

import os
from pathlib import Path
from typing import Any, Final

import librosa
import librosa.display
import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from features.audio import Audio, AudioLimits, load_window
from features.extractor import extract
from features.frames import frame_starts, frame_times
from features.onsets import onset_curve
from features.peaks import peaks
from features.schema import COLUMNS, Column, FeatureVector
from features.tonal import frame_chromas
from features.typical import read_typical

_INK: Final = "#1f2937"
_FAINT: Final = "#d1d5db"
_SOUND: Final = "#2563eb"
_EVENT: Final = "#dc2626"
_RARE: Final = "#dc2626"
_USUAL: Final = "#2563eb"
_PITCHES: Final = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_GROUPS: Final = {
    "dynamics": ("_RMSenergy", "_Lowenergy"),
    "rhythm": ("_Fluctuation", "_Tempo", "_Eventdensity", "_Pulseclarity", "_AttackTime"),
    "timbre": ("_MFCC",),
    "roughness": ("_Roughness",),
    "spectrum": ("_Zero", "_Rolloff", "_Brightness", "_Spectral", "_Entropy"),
    "chroma": ("_Chromagram",),
    "harmonic change": ("_Harmonic",),
}
_SHOWN_UNITS: Final = {"Hz", "BPM", "s", "1/s", "dB/s"}
# Numbers beyond this many dataset half-widths are drawn at the edge, with an arrow head.
_EDGE: Final = 2.2


def draw(
    output: Path,
    path: str | os.PathLike[str],
    start: float = 0.0,
    duration: float = 30.0,
    *,
    native_rate: bool = False,
    limits: AudioLimits | None = None,
) -> None:
    """Draw one window of a file to an image.

    On the left, over time: waveform, spectrogram, onset curve with the events that event density counts, and chroma of
    .743 s frames, which harmonic change is measured on. On the right: the 50 numbers, each on a scale where the
    dataset's 5th percentile, median and 95th percentile are -1, 0 and 1.

    Parameters
    ----------
    output : Path
        Image to write; the ending names the format.
    path, start, duration, native_rate, limits
        As for ``features.audio.load_window``.

    Raises
    ------
    FeatureError
        If the file cannot be heard.
    """
    audio = load_window(path, start, duration, native_rate=native_rate, limits=limits)
    vector = extract(audio.y, audio.sr, native_rate=native_rate)
    margins = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.06, hspace=0.02, wspace=0.02)
    figure = Figure(figsize=(16, 11), layout=margins, facecolor="white")
    grid = figure.add_gridspec(4, 2, width_ratios=(1.45, 1), height_ratios=(0.8, 1.5, 0.9, 1.1))
    first = figure.add_subplot(grid[0, 0])
    over_time = [first, *(figure.add_subplot(grid[row, 0], sharex=first) for row in (1, 2, 3))]
    _draw_waveform(over_time[0], audio)
    _draw_spectrogram(over_time[1], audio)
    _draw_onsets(over_time[2], audio)
    _draw_chroma(over_time[3], audio)
    for axes in over_time[:-1]:
        axes.tick_params(labelbottom=False)
        axes.set_xlabel("")
    over_time[-1].set_xlabel("seconds into the track")
    first.set_xlim(audio.start_seconds, audio.start_seconds + len(audio.y) / audio.sr)
    _draw_numbers(figure.add_subplot(grid[:, 1]), vector)
    end = audio.start_seconds + audio.duration_seconds
    title = f"{Path(path).name} · {audio.start_seconds:.1f} to {end:.1f} s · {audio.codec} · {audio.sr} Hz"
    figure.suptitle(title, fontsize=14, fontweight="bold", color=_INK, x=0.01, ha="left")
    figure.savefig(output, dpi=110)


def _times(audio: Audio, at: NDArray[np.float64]) -> NDArray[np.float64]:
    return audio.start_seconds + at


def _titled(axes: Any, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10, color=_INK)
    axes.tick_params(labelsize=8, colors=_INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_FAINT)


def _draw_waveform(axes: Any, audio: Audio) -> None:
    # One stroke from minimum to maximum per column of pixels or so: drawing every sample takes seconds.
    step = max(1, len(audio.y) // 2000)
    blocks = audio.y[: len(audio.y) // step * step].reshape(-1, step)
    at = _times(audio, np.arange(len(blocks)) * step / audio.sr)
    axes.fill_between(at, blocks.min(axis=1), blocks.max(axis=1), color=_SOUND, linewidth=0)
    peak = max(0.05, float(np.abs(audio.y).max()) * 1.05)
    axes.set_ylim(-peak, peak)
    _titled(axes, "waveform (mono, full scale = 1)")


def _draw_spectrogram(axes: Any, audio: Audio) -> None:
    S = np.abs(librosa.stft(audio.y, n_fft=4096, hop_length=1024))
    levels = librosa.amplitude_to_db(S, ref=max(float(S.max()), 1e-10), top_db=80)
    times = _times(audio, librosa.times_like(S, sr=audio.sr, hop_length=1024))
    librosa.display.specshow(
        levels,
        x_coords=times,
        sr=audio.sr,
        n_fft=4096,
        y_axis="log",
        x_axis="s",
        cmap="magma",
        ax=axes,
        rasterized=True,
    )
    axes.set_ylim(50, audio.sr / 2)
    ticks = [hertz for hertz in (100, 200, 500, 1000, 2000, 5000, 10_000, 20_000) if hertz < audio.sr / 2]
    axes.set_yticks(ticks, [f"{hertz // 1000}k" if hertz >= 1000 else str(hertz) for hertz in ticks])
    axes.minorticks_off()
    axes.set_ylabel("Hz", fontsize=8)
    _titled(axes, "spectrogram (80 dB below the maximum is black)")


def _draw_onsets(axes: Any, audio: Audio) -> None:
    curve, at = onset_curve(audio.y, audio.sr)
    curve = curve / (curve.max() or 1.0)
    events = peaks(curve, 0.1)
    times = _times(audio, at)
    axes.fill_between(times, curve, color=_SOUND, alpha=0.2, linewidth=0)
    axes.plot(times, curve, color=_SOUND, linewidth=0.9)
    axes.plot(times[events], curve[events], "v", color=_EVENT, markersize=4)
    axes.set_ylim(0, 1.08)
    _titled(axes, f"onset curve (energy of .1 s frames) with the {len(events)} events found")


def _draw_chroma(axes: Any, audio: Audio) -> None:
    length, hop = int(0.743 * audio.sr), 0.1 * (0.743 * audio.sr)
    starts = frame_starts(len(audio.y), length, hop)
    chroma = frame_chromas(audio.y, starts, length, audio.sr).T
    times = _times(audio, frame_times(starts, length, audio.sr))
    axes.pcolormesh(times, np.arange(12), chroma, cmap="magma", shading="nearest")
    axes.set_yticks(range(12), _PITCHES)
    _titled(axes, "chroma (.743 s frames, strongest pitch class = 1)")


def _draw_numbers(axes: Any, vector: FeatureVector) -> None:
    typical = read_typical()
    rows: list[Column | str] = []
    for group, prefixes in _GROUPS.items():
        rows += [group, *(column for column in COLUMNS if column.name.startswith(prefixes))]
    axes.axvspan(-1, 1, color="#eff6ff", zorder=0)
    axes.axvline(0, color="#93c5fd", linewidth=1, zorder=1)
    for height, column in enumerate(rows):
        if isinstance(column, str):
            continue
        value = vector[column.name]
        axes.hlines(height, -_EDGE, _EDGE, color=_FAINT, linewidth=0.5, zorder=1)
        unit = f" {column.unit}" if column.unit in _SHOWN_UNITS else ""
        axes.text(_EDGE + 0.1, height, f"{value:.4g}{unit}", fontsize=7.5, va="center", color=_INK)
        if np.isnan(value):
            continue
        place = typical[column.name].position(value)
        mark = "o" if abs(place) <= _EDGE else "<" if place < 0 else ">"
        at = float(np.clip(place, -_EDGE, _EDGE))
        axes.plot(at, height, mark, color=_RARE if abs(place) > 1 else _USUAL, markersize=5, zorder=3, clip_on=False)
    axes.set_yticks(range(len(rows)), [row if isinstance(row, str) else _short(row.name) for row in rows])
    axes.set_ylim(len(rows) - 0.2, -0.8)
    axes.set_xlim(-_EDGE, _EDGE)
    axes.set_xticks((-1, 0, 1), ("5 %", "median", "95 %"))
    _titled(axes, "the 50 numbers among the dataset's 400 rows (red: outside the middle 90 %)")
    axes.tick_params(axis="y", labelsize=7.5, length=0)
    axes.spines["left"].set_visible(False)
    for row, label in zip(rows, axes.get_yticklabels(), strict=True):
        if isinstance(row, str):
            label.set(fontweight="bold", color="#6b7280")


def _short(name: str) -> str:
    """Shorten a column's name to what fits beside its row."""
    if name.startswith("_Chromagram"):
        return f"Chroma {_PITCHES[int(name.rsplit('_', 1)[1]) - 1]}"
    if name.startswith("_MFCC"):
        return f"MFCC {name.rsplit('_', 1)[1]}"
    return (
        name.removeprefix("_")
        .replace("HarmonicChangeDetectionFunction", "HCDF")
        .removesuffix("_Mean")
        .replace("_", " ")
    )
