import math

import pytest

from deploy.demo.ledger import Ledger, Sent, quantile
from tests.deploy.demo.emotions import emotion_event


def book(*event_ids: str) -> Ledger:
    ledger = Ledger()
    for event_id in event_ids:
        ledger.expect(Sent(event_id, "play", "a title", event_id.encode(), sent_at=100.0))
    return ledger


def test_ledger_each_event_answered_once_is_complete() -> None:
    ledger = book("a", "b")
    outcome = ledger.answer(emotion_event("t", source_event_id="a", known=True), 100.5)
    letter = ledger.bury(b"b", "decode", "broken", 101.0)
    assert outcome is not None and (outcome.lane, outcome.latency_seconds) == ("known", 0.5)
    assert letter is not None and (letter.lane, letter.reason) == ("dead letter", "decode")
    assert ledger.is_complete and ledger.wait(0.0)


def test_ledger_event_without_outcome_is_missing() -> None:
    ledger = book("a", "b")
    ledger.answer(emotion_event("t", source_event_id="b"), 101.0)
    assert [sent.event_id for sent in ledger.missing()] == ["a"]
    assert not ledger.is_complete
    assert not ledger.wait(0.0)


def test_ledger_same_outcome_again_is_a_repetition() -> None:
    ledger = book("a")
    for _ in range(3):
        ledger.answer(emotion_event("t", event_id="e", source_event_id="a"), 101.0)
    assert (ledger.repeated, ledger.contradictions, ledger.is_complete) == (2, [], True)


def test_ledger_other_outcome_for_the_same_event_is_a_contradiction() -> None:
    ledger = book("a")
    ledger.answer(emotion_event("t", event_id="e", source_event_id="a"), 101.0)
    ledger.bury(b"a", "internal", "", 102.0)
    assert len(ledger.contradictions) == 1
    assert not ledger.is_complete


def test_ledger_somebody_elses_outcome_is_passed_over() -> None:
    ledger = book("a")
    assert ledger.answer(emotion_event("t", source_event_id="z"), 101.0) is None
    assert ledger.bury(b"z", "decode", "", 101.0) is None
    assert ledger.outcomes == {}


@pytest.mark.parametrize(("share", "value"), [(0.0, 1.0), (0.5, 2.0), (0.95, 4.0), (1.0, 4.0)])
def test_quantile_of_four_values(share: float, value: float) -> None:
    assert quantile([1.0, 2.0, 3.0, 4.0], share) == value


def test_quantile_of_nothing_is_nan() -> None:
    assert math.isnan(quantile([], 0.5))
