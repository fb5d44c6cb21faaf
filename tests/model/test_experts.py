"""The experts: neighbours speak for a row, and the gate opens where the training table has rows like it."""

import numpy as np
import pytest

from model.experts import GATE_OPEN, Experts, KernelExpert
from model.inputs import INPUT_NAMES, REPERTOIRE


@pytest.fixture
def rows() -> tuple[np.ndarray, np.ndarray]:
    """Four clouds of scaled inputs, one for each label."""
    generator = np.random.default_rng(0)
    truth = np.repeat(np.arange(4), 50)
    return generator.normal(size=(4, len(INPUT_NAMES)))[truth] + generator.normal(size=(200, len(INPUT_NAMES))), truth


def test_kernel_expert_a_training_row_is_mostly_itself(rows: tuple[np.ndarray, np.ndarray]) -> None:
    Z, truth = rows
    scores = KernelExpert(np.arange(len(INPUT_NAMES))).fit(Z, truth).scores(Z)
    assert (scores.argmax(axis=1) == truth).mean() > 0.99
    np.testing.assert_allclose(scores.sum(axis=1), 1.0, rtol=1e-9)


def test_kernel_expert_far_from_all_rows_gives_the_shares_of_the_labels(rows: tuple[np.ndarray, np.ndarray]) -> None:
    Z, truth = rows
    expert = KernelExpert(np.arange(5)).fit(Z[truth != 3], truth[truth != 3])
    np.testing.assert_allclose(expert.scores(Z[:1] + 1e3), [[1 / 3, 1 / 3, 1 / 3, 0.0]], atol=1e-9)


def test_openness_unseen_rows_of_the_table_mostly_pass_and_another_repertoire_does_not(
    rows: tuple[np.ndarray, np.ndarray],
) -> None:
    Z, truth = rows
    experts = Experts().fit(Z[::2], truth[::2])
    foreign = Z[1::2].copy()
    foreign[:, REPERTOIRE] += 4.0

    assert (experts.opinions(Z[1::2]).openness == 1.0).mean() > 1 - 2 * GATE_OPEN
    assert not experts.opinions(foreign).openness.any()


def test_opinions_portable_pair_does_not_see_the_repertoire(rows: tuple[np.ndarray, np.ndarray]) -> None:
    Z, truth = rows
    experts = Experts().fit(Z, truth)
    moved = Z.copy()
    moved[:, REPERTOIRE] += 1.0

    before, after = experts.opinions(Z), experts.opinions(moved)

    np.testing.assert_array_equal(after.portable, before.portable)
    assert (after.local != before.local).any()
    np.testing.assert_array_equal(before.adapted, before.portable[:, 1:])
