"""The playlist service on Kafka: emotions in, reordered queues and feedback out."""

import threading
from collections.abc import Callable, Iterable
from contextlib import closing

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer

from consumer.events import EmotionEvent, EmotionLabel
from consumer.kafka_config import consumer_config, producer_config
from consumer.settings import Settings
from consumer.topics import EMOTION_EVENTS, EMOTION_FEEDBACK
from deploy.demo.playlist.sessions import Change, Sessions

_decode = msgspec.json.Decoder(EmotionEvent).decode
_encode = msgspec.json.Encoder().encode
_BATCH = 500
_POLL_SECONDS = 0.05


class PlaylistService:
    """Consume ``emotion-events``, keep queues in order, answer on ``emotion-feedback``.

    Offsets are committed after the feedback of their events was acknowledged: after a crash some events are read
    again, and ``Sessions`` or whoever reads the feedback recognises them by id. The sessions themselves live in
    memory; a service that must survive a restart keeps them where it keeps its queues.

    Parameters
    ----------
    settings : Settings
        Where Kafka is and how to talk to it.
    group_id : str
        Consumer group; instances of one group share the partitions. Events are keyed by track, not by session: run
        one instance, or keep ``Sessions`` in a store they share.
    sessions : Sessions
        The state to keep; used under this service's lock only.
    on_change : callable
        Called from the service's thread with each change of a queue.
    """

    def __init__(
        self, settings: Settings, group_id: str, sessions: Sessions, on_change: Callable[[Change], None]
    ) -> None:
        self._settings, self._group_id = settings, group_id
        self._sessions, self._on_change = sessions, on_change
        self._lock = threading.Lock()
        self._failure: KafkaError | None = None
        self.assigned = threading.Event()
        self.feedback_sent: dict[str, int] = {}
        self.unreadable_count = 0
        self.heard_count = 0

    def start_session(self, session_id: str, target: EmotionLabel, queue: Iterable[str]) -> None:
        """Begin a listener's session with a queue of track ids, next first."""
        with self._lock:
            change = self._sessions.start(session_id, target, queue)
        if change is not None:
            self._on_change(change)

    def queue(self, session_id: str) -> tuple[str, ...]:
        """Give a session's queue, next first."""
        with self._lock:
            return self._sessions.queue(session_id)

    def run(self, stop: threading.Event) -> None:
        """Serve until ``stop`` is set.

        Raises
        ------
        KafkaException
            If Kafka refuses a commit, or feedback cannot be delivered.
        """
        consumer = Consumer(consumer_config(self._settings, self._group_id))
        with closing(consumer), Producer(producer_config(self._settings)) as producer:
            consumer.subscribe([EMOTION_EVENTS.name], on_assign=lambda *_: self.assigned.set())
            while not stop.is_set():
                # An error here is a broker that is away for a moment; librdkafka reconnects by itself.
                messages = [message for message in consumer.consume(_BATCH, _POLL_SECONDS) if message.error() is None]
                for message in messages:
                    self._handle(message, producer)
                if messages:
                    producer.flush()
                    if self._failure is not None:
                        raise KafkaException(self._failure)
                    consumer.commit(asynchronous=False)

    def _handle(self, message: Message, producer: Producer) -> None:
        try:
            event = _decode(message.value() or b"")
        except msgspec.DecodeError:
            self.unreadable_count += 1
            return
        with self._lock:
            reaction = self._sessions.hear(event)
            self.heard_count += 1
        for feedback in reaction.feedback:
            producer.produce(
                EMOTION_FEEDBACK.name, key=feedback.track_id, value=_encode(feedback), on_delivery=self._delivered
            )
            self.feedback_sent[feedback.kind] = self.feedback_sent.get(feedback.kind, 0) + 1
        for change in reaction.changes:
            self._on_change(change)

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._failure = error
