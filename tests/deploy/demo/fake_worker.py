"""A stand-in for the worker: it answers out of the track's name, and misbehaves when told to.

``FAKE_WORKER`` is ``lose`` (the third event gets no outcome), ``twice`` (a second, different outcome for it),
``repeat`` (every outcome is delivered twice) or ``die`` (it ends with status 3 before it is ready).
"""

import os
import signal
import sys
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import msgspec
from confluent_kafka import Consumer, Producer

from consumer.dead_letter import build_dead_letter
from consumer.errors import InvalidEventError, Reason
from consumer.events import EmotionLabel, decode_track_event, emotion_event_id
from consumer.kafka_config import consumer_config, producer_config
from consumer.settings import Settings
from consumer.topics import DEAD_LETTERS, EMOTION_EVENTS, TRACK_EVENTS
from tests.deploy.demo.emotions import emotion_event

EMOTIONS: tuple[EmotionLabel, ...] = ("relax", "happy", "sad", "angry")


class Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # http.server's name for it
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


class FakeWorker:
    def __init__(self, settings: Settings, fault: str) -> None:
        self.producer, self.fault = Producer(producer_config(settings)), fault
        self.known: set[str] = set()
        self.count = 0

    def answer(self, value: bytes, offset: int) -> None:
        self.count += 1
        if self.fault == "lose" and self.count == 3:
            return
        try:
            event = decode_track_event(value)
        except InvalidEventError as error:
            return self.bury(value, offset, error.reason, str(error))
        if "broken" in event.track_id:
            return self.bury(value, offset, Reason.DECODE, "expected audio, got 2000 bytes of something else")
        number = int(event.track_id[-4:])
        answer = emotion_event(
            event.track_id,
            EMOTIONS[number % 4],
            event_id=emotion_event_id(event.event_id, "m1", "f1"),
            event_type=event.event_type,
            session_id=event.session_id,
            playlist="suggest" if number % 5 == 0 else "apply",
            known=event.track_id in self.known,
            source_event_id=event.event_id,
        )
        self.known.add(event.track_id)
        answer = msgspec.structs.replace(answer, occurred_at=event.occurred_at, classified_at=datetime.now(UTC))
        for _ in range(2 if self.fault == "repeat" else 1):
            self.producer.produce(EMOTION_EVENTS.name, key=event.track_id, value=msgspec.json.encode(answer))
        if self.fault == "twice" and self.count == 3:
            self.bury(value, offset, Reason.INTERNAL, "and a second outcome")

    def bury(self, value: bytes, offset: int, reason: Reason, message: str) -> None:
        letter = build_dead_letter(
            topic=TRACK_EVENTS.name,
            partition=0,
            offset=offset,
            key=None,
            value=value,
            headers=None,
            reason=reason,
            message=message,
            attempts=1,
            first_seen=datetime.now(UTC),
        )
        self.producer.produce(DEAD_LETTERS.name, value=letter.value, headers=list(letter.headers))


def main() -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    settings, fault = Settings.from_environment(os.environ), os.environ.get("FAKE_WORKER", "")
    if fault == "die":
        print("no model here")
        sys.exit(3)
    consumer = Consumer(consumer_config(settings, "fake"))
    consumer.subscribe([TRACK_EVENTS.name])
    server = HTTPServer(("127.0.0.1", settings.metrics_port), Health)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    worker = FakeWorker(settings, fault)
    while not stop.is_set():
        for message in consumer.consume(100, 0.02):
            if message.error() is None:
                worker.answer(message.value() or b"", message.offset() or 0)
        worker.producer.flush()
    consumer.close()
    server.shutdown()


if __name__ == "__main__":
    main()
