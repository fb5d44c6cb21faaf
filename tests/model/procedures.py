"""A quick classifier that learns, and labelled tables on which it learns well."""

import csv
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from features import FEATURE_NAMES
from model.cleaning import published_ranges
from model.emotions import EMOTIONS

ESTIMATOR = "model.classifier:EmotionClassifier"
LABELS = np.array([str(label) for label in EMOTIONS])


class Centroids(BaseEstimator):
    """Softmax over distances to the emotions' means; it learns nothing else."""

    def __init__(self, random_state: int = 0) -> None:
        self.random_state = random_state

    def fit(self, X: NDArray[np.float64], y: NDArray[np.str_], groups: NDArray[np.int64] | None = None) -> Self:
        self.scale_ = X.std(axis=0)
        self.means_ = np.array([X[y == label].mean(axis=0) for label in LABELS])
        return self

    def predict_proba(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        squared = (((X[:, np.newaxis] - self.means_) / self.scale_) ** 2).sum(axis=2)
        odds = np.exp((squared.min(axis=1, keepdims=True) - squared) / 2.0)
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))

    def label_sets(self, P: NDArray[np.float64], coverage: float) -> NDArray[np.bool_]:
        return 1.0 - coverage <= P

    def combine(self, P: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(P.mean(axis=0))

    def in_domain(self, X: NDArray[np.float64]) -> NDArray[np.bool_]:
        return np.ones(len(X), dtype=bool)

    def adapt(self, X: NDArray[np.float64]) -> "Centroids":
        adapted = Centroids(self.random_state)
        adapted.scale_ = self.scale_
        adapted.means_ = self.means_ + X.mean(axis=0) - self.means_.mean(axis=0)
        return adapted


class Forgetful(Centroids):
    """Fits to another sample each time: nobody can reproduce it."""

    def fit(self, X: NDArray[np.float64], y: NDArray[np.str_], groups: NDArray[np.int64] | None = None) -> Self:
        super().fit(X, y, groups)
        self.means_ += np.random.default_rng().normal(scale=0.1, size=self.means_.shape) * self.scale_
        return self


def rows(per_class: int = 30, distance: float = 0.5, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """Give Gaussian clouds, four means ``distance`` standard deviations apart, within the published ranges."""
    centres = np.random.default_rng(42).normal(scale=distance, size=(4, len(FEATURE_NAMES)))
    truth = np.repeat(np.arange(4), per_class)
    Z = centres[truth] + np.random.default_rng(1000 + seed).normal(size=(len(truth), len(FEATURE_NAMES)))
    low, high = np.array([published_ranges()[name] for name in FEATURE_NAMES]).T
    return low + (high - low) * (0.5 + Z / 16.0), LABELS[truth]


def write_table(path: Path, X: NDArray[np.float64], y: NDArray[np.str_]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["Class", *FEATURE_NAMES])
        writer.writerows([label, *map(repr, row.tolist())] for label, row in zip(y, X, strict=True))
    return path
