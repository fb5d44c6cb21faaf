"""How often curators and therapists agree with the model: from the workers' gauges, or exactly from a recording."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from consumer.reports import charts
from consumer.reports.page import Chart, Section, Table, count, number, sources, with_interval
from consumer.reports.prometheus import Answers
from consumer.reports.recording import Recording
from consumer.reports.share import Share
from model.emotions import EMOTIONS
from model.trial import interval, macro_f1, resamples


@dataclass(frozen=True, slots=True)
class Labels:
    """What corrections say of the model's answers.

    Parameters
    ----------
    accuracy : Share
        Corrections that agree.
    macro_f1 : float or None
        Mean F1 of the four emotions.
    macro_f1_interval : (float, float) or None
        95 %, from resamples; only from a recording.
    f1 : mapping of str to float
        By emotion.
    origin : str
        Where the labels came from.
    """

    accuracy: Share
    macro_f1: float | None
    macro_f1_interval: tuple[float, float] | None
    f1: Mapping[str, float]
    origin: str


def from_answers(answers: Answers) -> Labels | None:
    """Take what the workers say of the corrections in their window; None if they have seen none."""
    n, accuracy = answers.last("labels"), answers.last("accuracy")
    f1 = {str(emotion): answers.last("f1", emotion=emotion) for emotion in EMOTIONS}
    if not n or accuracy is None:
        return None
    measured = {emotion: value for emotion, value in f1.items() if value is not None}
    macro = sum(measured.values()) / len(EMOTIONS) if len(measured) == len(EMOTIONS) else None
    return Labels(Share(accuracy * n, n), macro, None, measured, "the workers' window of newest corrections")


def from_recording(recording: Recording) -> Labels | None:
    """Hold recorded corrections against what the model had said; None if there are none."""
    pairs = recording.corrections()
    if not pairs:
        return None
    names = [str(emotion) for emotion in EMOTIONS]
    cells = np.eye(16)[[names.index(truth) * 4 + names.index(play.emotion) for play, truth in pairs]]
    confusion = cells.sum(axis=0).reshape(4, 4)
    total = confusion.sum(axis=0) + confusion.sum(axis=1)
    resampled = resamples(np.arange(len(cells)), seed=0) @ cells
    return Labels(
        Share(float(np.trace(confusion)), len(pairs)),
        float(macro_f1(confusion)),
        interval(macro_f1(resampled.reshape(-1, 4, 4))),
        {name: float(2 * confusion[i, i] / total[i]) for i, name in enumerate(names) if total[i]},
        "the recorded corrections of the week",
    )


def quality_section(answers: Answers, labels: Labels | None) -> Section:
    """Write accuracy and F1; without corrections, that they are not known."""
    names = sources(answers, accuracy="accuracy", f1="F1 by emotion", labels="corrections")
    if labels is None:
        return Section(
            "Accuracy and F1",
            missing=[
                "No corrections (feedback of kind label) were seen: accuracy and F1 are not known. "
                "They need curators' or therapists' labels on emotion-feedback, or --events and --feedback."
            ],
            sources=names,
        )
    macro = number(labels.macro_f1, 3)
    if labels.macro_f1_interval is not None:
        macro += " ({:.3f} to {:.3f})".format(*labels.macro_f1_interval)
    rows = [
        ["accuracy (95 % interval)", with_interval(labels.accuracy)],
        ["macro-F1" + (" (95 % interval)" if labels.macro_f1_interval else ""), macro],
        *([f"F1 of {emotion}", number(labels.f1.get(emotion), 3)] for emotion in EMOTIONS),
        ["corrections", count(labels.accuracy.whole)],
    ]
    trend = {"accuracy": answers.daily("accuracy")}
    return Section(
        "Accuracy and F1",
        f"From {labels.origin}. People correct what is wrong more often than they confirm what is right: "
        "read these as a trend, and as a lower bound.",
        [Table(("", "value"), rows)],
        [Chart("Accuracy on the newest corrections, by day", charts.lines(answers.days, trend, unit=""))],
        [],
        names if "window" in labels.origin else [("corrections", labels.origin), *names[:1]],
    )
