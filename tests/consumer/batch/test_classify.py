"""``emotion-stream classify`` from end to end: real audio, real processes, kill -9."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from confluent_kafka import Consumer

from consumer.batch.publish import publish
from consumer.batch.rows import Row, write_rows
from consumer.errors import ConfigurationError
from consumer.events import TrackEmotion
from consumer.settings import Settings
from consumer.topics import TRACK_EMOTIONS
from deploy.embedded_broker import embedded_broker

JUDGED = {
    "path": "a.wav",
    "emotion": "sad",
    "confidence": 0.7,
    "probabilities": {"relax": 0.1, "happy": 0.1, "sad": 0.7, "angry": 0.1},
    "prediction_set": ["sad", "relax"],
    "valence": -0.5,
    "arousal": -0.4,
    "decisions": {"playlist": "apply", "therapy": "suggest", "catalogue": "apply"},
    "fragments": [{"start_seconds": 0.0, "emotion": "sad", "confidence": 0.7}],
    "out_of_domain": False,
    "model_version": "m1",
    "feature_version": "f1",
    "audio_sha256": "a" * 64,
}
FAILED = {"path": "b.wav", "reason": "decode", "message": "not audio"}


def rows() -> list[tuple[str, bytes]]:
    typed = [msgspec.convert(row, Row) for row in (JUDGED, FAILED)]
    return [("t1", msgspec.json.encode(typed[0])), ("t2", msgspec.json.encode(typed[1]))]


def music(folder: Path, count: int) -> Path:
    folder.mkdir()
    generator = np.random.default_rng(0)
    for i in range(count):
        t = np.arange(8 * 22_050) / 22_050
        y = 0.3 * np.sin(2 * np.pi * (220 + 20 * i) * t) * (t % 0.5 < 0.3) + generator.normal(0, 0.01, len(t))
        soundfile.write(folder / f"{i:03}.wav", y, 22_050)
    return folder


def classify(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "consumer", "classify", *map(str, arguments)]


def test_write_rows_all_formats_hold_the_same(tmp_path: Path) -> None:
    for suffix in ("jsonl", "csv", "parquet"):
        assert write_rows(tmp_path / f"out.{suffix}", rows()) == 2
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert lines == [{**JUDGED, "track_id": "t1"}, {**FAILED, "track_id": "t2"}]
    with (tmp_path / "out.csv").open() as file:
        judged, failed = csv.DictReader(file)
    assert judged["probability_sad"] == "0.7"
    assert judged["prediction_set"] == "sad relax"
    assert (failed["reason"], failed["emotion"]) == ("decode", "")
    table = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert table[0]["decision_therapy"] == "suggest"
    assert table[1]["confidence"] is None


def test_write_rows_unknown_format_raises(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"\.jsonl, \.csv, \.parquet"):
        write_rows(tmp_path / "out.xlsx", rows())


def test_publish_writes_a_record_for_each_judged_track() -> None:
    with embedded_broker(partitions=2) as address:
        settings = Settings(kafka_bootstrap_servers=address)
        assert publish(rows(), settings, records_per_second=1000) == 1
        consumer = Consumer({"bootstrap.servers": address, "group.id": "test", "auto.offset.reset": "earliest"})
        consumer.subscribe([TRACK_EMOTIONS.name])
        (message,) = consumer.consume(1, timeout=20)
        consumer.close()
    record = msgspec.json.decode(message.value() or b"", type=TrackEmotion)
    assert (message.key(), record.track_id, record.emotion) == (b"t1", "t1", "sad")


@pytest.mark.slow
def test_classify_folder_with_broken_file_gives_a_row_each_and_exit_1(tmp_path: Path) -> None:
    folder = music(tmp_path / "music", 2)
    (folder / "broken.mp3").write_bytes(b"nothing to hear")
    output = tmp_path / "out.jsonl"
    done = subprocess.run(classify(folder, "--output", output, "--workers", 1), capture_output=True, check=False)
    assert done.returncode == 1, done.stderr
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [Path(line["path"]).name for line in lines] == ["000.wav", "001.wav", "broken.mp3"]
    assert [line.get("reason", "") for line in lines] == ["", "", "unsupported_codec"]
    again = subprocess.run(classify(folder, "--output", output), capture_output=True, check=False)
    assert b"--resume" in again.stderr
    assert again.returncode == 1


@pytest.mark.slow
def test_classify_playlist_of_a_stranger_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    playlist = tmp_path / "list.m3u8"
    playlist.write_text("\x1b]0;title\x07\x1b[2Jgone [bold].wav\n")
    output = tmp_path / "out.jsonl"
    done = subprocess.run(classify(playlist, "--output", output, "--workers", 1), capture_output=True, check=False)
    assert done.returncode == 1
    assert b" ]0;title  [2Jgone [bold].wav: not_found" in done.stderr
    assert b"\x1b" not in done.stderr
    # The row holds the path as it was given: a machine reads it.
    (row,) = [json.loads(line) for line in output.read_text().splitlines()]
    assert row["path"].endswith("\x1b]0;title\x07\x1b[2Jgone [bold].wav")


@pytest.mark.slow
def test_classify_killed_and_resumed_does_nothing_twice_and_misses_nothing(tmp_path: Path) -> None:
    folder = music(tmp_path / "music", 40)
    output = tmp_path / "out.jsonl"
    journal = tmp_path / ".out.jsonl.journal"
    killed = subprocess.Popen(classify(folder, "--output", output, "--workers", 1), stderr=subprocess.DEVNULL)
    import sqlite3

    def recorded() -> dict[str, bytes]:
        if not journal.exists():
            return {}
        database = sqlite3.connect(f"file:{journal}?mode=ro", uri=True)
        try:
            return dict(database.execute("SELECT path, row FROM results").fetchall())
        except sqlite3.OperationalError:
            return {}
        finally:
            database.close()

    while len(recorded()) < 3:
        assert killed.poll() is None
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    before = recorded()
    assert not output.exists()
    assert len(before) < 40
    done = subprocess.run(classify(folder, "--output", output, "--resume"), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    after = recorded()
    assert len(output.read_text().splitlines()) == len(after) == 40
    # What was done before the kill was not touched again.
    assert {path: after[path] for path in before} == before
