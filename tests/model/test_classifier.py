import pickle

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import clone

from features.schema import FEATURE_NAMES
from model.classifier import EmotionClassifier
from model.emotions import EMOTIONS

Table = tuple[NDArray[np.float64], NDArray[np.str_]]


def synthetic_table(n_per_emotion: int = 40, seed: int = 0) -> Table:
    """Positive features whose level depends on the emotion, with enough noise to be wrong sometimes."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0.3, 0.6, size=(4, len(FEATURE_NAMES)))
    truth = np.repeat(np.arange(4), n_per_emotion)
    X = np.abs(centres[truth] + rng.normal(0, 0.2, size=(len(truth), len(FEATURE_NAMES))))
    return X, np.array([str(e) for e in EMOTIONS])[truth]


@pytest.fixture(scope="module")
def table() -> Table:
    return synthetic_table()


@pytest.fixture(scope="module")
def classifier(table: Table) -> EmotionClassifier:
    return EmotionClassifier(random_state=0).fit(*table)


def test_predict_proba_rows_sum_to_one_and_predict_is_the_largest(classifier: EmotionClassifier, table: Table) -> None:
    P = classifier.predict_proba(table[0])
    assert P.shape == (len(table[0]), 4)
    np.testing.assert_allclose(P.sum(axis=1), 1.0, rtol=1e-12)
    assert classifier.classes_.tolist() == [str(e) for e in EMOTIONS]
    assert (classifier.predict(table[0]) == classifier.classes_[P.argmax(axis=1)]).all()


def test_predict_new_rows_of_the_same_kind_is_mostly_right(classifier: EmotionClassifier) -> None:
    rng = np.random.default_rng(0)
    centres = rng.uniform(0.3, 0.6, size=(4, len(FEATURE_NAMES)))
    fresh = np.random.default_rng(99).normal(0, 0.2, size=(4, 50, len(FEATURE_NAMES)))
    accuracy = [
        (classifier.predict(np.abs(centres[k] + fresh[k])) == str(emotion)).mean() for k, emotion in enumerate(EMOTIONS)
    ]
    assert min(accuracy) > 0.7


def test_fit_same_data_and_seed_reproduces_predictions_exactly(classifier: EmotionClassifier, table: Table) -> None:
    again = clone(classifier).fit(*table)
    assert (again.predict_proba(table[0]) == classifier.predict_proba(table[0])).all()


def test_pickle_keeps_predictions(classifier: EmotionClassifier, table: Table) -> None:
    again: EmotionClassifier = pickle.loads(pickle.dumps(classifier))  # noqa: S301 - our own bytes, made one line up
    assert (again.predict_proba(table[0]) == classifier.predict_proba(table[0])).all()


def test_prediction_sets_cover_more_when_asked_for_more(classifier: EmotionClassifier, table: Table) -> None:
    small, large = (classifier.prediction_sets(table[0], coverage=c) for c in (0.8, 0.99))
    assert (small <= large).all()
    assert small.sum() < large.sum()
    assert small.any(axis=1).all()


def test_in_domain_passes_training_rows_and_refuses_absurd_ones(classifier: EmotionClassifier, table: Table) -> None:
    assert classifier.in_domain(table[0]).mean() >= 0.95
    assert not classifier.in_domain(table[0][:5] * 100).any()


def test_adapt_undoes_a_shift_of_the_catalogue(classifier: EmotionClassifier, table: Table) -> None:
    X, y = table
    shifted = X.copy()
    shifted[:, 4:17] += 2.0
    as_it_is = (classifier.predict(shifted) == y).mean()
    adapted = (classifier.adapt(shifted).predict(shifted) == y).mean()
    assert adapted > as_it_is
    assert (classifier.predict(X) == y).mean() > 0.9, "adapting must leave the original alone"


def test_adapt_too_few_tracks_raises(classifier: EmotionClassifier, table: Table) -> None:
    with pytest.raises(ValueError, match="at least 30 tracks"):
        classifier.adapt(table[0][:29])


def test_combine_one_fragment_is_that_fragment(classifier: EmotionClassifier, table: Table) -> None:
    P = classifier.predict_proba(table[0][:1])
    np.testing.assert_allclose(classifier.combine(P), P[0])


def test_combine_agreeing_fragments_keep_their_emotion(classifier: EmotionClassifier) -> None:
    P = np.array([[0.6, 0.2, 0.1, 0.1], [0.5, 0.1, 0.3, 0.1], [0.3, 0.3, 0.35, 0.05]])
    combined = classifier.combine(P)
    assert combined.argmax() == 0
    assert combined.sum() == pytest.approx(1)


def test_combine_no_fragment_raises(classifier: EmotionClassifier) -> None:
    with pytest.raises(ValueError, match="at least one fragment"):
        classifier.combine(np.empty((0, 4)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y: (X[:, :49], y), "rows of 50 features"),
        (lambda X, y: (np.where(X.max() == X, np.nan, X), y), "finite"),
        (lambda X, y: (X, np.where(y == "sad", "gloomy", y)), "gloomy"),
        (lambda X, y: (X[y != "sad"], y[y != "sad"]), "every emotion"),
        (lambda X, y: (X, y[:-1]), "one length"),
    ],
)
def test_fit_unusable_input_raises(table: Table, change, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        EmotionClassifier().fit(*change(*table))
