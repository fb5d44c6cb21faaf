"""Alerts: the rules parse, fire when they must and only then, and each leads to a runbook."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from consumer.metrics import Metrics

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
ALERTS = [
    rule
    for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
]


def promtool(*arguments: str) -> str:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("needs promtool, from Debian's package prometheus")
    done = subprocess.run([program, *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_configuration_and_rules_are_valid() -> None:
    assert "SUCCESS" in promtool("check", "config", "prometheus.yml")


def test_alerts_fire_when_they_must_and_only_then() -> None:
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yml")


def test_alerts_all_have_a_case_that_fires() -> None:
    cases = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]
    fired = {case["alertname"] for test in cases for case in test["alert_rule_test"] if case["exp_alerts"]}
    # The slower windows of a burn rate share their expression with the fast one.
    slower = {name for name in (rule["alert"] for rule in ALERTS) if name.endswith(("BurnSteady", "BurnSlow"))}
    assert {rule["alert"] for rule in ALERTS} - slower == fired


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_alert_has_severity_summary_and_an_existing_runbook(rule: dict[str, dict[str, str]]) -> None:
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"]
    assert (ROOT / rule["annotations"]["runbook_url"]).is_file()


def test_alerts_use_only_metrics_that_exist() -> None:
    registry = CollectorRegistry()
    Metrics(registry)
    known = {name for metric in registry.collect() for name in (metric.name, f"{metric.name}_total")}
    known |= {f"{name}_{suffix}" for name in set(known) for suffix in ("bucket", "count", "sum")}
    used = set(re.findall(r"\bemotion_[a-z0-9_]+", (PROMETHEUS / "alerts.yml").read_text()))
    assert used <= known
