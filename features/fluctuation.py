"""Fluctuation strength: how strongly loudness moves in each Bark band.

Power spectra weighted by the outer ear [1]_, summed to Bark bands, spread by simultaneous masking [2]_, in decibels;
then the spectrum of each band's movement, weighted by the strength with which modulations are felt [3]_.

References
----------
.. [1] Terhardt (1979), Calculating virtual pitch, Hearing Research 1.
.. [2] Schroeder, Atal and Hall (1979), Optimizing digital speech coders by exploiting masking properties, JASA 66.
.. [3] Fastl (1982), Fluctuation strength and temporal masking patterns, Hearing Research 8; Pampalk, Rauber and Merkl
       (2002), Content-based organization and visualization of music archives, ACM Multimedia.
"""

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from features.compiled import vectorised
from features.frames import Samples, blocked_starts, hamming, power_of_two, spectra

_FRAME_RATE: Final = 80  # Hz
_HIGHEST_MODULATION: Final = 10.0  # Hz
_BARK_EDGES: Final = (
    *(100, 200, 300, 400, 510, 630, 770, 920, 1080, 1270, 1480, 1720, 2000, 2320, 2700, 3150, 3700, 4400, 5300, 6400),
    *(7700, 9500, 12000, 15500),
)


@lru_cache(maxsize=4)
def _ear(n_fft: int, sr: int) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float64]]:
    """Describe the outer ear and the cochlea for one transform length.

    Returns
    -------
    weights : np.ndarray, shape (n_fft // 2 + 1,), float32
        Power transmission of the outer ear.
    edges : np.ndarray, shape (n_bands + 1,), int64
        First bin of each band and the end of the last.
    mask : np.ndarray, shape (n_bands, n_bands), float64
        What power in band j adds to band i.
    """
    f = np.arange(n_fft // 2 + 1) * sr / n_fft
    kilohertz = f[1:] / 1000
    decibels = -3.64 * kilohertz**-0.8 + 6.5 * np.exp(-0.6 * (kilohertz - 3.3) ** 2) - 0.001 * kilohertz**4
    weights = np.concatenate([[0.0], 10 ** (decibels / 10)]).astype(np.float32)
    # The first edge above half the sampling rate still closes a band.
    n_bands = min(1 + sum(edge <= sr / 2 for edge in _BARK_EDGES), len(_BARK_EDGES))
    edges = np.concatenate([[0], np.searchsorted(f, _BARK_EDGES[:n_bands], side="right")])
    d = np.subtract.outer(np.arange(n_bands), np.arange(n_bands)) + 0.474
    return weights, edges, 10 ** ((15.81 + 7.5 * d - 17.5 * np.sqrt(1 + d**2)) / 10)


@vectorised
def _band_powers(
    spectrum: NDArray[np.complex64], weights: NDArray[np.float32], edges: NDArray[np.int64], out: NDArray[np.float64]
) -> None:
    for i in range(out.shape[0]):
        for band in range(out.shape[1]):
            total = np.float32(0)
            lines = spectrum[i, edges[band] : edges[band + 1]]
            weight = weights[edges[band] : edges[band + 1]]
            for k in range(len(lines)):
                total += (lines[k].real * lines[k].real + lines[k].imag * lines[k].imag) * weight[k]
            out[i, band] = total


def fluctuation(y: Samples, sr: int) -> float:
    """Give the mean weighted modulation of all bands from 0 to 10 Hz, in decibels per second.

    Parameters
    ----------
    y : np.ndarray, shape (n_samples,), float32
    sr : int
    """
    length = int(0.023 * sr)
    n_fft = power_of_two(length)
    starts = blocked_starts(len(y), length, sr / _FRAME_RATE)
    weights, edges, mask = _ear(n_fft, sr)
    levels = np.empty((len(starts), len(edges) - 1))
    for rows, spectrum in spectra(y, starts, hamming(length), n_fft):
        _band_powers(spectrum, weights, edges, levels[rows])
    levels = 10 * np.log10(levels @ mask.T + 1e-16)
    n_fft = power_of_two(max(len(levels), 8000))
    n_kept = int(np.ceil(_HIGHEST_MODULATION * n_fft / _FRAME_RATE)) + 1
    f = np.arange(n_kept) * _FRAME_RATE / n_fft
    seconds = (starts[-1] + length - 1 - starts[0]) / sr
    modulation = np.abs(fft.rfft(np.ascontiguousarray(levels.T), n_fft, axis=1)[:, :n_kept])
    felt = np.maximum(0, np.minimum(f / 4, 1 - 0.3 * (f - 4) / 6))
    return float((modulation @ felt).sum() / modulation.size / seconds)
