"""A person's word: what it makes of a record, and that nothing but a newer one replaces it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from consumer.corrections import UNNAMED, Correction, correct, correction_from, correction_of, record_of
from consumer.events import FeedbackEvent, TrackEmotion
from consumer.forwarding import CORRECTION, forwarded_correction, forwarded_headers
from consumer.track_table import TrackTable
from tests.consumer.records import track_emotion, track_emotion_json

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
SAID = Correction("happy", "curator-7", NOON)
LATER = Correction("angry", "curator-8", NOON + timedelta(hours=1))


def table_of(*records: TrackEmotion | None) -> TrackTable:
    table = TrackTable()
    table.open(0)
    for record in records:
        assert table.apply(0, b"t-1", None if record is None else msgspec.json.encode(record))
    return table


def state(table: TrackTable) -> TrackEmotion:
    found = table.find(0, "t-1")
    assert found is not None
    return record_of("t-1", *found)


def test_correct_record_is_certain_consistent_and_says_who_and_what_before() -> None:
    corrected = correct(track_emotion(), SAID)
    assert (corrected.emotion, corrected.confidence, corrected.prediction_set) == ("happy", 1.0, ["happy"])
    assert msgspec.to_builtins(corrected.probabilities) == {"relax": 0, "happy": 1, "sad": 0, "angry": 0}
    assert (corrected.valence, corrected.arousal) == (1.0, 1.0)
    assert (corrected.corrected_by, corrected.model_emotion, corrected.classified_at) == ("curator-7", "sad", NOON)
    assert corrected.fragments == track_emotion().fragments
    assert correction_of(corrected) == Correction("happy", "curator-7", NOON, "sad")
    assert correction_of(track_emotion()) is None


def test_correct_one_persons_word_is_not_applied_in_therapy() -> None:
    decisions = correct(track_emotion(), SAID).decisions
    assert (decisions.playlist, decisions.therapy, decisions.catalogue) == ("apply", "suggest", "apply")


def test_correct_again_keeps_what_the_model_had_said() -> None:
    assert correct(correct(track_emotion(), SAID), LATER).model_emotion == "sad"


@pytest.mark.parametrize(("listener", "by"), [("curator-7", "curator-7"), (None, UNNAMED)])
def test_correction_from_feedback_names_who_and_is_never_of_the_future(listener: str | None, by: str) -> None:
    event = FeedbackEvent(
        event_id="f-1",
        occurred_at=NOON + timedelta(days=900),
        track_id="t-1",
        emotion_event_id="e-1",
        kind="label",
        label="happy",
        listener_id=listener,
    )
    assert correction_from(event, NOON) == Correction("happy", by, NOON)


def test_record_of_known_track_is_the_record_it_was_read_from() -> None:
    corrected = correct(track_emotion(), SAID)
    assert state(table_of(corrected)) == corrected
    plain = state(table_of(track_emotion()))
    assert msgspec.structs.replace(plain, classified_at=track_emotion().classified_at) == track_emotion()


def test_table_newer_analysis_keeps_the_word_and_is_published_with_it_once() -> None:
    table = table_of(correct(track_emotion(), SAID), track_emotion(emotion="relax", model_version="m-2"))
    now = state(table)
    assert (now.emotion, now.corrected_by, now.model_version, now.model_emotion) == (
        "happy",
        "curator-7",
        "m-2",
        "relax",
    )
    assert table.overruling([1]) == [], "not of partitions that are still restored"
    table.overruled([1])
    (published,) = table.overruling([0])
    assert published == now
    assert table.overruling([0]) == [now], "until it is safe"
    table.overruled([0])
    assert table.overruling([0]) == []
    table.apply(0, b"t-1", msgspec.json.encode(published))
    assert table.overruling([0]) == [], "what comes back is no reason to publish again"


def test_table_word_that_comes_behind_the_analysis_needs_no_publishing() -> None:
    corrected = correct(track_emotion(), SAID)
    table = table_of(corrected, track_emotion(), corrected)
    assert table.overruling([0]) == []


@pytest.mark.parametrize("order", [(SAID, LATER), (LATER, SAID)])
def test_table_newest_word_wins_in_whatever_order_they_come(order: tuple[Correction, ...]) -> None:
    table = table_of(*(correct(track_emotion(), said) for said in order))
    assert state(table).emotion == "angry"
    assert [record.emotion for record in table.overruling([0])] == ([] if order[-1] is LATER else ["angry"])


def test_table_tombstone_takes_the_word_back() -> None:
    table = table_of(correct(track_emotion(), SAID), None, track_emotion())
    assert state(table).corrected_by is None
    assert table.corrections() == []


def test_table_lists_corrections_of_its_partitions_only() -> None:
    table = table_of(correct(track_emotion(), SAID))
    assert table.corrections() == [Correction("happy", "curator-7", NOON, "sad")]
    assert table.correction(0, "t-1") is not None
    table.drop(0)
    assert table.corrections() == []
    assert table.find(0, "t-1") is None


@pytest.mark.parametrize("change", [{"probabilities": None}, {"classified_at": "noon"}])
def test_table_corrected_record_that_is_none_is_refused_and_keeps_the_old_one(change: dict[str, Any]) -> None:
    table = table_of(track_emotion())
    broken = msgspec.json.decode(track_emotion_json(corrected_by="x")) | change
    assert not table.apply(0, b"t-1", msgspec.json.encode(broken))
    assert state(table).emotion == "sad"


def test_forwarded_correction_round_trips_and_is_not_taken_from_outside() -> None:
    headers = forwarded_headers([(CORRECTION, b"forged")], "track-events", 0, 0, refresh=False, correction=SAID)
    assert forwarded_correction(headers) == SAID
    assert forwarded_correction(forwarded_headers([(CORRECTION, b"{}")], "track-events", 0, 0, refresh=False)) is None
    assert forwarded_correction([(CORRECTION, b"{}")]) is None


@pytest.mark.parametrize(
    "value",
    [
        b'{"emotion":"sad","corrected_by":"c","at":"2026-01-01T00:00:00Z","z":' + b"[" * 100_000,
        msgspec.json.encode(Correction("sad", "c" * 257, NOON)),
    ],
    ids=["too deep", "too long a name"],
)
def test_forwarded_correction_that_no_record_could_hold_is_none(value: bytes) -> None:
    assert forwarded_correction([(CORRECTION, value)]) is None
