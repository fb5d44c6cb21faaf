"""The model card's plots, drawn from answers out of fold. Matplotlib is in the ``lifecycle`` extra."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from model.classifier import EmotionClassifier
from model.datasets import near_duplicate_groups
from model.emotions import EMOTIONS
from model.evaluate import COVERAGE
from model.train import read_distinct
from model.trial import Table, Trial, interval, macro_f1, resamples, try_procedure

_BLUE, _GREY = "#2b6ca3", "#8a8a8a"
_SHARES = (0.2, 0.35, 0.5, 0.75, 1.0)
_DRAWS = 3


def draw(folder: Path, data: Path, trial: Trial, *, seed: int) -> None:
    """Write ``confusion``, ``reliability``, ``selective`` and ``learning-curve`` as PNG.

    Parameters
    ----------
    folder : Path
        Made if absent; plots of the same names are replaced.
    data : Path
        The home table, for the learning curve.
    trial : Trial
        Answers out of fold on it.
    seed : int
        Of the learning curve's subsets and folds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    panels: dict[str, Callable[[Axes], None]] = {
        "confusion": partial(draw_confusion, trial=trial),
        "reliability": partial(draw_reliability, trial=trial, seed=seed),
        "selective": partial(draw_selective, trial=trial, seed=seed),
        "learning-curve": partial(draw_learning_curve, table=read_distinct(data)[0], seed=seed),
    }
    for name, panel in panels.items():
        figure = Figure(figsize=(4.6, 3.8), dpi=110, layout="constrained")
        panel(figure.add_subplot())
        figure.savefig(folder / f"{name}.png", metadata={"Software": None})


def draw_confusion(ax: Axes, trial: Trial) -> None:
    """Draw truth against answer as shares of each truth."""
    counts = trial.confusion()
    share = counts / counts.sum(axis=1, keepdims=True)
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), value in np.ndenumerate(share):
        ax.text(column, row, f"{value:.2f}", ha="center", va="center", color="white" if value > 0.5 else "black")
    ax.set_xticks(range(4), EMOTIONS)
    ax.set_yticks(range(4), EMOTIONS)
    ax.set(xlabel="heard as", ylabel="truth", title="Confusion out of fold (share of each truth)")
    ax.title.set_fontsize(10)


def draw_reliability(ax: Axes, trial: Trial, *, seed: int) -> None:
    """Draw accuracy against confidence in bins of equal width, with the number of answers in each."""
    confidence, right = trial.proba.max(axis=1), trial.proba.argmax(axis=1) == trial.truth
    which = np.minimum((confidence * 10).astype(int), 9)
    ax.plot([0.25, 1], [0.25, 1], "--", color=_GREY, linewidth=1, label="perfect")
    bins = [b for b in range(10) if (which == b).sum() >= 10]
    x, accuracy = ([float(v[which == b].mean()) for b in bins] for v in (confidence, right))
    weights = resamples(trial.groups, seed=seed)
    resampled = [
        weights[:, which == b] @ right[which == b] / (weights[:, which == b].sum(axis=1) + 1e-12) for b in bins
    ]
    ends = np.array([interval(values) for values in resampled]).T
    error = np.abs(ends - np.array(accuracy))
    ax.errorbar(x, accuracy, yerr=error, fmt="o-", color=_BLUE, capsize=3, label="measured, 95 %")
    for at, height, b in zip(x, accuracy, bins, strict=True):
        ax.annotate(f"{(which == b).sum()}", (at, height), (6, -12), textcoords="offset points", fontsize=7)
    ax.set(xlim=(0.25, 1.02), ylim=(0.1, 1.05), xlabel="confidence", ylabel="accuracy")
    ax.set_title("Reliability (numbers: answers in the bin)", fontsize=10)
    ax.legend(loc="upper left", frameon=False, fontsize=8)


def draw_selective(ax: Axes, trial: Trial, *, seed: int) -> None:
    """Draw accuracy on the most confident share of answers against that share, with its 95 % band."""
    order = np.argsort(-trial.proba.max(axis=1), kind="stable")
    right = (trial.proba.argmax(axis=1) == trial.truth)[order]
    share = np.arange(1, len(right) + 1) / len(right)
    weights = resamples(trial.groups, seed=seed)[:, order]
    resampled = np.cumsum(weights * right, axis=1) / np.maximum(np.cumsum(weights, axis=1), 1)
    low, high = np.percentile(resampled, [2.5, 97.5], axis=0)
    shown = share >= 0.1
    ax.fill_between(share[shown], low[shown], high[shown], color=_BLUE, alpha=0.2, linewidth=0)
    ax.plot(share[shown], (np.cumsum(right) / np.arange(1, len(right) + 1))[shown], color=_BLUE)
    ax.set(xlabel="share of tracks answered, most confident first", ylabel="accuracy", ylim=(0.7, 1.01))
    ax.set_title("Accuracy when the least confident are withheld", fontsize=10)
    ax.grid(alpha=0.3)


def draw_learning_curve(ax: Axes, table: Table, *, seed: int) -> None:
    """Draw macro-F1 out of fold against the number of training rows, with 95 % intervals."""
    rows, values, lows, highs = [], [], [], []
    for share in _SHARES:
        scores, bounds = [], []
        for draw_number in range(1 if share == 1 else _DRAWS):
            subset = _subset(table, share, seed + draw_number)
            trial = try_procedure(
                EmotionClassifier(random_state=seed), subset, subset, coverage=COVERAGE, seed=seed, repeats=1
            )
            scores.append(float(macro_f1(trial.confusion())))
            bounds.append(interval(macro_f1(trial.confusion(resamples(trial.groups, seed=seed)))))
        rows.append(0.9 * len(subset.y))
        values.append(np.mean(scores))
        lows.append(np.mean([low for low, _ in bounds]))
        highs.append(np.mean([high for _, high in bounds]))
    error = np.array([np.subtract(values, lows), np.subtract(highs, values)])
    ax.errorbar(rows, values, yerr=error, fmt="o-", color=_BLUE, capsize=3)
    ax.set(xlabel="training rows", ylabel="macro-F1 out of fold")
    ax.set_title("Learning curve (95 % intervals)", fontsize=10)
    ax.grid(alpha=0.3)


def _weighted_accuracy(right: NDArray[np.bool_], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((weights @ right) / np.maximum(weights.sum(axis=1), 1e-12))


def _subset(table: Table, share: float, seed: int) -> Table:
    # Whole groups, emotion by emotion, so that no near-duplicate is cut off from its sibling.
    rng = np.random.default_rng(seed)
    groups = near_duplicate_groups(table.X)
    kept: list[NDArray[np.intp]] = []
    for label in EMOTIONS:
        of_label = np.unique(groups[table.y == label])
        chosen = rng.permutation(of_label)[: round(share * len(of_label))]
        kept.append(np.flatnonzero(np.isin(groups, chosen) & (table.y == label)))
    rows = np.sort(np.concatenate(kept))
    return Table(table.X[rows], table.y[rows])
