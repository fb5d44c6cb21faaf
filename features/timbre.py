"""Mel-frequency cepstral coefficients of the whole clip.

References
----------
.. [1] Davis and Mermelstein (1980), Comparison of parametric representations for monosyllabic word recognition, IEEE
       Transactions on Acoustics, Speech, and Signal Processing 28.
.. [2] Slaney (1998), Auditory Toolbox, version 2.
"""

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.compiled import vectorised
from features.spectrum import ClipSpectrum

_N_BANDS: Final = 40
N_COEFFICIENTS: Final = 13


@lru_cache(maxsize=1)
def _band_edges() -> NDArray[np.float64]:
    """Give the 42 edges (Hz) of 40 half-overlapping triangles: thirteen evenly spaced, then at a constant ratio."""
    even = 133.3333 + 66.66666666 * np.arange(13)
    return np.concatenate([even, even[-1] * 1.0711703 ** np.arange(1, 30)])


@lru_cache(maxsize=1)
def _cosines() -> NDArray[np.float64]:
    """Give the (13, 40) cosine transform, coefficient 0 left out."""
    r = np.arange(1, N_COEFFICIENTS + 1)[:, None]
    return np.asarray(np.sqrt(2 / _N_BANDS) * np.cos(r * (2 * np.arange(_N_BANDS) + 1) * np.pi / (2 * _N_BANDS)))


@vectorised
def _bands(S: NDArray[np.float32], edges: NDArray[np.float64], bin_hz: float) -> NDArray[np.float64]:
    """Sum magnitudes under triangles of unit area."""
    bands = np.zeros(len(edges) - 2)
    for b in range(len(edges) - 1):
        lower, upper = edges[b], edges[b + 1]
        first = min(int(np.floor(lower / bin_hz)) + 1, len(S))
        end = min(int(np.floor(upper / bin_hz)) + 1, len(S))
        rising = 0.0
        falling = 0.0
        lines = S[first:end]
        for j in range(len(lines)):
            place = ((first + j) * bin_hz - lower) / (upper - lower)
            rising += lines[j] * place
            falling += lines[j] * (1 - place)
        if b < len(bands):
            bands[b] += rising * 2 / (edges[b + 2] - lower)
        if b > 0:
            bands[b - 1] += falling * 2 / (upper - edges[b - 1])
    return bands


def mfcc(spectrum: ClipSpectrum) -> NDArray[np.float64]:
    """Compute coefficients 1 to 13 from the clip's magnitudes.

    Returns
    -------
    np.ndarray, shape (13,), float64
        Cosine transform of the bands' decadic logarithms.
    """
    bands = _bands(spectrum.S, _band_edges(), spectrum.bin_hz)
    return np.asarray(_cosines() @ np.log10(bands + 2e-16))
