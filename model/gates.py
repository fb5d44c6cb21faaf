"""The gates a candidate passes before it becomes champion, each with the figure measured and the limit it met.

A gate that could not be measured has not been passed. "No worse" than the champion means not significantly worse: the
95 % interval of the paired difference reaches zero. The four emotions share that level (Bonferroni).
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.schema import FEATURE_NAMES
from model.artifact import ESTIMATOR_FILE, MANIFEST_FILE
from model.emotions import EMOTIONS
from model.errors import ModelError
from model.judge import Judge
from model.train import disagreements, retrain
from model.trial import Trial, interval, macro_f1, recalls, resamples

MACRO_F1_FLOOR: Final = 0.75
RECALL_SPREAD_LIMIT: Final = 0.20
# Share of its own macro-F1 that a candidate keeps under noise of a fifth of each column's standard deviation, and on
# the table that was made dirty and cleaned again.
NOISE: Final = 0.2
ROBUSTNESS_LIMIT: Final = 0.90
MILLISECONDS_LIMIT: Final = 1.0
BYTES_LIMIT: Final = 5_000_000
# A track's fragments are judged in one call: at most eight.
FRAGMENTS: Final = 8


@dataclass(frozen=True, slots=True)
class Gate:
    """One question, what was measured, and what was allowed.

    Parameters
    ----------
    name : str
        ``integrity``, ``performance``, ``fairness``, ``robustness``, ``efficiency`` or ``traceability``.
    question, measured, limit : str
        For a person to read.
    passed : bool
        Whether it opens.
    """

    name: str
    question: str
    measured: str
    limit: str
    passed: bool


def performance(candidate: Trial, champion: Trial | None, *, seed: int) -> list[Gate]:
    """Ask whether the candidate is good enough, and no worse than the champion."""
    weights = resamples(candidate.groups, seed=seed)
    value, resampled = float(macro_f1(candidate.confusion())), macro_f1(candidate.confusion(weights))
    low, high = interval(resampled)
    gates = [
        Gate(
            "performance",
            "macro-F1 out of fold",
            f"{value:.3f} ({low:.3f} to {high:.3f})",
            f"at least {MACRO_F1_FLOOR:.3f}",
            value >= MACRO_F1_FLOOR,
        )
    ]
    if champion is not None:
        difference = value - float(macro_f1(champion.confusion()))
        low, high = interval(resampled - macro_f1(champion.confusion(weights)))
        gates.append(
            Gate(
                "performance",
                "macro-F1, against the champion",
                f"{difference:+.3f} ({low:+.3f} to {high:+.3f})",
                "no worse",
                high >= 0.0,
            )
        )
    return gates


def fairness(candidate: Trial, champion: Trial | None, *, seed: int) -> list[Gate]:
    """Ask whether every emotion is heard about as well, and none worse than before."""
    weights = resamples(candidate.groups, seed=seed)
    each, resampled = recalls(candidate.confusion()), recalls(candidate.confusion(weights))
    spread = float(each.max() - each.min())
    worst, best = EMOTIONS[int(each.argmin())], EMOTIONS[int(each.argmax())]
    gates = [
        Gate(
            "fairness",
            "spread of recall between emotions",
            f"{spread:.3f} ({best} {each.max():.2f}, {worst} {each.min():.2f})",
            f"at most {RECALL_SPREAD_LIMIT:.2f}",
            spread <= RECALL_SPREAD_LIMIT,
        )
    ]
    if champion is not None:
        before = recalls(champion.confusion())
        differences = resampled - recalls(champion.confusion(weights))
        for index, label in enumerate(EMOTIONS):
            low, high = interval(differences[:, index], confidence=1.0 - 0.05 / len(EMOTIONS))
            gates.append(
                Gate(
                    "fairness",
                    f"recall of {label}, against the champion",
                    f"{each[index] - before[index]:+.3f} ({low:+.3f} to {high:+.3f})",
                    "no worse",
                    high >= 0.0,
                )
            )
    return gates


def robustness(candidate: Trial, noisy: Trial, modified: Trial | None) -> list[Gate]:
    """Ask whether it holds when the numbers are less clean than they were at home."""
    home = float(macro_f1(candidate.confusion()))
    asked = [
        (f"macro-F1 under noise of {NOISE:g} SD", noisy),
        ("macro-F1 on the modified table", modified),
    ]
    gates = []
    for question, trial in asked:
        if trial is None:
            gates.append(Gate("robustness", question, "not measured", "name the table with --modified", False))
            continue
        kept = float(macro_f1(trial.confusion()))
        gates.append(
            Gate(
                "robustness",
                question,
                f"{kept:.3f}, {kept / max(home, 1e-9):.0%} of {home:.3f}",
                f"at least {ROBUSTNESS_LIMIT:.0%}",
                kept >= ROBUSTNESS_LIMIT * home,
            )
        )
    return gates


def efficiency(judge: Judge, directory: Path) -> list[Gate]:
    """Ask whether it is small and quick enough to sit in every worker."""
    milliseconds = judging_milliseconds(judge)
    size = sum((directory / name).stat().st_size for name in (ESTIMATOR_FILE, MANIFEST_FILE))
    return [
        Gate(
            "efficiency",
            f"CPU time a vector, {FRAGMENTS} a call",
            f"{milliseconds:.2f} ms",
            f"at most {MILLISECONDS_LIMIT:.2f} ms",
            milliseconds <= MILLISECONDS_LIMIT,
        ),
        Gate(
            "efficiency",
            "size of the artifact",
            f"{size / 1e6:.2f} MB",
            f"at most {BYTES_LIMIT / 1e6:.2f} MB",
            size <= BYTES_LIMIT,
        ),
    ]


def traceability(
    judge: Judge, data: Path, X: NDArray[np.float64], *, adapted_to: NDArray[np.float64] | None = None
) -> list[Gate]:
    """Ask whether the artifact is what its manifest says, by training it again.

    Parameters
    ----------
    judge : Judge
        The candidate.
    data : Path
        The table that it says it was trained on.
    X : np.ndarray, shape (n, 50), float64
        What both are asked.
    adapted_to : np.ndarray, shape (m, 50), optional
        The catalogue that it says it was adapted to.
    """
    commit = judge.manifest.commit
    known = commit != "unknown" and not commit.endswith("-dirty")
    gates = [Gate("traceability", "commit of the code", commit[:12] + commit[40:], "committed code", known)]
    question, limit = "trained again from the manifest", "all the same"
    try:
        differing = disagreements(judge.classifier, retrain(judge.manifest, data, adapted_to=adapted_to), X)
    except ModelError as error:
        return [*gates, Gate("traceability", question, str(error), limit, False)]
    measured = f"{len(X) - differing:,} of {len(X):,} predictions the same"
    return [*gates, Gate("traceability", question, measured, limit, differing == 0)]


def judging_milliseconds(judge: Judge, calls: int = 50) -> float:
    """Measure the CPU time of judging, per vector: the least of five runs, so that noise of others does not count."""
    X = np.tile([[middle[4] for middle in judge.manifest.deciles.values()]], (FRAGMENTS, 1))
    if X.shape[1] != len(FEATURE_NAMES):
        raise ModelError(f"{judge.version}: expected deciles of {len(FEATURE_NAMES)} features, got {X.shape[1]}")
    starts = [30.0 * index for index in range(FRAGMENTS)]
    judge.judge(X, starts)
    runs = []
    for _ in range(5):
        begun = time.process_time()
        for _ in range(calls):
            judge.judge(X, starts)
        runs.append((time.process_time() - begun) / calls / FRAGMENTS)
    return 1e3 * min(runs)
