"""What the dataset's authors analysed, from any samples: mono, 44.1 kHz, on the 16-bit grid.

The columns that look at the whole spectrum hear the rounding of 16-bit samples wherever the music is silent (above an
MP3's low-pass, for example), so every decoder's output is brought to the same grid before anything is computed.
"""

import math
from typing import Any, Final

import numpy as np
import soxr
from numpy.typing import ArrayLike, NDArray

from features.compiled import vectorised
from features.errors import AudioFormatError, AudioTooShortError

SAMPLE_RATE: Final = 44_100
MIN_SAMPLE_RATE: Final = 8_000
MAX_SAMPLE_RATE: Final = 192_000
MAX_CHANNELS: Final = 8

# +40 dB over full scale. Decoders overshoot by a few dB and are clipped; integers written as floats must be refused.
_MAX_PEAK: Final = 100.0


def prepare(y: ArrayLike, sr: int, *, native_rate: bool = False) -> tuple[NDArray[np.float32], int]:
    """Bring samples to what the dataset's authors analysed: mono, 44.1 kHz, 16 bits.

    In this order: resample with soxr HQ, clip to [-1, 1), round to multiples of 1/32768, average the channels. The mean
    of two 16-bit channels lies on multiples of 1/65536 and is not rounded again, as MIRtoolbox does not; mono samples
    already on that grid are left alone, so preparing twice changes nothing. More than two channels are averaged first.

    Parameters
    ----------
    y : array_like, shape (n_samples,) or (n_samples, n_channels), floating or int16
        Finite samples, nominally in [-1, 1]; int16 is divided by 32768.
    sr : int
        Sampling rate, 8 000 to 192 000 Hz.
    native_rate : bool
        Keep the sampling rate: for parity with MIRtoolbox, which does not resample.

    Returns
    -------
    y : np.ndarray, shape (n_samples',), float32
        Mono samples in [-1, 1).
    sr : int
        44 100, or the rate given with ``native_rate``.

    Raises
    ------
    AudioFormatError
        If the shape, type, rate or channel count is none of the above, or samples are NaN, infinite or beyond ±100.
    AudioTooShortError
        If there are no samples.
    """
    samples = _checked_shape(y, sr)
    resampled = sr != SAMPLE_RATE and not native_rate
    if samples.dtype == np.int16:
        if samples.shape[1] <= 2 and not resampled:
            return _mean_of_integers(samples.ravel(), samples.shape[1]), sr
        samples = samples.astype(np.float32) / np.float32(32768)
    samples = at_most_stereo(_checked_values(samples))
    if resampled:
        samples, sr = soxr.resample(samples, sr, SAMPLE_RATE, quality="HQ"), SAMPLE_RATE
    elif np.ndim(y) == 1 and _is_prepared(samples[:, 0]):
        return np.ascontiguousarray(samples[:, 0]), sr
    return _mean_on_grid(samples.ravel(), samples.shape[1]), sr


def check_format(sr: int, channels: int) -> None:
    """Refuse sampling rates and channel counts that cannot be heard.

    Raises
    ------
    AudioFormatError
        Outside 8 000 to 192 000 Hz or 1 to 8 channels.
    """
    if not MIN_SAMPLE_RATE <= sr <= MAX_SAMPLE_RATE:
        raise AudioFormatError(f"expected a sampling rate of {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz, got {sr}")
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioFormatError(f"expected 1 to {MAX_CHANNELS} channels, got {channels}")


def at_most_stereo(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average more than two channels, so that surround sound costs no more memory than mono.

    Parameters
    ----------
    samples : np.ndarray, shape (n, n_channels), float32

    Returns
    -------
    np.ndarray, shape (n, 1 or 2), float32
    """
    return samples if samples.shape[1] <= 2 else samples.mean(axis=1, keepdims=True)


def _checked_shape(y: ArrayLike, sr: int) -> NDArray[Any]:
    """Give samples as (n, n_channels), or raise as `prepare` says."""
    samples: NDArray[Any] = np.asarray(y)
    if samples.ndim not in (1, 2):
        raise AudioFormatError(f"expected samples of shape (n,) or (n, channels), got {samples.shape}")
    check_format(sr, 1 if samples.ndim == 1 else samples.shape[1])
    if len(samples) == 0:
        raise AudioTooShortError("expected samples, got none")
    if samples.dtype != np.int16 and samples.dtype.kind != "f":
        raise AudioFormatError(f"expected floating or int16 samples, got {samples.dtype}")
    return samples.reshape(len(samples), -1)


def _checked_values(samples: NDArray[Any]) -> NDArray[np.float32]:
    peak = max(-float(samples.min()), float(samples.max()))
    if not math.isfinite(peak):
        raise AudioFormatError("expected finite samples, got NaN or infinity")
    if peak > _MAX_PEAK:
        raise AudioFormatError(f"expected samples in [-1, 1], got a peak of {peak:g}")
    return samples.astype(np.float32, copy=False)


def _is_prepared(y: NDArray[np.float32]) -> bool:
    steps = y * np.float32(65536)
    return bool(y.min() >= -1 and y.max() < 1 and np.array_equal(steps, np.rint(steps)))


@vectorised
def _mean_of_integers(interleaved: NDArray[np.int16], n_channels: int) -> NDArray[np.float32]:
    """Average 16-bit samples of one or two channels and scale them to [-1, 1); exact in single precision."""
    y = np.empty(len(interleaved) // n_channels, np.float32)
    if n_channels == 1:
        for i in range(len(y)):
            y[i] = np.float32(interleaved[i]) * np.float32(1 / 32768)
    else:
        for i in range(len(y)):
            both = np.int32(interleaved[2 * i]) + np.int32(interleaved[2 * i + 1])
            y[i] = np.float32(np.int32(both)) * np.float32(1 / 65536)
    return y


@vectorised
def _in_steps(sample: np.float32) -> np.float32:
    """Round a sample to whole steps of 16 bits, clipped to full scale."""
    return min(max(np.rint(sample * np.float32(32768)), np.float32(-32768)), np.float32(32767))


@vectorised
def _mean_on_grid(interleaved: NDArray[np.float32], n_channels: int) -> NDArray[np.float32]:
    """Round samples of one or two channels to the 16-bit grid and average them."""
    y = np.empty(len(interleaved) // n_channels, np.float32)
    if n_channels == 1:
        for i in range(len(y)):
            y[i] = _in_steps(interleaved[i]) * np.float32(1 / 32768)
    else:
        for i in range(len(y)):
            y[i] = (_in_steps(interleaved[2 * i]) + _in_steps(interleaved[2 * i + 1])) * np.float32(1 / 65536)
    return y
