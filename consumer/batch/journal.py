"""The journal of a batch run: what is to be done, and every result, safe against kill -9.

SQLite in write-ahead mode: a result is either wholly there or not at all, a hundred thousand tracks need no memory, and
an audio file that has not changed since is recognised by its size and modification time.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import msgspec

from consumer.batch.inputs import Item
from consumer.errors import ConfigurationError

_FORMAT: Final = 1
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS results (
    path TEXT PRIMARY KEY, stamp TEXT NOT NULL, version TEXT NOT NULL, failed INTEGER NOT NULL, row BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS wanted (number INTEGER PRIMARY KEY, path TEXT NOT NULL, track_id TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS wanted_path ON wanted (path, number);
"""


@dataclass(frozen=True, slots=True)
class Tally:
    """How a run stands.

    Parameters
    ----------
    wanted, done, failed : int
        Tracks asked for, of them with a result, of those with an error.
    """

    wanted: int
    done: int
    failed: int


class Journal:
    """The journal of one output file.

    Parameters
    ----------
    path : pathlib.Path
        The SQLite file.
    version : str
        Of the judgement: results of another model or ear do not count as done.
    """

    def __init__(self, path: Path, version: str) -> None:
        self.path = path
        self._version = version
        try:
            self._database = sqlite3.connect(path)
            self._database.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;" + _TABLES)
            found = self._database.execute("PRAGMA user_version").fetchone()[0]
            self._database.execute(f"PRAGMA user_version={_FORMAT}")
        except sqlite3.DatabaseError as error:
            raise ConfigurationError(f"{path}: not a journal of this command: {error}") from error
        if found not in (0, _FORMAT):
            raise ConfigurationError(f"{path}: expected journal format {_FORMAT}, got {found}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write everything and let the file go."""
        self._database.commit()
        self._database.close()

    def want(self, items: Iterable[Item]) -> Tally:
        """Set down what this run shall hold, in order, before anything is heard."""
        with self._database:
            self._database.execute("DELETE FROM wanted")
            self._database.executemany(
                "INSERT INTO wanted (path, track_id) VALUES (?, ?)", ((item.path, item.track_id) for item in items)
            )
        return self.tally()

    def pending(self) -> Iterator[Item]:
        """Give the tracks without a valid result, each path once, in order.

        An error is tried again: the file may have been mended, the server may answer.
        """
        last = 0
        while True:
            rows = self._database.execute(
                "SELECT number, path, track_id FROM wanted w WHERE number > ? AND number = "
                "(SELECT MIN(number) FROM wanted v WHERE v.path = w.path) ORDER BY number LIMIT 200",
                (last,),
            ).fetchall()
            if not rows:
                return
            for number, path, track_id in rows:
                last = number
                result = self._database.execute(
                    "SELECT stamp, version, failed FROM results WHERE path = ?", (path,)
                ).fetchone()
                if result is None or result[2] or result[1] != self._version or result[0] != stamp(path):
                    yield Item(path, track_id)

    def record(self, path: str, row: msgspec.Struct, *, failed: bool) -> None:
        """Write down one result; it is on disk when this returns."""
        with self._database:
            self._database.execute(
                "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?)",
                (path, stamp(path), self._version, int(failed), msgspec.json.encode(row)),
            )

    def rows(self) -> Iterator[tuple[str, bytes]]:
        """Give (track id, encoded result) of every wanted track that has one, in order."""
        yield from self._database.execute(
            "SELECT w.track_id, r.row FROM wanted w JOIN results r ON r.path = w.path ORDER BY w.number"
        )

    def tally(self) -> Tally:
        """Count what is wanted, done and failed; results of other versions and changed files count as not done."""
        wanted = int(self._database.execute("SELECT COUNT(*) FROM wanted").fetchone()[0])
        done, failed = self._database.execute(
            "SELECT COUNT(*), COALESCE(SUM(r.failed), 0) FROM wanted w JOIN results r ON r.path = w.path "
            "WHERE r.version = ?",
            (self._version,),
        ).fetchone()
        return Tally(wanted, int(done), int(failed))


def stamp(path: str) -> str:
    """Recognise a file that has not changed: its size and modification time; empty for a URL or a missing file.

    Parameters
    ----------
    path : str
        Path or URL.

    Returns
    -------
    str
        Equal for two looks at an unchanged file.
    """
    if "://" in path:
        return ""
    try:
        status = Path(path).stat()
    except OSError:
        return ""
    return f"{status.st_size}-{status.st_mtime_ns}"
