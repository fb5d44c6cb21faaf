"""Charts: drawn to scale, broken where nothing was measured, and escaped."""

import re

from consumer.reports import charts
from tests.consumer.reports.made_up import ends_of

HOSTILE = "<script>"


def heights(svg: str) -> list[float]:
    return [float(height) for height in re.findall(r'height="([\d.]+)" fill=', svg)]


def test_columns_stack_to_scale() -> None:
    svg = charts.columns(ends_of(2), {"a": [50.0, 100.0], "b": [50.0, None]})
    # The axis ends at 100 and is 168 high.
    assert heights(svg) == [84.0, 84.0, 168.0, 0.0]
    assert "a, Sat 14 Nov: 50" in svg


def test_columns_day_without_measurement_is_a_gap_and_not_zero() -> None:
    svg = charts.columns(ends_of(2), {"a": [None, 0.0]})
    assert svg.count('class="gap"') == 1
    assert "Sat 14 Nov: not measured" in svg


def test_lines_break_where_nothing_was_measured() -> None:
    svg = charts.lines(ends_of(4), {"a": [1.0, 2.0, None, 3.0]}, unit=" s")
    assert svg.count("<polyline") == 2
    assert svg.count("<circle") == 3


def test_lines_logarithmic_place_by_decade() -> None:
    svg = charts.lines(ends_of(3), {"a": [0.1, 1.0, 10.0]}, unit=" s", log=True)
    assert re.findall(r'cy="([\d.]+)"', svg) == ["180.0", "96.0", "12.0"]


def test_bars_beyond_the_limit_stand_out() -> None:
    svg = charts.bars({"a": 0.3, "b": 0.2}, digits=2, limit=0.25)
    assert re.findall(r'height="11" rx="2" fill="([^"]+)"', svg) == ["var(--angry)", "var(--one)"]


def test_charts_of_nothing_are_empty() -> None:
    assert charts.columns(ends_of(2), {"a": [None, None]}) == ""
    assert charts.lines(ends_of(2), {"a": [None, float("inf")]}, unit="") == ""
    assert charts.bars({}, digits=1) == ""


def test_charts_of_zeros_are_drawn() -> None:
    assert heights(charts.columns(ends_of(1), {"a": [0.0]})) == [0.0]
    assert "<circle" in charts.lines(ends_of(1), {"a": [0.0]}, unit="", log=True)
    assert "0.0" in charts.bars({"a": 0.0}, digits=1)


def test_charts_escape_names() -> None:
    drawn = [
        charts.columns(ends_of(1), {HOSTILE: [1.0], "b": [1.0]}),
        charts.lines(ends_of(1), {HOSTILE: [1.0], "b": [1.0]}, unit=HOSTILE, limit=(1.0, HOSTILE)),
        charts.bars({HOSTILE: 1.0}, digits=0, unit=HOSTILE),
    ]
    assert all(HOSTILE not in svg and "&lt;script&gt;" in svg for svg in drawn)
