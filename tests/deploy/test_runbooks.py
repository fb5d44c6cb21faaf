"""Runbooks: what they tell someone to look at or to type exists under that name."""

import json
import re
from pathlib import Path

import click
import pytest
from prometheus_client import CollectorRegistry

from consumer.cli import main
from consumer.metrics import Metrics
from consumer.settings import setting_rows

ROOT = Path(__file__).resolve().parents[2]
RUNBOOKS = [pytest.param(path.read_text(), id=path.stem) for path in sorted((ROOT / "docs" / "runbooks").glob("*.md"))]
CODE = "\n".join(path.read_text() for path in (ROOT / "consumer").glob("*.py"))


def panels() -> set[str]:
    dashboards = (ROOT / "deploy" / "grafana" / "dashboards").glob("*.json")
    return {panel["title"] for path in dashboards for panel in json.loads(path.read_text())["panels"]}


@pytest.mark.parametrize("text", RUNBOOKS)
def test_panels_and_log_lines_named_exist(text: str) -> None:
    for named in re.findall(r"[Pp]anels? \*([^*]+)\*", text):
        assert named in panels()
    for named in re.findall(r"[Ll]og lines? \*([^*]+)\*", text):
        assert f'"{named}' in CODE, named


@pytest.mark.parametrize("text", RUNBOOKS)
def test_metrics_and_settings_named_exist(text: str) -> None:
    registry = CollectorRegistry()
    Metrics(registry)
    metrics = {name for metric in registry.collect() for name in (metric.name, f"{metric.name}_total")}
    assert set(re.findall(r"\bemotion_[a-z0-9_]+", text)) <= metrics
    assert set(re.findall(r"\bEMOTION_[A-Z_]+", text)) <= {row.variable for row in setting_rows()}


@pytest.mark.parametrize("text", RUNBOOKS)
def test_commands_named_exist_with_their_options(text: str) -> None:
    context = click.Context(main)
    for line in re.findall(r"`emotion-stream ([^`]+)`", text):
        command: click.Command = main
        words = line.split()
        while isinstance(command, click.Group):
            found = command.get_command(context, words.pop(0))
            assert found is not None, line
            command = found
        options = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, line
