"""The 50 features in plain float64 numpy and scipy: slow, short, and exact.

One function per family, each written as its formula reads. Frames, peaks and statistics come first because every
family leans on them. Times are seconds, frequencies Hz, samples lie in [-1, 1).

References
----------
.. [1] Lartillot and Toiviainen (2007), A Matlab toolbox for musical feature extraction from audio, DAFx.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import signal

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BLOCK_SAMPLES = 5_000_000


# --- frames, windows, peaks, statistics --------------------------------------------------------------------------


def power_of_two(n: int) -> int:
    """Give the smallest power of two that is at least ``n``."""
    return 1 << (n - 1).bit_length()


def hamming(n: int) -> Floats:
    return 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(n) / (n - 1))


def hanning(n: int) -> Floats:
    """Give MATLAB's Hann window, which has no zero end points."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1, n + 1) / (n + 1))


def frame_starts(n_samples: int, length: int, hop: float) -> Ints:
    """Place frames from sample 0 on; the hop stays fractional, the tail is dropped."""
    if n_samples < length:
        return np.zeros(1, np.int64)
    starts: Ints = np.floor(np.arange(int((n_samples - length) / hop) + 1) * hop).astype(np.int64)
    return starts


def blocks(n_samples: int, length: int, hop: float, overlap: int = 0) -> list[tuple[int, int]]:
    """Cut a signal where the toolbox runs out of memory; frame rounding restarts in every block.

    Returns
    -------
    list of (start, end)
        Sample ranges; one that holds everything when the frames fit.
    """
    starts = frame_starts(n_samples, length, hop)
    if (length - 1) * len(starts) <= BLOCK_SAMPLES:
        return [(0, n_samples)]
    size = int(np.ceil(BLOCK_SAMPLES / (length - 1)))
    count = int(np.ceil((len(starts) - size) / (size - overlap))) + 1
    ranges = []
    for block in range(count):
        first = block * (size - overlap)
        last = first + size - 1
        end = starts[last] + length + 1 if last < len(starts) - 1 else starts[-1] + length
        ranges.append((int(starts[first]), int(end)))
    return ranges


def blocked_starts(n_samples: int, length: int, hop: float) -> Ints:
    return np.concatenate(
        [start + frame_starts(end - start, length, hop) for start, end in blocks(n_samples, length, hop)]
    )


def spectra(y: Floats, starts: Ints, length: int, window: Callable[[int], Floats]) -> Iterator[tuple[slice, Floats]]:
    """Yield magnitude spectra of windowed frames, a few hundred frames at a time."""
    length = min(length, len(y))
    w = window(length)
    frames = np.lib.stride_tricks.sliding_window_view(y, length)
    for first in range(0, len(starts), 512):
        part = slice(first, min(first + 512, len(starts)))
        yield part, np.abs(np.fft.rfft(frames[starts[part]] * w, power_of_two(length)))


def frame_times(starts: Ints, length: int, sr: int) -> Floats:
    return (starts / sr + (starts + length - 1) / sr) / 2


def peaks(
    curve: Floats,
    contrast: float,
    *,
    threshold: float = 0.0,
    no_begin: bool = False,
    no_end: bool = False,
    limits: tuple[float, float] | None = None,
) -> Ints:
    """Pick the peaks that stand out by ``contrast`` of the curve's range on both sides."""
    low, high = limits if limits is not None else (curve.min(), curve.max())
    if high == low:
        return np.zeros(0, np.int64)
    t = (curve - low) / (high - low)
    begin = np.inf if no_begin else -np.inf
    end = np.inf if no_end else -np.inf
    padded = np.concatenate([[begin], t, [end]])
    rising = padded[1:] > padded[:-1]
    candidates = np.flatnonzero(rising[:-1] & ~rising[1:] & (t >= contrast) & (t >= threshold))
    kept: list[int] = []
    if not len(candidates):
        return np.zeros(0, np.int64)
    current = candidates[0]
    top = t[current]
    before = min(begin, t[:current].min(initial=np.inf))
    lowest = np.inf
    for previous, candidate in pairwise(candidates):
        lowest = min(lowest, t[previous:candidate].min())
        value = t[candidate]
        if top - lowest < contrast:
            before = min(before, lowest)
            if value > top:
                current, top, lowest = candidate, value, np.inf
        else:
            if top - before >= contrast:
                kept.append(current)
                before = lowest
            else:
                before = min(before, lowest)
            current, top, lowest = candidate, value, np.inf
    after = min(end, t[current + 1 :].min(initial=np.inf))
    if top - before >= contrast and top - after >= contrast:
        kept.append(current)
    return np.array(kept, np.int64)


def valleys(curve: Floats, contrast: float, *, threshold: float = 1.0, no_end: bool = False) -> Ints:
    return peaks(-curve, contrast, threshold=1 - threshold, no_end=no_end)


def mean_std_slope(values: Floats) -> tuple[float, float, float]:
    """Give mean, standard deviation (n-1) and the slope through the origin of the standardised curve."""
    values = values[~np.isnan(values)]
    if not len(values):
        return np.nan, np.nan, np.nan
    mean = values.mean()
    std = values.std(ddof=1) if len(values) > 1 else 0.0
    if std == 0:
        return mean, np.nan, np.nan
    u = np.linspace(0, 1, len(values))
    return mean, std, float(((values - mean) / std * u).sum() / (u * u).sum())


def period(values: Floats, spacing: float) -> tuple[float, float, float]:
    """Give frequency (Hz), height and entropy of the main period of a curve's autocorrelation."""
    n = len(values)
    r = np.correlate(values, values, "full")[n - 1 :]
    if r[0] == 0:
        return np.nan, np.nan, np.nan
    r = r / r[0]
    share = np.abs(r) / np.abs(r).sum()
    entropy = float(-(share * np.log(share + 1e-12)).sum() / np.log(n))
    rises = np.flatnonzero(np.diff(r) > 0)
    if not len(rises):
        return np.nan, np.nan, entropy
    r[: rises[0] + 1] = 0
    lag = int(r.argmax())
    return 1 / (lag * spacing), float(r[lag]), entropy


# --- dynamics ----------------------------------------------------------------------------------------------------


def rms_energy(y: Floats) -> float:
    return float(np.sqrt((y * y).sum() / (len(y) - 1)))


def low_energy(y: Floats, sr: int) -> float:
    length = int(0.05 * sr)
    starts = blocked_starts(len(y), length, 0.5 * (0.05 * sr))
    rms = np.sqrt(np.array([np.mean(y[s : s + length] ** 2) for s in starts]))
    return float(np.mean(rms < rms.mean() * (1 - 1e-12)))


def zero_crossing_rate(y: Floats, sr: int) -> float:
    return np.count_nonzero(y[1:] * y[:-1] < 0) / len(y) * sr / 2


# --- whole-clip spectrum -----------------------------------------------------------------------------------------


def spectral(y: Floats, sr: int) -> dict[str, float]:
    n_fft = power_of_two(len(y))
    S = np.abs(np.fft.rfft(y * hamming(len(y)), n_fft))
    f = np.arange(len(S)) * sr / n_fft
    total = S.sum()
    p = S / (total + 1e-12)
    entropy = -(p * np.log(p + 1e-12)).sum() / np.log(len(S))
    lifted = S + S.min()
    lifted = lifted / lifted.sum()
    centroid = (f * lifted).sum()
    spread = np.sqrt(((f - centroid) ** 2 * lifted).sum())
    moments = [((f - centroid) ** k * lifted).sum() / spread**k for k in (3, 4)]
    out = {
        "_Rolloff_Mean": f[np.argmax(S.cumsum() >= 0.85 * total)],
        "_Brightness_Mean": S[f > 1500].sum() / total,
        "_Spectralcentroid_Mean": np.nan if entropy > 0.95 else centroid,
        "_Spectralspread_Mean": spread,
        "_Spectralskewness_Mean": moments[0],
        "_Spectralkurtosis_Mean": moments[1],
        "_Spectralflatness_Mean": np.exp(np.log(S).mean()) / S.mean(),
        "_EntropyofSpectrum_Mean": entropy,
    }
    edges = np.concatenate([133.3333 + 66.66666666 * np.arange(13), np.zeros(29)])
    edges[13:] = edges[12] * 1.0711703 ** np.arange(1, 30)
    bands = np.empty(40)
    for b, (lower, centre, upper) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
        height = 2 / (upper - lower)
        rising = (f > lower) & (f <= centre)
        falling = (f > centre) & (f < upper)
        bands[b] = (S[rising] * (f[rising] - lower)).sum() * height / (centre - lower)
        bands[b] += (S[falling] * (upper - f[falling])).sum() * height / (upper - centre)
    levels = np.log10(bands + 1e-16 + 1e-16)
    for r in range(1, 14):
        cosine = np.cos(r * (2 * np.arange(40) + 1) * np.pi / 80)
        out[f"_MFCC_Mean_{r}"] = np.sqrt(1 / 20) * (levels * cosine).sum()
    return out


# --- tonal -------------------------------------------------------------------------------------------------------


def chroma(frame: Floats, sr: int) -> Floats:
    n = len(frame)
    span = np.ptp(frame)
    if span == 0:
        return np.zeros(12)
    n_fft = power_of_two(n)
    S = np.abs(np.fft.rfft((frame - frame.min()) / span * hamming(n), n_fft))
    f = np.arange(len(S)) * sr / n_fft
    semitone = 2 ** (1 / 12) - 1
    lower = 100.0
    if sr / (100 * semitone * 0.85) > n:
        lower = (sr / n) / (semitone * 0.85)
    kept = slice(np.argmax(f >= lower), (np.argmax(f >= 6400) if f[-1] >= 6400 else len(f) - 1) + 1)
    f, S = f[kept], S[kept]
    level = 20 * np.log10(S + 1e-16)
    level = np.maximum(level - level.max(), -20) + 20
    top = f[0] * 2 ** np.floor(np.log2(f[-1] / f[0]))
    f, level = f[f <= top], level[f <= top]
    steps = np.floor(12 * np.log2(f / 261.6256) + 0.5).astype(int)
    unwrapped = {}
    for k in range(steps.min(), steps.max() + 1):
        below, centre, above = 261.6256 * 2 ** (np.arange(k - 1, k + 2) / 12)
        unwrapped[k] = level[(f > centre - 0.5 * (centre - below)) & (f < centre + 0.5 * (above - centre))].mean()
    unwrapped[steps.min()] *= 0.5
    unwrapped[steps.max()] *= 0.5
    classes = np.zeros(12)
    for k, value in unwrapped.items():
        classes[k % 12] += value
    return np.asarray(classes / (classes.max() + 1e-6))


def tonal_centroid(chromas: Floats) -> Floats:
    n = np.arange(12)
    rows = []
    for angle, radius in ((7 * np.pi / 6, 1.0), (3 * np.pi / 2, 1.0), (2 * np.pi / 3, 0.5)):
        rows += [radius * np.sin(angle * n), radius * np.cos(angle * n)]
    return np.asarray(chromas @ np.array(rows).T)


def harmonic_change(y: Floats, sr: int) -> tuple[Floats, float]:
    """Give the harmonic change curve and the spacing of its values in seconds."""
    length, hop = int(0.743 * sr), 0.1 * (0.743 * sr)
    distances, starts = [], []
    for begin, end in blocks(len(y), length, hop, overlap=1):
        inside = begin + frame_starts(end - begin, length, hop)
        centroids = tonal_centroid(np.array([chroma(y[s : s + length], sr) for s in inside]))
        distances.append(np.sqrt((np.diff(centroids, axis=0) ** 2).sum(axis=1)))
        starts.append(inside[1:])
    where = np.concatenate(starts)
    return np.concatenate(distances), (where[1] - where[0]) / sr


# --- fluctuation -------------------------------------------------------------------------------------------------

BARK_EDGES = [100, 200, 300, 400, 510, 630, 770, 920, 1080, 1270, 1480, 1720, 2000, 2320, 2700, 3150, 3700, 4400, 5300]
BARK_EDGES += [6400, 7700, 9500, 12000, 15500]


def fluctuation(y: Floats, sr: int) -> float:
    length, hop = int(0.023 * sr), sr / 80
    starts = blocked_starts(len(y), length, hop)
    n_fft = power_of_two(length)
    f = np.arange(n_fft // 2 + 1) * sr / n_fft
    kilo = f[1:] / 1000
    decibels = -3.64 * kilo**-0.8 + 6.5 * np.exp(-0.6 * (kilo - 3.3) ** 2) - 0.001 * kilo**4
    weight = np.concatenate([[0.0], 10 ** (decibels / 20)])
    last = next((i for i, edge in enumerate(BARK_EDGES) if edge > sr / 2), len(BARK_EDGES) - 1)
    edges = np.array([0, *BARK_EDGES[: last + 1]])
    levels = np.empty((len(starts), len(edges) - 1))
    for part, S in spectra(y, starts, length, hamming):
        power = S**2 * weight**2
        for band, (lower, upper) in enumerate(pairwise(edges)):
            levels[part, band] = power[:, (f > lower) & (f <= upper)].sum(axis=1)
    d = np.subtract.outer(np.arange(len(edges) - 1), np.arange(len(edges) - 1)) + 0.474
    mask = 10 ** ((15.81 + 7.5 * d - 17.5 * np.sqrt(1 + d**2)) / 10)
    levels = 10 * np.log10(levels @ mask.T + 1e-16)
    n_fft = power_of_two(max(len(starts), 8000))
    rate = np.arange(n_fft // 2 + 1) * 80 / n_fft
    kept = int(np.argmax(rate >= 10)) + 1
    rate = rate[:kept]
    seconds = (starts[-1] + length - 1 - starts[0]) / sr
    modulation = np.abs(np.fft.rfft(levels, n_fft, axis=0))[:kept] / seconds
    emphasis = np.maximum(0, np.minimum(rate / 4, 1 - 0.3 * (rate - 4) / 6))
    return float((modulation * emphasis[:, None]).mean())


# --- rhythm ------------------------------------------------------------------------------------------------------


def gammatone_envelope(y: Floats, sr: int) -> Floats:
    """Sum the first differences of ten gammatone channels' envelopes at ``sr / 16``."""
    corner = 9.26449 * 24.7
    total = np.zeros(0)
    for i in range(1, 11):
        cf = -corner + np.exp(i * (np.log(50 + corner) - np.log(sr / 2 + corner)) / 10) * (sr / 2 + corner)
        erb = cf / 9.26449 + 24.7
        w, e = 2 * np.pi * cf / sr, np.exp(-2 * np.pi * 1.019 * erb / sr)
        denominator = np.array([1, -2 * np.cos(w) * e, e * e])
        channel, gain = y, 1.0
        for k in (np.sqrt(3 + 2**1.5), -np.sqrt(3 + 2**1.5), np.sqrt(3 - 2**1.5), -np.sqrt(3 - 2**1.5)):
            numerator = np.array([1, -e * (np.cos(w) + k * np.sin(w))]) / sr
            channel = signal.lfilter(numerator, denominator, channel)
            z = np.exp(-1j * w * np.arange(3))
            gain *= abs((numerator @ z[:2]) / (denominator @ z))
        a = np.exp(-1 / (0.02 * sr))
        envelope = signal.filtfilt([1 - a], [1, -a], np.abs(channel) / gain, padtype="odd", padlen=3)
        difference = np.diff(np.maximum(envelope, 0)[::16])
        total = difference + total if len(total) else difference
    return total


def resonant_autocorrelation(curve: Floats, lags: Floats) -> tuple[Floats, Floats]:
    """Correlate a curve with itself at lags of .3 to 1.5 s, weighted by the pulse resonance around .5 s."""
    n = len(curve)
    curve = curve - curve.mean()
    first = int(np.argmax(lags >= 0.3))
    last = int(np.argmax(lags >= 1.5)) if lags[-1] >= 1.5 else n - 1
    last = min(last, int(np.ceil(n / 2)))
    if first == 0 or last <= first:
        return np.zeros(0), np.zeros(0)
    r = np.array([curve[: n - lag] @ curve[lag:] for lag in range(first, last + 1)])
    energy = curve @ curve
    lags = lags[first : last + 1]
    if energy == 0:
        return np.zeros(len(lags)), lags
    weight = np.maximum(0, 1 - 0.25 * np.log2(lags / 0.5) ** 2)
    return r / energy * weight / weight.max(), lags


def enhance(curve: Floats, lags: Floats) -> Floats:
    """Take the multiples of a period out of an autocorrelation, so that the fastest one stays."""
    tops = peaks(curve, 0.01, no_begin=True, no_end=True)
    floor = 0.0
    if len(tops):
        bottoms = curve[valleys(curve, 0.01)]
        bottoms = bottoms[bottoms < curve[tops].min()]
        floor = bottoms.max() if len(bottoms) else 0.0
    c, t = curve - floor, lags
    removed = prepended = 0
    rises = np.flatnonzero(np.diff(c) > 0)
    if len(rises):
        removed = int(rises[0])
        c, t = c[removed:], t[removed:]
        step, spacing, head = c[1] - c[0], t[1] - t[0], [c[0]]
        while head[0] > 0:
            step *= 1.1
            head.insert(0, head[0] - step)
        prepended = len(head) - 1
        c = np.concatenate([head[:-1], c])
        t = np.concatenate([t[0] - spacing * np.arange(prepended, 0, -1), t])
        c[0] = 0
    for s in range(2, 11):
        stretched = np.where(t / s < t[0], 0, np.interp(t / s, t, c))
        c = np.maximum(c - np.maximum(stretched, 0), 0)
    if prepended >= removed:
        return c[prepended - removed :] + floor
    return np.concatenate([np.zeros(removed - prepended), c])


def tempo(y: Floats, sr: int) -> float:
    envelope = gammatone_envelope(y, sr)
    curve, lags = resonant_autocorrelation(envelope, np.arange(len(envelope)) / (sr / 16))
    if len(curve) < 3:
        return np.nan
    curve = enhance(curve, lags)
    tops = peaks(curve, 0.1, no_begin=True, no_end=True)
    if not len(tops):
        return np.nan
    j = tops[curve[tops].argmax()]
    p = (curve[j + 1] - curve[j - 1]) / (2 * (2 * curve[j] - curve[j + 1] - curve[j - 1]))
    return float(60 / np.interp(j + p, np.arange(len(lags)), lags))


def windowed_power(y: Floats, starts: Ints, length: int) -> Floats:
    curve = np.empty(len(starts))
    for part, S in spectra(y, starts, length, hanning):
        curve[part] = (S * S).sum(axis=1)
    return curve


def onset_curve(y: Floats, sr: int) -> tuple[Floats, Floats]:
    """Give the onset curve and the times of its frames."""
    length = int(0.1 * sr)
    starts = blocked_starts(len(y), length, 0.1 * (0.1 * sr))
    return windowed_power(y, starts, length), frame_times(starts, length, sr)


def event_density(curve: Floats, times: Floats) -> float:
    return float(len(peaks(curve, 0.1)) / (times[1] - times[0]) / len(curve))


def pulse_clarity(curve: Floats, times: Floats) -> float:
    correlation, _ = resonant_autocorrelation(np.diff(curve), times[:-1] - times[0])
    return float(correlation.max()) if len(correlation) else np.nan


# --- attack times ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AttackRule:
    """What differs between MIRtoolbox 1.7 and 1.7.1."""

    power: bool
    valley_contrast: float
    decay_share: float
    discard_remaining: bool


V170 = AttackRule(power=True, valley_contrast=0.1, decay_share=0.2, discard_remaining=False)
V170_KEEPING = AttackRule(power=True, valley_contrast=0.1, decay_share=0.2, discard_remaining=True)
V171 = AttackRule(power=False, valley_contrast=0.05, decay_share=0.075, discard_remaining=True)


def attack_times(y: Floats, sr: int, rule: AttackRule = V170) -> Floats:
    """Measure how long each onset takes from the beginning of its rise to the end.

    Returns
    -------
    np.ndarray, shape (n_attacks,)
        Seconds, empty where there is no attack or MIRtoolbox 1.7 leaves the column undefined.
    """
    nothing = np.zeros(0)
    length, hop = int(0.03 * sr), 0.02 * (0.03 * sr)
    starts = blocked_starts(len(y), length, hop)
    E = np.empty(len(starts))
    for part, S in spectra(y, starts, length, hanning):
        E[part] = (S * S if rule.power else S).sum(axis=1)
    if E.max() == 0:
        return nothing
    E /= E.max()
    t = frame_times(starts, length, sr)
    tops = peaks(E, 0.05, no_begin=True, no_end=True).tolist()

    slow = int(0.1 * sr)
    slow_starts = np.concatenate(
        [b + frame_starts(e - b, slow, 0.1 * (0.1 * sr)) for b, e in blocks(len(y), length, hop)]
    )
    slow_starts = slow_starts[slow_starts + slow <= len(y)]
    O = windowed_power(y, slow_starts, slow)  # noqa: E741 - the specification's name
    bottoms = valleys(O / O.max(), rule.valley_contrast, threshold=0.5, no_end=True)
    onsets = frame_times(slow_starts, slow, sr)[bottoms].tolist()
    if tops and (not onsets or onsets[0] > t[tops[0]]):
        onsets.insert(0, t[0])

    begins: list[int] = []
    ends: list[int] = []
    i = 0
    while i < len(onsets):
        while i < len(tops) and t[tops[i]] <= onsets[i]:
            del tops[i]
        if i < len(tops):
            while i + 1 < len(onsets) and onsets[i + 1] < t[tops[i]]:
                del onsets[i]
            begin = int(np.searchsorted(t, onsets[i]))
            while i < len(tops) and not (np.diff(E[begin : tops[i] + 1]) > 0).any():
                del tops[i]
        if i >= len(tops):
            if not rule.discard_remaining:
                return nothing
            begins, ends = begins[:-1], ends[:-1]
            break
        begin, end = refine_attack(E, begin, tops[i], rule.decay_share)
        begins.append(begin)
        ends.append(end)
        i += 1
    return np.sort(t[ends]) - np.sort(t[begins]) if begins else nothing


def refine_attack(E: Floats, begin: int, peak: int, decay_share: float) -> tuple[int, int]:
    """Narrow an attack to its steep part."""
    a, p = begin, peak
    a += int(np.argmax(np.diff(E[a : p + 1]) > 0))
    steps = np.diff(E[a : p + 1])
    dips = np.flatnonzero((steps < 0) & (E[a:p] < E[a]))
    if len(dips):
        a += int(dips[-1])
    steps = np.diff(E[a : peak + 2])
    high = (E[a : a + len(steps)] - E[a] > (E[peak] - E[a]) / 5) & (steps <= 0)
    if high.any():
        p = a + int(np.argmax(high))
    d = np.diff(E[a : p + 1])
    k = int(d.argmax())
    late = np.flatnonzero(d[k + 1 :][::-1] > decay_share * d[k])
    p = a + len(d) - (int(late[0]) + 1 if len(late) else 1)
    early = np.flatnonzero(d[:k] > 0.1 * d[k])
    a += int(early[0]) + 1 if len(early) else 1
    return a, p


# --- roughness ---------------------------------------------------------------------------------------------------


def roughness_curve(y: Floats, sr: int) -> Floats:
    length = int(0.05 * sr)
    starts = blocked_starts(len(y), length, 0.5 * (0.05 * sr))
    S = np.concatenate([magnitudes for _, magnitudes in spectra(y, starts, length, hamming)])
    limits = (float(S.min()), float(S.max()))
    bin_hz = sr / power_of_two(length)
    curve = np.zeros(len(S))
    for i, spectrum in enumerate(S):
        tops = peaks(spectrum, 0.01, limits=limits)
        f, a = tops * bin_hz, spectrum[tops]
        distance = np.abs(np.subtract.outer(f, f)) * 0.24 / (0.0207 * np.minimum.outer(f, f) + 18.96)
        pairs = np.outer(a, a) * (np.exp(-3.51 * distance) - np.exp(-5.75 * distance))
        curve[i] = pairs.sum() / 2
    return curve


# --- everything --------------------------------------------------------------------------------------------------


def compute(y: Floats, sr: int) -> dict[str, float]:
    """Compute the 50 columns of a mono clip; NaN where MIRtoolbox gives NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        out = {
            "_RMSenergy_Mean": rms_energy(y),
            "_Lowenergy_Mean": low_energy(y, sr),
            "_Fluctuation_Mean": fluctuation(y, sr),
            "_Tempo_Mean": tempo(y, sr),
            "_Zero-crossingrate_Mean": zero_crossing_rate(y, sr),
        }
        out |= spectral(y, sr)
    curve, times = onset_curve(y, sr)
    out["_Eventdensity_Mean"] = event_density(curve, times)
    out["_Pulseclarity_Mean"] = pulse_clarity(curve, times)
    out["_Roughness_Mean"], _, out["_Roughness_Slope"] = mean_std_slope(roughness_curve(y, sr))
    out["_AttackTime_Mean"], _, out["_AttackTime_Slope"] = mean_std_slope(attack_times(y, sr))
    out |= {f"_Chromagram_Mean_{i + 1}": value for i, value in enumerate(chroma(y, sr))}
    hcdf, spacing = harmonic_change(y, sr)
    name = "_HarmonicChangeDetectionFunction_"
    out[name + "Mean"], out[name + "Std"], out[name + "Slope"] = mean_std_slope(hcdf)
    out[name + "PeriodFreq"], out[name + "PeriodAmp"], out[name + "PeriodEntropy"] = period(hcdf, spacing)
    return out
