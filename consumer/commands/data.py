"""``emotion-stream data``: fetch, check, clean and version the training data."""

import csv
import hashlib
import io
import json
import sys
import zipfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import click
import urllib3
from rich.console import Console
from rich.progress import track
from rich.table import Table

from features import FEATURE_NAMES, FeatureError
from model.cleaning import CLASS_COLUMN, CleanTable, clean_table
from model.emotions import EMOTIONS
from model.errors import DatasetError
from model.versions import Commit, DatasetStore, Example, sample

# Turkish Music Emotion: Er and Aydilek (2019), UCI Machine Learning Repository 862, doi 10.24432/C5JG93, CC BY 4.0.
TABLE_URL: Final = "https://archive.ics.uci.edu/static/public/862/turkish+music+emotion.zip"
TABLE_SHA256: Final = "8df80318735ee45123f7dfd5201927a6404836332dc80d733d30a7250856030c"
# The archive holds some 100 kB; whatever is much larger is something else.
MAX_DOWNLOAD_BYTES: Final = 20_000_000

_output = Console(highlight=False)
_path = click.Path(path_type=Path, dir_okay=False)
_existing = click.Path(path_type=Path, exists=True, dir_okay=False)
_store = click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("datasets"),
    show_default=True,
    help="Directory of the versioned dataset.",
)


@click.group(name="data")
def command() -> None:
    """Fetch, check, clean and version the training data."""


@command.command()
@click.option("--from", "source", type=_existing, help="Take the table or its archive from a file instead.")
@click.option("--url", default=TABLE_URL, show_default=True, help="Where to download it.")
@click.option("--output", type=_path, default=Path("turkish_music_emotion.csv"), show_default=True)
def fetch(source: Path | None, url: str, output: Path) -> None:
    """Get the Turkish Music Emotion table (UCI 862, CC BY 4.0) and check its digest."""
    content = source.read_bytes() if source else _download(url)
    if content[:2] == b"PK":
        content = _table_in_archive(content)
    digest = hashlib.sha256(content).hexdigest()
    if digest != TABLE_SHA256:
        raise click.ClickException(f"expected a table with SHA-256 {TABLE_SHA256}, got {digest}; nothing was written")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(content)
    _output.print(f"{output}: {len(content):,} bytes, SHA-256 as published. Licence CC BY 4.0, Er and Aydilek 2019.")


@command.command()
@click.argument("table", type=_existing)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def check(table: Path, as_json: bool) -> None:
    """Say what `clean` would change in TABLE; exit status 1 when that is anything."""
    cleaned = _clean(table)
    _report(cleaned, as_json)
    if cleaned.repairs:
        sys.exit(1)


@command.command()
@click.argument("table", type=_existing)
@click.option("--output", type=_path, required=True, help="The clean table.")
@click.option("--report", "report_path", type=_path, help="Every repair as CSV: row, column, rule, before, after.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def clean(table: Path, output: Path, report_path: Path | None, as_json: bool) -> None:
    """Clean TABLE: keep what is healthy, recover what only its spelling hid, blank the rest."""
    cleaned = _clean(table)
    _write_csv(output, cleaned.header, cleaned.rows)
    if report_path:
        changes = [*cleaned.repairs, *cleaned.notes]
        rows = [[r.row or "", r.column, r.rule, r.before, r.after] for r in changes]
        _write_csv(report_path, ["row", "column", "rule", "before", "after"], rows)
    _report(cleaned, as_json)


@command.command()
@click.argument("table", type=_existing)
@_store
@click.option("--message", "-m", default="", help="Why the dataset changed.")
def commit(table: Path, store: Path, message: str) -> None:
    """Make TABLE the dataset's next version; only rows that are new are stored."""
    _print_commit(DatasetStore(store).commit(_examples(table), message or f"commit {table.name}"))


@command.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--labels", type=_existing, required=True, help="CSV with columns `path` (below FOLDER) and `emotion`.")
@_store
@click.option("--message", "-m", default="", help="Why the dataset changed.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes that listen.")
def add(folder: Path, labels: Path, store: Path, message: str, workers: int) -> None:
    """Add your own labelled audio: features are computed for audio that was never heard before."""
    dataset = DatasetStore(store)
    labelled = _read_labels(labels, folder)
    digests = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in labelled}
    known = dataset.known_features()
    unheard = [path for path in labelled if digests[path] not in known]
    failed: list[str] = []
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        listening = track(
            pool.map(_listen, unheard), "listening", len(unheard), console=Console(stderr=True), transient=True
        )
        for path, heard in zip(unheard, listening, strict=True):
            if isinstance(heard, str):
                failed.append(f"{path}: {heard}")
            else:
                known[digests[path]] = heard
    examples = [
        Example(emotion, known[digests[path]], path.name, digests[path])
        for path, emotion in labelled.items()
        if digests[path] in known
    ]
    _output.print(
        f"{len(labelled)} labelled files: {len(unheard) - len(failed)} heard now, "
        f"{len(labelled) - len(unheard)} known already, {len(failed)} unusable"
    )
    _print_commit(dataset.add(examples, message or f"add {folder.name}"))
    for line in failed:
        click.echo(line, err=True)
    if failed:
        sys.exit(1)


@command.command()
@_store
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def versions(store: Path, as_json: bool) -> None:
    """List the dataset's versions, newest first."""
    history = DatasetStore(store).versions()
    if as_json:
        rows = [
            {
                "version": entry.version,
                "committed_at": entry.committed_at.isoformat(),
                "rows": entry.rows,
                "rows_added": entry.rows_added,
                "bytes_added": entry.bytes_added,
                "message": entry.message,
            }
            for entry in history
        ]
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table("version", "committed", "rows", "rows written", "bytes written", "message")
    for entry in history:
        committed = entry.committed_at.strftime("%Y-%m-%d %H:%M:%S UTC")
        numbers = (f"{entry.rows:,}", f"{entry.rows_added:,}", f"{entry.bytes_added:,}")
        table.add_row(str(entry.version), committed, *numbers, entry.message)
    _output.print(table if history else f"{store}: no version yet")


@command.command(name="sample")
@_store
@click.option("--version", "version_number", type=int, help="Which version; the current one by default.")
@click.option("--per-class", type=click.IntRange(1), required=True, help="Examples of each emotion.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--output", type=_path, help="Where to write the table; standard output by default.")
def sample_command(store: Path, version_number: int | None, per_class: int, seed: int, output: Path | None) -> None:
    """Draw a subset with as many examples of each emotion, for quick tests."""
    try:
        drawn = sample(DatasetStore(store).read(version_number), per_class, seed)
    except DatasetError as error:
        raise click.ClickException(str(error)) from error
    rows = [[e.emotion, *("" if x != x else repr(x) for x in e.features)] for e in drawn]
    header = [CLASS_COLUMN, *FEATURE_NAMES]
    if output is None:
        csv.writer(sys.stdout, lineterminator="\n").writerows([header, *rows])
    else:
        _write_csv(output, header, rows)
        _output.print(f"{output}: {len(rows)} rows, {per_class} of each emotion")


def _download(url: str) -> bytes:
    try:
        response = urllib3.PoolManager(timeout=30.0, retries=2).request("GET", url, preload_content=False)
        content = response.read(MAX_DOWNLOAD_BYTES + 1)
    except urllib3.exceptions.HTTPError as error:
        raise click.ClickException(f"{url}: {error}. Download it by hand and give it with --from FILE") from error
    if response.status != 200:
        raise click.ClickException(f"{url}: expected status 200, got {response.status}")
    if len(content) > MAX_DOWNLOAD_BYTES:
        raise click.ClickException(f"{url}: more than {MAX_DOWNLOAD_BYTES:,} bytes")
    return bytes(content)


def _table_in_archive(content: bytes) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for entry in archive.infolist():
                if entry.filename.lower().endswith(".csv") and entry.file_size <= MAX_DOWNLOAD_BYTES:
                    return archive.read(entry)
    except zipfile.BadZipFile as error:
        raise click.ClickException(f"a broken archive: {error}") from error
    raise click.ClickException("the archive holds no CSV file")


def _clean(path: Path) -> CleanTable:
    header, rows = _read_csv(path)
    try:
        return clean_table(header, rows)
    except DatasetError as error:
        raise click.ClickException(f"{path}: {error}") from error


def _read_csv(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise click.ClickException(f"{path}: expected a CSV file in UTF-8: {error}") from error
    if not rows:
        raise click.ClickException(f"{path}: expected a header and rows, the file is empty")
    return rows[0], rows[1:]


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def _examples(path: Path) -> list[Example]:
    header, rows = _read_csv(path)
    try:
        order = [header.index(name) for name in (CLASS_COLUMN, *FEATURE_NAMES)]
        examples = []
        for number, row in enumerate(rows, start=1):
            emotion, *texts = (row[i] for i in order)
            if emotion and emotion not in EMOTIONS:
                raise ValueError(f"row {number}: expected one of {', '.join(EMOTIONS)}, got {emotion!r}")
            numbers = tuple(float(text) if text else float("nan") for text in texts)
            examples.append(Example(emotion, numbers, f"{path.name}:{number}"))
    except (ValueError, IndexError) as error:
        raise click.ClickException(f"{path}: {error}; `emotion-stream data clean` mends a dirty table") from error
    return examples


def _read_labels(path: Path, folder: Path) -> dict[Path, str]:
    header, rows = _read_csv(path)
    if not {"path", "emotion"} <= set(header):
        raise click.ClickException(f"{path}: expected columns `path` and `emotion`, got {', '.join(header)}")
    labelled: dict[Path, str] = {}
    for number, row in enumerate(rows, start=2):
        cells = dict(zip(header, row, strict=False))
        audio, emotion = folder / cells["path"], cells.get("emotion", "").strip().lower()
        if emotion not in EMOTIONS:
            raise click.ClickException(f"{path}, line {number}: expected one of {', '.join(EMOTIONS)}, got {emotion!r}")
        if not audio.is_file():
            raise click.ClickException(f"{path}, line {number}: no such file: {audio}")
        if labelled.get(audio, emotion) != emotion:
            raise click.ClickException(f"{path}, line {number}: {audio} was {labelled[audio]} above, is {emotion} here")
        labelled[audio] = emotion
    return labelled


def _listen(path: Path) -> tuple[float, ...] | str:
    from model.catalogue import hear_middle

    try:
        return tuple(hear_middle(path).finite.tolist())
    except FeatureError as error:
        return f"{error.reason}: {error}"


def _report(cleaned: CleanTable, as_json: bool) -> None:
    if as_json:
        changes = [*cleaned.repairs, *cleaned.notes]
        repairs = [
            {"row": r.row, "column": r.column, "rule": r.rule, "before": r.before, "after": r.after} for r in changes
        ]
        click.echo(json.dumps({"rows": len(cleaned.rows), "counts": cleaned.counts(), "repairs": repairs}, indent=2))
        return
    missing = sum(1 for row in cleaned.rows for text in row[1:] if not text)
    unlabelled = sum(1 for row in cleaned.rows if not row[0])
    table = Table("rule", "times", "for example", title=f"{len(cleaned.rows)} rows, {len(cleaned.repairs)} repairs")
    changes = [*cleaned.repairs, *cleaned.notes]
    for rule, times in cleaned.counts().items():
        first = next(r for r in changes if r.rule == rule)
        where = f"row {first.row}, {first.column}" if first.row else first.column
        table.add_row(rule, str(times), f"{where}: {first.before!r} -> {first.after!r}")
    _output.print(table)
    _output.print(f"missing now: {missing:,} of {len(cleaned.rows) * len(FEATURE_NAMES):,} cells, {unlabelled} classes")


def _print_commit(done: Commit) -> None:
    if done.added or done.removed:
        _output.print(
            f"version {done.version}: {done.rows:,} rows; {done.added:,} written ({done.bytes_added:,} bytes), "
            f"{done.removed:,} removed"
        )
    else:
        _output.print(f"version {done.version}: nothing new, {done.rows:,} rows")
