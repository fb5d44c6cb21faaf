"""The journal of a batch run: what is to be done, and every result, safe against kill -9.

SQLite in write-ahead mode: a result is either wholly there or not at all, and a hundred thousand tracks need no memory.
A file that has not changed since is recognised by its size and modification time, audio that moved by its digest.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import msgspec

from consumer.batch.files import stamp
from consumer.batch.inputs import Item
from consumer.batch.rows import Row
from consumer.errors import ConfigurationError

_FORMAT: Final = 2
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS results (
    path TEXT PRIMARY KEY, stamp TEXT NOT NULL, version TEXT NOT NULL, failed INTEGER NOT NULL, row BLOB NOT NULL,
    fingerprint TEXT NOT NULL, digest TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS results_fingerprint ON results (fingerprint);
CREATE INDEX IF NOT EXISTS results_digest ON results (digest);
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
            found = self._database.execute("PRAGMA user_version").fetchone()[0]
            if found not in (0, _FORMAT):
                raise ConfigurationError(f"{path}: expected journal format {_FORMAT}, got {found}; remove it")
            self._database.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;" + _TABLES)
            self._database.execute(f"PRAGMA user_version={_FORMAT}")
        except sqlite3.DatabaseError as error:
            raise ConfigurationError(f"{path}: not a journal of this command: {error}") from error

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

    def record(self, row: Row, *, seen: str, fingerprint: str = "") -> None:
        """Write down one result; no kill can undo it when this returns.

        Parameters
        ----------
        row : Row
            The result.
        seen : str
            The file's stamp from before it was heard: a change meanwhile counts as one.
        fingerprint : str, optional
            The file's, to recognise copies by.
        """
        failed, digest = int(bool(row.reason)), row.audio_sha256 or ""
        with self._database:
            self._database.execute(
                "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?, ?, ?)",
                (row.path, seen, self._version, failed, msgspec.json.encode(row), fingerprint, digest),
            )

    def has_fingerprint(self, fingerprint: str) -> bool:
        """Tell whether a file with this fingerprint was judged: the same audio, unless its digest differs."""
        found = self._database.execute(
            "SELECT 1 FROM results WHERE fingerprint = ? AND version = ? AND NOT failed LIMIT 1",
            (fingerprint, self._version),
        ).fetchone()
        return found is not None

    def judged(self, digest: str) -> Row | None:
        """Give what was said of the audio with this digest, whatever its path was."""
        found = self._database.execute(
            "SELECT row FROM results WHERE digest = ? AND version = ? AND NOT failed LIMIT 1", (digest, self._version)
        ).fetchone()
        return None if found is None else msgspec.json.decode(found[0], type=Row)

    def rows(self) -> Iterator[tuple[str, bytes]]:
        """Give (track id, encoded result) of every wanted track that has one, in order."""
        yield from self._database.execute(
            "SELECT w.track_id, r.row FROM wanted w JOIN results r ON r.path = w.path ORDER BY w.number"
        )

    def tally(self) -> Tally:
        """Count what is wanted, done and failed; results of other versions count as not done."""
        wanted = int(self._database.execute("SELECT COUNT(*) FROM wanted").fetchone()[0])
        done, failed = self._database.execute(
            "SELECT COUNT(*), COALESCE(SUM(r.failed), 0) FROM wanted w JOIN results r ON r.path = w.path "
            "WHERE r.version = ?",
            (self._version,),
        ).fetchone()
        return Tally(wanted, int(done), int(failed))
