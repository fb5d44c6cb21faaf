"""Fragments in, one judgement out: what a worker holds of an artifact.

**Combination.** The classifier says how fragments' probabilities become the track's (``combine``) and which labels
are plausible given those (``label_sets``). Fragments unlike the training data are left out; when they are more than
half, the track itself is out of domain and every decision is ``withhold``.

**Valence and arousal** are the expectation of the quadrants' signs: valence = P(relax) + P(happy) - P(sad) - P(angry),
arousal = P(happy) + P(angry) - P(relax) - P(sad), for the four labels stand for the quadrants of Russell's circumplex
(Russell 1980; Er and Aydilek 2019).

**Rounding.** Every number is rounded to ``DECIMALS``, so that a replayed event carries the same bytes.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from features.schema import FEATURE_NAMES
from model.emotions import EMOTIONS, QUADRANTS, Emotion
from model.judgement import FragmentJudgement, Judgement
from model.manifest import Manifest

DECIMALS: Final = 6


class Classifier(Protocol):
    """What an artifact's estimator must be able to do; no other method is called."""

    def predict_proba(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give calibrated probabilities, shape (n, 4), in ``EMOTIONS`` order."""

    def label_sets(self, P: NDArray[np.float64], coverage: float) -> NDArray[np.bool_]:
        """Say which labels are plausible given calibrated probabilities, shape (n, 4)."""

    def combine(self, P: NDArray[np.float64]) -> NDArray[np.float64]:
        """Combine the probabilities of a track's fragments, shape (n, 4), into the track's, shape (4,)."""

    def in_domain(self, X: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Say which inputs are like the training data, shape (n,)."""

    def adapt(self, X: NDArray[np.float64]) -> "Classifier":
        """Give a copy adapted to the statistics of unlabelled rows; a judge never calls it."""


class Judge:
    """A classifier under its manifest: its policy, its version and all else that is known of it.

    Parameters
    ----------
    classifier : Classifier
        The fitted estimator.
    manifest : Manifest
        What the artifact says of itself.
    """

    __slots__ = ("classifier", "manifest")

    def __init__(self, classifier: Classifier, manifest: Manifest) -> None:
        self.classifier = classifier
        self.manifest = manifest

    @property
    def version(self) -> str:
        """The model version that every event carries."""
        return self.manifest.version

    @property
    def feature_version(self) -> str:
        """The version of the ear that it was trained for."""
        return self.manifest.feature_version

    @property
    def trained_at(self) -> datetime:
        """When it was trained."""
        return datetime.fromisoformat(self.manifest.created_at)

    @property
    def deciles(self) -> dict[str, tuple[float, ...]]:
        """The nine inner deciles of each feature in training: the reference for drift."""
        return self.manifest.deciles

    def judge(self, X: NDArray[np.float64], starts: Sequence[float]) -> Judgement:
        """Judge a track by its fragments.

        Parameters
        ----------
        X : np.ndarray, shape (n_fragments, 50), float64
            One finite feature vector per fragment, in ``FEATURE_NAMES`` order.
        starts : sequence of float
            Where each fragment begins, in seconds, >= 0.

        Returns
        -------
        Judgement
            Numbers rounded to ``DECIMALS``; the probabilities sum to 1.

        Raises
        ------
        ValueError
            If there is no fragment, the shapes disagree, or a number is not finite.
        """
        X = np.asarray(X, dtype=np.float64)
        if X.ndim != 2 or X.shape[1] != len(FEATURE_NAMES) or len(X) == 0 or len(X) != len(starts):
            raise ValueError(
                f"expected (n, {len(FEATURE_NAMES)}) features and n starts with n >= 1, got {X.shape} and {len(starts)}"
            )
        if not np.isfinite(X).all():
            raise ValueError("expected finite features, got NaN or infinity")

        proba = np.asarray(self.classifier.predict_proba(X), dtype=np.float64)
        familiar = np.asarray(self.classifier.in_domain(X), dtype=bool)
        out_of_domain = bool(2 * np.count_nonzero(familiar) < len(X))
        counted = proba[familiar] if familiar.any() else proba
        combined = self.classifier.combine(counted)

        probabilities = rounded(combined)
        plausible = self.classifier.label_sets(combined[np.newaxis], self.manifest.policy.coverage)[0]
        by_probability = sorted(EMOTIONS, key=lambda label: -probabilities[label])
        emotion = by_probability[0]
        prediction_set = tuple(
            label for label in by_probability if label is emotion or plausible[EMOTIONS.index(label)]
        )
        valence, arousal = circumplex(probabilities)
        return Judgement(
            emotion=emotion,
            confidence=probabilities[emotion],
            probabilities=probabilities,
            prediction_set=prediction_set,
            valence=valence,
            arousal=arousal,
            decisions=self.manifest.policy.decide(probabilities, prediction_set, out_of_domain=out_of_domain),
            fragments=tuple(
                FragmentJudgement(float(start), *_most_probable(row)) for start, row in zip(starts, proba, strict=True)
            ),
            out_of_domain=out_of_domain,
        )


def rounded(proba: NDArray[np.float64]) -> dict[Emotion, float]:
    """Round four probabilities so that they still sum to 1; the largest takes up what rounding left.

    Parameters
    ----------
    proba : np.ndarray, shape (4,), float64
        Probabilities in ``EMOTIONS`` order, summing to 1.

    Returns
    -------
    dict of Emotion to float
        Each in [0, 1], with ``DECIMALS`` decimals.
    """
    numbers = {label: round(float(value), DECIMALS) for label, value in zip(EMOTIONS, proba, strict=True)}
    largest = max(EMOTIONS, key=lambda label: numbers[label])
    rest = sum(value for label, value in numbers.items() if label is not largest)
    numbers[largest] = round(1.0 - rest, DECIMALS)
    return numbers


def circumplex(probabilities: dict[Emotion, float]) -> tuple[float, float]:
    """Place probabilities in Russell's plane.

    Parameters
    ----------
    probabilities : dict of Emotion to float
        Summing to 1.

    Returns
    -------
    valence, arousal : float
        Each in [-1, 1].
    """
    valence, arousal = (
        sum(QUADRANTS[label][axis] * value for label, value in probabilities.items()) for axis in (0, 1)
    )
    return (_affect(valence), _affect(arousal))


def _affect(value: float) -> float:
    # Adding zero turns -0.0 into 0.0, which would be another text in JSON.
    return min(1.0, max(-1.0, round(value, DECIMALS))) + 0.0


def _most_probable(proba: NDArray[np.float64]) -> tuple[Emotion, float]:
    probabilities = rounded(proba)
    emotion = max(EMOTIONS, key=lambda label: probabilities[label])
    return emotion, probabilities[emotion]
