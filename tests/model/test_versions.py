"""Dataset versions: only what is new is stored, and every version can be read again."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from features import FEATURE_NAMES
from model.emotions import EMOTIONS
from model.errors import DatasetError
from model.versions import DatasetStore, Example, sample


def examples(count: int, seed: int = 0) -> list[Example]:
    matrix = np.random.default_rng(seed).normal(size=(count, len(FEATURE_NAMES)))
    return [Example(EMOTIONS[i % 4].value, tuple(row), f"row {i}") for i, row in enumerate(matrix.tolist())]


def test_commit_grown_table_writes_only_new_rows(tmp_path: Path) -> None:
    store = DatasetStore(tmp_path / "store")
    first = store.commit(examples(20_000), "first")
    second = store.commit([*examples(20_000), *examples(10, seed=1)], "ten more")
    assert (second.version, second.rows, second.added, second.removed) == (first.version + 1, 20_010, 10, 0)
    # Ten rows of 50 numbers are 4 kB; a Parquet file's footer for 55 columns is about 12 kB more.
    assert second.bytes_added < 20_000 < first.bytes_added / 50


def test_commit_same_table_makes_no_version(tmp_path: Path) -> None:
    store = DatasetStore(tmp_path / "store")
    store.commit(examples(5), "first")
    again = store.commit(examples(5), "again")
    assert (again.version, again.added, again.bytes_added) == (0, 0, 0)
    assert len(store.versions()) == 1


def test_commit_repeated_rows_are_all_kept(tmp_path: Path) -> None:
    store = DatasetStore(tmp_path / "store")
    store.commit([*examples(3), *examples(3)], "twice")
    assert len(store.read()) == 6


def test_commit_changed_row_replaces_it_in_one_version(tmp_path: Path) -> None:
    store = DatasetStore(tmp_path / "store")
    rows = examples(40)
    store.commit(rows, "first")
    changed = [replace(rows[0], emotion="angry"), *rows[1:]]
    done = store.commit(changed, "relabelled")
    assert (done.version, done.rows, done.added, done.removed) == (1, 40, 1, 1)
    assert Counter(store.read()) == Counter(changed)
    assert Counter(store.read(0)) == Counter(rows)


def test_commit_missing_numbers_survive(tmp_path: Path) -> None:
    store = DatasetStore(tmp_path / "store")
    hole = Example("", (float("nan"), *(1.0,) * 49), "hole")
    store.commit([hole], "a hole")
    (back,) = store.read()
    assert np.isnan(back.features[0])
    assert back.emotion == ""
    assert store.commit([hole], "again").added == 0


def test_add_audio_features_are_found_by_digest(tmp_path: Path) -> None:
    store = DatasetStore(tmp_path / "store")
    heard = replace(examples(1)[0], audio_sha256="a" * 64)
    store.add([heard], "heard")
    store.add([replace(heard, feature_version="older", audio_sha256="b" * 64)], "another ear")
    assert store.known_features() == {"a" * 64: heard.features}


def test_add_new_label_for_same_audio_replaces_old_one(tmp_path: Path) -> None:
    store = DatasetStore(tmp_path / "store")
    heard = replace(examples(1)[0], audio_sha256="a" * 64, emotion="sad")
    other = replace(examples(2)[1], audio_sha256="b" * 64)
    store.add([heard, other], "heard")
    done = store.add([replace(heard, emotion="relax")], "corrected")
    assert (done.rows, done.added, done.removed) == (2, 1, 1)
    assert sorted(e.emotion for e in store.read() if e.audio_sha256 == "a" * 64) == ["relax"]


def test_read_missing_store_or_version_raises(tmp_path: Path) -> None:
    store = DatasetStore(tmp_path / "store")
    with pytest.raises(DatasetError, match="no dataset here"):
        store.read()
    store.commit(examples(1), "first")
    with pytest.raises(DatasetError, match="no version 7"):
        store.read(7)


def test_versions_tell_rows_and_messages(tmp_path: Path) -> None:
    store = DatasetStore(tmp_path / "store")
    store.commit(examples(4), "first")
    store.commit(examples(6), "second")
    newest, oldest = store.versions()
    assert (newest.message, newest.rows, newest.rows_added) == ("second", 6, 2)
    assert (oldest.message, oldest.rows, oldest.rows_added) == ("first", 4, 4)


def test_sample_is_balanced_and_repeatable() -> None:
    drawn = sample(examples(200), per_class=7, seed=3)
    assert Counter(e.emotion for e in drawn) == dict.fromkeys([e.value for e in EMOTIONS], 7)
    assert drawn == sample(examples(200), per_class=7, seed=3)
    assert drawn != sample(examples(200), per_class=7, seed=4)


def test_sample_too_few_raises() -> None:
    with pytest.raises(DatasetError, match="expected at least 9"):
        sample(examples(16), per_class=9)
