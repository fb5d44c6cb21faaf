import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.metrics import precision_score, roc_auc_score

import model.evaluate
from consumer.commands.model_evaluate import evaluate as command
from features.schema import FEATURE_NAMES
from model.emotions import EMOTIONS, Emotion
from model.evaluate import evaluate, report
from model.trial import Trial
from tests.model.test_classifier import synthetic_table


def trial_of(seed: int, n: int = 400) -> Trial:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, n)
    logits = rng.normal(size=(n, 4)) + 2 * np.eye(4)[truth]
    proba = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Trial(truth, np.arange(n), proba, proba >= 0.1, np.ones(n, dtype=bool))


def write_table(path: Path, seed: int = 0) -> Path:
    X, y = synthetic_table(12, seed)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["emotion", *FEATURE_NAMES])
        rows.writerows([label, *row] for label, row in zip(y, X.tolist(), strict=True))
    return path


def test_report_agrees_with_scikit_learn() -> None:
    trial = trial_of(0)
    answers = report(trial, seed=0)
    said = trial.proba.argmax(axis=1)
    for k, emotion in enumerate(EMOTIONS):
        scores = answers.emotions[emotion]
        assert scores.roc_auc.value == pytest.approx(roc_auc_score(trial.truth == k, trial.proba[:, k]), abs=1e-4)
        assert scores.precision.value == pytest.approx(precision_score(trial.truth == k, said == k), abs=1e-4)
    assert answers.accuracy.value == pytest.approx((said == trial.truth).mean(), abs=1e-4)


def test_report_rows_resampled_together_widen_the_interval() -> None:
    trial = trial_of(1)
    # Eight copies of each answer know no more than one; only the groups say so.
    truth, proba = np.repeat(trial.truth[:50], 8), np.repeat(trial.proba[:50], 8, axis=0)
    sets, familiar = proba >= 0.1, np.ones(400, dtype=bool)
    naive = report(Trial(truth, np.arange(400), proba, sets, familiar), seed=0)
    honest = report(Trial(truth, np.repeat(np.arange(50), 8), proba, sets, familiar), seed=0)
    assert honest.accuracy.value == naive.accuracy.value
    assert honest.accuracy.high - honest.accuracy.low > 2 * (naive.accuracy.high - naive.accuracy.low)
    assert honest.accuracy.low < honest.accuracy.value < honest.accuracy.high


def test_report_of_perfect_answers_is_perfect() -> None:
    trial = trial_of(2)
    proba = np.eye(4)[trial.truth]
    perfect = report(Trial(trial.truth, trial.groups, proba, proba > 0, trial.familiar), seed=0)
    assert perfect.macro_f1.value == perfect.roc_auc.value == perfect.coverage.value == 1
    assert perfect.ece.value == 0
    assert perfect.set_size == 1
    assert set(perfect.answered.values()) == {1.0}
    assert perfect.emotions[Emotion.SAD].recall.low == 1


def test_evaluate_separable_table_is_far_above_chance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model.evaluate, "NOISE", ())
    evaluation, trial = evaluate(write_table(tmp_path / "t.csv"), repeats=1)
    assert evaluation.rows == 48
    assert evaluation.home.macro_f1.value > 0.5
    assert len(trial.truth) == 48


def test_command_bad_table_fails_with_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("emotion\nsad\n")
    result = CliRunner().invoke(command, ["--data", str(path)])
    assert result.exit_code == 1
    assert "expected a label column and the 50 features" in result.output


@pytest.mark.slow
def test_command_prints_every_figure_as_json(tmp_path: Path) -> None:
    home, abroad = write_table(tmp_path / "home.csv"), write_table(tmp_path / "abroad.csv", seed=1)
    options = ["--data", str(home), "--transfer", str(abroad), "--repeats", "1", "--json"]
    result = CliRunner().invoke(command, options)
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert printed["home"]["macro_f1"].keys() == {"value", "low", "high"}
    assert printed["home"]["emotions"].keys() == {"relax", "happy", "sad", "angry"}
    assert printed["transfer"].keys() == {"table", "rows", "as_it_is", "adapted", "own_labels"}
    assert [noise["deviations"] for noise in printed["noise"]] == [0.1, 0.2, 0.5]
