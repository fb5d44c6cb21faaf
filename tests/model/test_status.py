import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from features import FEATURE_NAMES
from model.emotions import EMOTIONS, Emotion
from model.errors import DatasetError
from model.status import age, drift, online_f1, read_corrections, read_kept_corrections
from model.train import deciles
from tests.model.stand_in import manifest

X = np.random.default_rng(0).normal(size=(400, len(FEATURE_NAMES)))


@pytest.mark.parametrize(("day", "due"), [("2026-01-03", False), ("2026-04-02", False), ("2026-04-04", True)])
def test_age_is_due_after_ninety_days(day: str, due: bool) -> None:
    assert age(manifest(), datetime.fromisoformat(f"{day}T12:00:00").replace(tzinfo=UTC)).due is due


def test_drift_same_music_is_not_due_and_other_music_is() -> None:
    trained = manifest(deciles=deciles(X))

    assert drift(trained, X[:200]).due is False
    assert drift(trained, X[:200] + 1.0).due is True


@pytest.mark.parametrize("recent", [None, X[:20]])
def test_drift_without_enough_tracks_is_said_to_be_missing(recent: np.ndarray | None) -> None:
    sign = drift(manifest(deciles=deciles(X)), recent)

    assert sign.due is None
    assert "not measured" in sign.measured


def corrections(right: int, wrong: int) -> list[tuple[Emotion, Emotion]]:
    return [(label, label) for label in EMOTIONS] * right + [
        (label, EMOTIONS[(index + 1) % 4]) for index, label in enumerate(EMOTIONS)
    ] * wrong


@pytest.mark.parametrize(
    ("given", "due"),
    [(corrections(16, 4), False), (corrections(14, 6), True), (corrections(1, 0), None), (None, None)],
)
def test_online_f1_is_due_when_it_falls_below_training_by_the_limit(
    given: list[tuple[Emotion, Emotion]] | None, due: bool | None
) -> None:
    assert online_f1(manifest(), given).due is due


def write_lines(path: Path, records: list[object]) -> Path:
    path.write_text("\n".join(json.dumps(record) for record in records) + "\n", encoding="utf-8")
    return path


def test_read_corrections_joins_the_latest_label_to_what_was_said(tmp_path: Path) -> None:
    emotions = write_lines(
        tmp_path / "emotions.jsonl",
        [{"event_id": "a", "emotion": "sad"}, {"event_id": "b", "emotion": "happy"}],
    )
    feedback = write_lines(
        tmp_path / "feedback.jsonl",
        [
            {"emotion_event_id": "a", "kind": "label", "label": "angry"},
            {"emotion_event_id": "a", "kind": "label", "label": "relax"},
            {"emotion_event_id": "b", "kind": "skipped"},
            {"emotion_event_id": "elsewhere", "kind": "label", "label": "sad"},
        ],
    )

    assert read_corrections(feedback, emotions) == [(Emotion.SAD, Emotion.RELAX)]


@pytest.mark.parametrize("line", ["{", "[]", '{"kind": "label", "emotion_event_id": "a", "label": "joy"}'])
def test_read_corrections_bad_line_is_named(tmp_path: Path, line: str) -> None:
    emotions = write_lines(tmp_path / "emotions.jsonl", [{"event_id": "a", "emotion": "sad"}])
    (tmp_path / "feedback.jsonl").write_text("\n" + line, encoding="utf-8")

    with pytest.raises(DatasetError, match="line 2"):
        read_corrections(tmp_path / "feedback.jsonl", emotions)


def test_read_kept_corrections_takes_the_last_record_of_each_corrected_track(tmp_path: Path) -> None:
    records = write_lines(
        tmp_path / "records.jsonl",
        [
            {"track_id": "a", "emotion": "sad"},
            {"track_id": "b", "emotion": "happy", "model_emotion": "angry"},
            {"track_id": "b", "emotion": "relax", "model_emotion": "angry"},
            {"track_id": "c", "emotion": "happy", "model_emotion": "happy"},
            {"track_id": "c", "emotion": "happy"},
        ],
    )

    assert read_kept_corrections(records) == [(Emotion.ANGRY, Emotion.RELAX)]


@pytest.mark.parametrize(
    "record",
    [
        {"emotion": "sad"},
        {"track_id": "a", "model_emotion": "sad"},
        {"track_id": "a", "model_emotion": "joy", "emotion": "sad"},
    ],
)
def test_read_kept_corrections_bad_line_is_named(tmp_path: Path, record: dict[str, str]) -> None:
    with pytest.raises(DatasetError, match="line 1"):
        read_kept_corrections(write_lines(tmp_path / "records.jsonl", [record]))


def test_online_f1_labels_of_one_emotion_are_not_measured() -> None:
    assert online_f1(manifest(), [(Emotion.SAD, Emotion.SAD)] * 60).due is None
