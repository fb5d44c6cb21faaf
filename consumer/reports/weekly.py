"""The week for engineers: is the promise kept, what failed, does the model still hear right, is it time to train."""

import math
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from consumer.reports import charts
from consumer.reports.labels import from_answers, from_recording, quality_section
from consumer.reports.page import (
    COVERAGE,
    Card,
    Chart,
    Page,
    Section,
    Table,
    count,
    covered,
    number,
    percent,
    seconds,
    sources,
    with_interval,
)
from consumer.reports.prometheus import Answers, quantile
from consumer.reports.recording import Recording
from consumer.reports.retrain import advice_section, drift_section, retrain_signs
from consumer.reports.share import Share, bounded

DAYS: Final = 7
# As in deploy/prometheus/alerts.yml.
OBJECTIVE_SECONDS: Final = 60.0
OBJECTIVE_SHARE: Final = 0.99
LANES: Final = ("known", "new")
OUR_FAULT: Final = ("internal", "crash", "timeout", "unavailable")

# A gauge of a day is its newest reading, taken over the workers that were up at that moment.
_NEWEST: Final = "last_over_time(({})[1d:10m])"
# Every worker sees its partitions' corrections: theirs are weighed by how many they saw.
_F1: Final = "emotion_online_f1_ratio"
_WEIGHT: Final = "on (job, instance) group_left () emotion_online_labels"
QUESTIONS: Final[Mapping[str, str]] = COVERAGE | {
    "consumed": "sum by (lane) (increase(emotion_events_consumed_total[1d]))",
    "emitted": "sum by (lane) (increase(emotion_events_emitted_total[1d]))",
    "latency": "sum by (lane, le) (increase(emotion_latency_seconds_bucket[1d]))",
    "late": "sum by (lane) (increase(emotion_events_late_total[1d]))",
    "peak": 'max_over_time(sum(rate(emotion_events_consumed_total{lane="known"}[5m]))[1d:5m])',
    "dead": "sum by (reason) (increase(emotion_events_dead_lettered_total[1d]))",
    "retries": "sum(increase(emotion_retries_total[1d]))",
    "restarts": "sum by (cause) (increase(emotion_pool_restarts_total[1d]))",
    "attempts": "sum by (stage) (increase(emotion_stage_attempts_total[1d]))",
    "failures": "sum by (stage) (increase(emotion_stage_failures_total[1d]))",
    "labels": _NEWEST.format("sum(emotion_online_labels)"),
    "accuracy": _NEWEST.format(
        "sum((emotion_online_accuracy_ratio >= 0) * emotion_online_labels)"
        " / sum(emotion_online_labels and (emotion_online_accuracy_ratio >= 0))"
    ),
    "f1": _NEWEST.format(
        f"sum by (emotion) (({_F1} >= 0) * {_WEIGHT}) / sum by (emotion) (({_F1} >= bool 0) * {_WEIGHT})"
    ),
    "psi": _NEWEST.format("max by (feature) (emotion_feature_drift_psi)"),
    "ks": _NEWEST.format("max by (feature) (emotion_feature_drift_ks)"),
    "prediction_psi": _NEWEST.format("max(emotion_prediction_drift_psi)"),
    "judged": "sum(increase(emotion_predictions_total[1d]))",
    "unlike": "sum(increase(emotion_out_of_domain_total[1d]))",
    "model": _NEWEST.format('max by (version) (emotion_model_info{role="champion"})'),
    "trained": _NEWEST.format("max(emotion_model_trained_timestamp_seconds)"),
}


def build(answers: Answers, recording: Recording, expected_f1: Mapping[str, float]) -> Page:
    """Make the page.

    Parameters
    ----------
    answers : Answers
        To ``QUESTIONS``, over 7 days.
    recording : Recording
        Corrections are taken from here if there are any.
    expected_f1 : mapping of str to float
        Macro-F1 out of fold of each model version in the registry.

    Returns
    -------
    Page
    """
    within = within_objective(answers)
    taken = answers.total("consumed", lane="known") or 0.0
    dead = bounded(answers.total("dead"), taken)
    labels = from_recording(recording) or from_answers(answers)
    signs = retrain_signs(answers, labels, expected_f1)
    due = [sign.name for sign in signs if sign.due]
    unknown = [sign.name for sign in signs if sign.due is None]
    if due:
        advice = Card("due", f"retrain, for {', '.join(due)}")
    elif unknown:
        advice = Card("not all known", f"whether to retrain: not measured are {', '.join(unknown)}")
    else:
        advice = Card("no sign", "that a retrain is due")
    return Page(
        "Weekly technical report",
        answers.days[0] - timedelta(days=1),
        answers.days[-1],
        [
            Card(percent(within.value, 2), f"answered within 60 s, of {count(within.whole)} (objective 99 %)"),
            Card(count(answers.total("consumed", lane="known")), "events taken from the platform"),
            Card(percent(dead.value if dead else None, 2), f"dead letters, of {count(taken)} events"),
            Card(
                number(labels.macro_f1 if labels else None, 3),
                f"macro-F1 over {count(labels.accuracy.whole)} corrections" if labels else "macro-F1: no corrections",
            ),
            advice,
        ],
        [
            _latency(answers, within),
            _throughput(answers),
            _errors(answers),
            quality_section(answers, labels),
            drift_section(answers),
            advice_section(answers, signs),
        ],
        covered(answers),
        recording.notes,
    )


def within_objective(answers: Answers, **labels: str) -> Share:
    """Count answers within the objective, of all (of one lane, with ``lane``)."""
    buckets = answers.by("latency", "le", **labels)
    good = next((value for le, value in buckets.items() if float(le) == OBJECTIVE_SECONDS), 0.0)
    whole = next((value for le, value in buckets.items() if float(le) == math.inf), 0.0)
    return Share(min(good, whole), whole)


def _latency(answers: Answers, within: Share) -> Section:
    rows = []
    for lane in LANES:
        share, buckets = within_objective(answers, lane=lane), answers.by("latency", "le", lane=lane)
        marks = [seconds(quantile(buckets, q)) for q in (0.5, 0.95, 0.99)]
        rows.append(
            [
                lane,
                count(share.whole if buckets else None),
                percent(share.value, 2),
                *marks,
                count(answers.total("late", lane=lane)),
            ]
        )
    spent = None if within.value is None else (1 - within.value) / (1 - OBJECTIVE_SHARE)
    missing = [] if spent is not None else ["No answer was measured this week: there is no latency to report."]
    p99 = {f"{lane} lane": _daily_p99(answers, lane) for lane in LANES}
    return Section(
        "Latency against the objective",
        "From occurred_at to Kafka's acknowledgement. Objective: 99 % of answers within 60 s."
        + ("" if spent is None else f" Of the 1 % that may be later, this week used {percent(spent, 0)}."),
        [
            Table(
                ("lane", "answers", "within 60 s", "median", "95 %", "99 %", "late"),
                rows,
                "Percentiles are interpolated within the histogram's buckets.",
            )
        ],
        [
            Chart(
                "99th percentile of latency a day, seconds (logarithmic)",
                charts.lines(answers.days, p99, unit=" s", limit=(OBJECTIVE_SECONDS, "objective 60 s"), log=True),
            )
        ],
        missing,
        sources(answers, latency="answers by lane and latency, of each day", late="late answers, of each day"),
    )


def _daily_p99(answers: Answers, lane: str) -> list[float | None]:
    daily = {le: answers.daily("latency", lane=lane, le=le) for le in answers.values_of("latency", "le")}
    return [
        quantile({le: values[day] or 0.0 for le, values in daily.items()}, 0.99) for day in range(len(answers.days))
    ]


def _throughput(answers: Answers) -> Section:
    peaks = [value for value in answers.daily("peak") if value is not None]
    total = answers.total("consumed", lane="known")
    seconds_measured = (covered(answers) or 0.0) * len(answers.days) * 86_400
    rows = [
        ["taken from the platform", count(total)],
        ["of these sent to analysis", count(answers.total("consumed", lane="new"))],
        ["emotion events, known lane", count(answers.total("emitted", lane="known"))],
        ["emotion events, new lane", count(answers.total("emitted", lane="new"))],
        [
            "mean rate while measured, events/s",
            number(total / seconds_measured if total is not None and seconds_measured else None),
        ],
        ["highest rate over five minutes, events/s", number(max(peaks) if peaks else None)],
    ]
    daily = {f"{lane} lane": answers.daily("emitted", lane=lane) for lane in LANES}
    return Section(
        "Throughput",
        "",
        [Table(("", "week"), rows)],
        [Chart("Emotion events a day", charts.columns(answers.days, daily))],
        [] if total is not None else ["No worker was measured this week."],
        sources(answers, consumed="events taken", emitted="emotion events", peak="highest rate of each day"),
    )


def _errors(answers: Answers) -> Section:
    taken, reasons = answers.total("consumed", lane="known"), answers.by("dead", "reason")
    rows = [
        [
            reason,
            count(n),
            percent(n / taken if taken else None, 3),
            "ours" if reason in OUR_FAULT else "the track's or event's",
        ]
        for reason, n in reasons.items()
        if n >= 0.5
    ]
    stages = [
        [
            stage,
            count(tried),
            count(failed := answers.total("failures", stage=stage)),
            with_interval(bounded(failed, tried)),
        ]
        for stage, tried in answers.by("attempts", "stage").items()
    ]
    restarts = {cause: n for cause, n in answers.by("restarts", "cause").items() if n >= 0.5}
    replaced = ", ".join(f"{count(n)} by {cause}" for cause, n in restarts.items()) or "none"
    tables = []
    if rows:
        tables.append(Table(("reason", "dead letters", "of all events", "whose fault"), rows))
    if stages:
        tables.append(
            Table(
                ("stage", "begun", "failed", "share failed (95 % interval)"), stages, "Stages of analysing a new track."
            )
        )
    missing = []
    if not reasons:
        missing.append("Dead letters were not measured.")
    lead = "No event became a dead letter. " if reasons and not rows else ""
    if answers.values_of("restarts", "cause"):
        lead += f"Analysis processes replaced: {replaced}. Analyses tried again: {count(answers.total('retries'))}."
    names = {"dead": "dead letters", "failures": "failed stages", "attempts": "stages begun"}
    return Section(
        "Errors",
        lead,
        tables,
        [],
        missing,
        sources(answers, **names, restarts="processes replaced", retries="analyses tried again"),
    )
