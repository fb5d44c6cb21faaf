"""From samples or a file to the 50 named numbers."""

import math
from os import PathLike
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from features import reference
from features.audio import AudioLimits, load_window, prepare
from features.errors import AudioTooShortError
from features.schema import COLUMNS, FEATURE_NAMES, FeatureVector

# The harmonic change curve has its first two values, which a period needs, after .743 + 2 x .0743 s.
MIN_DURATION_SECONDS: Final = 1.0


def extract(y: ArrayLike, sr: int, *, native_rate: bool = False) -> FeatureVector:
    """Compute the 50 features of a waveform.

    Parameters
    ----------
    y : array_like, shape (n_samples,) or (n_samples, n_channels)
        Waveform, nominally in [-1, 1]; see ``features.audio.prepare`` for what is done to it first.
    sr : int
        Sampling rate in Hz.
    native_rate : bool
        Compute at ``sr`` instead of 44.1 kHz, as MIRtoolbox does; the model expects 44.1 kHz.

    Returns
    -------
    FeatureVector
        In ``FEATURE_NAMES`` order. Silence gives a vector too.

    Raises
    ------
    AudioTooShortError
        If there is less than a second of audio.
    """
    mono, rate = prepare(y, sr, native_rate=native_rate)
    if len(mono) < MIN_DURATION_SECONDS * rate:
        raise AudioTooShortError(f"expected at least {MIN_DURATION_SECONDS:g} s of audio, got {len(mono) / rate:.3f} s")
    raw = reference.compute(mono.astype(np.float64), rate)
    values = np.array([raw[name] for name in FEATURE_NAMES])
    finite = np.array(
        [value if math.isfinite(value) else column.neutral for value, column in zip(values, COLUMNS, strict=True)]
    )
    return FeatureVector(values, finite)


def extract_file(
    path: str | PathLike[str],
    start: float = 0.0,
    duration: float = 30.0,
    *,
    native_rate: bool = False,
    limits: AudioLimits | None = None,
) -> FeatureVector:
    """Compute the 50 features of a window of an audio file.

    Parameters
    ----------
    path : path
        Audio file.
    start, duration : float
        Window in seconds.
    native_rate : bool
        As for ``extract``.
    limits : AudioLimits, optional
        What to accept; the serving path's by default.

    Returns
    -------
    FeatureVector

    Raises
    ------
    FeatureError
        If the file cannot be decoded or heard: see ``features.audio.load_window``.
    """
    audio = load_window(path, start, duration, native_rate=native_rate, limits=limits)
    return extract(audio.y, audio.sr, native_rate=native_rate)


def warm_up() -> None:
    """Load and compile everything ``extract`` needs, so that the first track does not pay for it."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 2 * 44_100)
    extract(noise, 44_100)
