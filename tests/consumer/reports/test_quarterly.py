"""The quarter: the cost model by hand, and what is not subtracted is said."""

from typing import Any

import pytest

from consumer.reports import quarterly
from consumer.reports.costs import CostModel, money, saving, wrong_tracks
from consumer.reports.page import render
from consumer.reports.recording import Recording
from tests.consumer.reports.made_up import answers, feedback, play
from tests.consumer.reports.test_weekly import cells, text_of

COSTS = CostModel(label_minutes=4.0, check_minutes=1.0, hourly_wage=30.0, currency="EUR", service_cost=None)
# Track 1 is played twice and counts by its newest decision; 2 and 3 are applied, 4 is suggested, 5 is withheld.
PLAYS = [
    play(1, 0, catalogue="withhold"),
    play(11, 1, track_id="t1"),
    play(2, 2),
    play(3, 3),
    play(4, 4, catalogue="suggest"),
    play(5, 5, catalogue="withhold"),
]


def quarter(**series: Any) -> Any:
    return answers(quarterly.QUESTIONS, quarterly.DAYS, **series)


def test_saving_counts_each_track_once_by_its_newest_decision() -> None:
    saved = saving(PLAYS, None, COSTS)
    assert saved.tracks == {"apply": 3, "suggest": 1, "withhold": 1}
    # 3 · 4 min + 1 · (4 - 1) min.
    assert saved.minutes == 15.0
    assert money(saved, COSTS) == 7.5


def test_saving_corrected_labels_and_the_service_are_subtracted() -> None:
    costs = CostModel(4.0, 1.0, 30.0, "EUR", 10.0)
    saved = saving(PLAYS, {"t3", "t5"}, costs)
    assert saved.corrected == 1
    assert saved.minutes == 11.0
    assert money(saved, costs) == pytest.approx(-4.5)


def test_wrong_tracks_are_those_labelled_otherwise() -> None:
    said = [feedback(2, "label", "happy"), feedback(3, "label", "sad"), feedback(4, "skipped")]
    recording = Recording(PLAYS, said, {one.event_id: one for one in PLAYS})
    assert wrong_tracks(recording) == {"t3"}
    assert wrong_tracks(Recording(PLAYS)) is None


def test_quarter_golden_numbers() -> None:
    decisions = [({"use": "playlist", "decision": name}, [n]) for name, n in (("apply", 3.0), ("suggest", 1.0))]
    measured = quarter(
        tracks=[({}, [100.0, 180.0])],
        emitted=[({"lane": "known"}, [30.0]), ({"lane": "new"}, [10.0])],
        decisions=decisions,
    )
    page = render(quarterly.build(measured, Recording(PLAYS), COSTS), "somewhere")
    assert cells(page, "tracks classified, first reading")[1] == "100"
    assert cells(page, "tracks classified, last reading")[1] == "180"
    assert cells(page, "answered from the catalogue, without analysis")[1] == "75.0 %"
    assert cells(page, "on which a playlist may act by itself")[1] == "75.0 %"
    assert cells(page, "worth, EUR")[1] == "7.50"
    assert cells(page, "labelling a track by hand")[1] == "4.0 min"
    text = text_of(page)
    assert "Corrected labels are not subtracted" in text
    assert "The service&#39;s own cost is not subtracted" in text


def test_quarter_without_recording_claims_no_saving() -> None:
    page = quarterly.build(quarter(), Recording(), COSTS)
    assert [card.value for card in page.cards] == ["not measured"] * 4
    text = text_of(render(page, "somewhere"))
    assert "Not measured: metrics count decisions by event" in text
    assert "Not measured: sessions are in emotion-events only" in text
    assert "worth, EUR" not in text
