import numpy as np

from features import FEATURE_NAMES
from model.drift import DRIFT_LIMIT, stability_index
from model.train import deciles


def sample(n: int, seed: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, len(FEATURE_NAMES))) + shift


def test_stability_index_same_population_is_stable() -> None:
    index = stability_index(deciles(sample(400, 0)), sample(400, 1))

    assert list(index) == list(FEATURE_NAMES)
    assert max(index.values()) < DRIFT_LIMIT


def test_stability_index_shift_of_one_standard_deviation_is_drift() -> None:
    assert min(stability_index(deciles(sample(400, 0)), sample(400, 1, shift=1.0)).values()) > DRIFT_LIMIT


def test_stability_index_one_value_shared_by_many_is_not_drift() -> None:
    X = np.round(sample(400, 0) / 3.0)

    assert max(stability_index(deciles(X), np.round(sample(400, 1) / 3.0)).values()) < DRIFT_LIMIT


def test_stability_index_all_outside_training_is_large_and_finite() -> None:
    values = np.array(list(stability_index(deciles(sample(400, 0)), sample(200, 1, shift=100.0)).values()))

    assert np.isfinite(values).all()
    assert values.min() > 2.0
