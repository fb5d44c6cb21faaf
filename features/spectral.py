"""Where the energy of the whole clip lies: rolloff, brightness, moments, flatness, entropy.

All are taken over the magnitudes of one spectrum of the whole clip (``ClipSpectrum``), not over averaged frames.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.compiled import compiled, vectorised
from features.spectrum import ClipSpectrum

_ROLLOFF_SHARE: Final = 0.85
_BRIGHT: Final = 1500.0  # Hz
_STRIP: Final = 128
# MIRtoolbox gives no centroid for spectra flatter than this.
_NOISE_ENTROPY: Final = 0.95


@dataclass(frozen=True, slots=True)
class SpectralShape:
    """Shape of a spectrum; frequencies in Hz, shares in [0, 1], NaN where silence leaves a value undefined.

    ``centroid`` is what MIRtoolbox gives, NaN for noise; ``any_centroid`` is the mean frequency all the same.
    """

    rolloff: float
    brightness: float
    centroid: float
    any_centroid: float
    spread: float
    skewness: float
    kurtosis: float
    flatness: float
    entropy: float


@vectorised
def _log(x: np.float32) -> np.float32:
    """Give the natural logarithm of x > 0 to 1e-7: unlike libm's it fills vector registers."""
    bits = np.float32(x).view(np.int32)
    exponent = (bits - np.int32(0x3F3504F3)) >> np.int32(23)  # of x over the square root of one half
    m = np.int32(bits - (exponent << np.int32(23))).view(np.float32) - np.float32(1)
    # log(1 + m) - m + m²/2 over m³, fitted by least squares for m in [-.293, .414]; a division would cost six times it.
    p = np.float32(-0.11616561) + m * np.float32(0.069711032)
    p = np.float32(-0.12407759) + m * (np.float32(0.11754949) + m * p)
    p = np.float32(-0.16668435) + m * (np.float32(0.14238296) + m * p)
    p = np.float32(-0.24999992) + m * (np.float32(0.20001185) + m * p)
    p = np.float32(0.33333326) + m * p
    z = m * m
    return np.float32(exponent) * np.float32(0.6931471805599453) + (m - np.float32(0.5) * z + m * z * p)


@vectorised
def _sums(S: NDArray[np.float32], strips: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum magnitudes times powers 0 to 4 of the bin's place in [0, 1], logarithms, and magnitudes times logarithms.

    ``strips`` receives the plain sum of every strip of bins.
    """
    sums = np.zeros(7)
    step = 1.0 / (len(S) - 1)
    for index in range(len(strips)):
        strip = S[index * _STRIP : (index + 1) * _STRIP]
        c0 = c1 = c2 = logs = weighted = np.float32(0)
        for j in range(len(strip)):
            value = strip[j]
            place = np.float32(j) * value
            log = _log(value)
            c0 += value
            c1 += place
            c2 += np.float32(j) * place
            logs += log
            weighted += log * value
        # Powers of (u + j * step), u being the strip's beginning; third and fourth powers of j * step are nothing.
        u, m0, m1, m2 = index * _STRIP * step, np.float64(c0), c1 * step, c2 * step * step
        strips[index] = m0
        sums[0] += m0
        sums[1] += u * m0 + m1
        sums[2] += u * u * m0 + 2 * u * m1 + m2
        sums[3] += u**3 * m0 + 3 * u**2 * m1 + 3 * u * m2
        sums[4] += u**4 * m0 + 4 * u**3 * m1 + 6 * u**2 * m2
        sums[5] += logs
        sums[6] += weighted
    return sums


@compiled
def _bin_reaching(S: NDArray[np.float32], strips: NDArray[np.float64], share: float) -> int:
    """Find the first bin up to which the magnitudes sum to ``share``."""
    total = 0.0
    for strip in range(len(strips)):
        if total + strips[strip] >= share:
            for k in range(strip * _STRIP, min((strip + 1) * _STRIP, len(S))):
                total += S[k]
                if total >= share:
                    return k
        else:
            total += strips[strip]
    return len(S) - 1


def spectral_shape(spectrum: ClipSpectrum) -> SpectralShape:
    """Describe the shape of a clip's spectrum.

    Parameters
    ----------
    spectrum : ClipSpectrum

    Returns
    -------
    SpectralShape
    """
    S, least = spectrum.S, spectrum.least
    n = len(S)
    strips = np.empty(-(-n // _STRIP))
    sums = _sums(S, strips)
    total = sums[0]
    if total == 0:
        return SpectralShape(0.0, *(float("nan"),) * 7, entropy=0.0)
    first_bright = int(np.floor(_BRIGHT / spectrum.bin_hz)) + 1
    whole_strips = first_bright // _STRIP
    dark = strips[:whole_strips].sum() + S[whole_strips * _STRIP : first_bright].sum(dtype=np.float64)
    # MIRtoolbox adds the least magnitude to every bin before it takes moments.
    m = sums[:5] + least * _place_sums(n)
    m1, m2, m3, m4 = m[1:] / m[0]
    variance = m2 - m1**2
    third = m3 - 3 * m1 * m2 + 2 * m1**3
    fourth = m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4
    nyquist = spectrum.sr / 2
    entropy = float((np.log(total) - sums[6] / total) / np.log(n))
    centroid = float(m1 * nyquist)
    return SpectralShape(
        rolloff=_bin_reaching(S, strips, _ROLLOFF_SHARE * total) * spectrum.bin_hz,
        brightness=float(1 - dark / total),
        centroid=float("nan") if entropy > _NOISE_ENTROPY else centroid,
        any_centroid=centroid,
        spread=float(np.sqrt(variance) * nyquist),
        skewness=float(third / variance**1.5),
        kurtosis=float(fourth / variance**2),
        flatness=float(np.exp(sums[5] / n) * n / total) if least > 0 else 0.0,
        entropy=entropy,
    )


def _place_sums(n: int) -> NDArray[np.float64]:
    """Sum powers 0 to 4 of 0, 1/(n-1), ..., 1 (Faulhaber's formulas)."""
    h = n - 1
    return np.array(
        [
            n,
            n / 2,
            n * (2 * h + 1) / (6 * h),
            n * n / (4 * h),
            n * (2 * h + 1) * (3 * h * h + 3 * h - 1) / (30 * h**3),
        ]
    )
