"""The new lane: an event of an unjudged track -> await its analysis -> outcome -> acknowledge, in order.

One task per track: plays that arrive while the track is heard wait in its queue and share the result, so order per
track is kept and a thousand plays of a new release are one analysis. Every error becomes an outcome here: tried again,
dead-lettered, or the end of the worker. An event is acknowledged when its outcome and those of all events before it in
its partition are safe in Kafka.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import msgspec
from msgspec import Struct

from consumer.acknowledgement import AcknowledgementOrder
from consumer.analyst import AnalysisRequest
from consumer.answers import Moment, build_answer, build_track_emotion, track_emotion_headers
from consumer.corrections import correct
from consumer.dead_letter import DeadLetterLimit, Headers, build_dead_letter
from consumer.drift_watch import FEATURES, DriftWatch, pack_features, unpack_features
from consumer.errors import EmotionServiceError, FatalError, InvalidEventError, Reason, RetriableError
from consumer.events import TrackEvent, decode_track_event
from consumer.forwarding import forwarded_correction, is_refresh
from consumer.log_config import DEAD_LETTERS_PER_SECOND
from consumer.log_sample import LogSample
from consumer.metrics import Metrics
from consumer.model_watch import ModelWatch
from consumer.outbox import Outgoing
from consumer.pipeline import Analysis
from consumer.recent_tracks import KeptRecord, RecentTracks
from consumer.settings import Settings
from consumer.topics import DEAD_LETTERS, EMOTION_EVENTS, TRACK_ANALYSIS, TRACK_EMOTIONS
from consumer.tracing import OFF, Trace, Tracing, with_context
from consumer.track_record import KnownTrack

logger = logging.getLogger(__name__)

LANE: Final = "new"


class AnalysisPool(Protocol):
    """Where tracks are heard; ``consumer.pool.Pool``."""

    async def run(self, request: AnalysisRequest) -> Analysis:
        """Hear one track; raises ``EmotionServiceError``."""

    def hurry(self, requests: Iterable[AnalysisRequest]) -> None:
        """Hear what some requests wait for before the others."""


class Outbox(Protocol):
    """Where outcomes go; ``consumer.outbox.AsyncOutbox``."""

    async def deliver(self, messages: Sequence[Outgoing]) -> None:
        """Produce and wait for the acknowledgements; raises ``BrokerError``."""


class Incoming(Struct, frozen=True):
    """A message of ``track-analysis``.

    Parameters
    ----------
    partition, offset : int
        Where it was read.
    follows : int
        The offset behind the event before it; only markers of transactions and the like are between them.
    key, value : bytes or None
        As received.
    headers : list of (str, bytes or None)
        As received.
    acknowledge : callable
        Acknowledges it.
    """

    partition: int
    offset: int
    follows: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    acknowledge: Callable[[], None]


class _Waiting(Struct, frozen=True, eq=False):
    """A valid event, and when it came."""

    source: Incoming
    event: TrackEvent
    is_refresh: bool
    first_seen: datetime
    trace: Trace

    @property
    def wants_whole_track(self) -> bool:
        return self.is_refresh or self.event.event_type == "track_uploaded"


class _Lost(Struct, frozen=True):
    """An event that ends as a dead letter, and what the log says of it."""

    source: Incoming
    first_seen: datetime
    trace: Trace
    facts: dict[str, object]


class _Judged(Struct, frozen=True):
    """The outcome of an analysis, or of remembering one (then without ``record``)."""

    track: KnownTrack
    record: Outgoing | None
    whole_track: bool


class _Failed(Struct, frozen=True):
    """The outcome of a track that cannot be judged."""

    error: EmotionServiceError
    attempts: int


class NewLane:
    """One worker's new lane; lives on the event loop.

    Parameters
    ----------
    settings : Settings
        The worker's.
    pool : AnalysisPool
        Where tracks are heard.
    outbox : Outbox
        Where outcomes go.
    models : ModelWatch
        Which model judges.
    metrics : Metrics
        Where it is counted.
    limit : DeadLetterLimit
        When to stop because of dead letters.
    crash : callable
        Told of what the worker cannot survive; nothing more is acknowledged after.
    tracing : Tracing, optional
        Off by default.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        pool: AnalysisPool,
        outbox: Outbox,
        models: ModelWatch,
        metrics: Metrics,
        limit: DeadLetterLimit,
        crash: Callable[[BaseException], None],
        tracing: Tracing = OFF,
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._outbox = outbox
        self._models = models
        self._metrics = metrics
        self._limit = limit
        self._crash = crash
        self._tracing = tracing
        self._letters_shown = LogSample(DEAD_LETTERS_PER_SECOND)
        self._deadline = timedelta(seconds=settings.deadline_seconds)
        self._order: AcknowledgementOrder[int, Incoming] = AcknowledgementOrder()
        self._queues: dict[str, deque[_Waiting]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._hearing: list[tuple[AnalysisRequest, Incoming]] = []
        self._recent = RecentTracks()
        self.drift = DriftWatch(metrics)
        self._changed = asyncio.Event()
        self._is_open = False
        self._is_draining = False
        self._is_closing = False
        self._is_broken = False
        self._delivering = 0
        self._epoch = 0
        self._next_offsets: dict[int, int] = {}
        self.accepted = 0
        self.finished = 0

    @property
    def in_flight(self) -> int:
        """Events taken and not yet acknowledged."""
        return len(self._order)

    @property
    def oldest_occurred_at(self) -> datetime | None:
        """When the oldest event without an answer occurred; None with none waiting."""
        return min((waiting.event.occurred_at for queue in self._queues.values() for waiting in queue), default=None)

    def in_flight_of(self, partition: int) -> int:
        """Count the events of one partition taken and not yet acknowledged.

        Parameters
        ----------
        partition : int
            Partition of ``track-analysis``.

        Returns
        -------
        int
            How many.
        """
        return self._order.count(partition)

    def open(self, known: Iterable[KeptRecord], first_offsets: Mapping[int, int]) -> None:
        """Begin to accept events of newly assigned partitions.

        Parameters
        ----------
        known : iterable of KeptRecord
            Newest records of these partitions.
        first_offsets : Mapping of int to int
            Which offset each partition must begin with.
        """
        if self._is_closing:
            return
        analyses = []
        for record in known:
            with contextlib.suppress(ValueError):
                track = self._recent.render(record.value)
                self._recent.add(record.track_id, track)
                if not track.shape.is_corrected:  # then it is not the model's word
                    analyses.append((unpack_features(record.features), track.shape.emotion))
        self.drift.refill(analyses)
        self._next_offsets = dict(first_offsets)
        self._is_open, self._is_draining = True, False
        self._notify()

    async def accept(self, message: Incoming, is_current: Callable[[], bool]) -> None:
        """Take an event in, waiting while too many are in flight or partitions are being moved.

        Parameters
        ----------
        message : Incoming
            What was read.
        is_current : callable
            Asked after waiting: whether its partition was not revoked since.
        """
        epoch = self._epoch
        while not self._is_open or len(self._order) >= self._settings.max_in_flight:
            if epoch != self._epoch or not is_current():
                return
            await self._wait_for_change()
        if epoch != self._epoch or not is_current() or not self._is_next(message):
            return
        self._order.begin(message.partition, message.offset, message)
        self.accepted += 1
        self._metrics.events_consumed.labels(LANE).inc()
        self._metrics.events_in_progress.labels(LANE).set(len(self._order))
        trace = self._tracing.begin(TRACK_ANALYSIS.name, message.partition, message.offset, message.headers)
        try:
            event = decode_track_event(message.value, self._settings.max_event_bytes)
        except InvalidEventError as error:
            self._start(self._bury_invalid(message, error, trace))
            return
        finally:
            trace.stage("decode event")
        self._metrics.event_types.labels(event.event_type).inc()
        queue = self._queues.get(event.track_id)
        if queue is None:
            queue = self._queues[event.track_id] = deque()
            self._start(self._serve_track(event.track_id, queue))
        elif queue:
            self._metrics.analyses_shared.inc()
        queue.append(_Waiting(message, event, is_refresh(message.headers), datetime.now(UTC), trace))

    def close(self) -> None:
        """Accept nothing any more, whatever partitions are still assigned."""
        self._is_closing, self._is_open = True, False

    async def drain(self, timeout_seconds: float) -> bool:
        """Stop accepting, and finish what would otherwise be answered twice.

        Events that wait behind nothing finished are abandoned: not acknowledged, they are delivered again. An event
        before one that is finished already must be finished too, or that one's outcome would be given again.

        Parameters
        ----------
        timeout_seconds : float
            Longest wait.

        Returns
        -------
        bool
            Whether everything finished is acknowledged.
        """
        self._is_open, self._is_draining = False, True
        self._notify()
        try:
            async with asyncio.timeout(timeout_seconds):
                while not self._is_broken and (self._delivering or self._order.has_gaps):
                    # Hundreds may wait to be heard, of which these few are waited for.
                    self._pool.hurry(request for request, source in self._hearing if self._closes_gap(source))
                    await self._wait_for_change()
        except TimeoutError:
            logger.warning(
                "drain timed out; some answers may be given again", extra={"facts": {"in_flight": len(self._order)}}
            )
            return False
        return not self._is_broken

    def revoke(self, partitions: Sequence[int]) -> None:
        """Forget the events of partitions that were taken away, without acknowledging them.

        Parameters
        ----------
        partitions : sequence of int
            Partitions of ``track-analysis``.
        """
        self._epoch += 1
        for partition in partitions:
            self._next_offsets.pop(partition, None)
        self._order.revoke(partitions)
        for queue in self._queues.values():
            for waiting in [waiting for waiting in queue if not self._is_ours(waiting.source)]:
                queue.remove(waiting)
        self._metrics.events_in_progress.labels(LANE).set(len(self._order))
        self._notify()

    async def stop(self) -> None:
        """Abandon what is in flight."""
        self._is_open = False
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _is_next(self, message: Incoming) -> bool:
        """Tell whether this is the event that follows the last one of its partition.

        One that came before is ignored: Faust reads again what was acknowledged but not committed yet. A hole is the
        end of the worker: acknowledging what comes behind would lose what Faust has skipped.
        """
        expected = self._next_offsets.get(message.partition, message.offset)
        if message.offset < expected:
            return False
        if message.follows > expected:
            place = f"{TRACK_ANALYSIS.name}[{message.partition}]"
            self._break(FatalError(f"expected offset {expected} of {place}, got {message.offset}: events were skipped"))
            return False
        self._next_offsets[message.partition] = message.offset + 1
        return True

    async def _serve_track(self, track_id: str, queue: deque[_Waiting]) -> None:
        try:
            while queue:
                first = queue[0]
                outcome = await self._judge(first)
                if outcome is not None:
                    await self._settle(outcome, self._take_sharing(queue, first, outcome))
                elif queue and queue[0] is first:
                    # Given back while its outcome was delivered, and delivered by now: nobody waits for it any more.
                    queue.popleft()
        finally:
            del self._queues[track_id]

    async def _judge(self, waiting: _Waiting) -> _Judged | _Failed | None:
        """Hear a track, again if that may help; None if its partition was revoked meanwhile."""
        event, settings = waiting.event, self._settings
        champion, challenger = self._models.champion, self._models.challenger
        remembered = self._recent.get(event.track_id, champion.version, champion.feature_version)
        if remembered is not None and event.event_type != "track_uploaded":
            return _Judged(remembered, None, whole_track=False)
        request = AnalysisRequest(
            audio_uri=event.audio_uri,
            position_seconds=event.position_seconds,
            whole_track=waiting.wants_whole_track,
            model_version=champion.version,
            challenger_version=challenger.version if challenger is not None else None,
        )
        attempt = 0
        while self._is_ours(waiting.source):
            attempt += 1
            try:
                analysis = await self._hear(waiting, request)
            except RetriableError as error:
                self._count_failure(error)
                if attempt >= settings.max_attempts:
                    return _Failed(error, attempt)
                self._metrics.retries.labels(error.reason).inc()
                facts = {**_facts(waiting), "attempt": attempt, "reason": str(error.reason), "error": str(error)}
                logger.warning("analysis failed, trying again", extra={"facts": facts})
                await asyncio.sleep(settings.retry_backoff_seconds * 2 ** (attempt - 1))
            except FatalError:
                raise
            except EmotionServiceError as error:
                self._count_failure(error)
                return _Failed(error, attempt)
            else:
                self._count_analysis(analysis, request)
                return self._judged(waiting, analysis)
        return None

    async def _hear(self, waiting: _Waiting, request: AnalysisRequest) -> Analysis:
        begun, heard = time.time_ns(), (request, waiting.source)
        self._hearing.append(heard)
        try:
            analysis = await self._pool.run(request)
        except EmotionServiceError as error:
            waiting.trace.analysed(begun, error.timings, error)
            raise
        finally:
            self._hearing.remove(heard)
        waiting.trace.analysed(begun, analysis.timings)
        return analysis

    def _judged(self, waiting: _Waiting, analysis: Analysis) -> _Judged:
        track_id = waiting.event.track_id
        record = build_track_emotion(
            track_id,
            analysis.judgement,
            model_version=analysis.model_version,
            feature_version=analysis.feature_version,
            audio_sha256=analysis.audio_sha256,
            classified_at=datetime.now(UTC),
        )
        if (correction := forwarded_correction(waiting.source.headers)) is not None:
            record = correct(record, correction)
        value = msgspec.json.encode(record)
        headers = [*track_emotion_headers(record), (FEATURES, pack_features(analysis.features))]
        message = Outgoing(TRACK_EMOTIONS.name, track_id.encode(), value, headers)
        return _Judged(self._recent.render(value), message, whole_track=waiting.wants_whole_track)

    def _take_sharing(self, queue: deque[_Waiting], first: _Waiting, outcome: _Judged | _Failed) -> list[_Waiting]:
        """Take from the queue the events that this outcome answers: the first, and those right behind it."""
        sharing = []
        if queue and queue[0] is first:
            sharing.append(queue.popleft())
        while queue and _shares(first, queue[0], outcome):
            sharing.append(queue.popleft())
        return sharing

    async def _settle(self, outcome: _Judged | _Failed, sharing: list[_Waiting]) -> None:
        """Produce the outcome of every event that shares it, then acknowledge."""
        while self._is_draining:
            # Only what closes a gap: any other outcome would open new ones that nobody has time to close.
            closing = [waiting for waiting in sharing if self._closes_gap(waiting.source)]
            if closing or not any(self._is_ours(waiting.source) for waiting in sharing):
                sharing = closing
                break
            await self._wait_for_change()
        sharing = [waiting for waiting in sharing if self._is_ours(waiting.source)]
        if not sharing or self._is_broken:
            return
        for waiting in sharing[1:]:
            waiting.trace.shares(sharing[0].trace)
        with self._delivery():
            if isinstance(outcome, _Failed):
                await self._bury(outcome, sharing)
            else:
                await self._answer(outcome, sharing)
            self._acknowledge([waiting.source for waiting in sharing])
        if isinstance(outcome, _Failed):
            # A refresh that failed makes no letter.
            self._limit.add(sum(not waiting.is_refresh for waiting in sharing))

    async def _answer(self, outcome: _Judged, sharing: list[_Waiting]) -> None:
        # The record first: whoever is answered may be played again at once, and a replay must find it.
        if outcome.record is not None:
            trace = sharing[0].trace
            context = trace.outgoing(TRACK_EMOTIONS.name)
            await self._deliver([outcome.record._replace(headers=[*outcome.record.headers, *context])])
            trace.delivered()
            self._recent.add(sharing[0].event.track_id, outcome.track)
        moment = Moment.now(self._deadline, known=False)
        answered = [waiting for waiting in sharing if not waiting.is_refresh]
        answers = [build_answer(waiting.event, outcome.track, moment) for waiting in answered]
        await self._deliver(
            [
                Outgoing(
                    EMOTION_EVENTS.name,
                    waiting.event.track_id.encode(),
                    answer.value,
                    answer.headers + waiting.trace.outgoing(EMOTION_EVENTS.name),
                )
                for waiting, answer in zip(answered, answers, strict=True)
            ]
        )
        for waiting in sharing:
            waiting.trace.end("refreshed" if waiting.is_refresh else "emitted")
        shape, metrics, now = outcome.track.shape, self._metrics, datetime.now(UTC)
        for waiting, answer in zip(answered, answers, strict=True):
            seconds = (now - waiting.event.occurred_at).total_seconds()
            metrics.events_emitted.labels(LANE, shape.emotion).inc()
            metrics.decisions.labels("playlist", shape.playlist).inc()
            metrics.decisions.labels("therapy", shape.therapy).inc()
            metrics.decisions.labels("catalogue", shape.catalogue).inc()
            metrics.latency.labels(LANE).observe(max(0.0, seconds))
            metrics.last_event.labels(LANE).set(waiting.event.occurred_at.timestamp())
            if answer.is_late:
                metrics.events_late.labels(LANE).inc()
            facts = {"emotion": shape.emotion, "late": answer.is_late, "seconds": round(seconds, 3)}
            logger.info("emotion emitted", extra={"facts": {**_facts(waiting), **facts}})

    async def _bury(self, outcome: _Failed, sharing: list[_Waiting]) -> None:
        error = outcome.error
        refreshed = [waiting for waiting in sharing if waiting.is_refresh]
        for waiting in refreshed:
            # Answered long ago, from the record that stays as it is.
            facts = {**_facts(waiting), "reason": str(error.reason), "error": str(error)}
            logger.warning("track could not be heard again", extra={"facts": facts})
            waiting.trace.end("not refreshed")
        await self._bury_messages(
            [
                _Lost(waiting.source, waiting.first_seen, waiting.trace, _facts(waiting))
                for waiting in sharing
                if not waiting.is_refresh
            ],
            error,
            outcome.attempts,
        )

    async def _bury_invalid(self, message: Incoming, error: InvalidEventError, trace: Trace) -> None:
        while self._is_draining and self._is_ours(message) and not self._closes_gap(message):
            await self._wait_for_change()
        if self._is_ours(message) and not self._is_broken:
            with self._delivery():
                lost = _Lost(message, datetime.now(UTC), trace, _place(message))
                await self._bury_messages([lost], error, attempts=1)
                self._acknowledge([message])
            self._limit.add(1)

    async def _bury_messages(self, events: list[_Lost], error: EmotionServiceError, attempts: int) -> None:
        letters = [
            build_dead_letter(
                topic=TRACK_ANALYSIS.name,
                partition=lost.source.partition,
                offset=lost.source.offset,
                key=lost.source.key,
                value=lost.source.value,
                headers=with_context(lost.source.headers, lost.trace.outgoing(DEAD_LETTERS.name)),
                reason=error.reason,
                message=str(error),
                attempts=attempts,
                first_seen=lost.first_seen,
            )
            for lost in events
        ]
        await self._deliver(
            [Outgoing(DEAD_LETTERS.name, letter.key, letter.value, letter.headers) for letter in letters]
        )
        for lost in events:
            lost.trace.end("dead-lettered")
            self._metrics.events_dead_lettered.labels(LANE, error.reason).inc()
            if (shown := self._letters_shown.take()) is not None:
                facts = lost.facts | {"reason": str(error.reason), "error": str(error), "attempts": attempts} | shown
                logger.warning("event dead-lettered", extra={"facts": facts})

    async def _deliver(self, messages: Sequence[Outgoing]) -> None:
        if messages:
            with self._metrics.stage_duration.labels("produce").time():
                await self._outbox.deliver(messages)

    def _acknowledge(self, messages: Iterable[Incoming]) -> None:
        for message in messages:
            for ready in self._order.finish(message.partition, message.offset):
                ready.acknowledge()
            self.finished += 1
        self._metrics.events_in_progress.labels(LANE).set(len(self._order))
        self._metrics.last_progress.labels(LANE).set_to_current_time()

    @contextlib.contextmanager
    def _delivery(self) -> Generator[None]:
        self._delivering += 1
        try:
            yield
        finally:
            self._delivering -= 1
            self._notify()

    def _is_ours(self, message: Incoming) -> bool:
        return self._order.is_in_flight(message.partition, message.offset)

    def _closes_gap(self, message: Incoming) -> bool:
        return self._order.must_finish(message.partition, message.offset)

    def _count_failure(self, error: EmotionServiceError) -> None:
        if error.stage is not None:
            self._metrics.stage_attempts.labels(error.stage).inc()
            self._metrics.stage_failures.labels(error.stage).inc()

    def _count_analysis(self, analysis: Analysis, request: AnalysisRequest) -> None:
        metrics, judgement = self._metrics, analysis.judgement
        for stage, seconds in analysis.durations.items():
            metrics.stage_attempts.labels(stage).inc()
            metrics.stage_duration.labels(stage).observe(seconds)
        metrics.audio_bytes.inc(analysis.audio_bytes)
        metrics.predictions.labels(judgement.emotion).inc()
        self.drift.add(unpack_features(pack_features(analysis.features)), judgement.emotion.value)
        metrics.confidence.labels(judgement.emotion).observe(judgement.confidence)
        metrics.prediction_set_size.observe(len(judgement.prediction_set))
        if judgement.out_of_domain:
            metrics.out_of_domain.inc()
        if request.challenger_version is not None:
            metrics.shadow_predictions.inc()
            if analysis.challenger is None:
                metrics.shadow_failures.inc()
            elif analysis.challenger != judgement.emotion:
                metrics.shadow_disagreements.labels(judgement.emotion, analysis.challenger).inc()

    def _start(self, coroutine: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._break(error)

    def _break(self, error: BaseException) -> None:
        self._is_broken, self._is_open = True, False
        self._notify()
        self._crash(error)

    def _notify(self) -> None:
        # Everybody who waits looks again; the next wait is for the next change.
        self._changed.set()
        self._changed = asyncio.Event()

    async def _wait_for_change(self) -> None:
        await self._changed.wait()


def _shares(first: _Waiting, other: _Waiting, outcome: _Judged | _Failed) -> bool:
    """Tell whether an event is answered by what came of another one of its track."""
    same_audio = first.event.audio_uri == other.event.audio_uri
    if isinstance(outcome, _Judged):
        is_upload = other.event.event_type == "track_uploaded"
        return not is_upload or (outcome.record is not None and outcome.whole_track and same_audio)
    # Silence is said of one window only; everything else of the file.
    same_window = first.event.position_seconds == other.event.position_seconds
    same_scope = first.wants_whole_track == other.wants_whole_track
    return same_audio and same_scope and (same_window or outcome.error.reason is not Reason.SILENT)


def _facts(waiting: _Waiting) -> dict[str, object]:
    return _place(waiting.source) | {"event_id": waiting.event.event_id, "track_id": waiting.event.track_id}


def _place(source: Incoming) -> dict[str, object]:
    return {"topic": TRACK_ANALYSIS.name, "partition": source.partition, "offset": source.offset}
