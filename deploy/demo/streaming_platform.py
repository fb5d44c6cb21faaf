"""The part of the streaming platform: uploads, plays, and what goes wrong on a platform.

``python -m deploy.demo.streaming_platform --audio FOLDER`` plays a folder at random until it is stopped, as compose
does; where Kafka is, the worker's ``EMOTION_*`` settings say.
"""

import os
import random
import signal
import threading
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
from confluent_kafka import KafkaException, Producer

from consumer.events import EmotionLabel, EventType, TrackEvent
from consumer.kafka_config import producer_config
from consumer.settings import Settings
from consumer.topics import TRACK_EVENTS
from deploy.demo.ledger import Kind, Sent
from deploy.demo.tracks import Track, find_tracks

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Listener:
    """Somebody who plays music.

    Parameters
    ----------
    name : str
        For people.
    session_id : str
        As in the events.
    target : EmotionLabel
        Where they want to be.
    skips : bool
        Whether they now and then play the second track of their queue instead of the first.
    """

    name: str
    session_id: str
    target: EmotionLabel
    skips: bool


def two_listeners(run_id: str) -> tuple[Listener, Listener]:
    """Give the demo's listeners: one follows the queue, the other not always."""
    return (
        Listener("Anna", f"{run_id}-anna", "sad", skips=False),
        Listener("Bora", f"{run_id}-bora", "happy", skips=True),
    )


class StreamingPlatform:
    """Produce track events.

    Parameters
    ----------
    settings : Settings
        Where Kafka is.
    on_send : callable, optional
        Called with each message before it is produced.
    """

    def __init__(self, settings: Settings, on_send: Callable[[Sent], None] = lambda sent: None) -> None:
        # Errors only: a broker that is just starting costs a warning, and then a retry that works.
        self._producer = Producer(producer_config(settings) | {"log_level": 3})
        self._on_send = on_send

    def upload(self, track: Track, kind: Kind = "upload") -> None:
        """Announce a new track."""
        self._send(self._event(track, "track_uploaded"), kind, track)

    def play(self, track: Track, listener: Listener) -> None:
        """Announce that a listener plays a track."""
        self._send(self._event(track, "track_played", listener), "play", track, listener.name)

    def malformed(self, track: Track) -> None:
        """Send an event that breaks off in the middle, as a producer's bug would."""
        event = self._event(track, "track_played")
        value = _encode(event)[:-20]
        self._produce(
            Sent(event.event_id, "malformed", "(malformed event)", value, event.occurred_at.timestamp()), track
        )

    def close(self) -> None:
        """Part from Kafka."""
        self._producer.close()

    def flush(self) -> None:
        """Wait until Kafka has every message.

        Raises
        ------
        KafkaException
            If it has not after ten seconds.
        """
        left = self._producer.flush(10)
        if left:
            raise KafkaException(f"{left} messages could not be delivered to {TRACK_EVENTS.name} within 10 s")

    def _event(self, track: Track, event_type: EventType, listener: Listener | None = None) -> TrackEvent:
        return TrackEvent(
            schema_version=1,
            event_id=str(uuid.uuid4()),
            event_type=event_type,
            occurred_at=datetime.now(UTC),
            track_id=track.track_id,
            audio_uri=track.path.as_uri(),
            session_id=listener.session_id if listener else None,
            listener_id=listener.name.lower() if listener else None,
        )

    def _send(self, event: TrackEvent, kind: Kind, track: Track, listener: str = "") -> None:
        sent_at = event.occurred_at.timestamp()
        self._produce(Sent(event.event_id, kind, track.title, _encode(event), sent_at, listener), track)

    def _produce(self, sent: Sent, track: Track) -> None:
        self._on_send(sent)
        while True:
            try:
                self._producer.produce(TRACK_EVENTS.name, key=track.track_id, value=sent.value)
                break
            except BufferError:  # librdkafka's queue is full: let it send some
                self._producer.poll(0.1)
        self._producer.poll(0)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--audio", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path), help="Music.")
@click.option("--every", default=2.0, show_default=True, type=click.FloatRange(0.01), help="Seconds between plays.")
def main(audio: Path, every: float) -> None:
    """Upload every track of a folder, then play one at random, until SIGINT or SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    # The same ids at every start: a track that is known stays known.
    tracks = find_tracks(audio, "compose")
    if not tracks:
        raise click.UsageError(f"expected audio files in {audio}, found none")
    with closing(StreamingPlatform(Settings.from_environment(os.environ))) as platform:
        for track in tracks:
            platform.upload(track)
        while not stop.wait(every):
            platform.play(random.choice(tracks), random.choice(two_listeners("compose")))  # noqa: S311  # not cryptography


if __name__ == "__main__":
    main()
