"""From samples or a file to the 50 named numbers."""

import math
from os import PathLike
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from features.audio import Audio, AudioLimits, load_window
from features.dynamics import low_energy, rms_energy, zero_crossing_rate
from features.errors import AudioTooShortError
from features.fluctuation import fluctuation
from features.frames import Samples
from features.onsets import attacks, event_density, onset_curves, pulse_clarity
from features.roughness import roughness_curve
from features.samples import SAMPLE_RATE, prepare
from features.schema import COLUMNS, FEATURE_NAMES, FeatureVector
from features.spectral import spectral_shape
from features.spectrum import clip_spectrum
from features.statistics import mean_std_slope, period
from features.tempo import tempo
from features.timbre import mfcc
from features.tonal import clip_chroma, harmonic_change

# The harmonic change curve has its first two values, which a period needs, after .743 + 2 x .0743 s.
MIN_DURATION_SECONDS: Final = 1.0


def extract(y: ArrayLike, sr: int, *, native_rate: bool = False) -> FeatureVector:
    """Compute the 50 features of a waveform.

    Parameters
    ----------
    y : array_like, shape (n_samples,) or (n_samples, n_channels)
        Waveform, nominally in [-1, 1]; see ``features.samples.prepare`` for what is done to it first.
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
    return _compute(*prepare(y, sr, native_rate=native_rate))


def _compute(y: Samples, sr: int) -> FeatureVector:
    """Compute the 50 columns of prepared samples, and what stands in for those that MIRtoolbox leaves undefined."""
    if len(y) < MIN_DURATION_SECONDS * sr:
        raise AudioTooShortError(f"expected at least {MIN_DURATION_SECONDS:g} s of audio, got {len(y) / sr:.3f} s")
    # Read-only or strided samples would have every kernel compiled anew.
    y = np.require(y, np.float32, ["C", "W"])
    spectrum = clip_spectrum(y, sr)
    shape = spectral_shape(spectrum)
    onsets, attack_onsets = onset_curves(y, sr)
    attack = attacks(y, sr, attack_onsets)
    attack_mean, _, attack_slope = mean_std_slope(attack.seconds)
    roughness_mean, _, roughness_slope = mean_std_slope(roughness_curve(y, sr))
    change, spacing = harmonic_change(y, sr)
    values = np.array(
        [
            rms_energy(y),
            low_energy(y, sr),
            fluctuation(y, sr),
            tempo(y, sr),
            *mfcc(spectrum),
            roughness_mean,
            roughness_slope,
            zero_crossing_rate(y, sr),
            attack_mean if attack.complete else math.nan,
            attack_slope if attack.complete else math.nan,
            shape.rolloff,
            event_density(onsets),
            pulse_clarity(onsets),
            shape.brightness,
            shape.centroid,
            shape.spread,
            shape.skewness,
            shape.kurtosis,
            shape.flatness,
            shape.entropy,
            *clip_chroma(y, spectrum),
            *mean_std_slope(change),
            *period(change, spacing),
        ]
    )
    better = {
        "_AttackTime_Mean": attack_mean,
        "_AttackTime_Slope": attack_slope,
        "_Spectralcentroid_Mean": shape.any_centroid,
    }
    finite = values.copy()
    for i in np.flatnonzero(~np.isfinite(values)):
        substitute = better.get(FEATURE_NAMES[i], math.nan)
        finite[i] = substitute if math.isfinite(substitute) else COLUMNS[i].neutral
    return FeatureVector(values, finite)


def extract_window(audio: Audio) -> FeatureVector:
    """Compute the 50 features of a window that ``load_window`` gave.

    Its samples are prepared already; asking again, as ``extract`` must, takes 4 % of the whole computation.

    Parameters
    ----------
    audio : Audio
        As decoded.

    Returns
    -------
    FeatureVector
        As ``extract`` gives it of ``audio.y``, and it raises the same.
    """
    return _compute(audio.y, audio.sr)


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
    return extract_window(load_window(path, start, duration, native_rate=native_rate, limits=limits))


def warm_up() -> None:
    """Load and compile everything ``extract`` needs, so that the first track does not pay for it."""
    # Long enough for the transform of long signals.
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 3 * SAMPLE_RATE)
    extract(noise, SAMPLE_RATE)
