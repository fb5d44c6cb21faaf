"""From the 50 features to what the classifier looks at: relative, symmetric and blind to the key.

Three changes, each because of how the feature is made rather than of what the table happens to reward:

- columns that are ratios by nature (energies, frequencies, times) are taken by their logarithm;
- roughness is a sum of products of two amplitudes, so it grows with the square of the level: it is divided by the
  squared RMS energy, which leaves the dissonance and removes the volume;
- the chroma's 12 columns name absolute pitch classes, which say nothing of the emotion: they are replaced by
  summaries that do not change when the music is transposed.

References
----------
Krumhansl, C. L. (1990), Cognitive Foundations of Musical Pitch, ch. 2 (key profiles).
Amiot, E. (2016), Music Through Fourier Space, ch. 1 (magnitudes of a pitch-class set's DFT).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.schema import FEATURE_NAMES

# Added before the logarithm, so that a zero (silence, no onset) stays within reach of the smallest real values:
# about half of the least value in the home table.
_LOG_FLOORS: Final[dict[str, float]] = {
    "_RMSenergy_Mean": 0.001,
    "_Fluctuation_Mean": 0.1,
    "_Tempo_Mean": 1.0,
    "_Roughness_Mean": 0.1,
    "_Zero-crossingrate_Mean": 1.0,
    "_AttackTime_Mean": 0.001,
    "_Rolloff_Mean": 1.0,
    "_Eventdensity_Mean": 0.05,
    "_Pulseclarity_Mean": 0.001,
    "_Spectralcentroid_Mean": 1.0,
    "_Spectralskewness_Mean": 0.05,
    "_Spectralkurtosis_Mean": 0.1,
    "_Spectralflatness_Mean": 0.001,
}
_LOG_COLUMNS: Final = np.array([FEATURE_NAMES.index(name) for name in _LOG_FLOORS])
_FLOORS: Final = np.array(list(_LOG_FLOORS.values()))
_CHROMA: Final = np.array([i for i, name in enumerate(FEATURE_NAMES) if name.startswith("_Chromagram")])
_OTHERS: Final = np.array([i for i, name in enumerate(FEATURE_NAMES) if not name.startswith("_Chromagram")])
_RMS: Final = FEATURE_NAMES.index("_RMSenergy_Mean")
_ROUGHNESS: Final = FEATURE_NAMES.index("_Roughness_Mean")

# Krumhansl and Kessler's probe-tone ratings for C major and C minor.
_MAJOR: Final = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
_MINOR: Final = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])

_CHROMA_INPUTS: Final = (
    *(f"chroma_dft_{k}" for k in range(7)),
    "key_major",
    "key_minor",
    "key_major_minus_minor",
    "chroma_entropy",
)
INPUT_NAMES: Final[tuple[str, ...]] = (*(FEATURE_NAMES[i].strip("_") for i in _OTHERS), *_CHROMA_INPUTS)

# Inputs whose meaning holds across kinds of music. In Turkish music the bright, dense clips are the happy ones and the
# angry ones are dark; in Western music the angry ones are the brightest. Brightness in all its forms, the fluctuation
# and the density of the chroma therefore say "which repertoire" as much as "which emotion". They, and the inputs that a
# source's bandwidth moves (flatness, spread: SPEC of the features, 16-bit rounding), are left out here.
_LOCAL_PREFIXES: Final = ("Fluctuation", "Zero-crossing", "Rolloff", "Brightness", "Spectral")
_DIATONICITY: Final = "chroma_dft_5"
PORTABLE: Final[NDArray[np.intp]] = np.array(
    [
        i
        for i, name in enumerate(INPUT_NAMES)
        if not name.startswith(_LOCAL_PREFIXES) and (name not in _CHROMA_INPUTS or name == _DIATONICITY)
    ]
)
# What of the rest shows that a track is unlike the training table in just these respects.
REPERTOIRE: Final[NDArray[np.intp]] = np.array([i for i, n in enumerate(INPUT_NAMES) if n.startswith(_LOCAL_PREFIXES)])


def derive_inputs(X: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the classifier's inputs; nothing here is learned from data.

    Parameters
    ----------
    X : np.ndarray, shape (n, 50), float64
        Features in ``FEATURE_NAMES`` order, finite.

    Returns
    -------
    np.ndarray, shape (n, len(INPUT_NAMES)), float64
        In ``INPUT_NAMES`` order, not yet scaled.
    """
    logged = np.array(X, dtype=np.float64)
    logged[:, _LOG_COLUMNS] = np.log(np.maximum(logged[:, _LOG_COLUMNS], 0.0) + _FLOORS)
    logged[:, _ROUGHNESS] -= 2 * logged[:, _RMS]
    return np.hstack([logged[:, _OTHERS], summarize_chroma(X[:, _CHROMA])])


def summarize_chroma(chroma: NDArray[np.float64]) -> NDArray[np.float64]:
    """Describe pitch-class profiles independently of the key.

    Parameters
    ----------
    chroma : np.ndarray, shape (n, 12), float64
        Pitch-class profiles from C to B (any start will do), in [0, 1].

    Returns
    -------
    np.ndarray, shape (n, 11), float64
        Magnitudes of the profile's DFT at 0 to 6 cycles per octave (5 is the diatonic one, 3 the augmented triad's),
        highest correlation with a major and a minor key profile, their difference, entropy in nats.
    """
    # No energy is below zero, but noise added to a profile (the robustness gate) is.
    chroma = np.maximum(chroma, 0.0)
    spectrum = np.abs(np.fft.rfft(chroma, axis=1))
    standardised = _standardise(chroma)
    major = (standardised @ _MAJOR_KEYS).max(axis=1)
    minor = (standardised @ _MINOR_KEYS).max(axis=1)
    share = chroma / (chroma.sum(axis=1, keepdims=True) + 1e-9)
    entropy = -(share * np.log(share + 1e-9)).sum(axis=1)
    return np.column_stack([spectrum, major, minor, major - minor, entropy])


def _standardise(profiles: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = profiles - profiles.mean(axis=1, keepdims=True)
    scaled: NDArray[np.float64] = centred / (np.linalg.norm(centred, axis=1, keepdims=True) + 1e-9)
    return scaled


_MAJOR_KEYS: Final = _standardise(np.array([np.roll(_MAJOR, k) for k in range(12)])).T
_MINOR_KEYS: Final = _standardise(np.array([np.roll(_MINOR, k) for k in range(12)])).T
