"""Versions of a dataset without copies of its history, on Delta Lake.

A store is a Delta table (Armbrust et al. 2020, Delta Lake: High-Performance ACID Table Storage over Cloud Object
Stores, VLDB 13(12)): Parquet files that are never changed, and a log that says which of them make up each version. A
commit writes the new rows only; a version is read by its number, however many followed.

A row is identified by its content: class, audio digest and features (a repeated row counts its repetitions). Features
computed from audio are found again by (audio digest, feature version), so that nothing is computed twice.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from deltalake import ColumnProperties, CommitProperties, DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import TableNotFoundError
from numpy.typing import NDArray

from features import FEATURE_NAMES, FEATURE_VERSION
from model.emotions import EMOTIONS
from model.errors import DatasetError

_SCHEMA: Final = pa.schema(
    [
        ("key", pa.string()),
        ("emotion", pa.string()),
        ("source", pa.string()),
        ("audio_sha256", pa.string()),
        ("feature_version", pa.string()),
        *((name, pa.float64()) for name in FEATURE_NAMES),
    ]
)

# Without per-column statistics and dictionaries a commit of ten rows costs a third fewer bytes.
_WRITER: Final = WriterProperties(
    compression="ZSTD",
    default_column_properties=ColumnProperties(dictionary_enabled=False, statistics_enabled="NONE"),
)

# Small files, so that a row that changes rewrites its neighbours and not the whole table.
_FILE_BYTES: Final = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled fragment of a dataset.

    Parameters
    ----------
    emotion : str
        One of the four labels, or empty where nobody knows.
    features : tuple of float
        50 numbers in ``FEATURE_NAMES`` order, NaN where missing.
    source : str
        Where it came from: a file's name.
    audio_sha256 : str
        Digest of the audio file; empty for a table without audio.
    feature_version : str
        Version of the ear that computed the features.
    """

    emotion: str
    features: tuple[float, ...]
    source: str
    audio_sha256: str = ""
    feature_version: str = FEATURE_VERSION

    def digest(self) -> str:
        """Identify the example by its content, whatever file it came from."""
        numbers = np.array(self.features, dtype=np.float64)
        numbers[np.isnan(numbers)] = np.nan
        parts = [self.emotion.encode(), self.audio_sha256.encode(), self.feature_version.encode(), numbers.tobytes()]
        return hashlib.sha256(b"\0".join(parts)).hexdigest()


@dataclass(frozen=True, slots=True)
class Commit:
    """What one commit did.

    Parameters
    ----------
    version : int
        The version it made; the current one where nothing changed.
    rows, added, removed : int
        Rows in the version, rows written, rows that the version no longer holds.
    bytes_added : int
        Size of the files that it wrote.
    """

    version: int
    rows: int
    added: int
    removed: int
    bytes_added: int


@dataclass(frozen=True, slots=True)
class Version:
    """One entry of a store's history."""

    version: int
    committed_at: datetime
    message: str
    rows: int
    rows_added: int
    bytes_added: int


class DatasetStore:
    """A versioned dataset in a directory.

    Parameters
    ----------
    root : pathlib.Path
        The Delta table's directory; made by the first commit.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, version: int | None = None) -> list[Example]:
        """Read one version, the current one by default.

        Raises
        ------
        DatasetError
            If there is no such store or version.
        """
        table = self._table(version)
        if table is None:
            raise DatasetError(f"{self.root}: no dataset here; make one with `emotion-stream data commit`")
        return [_example(row) for row in table.to_pyarrow_table().to_pylist()]

    def known_features(self) -> dict[str, tuple[float, ...]]:
        """Give the features of this ear's version by audio digest."""
        table = self._table(None)
        if table is None:
            return {}
        rows = table.to_pyarrow_table(columns=["audio_sha256", "feature_version", *FEATURE_NAMES]).to_pylist()
        return {
            row["audio_sha256"]: _numbers(row)
            for row in rows
            if row["audio_sha256"] and row["feature_version"] == FEATURE_VERSION
        }

    def commit(self, examples: Iterable[Example], message: str) -> Commit:
        """Make the dataset hold exactly these examples; write only what is new.

        Parameters
        ----------
        examples : iterable of Example
            The whole dataset as it shall be.
        message : str
            Why it changed.

        Returns
        -------
        Commit
            No new version is made where nothing changed.
        """
        return self._write(examples, message, keep_others=False)

    def add(self, examples: Iterable[Example], message: str) -> Commit:
        """Add examples to those that are there; a new label for the same audio replaces the old one."""
        return self._write(examples, message, keep_others=True)

    def versions(self) -> list[Version]:
        """List the history, newest first."""
        table = self._table(None)
        if table is None:
            return []
        sizes: dict[int, int] = {}
        counts: dict[int, int] = {}
        files: set[str] = set()
        history = sorted(table.history(), key=lambda entry: int(entry["version"]))
        for entry in history:
            number = int(entry["version"])
            actions = pa.table(DeltaTable(self.root, version=number).get_add_actions(flatten=True)).to_pylist()
            sizes[number] = sum(action["size_bytes"] for action in actions if action["path"] not in files)
            counts[number] = sum(action["num_records"] for action in actions)
            files |= {action["path"] for action in actions}
        return [
            Version(
                version=int(entry["version"]),
                committed_at=datetime.fromtimestamp(entry["timestamp"] / 1000, tz=UTC),
                message=str(entry.get("message", "")),
                rows=counts[int(entry["version"])],
                rows_added=int(entry.get("rows_added", 0)),
                bytes_added=sizes[int(entry["version"])],
            )
            for entry in reversed(history)
        ]

    def _table(self, version: int | None) -> DeltaTable | None:
        try:
            return DeltaTable(self.root, version=version)
        except TableNotFoundError:
            return None
        except Exception as error:  # deltalake raises several unrelated classes for a version that is not there
            if version is None:
                raise
            raise DatasetError(f"{self.root}: no version {version}: {error}") from error

    def _write(self, examples: Iterable[Example], message: str, *, keep_others: bool) -> Commit:
        wanted: dict[str, Example] = {}
        repeated: Counter[str] = Counter()
        for example in examples:
            digest = example.digest()
            wanted[f"{digest}-{repeated[digest]}"] = example
            repeated[digest] += 1
        table = self._table(None)
        present: set[str] = set()
        replaced: set[str] = set()
        if table is not None:
            heads = table.to_pyarrow_table(columns=["key", "audio_sha256", "feature_version"]).to_pylist()
            present = {head["key"] for head in heads}
            audio = {(e.audio_sha256, e.feature_version) for e in wanted.values() if e.audio_sha256}
            replaced = {head["key"] for head in heads if (head["audio_sha256"], head["feature_version"]) in audio}
        new = {key: example for key, example in wanted.items() if key not in present}
        removed = (replaced if keep_others else present) - wanted.keys()
        rows = len(present) - len(removed) + len(new)
        if table is not None and not new and not removed:
            return Commit(table.version(), rows, 0, 0, 0)
        properties = CommitProperties(custom_metadata={"message": message, "rows_added": str(len(new))})
        before = _bytes_of(table)
        if table is None or not removed:
            write_deltalake(
                self.root,
                _arrow(new),
                mode="append",
                commit_properties=properties,
                writer_properties=_WRITER,
                target_file_size=_FILE_BYTES,
            )
        else:
            self._replace(table, new, removed, properties)
        after = DeltaTable(self.root)
        written = sum(size for path, size in _bytes_of(after).items() if path not in before)
        return Commit(after.version(), rows, len(new), len(removed), written)

    @staticmethod
    def _replace(table: DeltaTable, new: dict[str, Example], removed: set[str], properties: CommitProperties) -> None:
        # One merge is one version: nobody sees a dataset with the old rows gone and the new ones not yet there.
        gone = pa.table({name: [None] * len(removed) for name in _SCHEMA.names}, schema=_SCHEMA)
        gone = gone.set_column(0, "key", pa.array(sorted(removed), pa.string()))
        source = pa.concat_tables([_arrow(new), gone])
        flag = pa.array([False] * len(new) + [True] * len(removed))
        (
            table.merge(
                source.append_column("gone", flag),
                predicate="present.key = change.key",
                source_alias="change",
                target_alias="present",
                commit_properties=properties,
                writer_properties=_WRITER,
            )
            .when_matched_delete(predicate="change.gone")
            .when_not_matched_insert(updates={f"`{n}`": f"change.`{n}`" for n in _SCHEMA.names})
            .execute()
        )


def sample(examples: Sequence[Example], per_class: int, seed: int = 0) -> list[Example]:
    """Draw the same number of examples of each emotion, without replacement.

    Parameters
    ----------
    examples : sequence of Example
        The dataset; examples without a label are passed over.
    per_class : int
        How many of each emotion, > 0.
    seed : int
        Seed of the draw.

    Returns
    -------
    list of Example
        ``4 * per_class`` examples in the order of the dataset.

    Raises
    ------
    DatasetError
        If an emotion has fewer examples than asked for.
    """
    generator = np.random.default_rng(seed)
    chosen: list[NDArray[np.intp]] = []
    labels = np.array([example.emotion for example in examples])
    for emotion in EMOTIONS:
        rows = np.flatnonzero(labels == emotion.value)
        if len(rows) < per_class:
            raise DatasetError(f"{emotion.value}: expected at least {per_class} examples, there are {len(rows)}")
        chosen.append(generator.choice(rows, per_class, replace=False))
    return [examples[i] for i in sorted(np.concatenate(chosen).tolist())]


def _bytes_of(table: DeltaTable | None) -> dict[str, int]:
    if table is None:
        return {}
    actions = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    return {action["path"]: int(action["size_bytes"]) for action in actions}


def _numbers(row: dict[str, object]) -> tuple[float, ...]:
    return tuple(float("nan") if row[name] is None else float(str(row[name])) for name in FEATURE_NAMES)


def _example(row: dict[str, object]) -> Example:
    return Example(
        emotion=str(row["emotion"]),
        features=_numbers(row),
        source=str(row["source"]),
        audio_sha256=str(row["audio_sha256"]),
        feature_version=str(row["feature_version"]),
    )


def _arrow(examples: dict[str, Example]) -> pa.Table:
    columns: dict[str, list[object]] = {
        "key": list(examples),
        "emotion": [e.emotion for e in examples.values()],
        "source": [e.source for e in examples.values()],
        "audio_sha256": [e.audio_sha256 for e in examples.values()],
        "feature_version": [e.feature_version for e in examples.values()],
    }
    matrix = np.array([e.features for e in examples.values()], dtype=np.float64).reshape(-1, len(FEATURE_NAMES))
    for k, name in enumerate(FEATURE_NAMES):
        columns[name] = matrix[:, k].tolist()
    return pa.table(columns, schema=_SCHEMA)
