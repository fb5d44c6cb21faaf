"""Speed of the beat, from the envelopes of ten auditory channels.

References
----------
.. [1] Slaney (1993), An efficient implementation of the Patterson-Holdsworth auditory filter bank, Apple TR 35.
.. [2] Tolonen and Karjalainen (2000), A computationally efficient multipitch analysis model, IEEE Transactions on
       Speech and Audio Processing 8.
.. [3] Toiviainen and Snyder (2003), Tapping to Bach: resonance-based modeling of pulse, Music Perception 21.
"""

from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from features.compiled import vectorised
from features.frames import Samples
from features.peaks import CLOSED, peaks, valleys

_N_CHANNELS: Final = 10
_LOWEST: Final = 50.0  # Hz
_EAR_Q: Final = 9.26449
_MIN_BANDWIDTH: Final = 24.7  # Hz
# Four sections give the gammatone's fourth order; each takes the real part and this much of the imaginary one.
_ZEROS: Final = (np.sqrt(3 + 2**1.5), -np.sqrt(3 + 2**1.5), np.sqrt(3 - 2**1.5), -np.sqrt(3 - 2**1.5))
_ENVELOPE_SECONDS: Final = 0.02
_DECIMATION: Final = 16
# The clip is cut into this many stretches that are filtered side by side, one per vector lane.
_LANES: Final = 16
# What a filter still remembers after this time is below 1e-6 in the narrowest channel (30 Hz wide).
_MEMORY_SECONDS: Final = 0.12

_SHORTEST: Final = 0.3  # s, 200 beats per minute
_LONGEST: Final = 1.5  # s, 40 beats per minute
_PREFERRED: Final = 0.5  # s, where pulses resonate most


class Gammatones(NamedTuple):
    """Poles (10, complex) of the channels and gains (10,) that bring each to 1 at its centre."""

    poles: NDArray[np.complex128]
    gains: NDArray[np.float64]


@lru_cache(maxsize=4)
def _gammatones(sr: int) -> Gammatones:
    corner = _EAR_Q * _MIN_BANDWIDTH
    top = sr / 2 + corner
    i = np.arange(1, _N_CHANNELS + 1)
    centres = -corner + np.exp(i * (np.log(_LOWEST + corner) - np.log(top)) / _N_CHANNELS) * top
    bandwidths = 1.019 * (centres / _EAR_Q + _MIN_BANDWIDTH)
    poles = np.exp(2 * np.pi * (1j * centres - bandwidths) / sr)
    z = np.exp(-2j * np.pi * centres / sr)
    response = np.ones(_N_CHANNELS, np.complex128)
    for k in _ZEROS:
        response *= (1 - (poles.real + k * poles.imag) * z) / ((1 - poles * z) * (1 - poles.conj() * z))
    return Gammatones(poles, 1 / np.abs(response))


@vectorised
def _rectify_channel(
    lanes: NDArray[np.float32],
    pole: complex,
    zeros: NDArray[np.float32],
    weights: NDArray[np.float32],
    rise: NDArray[np.float32],
    fall: NDArray[np.float32],
    watched: NDArray[np.int64],
    seen: NDArray[np.float32],
) -> None:
    """Filter stretches of sound side by side and sum each sixteen rectified samples under two weightings.

    A section is a complex one-pole filter, whose real and imaginary part give the wanted zero: unlike the direct form
    it is safe in single precision at 50 Hz.

    Parameters
    ----------
    lanes : np.ndarray, shape (16 * n_blocks, 16), float32
        Samples of sixteen stretches.
    pole : complex
    zeros : np.ndarray, shape (4,), float32
    weights : np.ndarray, shape (2, 16), float32
        For ``rise`` and ``fall``, shape (n_blocks, 16), which receive the sums.
    watched : np.ndarray, shape (n_watched,), int64
        Blocks whose rectified samples ``seen``, shape (n_watched, 16, 16), receives.
    """
    p, q = np.float32(pole.real), np.float32(pole.imag)
    k0, k1, k2, k3 = zeros
    r0, i0 = np.zeros(_LANES, np.float32), np.zeros(_LANES, np.float32)
    r1, i1 = np.zeros(_LANES, np.float32), np.zeros(_LANES, np.float32)
    r2, i2 = np.zeros(_LANES, np.float32), np.zeros(_LANES, np.float32)
    r3, i3 = np.zeros(_LANES, np.float32), np.zeros(_LANES, np.float32)
    rectified = np.empty((_DECIMATION, _LANES), np.float32)
    for block in range(len(rise)):
        for j in range(_DECIMATION):
            for c in range(_LANES):
                u = lanes[block * _DECIMATION + j, c]
                r = p * r0[c] - q * i0[c] + u
                i = q * r0[c] + p * i0[c]
                r0[c], i0[c], u = r, i, r - k0 * i
                r = p * r1[c] - q * i1[c] + u
                i = q * r1[c] + p * i1[c]
                r1[c], i1[c], u = r, i, r - k1 * i
                r = p * r2[c] - q * i2[c] + u
                i = q * r2[c] + p * i2[c]
                r2[c], i2[c], u = r, i, r - k2 * i
                r = p * r3[c] - q * i3[c] + u
                i = q * r3[c] + p * i3[c]
                r3[c], i3[c] = r, i
                rectified[j, c] = abs(r - k3 * i)
        for c in range(_LANES):
            up = np.float32(0)
            down = np.float32(0)
            for j in range(_DECIMATION):
                up += weights[0, j] * rectified[j, c]
                down += weights[1, j] * rectified[j, c]
            rise[block, c] = up
            fall[block, c] = down
        for w in range(len(watched)):
            if watched[w] == block:
                for j in range(_DECIMATION):
                    for c in range(_LANES):
                        seen[w, j, c] = rectified[j, c]


@vectorised
def _smooth(
    rise: NDArray[np.float32],
    fall: NDArray[np.float32],
    n_blocks: int,
    start: float,
    tail: NDArray[np.float64],
    a: float,
    gain: float,
    out: NDArray[np.float64],
) -> None:
    """Run the one-pole filter forward and backward over a channel's block sums, and add what comes out to ``out``.

    The stretches go side by side here too: each is filtered from rest first, which tells with what every next one
    begins, and then once more.

    Parameters
    ----------
    rise, fall : np.ndarray, shape (n_rows, 16), float32
        Block sums in lanes; ``n_blocks`` of them count.
    start : float
        The forward filter's state before the first sample.
    tail : np.ndarray, shape (n_tail,), float64
        The samples after the last whole block.
    a, gain : float
        The filter's pole, and what its output is multiplied by.
    out : np.ndarray, shape (n_rows, 16), float64
        The smoothed sum at the first sample of each block, and of the tail, in lanes.
    """
    n_rows = len(out)
    decay = a**_DECIMATION
    stretch = decay**n_rows
    carry = (1 - a) * a * (1 - decay * decay) / (1 - a * a)
    state, begin = np.zeros(_LANES), np.empty(_LANES)
    for row in range(n_rows):
        for c in range(_LANES):
            state[c] = decay * state[c] + rise[row, c]
    begin[0] = start
    for c in range(1, _LANES):
        begin[c] = stretch * begin[c - 1] + state[c - 1]
    inputs = np.empty((n_rows, _LANES))
    value = 0.0
    for row in range(n_rows):
        if row == n_blocks % n_rows:
            value = begin[n_blocks // n_rows]
        for c in range(_LANES):
            inputs[row, c] = carry * begin[c] + fall[row, c]
            begin[c] = decay * begin[c] + rise[row, c]
    smoothed = np.empty(len(tail))
    for j in range(len(tail)):
        value = a * value + (1 - a) * tail[j]
        smoothed[j] = value
    for j in range(len(tail) - 1, -1, -1):
        value = a * value + (1 - a) * smoothed[j]
    for block in range(n_blocks, n_rows * _LANES):
        inputs[block % n_rows, block // n_rows] = value if block == n_blocks else 0.0
    for c in range(_LANES):
        state[c] = 0.0
    for row in range(n_rows - 1, -1, -1):
        for c in range(_LANES):
            state[c] = decay * state[c] + inputs[row, c]
    begin[_LANES - 1] = 0.0
    for c in range(_LANES - 1, 0, -1):
        begin[c - 1] = stretch * begin[c] + state[c]
    for row in range(n_rows - 1, -1, -1):
        for c in range(_LANES):
            begin[c] = decay * begin[c] + inputs[row, c]
            out[row, c] += gain * max(begin[c], 0.0)


def _in_lanes(y: Samples, per_lane: int, warm_up: int) -> NDArray[np.float32]:
    """Lay a signal out in sixteen columns, each beginning with the end of the one before."""
    padded = np.zeros(warm_up + per_lane * _LANES, np.float32)
    padded[warm_up : warm_up + len(y)] = y
    stretches = np.lib.stride_tricks.sliding_window_view(padded, warm_up + per_lane)[::per_lane]
    return np.ascontiguousarray(stretches.T)


def envelope(y: Samples, sr: int) -> NDArray[np.float64]:
    """Sum the envelopes of ten gammatone channels, at a sixteenth of the sampling rate.

    Each channel is rectified and smoothed by a 20 ms one-pole filter forward and backward (odd reflection of three
    samples at the ends, as MATLAB's filtfilt has it). Only block sums of the rectified samples are kept: both passes of
    the smoothing follow from them.

    Parameters
    ----------
    y : np.ndarray, shape (n_samples,), float32
    sr : int

    Returns
    -------
    np.ndarray, shape (ceil(n_samples / 16),), float64
    """
    gammatones = _gammatones(sr)
    a = float(np.exp(-1 / (_ENVELOPE_SECONDS * sr)))
    i = np.arange(_DECIMATION)
    weights = np.array(
        [
            (1 - a) * a ** (_DECIMATION - 1 - i),
            (1 - a) ** 2 * a**i * (1 - a ** (2 * (_DECIMATION - i))) / (1 - a * a),
        ],
        np.float32,
    )
    n_blocks, rest = divmod(len(y), _DECIMATION)
    rows_per_lane = -(-(n_blocks + 1) // _LANES)
    warm_up = -(-int(_MEMORY_SECONDS * sr) // _DECIMATION)
    lanes = _in_lanes(y, rows_per_lane * _DECIMATION, warm_up * _DECIMATION)
    blocks = np.array([0, n_blocks - 1, n_blocks])
    watched = warm_up + blocks % rows_per_lane
    seen = np.empty((len(blocks), _DECIMATION, _LANES), np.float32)
    rise = np.empty((warm_up + rows_per_lane, _LANES), np.float32)
    fall = np.empty_like(rise)
    out = np.zeros((rows_per_lane, _LANES))
    zeros = np.array(_ZEROS, np.float32)
    for pole, gain in zip(gammatones.poles, gammatones.gains, strict=True):
        _rectify_channel(lanes, pole, zeros, weights, rise, fall, watched, seen)
        head, last, beyond = (seen[w, :, block // rows_per_lane].astype(np.float64) for w, block in enumerate(blocks))
        reflected = 2 * head[0] - head[[3, 2, 1]]
        start = reflected[0]
        for sample in reflected[1:]:
            start = a * start + (1 - a) * sample
        end = np.concatenate([last, beyond[:rest]])
        tail = np.concatenate([beyond[:rest], 2 * end[-1] - end[[-2, -3, -4]]])
        _smooth(rise[warm_up:], fall[warm_up:], n_blocks, start, tail, a, gain, out)
    return np.ascontiguousarray(out.T).ravel()[: n_blocks + 1 if rest else n_blocks]


def resonance(lags: NDArray[np.float64]) -> tuple[slice, NDArray[np.float64]]:
    """Give the lags of .3 to 1.5 s and how strongly a pulse at each of them resonates (at most 1).

    Parameters
    ----------
    lags : np.ndarray, shape (n,), float64
        Lags in seconds of a curve with ``n`` values, rising from 0.

    Returns
    -------
    kept : slice
        Empty where the curve is shorter than .6 s.
    weights : np.ndarray, shape (number kept,), float64
    """
    n = len(lags)
    first = int(np.searchsorted(lags, _SHORTEST))
    end = min(int(np.searchsorted(lags, _LONGEST)), n - 1, -(-n // 2)) + 1
    if end <= first:
        return slice(0, 0), np.zeros(0)
    weights = np.maximum(0, 1 - 0.25 * np.log2(lags[first:end] / _PREFERRED) ** 2)
    return slice(first, end), weights / weights.max()


def autocorrelation(curve: NDArray[np.float64], n_lags: int) -> NDArray[np.float64]:
    """Correlate a curve, its mean removed, with itself at the first ``n_lags`` lags, relative to lag 0 (or 0)."""
    n_fft = fft.next_fast_len(len(curve) + n_lags, real=True)
    power = np.abs(fft.rfft(curve - curve.mean(), n_fft)) ** 2
    r = np.asarray(fft.irfft(power, n_fft)[:n_lags])
    return r / r[0] if np.ptp(curve) > 0 else np.zeros(n_lags)


def _enhance(curve: NDArray[np.float64], lags: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take the multiples of a period out of an autocorrelation, so that the shortest stays.

    Stretched copies (2 to 10 times) are subtracted one after the other. So that the first lag can be stretched too, the
    curve is brought to begin at zero: what falls at its beginning is cut off, then a slope to zero is put before it.
    """
    tops = peaks(curve, 0.01, begin=CLOSED, end=CLOSED)
    floor = 0.0
    if len(tops):
        bottoms = curve[valleys(curve, 0.01)]
        bottoms = bottoms[bottoms < curve[tops].min()]
        floor = float(bottoms.max()) if len(bottoms) else 0.0
    c, t = curve - floor, lags
    removed = prepended = 0
    rises = np.flatnonzero(np.diff(c) > 0)
    if len(rises):
        removed = int(rises[0])
        c, t = c[removed:], t[removed:]
        slope = [float(c[0])]
        step = float(c[1] - c[0])
        while slope[-1] > 0:
            step *= 1.1
            slope.append(slope[-1] - step)
        prepended = len(slope) - 1
        c = np.concatenate([slope[:0:-1], c])
        t = np.concatenate([t[0] - (t[1] - t[0]) * np.arange(prepended, 0, -1), t])
        c[0] = 0
    for stretch in range(2, 11):
        begin = int(np.searchsorted(t / stretch, t[0]))
        c[begin:] -= np.maximum(np.interp(t[begin:] / stretch, t, c), 0)
        c = np.maximum(c, 0)
    if prepended >= removed:
        return np.asarray(c[prepended - removed :] + floor)
    return np.concatenate([np.zeros(removed - prepended), c])


def tempo(y: Samples, sr: int) -> float:
    """Find the tempo of a clip.

    Parameters
    ----------
    y : np.ndarray, shape (n_samples,), float32
    sr : int

    Returns
    -------
    float
        40 to 200 beats per minute; NaN where no period stands out.
    """
    curve = np.diff(envelope(y, sr))
    lags = np.arange(len(curve)) / (sr / _DECIMATION)
    kept, weights = resonance(lags)
    if len(weights) < 3:
        return float("nan")
    correlation = _enhance(autocorrelation(curve, kept.stop)[kept] * weights, lags[kept])
    tops = peaks(correlation, 0.1, begin=CLOSED, end=CLOSED)
    if not len(tops):
        return float("nan")
    j = int(tops[correlation[tops].argmax()])
    left, top, right = correlation[j - 1 : j + 2]
    vertex = j + (right - left) / (2 * (2 * top - right - left))
    return float(60 / np.interp(vertex, np.arange(len(correlation)), lags[kept]))
