"""Signals with known answers, built where they are needed: nothing here is recorded music."""

import numpy as np
from numpy.typing import NDArray


def tune(seconds: float, sr: int = 44_100, *, channels: int = 2, seed: int = 0) -> NDArray[np.float32]:
    """Build a piece that is nowhere the same: gliding tones, a decaying click on every beat, and a little noise.

    Returns
    -------
    np.ndarray, shape (n, channels), float32
        Samples within ±0.7; every channel has its own pitch, so that a swapped or dropped channel shows.
    """
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * sr)) / sr
    beat = np.exp(-20 * (t % 0.5)) * np.sin(2 * np.pi * 180 * (t % 0.5))
    voices = [
        0.25 * np.sin(2 * np.pi * (220 + 55 * k) * t * (1 + 0.01 * t)) + 0.2 * np.sin(2 * np.pi * (440 + 37 * k) * t)
        for k in range(channels)
    ]
    noise = 0.01 * rng.standard_normal((t.size, channels))
    return (np.stack(voices, axis=1) + 0.2 * beat[:, None] + noise).astype(np.float32)


def phrase(seconds: float, sr: int = 44_100, *, seed: int = 0) -> NDArray[np.float64]:
    """Build plucked harmonic tones over a little noise: pitch, onsets, decay and a noise floor in one signal.

    Returns
    -------
    np.ndarray, shape (n,), float64
        Mono samples within ±0.5.
    """
    rng = np.random.default_rng(seed)
    y = 0.002 * rng.standard_normal(round(seconds * sr))
    harmonics = np.arange(1, 8)[:, None]
    for onset in np.arange(0.1, seconds, 0.31):
        first = round(onset * sr)
        t = np.arange(min(sr, y.size - first)) / sr
        pitch = 110 * 2 ** (rng.integers(0, 30) / 12)
        tones = (np.sin(2 * np.pi * pitch * harmonics * t) / harmonics).sum(axis=0)
        y[first : first + t.size] += 0.1 * np.exp(-6 * t) * tones
    return y
