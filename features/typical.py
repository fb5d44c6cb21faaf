"""Where the dataset's 400 rows lie, column by column: three quantiles and the spread, not the table."""

import json
from dataclasses import dataclass
from importlib.resources import files

from features.schema import FEATURE_NAMES


@dataclass(frozen=True, slots=True)
class Typical:
    """Quantiles and spread of one column over the Turkish Music Emotion table.

    Parameters
    ----------
    p5, median, p95 : float
        Five per cent of the 400 rows lie below ``p5``, five above ``p95``; in the column's unit.
    std : float
        Standard deviation of the 400 rows.
    """

    p5: float
    median: float
    p95: float
    std: float

    def position(self, value: float) -> float:
        """Place a value: -1 at the 5th percentile, 0 at the median, 1 at the 95th, straight in between and beyond."""
        step = self.p95 - self.median if value > self.median else self.median - self.p5
        return (value - self.median) / step


def read_typical() -> dict[str, Typical]:
    """Read the quantiles and the spread of every column, in ``FEATURE_NAMES`` order.

    Returns
    -------
    dict of str to Typical

    References
    ----------
    .. [1] Er, M. B. (2019), Turkish Music Emotion, UCI Machine Learning Repository, doi 10.24432/C5JG93, CC BY 4.0.
    """
    columns = json.loads(files("features").joinpath("typical.json").read_text())["columns"]
    return {name: Typical(*columns[name]) for name in FEATURE_NAMES}
