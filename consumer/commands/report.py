"""``emotion-stream report``: self-contained HTML pages for people."""

from pathlib import Path

import click

from consumer.errors import EmotionServiceError
from consumer.reports import catalogue as catalogue_report


@click.group(name="report")
def command() -> None:
    """Write HTML reports."""


@command.command()
@click.argument("results", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The page to write.")
@click.option("--title", help="Its heading; the results' name by default.")
def catalogue(results: Path, output: Path, title: str | None) -> None:
    """Report on RESULTS of `emotion-stream classify`: emotions, confidence, and what to listen to first."""
    try:
        tracks = catalogue_report.read_tracks(results)
    except EmotionServiceError as error:
        raise click.ClickException(str(error)) from error
    page = catalogue_report.render(tracks, title or f"Catalogue: {results.stem}")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(page, encoding="utf-8")
    click.echo(f"{output}: {len(tracks):,} tracks, {len(page.encode()) / 1000:,.0f} kB")
