"""The auditor itself, with made-up books: each way the promise can break must show."""

from typing import Any

from tests.integration.ledger import DeadLetter, Emotion, Entry, Verdict, audit
from tests.integration.table import table_lines


def entry(number: int, *, track: str = "t", **changes: Any) -> Entry:
    return Entry(f"e{number}", track, f"value {number}".encode(), **({"offset": number} | changes))


def emotion(number: int, *, track: str = "t", latency_seconds: float = 0.1, **changes: Any) -> Emotion:
    payload = {
        "event_id": f"out-{number}", "source_event_id": f"e{number}", "track_id": track,
        "emotion": "sad", "known": True, "late": False, "classified_at": "2026-01-01T00:00:00Z",
        "model_version": "m-1",
    }  # fmt: skip
    return Emotion(payload | changes, 0, number, latency_seconds)


def letter(number: int, reason: str = "schema") -> DeadLetter:
    return DeadLetter(f"value {number}".encode(), reason)


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
    again = emotion(1, classified_at="2026-01-01T00:01:30Z", late=True, known=False, latency_seconds=90.0)
    verdict = audit([entry(1)], [emotion(1), again], [])
    assert verdict.balanced
    assert (verdict.duplicated, verdict.duplicated_ids, verdict.late) == (1, {"e1"}, 0)


def test_audit_copy_with_other_judgement_is_wrong() -> None:
    verdict = audit([entry(1)], [emotion(1), emotion(1, emotion="happy")], [])
    assert verdict.wrong == ["copies of out-1 differ in emotion"]


def test_audit_copy_with_a_field_missing_is_wrong() -> None:
    short = emotion(1)
    bare = Emotion({k: v for k, v in short.payload.items() if k != "emotion"}, 0, 2)
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
    verdict = audit([poison], [], [DeadLetter(b"Value 1", "schema")])
    assert verdict.lost == ["e1"]
    assert len(verdict.wrong) == 1


def test_audit_dead_letter_without_its_value_is_known_by_its_source() -> None:
    poison = entry(4, expected="dead_letter", partition=2)
    assert audit([poison], [], [DeadLetter(b"", "event_too_large", source=(2, 4))]).balanced
    assert audit([poison], [], [DeadLetter(b"", "event_too_large", source=(2, 5))]).lost == ["e4"]


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
    verdict = audit([entry(1)], [emotion(1, late=True, latency_seconds=61.0)], [])
    assert verdict.balanced
    assert verdict.late == 1


def test_audit_late_answer_unmarked_is_wrong() -> None:
    assert audit([entry(1)], [emotion(1, latency_seconds=61.0)], []).wrong


def test_audit_wrong_track_is_wrong() -> None:
    assert audit([entry(1)], [emotion(1, track="other")], []).wrong


def test_table_shows_every_fault_its_counts_and_what_failed() -> None:
    verdict = Verdict(inputs=3, emotions=1, dead_letters=1, lost=["e3"], latencies={"known": [0.1, 0.3]})
    rows = [("test_kill_nine", verdict, "ten kills"), ("test_other", Verdict(inputs=12), "")]
    assert list(table_lines(rows, {"test_kill_nine"})) == [
        "fault      in  emotions  letters  lost  copies  wrong  order  late  known p99  new p99  verdict",
        "kill nine   3         1        1     1       0      0      0     0    0.300 s        -  FAILED",
        "    ten kills",
        "    lost: e3",
        "other      12         0        0     0       0      0      0     0          -        -  holds",
    ]


def test_verdict_line_states_every_count_and_what_was_lost() -> None:
    line = Verdict(inputs=3, emotions=1, dead_letters=1, lost=["e3"], latencies={"known": [0.1, 0.3]}).line()
    assert line.splitlines() == [
        "3 in = 1 emotions + 1 dead letters | lost 1 | duplicated 0 | wrong 0 | mis-ordered 0 | late 0"
        " | known p50 0.300 p99 0.300 s",
        "  lost: e3",
    ]
