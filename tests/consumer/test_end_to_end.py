"""The whole worker on the embedded broker with real audio: bad input gets its reason, kill -9 loses nothing.

The embedded broker is no evidence for guarantees; ``tests/integration`` holds the same worker to them on real Kafka.
"""

import json
import os
import shutil
import time
import wave
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from consumer.events import EmotionEvent
from consumer.topics import DEAD_LETTERS, EMOTION_EVENTS, TRACK_EMOTIONS, TRACK_EVENTS
from deploy.embedded_broker import embedded_broker
from model.registry import SHIPPED_ROOT
from tests.consumer.records import track_event_json
from tests.integration.faults import await_metric
from tests.integration.worker import WorkerProcess

PARTITIONS = 2
OUTCOME_SECONDS = 120
WITHHELD = "not-for-decoders"


class Platform:
    """Produces track events, and reads what became of them from the beginning."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random"})
        self._consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "test"})
        topics = (EMOTION_EVENTS, DEAD_LETTERS, TRACK_EMOTIONS)
        self._consumer.assign(
            [TopicPartition(topic.name, number, OFFSET_BEGINNING) for topic in topics for number in range(PARTITIONS)]
        )
        self.emotions: list[dict[str, Any]] = []
        self.records: dict[str, bytes] = {}
        self.letters: dict[bytes, dict[str, str]] = {}

    def send(self, *values: bytes, key: str = "t") -> None:
        for value in values:
            self._producer.produce(TRACK_EVENTS.name, value, key)
        self._producer.flush()

    def wait(self, outcomes: int, worker: WorkerProcess) -> None:
        deadline = time.monotonic() + OUTCOME_SECONDS
        while len({event["source_event_id"] for event in self.emotions}) + len(self.letters) < outcomes:
            assert time.monotonic() < deadline, f"{self.emotions}\n{self.letters}\n{worker.log.read_text()}"
            message = self._consumer.poll(0.2)
            if message is None or message.error() is not None:
                continue
            key, value = _bytes(message.key()), _bytes(message.value())
            if message.topic() == EMOTION_EVENTS.name:
                msgspec.json.decode(value, type=EmotionEvent)
                self.emotions.append(json.loads(value))
            elif message.topic() == DEAD_LETTERS.name:
                headers: Any = message.headers() or []
                self.letters[value] = {name: _bytes(content).decode() for name, content in headers}
            else:
                self.records[key.decode()] = value

    def close(self) -> None:
        self._consumer.close()


def _bytes(value: str | bytes | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audio")
    for name, seconds, pitch in (("long.wav", 65.0, 220.0), ("short.wav", 6.0, 330.0), ("blip.wav", 2.0, 440.0)):
        write_wav(folder / name, tune(seconds, pitch))
    write_wav(folder / "silence.wav", np.zeros(6 * 22050))
    whole = (folder / "long.wav").read_bytes()
    (folder / "truncated.wav").write_bytes(whole[: len(whole) // 10])
    (folder / "noise.mp3").write_bytes(np.random.default_rng(1).bytes(5000))
    (folder / "empty.flac").write_bytes(b"")
    os.mkfifo(folder / "fifo.wav")
    return folder


def tune(seconds: float, pitch: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    moments = np.arange(int(seconds * 22050)) / 22050
    beat = np.exp(-6 * (moments % 0.5))
    noise = 0.01 * np.random.default_rng(0).standard_normal(moments.size)
    return np.asarray(0.5 * beat * np.sin(2 * np.pi * pitch * moments) + noise)


def write_wav(path: Path, y: np.ndarray[Any, np.dtype[np.float64]]) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(22050)
        file.writeframes((y * 32767).astype("<i2").tobytes())


@contextmanager
def running(tmp_path: Path, audio: Path) -> Iterator[tuple[str, WorkerProcess, Platform]]:
    with embedded_broker(PARTITIONS) as bootstrap:
        platform = Platform(bootstrap)
        try:
            with WorkerProcess(
                bootstrap,
                tmp_path,
                audio_roots=audio,
                retry_backoff_seconds=0,
                sasl_password=WITHHELD,
                ssl_key_password=WITHHELD,
            ) as worker:
                yield bootstrap, worker, platform
        finally:
            platform.close()


@pytest.mark.slow
def test_worker_gives_every_event_its_outcome(tmp_path: Path, audio: Path) -> None:
    def event(name: str, **fields: Any) -> bytes:
        return track_event_json(name, **({"track_id": f"track-{name}", "audio_uri": f"file://{audio}/{name}"} | fields))

    bad = {
        b"not json": "invalid_json",
        b"\xff\xfe": "invalid_json",
        b"": "invalid_json",
        b"[1, 2]": "schema",
        b'{"schema_version": 1}': "schema",
        event("wrong-type", track_id=7): "schema",
        event("no-zone", occurred_at="2026-01-01T00:00:00"): "schema",
        event("paused", event_type="track_paused"): "unknown_event_type",
        event("huge", extra="x" * 300_000): "event_too_large",
        event("gopher", audio_uri="gopher://example.org/a"): "unsupported_uri",
        event("outside", audio_uri="file:///etc/passwd"): "forbidden_path",
        event("dots", audio_uri=f"file://{audio}/../../etc/passwd"): "forbidden_path",
        event("host", audio_uri="http://127.0.0.1:1/a.wav"): "forbidden_host",
        event("missing.wav"): "not_found",
        event("fifo.wav"): "forbidden_path",
        event("noise.mp3"): "decode",
        event("empty.flac"): "unsupported_codec",
        event("truncated.wav"): "truncated",
        event("silence.wav"): "silent",
        event("blip.wav"): "too_short",
    }
    upload = event("long.wav", event_type="track_uploaded", session_id="s-1", unknown_field={"a": 1})
    with running(tmp_path, audio) as (_, worker, platform):
        # One key: one partition, so that whatever blocked it would hold up all that follow.
        platform.send(*bad, upload, event("short.wav", position_seconds=1e9), key="poison")
        platform.wait(len(bad) + 2, worker)
        assert {value: letter["error.reason"] for value, letter in platform.letters.items()} == bad
        for letter in platform.letters.values():
            assert letter["source.topic"] == TRACK_EVENTS.name
            assert letter["error.message"]

        by_source = {event["source_event_id"]: event for event in platform.emotions}
        assert by_source["long.wav"]["session_id"] == "s-1"
        assert [fragment["start_seconds"] for fragment in by_source["long.wav"]["fragments"]] == [0.0, 35.0]
        assert all(event["known"] is False for event in platform.emotions)

        # Its record is in Kafka, but the known lane need not have read it yet: then the new one would answer.
        await_metric(worker, "emotion_table_tracks", 2)
        platform.send(event("again", track_id="track-long.wav"), key="track-long.wav")
        platform.wait(len(bad) + 3, worker)
        again = next(event for event in platform.emotions if event["source_event_id"] == "again")
        first = by_source["long.wav"]
        assert again["known"] is True
        own = {"event_id", "source_event_id", "event_type", "occurred_at", "classified_at", "known", "session_id"}
        assert {k: v for k, v in again.items() if k not in own} == {k: v for k, v in first.items() if k not in own}

        assert worker.status("/live") == 200
        environments = [Path(f"/proc/{pid}/environ").read_bytes() for pid in worker.children()]
        assert environments
        assert not [environment for environment in environments if WITHHELD.encode() in environment]
        invalid = {"lane": "known", "reason": "invalid_json"}
        assert worker.metric("emotion_events_dead_lettered_total", invalid) == 3
        assert worker.metric("emotion_events_consumed_total", {"lane": "known"}) == 23
        assert worker.metric("emotion_table_tracks") == 2

        assert worker.terminate()[0] == 0
        assert "Traceback" not in worker.log.read_text()


@pytest.mark.slow
def test_worker_killed_resumes_and_loses_nothing(tmp_path: Path, audio: Path) -> None:
    with running(tmp_path, audio) as (bootstrap, worker, platform):
        events = [
            track_event_json(
                f"e-{number}", f"t-{number % 7}", audio_uri=f"file://{audio}/short.wav", position_seconds=0
            )
            for number in range(300)
        ]
        for number, value in enumerate(events):
            platform.send(value, key=f"t-{number % 7}")
        platform.wait(20, worker)
        worker.kill()  # asserts that no process and no port outlives it

        with WorkerProcess(bootstrap, tmp_path, "second", audio_roots=audio) as second:
            platform.wait(300, second)
            assert second.terminate()[0] == 0
    answers: dict[str, set[str]] = {}
    for event in platform.emotions:
        judged = {k: v for k, v in event.items() if k not in ("classified_at", "known", "late")}
        answers.setdefault(event["source_event_id"], set()).add(json.dumps(judged, sort_keys=True))
    assert len(answers) == 300
    assert Counter(map(len, answers.values())) == {1: 300}, "copies of one answer differ"
    assert platform.letters == {}
    assert all(json.loads(record)["track_id"] == key for key, record in platform.records.items())


def test_worker_with_a_tampered_model_says_so_and_joins_no_group(tmp_path: Path, audio: Path) -> None:
    models = tmp_path / "models"
    shutil.copytree(SHIPPED_ROOT, models)
    estimator = next(models.glob("champion/*.joblib"))
    estimator.write_bytes(estimator.read_bytes()[:-1] + b"x")
    worker = WorkerProcess("127.0.0.1:1", tmp_path, audio_roots=audio, model_dir=models).start(wait=False)
    assert worker.wait_exit(60) == 1
    log = worker.log.read_text()
    assert "cannot use the champion model" in log
    assert "Traceback" not in log
    assert "Connect" not in log
