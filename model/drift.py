"""How far recent tracks have moved from those of training: the population stability index, and the KS distance.

PSI = sum over bins of (p - q) ln(p / q), with the ten bins cut at training's deciles, so that q is 0.1 in each. Read as
in credit scoring (Siddiqi 2006, Credit Risk Scorecards): below 0.1 stable, above 0.25 another population.

The Kolmogorov-Smirnov distance is the largest difference of the two cumulative distributions. Of training only the
deciles are kept, so it is looked for at those: never above the true distance, and at most a tenth below it.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.schema import FEATURE_NAMES

DRIFT_LIMIT: Final = 0.25
# Fewer tracks leave bins empty by chance, and the index is then of the sample and not of the music.
MIN_TRACKS: Final = 100


def stability_index(deciles: Mapping[str, Sequence[float]], X: NDArray[np.float64]) -> dict[str, float]:
    """Measure each feature's drift.

    Parameters
    ----------
    deciles : mapping of str to sequence of float
        The nine inner deciles of each feature in training, as in the manifest.
    X : np.ndarray, shape (n, 50), float64
        Recent features, n >= 1, finite.

    Returns
    -------
    dict of str to float
        The index of each feature, >= 0, in ``FEATURE_NAMES`` order.
    """
    index = {}
    for column, name in enumerate(FEATURE_NAMES):
        # A value that many clips share can be several deciles at once: its bin then expects as many tenths.
        edges, tenths = np.unique(np.asarray(deciles[name], dtype=np.float64), return_counts=True)
        expected = np.append(tenths, 1 + len(deciles[name]) - tenths.sum()) / (1 + len(deciles[name]))
        counts = np.bincount(np.searchsorted(edges, X[:, column], side="left"), minlength=len(expected))
        # Half a track in each bin keeps the logarithm finite.
        share = (counts + 0.5) / (len(X) + 0.5 * len(counts))
        index[name] = float(((share - expected) * np.log(share / expected)).sum())
    return index


def kolmogorov_smirnov(deciles: Mapping[str, Sequence[float]], X: NDArray[np.float64]) -> dict[str, float]:
    """Measure each feature's largest difference in cumulative distribution, at the deciles of training.

    Parameters
    ----------
    deciles : mapping of str to sequence of float
        The nine inner deciles of each feature in training, as in the manifest.
    X : np.ndarray, shape (n, 50), float64
        Recent features, n >= 1, finite.

    Returns
    -------
    dict of str to float
        The distance of each feature, in [0, 1], in ``FEATURE_NAMES`` order.
    """
    distance = {}
    for column, name in enumerate(FEATURE_NAMES):
        edges = np.asarray(deciles[name], dtype=np.float64)
        tenths = np.arange(1, len(edges) + 1) / (1 + len(edges))
        recent = np.sort(X[:, column])
        up_to = np.searchsorted(recent, edges, side="right") / len(X)
        below = np.searchsorted(recent, edges, side="left") / len(X)
        # Where many clips share a value, the share below it and the share up to it are both right.
        distance[name] = float(np.maximum(0.0, np.maximum(below - tenths, tenths - up_to)).max())
    return distance


def mix_stability(before: Sequence[int], after: Sequence[int]) -> float:
    """Measure how far the mix of a few categories has moved.

    Parameters
    ----------
    before, after : sequence of int
        How often each category was seen; of one length.

    Returns
    -------
    float
        The population stability index, >= 0.
    """
    p, q = (np.asarray(counts, dtype=np.float64) + 0.5 for counts in (after, before))
    p, q = p / p.sum(), q / q.sum()
    return float(((p - q) * np.log(p / q)).sum())
