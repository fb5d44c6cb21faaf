"""Samples as the dataset's authors had them: mono, 44.1 kHz, on the 16-bit grid.

The spectral columns see the rounding noise of 16-bit samples wherever the music has no energy, so every channel is
rounded as a 16-bit file would hold it, and only then the channels are averaged: rounding the average instead moves
flatness of stereo music by up to a half.
"""

from os import PathLike
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

SAMPLE_RATE: Final = 44_100
_FULL_SCALE: Final = 32_768


def prepare(y: ArrayLike, sr: int, *, native_rate: bool = False) -> tuple[NDArray[np.float32], int]:
    """Bring samples to mono at 44.1 kHz on the 16-bit grid; what is there already is left as it is.

    Parameters
    ----------
    y : array_like, shape (n_samples,) or (n_samples, n_channels)
        Waveform, nominally in [-1, 1].
    sr : int
        Its sampling rate in Hz.
    native_rate : bool
        Keep the rate.

    Returns
    -------
    y : np.ndarray, shape (n_samples,), float32
        Mean of the channels in [-1, 1), each channel a multiple of 1/32768.
    sr : int
        44100, or the given rate.
    """
    channels = np.asarray(y, dtype=np.float32)
    if not native_rate and sr != SAMPLE_RATE:
        import soxr  # only here: most audio is at 44.1 kHz already

        channels = soxr.resample(channels, sr, SAMPLE_RATE, quality="HQ")
        sr = SAMPLE_RATE
    if channels.ndim == 1:
        # A mean of 16-bit channels lies between two steps: it has been prepared before.
        halves = channels * (2 * _FULL_SCALE)
        return (channels if (halves == np.rint(halves)).all() else _to_16_bits(channels)), sr
    mono: NDArray[np.float32] = _to_16_bits(channels).mean(axis=1, dtype=np.float32)
    return mono, sr


def _to_16_bits(y: NDArray[np.float32]) -> NDArray[np.float32]:
    steps: NDArray[np.float32] = np.clip(np.rint(y * np.float32(_FULL_SCALE)), -_FULL_SCALE, _FULL_SCALE - 1)
    return steps * np.float32(1 / _FULL_SCALE)


def load_window(
    path: str | PathLike[str], start: float = 0.0, duration: float = 30.0
) -> tuple[NDArray[np.float32], int]:
    """Decode a window of a file.

    Returns
    -------
    y : np.ndarray, shape (n_samples, n_channels), float32
    sr : int
        Sampling rate in Hz.
    """
    import soundfile

    with soundfile.SoundFile(path) as file:
        file.seek(min(round(start * file.samplerate), file.frames))
        samples: NDArray[Any] = file.read(round(duration * file.samplerate), dtype="float32", always_2d=True)
        return samples, int(file.samplerate)
