"""``emotion-stream classify``: a whole catalogue in batch."""

import asyncio
import itertools
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click
import msgspec
from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from consumer.analyst import AnalystPlan
from consumer.batch.inputs import expand
from consumer.batch.journal import Journal
from consumer.batch.publish import publish as publish_rows
from consumer.batch.rows import Row, check_format, write_rows
from consumer.batch.run import AnalysisPool, classify_pending
from consumer.errors import EmotionServiceError
from consumer.metrics import Metrics
from consumer.redaction import one_line
from consumer.settings import Settings, available_cores, withhold_memory, withhold_secrets
from model.errors import ModelError
from model.registry import SHIPPED_ROOT, Registry

# A person reads the first ones; a catalogue of links that have gone dead would scroll everything away.
_ERRORS_SHOWN: Final = 20


@click.command(name="classify")
@click.argument("inputs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help=".jsonl, .csv, .parquet")
@click.option("--workers", type=click.IntRange(1), default=available_cores, help="Processes; one a core by default.")
@click.option("--resume", is_flag=True, help="Go on where a run stopped; do again only what is new or has changed.")
@click.option("--publish", is_flag=True, help="Also write each track's record to Kafka, for plays to be answered from.")
@click.option("--publish-rate", type=click.FloatRange(1), default=1000.0, show_default=True, help="Records a second.")
def command(
    inputs: tuple[Path, ...], output: Path, workers: int, resume: bool, publish: bool, publish_rate: float
) -> None:
    """Classify files, folders, playlists (.m3u) or a CSV manifest (path, track_id) into one row a track.

    Exit status 0 when every track has a judgement, 1 when some have an error (with its reason in their row), 130 when
    interrupted. Results are kept in a journal beside the output as they come.
    """
    console = Console(stderr=True, highlight=False)
    try:
        check_format(output)
        journal_path = output.with_name(f".{output.name}.journal")
        if not resume and (output.exists() or journal_path.exists()):
            raise click.ClickException(f"{output} or its journal exists; add --resume to go on, or remove them")
        settings = msgspec.structs.replace(
            # Whoever types a path may read it: the roots are there for events from strangers.
            Settings.from_environment(os.environ),
            audio_roots=(Path("/"),),
            pool_size=workers,
            log_level="ERROR",
            log_format="console",
        )
        withhold_secrets(os.environ)
        withhold_memory()
        judge = Registry(settings.model_dir or SHIPPED_ROOT).load("champion")
        output.parent.mkdir(parents=True, exist_ok=True)
        with Journal(journal_path, f"{judge.version} {judge.feature_version}") as journal:
            tally = journal.want(expand(inputs))
            if not tally.wanted:
                raise click.ClickException("no audio files found")
            try:
                with tempfile.TemporaryDirectory(prefix="emotion-stream-batch-") as scratch:
                    _classify(journal, settings, judge.version, tally.wanted, Path(scratch), console)
            except (KeyboardInterrupt, asyncio.CancelledError):
                console.print(f"stopped; {journal.tally().done:,} of {tally.wanted:,} done, go on with --resume")
                sys.exit(130)
            written = write_rows(output, journal.rows())
            tally = journal.tally()
            console.print(f"{output}: {written:,} rows, {tally.failed:,} with an error")
            if publish:
                count = publish_rows(journal.rows(), settings, publish_rate)
                console.print(f"published {count:,} records to {settings.kafka_bootstrap_servers}")
    except (EmotionServiceError, ModelError) as error:
        raise click.ClickException(str(error)) from error
    if tally.failed:
        sys.exit(1)


def _classify(journal: Journal, settings: Settings, version: str, wanted: int, scratch: Path, console: Console) -> None:
    pool: AnalysisPool = AnalysisPool(
        AnalystPlan.from_settings(settings, model_version=version, scratch=scratch),
        size=settings.pool_size,
        timeout_seconds=settings.analysis_timeout_seconds * settings.fragments_per_upload,
        memory_bytes=settings.analysis_memory_bytes,
        metrics=Metrics(CollectorRegistry()),
    )
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, speed_estimate_period=60) as progress:
        todo = sum(1 for _ in journal.pending())
        failed = itertools.count(1)
        task = progress.add_task("classifying", total=wanted, completed=wanted - todo, rate="")

        def show(row: Row) -> None:
            speed = progress.tasks[task].speed
            progress.update(task, advance=1, rate=f"{speed:.1f}/s" if speed else "")
            if row.reason:
                failures = next(failed)
                if failures <= _ERRORS_SHOWN:
                    progress.console.print(
                        one_line(f"{row.path}: {row.reason}: {row.message}"), soft_wrap=True, markup=False
                    )
                elif failures == _ERRORS_SHOWN + 1:
                    progress.console.print("more errors are not shown here; each has its reason in the output")

        if todo:
            asyncio.run(_run(journal, pool, version, settings.pool_size, show))


async def _run(journal: Journal, pool: AnalysisPool, version: str, workers: int, show: Callable[[Row], None]) -> None:
    try:
        await pool.start()
        await classify_pending(journal, pool, model_version=version, workers=workers, on_row=show)
    except* EmotionServiceError as group:
        raise group.exceptions[0] from group
    finally:
        await pool.stop()
