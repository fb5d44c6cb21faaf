"""Every metric of the service, with what it means; base units, bounded labels, known label sets present from the start.

Labels come from closed sets (reasons, emotions, lanes, stages, kinds, the 50 features) or from the assignment
(topic and partition); track ids, addresses and messages belong in logs. Each failure counter has a counter of attempts
beside it, so that a ratio can be taken. Pass the registry in: tests make their own.
"""

import contextlib
import itertools
import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from consumer.errors import Reason
from consumer.topics import TOPICS
from features.schema import FEATURE_NAMES
from model.emotions import EMOTIONS

# Every value a label may take, but for those that come from the assignment and the model in use.
LABEL_VALUES: Final[dict[str, tuple[str, ...]]] = {
    "lane": ("known", "new"),
    "stage": ("fetch", "decode", "extract", "predict", "produce"),
    "reason": tuple(Reason),
    "emotion": tuple(EMOTIONS),
    "champion": tuple(EMOTIONS),
    "challenger": tuple(EMOTIONS),
    "event_type": ("track_played", "track_uploaded"),
    "label": tuple(EMOTIONS),
    "bound": ("low", "high"),
    "use": ("playlist", "therapy", "catalogue"),
    "decision": ("apply", "suggest", "withhold"),
    "kind": ("accepted", "skipped", "completed", "liked", "label"),
    "cause": ("timeout", "crash"),
    "topic": tuple(topic.name for topic in TOPICS),
    "feature": FEATURE_NAMES,
}

# A known track takes milliseconds, a new one about a second, the objective is a minute: bounds from 1 ms to beyond it.
SECONDS_BUCKETS: Final = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
    20,
    30,
    45,
    60,
    120,
    300,
)
RATIO_BUCKETS: Final = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.99, 1.0)


class Metrics:
    """The service's metrics, registered once.

    Parameters
    ----------
    registry : CollectorRegistry
        Where they are registered; ``/metrics`` serves the same one.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry

        # When a series was created is nobody's question, and doubles the page.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the client leaves it bare

        def counter(name: str, text: str, labels: Sequence[str] = ()) -> Counter:
            metric = Counter(f"emotion_{name}", text, labels, registry=registry)
            _show_zero(metric, labels)
            return metric

        def histogram(
            name: str, text: str, labels: Sequence[str] = (), buckets: Sequence[float] = SECONDS_BUCKETS
        ) -> Histogram:
            metric = Histogram(f"emotion_{name}", text, labels, buckets=buckets, registry=registry)
            _show_zero(metric, labels)
            return metric

        def gauge(name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
            return Gauge(f"emotion_{name}", text, labels, registry=registry)

        def gauge_from_zero(name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
            metric = gauge(name, text, labels)
            _show_zero(metric, labels)
            return metric

        def gauge_unmeasured(name: str, text: str) -> Gauge:
            # A gauge without labels shows itself at once; 0 would be a claim, and page someone.
            metric = gauge(name, text)
            metric.set(math.nan)
            return metric

        # Outcomes. consumed = emitted + dead-lettered + forwarded + in progress, by lane.
        self.events_consumed = counter("events_consumed_total", "Events taken from Kafka.", ["lane"])
        self.events_emitted = counter(
            "events_emitted_total", "Emotion events acknowledged by Kafka.", ["lane", "emotion"]
        )
        self.events_forwarded = counter("events_forwarded_total", "Events the known lane sent to analysis.")
        self.events_dead_lettered = counter(
            "events_dead_lettered_total", "Events acknowledged as dead letters.", ["lane", "reason"]
        )
        self.events_late = counter("events_late_total", "Emotion events past the deadline.", ["lane"])
        self.decisions = counter("decisions_total", "Decisions in emitted events, by use.", ["use", "decision"])
        self.event_types = counter("event_types_total", "Valid events consumed, by type.", ["event_type"])

        # Time. Latency is the promise to the platform; stages say where it went.
        self.latency = histogram(
            "latency_seconds", "From occurred_at to Kafka's acknowledgement of the answer.", ["lane"]
        )
        self.stage_duration = histogram("stage_duration_seconds", "Duration of one stage of an analysis.", ["stage"])
        self.stage_attempts = counter("stage_attempts_total", "Stages begun.", ["stage"])
        self.stage_failures = counter("stage_failures_total", "Stages that failed.", ["stage"])
        self.retries = counter("retries_total", "Analyses tried again, by the reason of the failure.", ["reason"])

        # Saturation.
        self.events_in_progress = gauge_from_zero("events_in_progress", "Events taken and not yet answered.", ["lane"])
        self.queue_oldest_timestamp = gauge_from_zero(
            "queue_oldest_timestamp_seconds", "occurred_at of the oldest event not yet answered; 0 with none.", ["lane"]
        )
        self.partitions_paused = gauge_from_zero(
            "partitions_paused",
            "Partitions paused: by back-pressure (new), or until their records are read (known).",
            ["lane"],
        )
        self.analyses_shared = counter("analyses_shared_total", "Events answered by an analysis already under way.")
        self.analyses_stale = counter("analyses_stale_total", "Known tracks sent for re-analysis after a model change.")

        # Kafka.
        partition = ["topic", "partition"]
        self.consumer_lag_events = gauge("consumer_lag_events", "Events behind the end of the partition.", partition)
        self.consumer_lag_seconds = gauge(
            "consumer_lag_seconds", "Age of the last event consumed while the partition holds more; else 0.", partition
        )
        self.partitions_assigned = gauge_from_zero("partitions_assigned", "Partitions this worker holds.", ["lane"])
        self.rebalances = counter("rebalances_total", "Times partitions were assigned or taken away.", ["lane"])
        self.produce_attempts = counter("produce_attempts_total", "Messages handed to a producer.", ["topic"])
        self.produce_failures = counter(
            "produce_failures_total", "Messages Kafka refused, or did not acknowledge in time.", ["topic"]
        )
        self.produce_waiting = gauge_from_zero(
            "produce_waiting_seconds", "How long Kafka has not acknowledged what was produced; 0 up to five.", ["lane"]
        )
        self.last_progress = gauge_from_zero(
            "last_progress_timestamp_seconds", "When the lane last committed, or found nothing to do.", ["lane"]
        )
        self.last_event = gauge_from_zero(
            "last_event_timestamp_seconds", "occurred_at of the newest event answered.", ["lane"]
        )

        # The table of known tracks.
        self.table_tracks = gauge("table_tracks", "Tracks this worker knows.")
        self.table_catalogue = gauge_from_zero(
            "table_catalogue_tracks",
            "Of these, by the model's decision for the catalogue: not labelled by a person.",
            ["decision"],
        )
        self.restore_duration = histogram("restore_duration_seconds", "Time to read a partition's records again.")
        self.restoring = gauge("restoring_partitions", "Partitions whose records are still being read.")

        # The pool.
        self.pool_processes = gauge("pool_processes", "Analysis processes.")
        self.pool_restarts = counter("pool_restarts_total", "Analysis processes replaced, by cause.", ["cause"])
        self.analyses_started = counter("analyses_started_total", "Analyses given to the pool.")
        self.analyses_timed_out = counter("analyses_timed_out_total", "Analyses killed at their time limit.")
        self.audio_bytes = counter("audio_bytes_total", "Bytes of audio fetched.")

        # The judgement.
        self.model_info = gauge("model_info", "1 for the model in use.", ["role", "version", "feature_version"])
        self.model_loads = counter("model_loads_total", "Models loaded while running.")
        self.model_load_failures = counter("model_load_failures_total", "Models refused while running.")
        self.model_trained = gauge_unmeasured("model_trained_timestamp_seconds", "When the model in use was trained.")
        self.predictions = counter("predictions_total", "Tracks judged, by emotion.", ["emotion"])
        self.confidence = histogram(
            "confidence_ratio", "Calibrated confidence in the emotion.", ["emotion"], RATIO_BUCKETS
        )
        self.prediction_set_size = histogram(
            "prediction_set_size", "Labels in the prediction set.", (), (0, 1, 2, 3, 4)
        )
        self.out_of_domain = counter("out_of_domain_total", "Tracks far from all training data.")
        self.shadow_predictions = counter("shadow_predictions_total", "Tracks the challenger was asked about too.")
        self.shadow_disagreements = counter(
            "shadow_disagreements_total", "Tracks where the challenger said otherwise.", ["champion", "challenger"]
        )
        self.shadow_failures = counter("shadow_failures_total", "Tracks the challenger failed on.")

        # What listeners, curators and therapists say; filled by the feedback reader.
        self.feedback = counter(
            "feedback_total",
            "Feedback events, by the emotion they are about, what the playlist was told to do with it, and kind.",
            ["emotion", "decision", "kind"],
        )
        self.feedback_rejected = counter(
            "feedback_rejected_total", "Feedback events dead-lettered, by reason.", ["reason"]
        )
        self.feedback_duplicates = counter("feedback_duplicates_total", "Feedback events seen before, not counted.")
        self.acceptance = gauge(
            "feedback_acceptance_ratio",
            "Accepted, completed or liked, of the last feedback; the rest was skipped.",
            ["emotion", "decision"],
        )
        self.corrections_kept = counter(
            "corrections_kept_total", "Newer analyses of a corrected track that did not replace a person's word."
        )
        self.online_accuracy = gauge_unmeasured(
            "online_accuracy_ratio", "Corrections that agree with the model, of the last ones."
        )
        self.online_accuracy_bound = gauge(
            "online_accuracy_bound_ratio", "95 % interval of the online accuracy.", ["bound"]
        )
        self.online_f1 = gauge("online_f1_ratio", "F1 against the last corrections.", ["emotion"])
        self.online_macro_f1 = gauge_unmeasured(
            "online_macro_f1_ratio", "Mean F1 of the four emotions against the last corrections."
        )
        self.online_macro_f1_bound = gauge(
            "online_macro_f1_bound_ratio", "95 % interval of the online macro-F1.", ["bound"]
        )
        self.online_confusion = gauge(
            "online_confusion_labels",
            "The last corrections: what the model said, and what a person said.",
            ["emotion", "label"],
        )
        self.online_labels = gauge("online_labels", "Corrections behind the online accuracy and F1.")
        self.feature_drift = gauge(
            "feature_drift_psi", "Population stability index of a feature against training.", ["feature"]
        )
        self.feature_drift_ks = gauge(
            "feature_drift_ks", "Kolmogorov-Smirnov distance of a feature from training.", ["feature"]
        )
        self.prediction_drift = gauge_unmeasured(
            "prediction_drift_psi", "Population stability index of the newest predicted emotions against those before."
        )


# A few thousand events from the year 1 would be older, all together, than a timedelta can say.
_SUMMABLE: Final = timedelta(days=365)


class Ages:
    """How old some events were at one moment, kept so that it can be told what age they reached at a later one.

    One lock per bucket instead of two per event, and no number is made of a time but of their sum: that took a tenth of
    the time in which a play of a known track is answered.

    Parameters
    ----------
    at : datetime
        The moment, with its time zone.
    ages : list of timedelta
        At least one; sorted in place. Negative where a clock was ahead of ours.
    """

    def __init__(self, at: datetime, ages: list[timedelta]) -> None:
        # While what they are made of is at hand: when the last of a large batch is answered, it no longer is.
        ages.sort()
        self._at = at
        self._ages = ages
        if ages[0] > -_SUMMABLE and ages[-1] < _SUMMABLE:
            self._seconds = sum(ages, timedelta()).total_seconds()
        else:
            self._seconds = math.fsum(age.total_seconds() for age in ages)

    @property
    def latest(self) -> float:
        """When the youngest occurred, in seconds since the epoch."""
        return self._at.timestamp() - self._ages[0].total_seconds()

    def observe(self, histogram: Histogram, now: datetime) -> None:
        """Observe the ages that the events have now, in seconds; a negative one counts as zero.

        Parameters
        ----------
        histogram : Histogram
            One series (a labelled child, or a histogram without labels).
        now : datetime
            Not before the moment of the ages.
        """
        since, ages = now - self._at, self._ages
        seconds = self._seconds + since.total_seconds() * len(ages)
        seconds -= sum((age + since).total_seconds() for age in ages[: bisect_left(ages, -since)])
        below = 0
        # The client has no call for this. Its buckets hold their own share each, not the running total.
        for bucket, bound in zip(histogram._buckets, histogram._upper_bounds, strict=True):
            upto = len(ages) if bound == math.inf else bisect_right(ages, timedelta(seconds=bound) - since, below)
            if upto > below:
                bucket.inc(upto - below)
                below = upto
        histogram._sum.inc(seconds)


def forget_series(metric: Counter | Gauge | Histogram, *labels: str) -> None:
    """Show a series no longer: its last value would be true for ever.

    Parameters
    ----------
    metric : Counter, Gauge or Histogram
        With labels.
    *labels : str
        Values of its labels; a series that does not exist is ignored.
    """
    with contextlib.suppress(KeyError):
        metric.remove(*labels)


def _show_zero(metric: Counter | Gauge | Histogram, labels: Sequence[str]) -> None:
    """Create every known label set: a rate over a series that does not exist yet is no rate."""
    if labels:
        for values in itertools.product(*(LABEL_VALUES[label] for label in labels)):
            metric.labels(*values)
