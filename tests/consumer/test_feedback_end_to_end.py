"""The loop closed on the embedded broker: a track is heard, corrected, heard again, and the person's word stands."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from consumer.topics import EMOTION_FEEDBACK, TRACK_EMOTIONS
from deploy.embedded_broker import embedded_broker
from model.emotions import EMOTIONS
from tests.consumer.records import feedback_json, track_event_json
from tests.consumer.test_end_to_end import OUTCOME_SECONDS, PARTITIONS, Platform, tune, write_wav
from tests.integration.worker import WorkerProcess

TRACK = "track-1"


class Loop:
    """A worker, the platform around it, and a curator."""

    def __init__(self, bootstrap: str, folder: Path) -> None:
        self.bootstrap, self.folder = bootstrap, folder
        self.worker = WorkerProcess(bootstrap, folder, audio_roots=folder).start()
        self.platform = Platform(bootstrap)
        self.curator = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random"})
        self.outcomes = 0

    def ask(self, event_id: str, event_type: str = "track_played") -> dict[str, Any]:
        uri = f"file://{self.folder}/short.wav"
        value = track_event_json(event_id, TRACK, event_type=event_type, audio_uri=uri)
        self.platform.send(value, key=TRACK)
        self.outcomes += 1
        self.platform.wait(self.outcomes, self.worker)
        return next(event for event in self.platform.emotions if event["source_event_id"] == event_id)

    def tell(self, event_id: str, **fields: Any) -> None:
        self.curator.produce(EMOTION_FEEDBACK.name, feedback_json(event_id, TRACK, **fields), TRACK)
        self.curator.flush()

    def shows(self, line: str) -> None:
        deadline = time.monotonic() + OUTCOME_SECONDS
        while line not in self.worker.metrics_text():
            assert time.monotonic() < deadline, f"{line}\n{self.worker.log.read_text()}"
            time.sleep(0.2)

    def restart(self) -> None:
        assert self.worker.terminate()[0] == 0
        self.worker.start()

    def close(self) -> None:
        if self.worker.running:
            self.worker.kill(check=False)
        self.platform.close()


@pytest.mark.slow
def test_correction_wins_over_the_model_and_outlives_the_worker(tmp_path: Path) -> None:
    write_wav(tmp_path / "short.wav", tune(6.0, 330.0))
    with embedded_broker(PARTITIONS) as bootstrap:
        loop = Loop(bootstrap, tmp_path)
        try:
            heard = loop.ask("first", "track_uploaded")
            model = heard["emotion"]
            person = next(emotion.value for emotion in EMOTIONS if emotion != model)
            decision = heard["decisions"]["playlist"]

            loop.tell("f-1", kind="skipped", emotion_event_id=heard["event_id"])
            loop.tell("f-2", kind="label", label=person, listener_id="curator-7")
            loop.shows(f'emotion_feedback_total{{decision="{decision}",emotion="{model}",kind="skipped"}} 1.0')
            loop.shows(f'emotion_online_confusion_labels{{emotion="{model}",label="{person}"}} 1.0')
            corrected = loop.ask("second")
            assert (corrected["emotion"], corrected["known"]) == (person, True)

            again = loop.ask("third", "track_uploaded")
            assert (again["emotion"], again["known"]) == (person, False), "heard again, and still the person's word"

            # Whoever writes past the lane, such as a batch: the table overrules it.
            record = json.loads(loop.platform.records[TRACK])
            stranger = {k: v for k, v in record.items() if k not in ("corrected_by", "model_emotion")}
            loop.curator.produce(TRACK_EMOTIONS.name, json.dumps(stranger | {"emotion": model}), TRACK)
            loop.curator.flush()
            loop.shows("emotion_corrections_kept_total 1.0")

            loop.restart()
            loop.shows("emotion_online_labels 1.0")
            loop.shows("emotion_online_accuracy_ratio 0.0")
            assert loop.ask("fourth")["emotion"] == person
            record = json.loads(loop.platform.records[TRACK])
            assert (record["emotion"], record["corrected_by"]) == (person, "curator-7")
            assert "Traceback" not in loop.worker.log.read_text()
        finally:
            loop.close()
