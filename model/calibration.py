"""Make probabilities mean what they say, and measure whether they do.

References
----------
Guo, Pleiss, Sun and Weinberger (2017), On Calibration of Modern Neural Networks, ICML (temperature scaling, ECE).
Menon et al. (2021), Long-Tail Learning via Logit Adjustment, ICLR (a class is favoured by an offset of its log-odds).
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

# The usual number of equal-width bins of the expected calibration error.
ECE_BINS = 10


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


def apply_offsets(P: NDArray[np.float64], offsets: NDArray[np.float64]) -> NDArray[np.float64]:
    """Favour classes: add ``offsets``, shape (k,), to the log-odds of probabilities, shape (n, k)."""
    favoured = P * np.exp(offsets)
    return np.asarray(favoured / favoured.sum(axis=1, keepdims=True))


def fit_offsets(P: NDArray[np.float64], truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """Find the offset that serves the worst-served class nearly as well as the others.

    Of the offsets that even out recall on the given rows, half is taken: what evens out one sample exactly overshoots
    on the next.

    Parameters
    ----------
    P : np.ndarray, shape (n, k), float64
        Out-of-fold probabilities.
    truth : np.ndarray, shape (n,), int64
        The true column of each row; every class at least once.

    Returns
    -------
    np.ndarray, shape (k,), float64
        Zero but for one class, there within [0, 0.3].
    """
    classes = np.arange(P.shape[1])

    def recall(offsets: NDArray[np.float64]) -> NDArray[np.float64]:
        said = apply_offsets(P, offsets).argmax(axis=1)
        return np.array([np.mean(said[truth == k] == k) for k in classes])

    worst_served = classes == recall(np.zeros(len(classes))).argmin()
    tried = [offset * worst_served for offset in np.arange(0.0, 0.61, 0.05)]
    spreads = [float(np.ptp(recall(offsets))) for offsets in tried]
    return np.asarray(tried[int(np.argmin(spreads))] / 2)


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
