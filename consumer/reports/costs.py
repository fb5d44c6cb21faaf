"""What labelling by hand would have cost: a model of stated assumptions, applied to the tracks that were recorded."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from consumer.events import DecisionLabel
from consumer.reports.page import Section, Table, count, number, percent
from consumer.reports.recording import DECISIONS, Play, Recording
from consumer.reports.share import Share


@dataclass(frozen=True, slots=True)
class CostModel:
    """What labelling by hand would cost: assumptions of whoever asks for the report, never measured here.

    Parameters
    ----------
    label_minutes : float
        To listen to a track and label it; > 0.
    check_minutes : float
        To confirm or correct a suggested label; >= 0.
    hourly_wage : float
        Of whoever labels, in ``currency``; >= 0.
    currency : str
        Such as ``EUR``.
    service_cost : float or None
        Of running the service for the quarter, in ``currency``; None if it is not known.
    """

    label_minutes: float
    check_minutes: float
    hourly_wage: float
    currency: str
    service_cost: float | None


@dataclass(frozen=True, slots=True)
class Saving:
    """What the cost model makes of the tracks.

    Parameters
    ----------
    tracks : Counter of DecisionLabel
        Distinct tracks by their newest decision for the catalogue.
    corrected : int or None
        Applied ones that somebody labelled otherwise; None without feedback.
    minutes : float
        Of labelling saved.
    """

    tracks: Counter[DecisionLabel]
    corrected: int | None
    minutes: float


def saving(plays: Sequence[Play], corrected: set[str] | None, costs: CostModel) -> Saving:
    """Apply the cost model to each distinct track.

    An applied label saves the whole labelling, a suggested one what a check costs less, a withheld one nothing. An
    applied label that was corrected has saved nothing.

    Parameters
    ----------
    plays : sequence of Play
        In the order of ``occurred_at``.
    corrected : set of str or None
        Tracks whose label was found wrong; None if nobody recorded that.
    costs : CostModel

    Returns
    -------
    Saving
    """
    newest = {play.track_id: play.decisions.catalogue for play in plays}
    tracks = Counter(newest.values())
    wrong = None if corrected is None else sum(newest.get(track) == "apply" for track in corrected)
    minutes = (tracks["apply"] - (wrong or 0)) * costs.label_minutes
    minutes += tracks["suggest"] * (costs.label_minutes - costs.check_minutes)
    return Saving(tracks, wrong, minutes)


def wrong_tracks(recording: Recording) -> set[str] | None:
    """Give the tracks that somebody labelled otherwise than the model; None without recorded feedback."""
    corrections = recording.corrections()
    return None if corrections is None else {play.track_id for play, truth in corrections if truth != play.emotion}


def money(saved: Saving, costs: CostModel) -> float:
    """Give what was saved in the model's currency, less the service's cost where that is known."""
    return saved.minutes / 60 * costs.hourly_wage - (costs.service_cost or 0.0)


def cost_section(saved: Saving | None, costs: CostModel) -> Section:
    """Write the saving and every assumption behind it; without a recording, that it is missing."""
    unit, cost = costs.currency, costs.service_cost
    assumed = Table(
        ("assumption (not measured)", "value"),
        [
            ["labelling a track by hand", number(costs.label_minutes, 1, " min")],
            ["checking a suggested label", number(costs.check_minutes, 1, " min")],
            ["an hour of whoever labels", number(costs.hourly_wage, 2, f" {unit}")],
            ["running the service, the quarter", "not given" if cost is None else number(cost, 2, f" {unit}")],
        ],
        "Set with --label-minutes, --check-minutes, --hourly-wage, --currency and --service-cost.",
    )
    source = [("tracks by decision", "--events: distinct track_id, newest decisions.catalogue")]
    lead = (
        "An applied label saves the labelling; a suggested one what checking costs less; a withheld one nothing; "
        "an applied one that was corrected nothing."
    )
    if saved is None:
        missing = "Not measured: metrics count decisions by event, so that a track played often would be saved often. "
        return Section(
            "Manual labelling saved",
            lead,
            [assumed],
            missing=[missing + "Name a recording with --events."],
            sources=source,
        )
    whole = sum(saved.tracks.values())
    rows = [
        *(
            [f"tracks: {decision}", count(saved.tracks[decision]), percent(Share(saved.tracks[decision], whole).value)]
            for decision in DECISIONS
        ),
        [
            "applied, then corrected",
            count(saved.corrected),
            percent(None if saved.corrected is None else Share(saved.corrected, saved.tracks["apply"]).value),
        ],
        ["hours of labelling saved", number(saved.minutes / 60, 1), ""],
        [f"worth, {unit}", number(saved.minutes / 60 * costs.hourly_wage), ""],
        *([] if cost is None else [[f"less the service, {unit}", number(money(saved, costs)), ""]]),
    ]
    missing_list = []
    if saved.corrected is None:
        missing_list.append(
            "Corrected labels are not subtracted: name a recording of emotion-feedback with --feedback."
        )
    if cost is None:
        missing_list.append("The service's own cost is not subtracted: it was not given (--service-cost).")
    return Section(
        "Manual labelling saved",
        lead,
        [Table(("recorded tracks", "number", "share"), rows), assumed],
        missing=missing_list,
        sources=source,
    )
