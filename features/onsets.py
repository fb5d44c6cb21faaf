"""Energy curves of short frames, and what their peaks tell: events, pulse, attacks.

Both curves sum the power spectrum of Hann-windowed frames. By Parseval that sum is one of squares of the windowed
samples; the window is a constant and a cosine, its square a constant and two cosines, so every frame's sums are
differences of running sums, whatever its length.

References
----------
.. [1] Lartillot, Eerola, Toiviainen and Fornari (2008), Multi-feature modeling of pulse clarity, ISMIR.
.. [2] Krimphoff, McAdams and Winsberg (1994), Caracterisation du timbre des sons complexes, Journal de Physique IV 4.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.compiled import compiled, vectorised
from features.frames import Samples, Starts, blocked_starts, blocks, frame_starts, frame_times, power_of_two
from features.peaks import CLOSED, peaks, valleys
from features.tempo import autocorrelation, resonance

_EVENT_CONTRAST: Final = 0.1
_ATTACK_CONTRAST: Final = 0.05
_DECAY_SHARE: Final = 0.2
_RISE_SHARE: Final = 0.1


class EnergyCurve(NamedTuple):
    """Energy of frames, and the times of their middles in seconds."""

    energy: NDArray[np.float64]
    times: NDArray[np.float64]


@vectorised
def _add_strip(
    strip: Samples, turns: NDArray[np.float64], signs: NDArray[np.float64], total: NDArray[np.float64]
) -> None:
    """Add samples and squares, plain and turning with the window's cosines, to eleven running sums."""
    cos1, sin1, cos2, sin2 = turns[0], turns[1], turns[2], turns[3]
    s0 = s1 = s2 = s3 = s4 = 0.0
    x0 = x1 = x2 = 0.0
    a0 = a1 = a2 = 0.0
    for j in range(len(strip)):
        x = np.float64(strip[j])
        square = x * x
        s0 += square
        s1 += square * cos1[j]
        s2 += square * sin1[j]
        s3 += square * cos2[j]
        s4 += square * sin2[j]
        x0 += x
        x1 += x * cos1[j]
        x2 += x * sin1[j]
        alternating = x * signs[j]
        a0 += alternating
        a1 += alternating * cos1[j]
        a2 += alternating * sin1[j]
    total[0] += s0
    total[1] += s1
    total[2] += s2
    total[3] += s3
    total[4] += s4
    total[5] += x0
    total[6] += x1
    total[7] += x2
    total[8] += a0
    total[9] += a1
    total[10] += a2


@compiled
def _frame_energies(
    y: Samples,
    starts: Starts,
    length: int,
    n_fft: int,
    n_open: int,
    turns: NDArray[np.float64],
    signs: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Walk over the signal once, noting the running sums where frames begin and what was added where they end.

    Parameters
    ----------
    n_open : int
        How many frames are open at most where another begins.
    turns : np.ndarray, shape (4, period), float64
        Cosine and sine of the window's turn, and of twice the turn.
    signs : np.ndarray, shape (period + 1,), float64
        1, -1, 1, ...: the highest bin is the sum of samples with alternating sign.
    """
    n = len(starts)
    period = turns.shape[1]
    total = np.zeros(11)
    d = np.empty(11)
    before = np.empty((n_open, 11))
    out = np.empty(n)
    begun = ended = 0
    place = starts[0]
    while ended < n:
        if begun < n and starts[begun] == place:
            for q in range(len(total)):
                before[begun % n_open, q] = total[q]
            begun += 1
            continue
        if starts[ended] + length == place:
            for q in range(len(total)):
                d[q] = total[q] - before[ended % n_open, q]
            phase = (starts[ended] - 1) % period  # the window counts from 1 in the frame
            c, s, c2, s2 = turns[0, phase], turns[1, phase], turns[2, phase], turns[3, phase]
            squares = 0.375 * d[0] - 0.5 * (c * d[1] + s * d[2]) + 0.125 * (c2 * d[3] + s2 * d[4])
            first = 0.5 * d[5] - 0.5 * (c * d[6] + s * d[7])
            last = 0.5 * d[8] - 0.5 * (c * d[9] + s * d[10])
            out[ended] = 0.5 * (n_fft * squares + first * first + last * last)
            ended += 1
            continue
        end = starts[ended] + length
        if begun < n:
            end = min(end, starts[begun])
        phase = place % period
        end = min(end, place + period - phase)
        _add_strip(y[place:end], turns[:, phase:], signs[place % 2 :], total)
        place = end
    return out


def frame_energies(y: Samples, starts: Starts, length: int) -> NDArray[np.float64]:
    """Sum the one-sided power spectrum, both ends included once, of Hann-windowed frames.

    Parameters
    ----------
    y : np.ndarray, shape (n_samples,), float32
    starts : np.ndarray, shape (n_frames,), int64
        First samples, rising.
    length : int

    Returns
    -------
    np.ndarray, shape (n_frames,), float64
    """
    angle = 2 * np.pi * np.arange(length + 1) / (length + 1)
    turns = np.array([np.cos(angle), np.sin(angle), np.cos(2 * angle), np.sin(2 * angle)])
    signs = np.where(np.arange(length + 2) % 2, -1.0, 1.0)
    n_open = int((np.searchsorted(starts, starts + length, side="right") - np.arange(len(starts))).max())
    return _frame_energies(y, starts, length, power_of_two(length), n_open, turns, signs)


def onset_curves(y: Samples, sr: int) -> tuple[EnergyCurve, EnergyCurve]:
    """Compute the energy of 100 ms frames, 10 ms apart, and the same for attacks.

    MIRtoolbox computes the second anew in each block of the attack curve, so that its frames begin elsewhere.

    Parameters
    ----------
    y : np.ndarray, shape (n_samples,), float32
    sr : int

    Returns
    -------
    onsets, attack_onsets : EnergyCurve
    """
    length, hop = min(int(0.1 * sr), len(y)), 0.1 * (0.1 * sr)
    starts = blocked_starts(len(y), length, hop)
    pieces = [begin + frame_starts(end - begin, length, hop) for begin, end in blocks(len(y), *_attack_frames(sr))]
    restarted = np.concatenate(pieces)
    restarted = restarted[restarted + length <= len(y)]
    # One walk over the signal serves both.
    every, places = np.unique(np.concatenate([starts, restarted]), return_inverse=True)
    energy = frame_energies(y, every, length)[places]
    return (
        EnergyCurve(energy[: len(starts)], frame_times(starts, length, sr)),
        EnergyCurve(energy[len(starts) :], frame_times(restarted, length, sr)),
    )


def onset_curve(y: Samples, sr: int) -> EnergyCurve:
    """Compute the energy of 100 ms frames, 10 ms apart."""
    return onset_curves(y, sr)[0]


def _attack_frames(sr: int) -> tuple[int, float]:
    """Give length and distance of the attack curve's frames in samples: 30 ms and .6 ms."""
    return int(0.03 * sr), 0.02 * (0.03 * sr)


def event_density(onsets: EnergyCurve) -> float:
    """Count the onset curve's peaks per second of frames."""
    spacing = onsets.times[1] - onsets.times[0]
    return float(len(peaks(onsets.energy, _EVENT_CONTRAST)) / spacing / len(onsets.energy))


def pulse_clarity(onsets: EnergyCurve) -> float:
    """Give the greatest autocorrelation of the onset curve's difference at lags where a pulse is felt."""
    difference = np.diff(onsets.energy)
    kept, weights = resonance(onsets.times[:-1] - onsets.times[0])
    if not len(weights):
        return float("nan")
    return float((autocorrelation(difference, kept.stop)[kept] * weights).max())


@compiled
def _measure_attacks(
    E: NDArray[np.float64],
    t: NDArray[np.float64],
    tops: Starts,
    onsets: NDArray[np.float64],
    begins: Starts,
    ends: Starts,
) -> tuple[int, bool]:
    """Pair each onset with the peak it leads to and narrow the rise between them to its steep part.

    Returns
    -------
    count : int
        Attacks written to ``begins`` and ``ends``, as indices into ``E``.
    complete : bool
        False where peaks ran out before onsets did.
    """
    count = 0
    peak = 0
    i = 0
    while i < len(onsets):
        while peak < len(tops) and t[tops[peak]] <= onsets[i]:
            peak += 1
        if peak == len(tops):
            return count, False
        while i + 1 < len(onsets) and onsets[i + 1] < t[tops[peak]]:
            i += 1
        begin = np.searchsorted(t, onsets[i])
        rises = False
        while peak < len(tops):
            top = tops[peak]
            for j in range(begin, top):
                rises = rises or E[j + 1] > E[j]
            if rises:
                break
            peak += 1
        if peak == len(tops):
            return count, False
        top = tops[peak]
        while not E[begin + 1] > E[begin]:
            begin += 1
        level = E[begin]
        for j in range(begin, top):
            if E[j + 1] < E[j] and E[j] < level:
                begin = j
        height = E[top] - E[begin]
        end = begin + 1
        while end < top and (E[end + 1] > E[end] or E[end] - E[begin] <= height / 5):
            end += 1
        steepest = begin
        for j in range(begin, end):
            if E[j + 1] - E[j] > E[steepest + 1] - E[steepest]:
                steepest = j
        slope = E[steepest + 1] - E[steepest]
        last = end - 1
        while last > steepest and not E[last + 1] - E[last] > _DECAY_SHARE * slope:
            last -= 1
        first = begin
        while first < steepest and not E[first + 1] - E[first] > _RISE_SHARE * slope:
            first += 1
        ends[count] = last if last > steepest else end - 1
        begins[count] = first + 1 if first < steepest else begin + 1
        count += 1
        peak += 1
        i += 1
    return count, True


class Attacks(NamedTuple):
    """Attack times in seconds, and whether MIRtoolbox 1.7 gives them.

    Where peaks end before onsets do, 1.7 fails; 1.7.1 leaves out the last attack, and so do the times here.
    """

    seconds: NDArray[np.float64]
    complete: bool


def attacks(y: Samples, sr: int, onsets: EnergyCurve) -> Attacks:
    """Measure how long each onset takes from the beginning of its steep rise to the end.

    Peaks come from the energy of 30 ms frames, .6 ms apart; onsets are the valleys between them in the energy of 100 ms
    frames.

    Parameters
    ----------
    y : np.ndarray, shape (n_samples,), float32
    sr : int
    onsets : EnergyCurve
        The second of `onset_curves`.

    Returns
    -------
    Attacks
    """
    length, hop = _attack_frames(sr)
    starts = blocked_starts(len(y), length, hop)
    E = frame_energies(y, starts, length)
    if E.max() <= 0:
        return Attacks(np.zeros(0), complete=True)
    E /= E.max()
    t = frame_times(starts, length, sr)
    tops = peaks(E, _ATTACK_CONTRAST, begin=CLOSED, end=CLOSED)
    begun = onsets.times[valleys(onsets.energy, _EVENT_CONTRAST, level=0.5, end=CLOSED)]
    if len(tops) and (not len(begun) or begun[0] > t[tops[0]]):
        begun = np.concatenate([t[:1], begun])
    begins, ends = np.empty(len(begun), np.int64), np.empty(len(begun), np.int64)
    count, complete = _measure_attacks(E, t, tops, begun, begins, ends)
    if not complete:
        count = max(count - 1, 0)
    return Attacks(np.sort(t[ends[:count]]) - np.sort(t[begins[:count]]), complete)
