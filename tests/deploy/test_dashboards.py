"""Dashboards: every panel is described, has a unit, and asks for metrics that exist."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from consumer.metrics import Metrics

DASHBOARDS = sorted((Path(__file__).resolve().parents[2] / "deploy" / "grafana" / "dashboards").glob("*.json"))
PANELS = [
    pytest.param(panel, id=f"{path.stem}: {panel['title']}")
    for path in DASHBOARDS
    for panel in json.loads(path.read_text())["panels"]
    if panel["type"] != "row"
]


def known_names() -> set[str]:
    registry = CollectorRegistry()
    Metrics(registry)
    names = {name for metric in registry.collect() for name in (metric.name, f"{metric.name}_total")}
    return names | {f"{name}_{suffix}" for name in names for suffix in ("bucket", "count", "sum")}


@pytest.mark.parametrize("panel", PANELS)
def test_panel_is_described_and_asks_for_metrics_that_exist(panel: dict[str, Any]) -> None:
    assert panel["description"]
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"]["uid"] == "${datasource}"
    for target in panel["targets"]:
        assert set(re.findall(r"\bemotion_[a-z0-9_]+", target["expr"])) <= known_names()
        assert "$instance" in target["expr"] or target["expr"].startswith("sum(up{")
        # A rate over a fixed window is empty when the scrape interval is longer; increases name their own period.
        assert not re.search(r"rate\([^)]*\[\d+[smh]\]", target["expr"])


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboard_has_templates_and_no_overlapping_panels(path: Path) -> None:
    dashboard = json.loads(path.read_text())
    assert [variable["name"] for variable in dashboard["templating"]["list"]] == ["datasource", "instance"]
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_dashboards_are_three() -> None:
    assert [path.stem for path in DASHBOARDS] == ["emotion-listeners", "emotion-model", "emotion-stream"]
