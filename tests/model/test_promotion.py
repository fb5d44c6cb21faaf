"""A good, a biased and a tampered candidate before the gates, with a quick classifier; the shipped one is slow."""

from pathlib import Path

import numpy as np
import pytest

from model import train as training
from model.artifact import ESTIMATOR_FILE, load_artifact, save_artifact
from model.calibration import expected_calibration_error
from model.emotions import EMOTIONS
from model.errors import ArtifactMismatchError
from model.gates import Gate
from model.judge import Judge
from model.manifest import Manifest
from model.promotion import ask_gates, champion_of, seed_registry
from model.registry import SHIPPED_ROOT, Registry
from tests.model.procedures import ESTIMATOR, LABELS, Centroids, Forgetful, rows, write_table


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(training.ESTIMATORS, ESTIMATOR, Centroids)
    monkeypatch.setattr(training, "REPEATS", 1)
    monkeypatch.setattr(training, "current_commit", lambda: "0123456789" * 4)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_table(tmp_path / "table.csv", *rows())


@pytest.fixture
def modified(tmp_path: Path) -> Path:
    """The same table, dirty: misspelt classes, cells without a number."""
    X, y = rows()
    path = write_table(tmp_path / "modified.csv", X, np.char.upper(y))
    lines = path.read_text(encoding="utf-8").splitlines()
    for number in range(1, len(lines), 5):
        cells = lines[number].split(",")
        cells[3] = "?"
        lines[number] = ",".join(cells)
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def artifact(path: Path, table: Path, seed: int = 0) -> tuple[Path, Manifest]:
    classifier, manifest = training.train(table, seed=seed)
    return path, save_artifact(path, classifier, manifest)


@pytest.fixture
def champion(tmp_path: Path, table: Path) -> Judge:
    return load_artifact(artifact(tmp_path / "champion", table)[0])


def refused(gates: list[Gate]) -> list[tuple[str, str]]:
    return [(gate.name, gate.question) for gate in gates if not gate.passed]


def test_ask_gates_good_candidate_passes_every_gate(
    tmp_path: Path, table: Path, modified: Path, champion: Judge
) -> None:
    candidate, _ = artifact(tmp_path / "candidate", table, seed=1)

    gates = ask_gates(candidate, champion, table, modified=modified, repeats=1)

    assert refused(gates) == []
    assert {gate.name for gate in gates} == {
        "integrity",
        "performance",
        "fairness",
        "robustness",
        "efficiency",
        "traceability",
    }


def test_ask_gates_candidate_biased_against_sad_is_refused_for_fairness_by_how_much(
    tmp_path: Path, table: Path, modified: Path, champion: Judge
) -> None:
    X, y = rows()
    y[np.flatnonzero(y == "sad")[:-10]] = "relax"
    biased = write_table(tmp_path / "biased.csv", X, y)
    candidate, _ = artifact(tmp_path / "candidate", biased)

    gates = ask_gates(candidate, champion, biased, reference=table, modified=modified, repeats=1)

    assert ("fairness", "spread of recall between emotions") in refused(gates)
    assert ("fairness", "recall of sad, against the champion") in refused(gates)
    assert ("fairness", "recall of happy, against the champion") not in refused(gates)
    spread = next(gate for gate in gates if gate.question.startswith("spread"))
    assert "sad 0." in spread.measured
    assert spread.limit == "at most 0.20"


def test_ask_gates_noise_candidate_is_refused_for_performance(tmp_path: Path, table: Path, champion: Judge) -> None:
    X, y = rows()
    noise = write_table(tmp_path / "noise.csv", X, np.random.default_rng(0).permutation(y))
    candidate, _ = artifact(tmp_path / "candidate", noise)

    names = refused(ask_gates(candidate, champion, noise, reference=table, repeats=1))

    assert ("performance", "macro-F1 out of fold") in names
    assert ("performance", "macro-F1, against the champion") in names


def test_ask_gates_tampered_candidate_stops_at_integrity_unopened(
    tmp_path: Path, table: Path, champion: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate, _ = artifact(tmp_path / "candidate", table)
    with (candidate / ESTIMATOR_FILE).open("ab") as file:
        file.write(b"\0")
    monkeypatch.setattr("joblib.load", lambda *_: pytest.fail("the tampered artifact was unpickled"))

    gates = ask_gates(candidate, champion, table, repeats=1)

    assert refused(gates) == [("integrity", "digests, permissions, versions")]
    assert "SHA-256" in gates[0].measured


def test_ask_gates_candidate_whose_estimator_is_not_its_manifests_is_refused_for_traceability(
    tmp_path: Path, table: Path, champion: Judge
) -> None:
    _, manifest = artifact(tmp_path / "honest", table)
    other = write_table(tmp_path / "other.csv", *rows(seed=5))
    save_artifact(tmp_path / "candidate", training.train(other)[0], manifest)

    gates = ask_gates(tmp_path / "candidate", champion, table, repeats=1)

    assert refused(gates) == [("traceability", "trained again from the manifest")]
    assert "predictions the same" in gates[-1].measured


def test_ask_gates_estimator_that_cannot_be_reproduced_is_refused(
    tmp_path: Path, table: Path, champion: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(training.ESTIMATORS, ESTIMATOR, Forgetful)
    candidate, _ = artifact(tmp_path / "candidate", table)

    assert refused(ask_gates(candidate, champion, table, repeats=1)) == [
        ("traceability", "trained again from the manifest")
    ]


def test_ask_gates_another_training_table_is_refused_for_traceability(
    tmp_path: Path, table: Path, champion: Judge
) -> None:
    candidate, _ = artifact(tmp_path / "candidate", table)
    other = write_table(tmp_path / "other.csv", *rows(seed=5))

    gates = ask_gates(candidate, champion, other, repeats=1)

    assert refused(gates) == [("traceability", "trained again from the manifest")]
    assert "SHA-256" in gates[-1].measured


@pytest.mark.parametrize("commit", ["unknown", "0123456789" * 4 + "-dirty"])
def test_ask_gates_code_that_was_not_committed_is_refused(
    tmp_path: Path, table: Path, modified: Path, champion: Judge, monkeypatch: pytest.MonkeyPatch, commit: str
) -> None:
    monkeypatch.setattr(training, "current_commit", lambda: commit)
    candidate, _ = artifact(tmp_path / "candidate", table)

    gates = ask_gates(candidate, champion, table, modified=modified, repeats=1)

    assert refused(gates) == [("traceability", "commit of the code")]


def test_ask_gates_without_a_modified_table_robustness_is_not_passed(
    tmp_path: Path, table: Path, champion: Judge
) -> None:
    candidate, _ = artifact(tmp_path / "candidate", table)

    assert refused(ask_gates(candidate, champion, table, repeats=1)) == [
        ("robustness", "macro-F1 on the modified table")
    ]


def test_ask_gates_slow_or_large_candidate_is_refused(
    tmp_path: Path, table: Path, modified: Path, champion: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate, _ = artifact(tmp_path / "candidate", table)
    monkeypatch.setattr("model.gates.BYTES_LIMIT", 100)
    monkeypatch.setattr("model.gates.MILLISECONDS_LIMIT", 1e-9)

    names = refused(ask_gates(candidate, champion, table, modified=modified, repeats=1))

    assert [name for name, _ in names] == ["efficiency", "efficiency"]


def test_ask_gates_adapted_candidate_is_traced_through_its_catalogue(
    tmp_path: Path, table: Path, modified: Path, champion: Judge
) -> None:
    X, y = rows(seed=3)
    catalogue = write_table(tmp_path / "catalogue.csv", X, y)
    classifier, manifest = training.adapt(champion, X, "catalogue.csv")
    save_artifact(tmp_path / "candidate", classifier, manifest)

    gates = ask_gates(tmp_path / "candidate", champion, table, modified=modified, adapted_to=catalogue, repeats=1)
    assert refused(gates) == []

    without = ask_gates(tmp_path / "candidate", champion, table, modified=modified, repeats=1)
    assert refused(without) == [("traceability", "trained again from the manifest")]


def test_champion_of_empty_registry_is_the_shipped_one_and_seeding_makes_it_so(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    shipped = Registry(SHIPPED_ROOT).load()

    assert champion_of(registry).version == shipped.version
    assert registry.current() is None
    assert seed_registry(registry).current() == shipped.version


def test_train_manifest_says_where_everything_comes_from(table: Path) -> None:
    _, manifest = training.train(table, seed=7, citation="Somebody 2026", licence="CC0")

    assert manifest.labels == EMOTIONS
    assert manifest.seed == 7
    assert manifest.params == {"random_state": 7}
    assert manifest.data.rows == 4 * 30
    assert manifest.data.citation == "Somebody 2026"
    assert set(manifest.scores) == {"macro_f1", "accuracy", *(f"recall_{label}" for label in LABELS)}
    assert all(score.low <= score.value <= score.high for score in manifest.scores.values())


def test_build_estimator_that_is_not_ours_is_never_imported() -> None:
    with pytest.raises(ArtifactMismatchError, match="os:system"):
        training.build("os:system", {})


def test_calibration_error_is_zero_for_honest_and_large_for_boastful_confidence() -> None:
    truth = np.tile([0, 0, 0, 1], 100)

    def trial(confidence: float) -> float:
        proba = np.tile([confidence, 1.0 - confidence, 0.0, 0.0], (len(truth), 1))
        return expected_calibration_error(proba.max(axis=1), proba.argmax(axis=1) == truth)

    assert trial(0.75) == pytest.approx(0.0)
    assert trial(0.99) == pytest.approx(0.24)
