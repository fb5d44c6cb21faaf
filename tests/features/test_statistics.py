import numpy as np
import pytest

from features.statistics import mean_std_slope, period


def test_mean_std_slope_of_a_ramp_is_that_of_the_uncentred_regression() -> None:
    mean, std, slope = mean_std_slope(np.array([1.0, 2.0, 3.0]))
    assert (mean, std) == (2.0, 1.0)
    # z = -1, 0, 1 against u = 0, .5, 1: 1 / 1.25.
    assert slope == pytest.approx(0.8)


def test_mean_std_slope_of_a_constant_has_no_spread() -> None:
    mean, std, slope = mean_std_slope(np.full(4, 3.0))
    assert mean == 3.0
    assert np.isnan([std, slope]).all()


def test_mean_std_slope_of_nothing_is_nan() -> None:
    assert np.isnan(mean_std_slope(np.zeros(0))).all()


def test_period_of_a_periodic_curve_is_found() -> None:
    frequency, amplitude, entropy = period(np.tile([1.0, 0.0, 0.0, 0.0, 0.0], 40), spacing=0.1)
    assert frequency == pytest.approx(2.0)
    assert amplitude == pytest.approx(39 / 40)
    assert 0 < entropy < 1


def test_period_of_zeros_is_nan() -> None:
    assert np.isnan(period(np.zeros(10), spacing=0.1)).all()
