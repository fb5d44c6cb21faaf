"""``emotion-stream report``: self-contained HTML pages for people."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click

from consumer.commands import plain_errors
from consumer.reports import catalogue as catalogue_report
from consumer.reports import monthly as monthly_report
from consumer.reports import quarterly as quarterly_report
from consumer.reports import weekly as weekly_report
from consumer.reports.costs import CostModel
from consumer.reports.page import Page, render
from consumer.reports.prometheus import Answers, Prometheus
from consumer.reports.recording import Recording, read_recording
from model.registry import SHIPPED_ROOT, Registry

_existing = click.Path(path_type=Path, exists=True, dir_okay=False)
_output = click.option(
    "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The page to write."
)
_OPTIONS: Final = (
    click.option("--prometheus", "server", required=True, metavar="URL", help="Such as http://localhost:9090."),
    click.option(
        "--until",
        metavar="TIME",
        callback=lambda _context, _option, value: _instant(value),
        help="End of the period, such as 2026-11-23 or 2026-11-23T06:00+01:00 (UTC without an offset); now by default.",
    ),
    click.option("--events", type=_existing, help="Recorded `emotion-events`, JSON lines: sessions and tracks."),
    click.option("--feedback", type=_existing, help="Recorded `emotion-feedback`, JSON lines."),
    _output,
)


def _rhythm(function: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@click.group(name="report")
def command() -> None:
    """Write HTML reports."""


@command.command()
@click.argument("results", type=_existing)
@_output
@click.option("--title", help="Its heading; the results' name by default.")
def catalogue(results: Path, output: Path, title: str | None) -> None:
    """Report on RESULTS of `emotion-stream classify`: emotions, confidence, and what to listen to first."""
    with plain_errors():
        tracks = catalogue_report.read_tracks(results)
    page = catalogue_report.render(tracks, title or f"Catalogue: {results.stem}")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(page, encoding="utf-8")
    click.echo(f"{output}: {len(tracks):,} tracks, {len(page.encode()) / 1000:,.0f} kB")


@command.command()
@_rhythm
@click.option(
    "--registry",
    type=click.Path(path_type=Path, file_okay=False),
    default=SHIPPED_ROOT,
    envvar="EMOTION_MODEL_DIR",
    help="Where the model in use has its training scores; the packaged registry by default.",
)
def weekly(registry: Path, **period: Any) -> None:
    """Report on 7 days for engineers: latency, errors, accuracy, drift, and whether to train again."""
    expected = {
        manifest.version: manifest.scores["macro_f1"].value
        for _, _, manifest in Registry(registry).manifests()
        if manifest is not None
    }
    _write(weekly_report, lambda answers, recording: weekly_report.build(answers, recording, expected), **period)


@command.command()
@_rhythm
def monthly(**period: Any) -> None:
    """Report on 30 days of listeners: engagement and acceptance, by emotion and by decision."""
    _write(monthly_report, monthly_report.build, **period)


@command.command()
@_rhythm
@click.option(
    "--label-minutes", type=click.FloatRange(0, min_open=True), default=4.0, show_default=True, help="To label."
)
@click.option(
    "--check-minutes", type=click.FloatRange(0), default=1.0, show_default=True, help="To check a suggestion."
)
@click.option("--hourly-wage", type=click.FloatRange(0), default=30.0, show_default=True, help="Of whoever labels.")
@click.option("--currency", default="EUR", show_default=True, help="Of the wage and the service's cost.")
@click.option(
    "--service-cost", type=click.FloatRange(0), help="Of running the service for the quarter; else not subtracted."
)
def quarterly(
    label_minutes: float,
    check_minutes: float,
    hourly_wage: float,
    currency: str,
    service_cost: float | None,
    **period: Any,
) -> None:
    """Report on 90 days for the business: catalogue, labelling saved, retention and adoption."""
    costs = CostModel(label_minutes, check_minutes, hourly_wage, currency, service_cost)
    _write(quarterly_report, lambda answers, recording: quarterly_report.build(answers, recording, costs), **period)


def _write(
    rhythm: Any,
    build: Callable[[Answers, Recording], Page],
    *,
    server: str,
    until: datetime,
    events: Path | None,
    feedback: Path | None,
    output: Path,
) -> None:
    with plain_errors():
        prometheus = Prometheus(server)
        answers = prometheus.ask(rhythm.QUESTIONS, until, rhythm.DAYS)
        page = build(answers, read_recording(events, feedback, until - timedelta(days=rhythm.DAYS), until))
    asked = f"Prometheus at {prometheus.url}, asked on {datetime.now(UTC):%d %b %Y, %H:%M %Z}."
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(render(page, asked), encoding="utf-8")
    said = "no worker was measured" if page.covered is None else f"measured for {100 * page.covered:.0f} % of the time"
    click.echo(f"{output}: {rhythm.DAYS} days until {until:%Y-%m-%d %H:%M %Z}, {said}")


def _instant(value: str | None) -> datetime:
    if value is None:
        return datetime.now(UTC).replace(microsecond=0)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise click.BadParameter(f"expected a date or an RFC 3339 time, got {value!r}") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
