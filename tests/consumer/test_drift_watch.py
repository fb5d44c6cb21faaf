"""Drift of features and predictions: measured on enough tracks only, bounded, and the same again after a restart."""

import math

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from consumer.drift_watch import DriftWatch, pack_features, prediction_drift, unpack_features
from consumer.metrics import Metrics
from features.schema import FEATURE_NAMES
from model.emotions import EMOTIONS
from model.train import deciles

TRAINED = np.random.default_rng(0).normal(size=(400, len(FEATURE_NAMES)))
DECILES = deciles(TRAINED)


def rows(count: int, shift: float = 0.0) -> list[np.ndarray]:
    return list((np.random.default_rng(1).normal(size=(count, len(FEATURE_NAMES))) + shift).astype(np.float32))


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def watch(registry: CollectorRegistry) -> DriftWatch:
    return DriftWatch(Metrics(registry))


def psi(registry: CollectorRegistry, name: str = FEATURE_NAMES[0]) -> float | None:
    return registry.get_sample_value("emotion_feature_drift_psi", {"feature": name})


def fill(watch: DriftWatch, count: int, shift: float = 0.0) -> None:
    for index, row in enumerate(rows(count, shift)):
        watch.add(row, EMOTIONS[index % 4])


def test_features_round_trip_keeps_the_middle_fragment() -> None:
    X = np.arange(150, dtype=np.float64).reshape(3, 50) + 0.1
    restored = unpack_features(pack_features(X))
    assert restored is not None
    np.testing.assert_allclose(restored, X[1], rtol=1e-7)


@pytest.mark.parametrize("value", [b"", b"x" * 199, np.full(50, np.nan, dtype="<f4").tobytes()])
def test_features_of_another_form_are_none(value: bytes) -> None:
    assert unpack_features(value) is None


def test_few_tracks_claim_nothing(watch: DriftWatch, registry: CollectorRegistry) -> None:
    fill(watch, 99)
    watch.show(DECILES)
    assert psi(registry) is None
    assert math.isnan(registry.get_sample_value("emotion_prediction_drift_psi") or 0.0)


def test_same_music_is_stable_and_other_music_is_drift(watch: DriftWatch, registry: CollectorRegistry) -> None:
    fill(watch, 400)
    watch.show(DECILES)
    stable = psi(registry)
    assert stable is not None
    assert stable < 0.1
    fill(watch, 2000, shift=1.0)
    watch.show(DECILES)
    drifted = psi(registry)
    assert drifted is not None
    assert drifted > 0.25
    distance = registry.get_sample_value("emotion_feature_drift_ks", {"feature": FEATURE_NAMES[0]})
    assert distance is not None
    assert 0.3 < distance < 0.5, "a shift of one standard deviation is a distance of 0.38"


def test_window_and_series_are_bounded(watch: DriftWatch, registry: CollectorRegistry) -> None:
    fill(watch, 5000)
    watch.show(DECILES)
    assert len(watch._features) == len(watch._emotions) == 2000
    series = [sample for family in registry.collect() for sample in family.samples if "drift" in sample.name]
    assert len(series) == 2 * len(FEATURE_NAMES) + 1


def test_refill_replaces_what_other_partitions_had(watch: DriftWatch, registry: CollectorRegistry) -> None:
    fill(watch, 400)
    watch.show(DECILES)
    watch.refill([(row, "sad") for row in rows(20)])
    watch.show(DECILES)
    assert psi(registry) is None


def test_prediction_drift_compares_the_newest_with_those_before() -> None:
    steady = list(EMOTIONS) * 200
    assert prediction_drift(steady) < 0.01
    assert prediction_drift(steady + ["angry"] * 300) > 0.25
    assert math.isnan(prediction_drift(["sad"] * 199))
    assert prediction_drift(["sad"] * 200) == 0.0
