"""``emotion-stream features``: the 50 numbers of audio files, at full precision."""

import csv
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Final, Protocol

import click
from rich.console import Console
from rich.progress import Progress

from consumer.errors import Reason
from consumer.redaction import one_line
from features import FEATURE_NAMES, AudioLimits, FeatureError, FeatureVector, extract_file
from features.audio import WINDOW_SECONDS

FORMATS: Final = ("csv", "json")


@click.command(name="features")
@click.argument("paths", metavar="FILE...", nargs=-1, required=True)
@click.option("--format", "output_format", type=click.Choice(FORMATS), default="csv", show_default=True)
@click.option("--start", type=click.FloatRange(min=0), default=0.0, show_default=True, help="Window's begin, seconds.")
@click.option(
    "--duration",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds heard.  [default: 30; the whole file with --native-rate]",
)
@click.option(
    "--native-rate",
    is_flag=True,
    help="Keep the file's sampling rate, as MIRtoolbox does, and accept short and silent audio.",
)
@click.option(
    "--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes to share the work."
)
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw one file's features to this PNG.")
def command(
    paths: Sequence[str],
    output_format: str,
    start: float,
    duration: float | None,
    native_rate: bool,
    workers: int,
    plot: Path | None,
) -> None:
    """Print the path and the 50 acoustic features of each FILE.

    Numbers come at full precision under the names of the dataset; where MIRtoolbox gives NaN, csv says nan and json
    null. A file that cannot be heard gives one line on standard error and exit status 1; the others are still printed.
    """
    if plot and len(paths) > 1:
        raise click.UsageError("--plot draws one file; give one FILE")
    if duration is None:
        # MIRtoolbox hears files whole; some golden clips have 30.04 s.
        duration = math.inf if native_rate and start == 0 else WINDOW_SECONDS
    hear = partial(_hear, start=start, duration=duration, native_rate=native_rate)
    writer = _CsvWriter() if output_format == "csv" else _JsonWriter()
    errors = Console(stderr=True, soft_wrap=True, markup=False, highlight=False, emoji=False)
    failures = 0
    with _progress(errors, len(paths)) as advance:
        for path, heard in _each(hear, paths, workers):
            if isinstance(heard, str):
                failures += 1
                errors.print(one_line(f"{path}: {heard}"))
            else:
                writer.write(path, heard)
            advance()
    writer.close()
    if failures:
        sys.exit(1)
    if plot:
        _draw(plot, paths[0], start=start, duration=duration, native_rate=native_rate)


def _hear(path: str, *, start: float, duration: float, native_rate: bool) -> FeatureVector | str:
    """Give a file's features, or why there are none."""
    limits = AudioLimits.unrestricted() if native_rate else AudioLimits()
    try:
        return extract_file(path, start, duration, native_rate=native_rate, limits=limits)
    except FeatureError as error:
        return f"{error.reason}: {error}"
    except FileNotFoundError:
        return f"{Reason.NOT_FOUND}: there is no such file"
    except OSError as error:
        return f"{Reason.UNAVAILABLE}: {error.strerror}"


class _Hear(Protocol):
    def __call__(self, path: str) -> FeatureVector | str: ...


def _each(hear: _Hear, paths: Sequence[str], workers: int) -> Iterator[tuple[str, FeatureVector | str]]:
    """Hear every file, in order."""
    if workers == 1:
        yield from ((path, hear(path)) for path in paths)
        return
    with ProcessPoolExecutor(min(workers, len(paths)), mp_context=get_context("spawn")) as pool:
        yield from zip(paths, pool.map(hear, paths), strict=True)


@contextmanager
def _progress(console: Console, total: int) -> Iterator[Callable[[], None]]:
    """Show a bar on standard error, where a person would see it and rows do not fill the screen already."""
    if total == 1 or not console.is_terminal or sys.stdout.isatty():
        yield lambda: None
        return
    # Left to itself, rich sends standard output to the console of the bar.
    with Progress(console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as bar:
        task = bar.add_task("listening", total=total)
        yield lambda: bar.advance(task)


class _CsvWriter:
    def __init__(self) -> None:
        self._rows = csv.writer(sys.stdout, lineterminator="\n")
        self._rows.writerow(("path", *FEATURE_NAMES))

    def write(self, path: str, vector: FeatureVector) -> None:
        # repr() is the shortest text that reads back as the same double; NaN is "nan".
        self._rows.writerow((path, *(repr(value) for value in vector)))

    def close(self) -> None:
        pass


class _JsonWriter:
    """One JSON array, one object a line: a parser reads it whole, `grep` reads it by file."""

    def __init__(self) -> None:
        self._separator = "["

    def write(self, path: str, vector: FeatureVector) -> None:
        numbers = {name: None if math.isnan(value) else value for name, value in vector.to_dict().items()}
        click.echo(f"{self._separator}\n{json.dumps({'path': path, **numbers})}", nl=False)
        self._separator = ","

    def close(self) -> None:
        click.echo("[]" if self._separator == "[" else "\n]")


def _draw(plot: Path, path: str, *, start: float, duration: float, native_rate: bool) -> None:
    try:
        from features.plot import draw
    except ImportError as error:
        raise click.ClickException(f"--plot needs {error.name}: pip install 'emotion-stream[lifecycle]'") from error

    limits = AudioLimits.unrestricted() if native_rate else AudioLimits()
    draw(plot, path, start, duration, native_rate=native_rate, limits=limits)
