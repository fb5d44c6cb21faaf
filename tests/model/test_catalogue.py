import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from features import COLUMNS, FEATURE_NAMES, extract_file
from model.catalogue import changes, flows, read_catalogue
from model.emotions import Emotion
from model.errors import DatasetError
from model.judge import Judge
from tests.model.stand_in import StandIn, fragment, manifest


class Contrary(StandIn):
    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        return np.asarray(X[:, [1, 0, 2, 3]])


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "tracks.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", *FEATURE_NAMES])
        writer.writerow(["a.flac", *fragment(1.0, 0.0, 0.0, 0.0)])
        writer.writerow(["b.flac", *fragment(0.0, 1.0, 0.0, 0.0)])
        writer.writerow(["c.flac", *fragment(0.0, 0.0, 1.0, 0.0)])
    return path


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    folder = tmp_path / "audio"
    folder.mkdir()
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 6 * 44_100)
    soundfile.write(folder / "track-1.wav", noise, 44_100, subtype="PCM_16")
    (folder / "track-2.wav").write_bytes(b"not audio")
    return folder


def test_changes_counts_what_the_candidate_says_otherwise(table: Path) -> None:
    changed = changes(read_catalogue(table), Judge(Contrary(), manifest()), Judge(StandIn(), manifest()))

    assert [change.name for change in changed] == ["a.flac", "b.flac"]
    assert flows(changed) == {(Emotion.RELAX, Emotion.HAPPY): 1, (Emotion.HAPPY, Emotion.RELAX): 1}


def test_read_catalogue_missing_numbers_get_the_columns_neutral_value(tmp_path: Path) -> None:
    path = tmp_path / "tracks.csv"
    path.write_text(",".join(FEATURE_NAMES) + "\n" + ",".join(["nan", "", *["1.0"] * 48]) + "\n", encoding="utf-8")

    catalogue = read_catalogue(path)

    assert catalogue.names == ("row 2",)
    assert catalogue.X[0, :3].tolist() == [COLUMNS[0].neutral, COLUMNS[1].neutral, 1.0]


def test_read_catalogue_folder_is_heard_and_the_unusable_named(audio: Path) -> None:
    catalogue = read_catalogue(audio)

    assert catalogue.names == ("track-1.wav",)
    assert np.array_equal(catalogue.X[0], extract_file(audio / "track-1.wav").finite)
    assert [line.partition(":")[0] for line in catalogue.unheard] == ["track-2.wav"]


def test_read_catalogue_recording_carries_the_emotion_on_record(tmp_path: Path, audio: Path) -> None:
    recording = tmp_path / "track-emotions.jsonl"
    records = [{"track_id": "track-1", "emotion": "angry"}, {"track_id": "gone", "emotion": "sad"}]
    recording.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")

    catalogue = read_catalogue(recording, audio)

    assert catalogue.names == ("track-1",)
    assert catalogue.recorded == (Emotion.ANGRY,)
    assert catalogue.unheard[0].startswith("gone:")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", '{"track_id": "x", "emotion": "joy"}', "line 1"),
        ("a.jsonl", "nonsense", "line 1"),
        ("a.csv", "path,tempo\nx,1\n", "_RMSenergy_Mean"),
        ("a.csv", ",".join(FEATURE_NAMES) + "\n" + ",".join(["loud"] * 50), "line 2, _RMSenergy_Mean"),
        ("a.csv", ",".join(FEATURE_NAMES) + "\n", "at least one track"),
    ],
)
def test_read_catalogue_unusable_file_says_where(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")

    with pytest.raises(DatasetError, match=message):
        read_catalogue(tmp_path / name, tmp_path)


def test_read_catalogue_recording_without_audio_asks_for_it(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}", encoding="utf-8")

    with pytest.raises(DatasetError, match="--audio"):
        read_catalogue(tmp_path / "a.jsonl")
