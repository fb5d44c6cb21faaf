"""What was tried on the way to the shipped classifier, on the same folds, and what combining fragments brings.

``python -m tests.bench.model_ladder HOME.csv [ABROAD.csv]`` prints, for each rung, macro-F1 out of fold at home with
its 95 % interval and the paired difference to the shipped classifier, and macro-F1 abroad: as it is, with the inputs
standardised by the other table's own statistics, and trained there out of fold.
"""

import argparse
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.svm import SVC

from model.classifier import EmotionClassifier
from model.datasets import near_duplicate_groups
from model.inputs import PORTABLE, derive_inputs
from model.train import read_distinct
from model.trial import Table, codes, interval, macro_f1, resamples

Inputs = NDArray[np.float64]


def raw(X: Inputs) -> Inputs:
    return X


def portable(X: Inputs) -> Inputs:
    return np.asarray(derive_inputs(X)[:, PORTABLE])


LDA: Final = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
RUNGS: Final[dict[str, tuple[Any, Any]]] = {
    "logistic regression, the 50 columns": (raw, LogisticRegression(C=0.05, max_iter=3000)),
    "LDA, the 50 columns": (raw, LDA),
    "logistic regression, derived inputs": (derive_inputs, LogisticRegression(C=0.05, max_iter=3000)),
    "SVM, derived inputs": (derive_inputs, SVC(C=2, gamma="scale")),
    "extra trees, derived inputs": (derive_inputs, ExtraTreesClassifier(200, max_features=0.3, random_state=0)),
    "LDA, derived inputs (local expert)": (derive_inputs, LDA),
    "LDA, portable inputs (portable expert)": (portable, LDA),
}
REPEATS: Final = 2


def out_of_fold(table: Table, groups: NDArray[np.int64], inputs: Any, estimator: Any) -> NDArray[np.int64]:
    """Give the answers out of fold, shape (REPEATS * n,), as label numbers."""
    truth, answers = codes(table.y), []
    for repeat in range(REPEATS):
        answer = np.empty(len(truth), dtype=np.int64)
        folds = StratifiedGroupKFold(10, shuffle=True, random_state=repeat)
        for train, asked in folds.split(table.X, truth, groups):
            Z, centre, scale = _standardised(inputs(table.X[train]))
            fitted = clone(estimator).fit(Z, truth[train])
            answer[asked] = fitted.predict((inputs(table.X[asked]) - centre) / scale)
        answers.append(answer)
    return np.concatenate(answers)


def shipped_out_of_fold(table: Table, groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Do the same with the shipped classifier."""
    truth, answers = codes(table.y), []
    for repeat in range(REPEATS):
        answer = np.empty(len(truth), dtype=np.int64)
        folds = StratifiedGroupKFold(10, shuffle=True, random_state=repeat)
        for train, asked in folds.split(table.X, truth, groups):
            fitted = EmotionClassifier().fit(table.X[train], table.y[train], groups[train])
            answer[asked] = fitted.predict_proba(table.X[asked]).argmax(axis=1)
        answers.append(answer)
    return np.concatenate(answers)


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


def _standardised(Z: Inputs) -> tuple[Inputs, Inputs, Inputs]:
    centre, scale = Z.mean(axis=0), np.maximum(Z.std(axis=0), 1e-12)
    return (Z - centre) / scale, centre, scale


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
    groups = near_duplicate_groups(home.X)
    truth = np.tile(codes(home.y), REPEATS)
    weights = resamples(np.tile(groups, REPEATS), seed=0)
    shipped = shipped_out_of_fold(home, groups)
    reference = _f1(truth, shipped, weights)
    low, high = interval(reference)
    print(f"{'shipped: both experts, gated':40s} {_f1(truth, shipped)[0]:.3f} ({low:.3f} to {high:.3f})", flush=True)
    for name, (inputs, estimator) in RUNGS.items():
        answer = out_of_fold(home, groups, inputs, estimator)
        resampled = _f1(truth, answer, weights)
        low, high = interval(resampled)
        worse, better = interval(resampled - reference)
        line = f"{name:40s} {_f1(truth, answer)[0]:.3f} ({low:.3f} to {high:.3f}), {worse:+.3f} to {better:+.3f}"
        if arguments.abroad:
            abroad, _ = read_distinct(arguments.abroad)
            Z, centre, scale = _standardised(inputs(home.X))
            fitted = clone(estimator).fit(Z, codes(home.y))
            there, other = codes(abroad.y), inputs(abroad.X)
            as_it_is = _f1(there, fitted.predict((other - centre) / scale))[0]
            standardised = _f1(there, fitted.predict(_standardised(other)[0]))[0]
            own = _f1(np.tile(there, REPEATS), out_of_fold(abroad, near_duplicate_groups(abroad.X), inputs, estimator))
            line += f"; abroad {as_it_is:.3f}, standardised {standardised:.3f}, own labels {own[0]:.3f}"
        print(line, flush=True)
    fragments(home, groups)


if __name__ == "__main__":
    main()
