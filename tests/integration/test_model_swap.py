"""The model's whole life beside a running worker under load: shadowed, promoted, one refused, rolled back."""

import csv
import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import pytest

from features import COLUMNS
from model.artifact import ESTIMATOR_FILE, MANIFEST_FILE, read_manifest, write_private
from model.registry import SHIPPED_ROOT, Registry
from tests.integration.auditor import Auditor
from tests.integration.conftest import Record, WorkerFactory
from tests.integration.faults import await_metric, judge
from tests.integration.traffic import Load, Platform, tracks
from tests.integration.worker import WorkerProcess

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def test_model_is_shadowed_promoted_refused_and_rolled_back_under_load_without_losing_an_event(
    bootstrap: str, platform: Platform, auditor: Auditor, new_worker: WorkerFactory, record: Record, tmp_path: Path
) -> None:
    registry = Registry(tmp_path / "models")
    shipped = registry.add(SHIPPED_ROOT / "champion", "champion").version
    worker = new_worker(bootstrap, model_dir=registry.root, shadow="true", max_reanalyses_per_second=5).start()
    pid = worker.pid
    catalogue = tracks(platform, 8)
    with Load(platform, catalogue, per_second=80, new_share=0.02):
        _in_use(worker, "champion", shipped)
        await_metric(worker, "emotion_events_consumed_total", 1, {"lane": "known"})

        operate(registry, "adapt", "--catalogue", str(_unlabelled(tmp_path / "catalogue.csv")))
        adapted = registry.current("challenger")
        assert adapted is not None and adapted != shipped
        _in_use(worker, "challenger", adapted)
        await_metric(worker, "emotion_shadow_predictions_total", 5)

        registry.add(registry.root / adapted, "champion")
        _in_use(worker, "champion", adapted)
        # Every known track comes under the new model in the background.
        await_metric(worker, "emotion_analyses_stale_total", len(catalogue))

        registry.add(_tampered(registry.root / shipped, tmp_path / "tampered"), "champion")
        await_metric(worker, "emotion_model_load_failures_total", 1)
        _in_use(worker, "champion", adapted)

        operate(registry, "rollback")
        operate(registry, "rollback")
        assert registry.current("champion") == shipped
        _in_use(worker, "champion", shipped)
        before = worker.metric("emotion_analyses_started_total")
        await_metric(worker, "emotion_analyses_started_total", before + 5)
    verdict = auditor.settle(platform.entries, 60)
    answers = Counter(emotion.payload["model_version"] for emotion in auditor.emotions)
    judge(verdict, record, f"answers by model: {dict(answers)}")
    assert verdict.duplicated == 0, verdict.line()
    assert verdict.emotions == verdict.inputs
    assert answers.keys() == {shipped, adapted}
    assert worker.running and worker.pid == pid
    assert worker.metric("emotion_shadow_failures_total") == 0
    assert worker.metric("emotion_shadow_disagreements_total") <= worker.metric("emotion_shadow_predictions_total")


def operate(registry: Registry, *command: str) -> None:
    """Run ``emotion-stream model`` as an operator does, on another terminal."""
    subprocess.run(
        [sys.executable, "-m", "consumer", "model", *command, "--registry", str(registry.root)],
        check=True, capture_output=True,
    )  # fmt: skip


def _in_use(worker: WorkerProcess, role: str, version: str) -> None:
    await_metric(worker, "emotion_model_info", 1, {"role": role, "version": version}, timeout_seconds=30)


def _unlabelled(path: Path) -> Path:
    """Write features of 40 tracks that no one labelled: drawn between the deciles of the training table."""
    deciles = read_manifest(SHIPPED_ROOT / "champion").deciles
    rng = np.random.default_rng(3)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        names = [column.name for column in COLUMNS]
        writer.writerow(["file", *names])
        for number in range(40):
            writer.writerow([f"{number}.wav", *(rng.choice(deciles[name]) for name in names)])
    return path


def _tampered(artifact: Path, copy: Path) -> Path:
    """Copy an artifact under a version of its own, with one bit of its estimator changed after it was sealed."""
    copy.mkdir()
    forged = msgspec.structs.replace(read_manifest(artifact), created_at="2026-01-02T03:04:05+00:00").named()
    write_private(copy / MANIFEST_FILE, msgspec.json.encode(forged))
    estimator = bytearray((artifact / ESTIMATOR_FILE).read_bytes())
    estimator[len(estimator) // 2] ^= 1
    write_private(copy / ESTIMATOR_FILE, bytes(estimator))
    return copy
