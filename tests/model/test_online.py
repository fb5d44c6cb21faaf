import math

import pytest

from model.emotions import EMOTIONS, Emotion
from model.online import score_corrections

RELAX, HAPPY, SAD, ANGRY = EMOTIONS


def pairs(right: int, wrong: int) -> list[tuple[Emotion, Emotion]]:
    return [(label, label) for label in EMOTIONS] * right + [(RELAX, SAD)] * wrong


def test_score_corrections_without_labels_claims_nothing() -> None:
    scores = score_corrections([])
    assert scores.labels == 0
    assert math.isnan(scores.accuracy.value)
    assert math.isnan(scores.macro_f1.value)
    assert scores.f1 == {}


def test_score_corrections_counts_what_was_said_under_what_is_true() -> None:
    scores = score_corrections(pairs(right=5, wrong=5))
    assert scores.confusion[EMOTIONS.index(SAD), EMOTIONS.index(RELAX)] == 5
    assert scores.accuracy.value == 20 / 25
    assert scores.f1[SAD] == pytest.approx(2 * 5 / (5 + 10))
    assert scores.f1[RELAX] == pytest.approx(2 * 5 / (10 + 5))
    assert scores.f1[HAPPY] == scores.f1[ANGRY] == 1.0
    assert scores.macro_f1.value == pytest.approx((2 + 4 / 3) / 4)


def test_score_corrections_intervals_hold_the_score_and_narrow_with_labels() -> None:
    few, many = score_corrections(pairs(5, 5)), score_corrections(pairs(100, 100))
    for name in ("accuracy", "macro_f1"):
        wide, narrow = getattr(few, name), getattr(many, name)
        assert wide.low < wide.value < wide.high
        assert narrow.high - narrow.low < (wide.high - wide.low) / 3


def test_score_corrections_wilson_interval_is_the_published_one() -> None:
    # Wilson's interval of 10 out of 10: 0.7225 to 1 (Newcombe 1998, method 3).
    accuracy = score_corrections([(SAD, SAD)] * 10).accuracy
    assert accuracy.low == pytest.approx(0.7225, abs=5e-5)
    assert accuracy.high == pytest.approx(1.0)


def test_score_corrections_macro_f1_waits_for_every_emotion() -> None:
    scores = score_corrections([(SAD, SAD), (HAPPY, RELAX)])
    assert math.isnan(scores.macro_f1.value)
    assert scores.f1 == {SAD: 1.0, RELAX: 0.0, HAPPY: 0.0}
