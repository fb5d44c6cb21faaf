import csv
import math

import numpy as np
import pytest

from features import COLUMNS, FEATURE_NAMES, FeatureVector
from tests.features.golden import SHARED


def test_columns_are_fifty_and_complete() -> None:
    assert len(COLUMNS) == len(set(FEATURE_NAMES)) == 50
    for column in COLUMNS:
        assert column.definition.endswith(".") and column.unit and column.source, column.name
        assert column.low < column.high
        assert math.isfinite(column.neutral) and column.low <= column.neutral <= column.high, column.name


@pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="the dataset is not beside the repository (../shared/data)")
def test_columns_are_the_dataset_header_and_hold_its_values() -> None:
    path = SHARED / "data" / "turkish_music_emotion.csv"
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [name for name in rows[0] if name.startswith("_")] == list(FEATURE_NAMES)
    for column in COLUMNS:
        assert all(column.low <= float(row[column.name]) <= column.high for row in rows), column.name


def test_feature_vector_refuses_what_the_model_cannot_use() -> None:
    with pytest.raises(ValueError, match="expected finite numbers"):
        FeatureVector(np.zeros(50), np.full(50, np.nan))
    with pytest.raises(ValueError, match="expected 50 features"):
        FeatureVector(np.zeros(49), np.zeros(49))
