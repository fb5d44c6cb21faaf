"""The model card's figures on labels: a swapped label is doubted, a hard row is not."""

import numpy as np

from tests.bench.label_doubt import doubted_labels


def test_doubted_labels_finds_swapped_labels_and_spares_unsure_rows() -> None:
    truth = np.repeat(np.arange(4), 25)
    P = np.full((100, 4), 0.1)
    P[np.arange(100), truth] = 0.7
    P[3] = [0.3, 0.4, 0.2, 0.1]
    P[30] = [0.1, 0.1, 0.75, 0.05]

    doubted = doubted_labels(P, truth)

    assert np.flatnonzero(doubted).tolist() == [30]
