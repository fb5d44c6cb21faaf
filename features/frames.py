"""Frames, windows and short spectra, placed and rounded as MIRtoolbox does.

Lengths and hops are products of seconds and sampling rate in float64 and stay fractional; a frame begins at the whole
sample below. The order of those products matters: ``0.02 * (0.03 * sr)`` is not ``0.0006 * sr`` in floating point, and
the difference moves every attack time.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from features.compiled import vectorised

Samples = NDArray[np.float32]
Starts = NDArray[np.int64]

# MIRtoolbox's memory limit. Frames that would need more are cut block by block, and rounding restarts in each.
BLOCK_SAMPLES: Final = 5_000_000
# Samples per batch of frames: input and output of its transforms stay in a core's second-level cache.
_BATCH_SAMPLES: Final = 1 << 17


def power_of_two(n: int) -> int:
    """Give the smallest power of two that is at least ``n``."""
    return 1 << (n - 1).bit_length()


@lru_cache(maxsize=16)
def hamming(n: int) -> Samples:
    """Give the symmetric Hamming window."""
    return (0.54 - 0.46 * np.cos(2 * np.pi * np.arange(n) / (n - 1))).astype(np.float32)


def frame_starts(n_samples: int, length: int, hop: float) -> Starts:
    """Place frames from sample 0 on; the tail is dropped.

    Parameters
    ----------
    n_samples, length : int
        Length of the signal and of a frame in samples.
    hop : float
        Distance of frames in samples, possibly fractional.

    Returns
    -------
    np.ndarray, shape (n_frames,), int64
        First sample of every frame; a single 0 where the signal is shorter than a frame.
    """
    if n_samples < length:
        return np.zeros(1, np.int64)
    starts: Starts = np.floor(np.arange(int((n_samples - length) / hop) + 1) * hop).astype(np.int64)
    return starts


def blocks(n_samples: int, length: int, hop: float, *, overlap: int = 0) -> list[tuple[int, int]]:
    """Cut a signal into the pieces that MIRtoolbox would frame one after the other.

    Parameters
    ----------
    n_samples, length, hop
        As for ``frame_starts``.
    overlap : int
        Frames that neighbouring blocks share.

    Returns
    -------
    list of (int, int)
        First sample and end of every block. A block reaches one sample past its last frame, except the last.
    """
    starts = frame_starts(n_samples, length, hop)
    if (length - 1) * len(starts) <= BLOCK_SAMPLES:
        return [(0, n_samples)]
    size = -(-BLOCK_SAMPLES // (length - 1))
    count = -(-(len(starts) - size) // (size - overlap)) + 1
    pieces = []
    for first in range(0, count * (size - overlap), size - overlap):
        last = first + size - 1
        end = starts[last] + length + 1 if last < len(starts) - 1 else starts[-1] + length
        pieces.append((int(starts[first]), int(end)))
    return pieces


def blocked_starts(n_samples: int, length: int, hop: float) -> Starts:
    """Place frames block by block; see ``frame_starts`` and ``blocks``."""
    pieces = blocks(n_samples, length, hop)
    return np.concatenate([begin + frame_starts(end - begin, length, hop) for begin, end in pieces])


def frame_times(starts: Starts, length: int, sr: int) -> NDArray[np.float64]:
    """Give the middle of frames in seconds, rounded as MIRtoolbox rounds it: ties between two grids depend on it."""
    times: NDArray[np.float64] = (starts / sr + (starts + length - 1) / sr) / 2
    return times


@vectorised
def _cut_frames(y: Samples, starts: Starts, window: Samples, frames: NDArray[np.float32]) -> None:
    """Write windowed frames into rows; what lies past the window is left alone."""
    for i in range(len(starts)):
        frame, row = y[starts[i] : starts[i] + len(window)], frames[i]
        for j in range(len(window)):
            row[j] = frame[j] * window[j]


def spectra(y: Samples, starts: Starts, window: Samples, n_fft: int) -> Iterator[tuple[slice, NDArray[np.complex64]]]:
    """Yield the spectra of windowed frames, batch by batch.

    Parameters
    ----------
    y : np.ndarray, shape (n_samples,), float32
    starts : np.ndarray, shape (n_frames,), int64
    window : np.ndarray, shape (length,), float32
    n_fft : int
        Length of the zero-padded transform, at least ``length``.

    Yields
    ------
    rows : slice
        Which frames the batch holds.
    spectrum : np.ndarray, shape (n_batch, n_fft // 2 + 1), complex64
    """
    size = max(1, _BATCH_SAMPLES // n_fft)
    buffer = np.zeros((size, n_fft), np.float32)
    for first in range(0, len(starts), size):
        rows = slice(first, min(first + size, len(starts)))
        frames = buffer[: rows.stop - rows.start]
        _cut_frames(y, starts[rows], window, frames)
        yield rows, fft.rfft(frames, axis=1)
