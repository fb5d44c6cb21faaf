"""One row a track: the full judgement, or why there is none; as JSON lines, CSV or Parquet."""

import csv
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from consumer.errors import ConfigurationError, EmotionServiceError
from consumer.events import Decisions, EmotionLabel, Fragment, Probabilities
from consumer.pipeline import Analysis
from model.emotions import EMOTIONS


class Row(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a batch says of one track.

    Parameters
    ----------
    path : str
        As it was given.
    track_id : str
        Its id in the stream.
    reason, message : str
        Why there is no judgement; the reason is a dead letter's. Empty otherwise.
    emotion ... audio_sha256
        As in a TrackEmotion; None where there is no judgement.
    out_of_domain : bool
        Unlike anything the model was trained on: every decision is ``withhold``.
    """

    path: str
    track_id: str = ""
    reason: str = ""
    message: str = ""
    emotion: EmotionLabel | None = None
    confidence: float | None = None
    probabilities: Probabilities | None = None
    prediction_set: list[EmotionLabel] | None = None
    valence: float | None = None
    arousal: float | None = None
    decisions: Decisions | None = None
    fragments: list[Fragment] | None = None
    out_of_domain: bool | None = None
    model_version: str | None = None
    feature_version: str | None = None
    audio_sha256: str | None = None


def judged_row(path: str, analysis: Analysis) -> Row:
    """Write an analysis as a row."""
    judgement = analysis.judgement
    return Row(
        path=path,
        emotion=judgement.emotion.value,
        confidence=judgement.confidence,
        probabilities=Probabilities(**{e.value: judgement.probabilities[e] for e in EMOTIONS}),
        prediction_set=[e.value for e in judgement.prediction_set],
        valence=judgement.valence,
        arousal=judgement.arousal,
        decisions=Decisions(**judgement.decisions),
        fragments=[
            Fragment(start_seconds=f.start_seconds, emotion=f.emotion.value, confidence=f.confidence)
            for f in judgement.fragments
        ],
        out_of_domain=judgement.out_of_domain,
        model_version=analysis.model_version,
        feature_version=analysis.feature_version,
        audio_sha256=analysis.audio_sha256,
    )


def failed_row(path: str, error: EmotionServiceError) -> Row:
    """Write an error as a row."""
    return Row(path=path, reason=error.reason.value, message=str(error))


# The columns of CSV and Parquet: nested fields of a row by a dotted path, lists as text.
_COLUMNS: Final[dict[str, str]] = {
    "path": "path",
    "track_id": "track_id",
    "reason": "reason",
    "message": "message",
    "emotion": "emotion",
    "confidence": "confidence",
    **{f"probability_{emotion.value}": f"probabilities.{emotion.value}" for emotion in EMOTIONS},
    "prediction_set": "prediction_set",
    "valence": "valence",
    "arousal": "arousal",
    **{f"decision_{use}": f"decisions.{use}" for use in ("playlist", "therapy", "catalogue")},
    "out_of_domain": "out_of_domain",
    "fragments": "fragments",
    "model_version": "model_version",
    "feature_version": "feature_version",
    "audio_sha256": "audio_sha256",
}
_NUMBERS: Final = frozenset({"confidence", "valence", "arousal", *(f"probability_{e.value}" for e in EMOTIONS)})
FORMATS: Final = (".jsonl", ".csv", ".parquet")
# Rows held in memory while a Parquet file is written.
_GROUP_ROWS: Final = 5_000


def write_rows(output: Path, rows: Iterable[tuple[str, bytes]]) -> int:
    """Write the output file, whole or not at all.

    Parameters
    ----------
    output : pathlib.Path
        ``.jsonl``, ``.csv`` or ``.parquet``.
    rows : iterable of (str, bytes)
        Track id and encoded row, as the journal gives them.

    Returns
    -------
    int
        Rows written.

    Raises
    ------
    ConfigurationError
        If the suffix is none of ``FORMATS``.
    """
    check_format(output)
    writer = {".jsonl": _write_jsonl, ".csv": _write_csv, ".parquet": _write_parquet}[output.suffix.lower()]
    objects = ({**msgspec.json.decode(row), "track_id": track_id} for track_id, row in rows)
    with _replacing(output) as temporary:
        return writer(temporary, objects)


def check_format(output: Path) -> None:
    """Refuse an output whose format is unknown."""
    if output.suffix.lower() not in FORMATS:
        raise ConfigurationError(f"{output}: expected a name ending in {', '.join(FORMATS)}")


@contextmanager
def _replacing(output: Path) -> Iterator[Path]:
    temporary = output.with_name(f".{output.name}.writing")
    try:
        yield temporary
        os.replace(temporary, output)
    finally:
        temporary.unlink(missing_ok=True)


def _flat(row: dict[str, Any]) -> list[Any]:
    values = []
    for path in _COLUMNS.values():
        value: Any = row
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if path == "prediction_set" and value is not None:
            value = " ".join(value)
        elif path == "fragments" and value is not None:
            value = msgspec.json.encode(value).decode()
        values.append(value)
    return values


def _write_jsonl(path: Path, rows: Iterator[dict[str, Any]]) -> int:
    count = 0
    with path.open("wb") as file:
        for count, row in enumerate(rows, start=1):  # noqa: B007  (the last count is the result)
            file.write(msgspec.json.encode(row) + b"\n")
    return count


def _write_csv(path: Path, rows: Iterator[dict[str, Any]]) -> int:
    count = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for count, row in enumerate(rows, start=1):  # noqa: B007
            writer.writerow(_flat(row))
    return count


def _write_parquet(path: Path, rows: Iterator[dict[str, Any]]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def kind(name: str) -> pa.DataType:
        return pa.float64() if name in _NUMBERS else pa.bool_() if name == "out_of_domain" else pa.string()

    schema = pa.schema([(name, kind(name)) for name in _COLUMNS])
    count = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while group := list(islice(rows, _GROUP_ROWS)):
            columns = zip(*map(_flat, group), strict=True)
            writer.write_table(pa.table(dict(zip(_COLUMNS, map(list, columns), strict=True)), schema=schema))
            count += len(group)
    return count
