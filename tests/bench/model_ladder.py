"""What was tried on the way to the shipped classifier, on the same folds, and what combining fragments brings.

``python -m tests.bench.model_ladder HOME.csv [ABROAD.csv]`` prints, for each rung, macro-F1 out of fold at home with
its 95 % interval and the paired difference to the shipped classifier, and macro-F1 abroad: as it is, with the inputs
standardised by the other table's own statistics, and trained there out of fold.
"""

import argparse
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler

from model.classifier import EmotionClassifier
from model.datasets import near_duplicate_groups
from model.train import read_distinct
from model.trial import Table, codes, interval, macro_f1, resamples
from tests.bench.rungs import RUNGS, SHIPPED, Rung, Shipped

Inputs = NDArray[np.float64]
REPEATS: Final = 3


def out_of_fold(table: Table, rung: Rung) -> NDArray[np.int64]:
    """Give the answers out of fold, shape (REPEATS * n,), as label numbers."""
    truth, groups, answers = codes(table.y), near_duplicate_groups(table.X), []
    for repeat in range(REPEATS):
        answer = np.empty(len(truth), dtype=np.int64)
        folds = StratifiedGroupKFold(10, shuffle=True, random_state=repeat)
        for train, asked in folds.split(table.X, truth, groups):
            answer[asked] = clone(rung).fit(table.X[train], truth[train]).predict(table.X[asked])
        answers.append(answer)
    return np.concatenate(answers)


def abroad(home: Table, other: Table, rung: Rung) -> tuple[float, float, float]:
    """Give macro-F1 on another table: as it is, standardised (the shipped one: adapted), on its own labels."""
    truth, fitted = codes(other.y), clone(rung).fit(home.X, codes(home.y))
    if isinstance(fitted, Shipped):
        adapted = fitted.model_.adapt(other.X).predict_proba(other.X).argmax(axis=1)
    elif hasattr(fitted, "steps"):
        adapted = fitted[-1].predict(StandardScaler().fit_transform(fitted[0].transform(other.X)))
    else:
        adapted = None
    own = _f1(np.tile(truth, REPEATS), out_of_fold(other, rung))[0]
    there = np.nan if adapted is None else float(_f1(truth, adapted)[0])
    return float(_f1(truth, fitted.predict(other.X))[0]), there, float(own)


def fragments(table: Table, groups: NDArray[np.int64]) -> None:
    """Compare the middle fragment with the combination of several, by simulation."""
    rng = np.random.default_rng(0)
    truth = codes(table.y)
    folds = StratifiedGroupKFold(10, shuffle=True, random_state=0)
    spread = table.X.std(axis=0)
    hits: dict[tuple[float, int], list[bool]] = {}
    for train, asked in folds.split(table.X, truth, groups):
        fitted = EmotionClassifier().fit(table.X[train], table.y[train], groups[train])
        for noise in (0.1, 0.2, 0.5):
            for row in asked:
                P = fitted.predict_proba(table.X[row] + noise * spread * rng.standard_normal((8, len(spread))))
                for count in (1, 3, 8):
                    right = bool(fitted.combine(P[:count]).argmax() == truth[row])
                    hits.setdefault((noise, count), []).append(right)
    print("accuracy by number of fragments, each the row with its own noise")
    for (noise, count), outcomes in hits.items():
        print(f"  noise {noise} sd, {count} fragments: {np.mean(outcomes):.3f}")


def _f1(truth: NDArray[np.int64], answer: NDArray[np.int64], weights: Inputs | None = None) -> Inputs:
    cells = np.eye(16)[truth * 4 + answer]
    counts = (np.ones((1, len(truth))) if weights is None else weights) @ cells
    return macro_f1(counts.reshape(-1, 4, 4))


def main() -> None:
    """Climb the ladder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("abroad", type=Path, nargs="?")
    arguments = parser.parse_args()
    home, _ = read_distinct(arguments.home)
    other = read_distinct(arguments.abroad)[0] if arguments.abroad else None
    groups = near_duplicate_groups(home.X)
    truth = np.tile(codes(home.y), REPEATS)
    weights = resamples(np.tile(groups, REPEATS), seed=0)
    reference = _f1(truth, out_of_fold(home, RUNGS[SHIPPED]), weights)
    print(f"{'':52s} home   95 %           against shipped    abroad: as it is, standardised, own labels")
    for name, rung in RUNGS.items():
        answer = out_of_fold(home, rung)
        resampled = _f1(truth, answer, weights)
        (low, high), (worse, better) = interval(resampled), interval(resampled - reference)
        line = f"{name:52s} {_f1(truth, answer)[0]:.3f}  {low:.3f} to {high:.3f}  {worse:+.3f} to {better:+.3f}"
        if other is not None:
            line += "  " + "  ".join("-" if np.isnan(score) else f"{score:.3f}" for score in abroad(home, other, rung))
        print(line, flush=True)
    fragments(home, groups)


if __name__ == "__main__":
    main()
