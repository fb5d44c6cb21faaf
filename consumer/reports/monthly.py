"""The month for those who care for listeners: do they use it, and which emotions and decisions do they accept."""

from collections.abc import Mapping
from datetime import timedelta
from statistics import median
from typing import Final

from consumer.reports import charts
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
    sources,
    with_interval,
)
from consumer.reports.prometheus import Answers
from consumer.reports.recording import DECISIONS, LIKING, Recording, acceptance, sessions
from consumer.reports.share import Share
from model.emotions import EMOTIONS

DAYS: Final = 30
QUESTIONS: Final[Mapping[str, str]] = COVERAGE | {
    "types": "sum by (event_type) (increase(emotion_event_types_total[1d]))",
    "emitted": "sum by (emotion) (increase(emotion_events_emitted_total[1d]))",
    "decisions": "sum by (use, decision) (increase(emotion_decisions_total[1d]))",
    "feedback": "sum by (emotion, decision, kind) (increase(emotion_feedback_total[1d]))",
    "rejected": "sum(increase(emotion_feedback_rejected_total[1d]))",
}
_USES: Final = ("playlist", "therapy", "catalogue")
_DECISION_COLOURS: Final[dict[str, str]] = dict(zip(DECISIONS, charts.COLOURS, strict=False))


def build(answers: Answers, recording: Recording) -> Page:
    """Make the page.

    Parameters
    ----------
    answers : Answers
        To ``QUESTIONS``, over 30 days.
    recording : Recording
        Sessions and decisions need one.

    Returns
    -------
    Page
    """
    liked, skipped = verdicts(answers)
    plays, applied = answers.total("types", event_type="track_played"), applied_share(answers)
    return Page(
        "Monthly report on listeners",
        answers.days[0] - timedelta(days=1),
        answers.days[-1],
        [
            Card(count(plays), "plays"),
            Card(percent(liked.value), f"accepted, completed or liked, of {count(liked.whole)} verdicts"),
            Card(percent(skipped.value), f"skipped, of {count(skipped.whole)} verdicts"),
            Card(percent(applied.value), f"of {count(applied.whole)} events let the playlist act by itself"),
        ],
        [
            _engagement(answers, recording),
            _by_emotion(answers),
            _by_decision(answers, recording),
            _decisions(answers),
        ],
        covered(answers),
        recording.notes,
    )


def verdicts(answers: Answers, **labels: str) -> tuple[Share, Share]:
    """Count likes (accepted, completed, liked) and skips, of both together.

    Returns
    -------
    liked, skipped : Share
        Corrections (``label``) are a curator's and in neither.
    """
    kinds = answers.by("feedback", "kind", **labels)
    liked, skipped = sum(kinds.get(kind, 0.0) for kind in LIKING), kinds.get("skipped", 0.0)
    return Share(liked, liked + skipped), Share(skipped, liked + skipped)


def applied_share(answers: Answers) -> Share:
    """Count the events on which a playlist may act by itself."""
    by = answers.by("decisions", "decision", use="playlist")
    return Share(by.get("apply", 0.0), sum(by.values()))


def _engagement(answers: Answers, recording: Recording) -> Section:
    kinds = answers.by("feedback", "kind")
    emitted = answers.total("emitted")
    said = sum(kinds.values())
    rows = [
        ["plays", count(answers.total("types", event_type="track_played"))],
        ["uploads", count(answers.total("types", event_type="track_uploaded"))],
        *([f"feedback: {kind}", count(n)] for kind, n in kinds.items()),
        ["feedback per 1,000 emotion events", number(1000 * said / emitted if kinds and emitted else None, 1)],
    ]
    missing = [] if kinds else ["No feedback was measured: nothing reads emotion-feedback, or no worker was scraped."]
    tables = [Table(("", "month"), rows)]
    if recording.plays is None:
        missing.append("Sessions and listeners were not measured: name a recording of emotion-events with --events.")
    else:
        found = sessions(recording.plays)
        listeners = {play.listener_id for play in recording.plays if play.listener_id is not None}
        named = [play for play in recording.plays if play.event_type == "track_played"]
        rows = [
            ["plays recorded", count(len(named))],
            ["of these with a session", count(sum(map(len, found)))],
            ["sessions (no gap above 30 min)", count(len(found))],
            ["plays in a session, median", number(median(map(len, found)) if found else None, 1)],
            ["plays in a session, mean", number(sum(map(len, found)) / len(found) if found else None, 1)],
            ["listeners", count(len(listeners)) if listeners else "no event names its listener"],
        ]
        tables.append(Table(("from the recording", "month"), rows))
    daily = {
        name: answers.daily("types", event_type=kind)
        for name, kind in (("plays", "track_played"), ("uploads", "track_uploaded"))
    }
    return Section(
        "Engagement",
        "",
        tables,
        [Chart("Plays and uploads a day", charts.columns(answers.days, daily))],
        missing,
        [
            *sources(answers, types="plays and uploads", feedback="feedback", emitted="emotion events"),
            ("sessions and listeners", "--events: session_id, listener_id, occurred_at"),
        ],
    )


def _by_emotion(answers: Answers) -> Section:
    rows, shares = [], {}
    for emotion in EMOTIONS:
        liked, skipped = verdicts(answers, emotion=emotion)
        rows.append(
            [
                emotion,
                count(answers.total("emitted", emotion=emotion)),
                count(liked.whole if answers.series.get("feedback") else None),
                with_interval(liked),
                with_interval(skipped),
            ]
        )
        if liked.value is not None:
            shares[str(emotion)] = 100 * liked.value
    missing = [] if shares else ["No listener said anything: satisfaction is not known."]
    rejected = answers.total("rejected")
    trend = {str(emotion): answers.daily("emitted", emotion=emotion) for emotion in EMOTIONS}
    return Section(
        "Satisfaction by emotion",
        "Proxies, not satisfaction itself: what listeners did, of those who did anything. A skip can have other "
        f"reasons than the emotion. Intervals take verdicts as independent, which those of one listener "
        f"are not. Feedback that could not be read or matched: {count(rejected)}.",
        [Table(("emotion", "events", "verdicts", "accepted (95 % interval)", "skipped (95 % interval)"), rows)],
        [
            Chart("Accepted, completed or liked, % of verdicts", charts.bars(shares, digits=1, unit=" %")),
            Chart("Emotion events a day", charts.columns(answers.days, trend, colours=charts.EMOTION_COLOURS)),
        ],
        missing,
        sources(answers, feedback="verdicts", emitted="events", rejected="feedback refused"),
    )


def _by_decision(answers: Answers, recording: Recording) -> Section:
    pairs = recording.joined()
    if pairs is None:
        shares = {decision: verdicts(answers, decision=decision) for decision in DECISIONS}
        source = sources(answers, feedback="verdicts by the decision on the track's record")
    else:
        shares = acceptance(pairs)
        source = [("verdicts by decision", "--feedback joined to --events by emotion_event_id; decisions.playlist")]
    rows = [
        [decision, count(liked.whole), with_interval(liked), with_interval(skipped)]
        for decision, (liked, skipped) in shares.items()
    ]
    return Section(
        "Acceptance by decision",
        "What the playlist was advised to do with the emotion. If applied emotions were not accepted more often than "
        "withheld ones, the policy's caution would be in the wrong place.",
        [Table(("decision", "verdicts", "accepted (95 % interval)", "skipped (95 % interval)"), rows)],
        missing=[]
        if any(liked.whole for liked, _ in shares.values())
        else ["No verdict says which decision it answers."],
        sources=source,
    )


def _decisions(answers: Answers) -> Section:
    rows = []
    for use in _USES:
        by = answers.by("decisions", "decision", use=use)
        whole = sum(by.values())
        cells = [percent(Share(by.get(decision, 0.0), whole).value) for decision in DECISIONS]
        rows.append([use, count(whole if by else None), *cells])
    daily = {str(decision): answers.daily("decisions", use="playlist", decision=decision) for decision in DECISIONS}
    return Section(
        "Decisions",
        "How sure the model was, as each use is told. Counted by event: a track played often counts often.",
        [Table(("use", "events", "apply", "suggest", "withhold"), rows)],
        [
            Chart(
                "Decisions for playlists, events a day", charts.columns(answers.days, daily, colours=_DECISION_COLOURS)
            )
        ],
        [] if answers.series.get("decisions") else ["No decision was measured this month."],
        sources(answers, decisions="decisions"),
    )
