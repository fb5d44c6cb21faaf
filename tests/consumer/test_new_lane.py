"""The new lane on a bench: every event one outcome, acknowledged in order and after it."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from consumer.analyst import AnalysisRequest
from consumer.corrections import Correction
from consumer.dead_letter import DeadLetterLimit
from consumer.drift_watch import FEATURES, unpack_features
from consumer.errors import (
    AnalysisTimeoutError,
    AudioNotFoundError,
    AudioRejectedError,
    AudioStoreUnavailableError,
    BrokerError,
    FatalError,
    Reason,
)
from consumer.forwarding import PURPOSE, REFRESH, forwarded_headers
from consumer.metrics import Metrics
from consumer.model_watch import ModelWatch
from consumer.new_lane import Incoming, NewLane
from consumer.outbox import Outgoing
from consumer.pipeline import Analysis
from consumer.recent_tracks import KeptRecord
from consumer.settings import Settings
from consumer.timing import Timing
from consumer.topics import DEAD_LETTERS, EMOTION_EVENTS, TRACK_EMOTIONS
from consumer.tracing import OFF, Tracing
from features.schema import FEATURE_NAMES
from model.emotions import EMOTIONS, Emotion
from model.judgement import FragmentJudgement, Judgement
from tests.consumer.records import SHA, track_emotion_json, track_event_json


class FakeModel:
    feature_version = "f-1"
    deciles: ClassVar[dict[str, tuple[float, ...]]] = {}
    trained_at = datetime(2026, 1, 1, tzinfo=UTC)

    def __init__(self, version: str) -> None:
        self.version = version


class FakeModels:
    """A registry whose champion can be exchanged."""

    def __init__(self) -> None:
        self.version = "m-1"

    def current(self, name: str) -> str | None:
        return self.version if name == "champion" else None

    def load(self, name: str) -> FakeModel:
        return FakeModel(self.version)


class FakePool:
    """Answers as told: by ``audio_uri``, after ``released`` where the test holds an analysis back."""

    def __init__(self) -> None:
        self.requests: list[AnalysisRequest] = []
        self.hurried: list[str] = []
        self.failures: dict[str, list[Exception]] = {}
        self.held: dict[str, asyncio.Event] = {}

    def hold(self, uri: str) -> asyncio.Event:
        self.held[uri] = asyncio.Event()
        return self.held[uri]

    def hurry(self, requests: Iterable[AnalysisRequest]) -> None:
        self.hurried = [request.audio_uri for request in requests]

    async def run(self, request: AnalysisRequest) -> Analysis:
        self.requests.append(request)
        if request.audio_uri in self.held:
            await self.held[request.audio_uri].wait()
        if failures := self.failures.get(request.audio_uri):
            raise failures.pop(0) if len(failures) > 1 else failures[0]
        # Another window, another judgement: what was shared shows in the numbers.
        confidence = round(0.5 + (request.position_seconds or 0.0) / 1000, 6)
        rest = round((1 - confidence) / 3, 6)
        probabilities = dict.fromkeys(EMOTIONS, rest) | {Emotion.SAD: confidence}
        judgement = Judgement(
            emotion=Emotion.SAD,
            confidence=confidence,
            probabilities=probabilities,
            prediction_set=(Emotion.SAD,),
            valence=-0.5,
            arousal=-0.5,
            decisions={"playlist": "apply", "therapy": "withhold", "catalogue": "suggest"},
            fragments=(FragmentJudgement(0.0, Emotion.SAD, confidence),),
            out_of_domain=False,
        )
        return Analysis(
            judgement=judgement,
            model_version=request.model_version,
            feature_version="f-1",
            audio_sha256=SHA,
            audio_bytes=1000,
            features=np.zeros((1, 50)),
            timings=(Timing("fetch", 0, 100_000_000),),
        )


class FakeOutbox:
    """Keeps what is produced; holds acknowledgements back when told to."""

    def __init__(self) -> None:
        self.messages: list[Outgoing] = []
        self.acknowledged = asyncio.Event()
        self.acknowledged.set()
        self.error: Exception | None = None

    async def deliver(self, messages: Sequence[Outgoing]) -> None:
        await self.acknowledged.wait()
        if self.error is not None:
            raise self.error
        self.messages += messages

    def values(self, topic: str) -> list[dict[str, Any]]:
        return [json.loads(message.value or b"null") for message in self.messages if message.topic == topic]

    def letters(self) -> list[dict[str, str]]:
        return [
            {name: (value or b"").decode() for name, value in message.headers}
            for message in self.messages
            if message.topic == DEAD_LETTERS.name
        ]


class Bench:
    """A lane on the bench, open, with partition 0 assigned."""

    def __init__(self, tracing: Tracing = OFF, **settings: Any) -> None:
        self.pool, self.outbox, self.models = FakePool(), FakeOutbox(), FakeModels()
        self.metrics = Metrics(CollectorRegistry())
        self.watch = ModelWatch(self.models, shadow=False, metrics=self.metrics)
        self.acknowledged: list[int] = []
        self.crashes: list[BaseException] = []
        chosen = {"retry_backoff_seconds": 0.0, "max_in_flight": 8} | settings
        self.settings = Settings(**chosen)
        self.lane = NewLane(
            self.settings,
            pool=self.pool,
            outbox=self.outbox,
            models=self.watch,
            metrics=self.metrics,
            limit=DeadLetterLimit(self.settings.dead_letter_limit),
            crash=self.crashes.append,
            tracing=tracing,
        )
        self.lane.open([], {})

    def message(
        self, offset: int, value: bytes | None, headers: Any = (), partition: int = 0, follows: int | None = None
    ) -> Incoming:
        return Incoming(
            partition=partition,
            offset=offset,
            follows=offset if follows is None else follows,
            key=b"t-1",
            value=value,
            headers=list(headers),
            acknowledge=lambda: self.acknowledged.append(offset),
        )

    async def accept(self, offset: int, value: bytes | None, headers: Any = (), **place: Any) -> None:
        await self.lane.accept(self.message(offset, value, headers, **place), lambda: True)

    async def settle(self) -> None:
        """Let every task that can go on go on."""
        for _ in range(50):
            await asyncio.sleep(0)

    def value(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


def on_bench(scenario: Callable[[Bench], Awaitable[None]], **settings: Any) -> None:
    async def main() -> None:
        bench = Bench(**settings)
        try:
            await asyncio.wait_for(scenario(bench), 20)
        finally:
            await bench.lane.stop()

    asyncio.run(main())


def test_play_writes_the_record_then_the_event_then_acknowledges() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.accept(0, track_event_json("e-1", position_seconds=40.0))
        await bench.settle()
        assert [message.topic for message in bench.outbox.messages] == [TRACK_EMOTIONS.name, EMOTION_EVENTS.name]
        (event,) = bench.outbox.values(EMOTION_EVENTS.name)
        (record,) = bench.outbox.values(TRACK_EMOTIONS.name)
        assert event["source_event_id"] == "e-1"
        assert event["schema_version"] == record["schema_version"] == 1
        assert event["known"] is False
        assert event["late"] is False
        assert event["probabilities"] == record["probabilities"]
        assert bench.pool.requests[0].position_seconds == 40.0
        assert not bench.pool.requests[0].whole_track
        assert bench.acknowledged == [0]
        headers = dict(bench.outbox.messages[1].headers)
        assert headers["ce_id"] == event["event_id"].encode()
        assert headers["ce_specversion"] == b"1.0"

    on_bench(scenario)


def test_upload_hears_the_whole_track() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.accept(0, track_event_json(event_type="track_uploaded"))
        await bench.settle()
        assert bench.pool.requests[0].whole_track

    on_bench(scenario)


def test_nothing_is_acknowledged_before_its_produce_is() -> None:
    async def scenario(bench: Bench) -> None:
        bench.outbox.acknowledged.clear()
        await bench.accept(0, track_event_json())
        await bench.accept(1, b"not json")
        await bench.settle()
        assert bench.acknowledged == []
        bench.outbox.acknowledged.set()
        await bench.settle()
        assert bench.acknowledged == [0, 1]

    on_bench(scenario)


def test_acknowledgements_wait_for_the_slow_event_in_front() -> None:
    async def scenario(bench: Bench) -> None:
        release = bench.pool.hold("slow")
        await bench.accept(0, track_event_json("e-0", "t-slow", audio_uri="slow"))
        await bench.accept(1, track_event_json("e-1", "t-fast"))
        await bench.accept(2, b"not json")
        await bench.settle()
        assert len(bench.outbox.values(EMOTION_EVENTS.name)) == 1, "the fast track does not wait for the slow one"
        assert bench.acknowledged == []
        release.set()
        await bench.settle()
        assert bench.acknowledged == [0, 1, 2]

    on_bench(scenario)


def test_burst_on_one_new_track_is_one_analysis_and_an_answer_each() -> None:
    async def scenario(bench: Bench) -> None:
        for offset in range(1000):
            await bench.accept(offset, track_event_json(f"e-{offset}", position_seconds=float(offset)))
        await bench.settle()
        events = bench.outbox.values(EMOTION_EVENTS.name)
        assert len(bench.pool.requests) == 1
        assert [event["source_event_id"] for event in events] == [f"e-{offset}" for offset in range(1000)]
        assert len({event["event_id"] for event in events}) == 1000
        assert len({event["confidence"] for event in events}) == 1
        assert bench.acknowledged == list(range(1000))

    on_bench(scenario)


def test_plays_behind_an_upload_share_its_result() -> None:
    async def scenario(bench: Bench) -> None:
        release = bench.pool.hold("file:///music/t-1.flac")
        await bench.accept(0, track_event_json("upload", event_type="track_uploaded"))
        await bench.accept(1, track_event_json("play", position_seconds=90.0))
        release.set()
        await bench.settle()
        assert len(bench.pool.requests) == 1
        assert bench.acknowledged == [0, 1]

    on_bench(scenario)


def test_upload_behind_a_play_is_heard_itself() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.accept(0, track_event_json("play"))
        await bench.accept(1, track_event_json("upload", event_type="track_uploaded"))
        await bench.settle()
        assert [request.whole_track for request in bench.pool.requests] == [False, True]
        assert len(bench.outbox.values(TRACK_EMOTIONS.name)) == 2

    on_bench(scenario)


def test_play_after_a_restart_gets_the_judgement_of_before() -> None:
    async def scenario(bench: Bench) -> None:
        bench.lane.open(
            [KeptRecord("t-1", track_emotion_json(confidence=0.654321)), KeptRecord("t-2", b"nonsense")], {}
        )
        await bench.accept(0, track_event_json(position_seconds=90.0))
        await bench.settle()
        assert bench.pool.requests == []
        assert bench.outbox.values(EMOTION_EVENTS.name)[0]["confidence"] == 0.654321
        assert bench.outbox.values(TRACK_EMOTIONS.name) == []

    on_bench(scenario)


def test_record_keeps_the_features_for_drift_after_a_restart() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.accept(0, track_event_json())
        await bench.settle()
        record = bench.outbox.messages[0]
        features = dict(record.headers)[FEATURES]
        assert unpack_features(features or b"") is not None
        kept = KeptRecord("t-1", record.value or b"", features or b"")
        bench.lane.open([kept] * 300, {})
        bench.lane.drift.show(dict.fromkeys(FEATURE_NAMES, tuple(range(9))))
        assert bench.value("emotion_feature_drift_psi", feature=FEATURE_NAMES[0]) > 1.0, "all in one bin"
        assert 0.0 < bench.value("emotion_prediction_drift_psi") < 0.01

    on_bench(scenario)


def test_new_champion_judges_what_the_old_one_had_judged() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.accept(0, track_event_json("e-0"))
        await bench.settle()
        bench.models.version = "m-2"
        bench.watch.look()
        await bench.accept(1, track_event_json("e-1"))
        await bench.settle()
        versions = [event["model_version"] for event in bench.outbox.values(EMOTION_EVENTS.name)]
        assert versions == ["m-1", "m-2"]
        assert bench.value("emotion_model_info", role="champion", version="m-2", feature_version="f-1") == 1

    on_bench(scenario)


def test_refresh_renews_the_record_and_says_nothing_of_the_play() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.accept(0, track_event_json(position_seconds=90.0), [(PURPOSE, REFRESH)])
        await bench.settle()
        assert bench.pool.requests[0].whole_track
        assert len(bench.outbox.values(TRACK_EMOTIONS.name)) == 1
        assert bench.outbox.values(EMOTION_EVENTS.name) == []
        assert bench.acknowledged == [0]

    on_bench(scenario)


def test_upload_of_a_corrected_track_is_heard_and_keeps_the_persons_word() -> None:
    async def scenario(bench: Bench) -> None:
        said = Correction("happy", "curator-7", datetime(2026, 6, 1, tzinfo=UTC))
        headers = forwarded_headers([], "track-events", 0, 0, refresh=False, correction=said)
        await bench.accept(0, track_event_json(event_type="track_uploaded"), headers)
        await bench.settle()
        (event,) = bench.outbox.values(EMOTION_EVENTS.name)
        (record,) = bench.outbox.values(TRACK_EMOTIONS.name)
        assert (event["emotion"], event["confidence"], record["emotion"]) == ("happy", 1.0, "happy")
        assert (record["corrected_by"], record["model_emotion"]) == ("curator-7", "sad")
        assert bench.value("emotion_predictions_total", emotion="sad") == 1

    on_bench(scenario)


def test_refresh_that_fails_is_no_dead_letter() -> None:
    async def scenario(bench: Bench) -> None:
        bench.pool.failures["gone"] = [AudioNotFoundError("nothing there")]
        await bench.accept(0, track_event_json(audio_uri="gone"), [(PURPOSE, REFRESH)])
        await bench.settle()
        assert bench.outbox.messages == []
        assert bench.acknowledged == [0]

    on_bench(scenario)


def test_permanent_error_is_a_dead_letter_at_once_with_its_reason() -> None:
    async def scenario(bench: Bench) -> None:
        bench.pool.failures["gone"] = [AudioNotFoundError("nothing there")]
        value = track_event_json(audio_uri="gone")
        await bench.accept(0, value, [("source.topic", b"track-events"), ("mine", b"kept")])
        await bench.settle()
        (letter,) = bench.outbox.letters()
        assert (letter["error.reason"], letter["attempts"]) == ("not_found", "1")
        assert (letter["source.topic"], letter["mine"]) == ("track-events", "kept")
        assert bench.outbox.messages[0].value == value
        assert len(bench.pool.requests) == 1
        assert bench.value("emotion_events_dead_lettered_total", lane="new", reason="not_found") == 1
        assert bench.acknowledged == [0]

    on_bench(scenario)


def test_retriable_error_that_passes_is_answered() -> None:
    async def scenario(bench: Bench) -> None:
        pool_run = bench.pool.run
        attempts = iter([AudioStoreUnavailableError("503"), None])

        async def run(request: AnalysisRequest) -> Analysis:
            if (error := next(attempts)) is not None:
                raise error
            return await pool_run(request)

        bench.pool.run = run  # type: ignore[method-assign]
        await bench.accept(0, track_event_json())
        await bench.settle()
        assert len(bench.outbox.values(EMOTION_EVENTS.name)) == 1
        assert bench.value("emotion_retries_total", reason="unavailable") == 1

    on_bench(scenario)


def test_retriable_error_is_a_dead_letter_after_the_last_attempt() -> None:
    async def scenario(bench: Bench) -> None:
        bench.pool.failures["slow"] = [AnalysisTimeoutError("15 s")]
        await bench.accept(0, track_event_json(audio_uri="slow"))
        await bench.settle()
        assert len(bench.pool.requests) == 3
        assert bench.outbox.letters()[0]["attempts"] == "3"
        assert bench.outbox.letters()[0]["error.reason"] == "timeout"

    on_bench(scenario, max_attempts=3)


def test_waits_between_attempts_double(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        if seconds:
            waits.append(seconds)
        await sleep(0)

    async def scenario(bench: Bench) -> None:
        monkeypatch.setattr(asyncio, "sleep", noted)
        bench.pool.failures["away"] = [AudioStoreUnavailableError("503")]
        await bench.accept(0, track_event_json(audio_uri="away"))
        await bench.settle()
        assert [letter["attempts"] for letter in bench.outbox.letters()] == ["4"]

    on_bench(scenario, max_attempts=4, retry_backoff_seconds=0.3)
    # None behind the last attempt: the dead letter need not wait.
    assert waits == [0.3, 0.6, 1.2]


def test_failure_is_shared_by_those_who_wait_for_the_same_audio() -> None:
    async def scenario(bench: Bench) -> None:
        release = bench.pool.hold("bad")
        bench.pool.failures["bad"] = [AudioRejectedError("noise")]
        for offset in range(5):
            await bench.accept(offset, track_event_json(f"e-{offset}", audio_uri="bad", position_seconds=offset))
        await bench.accept(5, track_event_json("e-5", audio_uri="good"))
        release.set()
        await bench.settle()
        assert len(bench.outbox.letters()) == 5
        assert len(bench.pool.requests) == 2
        assert len(bench.outbox.values(EMOTION_EVENTS.name)) == 1

    on_bench(scenario)


def test_silence_of_one_window_is_not_held_against_another() -> None:
    async def scenario(bench: Bench) -> None:
        release = bench.pool.hold("quiet")
        bench.pool.failures["quiet"] = [AudioRejectedError("zeros", reason=Reason.SILENT)]
        for offset, position in enumerate((1.0, 1.0, 2.0)):
            await bench.accept(offset, track_event_json(f"e-{offset}", audio_uri="quiet", position_seconds=position))
        release.set()
        await bench.settle()
        assert [request.position_seconds for request in bench.pool.requests] == [1.0, 2.0]
        assert len(bench.outbox.letters()) == 3

    on_bench(scenario)


def test_bad_messages_are_dead_letters_and_hold_nobody_up() -> None:
    async def scenario(bench: Bench) -> None:
        values = (None, b"", b"\xff", b"[]", track_event_json(event_type="paused"), b"x" * 70_000)
        for offset, value in enumerate((*values, track_event_json())):
            await bench.accept(offset, value)
        await bench.settle()
        reasons = [letter["error.reason"] for letter in bench.outbox.letters()]
        assert reasons == [
            "invalid_json",
            "invalid_json",
            "invalid_json",
            "schema",
            "unknown_event_type",
            "event_too_large",
        ]
        assert len(bench.outbox.values(EMOTION_EVENTS.name)) == 1
        assert bench.acknowledged == list(range(7))

    on_bench(scenario)


def test_late_event_is_answered_and_marked() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.accept(0, track_event_json(occurred_at=datetime.now(UTC) - timedelta(seconds=61)))
        await bench.settle()
        assert bench.outbox.values(EMOTION_EVENTS.name)[0]["late"] is True
        assert bench.value("emotion_events_late_total", lane="new") == 1

    on_bench(scenario)


def test_accept_waits_while_too_many_are_in_flight() -> None:
    async def scenario(bench: Bench) -> None:
        release = bench.pool.hold("slow")
        for offset in range(2):
            await bench.accept(offset, track_event_json(f"e-{offset}", f"t-{offset}", audio_uri="slow"))
        third = asyncio.ensure_future(bench.accept(2, track_event_json("e-2", "t-2")))
        await bench.settle()
        assert not third.done()
        assert bench.lane.in_flight == 2
        release.set()
        await third
        await bench.settle()
        assert bench.acknowledged == [0, 1, 2]

    on_bench(scenario, max_in_flight=2)


def test_revoked_events_get_no_outcome_and_no_acknowledgement() -> None:
    async def scenario(bench: Bench) -> None:
        release = bench.pool.hold("slow")
        await bench.accept(0, track_event_json("e-0", "t-0", audio_uri="slow"))
        await bench.accept(0, track_event_json("e-1", "t-1", audio_uri="slow"), partition=1)
        bench.lane.revoke([0])
        release.set()
        await bench.settle()
        assert [event["source_event_id"] for event in bench.outbox.values(EMOTION_EVENTS.name)] == ["e-1"]
        assert bench.acknowledged == [0]
        assert bench.lane.in_flight == 0

    on_bench(scenario)


def test_event_delivered_again_after_a_rebalance_joins_the_analysis_under_way() -> None:
    async def scenario(bench: Bench) -> None:
        release = bench.pool.hold("slow")
        await bench.accept(7, track_event_json("e-0", audio_uri="slow"))
        await bench.settle()
        bench.lane.revoke([0])
        await bench.accept(7, track_event_json("e-0", audio_uri="slow"))
        release.set()
        await bench.settle()
        assert len(bench.pool.requests) == 1
        assert len(bench.outbox.values(EMOTION_EVENTS.name)) == 1
        assert bench.acknowledged == [7]

    on_bench(scenario)


@pytest.mark.parametrize("kind", ["poison", "upload", "gone"])
def test_event_given_back_while_its_outcome_is_delivered_holds_nobody_up(kind: str) -> None:
    async def scenario(bench: Bench) -> None:
        bench.pool.failures["gone"] = [AudioRejectedError("gone", reason=Reason.NOT_FOUND)]
        event = {
            "upload": track_event_json("e-0", event_type="track_uploaded"),
            "gone": track_event_json("e-0", audio_uri="gone"),
        }.get(kind, b"poison")
        bench.outbox.acknowledged.clear()
        await bench.accept(7, event)
        await bench.settle()
        bench.lane.revoke([0])
        await bench.accept(7, event)
        bench.outbox.acknowledged.set()
        await bench.settle()
        await bench.accept(8, track_event_json("e-1"))
        await bench.settle()
        assert bench.acknowledged == [7, 8]
        assert bench.lane.in_flight == 0
        assert not bench.crashes

    on_bench(scenario)


def test_drain_finishes_what_stands_before_a_finished_event_and_abandons_the_rest() -> None:
    async def scenario(bench: Bench) -> None:
        first, last = bench.pool.hold("first"), bench.pool.hold("last")
        await bench.accept(0, track_event_json("e-0", "t-0", audio_uri="first"))
        await bench.accept(1, track_event_json("e-1", "t-1"))
        await bench.accept(2, track_event_json("e-2", "t-2", audio_uri="last"))
        await bench.settle()
        draining = asyncio.ensure_future(bench.lane.drain(10))
        last.set()
        await bench.settle()
        assert not draining.done(), "e-1 is answered: if e-0 were abandoned, e-1 would be answered again"
        assert bench.pool.hurried == ["first"], "it must not wait behind what is given up"
        first.set()
        assert await draining
        await bench.settle()
        answered = [event["source_event_id"] for event in bench.outbox.values(EMOTION_EVENTS.name)]
        assert sorted(answered) == ["e-0", "e-1"], "an answer to e-2 would gain nothing and open a gap elsewhere"
        assert bench.acknowledged == [0, 1]

    on_bench(scenario)


def test_drain_gives_up_at_its_timeout() -> None:
    async def scenario(bench: Bench) -> None:
        bench.pool.hold("stuck")
        await bench.accept(0, track_event_json("e-0", "t-0", audio_uri="stuck"))
        await bench.accept(1, track_event_json("e-1", "t-1"))
        await bench.settle()
        assert not await bench.lane.drain(0.05)
        assert bench.acknowledged == []

    on_bench(scenario)


def test_accept_while_partitions_move_waits_and_then_ignores_the_revoked() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.lane.drain(1)
        waiting = asyncio.ensure_future(bench.accept(0, track_event_json()))
        await bench.settle()
        assert not waiting.done()
        bench.lane.revoke([0])
        await waiting
        bench.lane.open([], {})
        await bench.settle()
        assert bench.outbox.messages == []

    on_bench(scenario)


def test_offset_read_again_is_ignored() -> None:
    async def scenario(bench: Bench) -> None:
        for offset in (0, 1, 0, 1, 2):
            await bench.accept(offset, track_event_json(f"e-{offset}"))
        await bench.settle()
        assert len(bench.outbox.values(EMOTION_EVENTS.name)) == 3
        assert bench.acknowledged == [0, 1, 2]

    on_bench(scenario)


def test_hole_in_the_offsets_stops_the_worker_before_anything_behind_it_is_acknowledged() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.accept(0, track_event_json("e-0"))
        await bench.accept(2, track_event_json("e-2"))
        await bench.settle()
        assert isinstance(bench.crashes[0], FatalError)
        assert 2 not in bench.acknowledged

    on_bench(scenario)


def test_hole_before_the_first_event_of_an_assignment_stops_the_worker() -> None:
    async def scenario(bench: Bench) -> None:
        bench.lane.open([], {0: 5})
        await bench.accept(6, track_event_json("e-6"))
        await bench.settle()
        assert isinstance(bench.crashes[0], FatalError)
        assert bench.acknowledged == []

    on_bench(scenario)


def test_event_before_the_last_commit_is_ignored() -> None:
    async def scenario(bench: Bench) -> None:
        bench.lane.open([], {0: 5})
        for offset in (4, 5):
            await bench.accept(offset, track_event_json(f"e-{offset}"))
        await bench.settle()
        assert bench.acknowledged == [5]
        assert bench.crashes == []

    on_bench(scenario)


def test_assignment_while_the_worker_stops_opens_nothing() -> None:
    async def scenario(bench: Bench) -> None:
        bench.lane.close()
        await bench.lane.drain(1)
        bench.lane.open([], {0: 0})
        waiting = asyncio.ensure_future(bench.accept(0, track_event_json()))
        await bench.settle()
        assert not waiting.done()
        assert bench.outbox.messages == []
        waiting.cancel()

    on_bench(scenario)


@pytest.mark.parametrize("transactions", [False, True])
def test_hole_that_holds_no_event_is_passed_whoever_wrote_its_markers(transactions: bool) -> None:
    async def scenario(bench: Bench) -> None:
        bench.lane.open([], {0: 5})
        await bench.accept(6, track_event_json("e-6"), follows=5)
        await bench.accept(9, track_event_json("e-9"), follows=7)
        await bench.settle()
        assert bench.crashes == []
        assert bench.acknowledged == [6, 9]
        await bench.accept(12, track_event_json("e-12"), follows=11)
        assert isinstance(bench.crashes[0], FatalError), "an event lay at 10"

    on_bench(scenario, transactions=transactions)


def test_broker_that_refuses_stops_the_worker_and_nothing_is_acknowledged() -> None:
    async def scenario(bench: Bench) -> None:
        bench.outbox.error = BrokerError("no")
        await bench.accept(0, track_event_json())
        await bench.settle()
        assert isinstance(bench.crashes[0], BrokerError)
        assert bench.acknowledged == []

    on_bench(scenario)


def test_pool_that_cannot_start_stops_the_worker() -> None:
    async def scenario(bench: Bench) -> None:
        bench.pool.failures["any"] = [FatalError("no processes")]
        await bench.accept(0, track_event_json(audio_uri="any"))
        await bench.settle()
        assert isinstance(bench.crashes[0], FatalError)
        assert bench.outbox.messages == []
        assert bench.acknowledged == []

    on_bench(scenario)


def test_failed_refreshes_make_no_letter_and_are_no_flood() -> None:
    async def scenario(bench: Bench) -> None:
        bench.pool.failures["gone"] = [AudioRejectedError("gone", reason=Reason.NOT_FOUND)]
        for offset in range(4):
            event = track_event_json(f"e-{offset}", f"t-{offset}", audio_uri="gone")
            await bench.accept(offset, event, [(PURPOSE, REFRESH)])
        await bench.settle()
        assert bench.outbox.letters() == []
        assert not bench.crashes
        assert bench.acknowledged == [0, 1, 2, 3]

    on_bench(scenario, dead_letter_limit=1)


def test_flood_of_dead_letters_stops_the_worker_when_told_to() -> None:
    async def scenario(bench: Bench) -> None:
        for offset in range(4):
            await bench.accept(offset, b"poison")
        await bench.settle()
        assert isinstance(bench.crashes[0], FatalError)
        assert len(bench.outbox.letters()) == 4
        assert bench.acknowledged == [0, 1, 2, 3]

    on_bench(scenario, dead_letter_limit=3)
