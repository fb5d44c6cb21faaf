"""``emotion-stream report weekly|monthly|quarterly``: from a real Prometheus to a page in a real browser."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result
from prometheus_client import CollectorRegistry

from consumer.commands.report import command
from consumer.metrics import Metrics
from consumer.reports import monthly, quarterly, weekly
from consumer.reports.prometheus import Prometheus
from tests.consumer.reports.made_up import UNTIL, feedback, play
from tests.consumer.reports.real_prometheus import prometheus_over
from tests.consumer.reports.test_catalogue import browse
from tests.consumer.reports.test_weekly import cells, text_of

RHYTHMS = {"weekly": weekly, "monthly": monthly, "quarterly": quarterly}
QUERIES = {query for rhythm in RHYTHMS.values() for query in rhythm.QUESTIONS.values()}
NAMES = {name for query in QUERIES for name in re.findall(r"\bemotion_[a-z0-9_]+", query)}
TAKEN_A_DAY = 1000.0


def worker_series() -> dict[str, Callable[[float], float | None]]:
    """Give every series of the worker that a report asks for: counters grow by one a day, gauges stay at a half."""
    metrics = Metrics(CollectorRegistry())
    for emotion in ("relax", "happy", "sad", "angry"):
        metrics.online_f1.labels(emotion).set(0.5)
    metrics.feature_drift.labels("_Tempo_Mean").set(0.5)
    metrics.feature_drift_ks.labels("_Tempo_Mean").set(0.5)
    metrics.model_info.labels("champion", "v1", "1").set(1)
    series: dict[str, Callable[[float], float | None]] = {}
    for metric in metrics.registry.collect():
        for sample in metric.samples:
            if sample.name in NAMES:
                labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
                grows = metric.type in ("counter", "histogram")
                key = f'{sample.name}{{{labels}{"," if labels else ""}job="emotion-stream",instance="one"}}'
                series[key] = (lambda days: days) if grows else (lambda days: 0.5)
    return series


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Two days of two workers, of which one began anew after the first day."""
    series = worker_series()
    taken = 'emotion_events_consumed_total{{lane="known",job="emotion-stream",instance="{}"}}'
    assert taken.format("one") in series
    series[taken.format("one")] = lambda days: TAKEN_A_DAY * days
    series[taken.format("two")] = lambda days: TAKEN_A_DAY * (days % 1.0)
    start, step = UNTIL - timedelta(days=2), timedelta(minutes=2)
    with prometheus_over(series, tmp_path_factory.mktemp("prometheus"), start, UNTIL, step) as url:
        yield url


def report(rhythm: str, folder: Path, *arguments: str) -> Result:
    output = ["--output", str(folder / f"{rhythm}.html")]
    return CliRunner().invoke(command, [rhythm, *output, "--until", "2026-11-16", *arguments])


def test_questions_ask_for_metrics_that_exist() -> None:
    known = {sample.name for metric in Metrics(CollectorRegistry()).registry.collect() for sample in metric.samples}
    assert NAMES
    unlabelled = {
        "emotion_online_f1_ratio",
        "emotion_feature_drift_psi",
        "emotion_feature_drift_ks",
        "emotion_model_info",
    }
    assert NAMES - known <= unlabelled


@pytest.mark.slow
@pytest.mark.parametrize("rhythm", RHYTHMS)
def test_questions_are_all_answered_by_a_real_prometheus(prometheus: str, rhythm: str) -> None:
    answers = Prometheus(prometheus).ask(RHYTHMS[rhythm].QUESTIONS, UNTIL, RHYTHMS[rhythm].DAYS)
    assert [name for name in answers.queries if answers.last(name) is None] == []


@pytest.mark.slow
def test_weekly_numbers_are_those_that_were_measured(prometheus: str, tmp_path: Path) -> None:
    done = report("weekly", tmp_path, "--prometheus", prometheus)
    assert done.exit_code == 0, done.output
    page = (tmp_path / "weekly.html").read_text()
    taken = float(cells(page, "taken from the platform")[1].replace(",", ""))
    # Two workers over two days; two minutes around the restart are not seen, and edges are extrapolated.
    assert taken == pytest.approx(4 * TAKEN_A_DAY, rel=0.005)
    assert "measured for 29 % of the period" in text_of(page)
    assert cells(page, "accuracy (95 % interval)")[1].startswith("50 %")
    assert cells(page, "Tempo Mean")[1:] == ["0.50", "0.50"]


@pytest.mark.slow
@pytest.mark.parametrize("rhythm", RHYTHMS)
def test_page_in_a_browser_fits_and_draws(prometheus: str, tmp_path: Path, rhythm: str) -> None:
    events, said = tmp_path / "events.jsonl", tmp_path / "feedback.jsonl"
    plays = [play(number, 7 * number, session=f"s{number // 3}") for number in range(30)]
    events.write_bytes(b"\n".join(map(msgspec.json.encode, plays)))
    said.write_bytes(b"\n".join(msgspec.json.encode(feedback(number, "accepted")) for number in range(0, 30, 2)))
    done = report(rhythm, tmp_path, "--prometheus", prometheus, "--events", str(events), "--feedback", str(said))
    assert done.exit_code == 0, done.output
    page = tmp_path / f"{rhythm}.html"
    measure = "<script>document.title = document.documentElement.scrollWidth <= innerWidth ? 'fits' : 'wide'</script>"
    page.write_text(page.read_text().replace("</body>", f"{measure}</body>"))
    # The narrowest window that headless Chromium makes.
    dom = browse(page, "--window-size=500,900")
    assert "<title>fits</title>" in dom
    assert dom.count("<svg") >= 2
    assert "NaN" not in dom


def test_report_unreachable_prometheus_fails_and_writes_nothing(tmp_path: Path) -> None:
    done = report("weekly", tmp_path, "--prometheus", "http://127.0.0.1:1")
    assert done.exit_code == 1
    assert "Error: Prometheus at http://127.0.0.1:1 cannot be reached" in done.output
    assert not (tmp_path / "weekly.html").exists()


def test_report_until_other_than_a_time_is_refused(tmp_path: Path) -> None:
    done = report("monthly", tmp_path, "--prometheus", "http://127.0.0.1:1", "--until", "yesterday")
    assert done.exit_code == 2
    assert "expected a date or an RFC 3339 time, got 'yesterday'" in done.output
