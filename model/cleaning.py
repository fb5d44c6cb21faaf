"""Cleaning a dirty feature table: keep every healthy cell, recover what only its spelling hid, blank the rest.

Rules run in this order, and every repair is reported with its row, column, rule, and the text before and after:

=================  ==================================================================================
``column``         a column that is neither the class nor one of the 50 features is dropped
``decimal_point``  a column whose decimal points were lost (``970`` for ``.970``) is divided by 1,000
``spelling``       surrounding blanks and letter case around a number or a class are removed
``not_a_number``   ``?``, ``NULL``, ``error``, an empty cell and the like become missing
``unknown_class``  a class that is none of the four emotions becomes missing; it is never guessed
``range``          a number outside the column's range in the published table becomes missing
``consistency``    a spectral centroid or spread that the rest of the same spectrum contradicts becomes missing
=================  ==================================================================================

The last rule is repeated until it finds nothing more, so that cleaning a clean table changes nothing.
"""

import json
import math
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  (makes the next import possible)
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.impute import IterativeImputer
from sklearn.linear_model import BayesianRidge
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

from features import FEATURE_NAMES
from model.emotions import EMOTIONS
from model.errors import DatasetError

CLASS_COLUMN: Final = "Class"

Rule = Literal[
    "column", "decimal_point", "spelling", "not_a_number", "unknown_class", "range", "consistency", "duplicate_row"
]

# Statistics of one and the same spectrum (SPEC.md section 3), which therefore give each other away.
SPECTRUM: Final = (
    "_Spectralcentroid_Mean",
    "_Spectralspread_Mean",
    "_Spectralskewness_Mean",
    "_Spectralkurtosis_Mean",
    "_Spectralflatness_Mean",
    "_EntropyofSpectrum_Mean",
    "_Rolloff_Mean",
    "_Brightness_Mean",
    "_Zero-crossingrate_Mean",
    *(f"_MFCC_Mean_{i}" for i in range(1, 14)),
)
# Only these two are predicted well enough (R^2 about .99) for a contradiction to mean something.
CHECKED: Final = ("_Spectralcentroid_Mean", "_Spectralspread_Mean")
# In robust standard deviations. In the modified table changed cells lie at 7 and above, healthy ones below 5;
# the published table holds one such cell itself (row 35, spread).
CONTRADICTION: Final = 6.0
# Fewer rows than this teach a Gaussian process on 22 columns too little.
FEWEST_ROWS: Final = 100


@dataclass(frozen=True, slots=True)
class Repair:
    """One change to one cell, column or row.

    Parameters
    ----------
    row : int or None
        Line of the data, 1 for the first after the header; None for a whole column.
    column : str
        Name of the column, or ``*`` for a whole row.
    rule : str
        Which rule of this module made it.
    before, after : str
        The text as it came and as it is now; an empty ``after`` is a missing value.
    """

    row: int | None
    column: str
    rule: Rule
    before: str
    after: str


@dataclass(slots=True)
class CleanTable:
    """A cleaned table with the list of everything that was changed.

    Parameters
    ----------
    header : list of str
        ``Class`` and the 50 feature names.
    rows : list of list of str
        Cells as text, empty where missing, in the order of the input.
    repairs : list of Repair
        What was changed, in order of rule, row and column.
    notes : list of Repair
        What was noticed and left alone: rows that repeat an earlier row (training drops them).
    """

    header: list[str]
    rows: list[list[str]]
    repairs: list[Repair] = field(default_factory=list)
    notes: list[Repair] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """Count repairs and notes by rule."""
        return dict(Counter(repair.rule for repair in [*self.repairs, *self.notes]))


@cache
def published_ranges() -> dict[str, tuple[float, float]]:
    """Give each column's least and greatest value in the published table.

    Returns
    -------
    dict
        Feature name to (minimum, maximum), measured on the 400 clips of the Turkish Music Emotion table
        (Er and Aydilek 2019; UCI 862, CC BY 4.0).
    """
    text = resources.files("model").joinpath("published_ranges.json").read_text(encoding="utf-8")
    return {name: (low, high) for name, (low, high) in json.loads(text)["ranges"].items()}


def clean_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> CleanTable:
    """Clean a feature table.

    Parameters
    ----------
    header : sequence of str
        Column names; ``Class`` and the 50 features must be among them, in any order.
    rows : sequence of sequence of str
        Cells as they stand in the file.

    Returns
    -------
    CleanTable
        The same rows in the same order, with columns in the contract's order.

    Raises
    ------
    DatasetError
        If a column is missing or named twice, or a row has another number of cells than the header.
    """
    names = [name.strip() for name in header]
    wanted = [CLASS_COLUMN, *FEATURE_NAMES]
    missing = [name for name in wanted if names.count(name) != 1]
    if missing:
        raise DatasetError(f"expected each of {len(wanted)} columns once, missing or repeated: {', '.join(missing)}")
    for number, row in enumerate(rows, start=1):
        if len(row) != len(names):
            raise DatasetError(f"row {number}: expected {len(names)} cells as in the header, got {len(row)}")
    table = CleanTable(header=wanted, rows=[])
    table.repairs += [Repair(None, name, "column", name, "") for name in names if name not in wanted]
    order = [names.index(name) for name in wanted]
    cells = [[row[i] for i in order] for row in rows]
    scales = _decimal_points(cells, table)
    values = np.full((len(cells), len(FEATURE_NAMES)), np.nan)
    for number, row in enumerate(cells, start=1):
        row[0] = _clean_class(row[0], number, table)
        for k, name in enumerate(FEATURE_NAMES):
            row[k + 1], values[number - 1, k] = _clean_number(row[k + 1], scales[k], number, name, table)
    while contradicted := _contradictions(values):
        for i, k in contradicted:
            table.repairs.append(Repair(i + 1, FEATURE_NAMES[k], "consistency", cells[i][k + 1], ""))
            cells[i][k + 1], values[i, k] = "", np.nan
    table.rows = cells
    table.notes += _repeated_rows(cells)
    return table


def _decimal_points(cells: list[list[str]], table: CleanTable) -> list[int]:
    """Find columns whose decimal points were lost, and the factor that brings them back."""
    scales = []
    for k, name in enumerate(FEATURE_NAMES):
        texts = [row[k + 1].strip() for row in cells]
        numbers = np.array([_number(text) for text in texts])
        finite = np.isfinite(numbers)
        low, high = published_ranges()[name]
        whole = sum(1 for text, ok in zip(texts, finite, strict=True) if ok and "." not in text)
        lost = (
            finite.sum() >= 10
            and whole >= 0.95 * finite.sum()
            and np.median(np.abs(numbers[finite])) > max(abs(low), abs(high))
            and np.mean((numbers[finite] / 1000 >= low) & (numbers[finite] / 1000 <= high)) >= 0.9
        )
        scales.append(1000 if lost else 1)
        if lost:
            table.repairs.append(Repair(None, name, "decimal_point", "whole numbers", "divided by 1000"))
    return scales


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _clean_class(text: str, row: int, table: CleanTable) -> str:
    label = text.strip().lower()
    if label not in EMOTIONS:
        if text:
            table.repairs.append(Repair(row, CLASS_COLUMN, "unknown_class", text, ""))
        return ""
    if label != text:
        table.repairs.append(Repair(row, CLASS_COLUMN, "spelling", text, label))
    return label


def _clean_number(text: str, scale: int, row: int, column: str, table: CleanTable) -> tuple[str, float]:
    value = _number(text.strip())
    if math.isnan(value):
        if text:
            table.repairs.append(Repair(row, column, "not_a_number", text, ""))
        return "", math.nan
    low, high = published_ranges()[column]
    if not low <= value / scale <= high:
        table.repairs.append(Repair(row, column, "range", text, ""))
        return "", math.nan
    cleaned = text.strip() if scale == 1 else f"{value / scale:.3f}"
    if cleaned != text and scale == 1:
        table.repairs.append(Repair(row, column, "spelling", text, cleaned))
    return cleaned, value / scale


def _contradictions(values: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Find cells of ``CHECKED`` that a Gaussian process on the rest of the spectrum contradicts.

    Every row is predicted by a process that has not seen it (10 folds), on logarithms where a column is positive, and
    its error is measured against the process' own uncertainty, so that rare but healthy rows are not suspected.
    Missing neighbours are filled by chained regressions (van Buuren 2011).
    """
    X = values[:, [FEATURE_NAMES.index(name) for name in SPECTRUM]]
    if len(X) < FEWEST_ROWS or np.isnan(X).all(axis=0).any():
        return []
    positive = np.nanmin(X, axis=0) > 0
    X[:, positive] = np.log(X[:, positive])
    X = StandardScaler().fit_transform(X)
    with warnings.catch_warnings():
        # Twenty rounds are enough for filling neighbours; convergence to the last digit is not needed.
        warnings.simplefilter("ignore", ConvergenceWarning)
        filled = IterativeImputer(BayesianRidge(), max_iter=20, random_state=0).fit_transform(X)
    # One changed cell makes its neighbours look wrong too: blank only the worst of each row, then look again.
    worst: dict[int, tuple[float, int]] = {}
    for name in CHECKED:
        c = SPECTRUM.index(name)
        rows = np.flatnonzero(np.isfinite(X[:, c]))
        others, target = np.delete(filled, c, axis=1)[rows], X[rows, c]
        z = np.empty(len(rows))
        for train, test in KFold(10, shuffle=True, random_state=0).split(others):
            process = GaussianProcessRegressor(RBF(10.0) + WhiteKernel(0.001), optimizer=None, normalize_y=True)
            mean, std = process.fit(others[train], target[train]).predict(others[test], return_std=True)
            z[test] = (target[test] - mean) / std
        z -= np.median(z)
        z = np.abs(z) / (1.4826 * np.median(np.abs(z)))
        for i in np.flatnonzero(z > CONTRADICTION):
            row = int(rows[i])
            worst[row] = max(worst.get(row, (0.0, 0)), (float(z[i]), FEATURE_NAMES.index(name)))
    return [(row, k) for row, (_, k) in sorted(worst.items())]


def _repeated_rows(cells: list[list[str]]) -> list[Repair]:
    seen: dict[tuple[str, ...], int] = {}
    notes = []
    for number, row in enumerate(cells, start=1):
        key = (row[0], *(repr(_number(text)) for text in row[1:]))
        if key in seen:
            notes.append(Repair(number, "*", "duplicate_row", f"repeats row {seen[key]}", "kept"))
        else:
            seen[key] = number
    return notes
