"""Pitch classes and how the harmony moves.

References
----------
.. [1] Fujishima (1999), Realtime chord recognition of musical sound, ICMC.
.. [2] Harte, Sandler and Gasser (2006), Detecting harmonic change in musical audio, AMCMM.
"""

from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from features.compiled import compiled, vectorised
from features.frames import Samples, Starts, blocks, frame_starts, hamming, power_of_two
from features.spectrum import ClipSpectrum, integrator

_LOWEST: Final = 100.0  # Hz
_HIGHEST: Final = 6400.0  # Hz
_SEMITONE: Final = 2 ** (1 / 12) - 1
_C4: Final = 261.6256  # Hz
_FLOOR: Final = 0.01  # 20 dB below the strongest line
_BATCH: Final = 8
_REACH: Final = 12  # taps on each side of the half-band filter
_STRETCH: Final = 4096  # results that it gives at a time


class Semitones(NamedTuple):
    """Which bins of a spectrum belong to which semitone.

    ``first`` and ``end`` bound the bins that count, ``edges`` (2, n) the bins of each semitone counted from ``first``,
    ``weights`` (n,) and ``classes`` (n,) how much of its mean level goes to which pitch class.
    """

    first: int
    end: int
    edges: NDArray[np.int64]
    weights: NDArray[np.float64]
    classes: NDArray[np.int64]


@lru_cache(maxsize=8)
def semitones(n_samples: int, n_fft: int, sr: int) -> Semitones:
    """Lay the semitones over the bins of an ``n_fft``-point spectrum of ``n_samples`` samples.

    Only whole octaves above the lowest bin count. It lies a little above 100 Hz, so with a last bin near 6400 Hz the
    octave from 3200 Hz on falls away, though its lines still raise the maximum that levels are measured from.
    """
    f = np.arange(n_fft // 2 + 1) * sr / n_fft
    lowest = _LOWEST
    if sr / (_LOWEST * _SEMITONE * 0.85) > n_samples:
        lowest = (sr / n_samples) / (_SEMITONE * 0.85)
    first = int(np.searchsorted(f, lowest))
    end = min(int(np.searchsorted(f, _HIGHEST)) + 1, len(f))
    f = f[first:end]
    f = f[f <= f[0] * 2 ** np.floor(np.log2(f[-1] / f[0]))]
    steps = np.floor(12 * np.log2(f[[0, -1]] / _C4) + 0.5).astype(np.int64)
    k = np.arange(steps[0], steps[1] + 1)
    below, centre, above = (_C4 * 2 ** ((k + shift) / 12) for shift in (-1, 0, 1))
    lower = np.searchsorted(f, centre - 0.5 * (centre - below), side="right")
    upper = np.searchsorted(f, centre + 0.5 * (above - centre), side="left")
    weights = 1.0 / (upper - lower)
    weights[[0, -1]] *= 0.5
    return Semitones(first, end, np.array([lower, upper]), weights, k % 12)


@vectorised
def _loudest(power: NDArray[np.float32]) -> np.float32:
    loudest = np.float32(0)
    for k in range(len(power)):
        loudest = power[k] if power[k] > loudest else loudest
    return loudest


@vectorised
def _product(power: NDArray[np.float32], scale: np.float32) -> float:
    product = 1.0
    for k in range(len(power)):
        product *= max(np.float64(power[k] * scale), _FLOOR)
    return product


@compiled
def _pitch_classes(
    power: NDArray[np.float32],
    edges: NDArray[np.int64],
    weights: NDArray[np.float64],
    classes: NDArray[np.int64],
    out: NDArray[np.float64],
) -> None:
    """Sum the mean levels of semitones, in decibels above the floor, into twelve classes of which the greatest is 1.

    The sum of levels is the level of a product; 128 ratios of .01 to 1 multiply without leaving double precision.
    """
    out[:] = 0
    loudest = _loudest(power)
    if loudest == 0:
        return
    scale = np.float32(1) / loudest
    for s in range(len(classes)):
        begin, end = edges[0, s], edges[1, s]
        level = 0.0
        for first in range(begin, end, 128):
            level += np.log10(_product(power[first : min(first + 128, end)], scale))
        out[classes[s]] += (10 * level + 20 * (end - begin)) * weights[s]
    strongest = 0.0
    for value in out:
        strongest = max(strongest, value)
    for c in range(len(out)):
        out[c] /= strongest + 1e-6


@vectorised
def _powers(spectrum: NDArray[np.complex64], first: int, out: NDArray[np.float32]) -> None:
    kept = spectrum[first : first + len(out)]
    for k in range(len(out)):
        c = kept[k]
        out[k] = c.real * c.real + c.imag * c.imag


@compiled
def _chroma_of_frames(
    spectrum: NDArray[np.complex64],
    first: int,
    end: int,
    edges: NDArray[np.int64],
    weights: NDArray[np.float64],
    classes: NDArray[np.int64],
    out: NDArray[np.float64],
) -> None:
    power = np.empty(end - first, np.float32)
    for i in range(len(spectrum)):
        _powers(spectrum[i], first, power)
        _pitch_classes(power, edges, weights, classes, out[i])


@vectorised
def _lifted_powers(
    differenced: NDArray[np.complex64],
    integrate: NDArray[np.float32],
    first: int,
    step: float,
    turn: float,
    out: NDArray[np.float32],
) -> None:
    """Write powers of the clip lifted by a constant.

    Windowed and differenced, the constant is a ``step`` up at the beginning and down at the end (the window's own slope
    is 1e-7 of that in these bins). ``turn`` is how far the end's phase moves from bin to bin.
    """
    n = 64
    c, s = np.cos(turn * np.arange(n)), np.sin(turn * np.arange(n))
    for begin in range(0, len(out), n):
        phase_c, phase_s = np.cos(turn * (first + begin)), np.sin(turn * (first + begin))
        powers = out[begin : min(begin + n, len(out))]
        lines = differenced[first + begin : first + begin + len(powers)]
        factors = integrate[first + begin : first + begin + len(powers)]
        for j in range(len(powers)):
            real = lines[j].real + np.float32(step * (1 - (phase_c * c[j] - phase_s * s[j])))
            imaginary = lines[j].imag + np.float32(step * (phase_s * c[j] + phase_c * s[j]))
            powers[j] = (real * real + imaginary * imaginary) * factors[j] * factors[j]


def clip_chroma(y: Samples, spectrum: ClipSpectrum) -> NDArray[np.float64]:
    """Give the strength of the twelve pitch classes, C first, in the whole clip.

    Parameters
    ----------
    y : np.ndarray, shape (n_samples,), float32
        The clip.
    spectrum : ClipSpectrum
        Its spectrum.

    Returns
    -------
    np.ndarray, shape (12,), float64
        In [0, 1); all zero for silence.
    """
    layout = semitones(len(y), spectrum.n_fft, spectrum.sr)
    least, greatest = float(y.min()), float(y.max())
    out = np.zeros(12)
    if least < greatest:
        power = np.empty(layout.end - layout.first, np.float32)
        turn = 2 * np.pi * (len(y) % spectrum.n_fft) / spectrum.n_fft
        edge = 0.08  # the Hamming window's first and last value
        _lifted_powers(spectrum.differenced, integrator(spectrum.n_fft), layout.first, -edge * least, turn, power)
        _pitch_classes(power, layout.edges, layout.weights, layout.classes, out)
    return out


@lru_cache(maxsize=1)
def _half_band_taps() -> NDArray[np.float32]:
    """Design a low-pass that passes 6400 of 44100 Hz unchanged and lets every second sample be dropped.

    Returns the taps at the distances 1, 3, ..., 23 from the centre, whose own is one half; those at even ones are zero.
    """
    d = 2 * np.arange(_REACH) + 1
    taps = np.sin(np.pi * d / 2) / (np.pi * d) * np.kaiser(4 * _REACH + 1, 14.0)[2 * _REACH + d]
    return np.asarray(taps * (0.25 / taps.sum()), np.float32)


@vectorised
def _low_pass(y: Samples, taps: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Write the low-passed signal, taken to be zero beyond its ends; even samples to one row, odd ones to the other."""
    even, odd = np.empty(_STRETCH + 2 * _REACH, np.float32), np.empty(_STRETCH + 2 * _REACH, np.float32)
    for begin in range(0, out.shape[1], _STRETCH):
        # Where the stretch and the filter's reach to both sides lie in the signal.
        first = max(0, _REACH - begin)
        end = min(len(even), len(y) // 2 - begin + _REACH)
        even[:] = 0
        odd[:] = 0
        pairs = y[2 * (begin - _REACH + first) : 2 * (begin - _REACH + end)]
        for m in range(end - first):
            even[first + m] = pairs[2 * m]
            odd[first + m] = pairs[2 * m + 1]
        if end < len(even) and len(y) % 2:
            even[end] = y[len(y) - 1]
        at_even, at_odd = out[0, begin : begin + _STRETCH], out[1, begin : begin + _STRETCH]
        for m in range(len(at_even)):
            total = np.float32(0.5) * even[_REACH + m]
            for t in range(_REACH):  # a constant number of rounds, so the compiler unrolls them
                total += taps[t] * (odd[_REACH + m - 1 - t] + odd[_REACH + m + t])
            at_even[m] = total
        for m in range(len(at_odd)):
            total = np.float32(0.5) * odd[_REACH + m]
            for t in range(_REACH):
                total += taps[t] * (even[_REACH + m - t] + even[_REACH + m + 1 + t])
            at_odd[m] = total


@vectorised
def _lift(frame: Samples, low: np.float32, window: Samples, out: Samples) -> None:
    """Window a frame whose least sample is brought to zero, as MIRtoolbox scales it before a chromagram."""
    for j in range(len(frame)):
        out[j] = (frame[j] - low) * window[j]


@compiled
def _add_low_passed(
    part: Samples, place: int, first: int, end: int, taps: NDArray[np.float32], out: NDArray[np.float32]
) -> None:
    """Low-pass some samples of a frame, and add every second result to ``out``, going round its ends.

    Parameters
    ----------
    part : np.ndarray, shape (n_part,), float32
        Samples ``place`` to ``place + n_part`` of a frame; the rest of it counts as zero.
    first, end : int
        Which results, of those that are kept.
    """
    for m in range(first, end):
        centre = 2 * m - place
        total = np.float32(0)
        if 0 <= centre < len(part):
            total = np.float32(0.5) * part[centre]
        for t in range(_REACH):
            for j in (centre - 1 - 2 * t, centre + 1 + 2 * t):
                if 0 <= j < len(part):
                    total += taps[t] * part[j]
        out[m % len(out)] += total


@compiled
def _cut_halved(
    y: Samples,
    low_passed: NDArray[np.float32],
    starts: Starts,
    low: Samples,
    window: Samples,
    half_window: Samples,
    taps: NDArray[np.float32],
    frames: NDArray[np.float32],
) -> None:
    """Write lifted and windowed frames, low-passed and halved, into rows.

    The window is so smooth that within a frame low-passing can go before windowing, once for all frames that overlap.
    Only where the filter reaches over a frame's ends it must come after.
    """
    length = len(window)
    head, tail = window[: 4 * _REACH].copy(), window[: 4 * _REACH].copy()
    inner_end = (length - 2 * _REACH) // 2 + 1
    for i in range(len(starts)):
        frame, row = y[starts[i] : starts[i] + length], frames[i]
        row[:] = 0
        inner = low_passed[starts[i] % 2, starts[i] // 2 :]
        _lift(inner[_REACH:inner_end], low[i], half_window[_REACH:inner_end], row[_REACH:])
        _lift(frame[: len(head)], low[i], window, head)
        _add_low_passed(head, 0, -_REACH, _REACH, taps, row)
        _lift(frame[-len(tail) :], low[i], window[-len(tail) :], tail)
        _add_low_passed(tail, length - len(tail), inner_end, length // 2 + _REACH, taps, row)


@compiled
def _cut_lifted(y: Samples, starts: Starts, low: Samples, window: Samples, frames: NDArray[np.float32]) -> None:
    """Write lifted and windowed frames into rows."""
    for i in range(len(starts)):
        _lift(y[starts[i] : starts[i] + len(window)], low[i], window, frames[i])


def _over_frames(extreme: np.ufunc, y: Samples, starts: Starts, length: int) -> Samples:
    """Give the least or greatest sample of every frame, looking at each sample once although frames overlap."""
    edges, places = np.unique([starts, starts + length], return_inverse=True)
    between = np.append(extreme.reduceat(y[: edges[-1]], edges[:-1]), np.float32(0))
    extremes: Samples = extreme.reduceat(between, places.reshape(2, -1).T.ravel())[::2]
    return extremes


@lru_cache(maxsize=1)
def _tonal_basis() -> NDArray[np.float64]:
    """Give the (12, 6) projection of pitch classes on the circles of fifths, minor thirds and major thirds."""
    n = np.arange(12)
    circles = ((7 * np.pi / 6, 1.0), (3 * np.pi / 2, 1.0), (2 * np.pi / 3, 0.5))
    return np.array([radius * turn(angle * n) for angle, radius in circles for turn in (np.sin, np.cos)]).T


def frame_chromas(y: Samples, starts: Starts, length: int, sr: int) -> NDArray[np.float64]:
    """Compute the chroma of long frames.

    Above 32 kHz every windowed frame is low-passed and every second sample dropped: chroma ends at 6400 Hz, and half
    the samples give the same bins at half the cost.

    Parameters
    ----------
    y : np.ndarray, shape (n_samples,), float32
    starts : np.ndarray, shape (n_frames,), int64
    length, sr : int

    Returns
    -------
    np.ndarray, shape (n_frames, 12), float64
    """
    n_fft = power_of_two(length)
    layout = semitones(length, n_fft, sr)
    window = hamming(length)
    low, high = (_over_frames(extreme, y, starts, length) for extreme in (np.minimum, np.maximum))
    halved = sr > 32_000
    taps = _half_band_taps()
    low_passed = np.empty((2, (len(y) + 1) // 2), np.float32)
    if halved:
        _low_pass(y, taps, low_passed)
    chromas = np.empty((len(starts), 12))
    frames = np.zeros((_BATCH, n_fft // 2 if halved else n_fft), np.float32)
    for first in range(0, len(starts), _BATCH):
        rows = slice(first, min(first + _BATCH, len(starts)))
        batch = frames[: rows.stop - first]
        if halved:
            _cut_halved(y, low_passed, starts[rows], low[rows], window, window[::2].copy(), taps, batch)
        else:
            _cut_lifted(y, starts[rows], low[rows], window, batch)
        spectrum = fft.rfft(batch, axis=1)
        _chroma_of_frames(
            spectrum, layout.first, layout.end, layout.edges, layout.weights, layout.classes, chromas[rows]
        )
    chromas[low == high] = 0
    return chromas


def harmonic_change(y: Samples, sr: int) -> tuple[NDArray[np.float64], float]:
    """Measure how far the tonal centroid moves from frame to frame.

    Parameters
    ----------
    y : np.ndarray, shape (n_samples,), float32
    sr : int

    Returns
    -------
    curve : np.ndarray, shape (n_changes,), float64
        Distances of successive centroids (frames of .743 s, a tenth apart).
    spacing : float
        Seconds between the first two of them.
    """
    length, hop = int(0.743 * sr), 0.1 * (0.743 * sr)
    pieces = [begin + frame_starts(end - begin, length, hop) for begin, end in blocks(len(y), length, hop, overlap=1)]
    centroids = frame_chromas(y, np.concatenate(pieces), length, sr) @ _tonal_basis()
    steps = np.sqrt((np.diff(centroids, axis=0) ** 2).sum(axis=1))
    # Where one block ends and the next begins there is no step.
    seams = np.cumsum([len(piece) for piece in pieces])[:-1] - 1
    curve = np.delete(steps, seams)
    where = np.concatenate([piece[1:] for piece in pieces])
    return curve, (where[1] - where[0]) / sr
