"""The spectrum of the whole clip, computed once for everything that looks at it.

A single-precision transform of music is not enough as it stands: bass a million times stronger than the least bin
leaves rounding noise there, and MIRtoolbox adds the least magnitude to all others before it takes moments. Two things
make it enough. The windowed clip is differenced first (in double precision), which takes most of the bass away, and
each bin is divided by what differencing did to it. And the few bins that could be the least are summed again in double
precision.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from features.compiled import vectorised
from features.frames import Samples, power_of_two
from features.transform import rfft

_STRIP: Final = 64
# Rounding noise of the transform in units of its root mean square, with a margin of several deviations.
_NOISE: Final = 1e-6
_MOST_CANDIDATES: Final = 48


@dataclass(frozen=True, slots=True, eq=False)
class ClipSpectrum:
    """Magnitudes of a Hamming-windowed clip, zero-padded to a power of two.

    Parameters
    ----------
    S : np.ndarray, shape (n_fft // 2 + 1,), float32
        Magnitudes.
    least : float
        The least of them in double precision.
    differenced : np.ndarray, shape (n_fft // 2 + 1,), complex64
        Spectrum of the differenced clip.
    n_samples, n_fft : int
        Length of the clip and of the transform.
    sr : int
        Sampling rate in Hz; bin k lies at k * sr / n_fft.
    """

    S: NDArray[np.float32]
    least: float
    differenced: NDArray[np.complex64]
    n_samples: int
    n_fft: int
    sr: int

    @property
    def bin_hz(self) -> float:
        """Distance of two bins in Hz."""
        return self.sr / self.n_fft


@lru_cache(maxsize=2)
def integrator(n_fft: int) -> NDArray[np.float32]:
    """Tabulate by what each bin of a differenced signal is multiplied to undo it; bin 0 is left to the caller."""
    half = 2 * np.sin(np.pi * np.arange(1, n_fft // 2 + 1) / n_fft)
    return np.concatenate([[0.0], 1 / half]).astype(np.float32)


@vectorised
def _difference_windowed(y: Samples, out: Samples) -> tuple[float, float]:
    """Write the circular first difference of the Hamming-windowed signal.

    Returns
    -------
    total, energy : float
        Sum of the windowed signal (its bin 0) and sum of squares of its difference.
    """
    n = len(y)
    n_fft = len(out)
    turn = 2 * np.pi / (n - 1)
    cosines = np.cos(turn * np.arange(_STRIP))
    sines = np.sin(turn * np.arange(_STRIP))
    strip = np.empty(_STRIP + 1)
    total = 0.0
    energy = 0.0
    previous = 0.0
    for begin in range(0, n, _STRIP):
        c, s = np.cos(turn * begin), np.sin(turn * begin)
        length = min(_STRIP, n - begin)
        samples, steps = y[begin : begin + length], out[begin : begin + length]
        strip[0] = previous
        windowed = strip[1:]
        for j in range(length):
            windowed[j] = samples[j] * (0.54 - 0.46 * (c * cosines[j] - s * sines[j]))
        for j in range(length):
            step = windowed[j] - strip[j]
            steps[j] = step
            total += windowed[j]
            energy += step * step
        previous = strip[length]
    out[n:] = 0
    out[n % n_fft] -= np.float32(previous)
    return total, energy


@vectorised
def _magnitudes(spectrum: NDArray[np.complex64], integrate: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    for k in range(len(out)):
        c = spectrum[k]
        out[k] = np.sqrt(c.real * c.real + c.imag * c.imag) * integrate[k]


@vectorised
def _exact_magnitude(y: Samples, k: int, n_fft: int) -> float:
    """Sum one bin of the windowed signal's spectrum in double precision."""
    n = len(y)
    turn = 2 * np.pi / (n - 1)
    angle = 2 * np.pi / n_fft
    index = np.arange(_STRIP)
    window_c, window_s = np.cos(turn * index), np.sin(turn * index)
    line_c, line_s = np.cos(angle * k * index), np.sin(angle * k * index)
    real = 0.0
    imaginary = 0.0
    for begin in range(0, n, _STRIP):
        c, s = np.cos(turn * begin), np.sin(turn * begin)
        strip_c = 0.0
        strip_s = 0.0
        samples = y[begin : min(begin + _STRIP, n)]
        for j in range(len(samples)):
            value = samples[j] * (0.54 - 0.46 * (c * window_c[j] - s * window_s[j]))
            strip_c += value * line_c[j]
            strip_s += value * line_s[j]
        phase = angle * (k * begin % n_fft)
        c, s = np.cos(phase), np.sin(phase)
        real += c * strip_c - s * strip_s
        imaginary += s * strip_c + c * strip_s
    return float(np.sqrt(real * real + imaginary * imaginary))


def _least_magnitude(
    y: Samples, magnitudes: NDArray[np.float32], integrate: NDArray[np.float32], energy: float
) -> float:
    n_fft = 2 * (len(magnitudes) - 1)
    k = int(magnitudes.argmin())
    noise = _NOISE * np.sqrt(energy) * float(integrate[max(k, 1)])
    limit = magnitudes[k] + noise
    candidates = np.flatnonzero(magnitudes <= limit)
    if len(candidates) <= _MOST_CANDIDATES:
        return float(min(_exact_magnitude(y, k, n_fft) for k in candidates.tolist()))
    # Synthetic sound without noise has thousands of empty bins: only a double-precision transform can rank them.
    n = len(y)
    window = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(n) / (n - 1))
    return float(np.abs(fft.rfft(y * window, n_fft)).min())


def clip_spectrum(y: Samples, sr: int) -> ClipSpectrum:
    """Transform a whole clip.

    Parameters
    ----------
    y : np.ndarray, shape (n_samples,), float32
    sr : int

    Returns
    -------
    ClipSpectrum
    """
    n_fft = power_of_two(len(y))
    differenced = np.empty(n_fft, np.float32)
    total, energy = _difference_windowed(y, differenced)
    spectrum = rfft(differenced)
    integrate = integrator(n_fft)
    S = np.empty(n_fft // 2 + 1, np.float32)
    _magnitudes(spectrum, integrate, S)
    S[0] = abs(total)
    least = _least_magnitude(y, S, integrate, energy) if energy else 0.0
    return ClipSpectrum(S, least, spectrum, len(y), n_fft, sr)
