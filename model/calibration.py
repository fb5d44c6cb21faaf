"""Make probabilities mean what they say, and measure whether they do.

References
----------
Guo, Pleiss, Sun and Weinberger (2017), On Calibration of Modern Neural Networks, ICML (temperature scaling, ECE).
Menon et al. (2021), Long-Tail Learning via Logit Adjustment, ICLR (a class is favoured by an offset of its log-odds).
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax, softmax

# The usual number of equal-width bins of the expected calibration error.
ECE_BINS = 10
# At most this much of log-odds a step: 3 in all, twenty to one, more than any sensible classifier needs.
_EVENING_STEPS = 60
_EVENING_STEP = 0.05
_EVENED = 0.4


def apply_temperature(P: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Flatten (temperature > 1) or sharpen (< 1) probabilities without changing their order.

    Parameters
    ----------
    P : np.ndarray, shape (n, k), float64
        Probabilities, rows summing to 1.
    temperature : float
        > 0; 1 changes nothing.

    Returns
    -------
    np.ndarray, shape (n, k), float64
        ``P ** (1 / temperature)``, rows summing to 1 again.
    """
    logits = np.log(np.maximum(P, 1e-9)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    scaled: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return scaled


def fit_temperature(P: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    """Find the temperature of the least log loss on probabilities of rows the classifier had not seen.

    Parameters
    ----------
    P : np.ndarray, shape (n, k), float64
        Out-of-fold probabilities.
    truth : np.ndarray, shape (n,), int64
        The true column of each row.

    Returns
    -------
    float
        Within [0.05, 20].
    """

    def loss(log_temperature: float) -> float:
        return log_loss(apply_temperature(P, np.exp(log_temperature)), truth)

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded").x))


def apply_pool(scores: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pool experts: the softmax of their weighted scores.

    Parameters
    ----------
    scores : np.ndarray, shape (n, m, k), float64
        Of m experts: log-probabilities, or anything that grows with them.
    weights : np.ndarray, shape (m,), float64
        >= 0.

    Returns
    -------
    np.ndarray, shape (n, k), float64
        Probabilities, rows summing to 1.
    """
    return np.asarray(softmax(_pooled(scores, weights), axis=1))


def fit_pool(scores: NDArray[np.float64], truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """Find the weights of least log loss on scores of rows the experts had not seen.

    The loss is convex in the weights, so there is one answer; an expert that adds nothing gets none.

    Parameters
    ----------
    scores : np.ndarray, shape (n, m, k), float64
        Out-of-fold scores of m experts.
    truth : np.ndarray, shape (n,), int64
        The true column of each row.

    Returns
    -------
    np.ndarray, shape (m,), float64
        >= 0.
    """
    n, m, k = scores.shape
    indicators = np.eye(k)[truth]

    def loss_and_gradient(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logs = log_softmax(_pooled(scores, weights), axis=1)
        surplus = np.exp(logs) - indicators
        return -float((logs * indicators).sum()) / n, np.einsum("nmk,nk->m", scores, surplus) / n

    # Scores may be of any scale: from a start of one unit of spread each, within a few steps of the answer.
    start = 1 / (scores.std(axis=(0, 2)) + 1e-9)
    found = minimize(loss_and_gradient, start, jac=True, bounds=[(0, None)] * m, options={"ftol": 1e-13, "gtol": 1e-8})
    return np.asarray(found.x)


def apply_offsets(P: NDArray[np.float64], offsets: NDArray[np.float64]) -> NDArray[np.float64]:
    """Favour classes: add ``offsets``, shape (k,) or (n, k), to the log-odds of probabilities, shape (n, k)."""
    favoured = P * np.exp(offsets)
    return np.asarray(favoured / favoured.sum(axis=1, keepdims=True))


def fit_offsets(P: NDArray[np.float64], truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """Find offsets that serve every class nearly as well as the others.

    Step by step each class is favoured by how far its recall lies below the mean. Of the offsets that leave the least
    spread of recall on the given rows, two fifths are taken: what evens out one sample exactly overshoots on the next,
    and costs more calibration and accuracy than it is worth.

    Parameters
    ----------
    P : np.ndarray, shape (n, k), float64
        Out-of-fold probabilities.
    truth : np.ndarray, shape (n,), int64
        The true column of each row; every class at least once.

    Returns
    -------
    np.ndarray, shape (k,), float64
        Summing to 0.
    """
    classes = np.arange(P.shape[1])
    offsets = best = np.zeros(len(classes))
    least = np.inf
    for _ in range(_EVENING_STEPS):
        said = apply_offsets(P, offsets).argmax(axis=1)
        recall = np.array([np.mean(said[truth == k] == k) for k in classes])
        spread = float(np.ptp(recall))
        if spread < least:
            least, best = spread, offsets
        below = recall.mean() - recall
        offsets = offsets + _EVENING_STEP * below / max(spread, _EVENING_STEP)
    return np.asarray(_EVENED * (best - best.mean()))


def log_loss(P: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    """Average the negative logarithm of the true label's probability; P (n, k), truth (n,) of columns."""
    return float(-np.log(P[np.arange(len(truth)), truth] + 1e-12).mean())


def expected_calibration_error(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = ECE_BINS
) -> float:
    """Average the distance between confidence and accuracy over equal-width bins of confidence.

    Parameters
    ----------
    confidence : np.ndarray, shape (n,), float64
        Probability of the predicted label, in [0, 1].
    correct : np.ndarray, shape (n,), bool
        Whether the predicted label was the true one.
    bins : int
        Number of bins over [0, 1].

    Returns
    -------
    float
        In [0, 1]; 0 is perfect.
    """
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    surplus = np.bincount(which, weights=correct - confidence, minlength=bins)
    return float(np.abs(surplus).sum() / len(confidence))


def _pooled(scores: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.einsum("nmk,m->nk", scores, weights))
