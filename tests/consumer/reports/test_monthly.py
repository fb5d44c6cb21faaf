"""The month: verdicts by emotion and decision, by hand; what needs a recording says so."""

from typing import Any

from consumer.reports import monthly
from consumer.reports.page import render
from consumer.reports.recording import Recording
from consumer.reports.share import Share
from tests.consumer.reports.made_up import answers, feedback, play
from tests.consumer.reports.test_weekly import HOSTILE, cells, text_of


def month(**series: Any) -> Any:
    return answers(monthly.QUESTIONS, monthly.DAYS, **series)


FEEDBACK = [
    ({"emotion": "sad", "kind": "accepted"}, [3.0]),
    ({"emotion": "sad", "kind": "skipped"}, [5.0]),
    ({"emotion": "sad", "kind": "label"}, [100.0]),
    ({"emotion": "happy", "kind": "completed"}, [1.0]),
    ({"emotion": "happy", "kind": "liked"}, [1.0]),
]


def test_verdicts_are_likes_and_skips_without_labels() -> None:
    assert monthly.verdicts(month(feedback=FEEDBACK)) == (Share(5, 10), Share(5, 10))
    assert monthly.verdicts(month(feedback=FEEDBACK), emotion="sad") == (Share(3, 8), Share(5, 8))


def test_month_golden_numbers() -> None:
    decisions = [({"use": "playlist", "decision": name}, [n]) for name, n in (("apply", 6.0), ("withhold", 2.0))]
    plays = [play(1), play(2, 3), play(3, 60, playlist="withhold", listener_id="someone")]
    said = [feedback(1, "accepted"), feedback(2, "skipped"), feedback(3, "skipped")]
    recording = Recording(plays, said, {one.event_id: one for one in plays})
    measured = month(
        feedback=FEEDBACK, decisions=decisions, types=[({"event_type": "track_played"}, [7.0])], emitted=[({}, [220.0])]
    )
    page = render(monthly.build(measured, recording), "somewhere")
    assert cells(page, "playlist") == ["playlist", "8", "75.0 %", "0.0 %", "25.0 %"]
    assert cells(page, "plays")[1] == "7"
    assert cells(page, "uploads")[1] == "not measured"
    assert cells(page, "feedback per 1,000 emotion events")[1] == "500.0"
    assert cells(page, "sad")[2:] == ["8", "38 % (14 to 69)", "62 % (31 to 86)"]
    assert cells(page, "apply") == ["apply", "2", "50 % (9 to 91)", "50 % (9 to 91)"]
    assert cells(page, "suggest")[1:] == ["0", "not measured", "not measured"]
    assert cells(page, "sessions (no gap above 30 min)")[1] == "2"
    assert cells(page, "plays in a session, median")[1] == "1.5"
    assert cells(page, "listeners")[1] == "1"


def test_month_without_recording_says_what_it_takes() -> None:
    text = text_of(render(monthly.build(month(), Recording()), "somewhere"))
    assert "Sessions and listeners were not measured: name a recording of emotion-events with --events" in text
    assert "No verdict says which decision it answers" in text
    assert "No listener said anything: satisfaction is not known" in text


def test_month_without_recording_takes_decisions_from_the_metrics() -> None:
    said = [
        ({"emotion": "sad", "decision": "apply", "kind": kind}, [n]) for kind, n in (("liked", 3.0), ("skipped", 5.0))
    ]
    page = render(monthly.build(month(feedback=said), Recording()), "somewhere")
    assert cells(page, "apply")[:3] == ["apply", "8", "38 % (14 to 69)"]


def test_month_hostile_labels_stay_text() -> None:
    page = monthly.build(month(feedback=[({"emotion": "sad", "kind": HOSTILE}, [5.0])]), Recording())
    assert "<script" not in render(page, "somewhere")
