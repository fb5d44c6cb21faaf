"""The known lane: consume, look the tracks up, produce, wait for Kafka, commit.

A confluent-kafka loop in a thread of its own, an order of magnitude faster than a Faust agent. It reads
``track-events`` and ``track-emotions`` in one group with the range assignor, so partition *p* of both is on the same
worker: the record of every track whose plays come here. Plays of known tracks are answered at once; uploads and plays
of tracks never judged are forwarded; what is no event becomes a dead letter.

Nothing is committed before everything a batch led to is acknowledged. The rebalance callbacks run inside ``poll`` and
``consume``, between the portions of a batch, and complete it: a partition is never given up with a batch half done.
"""

import logging
import math
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from consumer.answers import Moment, build_answer, track_emotion_headers
from consumer.client_log import client_logger
from consumer.dead_letter import DeadLetterLimit, build_dead_letter, header_bytes, header_list
from consumer.errors import BrokerError, ConfigurationError, EmotionServiceError, InvalidEventError, Reason
from consumer.events import Refusal, TrackEvent, read_track_event
from consumer.forwarding import forwarded_headers
from consumer.health import Health
from consumer.kafka_config import consumer_config
from consumer.log_config import DEAD_LETTERS_PER_SECOND
from consumer.log_sample import LogSample
from consumer.message_headers import Received, read_headers
from consumer.metrics import Ages, Metrics, forget_series
from consumer.model_watch import ModelWatch
from consumer.outbox import OVERTAKEN, BatchOutbox, Stopped
from consumer.refresh import RefreshBudget
from consumer.settings import Settings
from consumer.topics import DEAD_LETTERS, EMOTION_EVENTS, TRACK_ANALYSIS, TRACK_EMOTIONS, TRACK_EVENTS
from consumer.tracing import OFF, Trace, Tracing, with_context
from consumer.track_record import KnownTrack, Shape
from consumer.track_table import TrackTable

logger = logging.getLogger(__name__)

LANE: Final = "known"
RESTORED: Final = "known_lane_restored"
_LAG_EVERY_SECONDS: Final = 5.0
_FETCH_AHEAD_KILOBYTES: Final = 32 * 1024
_FETCH_BYTES: Final = 4 * 2**20
_FETCH_BACKOFF_MS: Final = 10
_REPEAT_ERROR_SECONDS: Final = 10.0
# How long a batch may wait for Kafka (an election, a slow disk) when told to stop: given up, it is answered again.
_STOP_PATIENCE_SECONDS: Final = 5.0
# Batches are small while the lane keeps up: hundreds a second, and a commit of each makes a busy coordinator busier.
_COMMIT_EVERY_SECONDS: Final = 0.1
_COMMIT_AGAIN_SECONDS: Final = 1.0
_ASIDE_TOGETHER: Final = 50
# Of a batch at a time: Kafka takes the answers to one portion while the next is read, and their memory is the same.
_PORTION_EVENTS: Final = 2000
# The group's coordinator restarts, moves, or is out of reach: the commit is as good as ever, only later.
_COORDINATOR_AWAY: Final = (
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.NETWORK_EXCEPTION,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError._WAIT_COORD,
    KafkaError._TRANSPORT,
    KafkaError._TIMED_OUT,
    KafkaError._ALL_BROKERS_DOWN,
)


class _Aside(msgspec.Struct, gc=False):
    """A message that is not answered: forwarded if it is an event, otherwise a dead letter."""

    message: Any
    received: Received
    # A refusal is not an error: its traceback would hold on to the whole batch until the garbage collector comes by.
    verdict: TrackEvent | Refusal
    trace: Trace | None
    is_answered: bool = False


@dataclass(slots=True)
class _Batch:
    """What a batch led to, counted in plain Python and told to Prometheus once."""

    first_seen: datetime
    started: float = field(default_factory=time.perf_counter)
    offsets: dict[int, int] = field(default_factory=dict)
    rewind: dict[int, int] = field(default_factory=dict)
    consumed: int = 0
    answers: defaultdict[Shape, int] = field(default_factory=lambda: defaultdict(int))
    # Of those that are not answered: only plays are.
    event_types: dict[str, int] = field(default_factory=dict)
    ages: list[Ages] = field(default_factory=list)
    late: int = 0
    forwarded: int = 0
    refreshed: int = 0
    aside: list[_Aside] = field(default_factory=list)
    dead_letters: dict[Reason, int] = field(default_factory=dict)
    traces: list[tuple[Trace, str]] = field(default_factory=list)
    # The first one that was answered, for the log.
    example: tuple[Message, TrackEvent, KnownTrack] | None = None

    @property
    def answered(self) -> int:
        """How many plays were answered."""
        return sum(self.answers.values())


class KnownLane:
    """One worker's known lane.

    Parameters
    ----------
    settings : Settings
        The worker's.
    metrics : Metrics
        Where it is counted.
    health : Health
        Told when the partitions are restored and that the loop turns.
    models : ModelWatch
        Which model's records are current.
    limit : DeadLetterLimit
        When to stop because of dead letters.
    transactional_id : str or None
        Unique among workers, under ``EMOTION_TRANSACTIONS``.
    tracing : Tracing, optional
        Off by default.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        metrics: Metrics,
        health: Health,
        models: ModelWatch,
        limit: DeadLetterLimit,
        transactional_id: str | None = None,
        tracing: Tracing = OFF,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._health = health
        self._heartbeat = health.heartbeat("known_lane", settings.stall_timeout_seconds)
        self._models = models
        self._limit = limit
        self._tracing = tracing
        self._deadline = timedelta(seconds=settings.deadline_seconds)
        self._table = TrackTable()
        self._table_next: dict[int, int] = {}
        self._restoring: dict[int, float] = {}
        # Partitions of track-events whose table is restored: only their events may be answered.
        self._live: set[int] = set()
        self._generation = 0
        # What was consumed and is not safe yet.
        self._batch: _Batch | None = None
        self._positions: dict[int, int] = {}
        self._newest: dict[int, datetime] = {}
        self._uncommitted: dict[int, int] = {}
        self._must_commit = False
        self._commit_not_before = 0.0
        self._refreshes = RefreshBudget(settings.max_reanalyses_per_second)
        self._stopping = threading.Event()
        self._next_lag = 0.0
        self._errors_logged: dict[int, float] = {}
        self._letters_shown = LogSample(DEAD_LETTERS_PER_SECOND)
        self._records_shown = LogSample(DEAD_LETTERS_PER_SECOND)
        self._batches_shown = LogSample(1)
        self._not_shown = 0
        self._failure: EmotionServiceError | Stopped | None = None
        self._consumer = Consumer(
            consumer_config(settings, settings.known_group_id)
            | {
                "partition.assignment.strategy": "range",
                # Says when a table is restored, and whether a partition holds more.
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                # What librdkafka fetches ahead: a second's worth, not 64 MB and more.
                "queued.max.messages.kbytes": _FETCH_AHEAD_KILOBYTES,
                # Of a partition at a time. A fetch of librdkafka's own 1 MB is five large messages.
                "fetch.message.max.bytes": _FETCH_BYTES,
                # Once that is full, librdkafka would fetch nothing for a second: large messages made the lane stall.
                "fetch.queue.backoff.ms": _FETCH_BACKOFF_MS,
                "on_commit": self._on_commit,
                "error_cb": self._on_error,
            },
            logger=client_logger(),
        )
        self._give_up_at = math.inf
        self._outbox = BatchOutbox(settings, transactional_id, self._kept_waiting, metrics)

    @property
    def table(self) -> TrackTable:
        """The known tracks; only what it says is safe from any thread may be called from another."""
        return self._table

    @property
    def live(self) -> frozenset[int]:
        """Partitions whose table is complete, from any thread.

        A partition leaves this set before its table is dropped: who finds no record and then finds the partition
        still here may rely on it.
        """
        return frozenset(self._live)

    def stop(self) -> None:
        """Ask the loop to end after the batch in hand; callable from any thread."""
        self._give_up_at = time.monotonic() + _STOP_PATIENCE_SECONDS
        self._stopping.set()

    def run(self) -> None:
        """Run until stopped.

        Raises
        ------
        FatalError
            If the lane cannot go on; nothing of the batch in hand is committed.
        """
        self._outbox.open()
        self._consumer.subscribe(
            [TRACK_EVENTS.name, TRACK_EMOTIONS.name],
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_lost,
        )
        try:
            while not self._stopping.is_set():
                self._heartbeat.beat()
                self._turn()
                if self._failure is not None:
                    raise self._failure
                self._commit_due()
                self._measure_lag()
            self._commit_now()
        except Stopped:
            logger.warning("stopped while Kafka did not acknowledge; nothing of the last batch was committed")
        finally:
            # Closing gives the partitions up: what failed must not be tried again then.
            self._batch = None
            # Leaves the group at once, so that others need not wait for the session to time out.
            self._consumer.close()

    def _turn(self) -> None:
        """Answer what there is, up to a batch, and wait until all of it is safe.

        Waiting for a batch to fill would hold every event up for the sake of the last one.
        """
        most = self._settings.known_batch_events
        portion = min(_PORTION_EVENTS, most)
        messages, taken = self._take(portion), 0
        while messages:
            self._answer(messages)
            taken += len(messages)
            if len(messages) < portion or taken + portion > most:
                break
            messages = self._consumer.consume(portion, 0)
        self._complete()

    def _take(self, count: int) -> list[Any]:
        """Wait for a first message, then take those that are here already, ``count`` in all."""
        first = self._consumer.poll(self._settings.poll_timeout_seconds)
        if first is None:
            return []
        # Taken after the poll, which may have called us with new partitions and then given their first message: an
        # end of a table, perhaps, that is said only once.
        generation = self._generation
        rest = self._consumer.consume(count - 1, 0)
        # A rebalance between the two: librdkafka has dropped what it held itself, the first message we held.
        return [first, *rest] if generation == self._generation else rest

    def _answer(self, messages: list[Any]) -> None:
        # Any: a message's partition and offset are None only where there is an error, which costs nothing to trust.
        moment = Moment.now(self._deadline, known=True)
        if self._batch is None:
            self._batch = _Batch(moment.at)
        batch = self._batch
        champion, rewind = self._models.champion, batch.rewind
        model_version, feature_version = champion.version, champion.feature_version
        produce, table, live, table_next = self._outbox.produce, self._table, self._live, self._table_next
        answers, offsets, at = batch.answers, batch.offsets, moment.at
        ages: list[timedelta] = []
        newest, max_bytes = self._newest, self._settings.max_event_bytes
        events_topic, emotion_events = TRACK_EVENTS.name, EMOTION_EVENTS.name
        begin_trace, is_tracing = self._tracing.begin, self._tracing.is_on
        # Tables in which a record of this portion was passed over: what else of them it holds will come again.
        passed_over: set[int] = set()
        for message in messages:
            if message.error() is not None:
                self._on_message_error(message, batch, passed_over)
                continue
            partition, offset, value = message.partition(), message.offset(), message.value()
            if message.topic() != events_topic:
                if partition in passed_over:
                    continue
                if not table.apply(partition, message.key(), value):
                    self._show_ignored(message)
                table_next[partition] = offset + 1
                continue
            if partition not in live or partition in rewind:
                # Fetched before the pause took hold: read again once the table is there, or not ours any more. Those
                # behind them wait too, though the table be restored by now: their offset would be committed first.
                if partition in self._restoring:
                    rewind.setdefault(partition, offset)
                continue
            offsets[partition] = offset + 1
            batch.consumed += 1
            try:
                received = read_headers(message)
            except InvalidEventError as error:
                self._set_aside(_Aside(message, None, Refusal(error.reason, str(error)), None), batch)
                continue
            # Off, and with nothing to carry on, a trace costs this one question.
            trace = begin_trace(events_topic, partition, offset, received) if received or is_tracing else None
            event = read_track_event(value, max_bytes)
            if isinstance(event, Refusal):
                self._set_aside(_Aside(message, received, event, trace), batch)
                continue
            if trace is not None:
                trace.stage("decode event")
            newest[partition] = event.occurred_at
            key = event.track_id.encode()
            track = table.get(partition, key) if event.event_type == "track_played" else None
            if track is None:
                batch.event_types[event.event_type] = batch.event_types.get(event.event_type, 0) + 1
                self._set_aside(_Aside(message, received, event, trace), batch)
                continue
            answer = build_answer(event, track, moment)
            headers = answer.headers
            if trace is not None:
                trace.stage("look up and answer")
                headers = headers + trace.outgoing(emotion_events)
                batch.traces.append((trace, "emitted"))
            produce(emotion_events, answer.value, key, headers)
            if batch.example is None:
                batch.example = message, event, track
            shape = track.shape
            answers[shape] += 1
            ages.append(at - event.occurred_at)
            if answer.is_late:
                batch.late += 1
            is_stale = shape.model_version != model_version or shape.feature_version != feature_version
            if is_stale and not shape.is_corrected and self._refreshes.take(event.track_id):
                self._set_aside(_Aside(message, received, event, trace, is_answered=True), batch)
        if ages:
            batch.ages.append(Ages(at, ages))
        self._send_aside(batch)

    def _complete(self) -> None:
        """End the batch in hand, if there is one: wait until all of it is safe, acknowledge it and count it."""
        batch, self._batch = self._batch, None
        if batch is None:
            return
        overruling = self._publish_overruling()
        self._count_attempts(batch)
        if self._finish(batch, must_commit=overruling > 0):
            if overruling:
                self._table.overruled(self._live)
                self._metrics.corrections_kept.inc(overruling)
            if batch.consumed:
                self._count(batch, time.perf_counter() - batch.started)
        self._show_table()

    def _show_answer(self, batch: _Batch, now: datetime) -> None:
        """Write one line a second, of one answer, and say for how many it stands."""
        if batch.example is None:
            return
        self._not_shown += batch.answered
        if self._batches_shown.take() is None:
            return
        message, event, track = batch.example
        age = now - event.occurred_at
        facts = _place(message) | {
            "event_id": event.event_id,
            "track_id": event.track_id,
            "emotion": track.shape.emotion,
            "late": age > self._deadline,
            "seconds": round(age.total_seconds(), 3),
            "answers": self._not_shown,
        }
        self._not_shown = 0
        logger.info("emotion emitted", extra={"facts": facts})

    def _show_ignored(self, message: Message) -> None:
        if (shown := self._records_shown.take()) is not None:
            logger.error("record ignored: not a TrackEmotion", extra={"facts": _place(message) | shown})

    def _publish_overruling(self) -> int:
        """Let a person's word stand where a newer analysis was written over it."""
        records = self._table.overruling(self._live)
        for record in records:
            value = msgspec.json.encode(record)
            self._outbox.produce(TRACK_EMOTIONS.name, value, record.track_id.encode(), track_emotion_headers(record))
            facts = {"track_id": record.track_id, "emotion": record.emotion, "model_emotion": record.model_emotion}
            logger.info("correction kept", extra={"facts": facts})
        if records:
            self._metrics.produce_attempts.labels(TRACK_EMOTIONS.name).inc(len(records))
        return len(records)

    def _finish(self, batch: _Batch, *, must_commit: bool) -> bool:
        """Wait until every outcome is safe, only then acknowledge their sources; False if nobody will see them."""
        self._outbox.finish()
        for trace, outcome in batch.traces:
            trace.end(outcome)
        offsets = [TopicPartition(TRACK_EVENTS.name, number, offset) for number, offset in batch.offsets.items()]
        if self._outbox.is_transactional and (offsets or must_commit):
            if not self._outbox.commit(offsets, self._consumer.consumer_group_metadata()):
                logger.warning("transaction aborted: the group has moved on; the events will be read again")
                return False
        elif offsets:
            self._uncommitted.update(batch.offsets)
            self._must_commit = True
            self._commit_due()
        self._positions.update(batch.offsets)
        for partition, offset in batch.rewind.items():
            self._consumer.seek(TopicPartition(TRACK_EVENTS.name, partition, offset))
        return True

    def _set_aside(self, aside: _Aside, batch: _Batch) -> None:
        batch.aside.append(aside)
        if len(batch.aside) == _ASIDE_TOGETHER:
            self._send_aside(batch)

    def _send_aside(self, batch: _Batch) -> None:
        """Forward the events of a batch that were set aside, and make dead letters of the rest.

        Some at a time: one by one between those that are answered, each costs twice as much.
        """
        for aside in batch.aside:
            if isinstance(aside.verdict, Refusal):
                self._bury(aside, aside.verdict, batch)
                continue
            try:
                self._forward(aside, aside.verdict)
            except InvalidEventError as error:
                # Where it is answered already, a play with fewer headers will have the track heard again.
                if not aside.is_answered:
                    self._bury(aside, Refusal(error.reason, str(error)), batch)
                continue
            if aside.is_answered:
                batch.refreshed += 1
                continue
            batch.forwarded += 1
            if aside.trace is not None:
                batch.traces.append((aside.trace, "forwarded"))
        batch.aside.clear()

    def _bury(self, aside: _Aside, refusal: Refusal, batch: _Batch) -> None:
        message, received, reason, explanation = aside.message, aside.received, refusal.reason, refusal.message
        if aside.trace is not None:
            received = with_context(header_list(received), aside.trace.outgoing(DEAD_LETTERS.name))
            batch.traces.append((aside.trace, "dead-lettered"))
        letter = build_dead_letter(
            topic=TRACK_EVENTS.name,
            partition=message.partition(),
            offset=message.offset(),
            key=_bytes(message.key()),
            value=_bytes(message.value()),
            headers=received,
            reason=reason,
            message=explanation,
            attempts=1,
            first_seen=batch.first_seen,
        )
        self._outbox.produce(DEAD_LETTERS.name, letter.value, letter.key, letter.headers)
        batch.dead_letters[reason] = batch.dead_letters.get(reason, 0) + 1
        if (shown := self._letters_shown.take()) is not None:
            facts = _place(message) | {"reason": str(reason), "error": explanation, "attempts": 1} | shown
            logger.warning("event dead-lettered", extra={"facts": facts})

    def _forward(self, aside: _Aside, event: TrackEvent) -> None:
        message, max_bytes = aside.message, self._settings.max_event_bytes
        carried = header_list(aside.received)
        # Ours are added to them: a message the broker just took could be one it then refuses, again and again.
        if (size := header_bytes(carried)) > max_bytes:
            raise InvalidEventError(
                f"expected at most {max_bytes} bytes of headers, got {size}", reason=Reason.EVENT_TOO_LARGE
            )
        headers = forwarded_headers(
            carried if aside.trace is None else with_context(carried, aside.trace.outgoing(TRACK_ANALYSIS.name)),
            TRACK_EVENTS.name,
            message.partition(),
            message.offset(),
            refresh=aside.is_answered,
            correction=self._table.correction(message.partition(), event.track_id),
        )
        # The track id, whatever key it came with: the new lane's order and sharing are by partition of the track.
        self._outbox.produce(TRACK_ANALYSIS.name, _bytes(message.value()), event.track_id.encode(), headers)

    def _count_attempts(self, batch: _Batch) -> None:
        attempts = self._metrics.produce_attempts
        attempts.labels(EMOTION_EVENTS.name).inc(batch.answered)
        attempts.labels(TRACK_ANALYSIS.name).inc(batch.forwarded + batch.refreshed)
        attempts.labels(DEAD_LETTERS.name).inc(sum(batch.dead_letters.values()))

    def _count(self, batch: _Batch, seconds: float) -> None:
        metrics, now = self._metrics, datetime.now(UTC)
        metrics.events_consumed.labels(LANE).inc(batch.consumed)
        metrics.events_forwarded.inc(batch.forwarded)
        metrics.analyses_stale.inc(batch.refreshed)
        metrics.events_late.labels(LANE).inc(batch.late)
        metrics.stage_duration.labels("produce").observe(seconds)
        metrics.event_types.labels("track_played").inc(batch.answered)
        for event_type, number in batch.event_types.items():
            metrics.event_types.labels(event_type).inc(number)
        for shape, number in batch.answers.items():
            metrics.events_emitted.labels(LANE, shape.emotion).inc(number)
            metrics.decisions.labels("playlist", shape.playlist).inc(number)
            metrics.decisions.labels("therapy", shape.therapy).inc(number)
            metrics.decisions.labels("catalogue", shape.catalogue).inc(number)
        for reason, number in batch.dead_letters.items():
            metrics.events_dead_lettered.labels(LANE, reason).inc(number)
        for ages in batch.ages:
            ages.observe(metrics.latency.labels(LANE), now)
        if batch.ages:
            metrics.last_event.labels(LANE).set(max(ages.latest for ages in batch.ages))
        self._show_answer(batch, now)
        metrics.last_progress.labels(LANE).set(now.timestamp())
        self._limit.add(sum(batch.dead_letters.values()))

    def _kept_waiting(self) -> bool:
        """Tell whether to give a batch up; asked twice a second while Kafka does not acknowledge it."""
        # Waiting is not being stuck: another worker would wait as well.
        self._heartbeat.beat()
        return time.monotonic() > self._give_up_at

    # Rebalances: called by librdkafka inside poll and consume, in this thread.

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._generation += 1
        events = {part.partition for part in partitions if part.topic == TRACK_EVENTS.name}
        tables = {part.partition for part in partitions if part.topic == TRACK_EMOTIONS.name}
        if events != tables:
            self._failure = ConfigurationError(
                f"{TRACK_EVENTS.name} and {TRACK_EMOTIONS.name} must have the same number of partitions; "
                f"got partitions {sorted(events)} of one and {sorted(tables)} of the other"
            )
            return
        for partition in self._table.partitions - tables:
            self._table.drop(partition)
            self._table_next.pop(partition, None)
        now = time.monotonic()
        self._restoring = dict.fromkeys(tables, now)
        self._live.clear()
        for part in partitions:
            if part.topic == TRACK_EMOTIONS.name:
                # A table kept through the rebalance only needs what was written meanwhile.
                part.offset = self._table_next.get(part.partition, OFFSET_BEGINNING)
                self._table.open(part.partition)
        consumer.assign(partitions)
        consumer.pause([TopicPartition(TRACK_EVENTS.name, partition) for partition in events])
        self._metrics.rebalances.labels(LANE).inc()
        self._metrics.partitions_assigned.labels(LANE).set(len(events))
        self._show_restoring()
        self._show_table()
        self._health.mark(RESTORED, holds=not self._restoring)
        logger.info("partitions assigned", extra={"facts": {"lane": LANE, "partitions": sorted(events)}})

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._complete_before_giving_up()
        # Commits still under way must arrive before the new owner asks.
        self._commit_now()
        self._forget(partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        logger.warning("partitions lost", extra={"facts": {"lane": LANE, "partitions": _numbers(partitions)}})
        # Kafka takes no commit of it any more, and aborts it under transactions: its events are read again.
        self._complete_before_giving_up()
        self._uncommitted.clear()
        self._forget(partitions)

    def _complete_before_giving_up(self) -> None:
        if self._batch is None:
            return
        # Whoever has the partitions next reads what was left to be read again.
        self._batch.rewind.clear()
        try:
            self._complete()
        except (EmotionServiceError, Stopped) as error:
            # Not through librdkafka, which called us: the loop raises it.
            self._failure = error

    def _forget(self, partitions: Iterable[TopicPartition]) -> None:
        self._generation += 1
        for partition in _numbers(partitions):
            self._live.discard(partition)
            self._restoring.pop(partition, None)
            self._positions.pop(partition, None)
            self._newest.pop(partition, None)
            for metric in (self._metrics.consumer_lag_events, self._metrics.consumer_lag_seconds):
                forget_series(metric, TRACK_EVENTS.name, str(partition))
        self._metrics.rebalances.labels(LANE).inc()
        self._metrics.partitions_assigned.labels(LANE).set(len(self._live))
        self._show_restoring()
        self._health.mark(RESTORED, holds=False)
        logger.info("partitions revoked", extra={"facts": {"lane": LANE, "partitions": _numbers(partitions)}})

    def _on_message_error(self, message: Message, batch: _Batch, passed_over: set[int]) -> None:
        error = message.error()
        if error is None:
            return
        if error.code() == KafkaError._PARTITION_EOF:
            if message.topic() == TRACK_EMOTIONS.name:
                self._restored(message.partition() or 0, message.offset() or 0)
            return
        self._on_error(error)
        if error.code() == KafkaError._BAD_COMPRESSION:
            if message.topic() == TRACK_EVENTS.name:
                self._bury_unreadable(message, error, batch)
            else:
                self._pass_over(message, passed_over)

    def _bury_unreadable(self, message: Message, error: KafkaError, batch: _Batch) -> None:
        """Make a dead letter of an event that the client cannot unpack, and go on behind it.

        librdkafka unpacks no more than 100 MB, and asks for the same event again for ever. It names where the batch of
        events begins that it cannot read: each of them is told of, one by one.
        """
        partition = message.partition() or 0
        if partition not in self._live or partition in batch.rewind:
            return
        position = batch.offsets.get(partition, self._positions.get(partition, 0))
        offset = max(position, message.offset() or 0)
        nothing = Message(topic=TRACK_EVENTS.name, partition=partition, offset=offset)
        explanation = f"expected an event that can be unpacked, got {error.name()}: see the source"
        self._set_aside(_Aside(nothing, None, Refusal(Reason.EVENT_TOO_LARGE, explanation), None), batch)
        batch.consumed += 1
        # Read from there when the batch is safe; until then nothing of this partition is.
        batch.offsets[partition] = batch.rewind[partition] = offset + 1

    def _pass_over(self, message: Message, passed_over: set[int]) -> None:
        """Go on behind a record that the client cannot unpack: the table would never be restored."""
        partition = message.partition() or 0
        if partition in passed_over or partition not in self._table.partitions:
            return
        passed_over.add(partition)
        self._show_ignored(message)
        self._table_next[partition] = max(self._table_next.get(partition, 0), message.offset() or 0) + 1
        self._consumer.seek(TopicPartition(TRACK_EMOTIONS.name, partition, self._table_next[partition]))

    def _restored(self, partition: int, end: int) -> None:
        started = self._restoring.pop(partition, None)
        self._table_next[partition] = max(end, self._table_next.get(partition, 0))
        if started is None:
            return
        self._live.add(partition)
        # Until one is read: how long the oldest waits is not known, but it waits from now on.
        self._newest.setdefault(partition, datetime.now(UTC))
        self._consumer.resume([TopicPartition(TRACK_EVENTS.name, partition)])
        self._metrics.restore_duration.observe(time.monotonic() - started)
        self._show_restoring()
        self._show_table()
        if not self._restoring:
            facts = {"partitions": len(self._live), "tracks": len(self._table)}
            logger.info("known lane restored", extra={"facts": facts})
            self._health.mark(RESTORED, holds=True)

    def _show_table(self) -> None:
        self._metrics.table_tracks.set(len(self._table))
        for decision, number in self._table.catalogue().items():
            self._metrics.table_catalogue.labels(decision).set(number)

    def _show_restoring(self) -> None:
        self._metrics.restoring.set(len(self._restoring))
        # The events of these wait; nothing else pauses this lane.
        self._metrics.partitions_paused.labels(LANE).set(len(self._restoring))

    # Commits and errors.

    def _commit_now(self) -> None:
        """Commit again, and wait: an asynchronous commit may still be under way."""
        if not self._uncommitted or self._outbox.is_transactional:
            return
        offsets = [TopicPartition(TRACK_EVENTS.name, number, offset) for number, offset in self._uncommitted.items()]
        self._uncommitted.clear()
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            self._on_commit(error.args[0], offsets)

    def _commit_due(self) -> None:
        """Commit what was answered, if it is time.

        Not waited for: what is lost with it is given again, with the same ids. Revocation and the end do wait.
        """
        now = time.monotonic()
        if not self._must_commit or now < self._commit_not_before:
            return
        self._must_commit = False
        self._commit_not_before = now + _COMMIT_EVERY_SECONDS
        offsets = [TopicPartition(TRACK_EVENTS.name, number, offset) for number, offset in self._uncommitted.items()]
        if offsets:
            self._consumer.commit(offsets=offsets, asynchronous=True)

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        if error is None:
            return
        if error.code() in _COORDINATOR_AWAY or error.retriable():
            self._must_commit = True
            self._commit_not_before = time.monotonic() + _COMMIT_AGAIN_SECONDS
            logger.warning("commit not taken, trying again", extra={"facts": {"error": str(error)}})
        elif error.code() in OVERTAKEN:
            logger.warning("commit refused; the events will be read again", extra={"facts": {"error": str(error)}})
        else:
            self._failure = BrokerError(f"cannot commit offsets of {TRACK_EVENTS.name}: {error}")

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._failure = BrokerError(f"Kafka client of the known lane failed: {error}")
            return
        now = time.monotonic()
        # Down brokers and missing topics are reported many times a second; librdkafka keeps trying.
        if now - self._errors_logged.get(error.code(), -_REPEAT_ERROR_SECONDS) >= _REPEAT_ERROR_SECONDS:
            self._errors_logged[error.code()] = now
            logger.error("Kafka error in the known lane", extra={"facts": {"error": str(error)}})

    def _measure_lag(self) -> None:
        now = time.monotonic()
        if now < self._next_lag:
            return
        self._next_lag = now + _LAG_EVERY_SECONDS
        behind = 0
        for partition in self._live:
            part = TopicPartition(TRACK_EVENTS.name, partition)
            end = self._consumer.get_watermark_offsets(part, cached=True)[1]
            position = self._consumer.position([part])[0].offset
            if end >= 0 and position >= 0:
                lag = max(0, end - position)
                age = (datetime.now(UTC) - self._newest[partition]).total_seconds() if lag else 0.0
                self._metrics.consumer_lag_events.labels(TRACK_EVENTS.name, str(partition)).set(lag)
                self._metrics.consumer_lag_seconds.labels(TRACK_EVENTS.name, str(partition)).set(max(0.0, age))
                behind += lag
        # A loop that turns while events wait has not moved: what it answers is counted by the batch.
        if not behind:
            self._metrics.last_progress.labels(LANE).set(time.time())


def _place(message: Message) -> dict[str, object]:
    return {"topic": message.topic(), "partition": message.partition(), "offset": message.offset()}


def _bytes(value: Any) -> bytes | None:
    return value if value is None or isinstance(value, bytes) else str(value).encode()


def _numbers(partitions: Iterable[TopicPartition]) -> list[int]:
    return sorted({part.partition for part in partitions})
