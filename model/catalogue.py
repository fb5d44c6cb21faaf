"""A platform's own tracks, without labels: what a model change does to them, and how far they are from training.

Three forms are read: a folder of audio (each file's middle 30 seconds are heard), a table as ``emotion-stream features
--format csv`` prints it, and recorded ``track-emotions`` as JSON lines, whose tracks are heard in a folder where each
file is named for its ``track_id``.
"""

import csv
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features import COLUMNS, FeatureError, FeatureVector, extract_file, probe
from model.emotions import Emotion
from model.errors import DatasetError
from model.judge import Judge

WINDOW_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True, eq=False)
class Catalogue:
    """Tracks to ask a model about.

    Parameters
    ----------
    names : tuple of str
        One per track.
    X : np.ndarray, shape (n, 50), float64
        Finite features.
    recorded : tuple of Emotion or None
        The emotion on record, where the catalogue has one.
    unheard : tuple of str
        Tracks left out, each with the reason.
    """

    names: tuple[str, ...]
    X: NDArray[np.float64]
    recorded: tuple[Emotion | None, ...]
    unheard: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """A track whose emotion changes."""

    name: str
    before: Emotion
    after: Emotion


def read_catalogue(path: Path, audio: Path | None = None) -> Catalogue:
    """Read a catalogue in any of its forms.

    Parameters
    ----------
    path : Path
        A folder, a ``.csv`` table, or a ``.jsonl`` recording.
    audio : Path, optional
        The folder in which a recording's tracks are heard.

    Returns
    -------
    Catalogue

    Raises
    ------
    DatasetError
        If it is in none of these forms, or nothing of it can be heard.
    """
    if path.is_dir():
        catalogue = _hear((file.name, file, None) for file in sorted(path.rglob("*")) if file.is_file())
    elif path.suffix == ".jsonl":
        if audio is None:
            raise DatasetError(f"{path}: records hold no audio; name the folder that does: --audio DIR")
        catalogue = _hear(_recorded(path, audio))
    else:
        catalogue = _read_features(path)
    if not catalogue.names:
        reasons = "; ".join(catalogue.unheard[:3]) or "it is empty"
        raise DatasetError(f"{path}: expected at least one track that can be heard, got none: {reasons}")
    return catalogue


def hear_middle(path: Path) -> FeatureVector:
    """Hear a file's middle 30 seconds; raises `FeatureError` if it cannot be heard."""
    start = max(0.0, (probe(path).duration_seconds - WINDOW_SECONDS) / 2)
    return extract_file(path, start, WINDOW_SECONDS)


def changes(catalogue: Catalogue, candidate: Judge, champion: Judge) -> list[Change]:
    """List the tracks whose emotion changes: from the one on record, else from the champion's, to the candidate's."""
    changed = []
    for name, row, recorded in zip(catalogue.names, catalogue.X, catalogue.recorded, strict=True):
        before = recorded or champion.judge(row[np.newaxis], [0.0]).emotion
        after = candidate.judge(row[np.newaxis], [0.0]).emotion
        if before is not after:
            changed.append(Change(name, before, after))
    return changed


def flows(changed: Iterable[Change]) -> Counter[tuple[Emotion, Emotion]]:
    """Count changes by where they come from and go to."""
    return Counter((change.before, change.after) for change in changed)


def _hear(tracks: Iterable[tuple[str, Path, Emotion | None]]) -> Catalogue:
    names, vectors, recorded, unheard = [], [], [], []
    for name, path, emotion in tracks:
        try:
            vectors.append(hear_middle(path).finite)
        except (FeatureError, OSError) as error:
            unheard.append(f"{name}: {error}")
            continue
        names.append(name)
        recorded.append(emotion)
    return Catalogue(tuple(names), _matrix(vectors), tuple(recorded), tuple(unheard))


def _recorded(path: Path, audio: Path) -> Iterable[tuple[str, Path, Emotion | None]]:
    files = {file.stem: file for file in sorted(audio.rglob("*")) if file.is_file()}
    for number, record in read_records(path):
        try:
            track, emotion = str(record["track_id"]), Emotion(str(record["emotion"]))
        except (KeyError, ValueError) as error:
            raise DatasetError(f"{path}, line {number}: expected a track_id and an emotion, got {error}") from error
        yield track, files.get(track, audio / track), emotion


def read_records(path: Path) -> Iterable[tuple[int, dict[str, object]]]:
    """Read JSON lines, each with its line number.

    Raises
    ------
    DatasetError
        If a line is not a JSON object.
    """
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError as error:
                raise DatasetError(f"{path}, line {number}: not JSON: {error}") from error
            if not isinstance(record, dict):
                raise DatasetError(f"{path}, line {number}: expected a JSON object, got {type(record).__name__}")
            yield number, record


def _read_features(path: Path) -> Catalogue:
    names, vectors = [], []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [column.name for column in COLUMNS if column.name not in (reader.fieldnames or [])]
            if missing:
                raise DatasetError(f"{path}: expected the 50 features as columns, {', '.join(missing)} missing")
            for number, row in enumerate(reader, start=2):
                names.append(row.get("path") or f"row {number}")
                vectors.append(np.array([_number(path, number, column.name, row[column.name]) for column in COLUMNS]))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path}: expected a folder, a .jsonl recording or a .csv table: {error}") from error
    neutral = np.array([column.neutral for column in COLUMNS])
    X = _matrix(vectors)
    return Catalogue(tuple(names), np.where(np.isfinite(X), X, neutral), (None,) * len(names))


def _number(path: Path, line: int, column: str, text: str | None) -> float:
    try:
        return float(text) if text else np.nan
    except ValueError as error:
        raise DatasetError(f"{path}, line {line}, {column}: expected a number, got {text!r}") from error


def _matrix(vectors: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.array(vectors, dtype=np.float64).reshape(len(vectors), len(COLUMNS))
