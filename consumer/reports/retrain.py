"""Whether to train again: the signs of ``emotion-stream model status``, read from what the workers measured."""

from collections.abc import Mapping, Sequence
from typing import Final

from consumer.reports import charts
from consumer.reports.labels import Labels
from consumer.reports.page import MISSING, Chart, Section, Table, count, number, sources, with_interval
from consumer.reports.prometheus import Answers
from consumer.reports.share import bounded
from model.drift import DRIFT_LIMIT
from model.status import AGE_LIMIT_DAYS, DRIFTED_LIMIT, F1_FALL_LIMIT, MIN_LABELS, Sign

_MOST_FEATURES: Final = 10


def retrain_signs(answers: Answers, labels: Labels | None, expected_f1: Mapping[str, float]) -> list[Sign]:
    """Ask for every sign of ``emotion-stream model status``, and for drift of the predictions.

    Parameters
    ----------
    answers : Answers
    labels : Labels or None
    expected_f1 : mapping of str to float
        Macro-F1 in training by model version.

    Returns
    -------
    list of Sign
    """
    trained, psi, prediction = answers.last("trained"), features_psi(answers), answers.last("prediction_psi")
    age = None if trained is None else (answers.days[-1].timestamp() - trained) / 86_400
    moved = [name for name, value in psi.items() if value > DRIFT_LIMIT]
    versions = current_models(answers)
    expected = expected_f1.get(versions[0]) if len(versions) == 1 else None
    f1 = labels.macro_f1 if labels else None
    n = labels.accuracy.whole if labels else 0.0
    enough = f1 is not None and n >= MIN_LABELS and expected is not None
    if f1 is None:
        said = MISSING
    elif n < MIN_LABELS:
        said = f"{f1:.3f} over {n:,.0f} corrections: {MIN_LABELS} are needed"
    else:
        said = f"{f1:.3f} over {n:,.0f} corrections"
    floor = (
        "not known: the model in use is not in this registry (--registry)"
        if expected is None
        else f"at least {expected - F1_FALL_LIMIT:.3f} ({F1_FALL_LIMIT:g} below training)"
    )
    return [
        Sign(
            "age",
            number(age, 0, " days"),
            f"at most {AGE_LIMIT_DAYS} days",
            None if age is None else age > AGE_LIMIT_DAYS,
        ),
        Sign(
            "drift of features",
            f"{len(moved)} of {len(psi)} features beyond {DRIFT_LIMIT:g}" if psi else MISSING,
            f"fewer than {DRIFTED_LIMIT} features with a PSI above {DRIFT_LIMIT:g}",
            len(moved) >= DRIFTED_LIMIT if psi else None,
        ),
        Sign(
            "drift of predictions",
            f"PSI {prediction:.2f}" if prediction is not None else MISSING,
            f"PSI at most {DRIFT_LIMIT:g}",
            prediction > DRIFT_LIMIT if prediction is not None else None,
        ),
        Sign("macro-F1", said, floor, f1 < expected - F1_FALL_LIMIT if enough and f1 and expected else None),
    ]


def features_psi(answers: Answers) -> dict[str, float]:
    """Give each feature's newest population stability index, largest first."""
    newest = {name: answers.last("psi", feature=name) for name in answers.values_of("psi", "feature")}
    measured = {name: value for name, value in newest.items() if value is not None}
    return dict(sorted(measured.items(), key=lambda item: -item[1]))


def current_models(answers: Answers) -> list[str]:
    """Give the champion's version on the newest measured day; several if it changed that day."""
    daily = {version: answers.daily("model", version=version) for version in answers.values_of("model", "version")}
    for day in reversed(range(len(answers.days))):
        found = [version for version, values in daily.items() if values[day] is not None]
        if found:
            return found
    return []


def drift_section(answers: Answers) -> Section:
    """Write which features and predictions moved."""
    psi, missing = features_psi(answers), []
    top = dict(list(psi.items())[:_MOST_FEATURES])
    rows = [[_plain(name), number(value), number(answers.last("ks", feature=name))] for name, value in top.items()]
    if not psi:
        missing.append("Drift of the features was not measured: a worker needs 100 analyses before it says any.")
    prediction = answers.last("prediction_psi")
    if prediction is None:
        missing.append("Drift of the predictions was not measured: a worker needs 200 analyses before it says any.")
    judged = answers.total("judged")
    unlike = bounded(answers.total("unlike"), judged) if judged else None
    lead = (
        "Population stability index (PSI, no unit): below 0.1 stable, "
        f"above {DRIFT_LIMIT:g} other music, another decoder or another ear."
    )
    if prediction is not None:
        lead += f" Predictions: {prediction:.2f}."
    if unlike is not None:
        lead += f" Tracks unlike all training data: {with_interval(unlike)} of {count(judged)} judged."
    return Section(
        "Drift",
        lead,
        [Table(("feature", "PSI", "Kolmogorov-Smirnov distance"), rows)] if rows else [],
        [
            Chart(
                f"Features that moved most, PSI (dashed: limit {DRIFT_LIMIT:g})",
                charts.bars({_plain(name): value for name, value in top.items()}, digits=2, limit=DRIFT_LIMIT),
            )
        ],
        missing,
        sources(answers, psi="PSI by feature", ks="distance by feature", prediction_psi="PSI of predictions")
        + sources(answers, unlike="tracks unlike training", judged="tracks judged"),
    )


def advice_section(answers: Answers, signs: Sequence[Sign]) -> Section:
    """Write every sign and what it says."""
    verdict = {True: "retrain", False: "fine", None: "not known"}
    models = ", ".join(current_models(answers)) or MISSING
    return Section(
        "Train again?",
        f"Model in use: {models}. A sign that was not measured is not a good one. "
        "emotion-stream model train, simulate and promote do it; docs/model-lifecycle.md says how.",
        [
            Table(
                ("sign", "measured", "limit", "says"),
                [[s.name, s.measured, s.limit, verdict[s.due]] for s in signs],
                text=True,
            )
        ],
        sources=sources(answers, model="model in use", trained="when it was trained"),
    )


def _plain(feature: str) -> str:
    # Long names must be able to break on a phone.
    return feature.strip("_").replace("_", " ")
