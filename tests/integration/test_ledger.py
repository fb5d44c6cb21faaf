"""The auditor itself, with made-up books: each way the promise can break must show."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.integration.faults import judge
from tests.integration.ledger import DeadLetter, Emotion, Entry, Verdict, audit
from tests.integration.table import Row, table_lines

OCCURRED = "2026-01-01T00:00:00Z"
EPOCH = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


def entry(number: int, *, track: str = "t", occurred_at: str = OCCURRED, **changes: Any) -> Entry:
    event = {
        "event_id": f"e{number}", "event_type": "track_played", "occurred_at": occurred_at, "track_id": track,
        "listener_id": "l",
    }  # fmt: skip
    return Entry(f"e{number}", track, json.dumps(event).encode(), **({"offset": number} | changes))


def emotion(number: int, *, track: str = "t", appended: float = 0.1, **changes: Any) -> Emotion:
    payload: dict[str, Any] = {
        "event_id": f"out-{number}", "source_event_id": f"e{number}", "event_type": "track_played",
        "occurred_at": OCCURRED, "track_id": track, "listener_id": "l",
        "emotion": "sad", "confidence": 0.7, "probabilities": {"sad": 0.7}, "prediction_set": ["sad"],
        "valence": -0.1, "arousal": -0.2, "decisions": {"playlist": "apply"}, "fragments": [{"start_seconds": 0.0}],
        "known": True, "late": False, "classified_at": OCCURRED,
        "model_version": "m-1", "feature_version": "1", "audio_sha256": "ab",
    }  # fmt: skip
    payload |= changes
    return Emotion(payload, 0, number, track.encode(), payload["event_id"].encode(), EPOCH + appended)


def letter(number: int, reason: str = "schema", **changes: Any) -> DeadLetter:
    return replace(DeadLetter(entry(number).value, reason, (-1, number), key=b"t"), **changes)


def test_audit_one_outcome_each_balances() -> None:
    poison = entry(2, expected="dead_letter", reason="schema")
    verdict = audit([entry(1), poison], [emotion(1)], [letter(2)])
    assert verdict.balanced
    assert (verdict.inputs, verdict.emotions, verdict.dead_letters, verdict.duplicated) == (2, 1, 1, 0)


def test_audit_missing_outcome_is_lost() -> None:
    verdict = audit([entry(1), entry(2)], [emotion(1)], [])
    assert verdict.lost == ["e2"]
    assert not verdict.balanced


def test_audit_no_outcome_at_all_loses_everything() -> None:
    assert len(audit([entry(n) for n in range(9)], [], []).lost) == 9


def test_audit_identical_copy_is_duplicate_not_wrong() -> None:
    again = emotion(1, classified_at="2026-01-01T00:01:30Z", late=True, known=False, appended=90.0)
    verdict = audit([entry(1)], [emotion(1), again], [])
    assert verdict.balanced
    assert (verdict.duplicated, verdict.repeated, verdict.late) == (1, {"e1": (EPOCH + 0.1, EPOCH + 0.1)}, 0)


def test_audit_copy_with_other_judgement_is_wrong() -> None:
    verdict = audit([entry(1)], [emotion(1), emotion(1, emotion="happy")], [])
    assert verdict.wrong == ["copies of out-1 differ in emotion"]


def test_audit_copy_with_a_field_missing_is_wrong() -> None:
    short = emotion(1)
    bare = replace(short, payload={k: v for k, v in short.payload.items() if k != "emotion"}, offset=2)
    assert audit([entry(1)], [short, bare], []).wrong


def test_audit_two_event_ids_of_one_input_are_wrong() -> None:
    verdict = audit([entry(1)], [emotion(1), emotion(1, event_id="out-other")], [])
    assert "2 outcomes of e1" in verdict.wrong[0]


def test_audit_answers_of_one_input_by_two_models_do_not_balance() -> None:
    verdict = audit([entry(1)], [emotion(1), emotion(1, event_id="out-newer", model_version="m-2")], [])
    assert (verdict.rejudged, verdict.wrong, verdict.balanced) == (["e1"], [], False)
    assert "answered by two models 1" in verdict.line()


def test_audit_three_answers_by_two_models_are_wrong() -> None:
    answers = [emotion(1), emotion(1, event_id="other"), emotion(1, event_id="newer", model_version="m-2")]
    assert "3 outcomes of e1" in audit([entry(1)], answers, []).wrong[0]


def test_audit_emotion_and_dead_letter_of_one_input_is_wrong() -> None:
    verdict = audit([entry(1)], [emotion(1)], [letter(1)])
    assert "2 outcomes of e1" in verdict.wrong[0]


def test_audit_outcome_of_no_input_is_wrong() -> None:
    assert len(audit([], [emotion(7)], [letter(8)]).wrong) == 2


def test_audit_altered_bytes_in_dead_letter_are_lost_and_wrong() -> None:
    poison = entry(1, expected="dead_letter")
    verdict = audit([poison], [], [letter(1, value=b"Value 1")])
    assert verdict.lost == ["e1"]
    assert len(verdict.wrong) == 1


def test_audit_tells_how_long_the_first_letters_took() -> None:
    poison = entry(1, expected="dead_letter", sent_at=100.0)
    letters = [replace(letter(1), appended_at=moment) for moment in (107.5, 190.0)]
    verdict = audit([poison], [], letters)
    assert verdict.latency("letters", 0.99) == pytest.approx(7.5)
    with pytest.raises(AssertionError, match="letters"):
        judge(audit([poison], [], letters[1:]), lambda *_: None)


def test_audit_dead_letter_without_its_value_is_known_by_its_source() -> None:
    poison = entry(4, expected="dead_letter", partition=2, may_be_stripped=True)
    assert audit([poison], [], [DeadLetter(b"", "event_too_large", source=(2, 4))]).balanced
    assert audit([poison], [], [DeadLetter(b"", "event_too_large", source=(2, 5))]).lost == ["e4"]


def test_audit_stripped_dead_letter_of_an_event_that_was_not_too_large_is_wrong() -> None:
    poison = entry(4, expected="dead_letter", partition=2)
    verdict = audit([poison], [], [DeadLetter(b"", "schema", source=(2, 4))])
    assert verdict.wrong == ["dead letter of e4 has lost its value"]


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"key": None}, "has key b''"),
        ({"key": b"u"}, "has key b'u'"),
        ({"headers": (("trace", b"1"),)}, "has headers ['trace']"),
        ({"source": (-1, 2)}, "says it came from track-events[-1]@2"),
        ({"source": (0, 1)}, "says it came from track-events[0]@1"),
        ({"topic": "track-analysis"}, "says it came from track-analysis[-1]@1"),
    ],
)
def test_audit_dead_letter_that_does_not_give_its_original_back_is_wrong(changes: dict[str, Any], finding: str) -> None:
    poison = entry(1, expected="dead_letter")
    assert audit([poison], [], [letter(1, **changes)]).wrong == [f"dead letter of e1 {finding}"]


def test_audit_dead_letter_keeps_the_key_and_headers_the_original_came_with() -> None:
    headers = (("trace", b"1"),)
    poison = entry(1, expected="dead_letter", key=b"another", headers=headers)
    assert audit([poison], [], [letter(1, key=b"another", headers=headers)]).balanced
    assert len(audit([poison], [], [letter(1)]).wrong) == 2


def test_audit_copies_of_a_dead_letter_that_differ_are_wrong() -> None:
    poison = entry(1, expected="dead_letter", may_be_stripped=True)
    copies = [letter(1, appended_at=5.0), letter(1, value=b"", key=None)]
    verdict = audit([poison], [], copies)
    assert verdict.wrong == ["copies of the dead letter of e1 differ"]
    assert (verdict.duplicated, verdict.repeated) == (1, {"e1": (5.0, 5.0)})
    assert "2 outcomes of e1" in audit([poison], [], [letter(1), letter(1, "invalid_json")]).wrong[-1]


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"occurred_at": "2026-01-01T00:00:01Z", "classified_at": "2026-01-01T00:00:01Z"}, "occurred_at"),
        ({"event_type": "track_uploaded"}, "event_type"),
        ({"session_id": "s"}, "session_id"),
        ({"listener_id": "another"}, "listener_id"),
        ({"playlist_id": "p"}, "playlist_id"),
    ],
)
def test_audit_answer_that_repeats_its_event_wrongly_is_wrong(changes: dict[str, Any], name: str) -> None:
    assert audit([entry(1)], [emotion(1, **changes)], []).wrong == [f"answer of e1 differs from its event in {name}"]


def test_audit_same_moment_written_otherwise_is_right() -> None:
    verdict = audit([entry(1, occurred_at="2026-01-01T01:00:00.000000+01:00")], [emotion(1)], [])
    assert verdict.balanced, verdict.line()


def test_audit_answer_under_another_key_or_cloudevents_id_is_wrong() -> None:
    for changes in ({"key": b"u"}, {"key": None}, {"ce_id": b"out-2"}, {"ce_id": None}):
        assert len(audit([entry(1)], [replace(emotion(1), **changes)], []).wrong) == 1


def test_audit_answer_to_what_is_no_event_is_wrong() -> None:
    broken = replace(entry(1), value=b"{")
    assert audit([broken], [emotion(1)], []).wrong == ["e1 was answered and is no event"]


def test_audit_judgement_of_another_track_is_wrong() -> None:
    entries = [entry(1, audio_sha256="ab"), entry(2, track="u", audio_sha256="cd")]
    right = emotion(2, track="u", audio_sha256="cd", emotion="happy")
    assert audit(entries, [emotion(1), right], []).balanced
    mixed_up = audit(entries, [emotion(1), emotion(2, track="u")], [])
    assert mixed_up.wrong == ["e2 of 'u' carries the judgement of other audio: ab"]


def test_audit_two_judgements_of_the_same_fragments_by_one_model_are_wrong() -> None:
    verdict = audit([entry(1), entry(2)], [emotion(1), emotion(2, valence=0.5)], [])
    assert verdict.wrong == ["e2 and e1 were judged differently: valence"]


def test_audit_track_heard_anew_in_other_fragments_or_by_another_model_may_be_judged_differently() -> None:
    entries = [entry(number, audio_sha256="ab") for number in range(3)]
    whole = [{"start_seconds": 0.0}, {"start_seconds": 30.0}]
    answers = [emotion(0), emotion(1, fragments=whole, valence=0.5), emotion(2, model_version="m-2", valence=0.9)]
    assert audit(entries, answers, []).balanced


def test_audit_track_whose_plays_name_other_audio_may_be_answered_from_any_of_it() -> None:
    entries = [entry(1, audio_sha256="cd"), entry(2, audio_sha256="ab")]
    assert audit(entries, [emotion(1), emotion(2)], []).balanced
    assert audit([*entries, entry(3)], [emotion(1), emotion(2), emotion(3, audio_sha256="ef")], []).balanced


def test_audit_good_event_dead_lettered_is_wrong() -> None:
    assert "expected emotion" in audit([entry(1)], [], [letter(1)]).wrong[0]


def test_audit_poison_with_other_reason_is_wrong() -> None:
    poison = entry(1, expected="dead_letter", reason="invalid_json")
    assert "expected reason invalid_json" in audit([poison], [], [letter(1)]).wrong[0]


def test_audit_either_outcome_balances_where_allowed() -> None:
    assert audit([entry(1, expected="either")], [], [letter(1, "timeout")]).balanced


def test_audit_overtaken_event_of_a_track_is_misordered() -> None:
    verdict = audit([entry(1), entry(2)], [emotion(2), emotion(1)], [])
    assert verdict.misordered == 1
    assert not verdict.balanced


def test_audit_order_between_tracks_and_lanes_is_free() -> None:
    entries = [entry(1), entry(2), entry(3, track="u")]
    outputs = [emotion(3, track="u"), emotion(2), emotion(1, known=False)]
    assert audit(entries, outputs, []).misordered == 0


def test_audit_redelivery_after_progress_is_not_misordered() -> None:
    verdict = audit([entry(1), entry(2)], [emotion(1), emotion(2), emotion(1), emotion(2)], [])
    assert (verdict.misordered, verdict.duplicated) == (0, 2)


def test_audit_late_answer_marked_is_counted_only() -> None:
    verdict = audit([entry(1)], [emotion(1, late=True, classified_at="2026-01-01T00:01:01Z")], [])
    assert verdict.balanced
    assert verdict.late == 1


def test_audit_late_answer_unmarked_is_wrong() -> None:
    assert audit([entry(1)], [emotion(1, classified_at="2026-01-01T00:01:01Z")], []).wrong


def test_audit_latency_is_to_the_brokers_log_whatever_the_answer_says() -> None:
    verdict = audit([entry(1)], [emotion(1, appended=7.5)], [])
    assert verdict.latency("known", 0.99) == pytest.approx(7.5)


def test_audit_wrong_track_is_wrong() -> None:
    assert audit([entry(1)], [emotion(1, track="other")], []).wrong


def judged(verdict: Verdict, **how: Any) -> list[tuple[Verdict, str]]:
    rows: list[tuple[Verdict, str]] = []
    judge(verdict, lambda *row: rows.append(row), "note", **how)
    return rows


def test_judge_copies_are_allowed_only_of_what_was_in_flight_at_a_fault() -> None:
    verdict = Verdict(duplicated=2, repeated={"e1": (99.9, 100.0), "e2": (129.9, 130.0)})
    with pytest.raises(AssertionError, match="not in flight at any fault"):
        judged(verdict)
    with pytest.raises(AssertionError, match="e2"):
        judged(verdict, faults=[101.0])
    with pytest.raises(AssertionError, match="e1"):
        judged(verdict, window=(120.0, 140.0))
    judged(verdict, faults=[101.0, 129.8])
    judged(verdict, faults=[101.0], window=(131.0, 140.0))


def test_judge_copies_are_allowed_of_what_waited_through_a_fault() -> None:
    verdict = Verdict(duplicated=1, repeated={"e1": (99.9, 107.0)})
    judged(verdict, faults=[100.0])
    with pytest.raises(AssertionError, match="not in flight at any fault"):
        judged(verdict, faults=[99.0, 110.0])


def test_judge_demands_the_minute_of_what_occurred_outside_of_the_window() -> None:
    verdict = Verdict(latencies={"known": [0.1, 90.0]}, occurred={"known": [50.0, 110.0]})
    with pytest.raises(AssertionError, match=r"p99 90\.000"):
        judged(verdict)
    with pytest.raises(AssertionError, match=r"p99 90\.000"):
        judged(verdict, window=(100.0, 105.0))
    assert judged(verdict, window=(100.0, 105.0), recovery_seconds=5.0) == [(verdict, "note")]
    assert "known p50 0.100 p99 0.100 s | known in the fault p99 90.000 s" in verdict.line()


@pytest.mark.parametrize("broken", [{"lost": ["e"]}, {"wrong": ["w"]}, {"misordered": 1}, {"rejudged": ["e"]}])
def test_judge_forgives_nothing_else(broken: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        judged(Verdict(**broken), window=(0.0, 1e12))


def test_table_shows_every_fault_its_counts_and_what_failed_or_was_skipped() -> None:
    verdict = Verdict(
        inputs=3, emotions=1, dead_letters=1, lost=["e3"], latencies={"known": [0.1, 0.3]},
        occurred={"known": [5.0, 9.0]}, window=(8.0, 10.0),
    )  # fmt: skip
    rows = [
        Row("test_kill_nine", verdict, "ten kills", "FAILED"),
        Row("test_other", Verdict(inputs=12)),
        Row("test_disk", None, "no disk to fill", "SKIPPED"),
    ]
    assert list(table_lines(rows)) == [
        "fault      in  emotions  letters  lost  copies  wrong  order  two models  late  known p99  in fault"
        "  new p99  in fault  verdict",
        "kill nine   3         1        1     1       0      0      0           0     0    0.100 s   0.300 s"
        "        -         -  FAILED",
        "    ten kills",
        "    lost: e3",
        "other      12         0        0     0       0      0      0           0     0          -         -"
        "        -         -  holds",
        "disk        -         -        -     -       -      -      -           -     -          -         -"
        "        -         -  SKIPPED",
        "    no disk to fill",
    ]


def test_verdict_line_states_every_count_and_what_was_lost() -> None:
    line = Verdict(inputs=3, emotions=1, dead_letters=1, lost=["e3"], latencies={"known": [0.1, 0.3]}).line()
    assert line.splitlines() == [
        "3 in = 1 emotions + 1 dead letters | lost 1 | duplicated 0 | wrong 0 | mis-ordered 0 | late 0"
        " | known p50 0.300 p99 0.300 s",
        "  lost: e3",
    ]
