"""The judgement as one scikit-learn estimator: calibrated probabilities, prediction sets and a domain check.

Everything learned is learned in ``fit``, from the rows it is given: scaling, experts, gate, weights, temperature,
conformal scores and domain. Calibration uses out-of-fold opinions of a grouped cross-validation inside ``fit``, so no
row calibrates a model that was trained on it.
"""

from copy import copy
from typing import Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import StratifiedGroupKFold

from features.schema import FEATURE_NAMES
from model.calibration import (
    apply_offsets,
    apply_pool,
    apply_temperature,
    fit_offsets,
    fit_pool,
    fit_temperature,
)
from model.conformal import ConformalSets
from model.domain import TrainingDomain
from model.emotions import EMOTIONS
from model.experts import Experts, Opinions
from model.inputs import derive_inputs

CALIBRATION_FOLDS: Final = 10
# The mean and standard deviation of fewer tracks are worse than those of the training table.
LEAST_CATALOGUE: Final = 30
_LABELS: Final = np.array([str(emotion) for emotion in EMOTIONS])


class EmotionClassifier(ClassifierMixin, BaseEstimator):
    """Classify feature vectors into the four emotions.

    Parameters
    ----------
    random_state : int
        Seed of the calibration folds; the same data and seed give the same predictions.

    Attributes
    ----------
    classes_ : np.ndarray, shape (4,), str
        The emotions in ``EMOTIONS`` order, which is the order of every column below.
    n_features_in_ : int
        50.
    feature_names_in_ : np.ndarray, shape (50,), str
    adapted_ : bool
        Whether the inputs are in units of a catalogue (``adapt``), where only the portable linear expert is asked.
    local_weights_, portable_weights_ : np.ndarray, shape (2,), float64
        Of the scores of each pair's kernel expert and linear expert.
    adapted_weights_ : np.ndarray, shape (1,), float64
        Of the portable linear expert, where it is heard alone.
    temperature_ : float
        Of the mixture.
    offsets_ : np.ndarray, shape (4,), float64
        Added to the mixture's log-odds as far as the gate is open, so that no emotion is served much worse than others.
    """

    def __init__(self, random_state: int = 0) -> None:
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None) -> Self:
        """Learn from labelled feature vectors.

        Parameters
        ----------
        X : array-like, shape (n, 50), float
            Finite features in ``FEATURE_NAMES`` order.
        y : array-like, shape (n,), str
            Emotions, each of the four at least ten times.
        groups : array-like, shape (n,), optional
            Rows of one group are never split between fitting and calibrating (``near_duplicate_groups``); each row
            its own group without it.

        Raises
        ------
        ValueError
            If shapes do not fit, a number is not finite, a label is unknown or an emotion has too few rows.
        """
        X, truth = _check_features(X), _check_labels(y)
        groups = np.arange(len(X)) if groups is None else np.asarray(groups)
        if not len(X) == len(truth) == len(groups):
            raise ValueError(f"expected X, y and groups of one length, got {len(X)}, {len(truth)} and {len(groups)}")
        self.classes_ = _LABELS
        self.n_features_in_ = len(FEATURE_NAMES)
        self.feature_names_in_ = np.array(FEATURE_NAMES, dtype=object)
        inputs = derive_inputs(X)
        self.centre_: NDArray[np.float64] = inputs.mean(axis=0)
        self.scale_: NDArray[np.float64] = np.maximum(inputs.std(axis=0), 1e-12)
        Z = self._scaled(X)
        opinions = self._opinions_out_of_fold(Z, truth, groups)
        self.local_weights_: NDArray[np.float64] = fit_pool(opinions.local, truth)
        self.portable_weights_: NDArray[np.float64] = fit_pool(opinions.portable, truth)
        self.adapted_weights_: NDArray[np.float64] = fit_pool(opinions.adapted, truth)
        self.adapted_ = False
        self.offsets_: NDArray[np.float64] = fit_offsets(self._mixed(opinions), truth)
        self.temperature_ = fit_temperature(self._evened(opinions), truth)
        self.conformal_ = ConformalSets.calibrate(apply_temperature(self._evened(opinions), self.temperature_), truth)
        self.experts_ = Experts().fit(Z, truth)
        self.domain_ = TrainingDomain().fit(Z)
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Give calibrated probabilities.

        Parameters
        ----------
        X : array-like, shape (n, 50), float

        Returns
        -------
        np.ndarray, shape (n, 4), float64
            Columns in ``EMOTIONS`` order, rows summing to 1.
        """
        opinions = self.experts_.opinions(self._scaled(_check_features(X)))
        return apply_temperature(self._evened(opinions), self.temperature_)

    def predict(self, X: ArrayLike) -> NDArray[np.str_]:
        """Give the most probable emotion of each row, shape (n,)."""
        return np.asarray(_LABELS[self.predict_proba(X).argmax(axis=1)])

    def prediction_sets(self, X: ArrayLike, coverage: float = 0.9) -> NDArray[np.bool_]:
        """Give the labels that cover the truth with a chosen probability: ``label_sets(predict_proba(X))``."""
        return self.label_sets(self.predict_proba(X), coverage)

    def label_sets(self, P: NDArray[np.float64], coverage: float = 0.9) -> NDArray[np.bool_]:
        """Give the prediction sets of calibrated probabilities, of a fragment or combined from several.

        Parameters
        ----------
        P : np.ndarray, shape (n, 4), float64
        coverage : float
            In (0, 1).

        Returns
        -------
        np.ndarray, shape (n, 4), bool
            Never empty; columns in ``EMOTIONS`` order.
        """
        return self.conformal_.sets(P, coverage)

    def domain_distance(self, X: ArrayLike) -> NDArray[np.float64]:
        """Measure how far rows lie from the training data, shape (n,): 1 is the edge, more is outside."""
        return self.domain_.distance(self._scaled(_check_features(X)))

    def in_domain(self, X: ArrayLike) -> NDArray[np.bool_]:
        """Tell which rows resemble the training data, shape (n,)."""
        return np.asarray(self.domain_distance(X) <= 1.0)

    def combine(self, P: ArrayLike) -> NDArray[np.float64]:
        """Combine the fragments of one track into the track's probabilities.

        Parameters
        ----------
        P : array-like, shape (n_fragments, 4), float
            Calibrated probabilities of one or more fragments.

        Returns
        -------
        np.ndarray, shape (4,), float64
            Their normalised geometric mean (logarithmic opinion pool), summing to 1.

        Raises
        ------
        ValueError
            If there is no fragment.
        """
        P = np.atleast_2d(np.asarray(P, dtype=np.float64))
        if P.size == 0:
            raise ValueError("expected at least one fragment, got none")
        pooled = np.exp(np.log(np.maximum(P, 1e-9)).mean(axis=0))
        return np.asarray(pooled / pooled.sum())

    def adapt(self, X: ArrayLike) -> "EmotionClassifier":
        """Shift the ear to another catalogue by the statistics of its unlabelled tracks.

        Parameters
        ----------
        X : array-like, shape (n, 50), float
            Features of at least ``LEAST_CATALOGUE`` tracks that represent the catalogue.

        Returns
        -------
        EmotionClassifier
            A copy whose inputs are centred and scaled by the catalogue's own mean and standard deviation, and which
            asks the portable linear expert only. No label is used. Confidence and prediction sets stay those of the
            training table: only labels of the catalogue could calibrate them there.

        Raises
        ------
        ValueError
            If there are fewer rows.
        """
        X = _check_features(X)
        if len(X) < LEAST_CATALOGUE:
            raise ValueError(f"expected at least {LEAST_CATALOGUE} tracks to adapt to, got {len(X)}")
        inputs = derive_inputs(X)
        adapted = copy(self)
        adapted.centre_ = inputs.mean(axis=0)
        adapted.scale_ = np.maximum(inputs.std(axis=0), 1e-12)
        adapted.adapted_ = True
        return adapted

    def _opinions_out_of_fold(
        self, Z: NDArray[np.float64], truth: NDArray[np.int64], groups: NDArray[np.generic]
    ) -> Opinions:
        opinions = Opinions(np.empty((len(Z), 2, 4)), np.empty((len(Z), 2, 4)), np.empty(len(Z)))
        folds = StratifiedGroupKFold(CALIBRATION_FOLDS, shuffle=True, random_state=self.random_state)
        for train, rest in folds.split(Z, truth, groups):
            experts = Experts().fit(Z[train], truth[train])
            for everything, of_fold in zip(opinions, experts.opinions(Z[rest]), strict=True):
                everything[rest] = of_fold
        return opinions

    def _mixed(self, opinions: Opinions) -> NDArray[np.float64]:
        # The gate knows the training repertoire; in a catalogue's own units it has nothing to compare.
        if self.adapted_:
            return apply_pool(opinions.adapted, self.adapted_weights_)
        share = opinions.openness[:, np.newaxis]
        local = apply_pool(opinions.local, self.local_weights_)
        portable = apply_pool(opinions.portable, self.portable_weights_)
        return np.asarray(share * local + (1 - share) * portable)

    def _evened(self, opinions: Opinions) -> NDArray[np.float64]:
        # Which emotion is served worse, and by how much, is known of the training repertoire only.
        mixed = self._mixed(opinions)
        return mixed if self.adapted_ else apply_offsets(mixed, opinions.openness[:, np.newaxis] * self.offsets_)

    def _scaled(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        return (derive_inputs(X) - self.centre_) / self.scale_


def _check_features(X: ArrayLike) -> NDArray[np.float64]:
    X = np.asarray(X, dtype=np.float64)
    if X.ndim != 2 or X.shape[1] != len(FEATURE_NAMES):
        raise ValueError(f"expected rows of {len(FEATURE_NAMES)} features, got shape {X.shape}")
    if not np.isfinite(X).all():
        raise ValueError("expected finite features, got NaN or infinity")
    return X


def _check_labels(y: ArrayLike) -> NDArray[np.int64]:
    y = np.asarray(y, dtype=str)
    unknown = sorted(set(y) - set(_LABELS))
    if unknown:
        raise ValueError(f"expected labels among {', '.join(_LABELS)}, got {', '.join(unknown)}")
    truth: NDArray[np.int64] = (y[:, None] == _LABELS).argmax(axis=1)
    counts = np.bincount(truth, minlength=len(_LABELS))
    if counts.min() < CALIBRATION_FOLDS:
        raise ValueError(f"expected at least {CALIBRATION_FOLDS} rows of every emotion, got {counts.tolist()}")
    return truth
