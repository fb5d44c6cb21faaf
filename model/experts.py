"""Two pairs of experts, and a gate that says which pair to ask.

A pair is a *kernel* expert, for whom a new track is like the training tracks that it resembles, and a *linear* one.
They err differently, so both are heard, with the weights that serve best out of fold (``model.calibration.fit_pool``).
The *local* pair looks at all inputs. It is as good as any classifier tried on music like the training table, and among
the worst on other music: it learns that bright means happy, which is true of one repertoire and false of another. The
*portable* pair looks only at the inputs whose meaning holds across repertoires: worse at home, better abroad. The
*gate* gives a row to the local pair when the training table has rows like it in brightness, spectrum and fluctuation.

References
----------
Jacobs, Jordan, Nowlan and Hinton (1991), Adaptive Mixtures of Local Experts, Neural Computation 3(1) (gated experts).
Suykens and Vandewalle (1999), Least Squares Support Vector Machine Classifiers, Neural Processing Letters 9 (kernel).
Ledoit and Wolf (2004), A well-conditioned estimator for large-dimensional covariance matrices (shrinkage).
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve
from scipy.spatial.distance import cdist
from scipy.special import log_softmax
from sklearn.covariance import LedoitWolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from model.inputs import INPUT_NAMES, PORTABLE, REPERTOIRE

# Share of the training rows that lie at least as far from the others as a row does: below the first number the local
# pair is not asked, above the second it alone is. In between both are heard, so that no small change of the audio flips
# experts.
GATE_CLOSED: Final = 0.05
GATE_OPEN: Final = 0.2
NEIGHBOURS: Final = 5
# Over a wide range (1 to 2, 0.03 to 0.3) neither changes a score by more than a repeat of the folds does.
KERNEL_STEEPNESS: Final = 1.5
RIDGE: Final = 0.2


class KernelExpert:
    """Least-squares kernel classifier: ridge regression on the labels' indicators.

    Two rows are alike by ``exp(-1.5 * mean absolute difference)``, the Laplacian kernel: an input that is far off
    counts in proportion and not squared, so that one odd feature does not make a track unlike all others.

    Parameters
    ----------
    columns : np.ndarray of int
        Which inputs it looks at.

    Attributes
    ----------
    rows_ : np.ndarray, shape (n, n_columns)
        The training rows.
    weights_ : np.ndarray, shape (n, 4)
        How much each of them speaks for each emotion.
    shares_ : np.ndarray, shape (4,)
        Of the emotions among them: the answer far from all of them.
    """

    def __init__(self, columns: NDArray[np.intp]) -> None:
        self.columns = columns

    def fit(self, Z: NDArray[np.float64], truth: NDArray[np.int64]) -> "KernelExpert":
        """Fit to scaled inputs, shape (n, n_inputs), and labels 0 to 3, shape (n,)."""
        indicators = np.eye(4)[truth]
        self.rows_: NDArray[np.float64] = Z[:, self.columns]
        self.shares_: NDArray[np.float64] = indicators.mean(axis=0)
        likeness = self._likeness(Z) + RIDGE * np.eye(len(Z))
        self.weights_: NDArray[np.float64] = solve(likeness, indicators - self.shares_, assume_a="pos")
        return self

    def scores(self, Z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Estimate the indicators, shape (n, 4): like probabilities, but not kept within [0, 1]."""
        return np.asarray(self._likeness(Z) @ self.weights_ + self.shares_)

    def _likeness(self, Z: NDArray[np.float64]) -> NDArray[np.float64]:
        distance = cdist(Z[:, self.columns], self.rows_, "cityblock") / len(self.columns)
        return np.asarray(np.exp(-KERNEL_STEEPNESS * distance))


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

    def scores(self, Z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give uncalibrated log-probabilities, shape (n, 4)."""
        return np.asarray(log_softmax(Z[:, self.columns] @ self.coef_ + self.intercept_, axis=1))


class Pair:
    """A kernel expert and a linear one over the same inputs.

    Parameters
    ----------
    columns : np.ndarray of int
        Which inputs they look at.

    Attributes
    ----------
    kernel_ : KernelExpert
    linear_ : LinearExpert
    """

    def __init__(self, columns: NDArray[np.intp]) -> None:
        self.columns = columns

    def fit(self, Z: NDArray[np.float64], truth: NDArray[np.int64]) -> "Pair":
        """Fit to scaled inputs, shape (n, n_inputs), and labels 0 to 3, shape (n,)."""
        self.kernel_ = KernelExpert(self.columns).fit(Z, truth)
        self.linear_ = LinearExpert(self.columns).fit(Z, truth)
        return self

    def scores(self, Z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give both experts' scores, shape (n, 2, 4): the kernel's, the linear one's."""
        return np.stack([self.kernel_.scores(Z), self.linear_.scores(Z)], axis=1)


class RepertoireGate:
    """Tell how near a row's repertoire inputs are to those of training rows.

    Attributes
    ----------
    whitener_ : np.ndarray
        Makes a Mahalanobis distance of the training rows a Euclidean one.
    rows_ : np.ndarray
        The training rows, whitened.
    distances_ : np.ndarray, shape (n,)
        Of each training row to its nearest others, sorted.
    """

    def fit(self, Z: NDArray[np.float64]) -> "RepertoireGate":
        """Learn from scaled inputs, shape (n, n_inputs)."""
        self.whitener_: NDArray[np.float64] = np.linalg.cholesky(LedoitWolf().fit(Z[:, REPERTOIRE]).precision_)
        self.rows_: NDArray[np.float64] = Z[:, REPERTOIRE] @ self.whitener_
        between = cdist(self.rows_, self.rows_)
        np.fill_diagonal(between, np.inf)
        self.distances_: NDArray[np.float64] = np.sort(_to_nearest(between))
        return self

    def openness(self, Z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the local pair's share of each row, shape (n,), in [0, 1]."""
        distance = _to_nearest(cdist(Z[:, REPERTOIRE] @ self.whitener_, self.rows_))
        closer = np.searchsorted(self.distances_, distance, side="left")
        further = 1 - closer / len(self.distances_)
        return np.clip((further - GATE_CLOSED) / (GATE_OPEN - GATE_CLOSED), 0.0, 1.0)


class Opinions(NamedTuple):
    """What the experts say of n rows: two times scores (n, 2, 4), and the local pair's share (n,) in [0, 1]."""

    local: NDArray[np.float64]
    portable: NDArray[np.float64]
    openness: NDArray[np.float64]

    @property
    def adapted(self) -> NDArray[np.float64]:
        """Scores of the one expert that is heard in another catalogue's units, shape (n, 1, 4)."""
        return self.portable[:, 1:]


class Experts:
    """Both pairs and the gate, fitted to the same rows.

    Attributes
    ----------
    local_, portable_ : Pair
    gate_ : RepertoireGate
    """

    def fit(self, Z: NDArray[np.float64], truth: NDArray[np.int64]) -> "Experts":
        """Fit to scaled inputs, shape (n, n_inputs), and labels 0 to 3, shape (n,)."""
        self.local_ = Pair(np.arange(len(INPUT_NAMES))).fit(Z, truth)
        self.portable_ = Pair(PORTABLE).fit(Z, truth)
        self.gate_ = RepertoireGate().fit(Z)
        return self

    def opinions(self, Z: NDArray[np.float64]) -> Opinions:
        """Ask all experts and the gate about scaled inputs, shape (n, n_inputs)."""
        return Opinions(self.local_.scores(Z), self.portable_.scores(Z), self.gate_.openness(Z))


def _to_nearest(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.partition(distances, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS].mean(axis=1))
