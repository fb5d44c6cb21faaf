import numpy as np
from scipy.stats import ks_2samp

from features import FEATURE_NAMES
from model.drift import DRIFT_LIMIT, kolmogorov_smirnov, mix_stability, stability_index
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


def test_kolmogorov_smirnov_is_the_distance_at_the_deciles() -> None:
    trained, recent = sample(400, 0), sample(300, 1, shift=0.7)
    distance = kolmogorov_smirnov(deciles(trained), recent)

    assert list(distance) == list(FEATURE_NAMES)
    for column, value in enumerate(distance.values()):
        exact = ks_2samp(trained[:, column], recent[:, column]).statistic
        assert exact - 0.1 - 1 / 400 <= value <= exact + 1 / 400


def test_kolmogorov_smirnov_one_value_shared_by_many_is_no_distance() -> None:
    X = np.round(sample(400, 0) / 3.0)

    assert max(kolmogorov_smirnov(deciles(X), X).values()) < 0.11


def test_mix_stability_same_mix_is_stable_and_another_is_not() -> None:
    assert mix_stability([400, 300, 200, 100], [200, 150, 100, 50]) < 0.001
    assert mix_stability([100, 100, 100, 100], [160, 20, 10, 10]) > DRIFT_LIMIT
    assert np.isfinite(mix_stability([0, 0, 0, 9], [9, 0, 0, 0]))
