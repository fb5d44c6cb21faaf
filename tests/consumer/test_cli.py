"""The command line without the extra ``lifecycle``, as in the worker's image."""

import sys

import pytest
from click.testing import CliRunner

from consumer.cli import LIFECYCLE_MODULES, LazyGroup, main


@pytest.fixture
def worker_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the extra can be imported."""
    for name in list(sys.modules):
        if name.partition(".")[0] in LIFECYCLE_MODULES or name.startswith(("consumer.commands", "consumer.reports")):
            monkeypatch.delitem(sys.modules, name)
    for name in ("model.versions", "model.plots", "features.plot"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for name in LIFECYCLE_MODULES:
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.usefixtures("worker_only")
@pytest.mark.parametrize("arguments", [["report", "weekly"], ["data", "versions"]])
def test_command_without_its_extra_names_it(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1, result.output
    assert "pip install 'emotion-stream[lifecycle]'" in result.output


@pytest.mark.usefixtures("worker_only")
@pytest.mark.parametrize("name", ["worker", "topics", "dead-letters", "classify", "features", "model"])
def test_command_of_the_worker_does_without_the_extra(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0, result.output


def test_other_missing_modules_are_not_explained_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'faust'", name="faust")

    monkeypatch.setattr(LazyGroup, "get_command", broken)
    assert isinstance(CliRunner().invoke(main, ["worker"]).exception, ModuleNotFoundError)
