"""Two linear experts, and a gate that says how far to trust the one that knows only the training repertoire.

The *local* expert looks at all inputs. It is as good as any classifier tried on music like the training table, and
among the worst on other music: it learns that bright means happy, which is true of one repertoire and false of another.
The *portable* expert looks only at the inputs whose meaning holds across repertoires: a little worse at home, far
better abroad. The *gate* gives a row to the local expert when its repertoire inputs (brightness, spectrum, fluctuation)
are usual in the training table.

References
----------
Jacobs, Jordan, Nowlan and Hinton (1991), Adaptive Mixtures of Local Experts, Neural Computation 3(1) (gated experts).
Ledoit and Wolf (2004), A well-conditioned estimator for large-dimensional covariance matrices (shrinkage).
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from model.inputs import INPUT_NAMES, PORTABLE, REPERTOIRE

# Share of the training rows that lie at least as far out as a row: below the first number the local expert is not
# asked, above the second it alone is. In between both are heard, so that no small change of the audio flips experts.
GATE_CLOSED: Final = 0.1
GATE_OPEN: Final = 0.3


class LinearExpert:
    """Linear discriminant analysis with Ledoit-Wolf shrinkage over some of the inputs.

    Parameters
    ----------
    columns : np.ndarray of int
        Which inputs it looks at.

    Attributes
    ----------
    coef_ : np.ndarray, shape (n_columns, 4)
    intercept_ : np.ndarray, shape (4,)
    """

    def __init__(self, columns: NDArray[np.intp]) -> None:
        self.columns = columns

    def fit(self, Z: NDArray[np.float64], truth: NDArray[np.int64]) -> "LinearExpert":
        """Fit to scaled inputs, shape (n, n_inputs), and labels 0 to 3, shape (n,)."""
        discriminant = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(Z[:, self.columns], truth)
        self.coef_: NDArray[np.float64] = discriminant.coef_.T
        self.intercept_: NDArray[np.float64] = discriminant.intercept_
        return self

    def predict_proba(self, Z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give uncalibrated probabilities, shape (n, 4)."""
        logits = Z[:, self.columns] @ self.coef_ + self.intercept_
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))


class RepertoireGate:
    """Tell how usual a row's repertoire inputs are among the training rows.

    Attributes
    ----------
    centre_, whitener_ : np.ndarray
        Of the training rows: a squared Mahalanobis distance is a sum of squared whitened offsets.
    distances_ : np.ndarray, shape (n,)
        Sorted distances of the training rows.
    """

    def fit(self, Z: NDArray[np.float64]) -> "RepertoireGate":
        """Learn from scaled inputs, shape (n, n_inputs)."""
        covariance = LedoitWolf().fit(Z[:, REPERTOIRE])
        self.centre_: NDArray[np.float64] = covariance.location_
        self.whitener_: NDArray[np.float64] = np.linalg.cholesky(covariance.precision_)
        self.distances_: NDArray[np.float64] = np.sort(self._distance(Z))
        return self

    def openness(self, Z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the local expert's share of each row, shape (n,), in [0, 1]."""
        closer = np.searchsorted(self.distances_, self._distance(Z), side="left")
        further = 1 - closer / len(self.distances_)
        return np.clip((further - GATE_CLOSED) / (GATE_OPEN - GATE_CLOSED), 0.0, 1.0)

    def _distance(self, Z: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.linalg.norm((Z[:, REPERTOIRE] - self.centre_) @ self.whitener_, axis=1))


class Opinions(NamedTuple):
    """What the experts say of n rows: two times probabilities (n, 4), and the local expert's share (n,) in [0, 1]."""

    local: NDArray[np.float64]
    portable: NDArray[np.float64]
    openness: NDArray[np.float64]


class Experts:
    """Both experts and the gate, fitted to the same rows.

    Attributes
    ----------
    local_, portable_ : LinearExpert
    gate_ : RepertoireGate
    """

    def fit(self, Z: NDArray[np.float64], truth: NDArray[np.int64]) -> "Experts":
        """Fit to scaled inputs, shape (n, n_inputs), and labels 0 to 3, shape (n,)."""
        self.local_ = LinearExpert(np.arange(len(INPUT_NAMES))).fit(Z, truth)
        self.portable_ = LinearExpert(PORTABLE).fit(Z, truth)
        self.gate_ = RepertoireGate().fit(Z)
        return self

    def opinions(self, Z: NDArray[np.float64]) -> Opinions:
        """Ask both experts and the gate about scaled inputs, shape (n, n_inputs)."""
        return Opinions(self.local_.predict_proba(Z), self.portable_.predict_proba(Z), self.gate_.openness(Z))
