"""Calibration: pools weigh experts by what they are worth; offsets even out the classes, never more than measured."""

import numpy as np
from numpy.typing import NDArray

from model.calibration import apply_offsets, apply_pool, fit_offsets, fit_pool, log_loss


def test_fit_pool_ignores_noise_and_undoes_scale() -> None:
    generator = np.random.default_rng(0)
    truth = generator.integers(4, size=800)
    informed = generator.normal(size=(800, 4))
    informed[np.arange(800), truth] += 2.0
    scores = np.stack([100.0 * informed, generator.normal(size=(800, 4))], axis=1)

    weights = fit_pool(scores, truth)

    assert weights.min() >= 0
    assert 0.01 < weights[0] < 0.04, "a shift of 2 at unit variance is worth 2 units of log-odds per unit"
    assert weights[1] < 0.15
    P = apply_pool(scores, weights)
    assert np.allclose(P.sum(axis=1), 1)
    assert all(log_loss(P, truth) <= log_loss(apply_pool(scores, weights * c), truth) for c in (0.9, 1.1))


def test_fit_offsets_favour_the_worst_served_class() -> None:
    generator = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], 200)
    logits = generator.normal(size=(600, 3))
    logits[np.arange(600), truth] += 2.0
    logits[:, 2] -= 1.5
    P = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    def spread(P: NDArray[np.float64]) -> float:
        said = P.argmax(axis=1)
        return float(np.ptp([np.mean(said[truth == k] == k) for k in range(3)]))

    offsets = fit_offsets(P, truth)
    assert offsets.argmax() == 2
    assert abs(offsets.sum()) < 1e-12
    assert spread(apply_offsets(P, offsets)) < spread(P)
    assert np.allclose(apply_offsets(P, offsets).sum(axis=1), 1)


def test_fit_offsets_evenly_served_classes_are_left_alone() -> None:
    truth = np.repeat([0, 1, 2, 3], 10)
    P = np.full((40, 4), 0.1)
    P[np.arange(40), truth] = 0.7
    assert not fit_offsets(P, truth).any()
