"""The life of a model on the command line, with a quick classifier in place of the shipped one."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from consumer.cli import main
from model import train as training
from model.artifact import ESTIMATOR_FILE
from model.registry import SHIPPED_ROOT, Registry
from tests.model.procedures import ESTIMATOR, Centroids, rows, write_table


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(training.ESTIMATORS, ESTIMATOR, Centroids)
    monkeypatch.setattr(training, "REPEATS", 1)
    monkeypatch.setattr(training, "current_commit", lambda: "0123456789" * 4)
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_table(tmp_path / "table.csv", *rows())


@pytest.fixture
def registry(tmp_path: Path, table: Path) -> Registry:
    """A registry whose champion was trained on the table."""
    assert model("train", "--data", table, "--output", tmp_path / "first").exit_code == 0
    registry = Registry(tmp_path / "registry")
    registry.add(tmp_path / "first", "champion")
    return registry


def model(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["model", *map(str, arguments)])


def test_train_promote_rollback_moves_the_champion_there_and_back(registry: Registry, table: Path) -> None:
    first = registry.current("champion")

    trained = model("train", "--data", table, "--seed", 1, "--registry", registry.root)
    assert trained.exit_code == 0, trained.output
    assert "macro-F1" in trained.output
    second = registry.current("challenger")
    assert second not in (None, first)

    promoted = model("promote", "--data", table, "--modified", table, "--registry", registry.root, "--repeats", 1)
    assert promoted.exit_code == 0, promoted.output
    assert "REFUSED" not in promoted.output
    assert (registry.current("champion"), registry.current("challenger")) == (second, None)

    withdrawn = model("rollback", "--registry", registry.root)
    assert withdrawn.exit_code == 0, withdrawn.output
    assert (registry.current("champion"), registry.current("challenger")) == (first, second)

    again = model("rollback", "--registry", registry.root)
    assert again.exit_code == 1
    assert "expected a former champion" in again.output


def test_promote_refused_says_which_gate_by_how_much_and_changes_nothing(
    tmp_path: Path, registry: Registry, table: Path
) -> None:
    X, y = rows()
    y[(y == "sad").nonzero()[0][:-10]] = "relax"
    biased = write_table(tmp_path / "biased.csv", X, y)
    assert model("train", "--data", biased, "--registry", registry.root).exit_code == 0
    before = registry.pointers()

    result = model(
        *("promote", "--data", biased, "--reference", table, "--modified", table),
        *("--registry", registry.root, "--repeats", 1),
    )

    assert result.exit_code == 1
    assert "refused by fairness: spread of recall between emotions: 0." in result.output
    assert "allowed: at most 0.20" in result.output
    assert registry.pointers() == before


def test_promote_tampered_candidate_is_refused(registry: Registry, table: Path) -> None:
    assert model("train", "--data", table, "--seed", 1, "--registry", registry.root).exit_code == 0
    estimator = registry.root / registry.find("challenger").directory / ESTIMATOR_FILE
    estimator.write_bytes(estimator.read_bytes()[:-1])

    result = model("promote", "--data", table, "--modified", table, "--registry", registry.root)

    assert result.exit_code == 1
    assert "refused by integrity" in result.output


def test_promote_dry_run_changes_nothing(registry: Registry, table: Path) -> None:
    assert model("train", "--data", table, "--seed", 1, "--registry", registry.root).exit_code == 0
    before = registry.pointers()

    result = model(
        *("promote", "--data", table, "--modified", table, "--registry", registry.root), "--repeats", 1, "--dry-run"
    )

    assert result.exit_code == 0, result.output
    assert "every gate passed" in result.output
    assert registry.pointers() == before


def test_simulate_json_prices_every_use_on_both_tables(registry: Registry, table: Path) -> None:
    assert model("train", "--data", table, "--seed", 1, "--registry", registry.root).exit_code == 0

    result = model(
        *("simulate", "--data", table, "--modified", table, "--catalogue", table),
        *("--registry", registry.root, "--repeats", 1, "--json"),
    )

    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert list(report["impact"]) == ["original", "modified"]
    assert [impact["use"] for impact in report["impact"]["original"]] == ["playlist", "therapy", "catalogue"]
    assert report["impact"]["original"][0]["difference"]["net"]["value"] == 0.0
    assert report["changes"] == []


def test_simulate_shows_tables(registry: Registry, table: Path) -> None:
    assert model("train", "--data", table, "--seed", 1, "--registry", registry.root).exit_code == 0

    result = model("simulate", "--data", table, "--catalogue", table, "--registry", registry.root, "--repeats", 1)

    assert result.exit_code == 0, result.output
    assert "0 of 120 tracks change emotion" in result.output


def test_train_from_manifest_reproduces_and_notices_another_table(
    tmp_path: Path, registry: Registry, table: Path
) -> None:
    champion = registry.root / registry.find("champion").directory

    same = model("train", "--data", table, "--from-manifest", champion)
    assert same.exit_code == 0, same.output
    assert "all 120 predictions are the same" in same.output

    other = model("train", "--data", write_table(tmp_path / "o.csv", *rows(seed=9)), "--from-manifest", champion)
    assert other.exit_code == 1
    assert "expected the table that was trained on" in other.output


def test_adapt_makes_a_challenger_that_names_its_catalogue(registry: Registry, table: Path) -> None:
    result = model("adapt", "--catalogue", table, "--registry", registry.root)

    assert result.exit_code == 0, result.output
    adapted = registry.load("challenger").manifest.adapted_to
    assert adapted is not None
    assert (adapted.name, adapted.tracks) == ("table.csv", 120)


def test_list_and_show_name_every_artifact(registry: Registry, table: Path) -> None:
    assert model("train", "--data", table, "--seed", 1, "--registry", registry.root).exit_code == 0

    listed = model("list", "--registry", registry.root)
    assert json.loads(model("list", "--registry", registry.root, "--json").stdout)[0]["role"] == "champion"
    assert [str(registry.current(name)) in listed.output for name in ("champion", "challenger")] == [True, True]
    shown = model("show", "challenger", "--registry", registry.root)
    assert "relax is never applied in therapy" in shown.output
    manifest = json.loads(model("show", "--registry", registry.root, "--json").stdout)
    assert manifest["version"] == registry.current("champion")


def test_show_shipped_champion_needs_no_options() -> None:
    result = model("show", "champion", "--registry", SHIPPED_ROOT)

    assert result.exit_code == 0, result.output
    assert "CC BY 4.0" in result.output


def test_status_fresh_model_is_not_due_and_says_what_was_not_measured(registry: Registry) -> None:
    result = model("status", "--registry", registry.root)

    assert result.exit_code == 0, result.output
    assert result.output.count("not measured") >= 2


def test_status_drifted_catalogue_is_due(tmp_path: Path, registry: Registry) -> None:
    X, y = rows()
    elsewhere = write_table(tmp_path / "elsewhere.csv", X + X.std(axis=0), y)

    result = model("status", "--registry", registry.root, "--catalogue", elsewhere, "--json")

    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["retrain"] is True
    assert [sign["due"] for sign in report["signs"]] == [False, True, None]


@pytest.mark.parametrize(
    "arguments",
    [("show", "nobody"), ("rollback",), ("promote", "nobody", "--data", "TABLE", "--modified", "TABLE")],
)
def test_commands_on_an_empty_registry_fail_in_one_line(
    tmp_path: Path, table: Path, arguments: tuple[str, ...]
) -> None:
    given = [str(table) if argument == "TABLE" else argument for argument in arguments]

    result = model(*given, "--registry", tmp_path / "empty")

    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert "Traceback" not in result.output


def test_train_dirty_table_names_the_cell(tmp_path: Path, table: Path) -> None:
    lines = table.read_text(encoding="utf-8").splitlines()
    lines[3] = lines[3].replace(lines[3].split(",")[5], "?")
    table.write_text("\n".join(lines), encoding="utf-8")

    result = model("train", "--data", table, "--output", tmp_path / "out")

    assert result.exit_code == 1
    assert "line 4" in result.output


def test_train_into_a_registry_that_is_a_file_names_the_setting(tmp_path: Path, table: Path) -> None:
    shutil.copy(table, tmp_path / "file")

    result = model("train", "--data", table, "--registry", tmp_path / "file" / "below")

    assert result.exit_code == 1
    assert "EMOTION_MODEL_DIR" in result.output
