"""The new lane's service: a lane that cannot get or open its partitions is seen, and never taken for an idle one."""

import asyncio
import pickle
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.errors import GroupAuthorizationFailedError
from faust.types import TP
from prometheus_client import CollectorRegistry

from consumer import services
from consumer.analyst import listening_from
from consumer.app import REBALANCE_TIMEOUT_SECONDS
from consumer.dead_letter import DeadLetterLimit
from consumer.errors import BrokerError
from consumer.health import Health
from consumer.metrics import Metrics
from consumer.services import NEW_LANE_ASSIGNED, POOL_WARM, ModelWatchService, NewLaneService
from consumer.settings import Settings
from consumer.tracing import OFF

PLACE = TP("track-analysis", 3)


class Bench:
    """A service that has joined its group and was given no partition yet; its clock is moved by hand."""

    def __init__(self, scratch: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
        self.now = 1000.0
        self.metrics = Metrics(CollectorRegistry())
        self.health = Health([POOL_WARM, NEW_LANE_ASSIGNED], clock=lambda: self.now)
        champion = SimpleNamespace(version="m-1", feature_version="f-1", deciles={})
        service = NewLaneService(
            Settings(**settings),
            models=cast(Any, SimpleNamespace(champion=champion, challenger=None)),
            metrics=self.metrics,
            health=self.health,
            limit=DeadLetterLimit(0),
            scratch=scratch,
            tracing=OFF,
        )
        self.service, self.consumer = cast(Any, service), cast(Any, service.app.consumer)
        self.consumer._thread.thread_loop.close()
        monkeypatch.setattr("consumer.services.time.monotonic", lambda: self.now)
        self.service._joining_since = self.now
        self.crashes: list[BaseException] = []
        self.consumer.check_coordination = self.coordinated
        self.coordination: Exception | None = None

        async def crash(reason: BaseException) -> None:
            self.crashes.append(reason)

        self.service.crash = crash

    async def coordinated(self) -> None:
        if self.coordination is not None:
            raise self.coordination

    async def measure_for(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.now += 1
            await self.service.measure()


def on_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scenario: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        await scenario(Bench(tmp_path, monkeypatch))

    asyncio.run(main())


def test_lane_that_is_given_no_partitions_is_stuck_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(bench: Bench) -> None:
        # A rebalance may take its time: every member drains first.
        await bench.measure_for(REBALANCE_TIMEOUT_SECONDS)
        assert bench.health.stuck == []
        await bench.measure_for(Settings().stall_timeout_seconds + 2)
        assert bench.health.stuck == ["new_lane"]

    on_bench(tmp_path, monkeypatch, scenario)


def test_lane_that_may_not_join_its_group_stops_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(bench: Bench) -> None:
        bench.coordination = GroupAuthorizationFailedError("emotion-stream")
        await bench.measure_for(1)
        assert isinstance(bench.crashes[0], BrokerError)
        assert "GroupAuthorizationFailed" in str(bench.crashes[0])

    on_bench(tmp_path, monkeypatch, scenario)


def test_lane_that_cannot_learn_what_was_judged_lately_stops_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(*_: object) -> None:
        raise TypeError("cannot unpack non-iterable NoneType object")

    monkeypatch.setattr(services, "read_tail", unreadable)

    async def scenario(bench: Bench) -> None:
        await bench.service.after_assigned({PLACE})
        await bench.service._warming
        assert [type(crash) for crash in bench.crashes] == [TypeError]
        assert bench.health.missing == [POOL_WARM, NEW_LANE_ASSIGNED]

    on_bench(tmp_path, monkeypatch, scenario)


def test_lag_of_a_partition_given_up_is_shown_no_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(bench: Bench) -> None:
        labels = {"topic": PLACE.topic, "partition": str(PLACE.partition)}
        for gauge in (bench.metrics.consumer_lag_events, bench.metrics.consumer_lag_seconds):
            gauge.labels(*labels.values()).set(45)
        await bench.service.before_revoked({PLACE})
        for name in ("emotion_consumer_lag_events", "emotion_consumer_lag_seconds"):
            assert bench.metrics.registry.get_sample_value(name, labels) is None

    on_bench(tmp_path, monkeypatch, scenario)


def test_processes_that_open_strangers_audio_are_told_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        secrets = {"sasl_password": "correct-horse", "ssl_key_password": "battery-staple"}
        bench = Bench(tmp_path, monkeypatch, security_protocol="SASL_PLAINTEXT", sasl_username="emotion", **secrets)
        plan = pickle.loads(bench.service._pool._build)  # noqa: S301  # our own, made a line ago
        assert plan.listening == listening_from(Settings())
        for secret in secrets.values():
            assert secret.encode() not in bench.service._pool._build

    asyncio.run(main())


def test_look_for_a_model_that_meets_another_call_leaves_no_thread_behind() -> None:
    # In half an hour of load it did: the look, every two seconds, met the drift's figures, every fifteen.
    async def main() -> None:
        watch = ModelWatchService(cast(Any, SimpleNamespace(look=lambda: time.sleep(0.05))))
        await asyncio.gather(watch.look(), asyncio.to_thread(time.sleep, 0.05))
        before = threading.active_count()
        for _ in range(3):
            calls = [watch.look(), watch.look(), asyncio.to_thread(time.sleep, 0.05)]
            await asyncio.gather(*calls)
        assert threading.active_count() == before
        await watch.on_shutdown()

    asyncio.run(main())
