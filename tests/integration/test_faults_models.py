"""A newer model while workers are killed: known tracks answered at once, heard again in the background, at a limit."""

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from model.artifact import ESTIMATOR_FILE, MANIFEST_FILE, read_manifest, write_private
from model.emotions import EMOTIONS
from model.registry import SHIPPED_ROOT, Registry
from tests.integration.administration import read_topic
from tests.integration.auditor import Auditor
from tests.integration.conftest import Record, WorkerFactory
from tests.integration.faults import assert_repeated_only_in_flight, await_metric, judge
from tests.integration.traffic import Load, Platform, tracks

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.fault, pytest.mark.timeout(600)]

PER_SECOND = 2.0
BATCH = 200
# A killed worker's session, and the rebalance behind it.
REBALANCE_SECONDS = 10.0


@pytest.mark.parametrize("transactions", [False, True])
def test_newer_model_is_taken_on_in_the_background_while_workers_are_killed(
    bootstrap: str,
    platform: Platform,
    auditor: Auditor,
    new_worker: WorkerFactory,
    record: Record,
    tmp_path: Path,
    transactions: bool,
) -> None:
    registry = Registry(tmp_path / "models")
    old = registry.add(SHIPPED_ROOT / "champion", "champion").version
    catalogue = tracks(platform, 60)
    workers = [
        new_worker(
            bootstrap, f"worker-{n}", model_dir=registry.root, max_reanalyses_per_second=PER_SECOND,
            known_batch_events=BATCH, transactions=transactions,
        ).start()
        for n in (0, 1)
    ]  # fmt: skip
    for track in catalogue:
        platform.play(track)
    platform.flush()
    assert auditor.wait(platform.entries, 60).balanced

    new = registry.add(_cautious(registry.root / old, tmp_path / "newer"), "champion").version
    promoted = time.time()
    kills: list[float] = []
    with Load(platform, catalogue, per_second=80) as load:
        for worker in workers:
            await_metric(worker, "emotion_model_info", 1, {"role": "champion", "version": new})
        for number in range(4):
            time.sleep(3)
            kills.append(time.time())
            workers[number % 2].kill()
            workers[number % 2].start()
        over = time.time()
        deadline = time.monotonic() + 90
        while {record["model_version"] for record in _records(bootstrap).values()} != {new}:
            assert time.monotonic() < deadline, "some records never came under the newer model"
            time.sleep(1)
        settled = load.sent
        while load.sent < settled + 200:
            time.sleep(0.1)
    # Behind a transaction lies its marker, which no group acknowledges: one in each partition of track-analysis.
    verdict = auditor.settle(platform.entries, 120, but_for=4 if transactions else 0)

    asked = _refreshes(bootstrap)
    seconds = max(asked) - promoted
    answers = {
        version: [e for e in auditor.emotions if e.payload["model_version"] == version] for version in (old, new)
    }
    note = (
        f"{'transactions; ' if transactions else ''}4 kills; {len(answers[old])} answers by the older model, "
        f"{len(answers[new])} by the newer; {len(asked)} re-analyses of 60 tracks asked for in {seconds:.0f} s; "
        f"{len(verdict.rejudged)} events answered by both"
    )
    # From the first kill until the last partitions have moved back to who was started again.
    window = kills[0], over
    judge(
        verdict, record, note, window=window, recovery_seconds=REBALANCE_SECONDS, rejudged=0 if transactions else BATCH
    )
    # Known tracks are answered at once, whichever model knows them.
    for quantile in (0.5, 0.99):
        assert verdict.latency("known", quantile) < 1.0, verdict.line()
    assert_repeated_only_in_flight(verdict, kills)
    if transactions:
        copies = Counter(e.payload["event_id"] for e in auditor.emotions if e.lane == "known")
        assert max(copies.values()) == 1, f"answered twice under transactions: {copies.most_common(3)}"
    assert verdict.emotions == verdict.inputs
    # Every worker has a budget of its own, and after a kill a new one with a burst.
    assert len(asked) <= PER_SECOND * (2 * seconds + 6)
    assert len(answers[old]) > len(catalogue)
    assert {len(answer.payload["prediction_set"]) for answer in answers[new]} == {len(EMOTIONS)}
    assert max(len(answer.payload["prediction_set"]) for answer in answers[old]) < len(EMOTIONS)


def _cautious(artifact: Path, copy: Path) -> Path:
    """Copy a model under a version of its own, with sets so sure to hold the truth that they hold every emotion."""
    copy.mkdir()
    manifest = read_manifest(artifact)
    policy = msgspec.structs.replace(manifest.policy, coverage=0.999)
    write_private(copy / MANIFEST_FILE, msgspec.json.encode(msgspec.structs.replace(manifest, policy=policy).named()))
    write_private(copy / ESTIMATOR_FILE, (artifact / ESTIMATOR_FILE).read_bytes())
    return copy


def _records(bootstrap: str) -> dict[str, dict[str, Any]]:
    """Give the newest record of every track."""
    return {message.key().decode(): json.loads(message.value()) for message in read_topic(bootstrap, "track-emotions")}


def _refreshes(bootstrap: str) -> list[float]:
    """Give when each re-analysis was asked for."""
    return [
        message.timestamp()[1] / 1000
        for message in read_topic(bootstrap, "track-analysis")
        if any(value == b"refresh" for _, value in message.headers() or [])
    ]
