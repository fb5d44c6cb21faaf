"""Feedback as metrics: acceptance by emotion and decision, scores from corrections, all bounded."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from consumer.corrections import Correction
from consumer.errors import InvalidEventError, Reason
from consumer.events import EmotionLabel, FeedbackKind, decode_feedback_event
from consumer.feedback import Act, FeedbackWindow, show_scores
from consumer.metrics import LABEL_VALUES, Metrics
from model.emotions import EMOTIONS
from tests.consumer.records import feedback_json

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Metrics:
    return Metrics(registry)


def said(model: EmotionLabel, person: EmotionLabel, minute: int = 0) -> Correction:
    return Correction(person, "curator", NOON + timedelta(minutes=minute), model)


def acts(window: FeedbackWindow, count: int, kind: FeedbackKind, emotion: EmotionLabel = "sad") -> None:
    for _ in range(count):
        window.add(Act(emotion, "apply", kind))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, Reason.INVALID_JSON),
        (b"nonsense", Reason.INVALID_JSON),
        (b"{}", Reason.SCHEMA),
        (feedback_json(kind="hated"), Reason.SCHEMA),
        (feedback_json(kind="label", label="bored"), Reason.SCHEMA),
        (feedback_json(kind="label"), Reason.SCHEMA),
    ],
)
def test_decode_what_is_no_feedback_event_has_its_reason(value: bytes | None, reason: Reason) -> None:
    with pytest.raises(InvalidEventError) as caught:
        decode_feedback_event(value)
    assert caught.value.reason is reason


def test_acceptance_is_the_share_of_welcome_acts_by_emotion_and_decision() -> None:
    window = FeedbackWindow()
    for kind, count in (("accepted", 8), ("completed", 5), ("liked", 2), ("skipped", 5), ("label", 50)):
        acts(window, count, kind)  # type: ignore[arg-type]  # literals of a loop
    acts(window, 19, "skipped", "happy")
    assert window.acceptance() == {("sad", "apply"): 0.75}, "19 acts are too few to say anything"


def test_window_forgets_the_oldest_acts_and_ids() -> None:
    window = FeedbackWindow()
    acts(window, 5000, "skipped")
    acts(window, 5000, "accepted")
    assert window.acceptance() == {("sad", "apply"): 1.0}
    assert window.is_new("first")
    assert not window.is_new("first")
    for number in range(50_000):
        window.is_new(str(number))
    assert window.is_new("first")
    assert len(window._ids) == 50_000
    assert len(window._acts) == 5000


def test_scores_are_of_the_newest_corrections_and_have_intervals(registry: CollectorRegistry, metrics: Metrics) -> None:
    old = [said("sad", "angry", -1 - number) for number in range(500)]
    right = [said(emotion.value, emotion.value, number) for emotion in EMOTIONS for number in range(200)]
    show_scores([*old, *right, *(said("relax", "sad", 9) for _ in range(200))], metrics)

    assert registry.get_sample_value("emotion_online_labels") == 1000
    accuracy = registry.get_sample_value("emotion_online_accuracy_ratio")
    assert accuracy == 0.8
    low, high = (
        registry.get_sample_value("emotion_online_accuracy_bound_ratio", {"bound": bound}) for bound in ("low", "high")
    )
    assert low is not None
    assert high is not None
    assert low < accuracy < high
    assert registry.get_sample_value("emotion_online_f1_ratio", {"emotion": "angry"}) == 1.0
    assert registry.get_sample_value("emotion_online_macro_f1_ratio") == pytest.approx((2 + 4 / 3) / 4)
    assert registry.get_sample_value("emotion_online_confusion_labels", {"emotion": "relax", "label": "sad"}) == 200


def test_scores_without_corrections_claim_nothing(registry: CollectorRegistry, metrics: Metrics) -> None:
    show_scores([Correction("sad", "curator", NOON)], metrics)
    assert registry.get_sample_value("emotion_online_labels") == 0, "a word without the model's says nothing of it"
    assert math.isnan(registry.get_sample_value("emotion_online_accuracy_ratio") or 0.0)
    assert registry.get_sample_value("emotion_online_f1_ratio", {"emotion": "sad"}) is None


def test_series_stay_bounded(registry: CollectorRegistry, metrics: Metrics) -> None:
    window = FeedbackWindow()
    for emotion in EMOTIONS:
        for decision in LABEL_VALUES["decision"]:
            for _ in range(40):
                window.add(Act(emotion.value, decision, "liked"))  # type: ignore[arg-type]  # from the label's values
    window.show(metrics)
    show_scores([said(model.value, person.value) for model in EMOTIONS for person in EMOTIONS], metrics)
    for family in registry.collect():
        for sample in family.samples:
            assert all(value in LABEL_VALUES[name] for name, value in sample.labels.items() if name != "le")
    assert len(generate_latest(registry).splitlines()) < 1100
