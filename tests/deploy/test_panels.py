"""Every query of every panel, asked of a real Prometheus that watches a real worker under load."""

import dataclasses
import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Consumer, Producer

from consumer.events import EmotionEvent, FeedbackEvent, FeedbackKind
from consumer.settings import Settings
from consumer.topics import EMOTION_EVENTS, EMOTION_FEEDBACK
from deploy.demo.streaming_platform import Listener, StreamingPlatform
from deploy.demo.tracks import break_track, find_tracks
from deploy.embedded_broker import embedded_broker
from model.drift import MIN_TRACKS
from tests.integration.processes import free_port
from tests.integration.worker import WorkerProcess

ROOT = Path(__file__).resolve().parents[2]
DASHBOARDS = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
CATALOGUE = ROOT / "deploy" / "demo" / "catalogue"
ANSWERS_SECONDS = 300
QUERIES_SECONDS = 120

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def queries() -> list[tuple[str, str]]:
    found = []
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                asked = target["expr"].replace("$instance", ".*").replace("$__rate_interval", "20s")
                found.append((f"{path.stem}: {panel['title']}", asked))
    return found


class Prometheus:
    """A Prometheus of our own, with the project's rules."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"

    def ask(self, query: str) -> list[object]:
        url = f"{self.address}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  (our own Prometheus)
            result: list[object] = json.loads(answer.read())["data"]["result"]
        return result


@contextmanager
def prometheus(directory: Path, target: str) -> Iterator[Prometheus]:
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("needs prometheus, from Debian's package")
    directory.mkdir()
    shutil.copy(ROOT / "deploy" / "prometheus" / "alerts.yml", directory)
    configuration = (ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text()
    (directory / "prometheus.yml").write_text(configuration.replace("scrape_interval: 5s", "scrape_interval: 1s"))
    (directory / "targets").mkdir()
    (directory / "targets" / "t.yml").write_text(f"- targets: ['{target}']\n  labels: {{job: emotion-stream}}\n")
    port = free_port()
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                program,
                "--config.file=prometheus.yml",
                "--storage.tsdb.path=data",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            cwd=directory,
            stdout=log,
            stderr=log,
        )
    try:
        yield Prometheus(port)
    finally:
        process.terminate()
        process.wait(30)


class Feedback:
    """Listeners and a curator who answer every emotion event they see."""

    KINDS: tuple[FeedbackKind, ...] = ("accepted", "skipped", "completed", "liked", "label")

    def __init__(self, address: str) -> None:
        self._consumer = Consumer(
            {"bootstrap.servers": address, "group.id": "panel-test", "auto.offset.reset": "earliest"}
        )
        self._consumer.subscribe([EMOTION_EVENTS.name])
        self._producer = Producer({"bootstrap.servers": address, "partitioner": "murmur2_random"})
        self.answered = 0

    def answer(self) -> None:
        for message in self._consumer.consume(100, timeout=0.2):
            if message.error() is not None:
                continue
            event = msgspec.json.decode(message.value() or b"", type=EmotionEvent)
            kind = self.KINDS[self.answered % len(self.KINDS)]
            feedback = FeedbackEvent(
                event_id=f"f-{self.answered}",
                occurred_at=datetime.now(UTC),
                track_id=event.track_id,
                emotion_event_id=event.event_id,
                kind=kind,
                label=event.emotion if kind == "label" else None,
            )
            self._producer.produce(EMOTION_FEEDBACK.name, key=event.track_id, value=msgspec.json.encode(feedback))
            self.answered += 1
        self._producer.flush(10)

    def close(self) -> None:
        self._consumer.close()


def test_every_query_of_every_panel_returns_data(tmp_path: Path) -> None:
    audio = tmp_path / "audio"
    shutil.copytree(CATALOGUE, audio, ignore=shutil.ignore_patterns("*.md"))
    (tmp_path / "broken").mkdir()
    with (
        embedded_broker(partitions=2) as address,
        WorkerProcess(address, tmp_path, audio_roots=f"{audio},{tmp_path / 'broken'}") as worker,
        prometheus(tmp_path / "prometheus", f"127.0.0.1:{worker.port}") as server,
    ):
        tracks = find_tracks(audio, "panels")[:6]
        platform = StreamingPlatform(Settings(kafka_bootstrap_servers=address))
        feedback = Feedback(address)
        # The same music under many ids: drift is shown once enough tracks have been heard.
        for number in range(MIN_TRACKS // len(tracks) + 1):
            for track in tracks:
                platform.upload(dataclasses.replace(track, track_id=f"{track.track_id}-{number}"))
        platform.upload(break_track(tracks[0], tmp_path / "broken", "panels"))
        platform.flush()
        deadline = time.monotonic() + ANSWERS_SECONDS
        while feedback.answered < MIN_TRACKS:
            assert time.monotonic() < deadline, worker.tail()
            feedback.answer()
        listener = Listener("Anna", "anna", "relax", skips=False)
        deadline = time.monotonic() + QUERIES_SECONDS
        empty = queries()
        while empty and time.monotonic() < deadline:
            for track in tracks:
                platform.play(dataclasses.replace(track, track_id=f"{track.track_id}-0"), listener)
            platform.malformed(tracks[0])
            platform.upload(tracks[0])
            platform.flush()
            feedback.answer()
            empty = [(panel, query) for panel, query in empty if not server.ask(query)]
        feedback.close()
        platform.close()
        print(f"{len(queries())} queries asked, without data: {[panel for panel, _ in empty]}")
        assert empty == []
