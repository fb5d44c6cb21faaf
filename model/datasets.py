"""Labelled tables of feature vectors, and which rows of them are too alike to be split apart.

The home table is the Turkish Music Emotion table: 400 rows of 50 features rounded to 3 decimals, 100 per emotion
(UCI 862, doi 10.24432/C5JG93, CC BY 4.0; Er and Aydilek 2019, Int. J. Comput. Intell. Syst. 12(2), 1622-1634). It holds
12 exact duplicate pairs and a few near-duplicates: splitting those between training and test would flatter any model.
"""

import csv
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist

from features.schema import FEATURE_NAMES
from model.emotions import EMOTIONS
from model.errors import DatasetError

# The published table says Class, tables of our own say emotion.
LABEL_COLUMNS: Final = ("emotion", "Class")

# Standardised Euclidean distance below which two rows are taken for the same recording: unrelated rows of the home
# table are 7 to 12 apart, its exact duplicates 0.
NEAR_DUPLICATE_DISTANCE: Final = 3.0


def load_table(path: Path | str) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """Read a clean labelled table.

    Parameters
    ----------
    path : Path or str
        A CSV file with a header: a label column (``emotion`` or ``Class``) and the 50 features, in any order.

    Returns
    -------
    X : np.ndarray, shape (n, 50), float64
        The features in ``FEATURE_NAMES`` order, finite, in the file's row order.
    y : np.ndarray, shape (n,), str
        The emotion of each row.

    Raises
    ------
    DatasetError
        If the file cannot be read, a column is missing, a cell is not a finite number or a label is not an emotion;
        the message names row and column.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            header = reader.fieldnames or []
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path}: cannot be read as a CSV table: {error}") from error
    label_column = next((name for name in LABEL_COLUMNS if name in header), None)
    missing = [name for name in FEATURE_NAMES if name not in header]
    if label_column is None or missing:
        wanted = missing or [" or ".join(LABEL_COLUMNS)]
        raise DatasetError(f"{path}: expected a label column and the 50 features, {', '.join(wanted)} missing")
    if not rows:
        raise DatasetError(f"{path}: expected at least one row below the header, got none")
    X = np.array([[_number(path, line, name, row[name]) for name in FEATURE_NAMES] for line, row in enumerate(rows, 2)])
    y = np.array([_label(path, line, label_column, row[label_column]) for line, row in enumerate(rows, 2)])
    return X, y


def drop_exact_duplicates(X: NDArray[np.float64], y: NDArray[np.str_]) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """Keep the first of every set of rows whose 50 features are equal.

    Parameters
    ----------
    X : np.ndarray, shape (n, 50), float64
    y : np.ndarray, shape (n,), str

    Returns
    -------
    X, y : np.ndarray
        The distinct rows, in their order.

    Raises
    ------
    DatasetError
        If equal rows carry different labels: somebody must say which is right.
    """
    _, first, which = np.unique(X, axis=0, return_index=True, return_inverse=True)
    which = which.reshape(-1)
    conflicts = np.flatnonzero(y != y[first[which]])
    if conflicts.size:
        row, twin = conflicts[0], first[which[conflicts[0]]]
        raise DatasetError(f"rows {twin + 2} and {row + 2} hold the same features as {y[twin]} and as {y[row]}")
    keep = np.sort(first)
    return X[keep], y[keep]


def near_duplicate_groups(X: NDArray[np.float64]) -> NDArray[np.int64]:
    """Find the groups of rows that are (nearly) the same recording.

    Single linkage over Euclidean distances of standardised columns, cut at ``NEAR_DUPLICATE_DISTANCE``. A group must
    stay on one side of every split.

    Parameters
    ----------
    X : np.ndarray, shape (n, n_features), float64

    Returns
    -------
    np.ndarray, shape (n,), int64
        A group number per row.
    """
    if len(X) < 2:
        return np.zeros(len(X), dtype=np.int64)
    spread = X.std(axis=0)
    standardised = (X - X.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    tree = linkage(pdist(standardised), method="single")
    groups: NDArray[np.int64] = fcluster(tree, NEAR_DUPLICATE_DISTANCE, criterion="distance").astype(np.int64)
    return groups


def _number(path: Path | str, line: int, column: str, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise DatasetError(f"{path}, line {line}, {column}: expected a finite number, got {text!r}")
    return value


def _label(path: Path | str, line: int, column: str, text: str | None) -> str:
    if text not in EMOTIONS:
        raise DatasetError(f"{path}, line {line}, {column}: expected one of {', '.join(EMOTIONS)}, got {text!r}")
    return str(text)
