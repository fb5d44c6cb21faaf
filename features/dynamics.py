"""Loudness over the whole clip and in frames: energy, low energy, zero crossings."""

import numpy as np
from numpy.typing import NDArray

from features.compiled import vectorised
from features.frames import Samples, Starts, blocked_starts


@vectorised
def _energies(y: Samples, starts: Starts, length: int) -> NDArray[np.float64]:
    energies = np.empty(len(starts))
    for i in range(len(starts)):
        total = 0.0
        frame = y[starts[i] : starts[i] + length]
        for j in range(len(frame)):
            total += np.float64(frame[j]) * np.float64(frame[j])
        energies[i] = total
    return energies


@vectorised
def _sign_changes(y: Samples) -> int:
    count = 0
    earlier, later = y[:-1], y[1:]
    for i in range(len(later)):
        count += later[i] * earlier[i] < 0
    return count


def rms_energy(y: Samples) -> float:
    """Give the root mean square of the samples, divided by n - 1 as MIRtoolbox does."""
    return float(np.sqrt(_energies(y, np.zeros(1, np.int64), len(y))[0] / (len(y) - 1)))


def low_energy(y: Samples, sr: int) -> float:
    """Give the share of 50 ms frames, half overlapping, that are quieter than the frames' mean.

    Frames that equal the mean up to rounding do not count.
    """
    length = int(0.05 * sr)
    rms = np.sqrt(_energies(y, blocked_starts(len(y), length, 0.5 * (0.05 * sr)), length))
    return float(np.mean(rms < rms.mean() * (1 - 1e-12)))


def zero_crossing_rate(y: Samples, sr: int) -> float:
    """Give half the sign changes per second; passing through an exact zero does not count."""
    return _sign_changes(y) / len(y) * sr / 2
