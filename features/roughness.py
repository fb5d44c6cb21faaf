"""Sensory dissonance between the partials of a sound.

Two pure tones close in frequency beat and sound rough; the curve over their distance is Plomp and Levelt's [1]_ in
Sethares' [2]_ parametrisation, summed over all pairs of spectral peaks.

References
----------
.. [1] Plomp and Levelt (1965), Tonal consonance and critical bandwidth, JASA 38.
.. [2] Sethares (1998), Tuning, Timbre, Spectrum, Scale, appendix F.
"""

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.compiled import compiled, vectorised
from features.frames import Samples, blocked_starts, hamming, power_of_two, spectra
from features.peaks import OPEN, pick_peaks

_CONTRAST: Final = 0.01
# Beyond this many critical distances a pair adds less than a millionth of what the closest pairs add.
_REACH: Final = 4.2
_STRIP: Final = 128


@lru_cache(maxsize=4)
def _pair_weights(n_bins: int, bin_hz: float) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Tabulate the roughness of two unit amplitudes: for each lower bin, a run over the bins above it.

    Returns
    -------
    weights : np.ndarray, float32
        The runs, one after the other.
    offsets : np.ndarray, shape (n_bins + 1,), int64
        Where each begins.
    """
    scale = 0.24 / (0.0207 * np.arange(n_bins) * bin_hz + 18.96) * bin_hz
    lengths = np.minimum(np.ceil(_REACH / scale).astype(np.int64), np.arange(n_bins)[::-1])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    distance = (np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths) + 1) * np.repeat(scale, lengths)
    return (np.exp(-3.51 * distance) - np.exp(-5.75 * distance)).astype(np.float32), offsets


@vectorised
def _magnitudes(spectrum: NDArray[np.complex64], out: NDArray[np.float32]) -> None:
    for i in range(out.shape[0]):
        frame, line = spectrum[i], out[i]
        for k in range(len(line)):
            line[k] = np.sqrt(frame[k].real * frame[k].real + frame[k].imag * frame[k].imag)


@vectorised
def _any_reaches(strip: NDArray[np.float32], level: float) -> bool:
    count = np.int32(0)
    for k in range(len(strip)):
        count += np.int32(strip[k] >= level)
    return bool(count > 0)


@vectorised
def _beating(
    lines: NDArray[np.float32], tops: NDArray[np.int64], weights: NDArray[np.float32], offsets: NDArray[np.int64]
) -> float:
    """Sum the roughness of all pairs of peaks; ``lines`` holds amplitudes at peaks and zero elsewhere."""
    total = 0.0
    for lower in tops:
        run = weights[offsets[lower] : offsets[lower + 1]]
        above = lines[lower + 1 : lower + 1 + len(run)]
        sum_above = np.float32(0)
        for d in range(len(run)):
            sum_above += above[d] * run[d]
        total += lines[lower] * sum_above
    return total


@compiled
def _roughness_of_frames(
    S: NDArray[np.float32], low: float, high: float, weights: NDArray[np.float32], offsets: NDArray[np.int64]
) -> NDArray[np.float64]:
    n_frames, n_bins = S.shape
    contrast = _CONTRAST * (high - low)
    level = low + contrast
    curve = np.zeros(n_frames)
    lines = np.zeros(n_bins, np.float32)
    found = np.empty(n_bins // 2 + 1, np.int64)
    for i in range(n_frames):
        end = n_bins
        while end > _STRIP and not _any_reaches(S[i, end - _STRIP : end], level):
            end -= _STRIP
        heard = S[i, : min(end + 1, n_bins)]  # one more bin, so that what lies past it changes no peak
        tops = found[: pick_peaks(heard, contrast, level, OPEN, OPEN, found)]
        for j in tops:
            lines[j] = S[i, j]
        curve[i] = _beating(lines, tops, weights, offsets)
        for j in tops:
            lines[j] = 0
    return curve


def roughness_curve(y: Samples, sr: int) -> NDArray[np.float64]:
    """Compute the roughness of 50 ms frames, half overlapping.

    Parameters
    ----------
    y : np.ndarray, shape (n_samples,), float32
    sr : int

    Returns
    -------
    np.ndarray, shape (n_frames,), float64
        In squared FFT magnitudes: it grows with the square of the level.
    """
    length = int(0.05 * sr)
    n_fft = power_of_two(length)
    starts = blocked_starts(len(y), length, 0.5 * (0.05 * sr))
    S = np.empty((len(starts), n_fft // 2 + 1), np.float32)
    for rows, spectrum in spectra(y, starts, hamming(length), n_fft):
        _magnitudes(spectrum, S[rows])
    low, high = float(S.min()), float(S.max())
    if low == high:
        return np.zeros(len(starts))
    return _roughness_of_frames(S, low, high, *_pair_weights(S.shape[1], sr / n_fft))
