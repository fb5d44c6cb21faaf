"""A training procedure tried out of fold: what it says of rows it has not seen, and how sure we are of its scores.

An artifact is trained on every row there is, so its own scores on those rows mean nothing. What can be tried is its
*procedure*: the same classifier and parameters fitted again without the rows asked, or anything nearly the same as
them (``near_duplicate_groups``), in stratified grouped folds. Retraining from the manifest reproduces the artifact
exactly (the traceability gate), so the procedure speaks for it.

Scores are functions of a confusion matrix; their intervals come from resampling groups with replacement (bootstrap,
Efron and Tibshirani 1993), expressed as row weights so that a thousand resamples are one matrix product. Two trials on
the same rows share their resamples, so that differences are paired.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import StratifiedGroupKFold

from features.schema import COLUMNS
from model.datasets import near_duplicate_groups
from model.emotions import EMOTIONS
from model.errors import DatasetError
from model.judge import Classifier
from model.manifest import Score

N_FOLDS: Final = 10
N_RESAMPLES: Final = 1000
CONFIDENCE: Final = 0.95
_BOUNDS: Final = tuple(np.array([(column.low, column.high) for column in COLUMNS]).T)


class Procedure(Classifier, Protocol):
    """A classifier that can be fitted anew; scikit-learn's ``clone`` copies its parameters."""

    def fit(self, X: NDArray[np.float64], y: NDArray[np.str_], groups: NDArray[np.int64]) -> Self:
        """Fit to labelled rows; rows of one group are kept on one side of inner splits."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Labelled rows; NaN where a cell is missing.

    Parameters
    ----------
    X : np.ndarray, shape (n, 50), float64
    y : np.ndarray, shape (n,), str
        Emotions.
    """

    X: NDArray[np.float64]
    y: NDArray[np.str_]


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """Answers about rows that the answering model had not seen.

    Parameters
    ----------
    truth : np.ndarray, shape (n,), int64
        Index into ``EMOTIONS``.
    groups : np.ndarray, shape (n,), int64
        Rows to be resampled together: near-duplicates, and repeats of one row.
    proba : np.ndarray, shape (n, 4), float64
    sets : np.ndarray, shape (n, 4), bool
        Prediction sets.
    familiar : np.ndarray, shape (n,), bool
        In domain.
    """

    truth: NDArray[np.int64]
    groups: NDArray[np.int64]
    proba: NDArray[np.float64]
    sets: NDArray[np.bool_]
    familiar: NDArray[np.bool_]

    def confusion(self, weights: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """Count truth (rows) against answer (columns), shape (4, 4), or (B, 4, 4) under (B, n) weights."""
        said = self.proba.argmax(axis=1)
        cell = np.eye(16)[self.truth * 4 + said]
        counts = (np.ones(len(cell)) if weights is None else weights) @ cell
        return np.asarray(counts.reshape(*counts.shape[:-1], 4, 4))


def try_procedure(
    procedure: Procedure,
    train: Table,
    test: Table,
    *,
    coverage: float,
    seed: int,
    repeats: int,
    adapted_to: NDArray[np.float64] | None = None,
) -> Trial:
    """Fit without each fold of ``test`` and its near-duplicates in ``train``; ask about that fold.

    Parameters
    ----------
    procedure : Procedure
        Copied for every fold; never changed.
    train, test : Table
        What it learns from and what it is asked; the same object for a plain cross-validation.
    coverage : float
        What its prediction sets promise, in (0, 1).
    seed, repeats : int
        Of the folds; every repeat shuffles anew.
    adapted_to : np.ndarray, shape (m, 50), optional
        Adapt to this catalogue after each fit.

    Returns
    -------
    Trial
        ``repeats`` times the rows of ``test``, in order.
    """
    (trial,) = try_under_noise(
        procedure, train, test, (0.0,), coverage=coverage, seed=seed, repeats=repeats, adapted_to=adapted_to
    )
    return trial


def try_under_noise(
    procedure: Procedure,
    train: Table,
    test: Table,
    levels: Sequence[float],
    *,
    coverage: float,
    seed: int,
    repeats: int,
    adapted_to: NDArray[np.float64] | None = None,
) -> list[Trial]:
    """Ask the same fits several times, with more or less noise on the rows asked.

    Parameters
    ----------
    levels : sequence of float
        Of Gaussian noise, in standard deviations of each column; what leaves the bounds of a column's definition is put
        back on them. The levels share their draws.
    procedure, train, test, coverage, seed, repeats, adapted_to
        As for `try_procedure`.

    Returns
    -------
    list of Trial
        One for each level.
    """
    n = len(test.X)
    filled_test = fill(test.X, test.X)
    union = filled_test if train is test else np.vstack([filled_test, fill(train.X, train.X)])
    all_groups = near_duplicate_groups(union)
    test_groups, train_groups = all_groups[:n], all_groups if train is test else all_groups[n:]
    truth = codes(test.y)
    shape = (len(levels), repeats, n)
    proba, sets, familiar = np.empty((*shape, 4)), np.empty((*shape, 4), dtype=bool), np.empty(shape, dtype=bool)
    for repeat in range(repeats):
        folds = StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=seed + repeat)
        jitter = np.random.default_rng(seed + repeat).standard_normal(test.X.shape) * np.nanstd(test.X, axis=0)
        for _, asked in folds.split(filled_test, truth, test_groups):
            seen = np.flatnonzero(~np.isin(train_groups, test_groups[asked]))
            known = train.X[seen]
            fitted: Classifier = clone(procedure).fit(fill(known, known), train.y[seen], train_groups[seen])
            fitted = fitted if adapted_to is None else fitted.adapt(adapted_to)
            rows = fill(test.X[asked], known)
            for index, level in enumerate(levels):
                noisy = np.clip(rows + level * jitter[asked], *_BOUNDS) if level else rows
                at = (index, repeat, asked)
                proba[at] = fitted.predict_proba(noisy)
                sets[at] = fitted.label_sets(proba[at], coverage)
                familiar[at] = fitted.in_domain(noisy)
    truth, groups = np.tile(truth, repeats), np.tile(test_groups, repeats)
    return [
        Trial(truth, groups, proba[index].reshape(-1, 4), sets[index].reshape(-1, 4), familiar[index].ravel())
        for index in range(len(levels))
    ]


def ask(classifier: Classifier, test: Table, *, coverage: float, repeats: int) -> Trial:
    """Ask a fitted classifier as it stands, in the form of `try_procedure`.

    It may have seen the rows or their like in training: its figures are then too good.
    """
    X = fill(test.X, test.X)
    proba = classifier.predict_proba(X)
    return Trial(
        np.tile(codes(test.y), repeats),
        np.tile(near_duplicate_groups(X), repeats),
        np.tile(proba, (repeats, 1)),
        np.tile(classifier.label_sets(proba, coverage), (repeats, 1)),
        np.tile(classifier.in_domain(X), repeats),
    )


def resamples(groups: NDArray[np.int64], *, seed: int) -> NDArray[np.float64]:
    """Give each row's weight in ``N_RESAMPLES`` draws of groups with replacement.

    Parameters
    ----------
    groups : np.ndarray, shape (n,), int64
    seed : int

    Returns
    -------
    np.ndarray, shape (N_RESAMPLES, n), float64
    """
    _, index = np.unique(groups, return_inverse=True)
    count = int(index.max()) + 1
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1.0 / count), size=N_RESAMPLES)
    return np.asarray(draws[:, index.reshape(-1)], dtype=np.float64)


def macro_f1(confusion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of the four F1 scores of (..., 4, 4) confusion matrices."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    total = confusion.sum(axis=-1) + confusion.sum(axis=-2)
    return np.asarray((2.0 * right / np.maximum(total, 1e-12)).mean(axis=-1))


def recalls(confusion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Recall of each emotion, shape (..., 4), of (..., 4, 4) confusion matrices."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    return np.asarray(right / np.maximum(confusion.sum(axis=-1), 1e-12))


def interval(values: NDArray[np.float64], *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Percentile interval of a resampled score."""
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(values, [tail, 100.0 - tail])
    return float(low), float(high)


def score(value: float, resampled: NDArray[np.float64]) -> Score:
    """Put a score and its interval together, to 4 decimals."""
    low, high = interval(resampled)
    return Score(value=round(float(value), 4), low=round(low, 4), high=round(high, 4))


def fill(X: NDArray[np.float64], known: NDArray[np.float64]) -> NDArray[np.float64]:
    """Replace missing cells by the column's median among known rows."""
    return np.where(np.isnan(X), np.nanmedian(known, axis=0), X) if np.isnan(X).any() else X


def codes(y: NDArray[np.str_]) -> NDArray[np.int64]:
    """Turn labels into indices of ``EMOTIONS``.

    Raises
    ------
    DatasetError
        If an emotion has too few rows for the folds, or a label is not an emotion.
    """
    index = {str(label): number for number, label in enumerate(EMOTIONS)}
    unknown = sorted(set(y.tolist()) - set(index))
    if unknown:
        raise DatasetError(f"expected labels {', '.join(index)}, got {', '.join(unknown)}")
    numbers = np.array([index[label] for label in y], dtype=np.int64)
    counts = np.bincount(numbers, minlength=4)
    if counts.min() < N_FOLDS:
        poorest = EMOTIONS[int(counts.argmin())]
        raise DatasetError(f"expected at least {N_FOLDS} rows of every emotion, got {counts.min()} of {poorest}")
    return numbers
