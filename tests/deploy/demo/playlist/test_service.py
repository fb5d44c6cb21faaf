import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Queue

import msgspec
from confluent_kafka import Consumer, Producer, TopicPartition

from consumer.events import EmotionEvent, FeedbackEvent
from consumer.settings import Settings
from deploy.demo.playlist.service import PlaylistService
from deploy.demo.playlist.sessions import Change, Sessions
from deploy.embedded_broker import embedded_broker
from tests.deploy.demo.emotions import emotion_event, play


def produce(bootstrap: str, *values: EmotionEvent | bytes) -> None:
    producer = Producer({"bootstrap.servers": bootstrap})
    for value in values:
        producer.produce(
            "emotion-events", key="one", value=value if isinstance(value, bytes) else msgspec.json.encode(value)
        )
    assert producer.flush(10) == 0


def read_feedback(bootstrap: str, count: int) -> list[FeedbackEvent]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader"})
    consumer.assign([TopicPartition("emotion-feedback", 0, 0)])
    values = [message.value() for message in consumer.consume(count, 20)]
    consumer.close()
    return [msgspec.json.decode(value or b"", type=FeedbackEvent) for value in values]


@contextmanager
def running(bootstrap: str) -> Iterator[tuple[PlaylistService, Queue[Change]]]:
    changes: Queue[Change] = Queue()
    settings = Settings(kafka_bootstrap_servers=bootstrap, session_timeout_seconds=6)
    service = PlaylistService(settings, "playlist", Sessions(), changes.put)
    stop = threading.Event()
    thread = threading.Thread(target=service.run, args=(stop,))
    thread.start()
    try:
        yield service, changes
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()


def test_service_play_reorders_the_queue_and_sends_feedback() -> None:
    with embedded_broker(partitions=1) as bootstrap, running(bootstrap) as (service, changes):
        service.start_session("anna", "happy", ["a", "s", "h"])
        produce(bootstrap, emotion_event("a", "angry"), emotion_event("h", "happy"))
        assert changes.get(timeout=20).after == ("h", "s", "a")
        produce(bootstrap, play("h", "anna"))
        (feedback,) = read_feedback(bootstrap, 1)
        assert (feedback.kind, feedback.track_id) == ("accepted", "h")
        assert service.queue("anna") == ("s", "a")
        assert service.feedback_sent == {"accepted": 1}


def test_service_unreadable_and_repeated_events_are_passed_over() -> None:
    with embedded_broker(partitions=1) as bootstrap, running(bootstrap) as (service, changes):
        service.start_session("anna", "happy", ["a", "h"])
        upload = emotion_event("a", "angry")
        produce(bootstrap, b"{", json.dumps({"track_id": "a"}).encode(), upload, upload, emotion_event("h"))
        assert changes.get(timeout=20).after == ("h", "a")
        assert service.unreadable_count == 2
    assert changes.empty()
