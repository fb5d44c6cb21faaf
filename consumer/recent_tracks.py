"""The tracks judged lately by the new lane, for plays that were already on their way.

After a restart the list is filled from the tail of ``track-emotions``: an event whose outcome was produced but not
acknowledged before a crash comes again, and must get the judgement it got the first time.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from consumer.client_log import client_logger
from consumer.drift_watch import FEATURES
from consumer.errors import BrokerError, InvalidEventError
from consumer.kafka_config import consumer_config
from consumer.message_headers import read_headers
from consumer.settings import Settings
from consumer.topics import TRACK_EMOTIONS
from consumer.track_record import KnownTrack, RecordCodec

logger = logging.getLogger(__name__)

# About 1 kB each.
_LIMIT: Final = 10_000
_READ_TIMEOUT_SECONDS: Final = 30.0


class KeptRecord(NamedTuple):
    """A message of ``track-emotions``.

    Parameters
    ----------
    track_id : str
        Its key.
    value : bytes
        A TrackEmotion.
    features : bytes
        The header of that name; empty without one.
    """

    track_id: str
    value: bytes
    features: bytes = b""


class RecentTracks:
    """A bounded memory of judgements, the oldest forgotten first."""

    def __init__(self) -> None:
        self._codec = RecordCodec()
        self._tracks: OrderedDict[str, KnownTrack] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tracks)

    def render(self, value: bytes) -> KnownTrack:
        """Read a record as the known lane would.

        Parameters
        ----------
        value : bytes
            A TrackEmotion.

        Returns
        -------
        KnownTrack
            Not remembered yet.

        Raises
        ------
        ValueError
            If the bytes are no TrackEmotion.
        """
        return self._codec.render(self._codec.pack(value))

    def add(self, track_id: str, track: KnownTrack) -> None:
        """Remember a track.

        Parameters
        ----------
        track_id : str
            The track.
        track : KnownTrack
            Its judgement.
        """
        self._tracks[track_id] = track
        self._tracks.move_to_end(track_id)
        if len(self._tracks) > _LIMIT:
            self._tracks.popitem(last=False)

    def get(self, track_id: str, model_version: str, feature_version: str) -> KnownTrack | None:
        """Look a track up.

        Parameters
        ----------
        track_id : str
            The track.
        model_version, feature_version : str
            What is in use now.

        Returns
        -------
        KnownTrack or None
            None if the track was not judged lately, or by another model.
        """
        track = self._tracks.get(track_id)
        if track is None or (track.shape.model_version, track.shape.feature_version) != (
            model_version,
            feature_version,
        ):
            return None
        return track


def read_tail(settings: Settings, partitions: Iterable[int], records: int) -> list[KeptRecord]:
    """Read the newest records of partitions of ``track-emotions``.

    Blocks: call it from a thread.

    Parameters
    ----------
    settings : Settings
        Where Kafka is.
    partitions : iterable of int
        Which partitions.
    records : int
        Most records of each.

    Returns
    -------
    list of KeptRecord
        Oldest first within a partition.

    Raises
    ------
    BrokerError
        If Kafka does not answer in time.
    """
    # Reads beside the groups: partitions are assigned by hand and nothing is committed.
    consumer = Consumer(
        consumer_config(settings, f"{settings.app_id}-tail")
        | {"enable.partition.eof": True, "isolation.level": "read_committed"},
        logger=client_logger(),
    )
    deadline = time.monotonic() + _READ_TIMEOUT_SECONDS
    found = []
    try:
        places = []
        for partition in partitions:
            place = TopicPartition(TRACK_EMOTIONS.name, partition)
            low, high = consumer.get_watermark_offsets(place, timeout=_READ_TIMEOUT_SECONDS)
            place.offset = max(low, high - records)
            if place.offset < high:
                places.append(place)
        consumer.assign(places)
        reading = {place.partition for place in places}
        while reading:
            if time.monotonic() > deadline:
                raise BrokerError(f"cannot read {TRACK_EMOTIONS.name} to its end within {_READ_TIMEOUT_SECONDS:g} s")
            for message in consumer.consume(1000, 0.5):
                error, key, value = message.error(), message.key(), message.value()
                if error is not None:
                    if error.code() == KafkaError._PARTITION_EOF:
                        reading.discard(message.partition() or 0)
                elif isinstance(key, bytes) and isinstance(value, bytes):
                    found.append(KeptRecord(key.decode(errors="replace"), value, _features(message)))
    except KafkaException as error:
        raise BrokerError(f"cannot read {TRACK_EMOTIONS.name}: {error}") from error
    finally:
        consumer.close()
    return found


def _features(message: Message) -> bytes:
    try:
        return dict(read_headers(message) or []).get(FEATURES) or b""
    except InvalidEventError:
        return b""
