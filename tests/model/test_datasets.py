from pathlib import Path

import numpy as np
import pytest

from features.schema import FEATURE_NAMES
from model.datasets import drop_exact_duplicates, load_table, near_duplicate_groups
from model.errors import DatasetError

HOME = Path(__file__).parents[2].parent / "shared" / "data" / "turkish_music_emotion.csv"


def write_table(path: Path, rows: list[list[str]], label: str = "emotion") -> Path:
    path.write_text("\n".join([",".join([label, *FEATURE_NAMES]), *(",".join(row) for row in rows)]) + "\n")
    return path


def test_load_table_columns_in_another_order_gives_schema_order(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    header = [*reversed(FEATURE_NAMES), "Class"]
    path.write_text(",".join(header) + "\n" + ",".join([*map(str, range(50)), '"sad"']) + "\n")
    X, y = load_table(path)
    assert X.tolist() == [[float(i) for i in reversed(range(50))]]
    assert y.tolist() == ["sad"]


@pytest.mark.parametrize("cell", ["", "NULL", "nan", "inf"])
def test_load_table_cell_without_a_number_raises_with_line_and_column(tmp_path: Path, cell: str) -> None:
    rows = [["happy", *["1"] * 50], ["sad", *["1"] * 49, cell]]
    with pytest.raises(DatasetError, match=f"line 3, {FEATURE_NAMES[-1]}"):
        load_table(write_table(tmp_path / "t.csv", rows))


def test_load_table_unknown_label_raises(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="gloomy"):
        load_table(write_table(tmp_path / "t.csv", [["gloomy", *["1"] * 50]]))


def test_load_table_without_label_column_raises(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="emotion or Class"):
        load_table(write_table(tmp_path / "t.csv", [["sad", *["1"] * 50]], label="mood"))


def test_load_table_empty_or_absent_raises(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="at least one row"):
        load_table(write_table(tmp_path / "t.csv", []))
    with pytest.raises(DatasetError, match="cannot be read"):
        load_table(tmp_path / "absent.csv")


def test_drop_exact_duplicates_keeps_the_first(tmp_path: Path) -> None:
    X = np.array([[1.0], [2.0], [1.0], [0.0]])
    kept, y = drop_exact_duplicates(X, np.array(["sad", "happy", "sad", "relax"]))
    assert kept.ravel().tolist() == [1.0, 2.0, 0.0]
    assert y.tolist() == ["sad", "happy", "relax"]


def test_drop_exact_duplicates_conflicting_labels_raises() -> None:
    with pytest.raises(DatasetError, match="rows 2 and 3"):
        drop_exact_duplicates(np.ones((2, 3)), np.array(["sad", "happy"]))


def test_near_duplicate_groups_joins_rows_that_are_close() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 50))
    X[7] = X[3] + 0.01
    groups = near_duplicate_groups(X)
    assert groups[7] == groups[3]
    assert len(set(groups.tolist())) == 29


def test_home_table_has_388_distinct_rows_in_379_groups() -> None:
    if not HOME.exists():
        pytest.skip(f"{HOME} is not there")
    X, y = load_table(HOME)
    assert X.shape == (400, 50)
    X, y = drop_exact_duplicates(X, y)
    assert len(X) == 388
    assert len(set(near_duplicate_groups(X).tolist())) == 379
