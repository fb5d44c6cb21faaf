"""Peaks that stand out: MIRtoolbox's contrast rule, used for tempo, onsets, attacks and roughness alike."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from features.compiled import compiled

OPEN: Final = -np.inf  # a peak may lie at this end of the curve
CLOSED: Final = np.inf


@compiled
def pick_peaks(
    curve: NDArray[Any], contrast: float, level: float, begin: float, end: float, found: NDArray[np.int64]
) -> int:
    """Find the peaks that rise by ``contrast`` above the lowest value on either side.

    Scanning from the left, a candidate is held until the curve has fallen by ``contrast`` below it; a higher candidate
    met before replaces it.

    Parameters
    ----------
    curve : np.ndarray, shape (n,), float32 or float64
    contrast, level : float
        In the curve's own units; candidates below ``level`` are passed over.
    begin, end : float
        ``OPEN`` or ``CLOSED``: what is taken to lie before and after the curve.
    found : np.ndarray, shape (at least n // 2 + 1,), int64
        Receives the peaks' indices.

    Returns
    -------
    int
        How many were found.
    """
    n = len(curve)
    count = 0
    current = -1
    scanned = 0
    top = 0.0
    before = begin
    lowest = np.inf
    for j in range(n):
        value = curve[j]
        if value < level:
            continue
        if not value > (begin if j == 0 else curve[j - 1]) or value < (end if j == n - 1 else curve[j + 1]):
            continue
        if current < 0:
            if begin == CLOSED:
                for i in range(j):
                    before = min(before, curve[i])
            current, top, scanned = j, value, j
            continue
        for i in range(scanned, j):
            lowest = min(lowest, curve[i])
        scanned = j
        if top - lowest < contrast:
            before = min(before, lowest)
            if value > top:
                current, top, lowest = j, value, np.inf
        else:
            if top - before >= contrast:
                found[count] = current
                count += 1
                before = lowest
            else:
                before = min(before, lowest)
            current, top, lowest = j, value, np.inf
    if current >= 0 and top - before >= contrast:
        after = end
        if end == CLOSED:
            for i in range(current + 1, n):
                after = min(after, curve[i])
        if top - after >= contrast:
            found[count] = current
            count += 1
    return count


def peaks(
    curve: NDArray[np.float64], contrast: float, *, level: float = 0.0, begin: float = OPEN, end: float = OPEN
) -> NDArray[np.int64]:
    """Find peaks of a curve, ``contrast`` and ``level`` being shares of its range.

    Returns
    -------
    np.ndarray, shape (n_peaks,), int64
        Indices, rising; none for a constant curve.
    """
    low, high = float(curve.min()), float(curve.max())
    if low == high:
        return np.zeros(0, np.int64)
    found = np.empty(len(curve) // 2 + 1, np.int64)
    floor = low + max(contrast, level) * (high - low)
    return found[: pick_peaks(curve, contrast * (high - low), floor, begin, end, found)]


def valleys(curve: NDArray[np.float64], contrast: float, *, level: float = 1.0, end: float = OPEN) -> NDArray[np.int64]:
    """Find valleys that lie below ``level`` of the curve's range; otherwise as ``peaks``."""
    return peaks(-curve, contrast, level=1 - level, end=end)
