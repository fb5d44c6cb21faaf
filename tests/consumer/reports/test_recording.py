"""Recorded events: what counts once, what is refused, which sessions go on."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from consumer.errors import ConfigurationError
from consumer.reports.recording import acceptance, read_recording, retention, sessions
from consumer.reports.share import Share
from tests.consumer.reports.made_up import UNTIL, feedback, play


def write(path: Path, events: Sequence[object], *lines: bytes) -> Path:
    path.write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in events) + b"".join(lines))
    return path


def test_read_recording_counts_replays_once_and_leaves_out_other_weeks(tmp_path: Path) -> None:
    start = UNTIL - timedelta(days=7)
    late = play(3, occurred_at=UNTIL)
    again = play(1, event_id="judged by another model")
    events = write(
        tmp_path / "e.jsonl", [play(2, 5), play(1), play(1), again, late], b"not json\n", b'{"event_id": 1}\n'
    )
    said = [feedback(1, "accepted"), feedback(1, "accepted"), feedback(9, "skipped")]
    recording = read_recording(events, write(tmp_path / "f.jsonl", said), start, UNTIL)
    assert recording.plays is not None
    assert [one.source_event_id for one in recording.plays] == ["p1", "p2"]
    assert [one.kind for _, one in recording.joined() or []] == ["accepted"]
    assert any("5 events read, 2 lines refused (line 6" in note for note in recording.notes)
    assert any("1 of 2 feedback events answer an event that is not in" in note for note in recording.notes)


def test_read_recording_of_something_else_raises(tmp_path: Path) -> None:
    other = write(tmp_path / "e.jsonl", [{"path": "a.wav", "emotion": "sad"}])
    with pytest.raises(ConfigurationError, match="expected emotion-events, got line 1"):
        read_recording(other, None, UNTIL - timedelta(days=7), UNTIL)


def test_recording_absent_is_not_empty() -> None:
    recording = read_recording(None, None, UNTIL - timedelta(days=7), UNTIL)
    assert recording.plays is None
    assert recording.joined() is None
    assert recording.corrections() is None


def test_corrections_latest_wins(tmp_path: Path) -> None:
    said = [feedback(1, "label", "sad", after=9), feedback(1, "label", "angry", after=2), feedback(1, "liked")]
    recording = read_recording(
        write(tmp_path / "e.jsonl", [play(1)]), write(tmp_path / "f.jsonl", said), UNTIL - timedelta(days=7), UNTIL
    )
    assert recording.corrections() == [(play(1), "sad")]


def test_acceptance_leaves_labels_out() -> None:
    pairs = [
        (play(1), feedback(1, "accepted")),
        (play(2), feedback(2, "skipped")),
        (play(2), feedback(2, "label", "sad")),
        (play(3, playlist="withhold"), feedback(3, "completed")),
    ]
    assert acceptance(pairs) == {
        "apply": (Share(1, 2), Share(1, 2)),
        "suggest": (Share(0, 0), Share(0, 0)),
        "withhold": (Share(1, 1), Share(0, 1)),
    }


def test_sessions_end_after_half_an_hour_of_nothing() -> None:
    plays = [play(1, 0), play(2, 30), play(3, 61), play(4, 62, session=None), play(5, 63, event_type="track_uploaded")]
    assert [[one.track_id for one in session] for session in sessions(plays)] == [["t1", "t2"], ["t3"]]


def test_retention_goes_by_the_first_play_of_whole_sessions() -> None:
    plays = [
        play(1, 0, session="begun before the recording"),
        play(2, 40, session="a"),
        play(3, 44, session="a", playlist="withhold"),
        play(4, 50, session="b"),
        play(5, 60, session="c", playlist="withhold"),
        play(6, 100, session="cut by its end", playlist="withhold"),
        play(7, 110, session=None),
    ]
    groups = retention(plays)
    assert groups["apply"].went_on == Share(1, 2)
    assert groups["apply"].median_plays == 1.5
    assert groups["withhold"].went_on == Share(0, 1)
    assert groups["suggest"].went_on == Share(0, 0)
    assert groups["suggest"].median_plays is None


def test_retention_of_nothing_is_no_number() -> None:
    assert retention([])["apply"].went_on.value is None
