"""The quarter for the business: what was classified, what labelling that saved, who stays, who adopts it."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from consumer.reports import charts
from consumer.reports.costs import CostModel, cost_section, money, saving, wrong_tracks
from consumer.reports.monthly import applied_share
from consumer.reports.page import (
    COVERAGE,
    MISSING,
    Card,
    Chart,
    Page,
    Section,
    Table,
    count,
    covered,
    number,
    percent,
    sources,
    with_interval,
)
from consumer.reports.prometheus import Answers
from consumer.reports.recording import DECISIONS, Recording, retention, sessions
from consumer.reports.share import Share

DAYS: Final = 90
QUESTIONS: Final[Mapping[str, str]] = COVERAGE | {
    "tracks": "last_over_time((sum(emotion_table_tracks))[1d:10m])",
    "judged": "sum by (emotion) (increase(emotion_predictions_total[1d]))",
    "emitted": "sum by (lane) (increase(emotion_events_emitted_total[1d]))",
    "decisions": "sum by (use, decision) (increase(emotion_decisions_total[1d]))",
    "feedback": "sum by (kind) (increase(emotion_feedback_total[1d]))",
}


def build(answers: Answers, recording: Recording, costs: CostModel) -> Page:
    """Make the page.

    Parameters
    ----------
    answers : Answers
        To ``QUESTIONS``, over 90 days.
    recording : Recording
        Tracks by decision and sessions need one.
    costs : CostModel

    Returns
    -------
    Page
    """
    saved = None if recording.plays is None else saving(recording.plays, wrong_tracks(recording), costs)
    applied = applied_share(answers)
    kept = None if recording.plays is None else retention(recording.plays)
    apart = kept["apply"].went_on.minus(kept["withhold"].went_on) if kept else None
    return Page(
        "Quarterly business report",
        answers.days[0] - timedelta(days=1),
        answers.days[-1],
        [
            Card(count(answers.last("tracks")), "tracks classified, at the end"),
            Card(
                MISSING if saved is None else f"{count(money(saved, costs))} {costs.currency}",
                "labelling cost saved"
                if saved is None
                else f"saved, {count(sum(saved.tracks.values()))} recorded tracks; cost model below",
            ),
            Card(
                MISSING if apart is None else f"{100 * apart[0]:+.1f} points",
                "sessions that go on: applied against withheld"
                + ("" if apart is None else f" ({100 * apart[1]:+.1f} to {100 * apart[2]:+.1f})"),
            ),
            Card(percent(applied.value), f"of {count(applied.whole)} events let the playlist act by itself"),
        ],
        [_catalogue(answers), cost_section(saved, costs), _retention(recording), _adoption(answers, recording)],
        covered(answers),
        recording.notes,
    )


def _catalogue(answers: Answers) -> Section:
    daily = answers.daily("tracks")
    first = next((value for value in daily if value is not None), None)
    last = answers.last("tracks")
    judged = answers.by("judged", "emotion")
    rows = [
        ["tracks classified, first reading", count(first)],
        ["tracks classified, last reading", count(last)],
        ["analyses in the quarter (a new model hears tracks again)", count(sum(judged.values()) if judged else None)],
        *([f"of these {emotion}", count(n)] for emotion, n in judged.items()),
    ]
    return Section(
        "Catalogue classified",
        "Distinct tracks that an emotion is known of: each is in the table of exactly one worker.",
        [Table(("", "tracks"), rows)],
        [Chart("Tracks classified, at the end of each day", charts.lines(answers.days, {"tracks": daily}, unit=""))],
        ["How large the whole catalogue is, the service does not know: coverage as a share is not measured."]
        + ([] if last is not None else ["No worker said how many tracks it knows."]),
        sources(answers, tracks="tracks in the workers' tables", judged="analyses"),
    )


def _retention(recording: Recording) -> Section:
    source = [("sessions by first decision", "--events: session_id, occurred_at, decisions.playlist")]
    if recording.plays is None:
        return Section(
            "Retention proxy",
            missing=["Not measured: sessions are in emotion-events only. Name a recording with --events."],
            sources=source,
        )
    groups = retention(recording.plays)
    rows = [
        [decision, count(group.went_on.whole), with_interval(group.went_on), number(group.median_plays, 1)]
        for decision, group in groups.items()
    ]
    apart = groups["apply"].went_on.minus(groups["withhold"].went_on)
    said = (
        "Applied against withheld cannot be compared: one of them has no session."
        if apart is None
        else f"Applied against withheld: {100 * apart[0]:+.1f} points ({100 * apart[1]:+.1f} to {100 * apart[2]:+.1f})."
    )
    return Section(
        "Retention proxy",
        "Sessions that go on: another play within 30 minutes of the first, by the decision on the first. Sessions "
        "were not assigned by lot: a difference need not be the decision's doing, as confident emotions go with other "
        "music. " + said,
        [Table(("first decision", "sessions", "went on, % (95 % interval)", "plays, median"), rows)],
        [
            Chart(
                "Sessions that went on, %",
                charts.bars(
                    {
                        name: 100 * group.went_on.value
                        for name, group in groups.items()
                        if group.went_on.value is not None
                    },
                    digits=1,
                    unit=" %",
                ),
            )
        ],
        [] if any(group.went_on.whole for group in groups.values()) else ["No whole session was recorded."],
        source,
    )


def _adoption(answers: Answers, recording: Recording) -> Section:
    lanes, applied = answers.by("emitted", "lane"), applied_share(answers)
    known = Share(lanes.get("known", 0.0), sum(lanes.values()))
    corrections = answers.total("feedback", kind="label")
    rows = [
        ["emotion events", count(sum(lanes.values()) if lanes else None)],
        ["answered from the catalogue, without analysis", percent(known.value)],
        ["on which a playlist may act by itself", percent(applied.value)],
        ["corrections by curators and therapists", count(corrections)],
    ]
    if recording.plays is not None:
        heard = sessions(recording.plays)
        used = sum(any(play.decisions.playlist == "apply" for play in session) for session in heard)
        rows.append(["sessions with an applied decision (recording)", with_interval(Share(used, len(heard)))])
    per_day = {decision: answers.daily("decisions", use="playlist", decision=decision) for decision in DECISIONS}
    share = [
        Share(apply, whole).value
        if apply is not None and (whole := sum(values[day] or 0.0 for values in per_day.values()))
        else None
        for day, apply in enumerate(per_day["apply"])
    ]
    return Section(
        "Adoption",
        "",
        [Table(("", "quarter"), rows)],
        [
            Chart(
                "Events on which a playlist may act by itself, %",
                charts.lines(answers.days, {"apply": [None if v is None else 100 * v for v in share]}, unit=" %"),
            )
        ],
        [] if lanes else ["No emotion event was measured this quarter."],
        sources(answers, emitted="events by lane", decisions="decisions by event", feedback="feedback by kind"),
    )
