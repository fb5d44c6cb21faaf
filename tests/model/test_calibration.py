"""Calibration: offsets even out the classes, and never more than was measured."""

import numpy as np
from numpy.typing import NDArray

from model.calibration import apply_offsets, fit_offsets


def test_fit_offsets_favour_only_the_worst_served_class() -> None:
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
    assert offsets[2] > 0
    assert np.count_nonzero(offsets) == 1
    assert spread(apply_offsets(P, offsets)) < spread(P)
    assert np.allclose(apply_offsets(P, offsets).sum(axis=1), 1)


def test_fit_offsets_evenly_served_classes_are_left_alone() -> None:
    truth = np.repeat([0, 1, 2, 3], 10)
    P = np.full((40, 4), 0.1)
    P[np.arange(40), truth] = 0.7
    assert not fit_offsets(P, truth).any()
