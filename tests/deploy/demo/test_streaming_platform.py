import os
import signal
import subprocess
import sys
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition

from consumer.events import decode_track_event
from deploy.embedded_broker import embedded_broker


def test_platform_by_itself_uploads_then_plays_until_sigterm(tmp_path: Path) -> None:
    for name in ("ash", "birch"):
        (tmp_path / f"{name}.ogg").write_bytes(b"x")
    with embedded_broker(partitions=1) as bootstrap:
        process = subprocess.Popen(
            [sys.executable, "-m", "deploy.demo.streaming_platform", "--audio", tmp_path, "--every", "0.05"],
            env=os.environ | {"EMOTION_KAFKA_BOOTSTRAP_SERVERS": bootstrap},
        )
        try:
            consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "fetch.wait.max.ms": 20})
            consumer.assign([TopicPartition("track-events", 0, 0)])
            events = [decode_track_event(message.value()) for message in consumer.consume(5, 30)]
            consumer.close()
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()
            process.wait()
    assert [event.event_type for event in events] == ["track_uploaded"] * 2 + ["track_played"] * 3
    assert {event.track_id for event in events[2:]} <= {event.track_id for event in events[:2]}
    assert {event.listener_id for event in events[2:]} <= {"anna", "bora"}
    assert events[0].audio_uri == (tmp_path / "ash.ogg").as_uri()
