"""Why macro-F1 stops where it does: the rows that every kind of classifier gets wrong, one by one.

``python -m tests.bench.label_doubt HOME.csv`` asks very different classifiers out of fold. A row on which all are
wrong, and all in the same way, is one that sounds like another emotion by these 50 numbers, whoever listens: its label
may be wrong, or what makes it what it is lies outside them. Either way no choice of classifier mends it.

References
----------
Northcutt, Jiang and Chuang (2021), Confident Learning: Estimating Uncertainty in Dataset Labels, JAIR 70.
"""

import argparse
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.datasets import load_table
from model.emotions import EMOTIONS
from model.experts import LinearExpert
from model.inputs import INPUT_NAMES, derive_inputs
from model.train import ESTIMATOR as SHIPPED_CLASS
from model.train import build, read_distinct
from model.trial import Table, codes, try_procedure
from tests.bench.model_ladder import REPEATS, out_of_fold
from tests.bench.rungs import RUNGS, SHIPPED

JURY: Final = (SHIPPED, "logistic regression, the 50 columns", "LDA", "SVM", "extra trees", "gradient boosting")
TELLING: Final = 3


def usual_answers(table: Table, rung: str) -> NDArray[np.int64]:
    """Give the answer of most repeats of the folds, shape (n,)."""
    answers = out_of_fold(table, RUNGS[rung]).reshape(REPEATS, -1)
    return np.asarray([np.bincount(of_row, minlength=4).argmax() for of_row in answers.T])


def doubted_labels(P: NDArray[np.float64], truth: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Find labels that confident learning doubts.

    Another label must reach the mean probability that its own rows receive, and more than any other that does so.

    Parameters
    ----------
    P : np.ndarray, shape (n, 4), float64
        Out-of-fold probabilities.
    truth : np.ndarray, shape (n,), int64

    Returns
    -------
    np.ndarray, shape (n,), bool
    """
    expected = np.array([P[truth == label, label].mean() for label in range(P.shape[1])])
    reached = np.where(expected <= P, P, 0.0)
    return np.asarray(reached.any(axis=1) & (reached.argmax(axis=1) != truth))


def telling(table: Table, said: NDArray[np.int64], row: int) -> str:
    """Name the inputs that spoke most for the answer against the label, in standard deviations from the mean."""
    inputs, truth = derive_inputs(table.X), codes(table.y)
    Z = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
    others = np.arange(len(Z)) != row
    expert = LinearExpert(np.arange(len(INPUT_NAMES))).fit(Z[others], truth[others])
    spoke = Z[row] * (expert.coef_[:, said[row]] - expert.coef_[:, truth[row]])
    most = np.argsort(-spoke)[:TELLING]
    return ", ".join(f"{INPUT_NAMES[i]} {Z[row, i]:+.1f}" for i in most)


def main() -> None:
    """Ask the jury and print what all of it gets wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    path = parser.parse_args().home
    table, _ = read_distinct(path)
    truth = codes(table.y)
    lines = [int(np.flatnonzero((load_table(path)[0] == row).all(axis=1))[0]) + 2 for row in table.X]
    said = np.array([usual_answers(table, rung) for rung in JURY])
    wrong = said != truth
    by_all, alike = wrong.all(axis=0), (said == said[0]).all(axis=0)
    trial = try_procedure(build(SHIPPED_CLASS, {}), table, table, coverage=0.9, seed=0, repeats=REPEATS)
    doubted = doubted_labels(trial.proba.reshape(REPEATS, -1, 4).mean(axis=0), truth)

    print(f"{len(truth)} rows, {len(JURY)} kinds of classifier: {', '.join(JURY)}")
    print(f"wrong, each: {', '.join(str(count) for count in wrong.sum(axis=1))}")
    print(f"wrong by at least one: {wrong.any(axis=0).sum()}; by all: {by_all.sum()}, alike: {(by_all & alike).sum()}")
    independent = float(np.prod(wrong.mean(axis=1)) * len(truth))
    print(f"wrong by all if they erred independently: {independent:.2f}")
    print(f"a classifier right wherever any of them is: accuracy {1 - by_all.mean():.3f}")
    print(
        f"labels doubted by confident learning: {doubted.sum()} ({doubted.mean():.1%}), of them wrong by all: ", end=""
    )
    print((doubted & by_all).sum())
    print(
        "\n| line | labelled | heard as | doubted | what speaks for it, in standard deviations |\n|---|---|---|---|---|"
    )
    for row in np.flatnonzero(by_all & alike).tolist():
        label, answer = EMOTIONS[truth[row]], EMOTIONS[said[0, row]]
        print(f"| {lines[row]} | {label} | {answer} | {'yes' * bool(doubted[row])} | {telling(table, said[0], row)} |")


if __name__ == "__main__":
    main()
