"""Cleaning: what is kept, recovered, blanked, and what must never be guessed."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from features import FEATURE_NAMES
from model.cleaning import CLASS_COLUMN, CleanTable, clean_table, published_ranges
from model.errors import DatasetError
from tests.shared import shared

HEADER = [CLASS_COLUMN, *FEATURE_NAMES]


def healthy_row(emotion: str = "sad") -> list[str]:
    return [emotion, *(f"{(low + high) / 2:.3f}" for low, high in (published_ranges()[n] for n in FEATURE_NAMES))]


def with_cell(column: str, text: str) -> list[str]:
    row = healthy_row()
    row[HEADER.index(column)] = text
    return row


def read(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def numbers(rows: list[list[str]]) -> np.ndarray:
    return np.array([[float(text) if text else math.nan for text in row[1:]] for row in rows])


def rules(table: CleanTable) -> list[tuple[int | None, str, str]]:
    return [(repair.row, repair.column, repair.rule) for repair in table.repairs]


def test_clean_table_healthy_rows_are_unchanged() -> None:
    rows = [healthy_row("happy"), healthy_row("relax")]
    cleaned = clean_table(HEADER, rows)
    assert cleaned.rows == rows
    assert cleaned.repairs == []


@pytest.mark.parametrize("text", ["?", "NULL", "error", " INVALID ", "N/A", "nan", "inf", "1,5", "0x10"])
def test_clean_table_no_number_becomes_missing(text: str) -> None:
    cleaned = clean_table(HEADER, [with_cell("_Tempo_Mean", text)])
    assert cleaned.rows[0][HEADER.index("_Tempo_Mean")] == ""
    assert rules(cleaned) == [(1, "_Tempo_Mean", "not_a_number")]


def test_clean_table_blanks_around_number_are_removed() -> None:
    cleaned = clean_table(HEADER, [with_cell("_Tempo_Mean", " 120.5 ")])
    assert cleaned.rows[0][HEADER.index("_Tempo_Mean")] == "120.5"
    assert rules(cleaned) == [(1, "_Tempo_Mean", "spelling")]


def test_clean_table_absurd_number_becomes_missing() -> None:
    cleaned = clean_table(HEADER, [with_cell("_RMSenergy_Mean", "387.142")])
    assert rules(cleaned) == [(1, "_RMSenergy_Mean", "range")]


@pytest.mark.parametrize(("text", "label"), [(" HAPPY ", "happy"), ("Sad", "sad"), ("joyful", ""), ("", "")])
def test_clean_table_class_is_recovered_or_left_missing(text: str, label: str) -> None:
    row = healthy_row()
    row[0] = text
    assert clean_table(HEADER, [row]).rows[0][0] == label


def test_clean_table_unknown_column_is_dropped_and_order_restored() -> None:
    header = ["extra", *reversed(HEADER)]
    cleaned = clean_table(header, [["7", *reversed(healthy_row())]])
    assert cleaned.rows == [healthy_row()]
    assert rules(cleaned) == [(None, "extra", "column")]


def test_clean_table_lost_decimal_points_are_found_and_restored() -> None:
    k = HEADER.index("_HarmonicChangeDetectionFunction_PeriodEntropy")
    rows = [healthy_row() for _ in range(20)]
    for i, row in enumerate(rows):
        row[k] = str(950 + i)
    cleaned = clean_table(HEADER, rows)
    assert rules(cleaned) == [(None, HEADER[k], "decimal_point")]
    assert [row[k] for row in cleaned.rows] == [f"{(950 + i) / 1000:.3f}" for i in range(20)]


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        (HEADER[:-1], [], "PeriodEntropy"),
        ([*HEADER, "_Tempo_Mean"], [], "_Tempo_Mean"),
        (HEADER, [["sad", "1"]], "row 1"),
    ],
)
def test_clean_table_wrong_shape_raises(header: list[str], rows: list[list[str]], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        clean_table(header, rows)


def test_clean_table_modified_table_against_published_one() -> None:
    dirty = read(shared("data/turkish_music_emotion_modified.csv"))
    published = read(shared("data/turkish_music_emotion.csv"))
    cleaned = clean_table(dirty[0], dirty[1:])
    truth = numbers(published[1:])
    got = numbers(cleaned.rows)
    # Eight rows repeat others at the end: find each row's original by the cells that agree.
    origin = [int((np.abs(truth - row) < 1e-9).sum(axis=1).argmax()) for row in got]
    truth = truth[origin]
    agree = np.abs(got - truth) < 1e-9
    missing = np.isnan(got)
    parsed = np.array([[_number(text) for text in row[1:51]] for row in dirty[1:]])
    healthy = np.abs(parsed - truth) < 1e-9
    left_wrong = int((~agree & ~missing).sum())
    harmed = int((healthy & ~agree).sum())
    recovered = sum(repair.rule == "spelling" for repair in cleaned.repairs if repair.column != CLASS_COLUMN)
    print(f"kept {agree.sum()}, of them recovered {recovered}, blanked {missing.sum()}, "
          f"left wrong {left_wrong}, harmed {harmed}")  # fmt: skip
    assert got.size == 20_400
    assert int(healthy.sum()) == 20_400 - 303 - 197
    assert left_wrong <= 6
    assert harmed == 0
    labels = [row[0] for row in cleaned.rows]
    true_labels = [published[1 + i][0] for i in origin]
    assert labels.count("") == 5
    assert all(label in ("", true) for label, true in zip(labels, true_labels, strict=True))


def test_clean_table_twice_changes_nothing_more() -> None:
    dirty = read(shared("data/turkish_music_emotion_modified.csv"))
    once = clean_table(dirty[0], dirty[1:])
    twice = clean_table(once.header, once.rows)
    assert twice.rows == once.rows
    assert twice.repairs == []


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
