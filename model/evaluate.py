"""The honest examination of a training procedure: at home, under noise, and on another repertoire.

At home every figure is out of fold: exact duplicates removed, near-duplicates on one side, repeated stratified grouped
10-fold, with scaling, experts, temperatures and thresholds fitted inside the fold (``model.trial``). Abroad the model
trained on the whole home table is asked about rows it never saw the like of; their labels only count the hits.
Intervals are 95 %, over resamples of groups of near-duplicates.

References
----------
El-Yaniv and Wiener (2010), On the foundations of noise-free selective classification, JMLR 11 (accuracy by coverage).
Hanley and McNeil (1982), The meaning and use of the area under a ROC curve, Radiology 143 (AUC as a share of pairs).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from model.calibration import expected_calibration_error
from model.classifier import EmotionClassifier
from model.datasets import near_duplicate_groups
from model.emotions import EMOTIONS, Emotion
from model.manifest import Score
from model.train import read_distinct
from model.trial import (
    N_FOLDS,
    Table,
    Trial,
    codes,
    macro_f1,
    recalls,
    resamples,
    score,
    try_procedure,
    try_under_noise,
)

COVERAGE: Final = 0.9
REPEATS: Final = 3
# Standard deviations of each column, added to the rows asked.
NOISE: Final = (0.1, 0.2, 0.5)
# Shares of the rows, the most confident ones, on which accuracy is given.
ANSWERED: Final = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)


@dataclass(frozen=True, slots=True)
class EmotionScores:
    """How well one emotion is recognised.

    Parameters
    ----------
    precision, recall, roc_auc : Score
        One emotion against the others, in [0, 1].
    coverage : Score
        Share of its rows whose prediction set holds it.
    """

    precision: Score
    recall: Score
    roc_auc: Score
    coverage: Score


@dataclass(frozen=True, slots=True)
class Report:
    """What a set of answers is worth.

    Parameters
    ----------
    macro_f1, accuracy, roc_auc : Score
        ``roc_auc`` is the mean over the emotions.
    ece : Score
        Expected calibration error over ten bins of confidence. Resampling adds noise to every bin, so the interval
        lies above the value.
    coverage : Score
        Share of prediction sets, asked for 90 %, that hold the truth.
    set_size : float
        Mean number of labels in them, 1 to 4.
    in_domain : float
        Share of rows recognised as like the training data.
    answered : dict of str to float
        Accuracy on the most confident share of the rows.
    confusion : tuple of tuple of float
        Truth (rows) against answer (columns) in ``EMOTIONS`` order, over all repeats.
    emotions : dict
        Scores of each emotion.
    """

    macro_f1: Score
    accuracy: Score
    roc_auc: Score
    ece: Score
    coverage: Score
    set_size: float
    in_domain: float
    answered: dict[str, float]
    confusion: tuple[tuple[float, ...], ...]
    emotions: dict[Emotion, EmotionScores]


@dataclass(frozen=True, slots=True)
class Noise:
    """What noise on the features does.

    Parameters
    ----------
    deviations : float
        Of the Gaussian noise, in standard deviations of each column.
    macro_f1 : float
    unchanged : float
        Share of rows that keep their label.
    """

    deviations: float
    macro_f1: float
    unchanged: float


@dataclass(frozen=True, slots=True)
class Transfer:
    """Another repertoire, asked in three ways.

    Parameters
    ----------
    table : str
    rows : int
    as_it_is : Report
        The model of the home table.
    adapted : Report
        The same after ``adapt`` to this table without its labels.
    own_labels : Report
        The same procedure trained here, out of fold.
    """

    table: str
    rows: int
    as_it_is: Report
    adapted: Report
    own_labels: Report


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything ``emotion-stream model evaluate`` prints.

    Parameters
    ----------
    table : str
        File name.
    rows, groups : int
        Distinct rows, and groups of near-duplicates among them.
    folds, repeats, seed : int
    home : Report
    noise : tuple of Noise
    transfer : Transfer or None
    """

    table: str
    rows: int
    groups: int
    folds: int
    repeats: int
    seed: int
    home: Report
    noise: tuple[Noise, ...]
    transfer: Transfer | None


# One thread, as in training.
@threadpool_limits.wrap(limits=1)
def evaluate(
    data: Path, transfer: Path | None = None, *, repeats: int = REPEATS, seed: int = 0
) -> tuple[Evaluation, Trial]:
    """Examine the training procedure.

    Parameters
    ----------
    data : Path
        Home table: it is trained on and asked, never the same rows at once.
    transfer : Path, optional
        Labelled table of another repertoire; nothing that ships learns from it.
    repeats, seed : int
        Of the folds; the seed is also the classifier's.

    Returns
    -------
    evaluation : Evaluation
    trial : Trial
        The answers out of fold at home, for plots.

    Raises
    ------
    DatasetError
        If a table cannot be used.
    """
    table, _ = read_distinct(data)
    procedure = EmotionClassifier(random_state=seed)
    trial, *noisy = try_under_noise(
        procedure, table, table, (0.0, *NOISE), coverage=COVERAGE, seed=seed, repeats=repeats
    )
    evaluation = Evaluation(
        table=data.name,
        rows=len(table.y),
        groups=len(np.unique(trial.groups)),
        folds=N_FOLDS,
        repeats=repeats,
        seed=seed,
        home=report(trial, seed=seed),
        noise=tuple(_under_noise(trial, *of_level) for of_level in zip(noisy, NOISE, strict=True)),
        transfer=_transfer(procedure, table, transfer, repeats, seed) if transfer else None,
    )
    return evaluation, trial


def report(trial: Trial, *, seed: int) -> Report:
    """Score answers.

    Parameters
    ----------
    trial : Trial
    seed : int
        Of the resamples.
    """
    weights = resamples(trial.groups, seed=seed)
    once = np.ones((1, len(trial.truth)))
    confusion, resampled = trial.confusion(), trial.confusion(weights)
    confidence = trial.proba.max(axis=1)
    right = trial.proba.argmax(axis=1) == trial.truth
    covered = trial.sets[np.arange(len(trial.truth)), trial.truth]
    aucs, resampled_aucs = (
        np.array([_roc_auc(trial.proba[:, k], trial.truth == k, w) for k in range(4)]) for w in (once, weights)
    )
    by_confidence = right[np.argsort(-confidence, kind="stable")]
    return Report(
        macro_f1=score(float(macro_f1(confusion)), macro_f1(resampled)),
        accuracy=_share(right, weights),
        roc_auc=score(float(aucs.mean()), resampled_aucs.mean(axis=0)),
        ece=score(expected_calibration_error(confidence, right), _resampled_ece(confidence, right, weights)),
        coverage=_share(covered, weights),
        set_size=round(float(trial.sets.sum(axis=1).mean()), 4),
        in_domain=round(float(trial.familiar.mean()), 4),
        answered={f"{s:.0%}": round(float(by_confidence[: int(s * len(right))].mean()), 4) for s in ANSWERED},
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        emotions={
            emotion: EmotionScores(
                precision=score(float(_precisions(confusion)[k]), _precisions(resampled)[:, k]),
                recall=score(float(recalls(confusion)[k]), recalls(resampled)[:, k]),
                roc_auc=score(float(aucs[k, 0]), resampled_aucs[k]),
                coverage=_share(covered[trial.truth == k], weights[:, trial.truth == k]),
            )
            for k, emotion in enumerate(EMOTIONS)
        },
    )


def answers(classifier: Any, table: Table) -> Trial:
    """Ask a fitted classifier about rows it was not trained on."""
    proba = classifier.predict_proba(table.X)
    return Trial(
        truth=codes(table.y),
        groups=near_duplicate_groups(table.X),
        proba=proba,
        sets=classifier.label_sets(proba, COVERAGE),
        familiar=classifier.in_domain(table.X),
    )


def _transfer(procedure: EmotionClassifier, home: Table, path: Path, repeats: int, seed: int) -> Transfer:
    abroad, _ = read_distinct(path)
    fitted = clone(procedure).fit(home.X, home.y, near_duplicate_groups(home.X))
    own = try_procedure(procedure, abroad, abroad, coverage=COVERAGE, seed=seed, repeats=repeats)
    return Transfer(
        table=path.name,
        rows=len(abroad.y),
        as_it_is=report(answers(fitted, abroad), seed=seed),
        adapted=report(answers(fitted.adapt(abroad.X), abroad), seed=seed),
        own_labels=report(own, seed=seed),
    )


def _under_noise(clean: Trial, noisy: Trial, deviations: float) -> Noise:
    unchanged = noisy.proba.argmax(axis=1) == clean.proba.argmax(axis=1)
    return Noise(deviations, round(float(macro_f1(noisy.confusion())), 4), round(float(unchanged.mean()), 4))


def _share(hits: NDArray[np.bool_], weights: NDArray[np.float64]) -> Score:
    return score(float(hits.mean()), (weights @ hits) / np.maximum(weights.sum(axis=1), 1e-12))


def _precisions(confusion: NDArray[np.float64]) -> NDArray[np.float64]:
    return recalls(np.swapaxes(confusion, -1, -2))


def _roc_auc(
    probability: NDArray[np.float64], positive: NDArray[np.bool_], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Share of (positive, negative) pairs in the right order, ties counting half, under each (B, n) row weight."""
    higher, lower = probability[positive][:, np.newaxis], probability[~positive]
    ordered = (higher > lower) + 0.5 * (higher == lower)
    of_positive, of_negative = weights[:, positive], weights[:, ~positive]
    pairs = of_positive.sum(axis=1) * of_negative.sum(axis=1)
    return np.asarray(((of_positive @ ordered) * of_negative).sum(axis=1) / np.maximum(pairs, 1e-12))


def _resampled_ece(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    times = weights.astype(np.int64)
    return np.array(
        [expected_calibration_error(np.repeat(confidence, t), np.repeat(right, t)) for t in times],
    )
