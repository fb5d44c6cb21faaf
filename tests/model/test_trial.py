import numpy as np
import pytest
from sklearn.metrics import f1_score, recall_score

from model.errors import DatasetError
from model.trial import (
    Table,
    Trial,
    codes,
    fill,
    interval,
    macro_f1,
    recalls,
    resamples,
    try_procedure,
    try_under_noise,
)
from tests.model.procedures import Centroids, rows


class Memory(Centroids):
    """Knows by heart what it saw, and is lost elsewhere: it reveals every leak."""

    def fit(self, X, y, groups=None):  # type: ignore[no-untyped-def]
        self.seen_ = {row.tobytes(): label for row, label in zip(X, y, strict=True)}
        return super().fit(X, np.roll(y, 1), groups)

    def predict_proba(self, X):  # type: ignore[no-untyped-def]
        known = np.array([row.tobytes() in self.seen_ for row in X])
        assert not known.any(), "asked about a row that it was trained on"
        return super().predict_proba(X)


@pytest.fixture(scope="module")
def table() -> Table:
    return Table(*rows())


def try_centroids(train: Table, test: Table, repeats: int = 1, noise: float = 0.0) -> Trial:
    return try_under_noise(Centroids(), train, test, (noise,), coverage=0.9, seed=0, repeats=repeats)[0]


def test_try_procedure_separable_table_is_learnt(table: Table) -> None:
    trial = try_centroids(table, table)

    assert float(macro_f1(trial.confusion())) > 0.9
    assert len(trial.truth) == len(table.y)


def test_try_procedure_never_asks_about_rows_it_saw(table: Table) -> None:
    try_procedure(Memory(), table, table, coverage=0.9, seed=0, repeats=2)


def test_try_procedure_rows_repeated_in_the_training_table_are_left_out(table: Table) -> None:
    larger = Table(np.vstack([table.X, table.X + 1e-6]), np.concatenate([table.y, table.y]))

    trial = try_procedure(Memory(), larger, table, coverage=0.9, seed=0, repeats=1)

    assert len(trial.truth) == len(table.y)


def test_try_procedure_shuffled_labels_score_as_chance(table: Table) -> None:
    shuffled = Table(table.X, np.random.default_rng(1).permutation(table.y))

    assert float(macro_f1(try_centroids(shuffled, shuffled).confusion())) < 0.45


def test_try_procedure_same_seed_gives_the_same_answers(table: Table) -> None:
    assert np.array_equal(try_centroids(table, table).proba, try_centroids(table, table).proba)


def test_try_procedure_noise_costs_something_and_leaves_no_impossible_value(table: Table) -> None:
    clean, noisy = try_centroids(table, table), try_centroids(table, table, noise=3.0)

    assert macro_f1(noisy.confusion()) < macro_f1(clean.confusion())
    assert np.isfinite(noisy.proba).all()


def test_try_procedure_missing_cells_are_filled_from_training_rows(table: Table) -> None:
    holes = table.X.copy()
    holes[::7, 3] = np.nan

    trial = try_centroids(Table(holes, table.y), Table(holes, table.y))

    assert np.isfinite(trial.proba).all()


def test_try_procedure_repeats_keep_a_row_in_one_group(table: Table) -> None:
    trial = try_centroids(table, table, repeats=2)

    assert np.array_equal(trial.groups[: len(table.y)], trial.groups[len(table.y) :])


def test_confusion_scores_equal_scikit_learns(table: Table) -> None:
    noisy = try_centroids(table, table, noise=2.0)
    said = noisy.proba.argmax(axis=1)

    assert float(macro_f1(noisy.confusion())) == pytest.approx(f1_score(noisy.truth, said, average="macro"))
    assert recalls(noisy.confusion()) == pytest.approx(recall_score(noisy.truth, said, average=None))


def test_confusion_weights_equal_counting_rows_again(table: Table) -> None:
    trial = try_centroids(table, table)
    weights = resamples(trial.groups, seed=0)[:1]
    again = np.repeat(np.arange(len(trial.truth)), weights[0].astype(int))
    repeated = Trial(
        trial.truth[again], trial.groups[again], trial.proba[again], trial.sets[again], trial.familiar[again]
    )

    assert np.array_equal(trial.confusion(weights)[0], repeated.confusion())


def test_resamples_keep_groups_together() -> None:
    groups = np.array([4, 4, 9, 9, 9, 1])

    weights = resamples(groups, seed=0)

    assert np.array_equal(weights[:, 0], weights[:, 1])
    assert np.array_equal(weights[:, 2], weights[:, 4])
    assert (weights[:, [0, 2, 5]].sum(axis=1) == 3).all()


def test_interval_of_a_mean_covers_it_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    groups = np.arange(60)
    covered = 0
    for trial in range(100):
        values = rng.normal(size=60)
        weights = resamples(groups, seed=trial)
        low, high = interval(weights @ values / 60)
        covered += low <= 0.0 <= high

    # 95 % of 100, give or take three binomial standard deviations (2.2 each), less the bootstrap's small-sample bias.
    assert 87 <= covered <= 100


def test_fill_uses_the_median_of_known_rows_only() -> None:
    filled = fill(np.array([[np.nan, 5.0]]), np.array([[1.0, 0.0], [3.0, 0.0], [100.0, 0.0]]))

    assert filled.tolist() == [[3.0, 5.0]]


@pytest.mark.parametrize(
    ("labels", "message"), [(["relax"] * 40, "at least 10 rows"), (["relax", "joy"] * 20, "got joy")]
)
def test_codes_unusable_labels_are_refused(labels: list[str], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        codes(np.array(labels))
