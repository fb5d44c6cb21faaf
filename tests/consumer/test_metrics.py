"""Metrics follow Prometheus' conventions, show zero from the start, and stay bounded."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.metrics_core import Metric

from consumer.metrics import LABEL_VALUES, SECONDS_BUCKETS, Ages, Metrics

OPEN_LABELS = {"partition", "role", "version", "feature_version"}
UNITS = ("_seconds", "_bytes", "_ratio", "_info", "_psi", "_ks", "_size")
# Gauges and counters of things: their unit is the thing.
THINGS = (
    *("_events", "_progress", "_paused", "_assigned", "_tracks", "_partitions", "_processes", "_labels"),
    *("_consumed", "_emitted", "_forwarded"),
)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Metrics:
    return Metrics(registry)


def families(registry: CollectorRegistry) -> Iterator[Metric]:
    yield from registry.collect()


def test_every_metric_has_prefix_help_and_convention(metrics: Metrics, registry: CollectorRegistry) -> None:
    for family in families(registry):
        assert family.name.startswith("emotion_")
        assert re.fullmatch(r"[a-z0-9_]+", family.name)
        assert family.documentation.endswith(".")
        assert not family.name.endswith("_total")  # the client adds it to counters only
        if family.type == "histogram":
            assert family.name.endswith(("_seconds", "_ratio", "_size"))
        if family.type == "gauge":
            assert family.name.endswith((*UNITS, *THINGS)), family.name


def test_labelled_counters_and_histograms_show_zero_from_the_start(
    metrics: Metrics, registry: CollectorRegistry
) -> None:
    for family in families(registry):
        if family.type in ("counter", "histogram"):
            assert family.samples, family.name
    assert registry.get_sample_value("emotion_events_dead_lettered_total", {"lane": "new", "reason": "timeout"}) == 0
    assert registry.get_sample_value("emotion_stage_duration_seconds_count", {"stage": "extract"}) == 0
    assert registry.get_sample_value("emotion_events_in_progress", {"lane": "new"}) == 0


def test_unmeasured_gauges_claim_nothing(metrics: Metrics, registry: CollectorRegistry) -> None:
    accuracy = registry.get_sample_value("emotion_online_accuracy_ratio")
    assert accuracy is not None
    assert accuracy != accuracy  # NaN
    assert registry.get_sample_value("emotion_feedback_acceptance_ratio", {"emotion": "happy"}) is None


def test_labels_come_from_closed_sets_and_series_stay_bounded(metrics: Metrics, registry: CollectorRegistry) -> None:
    for family in families(registry):
        for sample in family.samples:
            for label, value in sample.labels.items():
                if label != "le":
                    assert value in LABEL_VALUES[label]
    assert len(generate_latest(registry).splitlines()) < 1000
    for metric in vars(metrics).values():
        assert {*getattr(metric, "_labelnames", ())} <= {*LABEL_VALUES, *OPEN_LABELS}


@pytest.mark.parametrize(
    ("failures", "attempts"),
    [
        ("emotion_stage_failures_total", "emotion_stage_attempts_total"),
        ("emotion_produce_failures_total", "emotion_produce_attempts_total"),
        ("emotion_analyses_timed_out_total", "emotion_analyses_started_total"),
        ("emotion_model_load_failures_total", "emotion_model_loads_total"),
        ("emotion_shadow_failures_total", "emotion_shadow_predictions_total"),
        ("emotion_events_dead_lettered_total", "emotion_events_consumed_total"),
        ("emotion_feedback_rejected_total", "emotion_feedback_total"),
    ],
)
def test_every_failure_counter_has_attempts_beside_it(
    metrics: Metrics, registry: CollectorRegistry, failures: str, attempts: str
) -> None:
    names = {sample.name for family in families(registry) for sample in family.samples}
    assert {failures, attempts} <= names


def test_two_registries_do_not_share_counts(metrics: Metrics) -> None:
    other = CollectorRegistry()
    Metrics(other)
    metrics.events_consumed.labels(lane="known").inc(3)
    assert other.get_sample_value("emotion_events_consumed_total", {"lane": "known"}) == 0


def test_latency_buckets_hold_the_objective(registry: CollectorRegistry) -> None:
    Metrics(registry).latency.labels(lane="known").observe(59.9)
    assert registry.get_sample_value("emotion_latency_seconds_bucket", {"lane": "known", "le": "60.0"}) == 1


@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param([0.0, 0.001, 0.0011, 7.0, 299.0, 300.0, 1e6, -0.5, -0.05, 0.25, 0.25], id="usual"),
        pytest.param([6e10] * 2000 + [-2.5e11] * 3, id="from the year 1, and from the year 9999"),
    ],
)
def test_ages_count_as_observing_one_by_one(seconds: list[float]) -> None:
    registry = CollectorRegistry()
    single, many = (Histogram(name, "h", buckets=SECONDS_BUCKETS, registry=registry) for name in ("single", "many"))
    later, at = 0.125, datetime(2026, 11, 28, tzinfo=UTC)
    for value in seconds:
        single.observe(max(0.0, value + later))
    ages = Ages(at, [timedelta(seconds=value) for value in seconds])
    ages.observe(many, at + timedelta(seconds=later))
    assert ages.latest == at.timestamp() - min(seconds)
    samples = [
        [
            (sample.name.partition("_")[2], sample.labels, sample.value)
            for sample in family.samples
            if "created" not in sample.name
        ]
        for histogram in (single, many)
        for family in histogram.collect()
    ]
    assert [sample[:2] for sample in samples[0]] == [sample[:2] for sample in samples[1]]
    assert [sample[2] for sample in samples[1]] == pytest.approx([sample[2] for sample in samples[0]], rel=1e-12)
