"""The journal: nothing done twice, nothing missing, whatever happened in between."""

import os
import sqlite3
from pathlib import Path

import pytest

from consumer.batch.files import stamp
from consumer.batch.inputs import Item
from consumer.batch.journal import Journal
from consumer.batch.rows import Row
from consumer.errors import ConfigurationError


def items(folder: Path, *names: str) -> list[Item]:
    for name in names:
        (folder / name).write_bytes(name.encode())
    return [Item(str(folder / name), name) for name in names]


def pending(journal: Journal) -> list[str]:
    return [item.track_id for item in journal.pending()]


def test_journal_reopened_keeps_what_was_recorded(tmp_path: Path) -> None:
    wanted = items(tmp_path, "a", "b", "c")
    first = Journal(tmp_path / "journal", "m1")
    first.want(wanted)
    first.record(Row(path=wanted[1].path, emotion="sad"), seen=stamp(wanted[1].path))
    # No close: this is what kill -9 leaves.
    with Journal(tmp_path / "journal", "m1") as second:
        second.want(wanted)
        assert pending(second) == ["a", "c"]


def test_journal_other_model_does_everything_again(tmp_path: Path) -> None:
    wanted = items(tmp_path, "a")
    with Journal(tmp_path / "journal", "m1") as journal:
        journal.want(wanted)
        journal.record(Row(path=wanted[0].path), seen=stamp(wanted[0].path))
    with Journal(tmp_path / "journal", "m2") as journal:
        assert pending(journal) == ["a"]
        assert journal.tally().done == 0


def test_journal_changed_file_and_failed_file_are_tried_again(tmp_path: Path) -> None:
    wanted = items(tmp_path, "a", "b", "c")
    with Journal(tmp_path / "journal", "m1") as journal:
        journal.want(wanted)
        for item in wanted:
            journal.record(Row(path=item.path, reason="decode" * (item.track_id == "b")), seen=stamp(item.path))
        os.utime(wanted[2].path, ns=(1, 1))
        assert pending(journal) == ["b", "c"]


def test_journal_path_named_twice_is_heard_once_and_given_twice(tmp_path: Path) -> None:
    (item,) = items(tmp_path, "a")
    with Journal(tmp_path / "journal", "m1") as journal:
        assert journal.want([item, Item(item.path, "again")]).wanted == 2
        assert pending(journal) == ["a"]
        journal.record(Row(path=item.path), seen=stamp(item.path))
        assert [track_id for track_id, _ in journal.rows()] == ["a", "again"]


def test_journal_many_tracks_are_all_pending_in_order(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal", "m1") as journal:
        journal.want(Item(f"/nowhere/{i}", str(i)) for i in range(1_000))
        assert pending(journal) == [str(i) for i in range(1_000)]


def test_journal_file_that_changed_while_it_was_heard_is_tried_again(tmp_path: Path) -> None:
    (item,) = items(tmp_path, "a")
    with Journal(tmp_path / "journal", "m1") as journal:
        journal.want([item])
        seen = stamp(item.path)
        os.utime(item.path, ns=(1, 1))
        journal.record(Row(path=item.path), seen=seen)
        assert pending(journal) == ["a"]


def test_journal_of_an_older_format_is_refused(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "journal")
    database.execute("PRAGMA user_version=1")
    database.close()
    with pytest.raises(ConfigurationError, match="expected journal format 2, got 1; remove it"):
        Journal(tmp_path / "journal", "m1")


def test_journal_foreign_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "journal").write_bytes(b"not a database at all, but long enough to be read as one" * 20)
    with pytest.raises(ConfigurationError, match="not a journal"):
        Journal(tmp_path / "journal", "m1")
