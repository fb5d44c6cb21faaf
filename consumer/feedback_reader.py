"""The feedback reader: ``emotion-feedback`` joined to the tracks' records, in a thread beside the known lane.

It reads those partitions whose records the known lane of this worker holds, since feedback has the same key and the
same partition count, and asks the lane's table instead of keeping one of its own. It has a consumer of its own, so that
no answer ever waits for feedback, and takes at most a tenth of a core. Partitions are assigned by hand as the lane gets
and loses them; how far each is read is committed under the group ``<app_id>-feedback``. (A group of its own would be
given other partitions than the lane; a third topic in the lane's consumer would share its batches, a flood of feedback
would hold up plays.)

At least once: what a batch led to is acknowledged by Kafka before its offsets are committed. An event read twice by one
worker, or again within the last 200 of a partition after a restart, is recognised by its id. Beyond that a crash can
count a batch again in the counters; corrections are not counted but kept, so they cannot be wrong by it.
"""

import logging
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol, cast

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from consumer.answers import track_emotion_headers
from consumer.client_log import client_logger
from consumer.corrections import Correction, correct, correction_from, record_of
from consumer.dead_letter import build_dead_letter, header_list
from consumer.errors import InvalidEventError, Reason
from consumer.events import FeedbackEvent, decode_feedback_event
from consumer.feedback import Act, FeedbackWindow, show_scores
from consumer.health import Health
from consumer.kafka_config import consumer_config
from consumer.log_config import DEAD_LETTERS_PER_SECOND
from consumer.log_sample import LogSample
from consumer.message_headers import Received, read_headers
from consumer.metrics import Metrics
from consumer.outbox import BatchOutbox, Stopped
from consumer.settings import Settings
from consumer.topics import DEAD_LETTERS, EMOTION_FEEDBACK, TRACK_EMOTIONS
from consumer.track_record import KnownTrack

logger = logging.getLogger(__name__)

_BATCH: Final = 200
_POLL_SECONDS: Final = 0.5
# Kafka answers as soon as there is a byte, and nothing waits for feedback on partitions that came just now: an idle
# worker need not ask five times a second.
_FETCH_WAIT_MS: Final = 1000
_FETCH_AHEAD_KILOBYTES: Final = 4 * 1024
# Read again at a start, for the window of acceptance and the memory of ids.
_AGAIN_PER_PARTITION: Final = 200
# Of the time, what is spent on feedback: the rest is the lane's, which shares the interpreter.
_SHARE: Final = 0.1
# A machine can answer an emotion event before the lane has read the record that was written before it.
_FRESH: Final = timedelta(seconds=10)
_PATIENCE_SECONDS: Final = 2.0
_SHOW_EVERY_SECONDS: Final = 5.0
_REPEAT_ERROR_SECONDS: Final = 60.0
_COMMITTED_TIMEOUT_SECONDS: Final = 5.0


class Tracks(Protocol):
    """What is known of tracks; ``consumer.track_table.TrackTable``."""

    def find(self, partition: int, track_id: str) -> tuple[KnownTrack, Correction | None] | None:
        """Look a track up, from any thread."""

    def corrections(self) -> list[Correction]:
        """Give what people said, from any thread."""


class Lane(Protocol):
    """Who holds the tracks' records; ``consumer.known_lane.KnownLane``."""

    @property
    def table(self) -> Tracks:
        """The known tracks."""

    @property
    def live(self) -> frozenset[int]:
        """Partitions whose table is complete."""


class FeedbackReader:
    """One worker's reader of feedback.

    Parameters
    ----------
    settings : Settings
        The worker's.
    lane : Lane
        Whose tracks the feedback is about.
    metrics : Metrics
        Where it is counted.
    health : Health
        Told that the loop turns.
    """

    def __init__(self, settings: Settings, *, lane: Lane, metrics: Metrics, health: Health) -> None:
        self._settings = settings
        self._lane = lane
        self._metrics = metrics
        self._heartbeat = health.heartbeat("feedback", settings.stall_timeout_seconds)
        self._window = FeedbackWindow()
        # Next offset to read of each partition assigned, and the first that was not read before a restart.
        self._next: dict[int, int] = {}
        self._first_new: dict[int, int] = {}
        self._stopping = threading.Event()
        self._next_show = 0.0
        self._patient_until = 0.0
        self._warned_at = -_REPEAT_ERROR_SECONDS
        self._letters_shown = LogSample(DEAD_LETTERS_PER_SECOND)
        self._consumer = Consumer(
            consumer_config(settings, f"{settings.app_id}-feedback")
            | {
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": _FETCH_WAIT_MS,
                "queued.max.messages.kbytes": _FETCH_AHEAD_KILOBYTES,
                "on_commit": self._on_commit,
            },
            logger=client_logger(),
        )
        # Its own, not the lane's: no transaction of the lane waits for feedback, or is aborted by it.
        self._outbox = BatchOutbox(settings, None, self._stopping.is_set, metrics)

    def stop(self) -> None:
        """Ask the loop to end after the batch in hand; callable from any thread."""
        self._stopping.set()

    def run(self) -> None:
        """Run until stopped.

        Raises
        ------
        BrokerError
            If Kafka does not take a correction or a dead letter; nothing of the batch in hand is committed.
        """
        try:
            while not self._stopping.is_set():
                self._heartbeat.beat()
                if not self._follow():
                    self._stopping.wait(_POLL_SECONDS)
                    continue
                messages = self._consumer.consume(_BATCH, _POLL_SECONDS) if self._next else []
                started = time.thread_time()
                self._patient_until = time.monotonic() + _PATIENCE_SECONDS
                if messages:
                    self._handle(messages)
                self._show()
                spent = time.thread_time() - started
                self._stopping.wait(spent * (1 / _SHARE - 1) if self._next else _POLL_SECONDS)
        except Stopped:
            logger.warning("stopped while Kafka did not acknowledge; the last feedback will be read again")
        finally:
            self._consumer.close()

    def _follow(self) -> bool:
        """Read the partitions that the lane holds now; False if Kafka cannot say where to begin."""
        live = self._lane.live
        if live == self._next.keys():
            return True
        begin = {partition: self._next[partition] for partition in live & self._next.keys()}
        missing = [TopicPartition(EMOTION_FEEDBACK.name, partition) for partition in sorted(live - self._next.keys())]
        try:
            places = self._consumer.committed(missing, timeout=_COMMITTED_TIMEOUT_SECONDS) if missing else []
        except KafkaException as error:
            self._warn("cannot tell how far feedback was read", error)
            return False
        for place in places:
            if place.error is not None:
                self._warn("cannot tell how far feedback was read", place.error)
                return False
            self._first_new[place.partition] = max(0, place.offset)
            begin[place.partition] = max(0, place.offset - _AGAIN_PER_PARTITION)
        self._next = begin
        self._consumer.assign(
            [
                TopicPartition(EMOTION_FEEDBACK.name, partition, offset or OFFSET_BEGINNING)
                for partition, offset in begin.items()
            ]
        )
        return True

    def _handle(self, messages: list[Message]) -> None:
        abandoned: set[int] = set()
        passed_over: set[int] = set()
        for message in messages:
            partition, offset = message.partition() or 0, message.offset() or 0
            if (unread := message.error()) is not None:
                self._warn("cannot read feedback", unread)
                if unread.code() == KafkaError._BAD_COMPRESSION and partition in self._next.keys() - abandoned:
                    passed_over.add(partition)
                continue
            if partition in abandoned | passed_over or partition not in self._next:
                continue
            received: Received = None
            try:
                received = read_headers(message)
                done = self._take(message, partition, is_again=offset < self._first_new[partition])
            except InvalidEventError as error:
                if offset >= self._first_new[partition]:
                    self._bury(message, received, error)
                done = True
            if done:
                self._next[partition] = offset + 1
            else:
                # The lane lost the partition meanwhile: whoever has it now reads this event.
                abandoned.add(partition)
        for partition in passed_over - abandoned:
            self._pass_over(partition)
        self._outbox.finish()
        self._commit()
        for partition in abandoned:
            # Which may be this one, before anybody looks: it begins again at what was committed, not behind what was
            # read and left.
            del self._next[partition]

    def _pass_over(self, partition: int) -> None:
        """Tell of a message that librdkafka does not unpack, and go on behind it: it would be asked for for ever."""
        offset = self._next[partition]
        if offset >= self._first_new[partition]:
            message = "expected feedback that can be unpacked, got more than the client takes: see the source"
            self._produce_letter(partition, offset, (None, None, None), message, Reason.EVENT_TOO_LARGE)
        self._next[partition] = offset + 1
        self._consumer.seek(TopicPartition(EMOTION_FEEDBACK.name, partition, offset + 1))

    def _take(self, message: Message, partition: int, *, is_again: bool) -> bool:
        """Take in one message; False if its partition is not ours any more."""
        value = cast(Any, message.value())
        event = decode_feedback_event(value, self._settings.max_event_bytes)
        found = self._lane.table.find(partition, event.track_id)
        while found is None and not is_again and self._may_still_come(event):
            self._stopping.wait(0.05)
            found = self._lane.table.find(partition, event.track_id)
        if self._stopping.is_set() or partition not in self._lane.live:
            return False
        if found is None:
            raise InvalidEventError(
                f"expected a track that was judged, found no record of {event.track_id!r} in partition {partition}",
                reason=Reason.UNMATCHED,
            )
        if not self._window.is_new(event.event_id):
            if not is_again:
                self._metrics.feedback_duplicates.inc()
            return True
        track, correction = found
        act = Act(track.shape.emotion, track.shape.playlist, event.kind)
        self._window.add(act)
        if is_again:
            return True
        self._metrics.feedback.labels(*act).inc()
        if event.kind == "label":
            self._correct(event, track, correction)
        return True

    def _may_still_come(self, event: FeedbackEvent) -> bool:
        is_fresh = datetime.now(UTC) - event.occurred_at < _FRESH
        return is_fresh and time.monotonic() < self._patient_until and not self._stopping.is_set()

    def _correct(self, event: FeedbackEvent, track: KnownTrack, before: Correction | None) -> None:
        said = correction_from(event, datetime.now(UTC))
        if before is not None and said.at < before.at:
            return
        record = correct(record_of(event.track_id, track, before), said)
        self._metrics.produce_attempts.labels(TRACK_EMOTIONS.name).inc()
        value, key = msgspec.json.encode(record), event.track_id.encode()
        self._outbox.produce(TRACK_EMOTIONS.name, value, key, track_emotion_headers(record))
        facts = {"track_id": event.track_id, "emotion": record.emotion, "model_emotion": record.model_emotion}
        logger.info("track corrected", extra={"facts": {**facts, "corrected_by": said.corrected_by}})

    def _bury(self, message: Message, received: Received, error: InvalidEventError) -> None:
        original = cast(Any, message.key()), cast(Any, message.value()), received
        place = message.partition() or 0, message.offset() or 0
        self._produce_letter(*place, original, str(error), error.reason)

    def _produce_letter(
        self,
        partition: int,
        offset: int,
        original: tuple[bytes | None, bytes | None, Received],
        message: str,
        reason: Reason,
    ) -> None:
        key, value, received = original
        letter = build_dead_letter(
            topic=EMOTION_FEEDBACK.name,
            partition=partition,
            offset=offset,
            key=key,
            value=value,
            headers=header_list(received),
            reason=reason,
            message=message,
            attempts=1,
            first_seen=datetime.now(UTC),
        )
        self._metrics.produce_attempts.labels(DEAD_LETTERS.name).inc()
        self._outbox.produce(DEAD_LETTERS.name, letter.value, letter.key, letter.headers)
        self._metrics.feedback_rejected.labels(reason).inc()
        if (shown := self._letters_shown.take()) is not None:
            facts = {"topic": EMOTION_FEEDBACK.name, "partition": partition, "offset": offset}
            facts |= {"reason": str(reason), "error": message}
            logger.warning("feedback dead-lettered", extra={"facts": facts | shown})

    def _commit(self) -> None:
        offsets = [
            TopicPartition(EMOTION_FEEDBACK.name, partition, offset)
            for partition, offset in self._next.items()
            if offset > self._first_new[partition]
        ]
        if not offsets:
            return
        # Not waited for: with Kafka away that could be long, and the loop must turn. Closing the consumer does wait.
        self._consumer.commit(offsets=offsets, asynchronous=True)

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        if error is not None:
            # The next commit says more; after a crash the batch is read again.
            self._warn("cannot commit feedback", error)

    def _show(self) -> None:
        now = time.monotonic()
        if now >= self._next_show:
            self._next_show = now + _SHOW_EVERY_SECONDS
            self._window.show(self._metrics)
            show_scores(self._lane.table.corrections(), self._metrics)

    def _warn(self, text: str, error: object) -> None:
        now = time.monotonic()
        if now - self._warned_at >= _REPEAT_ERROR_SECONDS:
            self._warned_at = now
            logger.warning(text, extra={"facts": {"topic": EMOTION_FEEDBACK.name, "error": str(error)}})
