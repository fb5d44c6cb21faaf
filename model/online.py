"""How right the model was by the word of people who know, with intervals.

Corrections are no random sample: people correct what is wrong. These scores fall below those of training for that
reason alone; their fall over time is what says something.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.emotions import EMOTIONS, Emotion
from model.manifest import Score
from model.trial import N_RESAMPLES, interval, macro_f1

_Z: Final = 1.959964
_UNKNOWN: Final = Score(value=math.nan, low=math.nan, high=math.nan)


@dataclass(frozen=True, slots=True, eq=False)
class OnlineScores:
    """Scores against corrections.

    Parameters
    ----------
    labels : int
        Corrections behind them.
    confusion : np.ndarray, shape (4, 4), float64
        Counts: what people said (rows) against what the model said (columns), in ``EMOTIONS`` order.
    accuracy : Score
        With Wilson's interval, 95 %; NaN without labels.
    macro_f1 : Score
        With a bootstrap interval, 95 %; NaN until people have named every emotion.
    f1 : dict of Emotion to float
        Of each emotion that was named by either side.
    """

    labels: int
    confusion: NDArray[np.float64]
    accuracy: Score
    macro_f1: Score
    f1: dict[Emotion, float]


def score_corrections(pairs: Sequence[tuple[Emotion, Emotion]], *, seed: int = 0) -> OnlineScores:
    """Score what the model said against what people said.

    Parameters
    ----------
    pairs : sequence of (said, truth)
        The model's emotion and the person's, one pair for each track.
    seed : int
        Of the bootstrap.

    Returns
    -------
    OnlineScores
    """
    confusion = np.zeros((4, 4))
    for said, truth in pairs:
        confusion[EMOTIONS.index(truth), EMOTIONS.index(said)] += 1
    right, total = np.diagonal(confusion), confusion.sum(axis=0) + confusion.sum(axis=1)
    return OnlineScores(
        labels=len(pairs),
        confusion=confusion,
        accuracy=_wilson(int(right.sum()), len(pairs)) if pairs else _UNKNOWN,
        macro_f1=_bootstrap(confusion, seed) if confusion.sum(axis=1).all() else _UNKNOWN,
        f1={
            emotion: float(2.0 * right[index] / total[index]) for index, emotion in enumerate(EMOTIONS) if total[index]
        },
    )


def _wilson(right: int, labels: int) -> Score:
    """Give a share with its score interval (Wilson 1927): unlike the bootstrap's, not a point at 0 or 1."""
    share, weight = right / labels, _Z * _Z / labels
    centre = (share + weight / 2) / (1 + weight)
    half = _Z * math.sqrt(share * (1 - share) / labels + weight / (4 * labels)) / (1 + weight)
    return Score(value=share, low=max(0.0, centre - half), high=min(1.0, centre + half))


def _bootstrap(confusion: NDArray[np.float64], seed: int) -> Score:
    """Resample labels with replacement: on a confusion matrix, that is one multinomial draw."""
    labels = int(confusion.sum())
    draws = np.random.default_rng(seed).multinomial(labels, confusion.ravel() / labels, size=N_RESAMPLES)
    low, high = interval(macro_f1(draws.reshape(-1, 4, 4).astype(np.float64)))
    return Score(value=float(macro_f1(confusion)), low=low, high=high)
