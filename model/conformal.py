"""Prediction sets: labels that together cover the truth with a chosen probability, for every emotion by itself.

References
----------
Vovk, V. (2012), Conditional validity of inductive conformal predictors, ACML (label-conditional thresholds).
Vovk, V. (2015), Cross-conformal predictors, Ann. Math. Artif. Intell. 74 (out-of-fold scores for calibration).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class ConformalSets:
    """The out-of-fold probabilities of the true label, kept apart by label.

    A label belongs to the set of a new row when its probability is not below the one that all but a share
    ``1 - coverage`` of that label's own rows received. Calibrating each label by itself costs somewhat larger sets and
    buys coverage for the hard emotions too: with one common threshold the easy ones would pay for them.

    Parameters
    ----------
    scores : tuple of np.ndarray, float64
        For each label the sorted probabilities that its own rows received out of fold.
    """

    scores: tuple[NDArray[np.float64], ...]

    @classmethod
    def calibrate(cls, P: NDArray[np.float64], truth: NDArray[np.int64]) -> "ConformalSets":
        """Collect the scores.

        Parameters
        ----------
        P : np.ndarray, shape (n, k), float64
            Calibrated out-of-fold probabilities.
        truth : np.ndarray, shape (n,), int64
            The true column of each row.
        """
        return cls(tuple(np.sort(P[truth == label, label]) for label in range(P.shape[1])))

    def sets(self, P: NDArray[np.float64], coverage: float = 0.9) -> NDArray[np.bool_]:
        """Give the prediction set of each row of probabilities.

        Parameters
        ----------
        P : np.ndarray, shape (n, k), float64
            Calibrated probabilities.
        coverage : float
            Wanted probability that the true label is in its set, in (0, 1).

        Returns
        -------
        np.ndarray, shape (n, k), bool
            Never empty: the most probable label always belongs.

        Raises
        ------
        ValueError
            If ``coverage`` is outside (0, 1).
        """
        if not 0 < coverage < 1:
            raise ValueError(f"expected a coverage between 0 and 1, got {coverage}")
        members: NDArray[np.bool_] = np.array([self._threshold(s, coverage) for s in self.scores]) <= P
        members[np.arange(len(P)), P.argmax(axis=1)] = True
        return members

    @staticmethod
    def _threshold(scores: NDArray[np.float64], coverage: float) -> float:
        # The (n + 1) of the finite-sample guarantee; with too few scores for this coverage every label belongs.
        dropped = math.floor((len(scores) + 1) * (1 - coverage) + 1e-9)
        return float(scores[dropped - 1]) if dropped else 0.0
