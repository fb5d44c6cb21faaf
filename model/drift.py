"""How far recent features have moved from those of training: the population stability index.

PSI = sum over bins of (p - q) ln(p / q), with the ten bins cut at training's deciles, so that q is 0.1 in each. Read as
in credit scoring (Siddiqi 2006, Credit Risk Scorecards): below 0.1 stable, above 0.25 another population.
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
