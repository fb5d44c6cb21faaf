import io

from rich.console import Console

from deploy.demo.ledger import Ledger, Outcome, Sent
from deploy.demo.playlist.sessions import Change
from deploy.demo.view import View
from tests.deploy.demo.emotions import emotion_event


def view(width: int = 100) -> tuple[View, io.StringIO]:
    output = io.StringIO()
    titles = {"a": "Alpha", "b": "Beta", "c": "Gamma", "d": "Delta"}
    return View(Console(file=output, width=width), titles, {"s": "Anna"}), output


def sent(event_id: str, title: str = "Alpha") -> Sent:
    return Sent(event_id, "play", title, event_id.encode(), 0.0, "Anna")


def known(event_id: str, title: str = "Alpha") -> Outcome:
    event = emotion_event("a", "sad", known=True, source_event_id=event_id)
    return Outcome(sent(event_id, title), "known", 0.0123, emotion=event)


def change(cause: str | None, before: str = "abc", after: str = "cab", suggestion: str | None = None) -> Change:
    return Change("s", "happy", tuple(before), tuple(after), suggestion, cause)


def test_outcome_line_says_event_track_emotion_confidence_lane_latency_and_decision() -> None:
    shown, output = view()
    shown.outcome(known("e"))
    assert output.getvalue().split() == ["0.00", "play", "Anna", "Alpha", "sad", "0.90", "known", "12", "ms", "apply"]


def test_outcome_line_of_a_dead_letter_says_the_reason() -> None:
    shown, output = view()
    shown.outcome(Outcome(sent("e"), "dead letter", 1.5, reason="decode", message="not audio"))
    assert output.getvalue().split()[-5:] == ["dead", "letter", "1.50", "s", "decode"]


def test_outcome_line_fits_however_long_the_title() -> None:
    shown, output = view()
    shown.outcome(known("e", "a very long title 長い題名 " * 5))
    assert output.getvalue().count("\n") == 1


def test_change_line_waits_for_the_line_of_its_cause() -> None:
    shown, output = view()
    shown.change(change("e"))
    assert output.getvalue() == ""
    shown.outcome(known("e"))
    lines = output.getvalue().splitlines()
    assert "sad" in lines[0]
    assert lines[1].strip() == "queue   Anna   ↑2 Gamma · ↓1 Alpha · ↓1 Beta"


def test_change_line_shows_a_suggestion_as_a_question() -> None:
    shown, output = view()
    shown.change(change(None, after="abc", suggestion="b"))
    assert output.getvalue().strip().endswith("maybe Beta?")


def test_change_far_down_the_queue_is_not_shown() -> None:
    shown, output = view()
    shown.change(change(None, before="abcde", after="abced"))
    assert output.getvalue() == ""


def test_outcome_lines_of_a_long_run_become_counts() -> None:
    shown, output = view()
    for number in range(1000):
        shown.outcome(known(str(number)))
    lines = output.getvalue().splitlines()
    assert len(lines) < 70
    assert lines[-1].endswith("events answered")


def test_summary_names_events_without_outcome() -> None:
    shown, output = view()
    ledger = Ledger()
    ledger.expect(sent("lost", "Beta"))
    shown.summary(ledger, {}, {"s": ()})
    assert "1 events, 1 without an outcome" in output.getvalue()
    assert "no outcome: play of Beta (lost)" in output.getvalue()


def test_summary_counts_outcomes_latencies_dead_letters_and_queues() -> None:
    shown, output = view()
    ledger = Ledger()
    for event_id in ("x", "y"):
        ledger.expect(sent(event_id))
    ledger.answer(emotion_event("a", "sad", known=True, source_event_id="x"), 0.02)
    ledger.bury(b"y", "decode", "not audio", 0.5)
    shown.summary(ledger, {"accepted": 2}, {"s": ("c", "d")})
    text = output.getvalue()
    assert "2 events, each with exactly one outcome: 1 emotions, 1 dead letters" in text
    assert "dead letter  decode         Alpha: not audio" in text
    assert "Anna's queue now: Gamma · Delta" in text
    assert "2 accepted" in text
    assert ["known", "1", "20", "ms", "20", "ms", "20", "ms"] in [line.split() for line in text.splitlines()]
