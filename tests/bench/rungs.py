"""The rungs of the ladder: every kind of classifier that was tried, each fitted to raw features and label numbers."""

from typing import Any, Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from model.classifier import EmotionClassifier
from model.datasets import near_duplicate_groups
from model.emotions import EMOTIONS, Emotion
from model.experts import KernelExpert
from model.inputs import INPUT_NAMES, PORTABLE, derive_inputs

Inputs = NDArray[np.float64]
Labels = NDArray[np.int64]
_RELAX, _HAPPY, _SAD, _ANGRY = (EMOTIONS.index(e) for e in (Emotion.RELAX, Emotion.HAPPY, Emotion.SAD, Emotion.ANGRY))

# What every theory of arousal and of valence agrees on: louder, denser, rougher, faster and brighter is more aroused;
# major and faster is more pleasant.
RISES_WITH_AROUSAL: Final = (
    "RMSenergy_Mean",
    "Roughness_Mean",
    "Eventdensity_Mean",
    "Pulseclarity_Mean",
    "Tempo_Mean",
    "Brightness_Mean",
)
RISES_WITH_VALENCE: Final = ("key_major_minus_minor", "Tempo_Mean", "Pulseclarity_Mean")


class Rung(Protocol):
    """What the ladder asks of a classifier."""

    def fit(self, X: Inputs, truth: Labels) -> Self:
        """Fit to features, shape (n, 50), and label numbers, shape (n,)."""

    def predict(self, X: Inputs) -> Labels:
        """Give label numbers, shape (n,)."""


class Shipped(ClassifierMixin, BaseEstimator):
    """The shipped classifier by label numbers."""

    def fit(self, X: Inputs, truth: Labels) -> Self:
        """Fit, keeping near-duplicates together."""
        self.classes_ = np.arange(4)
        names = np.array([str(emotion) for emotion in EMOTIONS])
        self.model_ = EmotionClassifier().fit(X, names[truth], near_duplicate_groups(X))
        return self

    def predict_proba(self, X: Inputs) -> Inputs:
        """Give calibrated probabilities, shape (n, 4)."""
        return self.model_.predict_proba(X)

    def predict(self, X: Inputs) -> Labels:
        """Give label numbers, shape (n,)."""
        return np.asarray(self.predict_proba(X).argmax(axis=1))


class Kernel(ClassifierMixin, BaseEstimator):
    """The kernel expert alone."""

    def fit(self, Z: Inputs, truth: Labels) -> Self:
        """Fit to scaled inputs."""
        self.classes_ = np.arange(4)
        self.expert_ = KernelExpert(np.arange(Z.shape[1])).fit(Z, truth)
        return self

    def predict(self, Z: Inputs) -> Labels:
        """Give label numbers, shape (n,)."""
        return np.asarray(self.decision_function(Z).argmax(axis=1))

    def decision_function(self, Z: Inputs) -> Inputs:
        """Give scores, shape (n, 4)."""
        return self.expert_.scores(Z)


class Resplit(ClassifierMixin, BaseEstimator):
    """A classifier whose probability of sad and relax together is split again by an expert on these two alone."""

    def __init__(self, base: Any, expert: Any) -> None:
        self.base = base
        self.expert = expert

    def fit(self, X: Inputs, truth: Labels) -> Self:
        """Fit the classifier to all rows, the expert to those of the two emotions."""
        two = np.isin(truth, (_RELAX, _SAD))
        self.base_ = clone(self.base).fit(X, truth)
        self.expert_ = clone(self.expert).fit(X[two], truth[two] == _SAD)
        return self

    def predict(self, X: Inputs) -> Labels:
        """Give label numbers, shape (n,)."""
        P = np.array(self.base_.predict_proba(X))
        both, sad = P[:, _RELAX] + P[:, _SAD], self.expert_.predict_proba(X)[:, 1]
        P[:, _SAD], P[:, _RELAX] = both * sad, both * (1 - sad)
        return np.asarray(P.argmax(axis=1))


class MonotoneBoosting(ClassifierMixin, BaseEstimator):
    """Gradient boosting of arousal, then of valence within either half, that may only rise with what raises them.

    One classifier of four labels cannot be constrained so: an emotion has no direction, arousal and valence have.
    """

    def fit(self, Z: Inputs, truth: Labels) -> Self:
        """Fit to scaled inputs."""
        aroused = np.isin(truth, (_HAPPY, _ANGRY))
        self.arousal_ = _boosting(RISES_WITH_AROUSAL).fit(Z, aroused)
        self.high_ = _boosting(RISES_WITH_VALENCE).fit(Z[aroused], truth[aroused] == _HAPPY)
        self.low_ = _boosting(RISES_WITH_VALENCE).fit(Z[~aroused], truth[~aroused] == _RELAX)
        return self

    def predict(self, Z: Inputs) -> Labels:
        """Give label numbers, shape (n,)."""
        high, happy, relax = (model.predict_proba(Z)[:, 1] for model in (self.arousal_, self.high_, self.low_))
        P = np.empty((len(Z), 4))
        P[:, _HAPPY], P[:, _ANGRY] = high * happy, high * (1 - happy)
        P[:, _RELAX], P[:, _SAD] = (1 - high) * relax, (1 - high) * (1 - relax)
        return np.asarray(P.argmax(axis=1))


def _boosting(rising: tuple[str, ...] = ()) -> HistGradientBoostingClassifier:
    directions = np.zeros(len(INPUT_NAMES), dtype=int)
    directions[[INPUT_NAMES.index(name) for name in rising]] = 1
    return HistGradientBoostingClassifier(
        max_iter=150,
        learning_rate=0.05,
        max_depth=3,
        min_samples_leaf=10,
        max_features=0.2,
        l2_regularization=5.0,
        monotonic_cst=directions if rising else None,
        random_state=0,
    )


def _portable(X: Inputs) -> Inputs:
    return np.asarray(derive_inputs(X)[:, PORTABLE])


def _on(estimator: Any, inputs: Any = derive_inputs) -> Pipeline:
    return make_pipeline(FunctionTransformer(inputs), StandardScaler(), estimator)


_LDA: Final = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
_LR: Final = LogisticRegression(C=0.05, max_iter=3000)
_TREES: Final = ExtraTreesClassifier(200, max_features=0.3, min_samples_leaf=2, random_state=0)
SHIPPED: Final = "shipped: gated pairs of kernel and LDA"
RUNGS: Final[dict[str, Any]] = {
    SHIPPED: Shipped(),
    "logistic regression, the 50 columns": _on(_LR, None),
    "LDA, the 50 columns": _on(_LDA, None),
    "logistic regression": _on(_LR),
    "LDA": _on(_LDA),
    "LDA, portable inputs": _on(_LDA, _portable),
    "SVM": _on(SVC(C=2, gamma="scale")),
    "kernel least squares (Laplacian)": _on(Kernel()),
    "extra trees": _on(_TREES),
    "gradient boosting": _on(_boosting()),
    "monotone boosting of arousal, then valence": _on(MonotoneBoosting()),
    "stacking: LDA, kernel, trees under regression": _on(
        StackingClassifier([("lda", _LDA), ("kernel", Kernel()), ("trees", _TREES)], LogisticRegression(C=1.0), cv=5)
    ),
    "shipped, sad against relax again by regression": Resplit(Shipped(), _on(_LR)),
    "shipped, sad against relax again by trees": Resplit(Shipped(), _on(_TREES)),
}
