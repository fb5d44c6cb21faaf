import numpy as np

from features.peaks import CLOSED, peaks, valleys


def test_peaks_small_bump_on_a_slope_is_passed_over() -> None:
    curve = np.array([0.0, 0.5, 0.48, 1.0, 0.0])
    assert peaks(curve, 0.1).tolist() == [3]
    assert peaks(curve, 0.01).tolist() == [1, 3]


def test_peaks_at_the_ends_count_only_where_ends_are_open() -> None:
    curve = np.array([1.0, 0.0, 0.9, 0.1, 0.8])
    assert peaks(curve, 0.1).tolist() == [0, 2, 4]
    assert peaks(curve, 0.1, begin=CLOSED, end=CLOSED).tolist() == [2]


def test_peaks_plateau_is_found_at_its_beginning() -> None:
    assert peaks(np.array([0.0, 1.0, 1.0, 0.0]), 0.1).tolist() == [1]


def test_peaks_below_the_level_are_passed_over() -> None:
    curve = np.array([0.0, 0.4, 0.0, 1.0, 0.0])
    assert peaks(curve, 0.1, level=0.5).tolist() == [3]


def test_peaks_constant_curve_has_none() -> None:
    assert peaks(np.full(5, 2.0), 0.1).tolist() == []


def test_valleys_below_half_are_found_between_peaks() -> None:
    curve = np.array([1.0, 0.2, 0.9, 0.7, 1.0, 0.1, 0.5])
    assert valleys(curve, 0.1, level=0.5).tolist() == [1, 5]
