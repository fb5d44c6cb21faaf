"""Shares and their intervals, against published and hand-computed values."""

import pytest

from consumer.reports.share import Share


def test_interval_wilson_by_hand() -> None:
    # Of none in ten the upper limit is z^2 / (n + z^2) = 3.8415 / 13.8415.
    assert Share(0, 10).interval() == pytest.approx((0.0, 0.27753), abs=1e-5)
    low, high = Share(5, 10).interval()
    assert (low, high) == pytest.approx((0.23659, 0.76341), abs=1e-5)


def test_minus_newcombe_as_published() -> None:
    # Newcombe (1998), table II, case a: 56 of 70 against 48 of 80, method 10.
    difference = Share(56, 70).minus(Share(48, 80))
    assert difference == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)


def test_share_of_nothing_is_no_number() -> None:
    assert Share(0, 0).value is None
    assert Share(0, 0).interval() == (0.0, 1.0)
    assert Share(1, 2).minus(Share(0, 0)) is None
