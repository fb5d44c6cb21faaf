"""MIRtoolbox's own numbers for 81 clips, where they lie beside the repository."""

import csv
import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from features import FEATURE_NAMES

SHARED: Final = Path(__file__).resolve().parents[2].parent / "shared"
CLIPS: Final = SHARED / "features" / "clips"

needs_golden = pytest.mark.skipif(
    not (CLIPS.is_dir() and (SHARED / "features" / "golden.csv").is_file()),
    reason="the golden clips and MIRtoolbox's numbers are not beside the repository (../shared/features)",
)


@dataclass(frozen=True)
class Golden:
    """What MIRtoolbox printed, and how far the dataset's columns spread."""

    values: dict[str, dict[str, float]]
    spread: dict[str, float]

    def error(self, clip: str, column: str, value: float) -> float:
        """Give the relative error (denominator floored at 1e-3); 0 where both are NaN, infinity where one is."""
        truth = self.values[clip][column]
        if math.isnan(truth) or math.isnan(value):
            return 0.0 if math.isnan(truth) and math.isnan(value) else math.inf
        return abs(value - truth) / max(abs(truth), 1e-3)

    def agrees(self, clip: str, column: str, value: float) -> bool:
        """Tell whether a value is MIRtoolbox's to 1e-4 or to a thousandth of the dataset's standard deviation."""
        truth = self.values[clip][column]
        return self.error(clip, column, value) <= 1e-4 or abs(value - truth) <= 1e-3 * self.spread[column]


def read_golden() -> Golden:
    """Read golden.csv and the dataset's spread of every column."""
    with (SHARED / "features" / "golden.csv").open() as file:
        rows = list(csv.DictReader(file))
    with (SHARED / "data" / "turkish_music_emotion.csv").open() as file:
        table = list(csv.DictReader(file))
    values = {row["clip"]: {name: float(row[name] or "nan") for name in FEATURE_NAMES} for row in rows}
    spread = {name: statistics.stdev(float(row[name]) for row in table) for name in FEATURE_NAMES}
    return Golden(values, spread)
