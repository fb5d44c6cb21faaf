"""Give a batch's results to the stream: one record a track in ``track-emotions``, as the new lane writes them.

The known lane then answers plays of these tracks at once. Records go straight to the table's topic, not through
analysis, and no faster than a given rate, so that live events are not kept waiting.
"""

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

import msgspec
from confluent_kafka import KafkaError, Message, Producer

from consumer.batch.rows import Row
from consumer.errors import BrokerError
from consumer.events import TrackEmotion
from consumer.kafka_config import producer_config
from consumer.settings import Settings
from consumer.topics import TRACK_EMOTIONS

_decode: Final = msgspec.json.Decoder(Row).decode
_JUDGEMENT: Final = (
    "emotion",
    "confidence",
    "probabilities",
    "prediction_set",
    "valence",
    "arousal",
    "decisions",
    "fragments",
    "model_version",
    "feature_version",
    "audio_sha256",
)


def publish(rows: Iterable[tuple[str, bytes]], settings: Settings, records_per_second: float) -> int:
    """Publish every judged row.

    Parameters
    ----------
    rows : iterable of (str, bytes)
        Track id and encoded row; rows with an error are passed over.
    settings : Settings
        Where Kafka is.
    records_per_second : float
        Most records a second, > 0.

    Returns
    -------
    int
        Records that Kafka acknowledged. Publishing again is harmless: the topic keeps the last record of a track.

    Raises
    ------
    BrokerError
        If Kafka refused a record.
    """
    failures: list[str] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failures.append(str(error))

    producer = Producer(producer_config(settings))
    started, count = time.monotonic(), 0
    for track_id, encoded in rows:
        row = _decode(encoded)
        if row.emotion is None:
            continue
        record = TrackEmotion(
            track_id=track_id, classified_at=datetime.now(UTC), **{name: getattr(row, name) for name in _JUDGEMENT}
        )
        producer.produce(TRACK_EMOTIONS.name, key=track_id, value=msgspec.json.encode(record), on_delivery=delivered)
        count += 1
        ahead = count / records_per_second - (time.monotonic() - started)
        producer.poll(max(0.0, ahead))
        if failures:
            break
    left = producer.flush(30)
    if failures or left:
        raise BrokerError(failures[0] if failures else f"{left} records were not acknowledged within 30 s")
    return count
