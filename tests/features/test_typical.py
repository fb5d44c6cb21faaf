"""The dataset's quantiles that ship with the ear."""

import csv

import numpy as np
import pytest

from features import FEATURE_NAMES
from features.typical import read_typical
from tests.features.golden import SHARED

TABLE = SHARED / "data" / "turkish_music_emotion.csv"


def test_read_typical_covers_every_column_in_order() -> None:
    typical = read_typical()
    assert tuple(typical) == FEATURE_NAMES
    assert all(column.p5 < column.median < column.p95 for column in typical.values())


@pytest.mark.parametrize("name", FEATURE_NAMES)
def test_position_is_minus_one_zero_one_at_the_quantiles(name: str) -> None:
    column = read_typical()[name]
    assert [column.position(value) for value in (column.p5, column.median, column.p95)] == [-1, 0, 1]


@pytest.mark.skipif(not TABLE.is_file(), reason="the dataset is not beside the repository (../shared/data)")
def test_read_typical_agrees_with_the_dataset() -> None:
    with TABLE.open() as file:
        table = list(csv.DictReader(file))
    for name, column in read_typical().items():
        values = [float(row[name]) for row in table]
        quantiles = np.quantile(values, (0.05, 0.5, 0.95))
        np.testing.assert_allclose((column.p5, column.median, column.p95), quantiles, atol=1e-6)
        assert column.std == pytest.approx(np.std(values, ddof=1), rel=1e-5)
