"""A candidate beside the champion: the same rows, the same folds, the same resamples.

The candidate is fitted again on its own training table without the rows asked; the rows asked come from the reference
table, which is the training table unless another is named. The champion is treated alike where it was trained on one
of the two; where it was not, its artifact is asked as it stands, which can only flatter it.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from model.cleaning import CLASS_COLUMN, clean_table
from model.errors import ArtifactMismatchError, DatasetError
from model.gates import NOISE
from model.judge import Judge
from model.train import build, read_distinct, read_training_table
from model.trial import Table, Trial, ask, try_procedure, try_under_noise


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Every trial that gates and simulation need.

    Parameters
    ----------
    candidate, champion : Trial
        On the reference table; the champion is None when there is no other.
    noisy : Trial
        The candidate on the reference table with noise.
    modified, champion_modified : Trial, optional
        On the table that was made dirty and cleaned again, where one was given.
    """

    candidate: Trial
    champion: Trial | None
    noisy: Trial
    modified: Trial | None
    champion_modified: Trial | None


# One thread, as in training.
@threadpool_limits.wrap(limits=1)
def compare(
    candidate: Judge,
    champion: Judge | None,
    data: Path,
    *,
    reference: Path | None = None,
    modified: Path | None = None,
    adapted_to: NDArray[np.float64] | None = None,
    seed: int = 0,
    repeats: int = 3,
) -> Comparison:
    """Try both on the same rows.

    Parameters
    ----------
    candidate, champion : Judge
        What would come and what is there.
    data : Path
        The candidate's training table.
    reference : Path, optional
        The labelled table that decides; ``data`` by default.
    modified : Path, optional
        A dirty copy of the reference. It is cleaned, and each procedure learns from it and is asked about it, so that
        the same figures say what dirt in the data costs.
    adapted_to : np.ndarray, shape (n, 50), optional
        The catalogue that an adapted candidate was adapted to.
    seed, repeats : int
        Of the folds.

    Returns
    -------
    Comparison

    Raises
    ------
    DatasetError
        If a table cannot be used.
    ArtifactMismatchError
        If ``data`` is not what the candidate was trained on, or its catalogue is missing.
    """
    learnt = read_training_table(candidate.manifest, data)
    asked, asked_sha256 = read_distinct(reference or data)
    # One object for both, so that rows are not taken for near-duplicates of themselves.
    learnt = asked if asked_sha256 == candidate.manifest.data.sha256 else learnt
    dirty = read_dirty(modified) if modified else None
    if candidate.manifest.adapted_to and adapted_to is None:
        catalogue = candidate.manifest.adapted_to.name
        raise ArtifactMismatchError(f"{candidate.version}: adapted to {catalogue}; name that catalogue: --adapted-to")

    def trial(judge: Judge, table: Table, known: Table | None) -> Trial:
        coverage = judge.manifest.policy.coverage
        if known is None:
            return ask(judge.classifier, table, coverage=coverage, repeats=repeats)
        procedure = build(judge.manifest.estimator, judge.manifest.params)
        return try_procedure(
            procedure,
            known,
            table,
            coverage=coverage,
            seed=seed,
            repeats=repeats,
            adapted_to=(adapted_to if judge is candidate else None),
        )

    tables = {candidate.manifest.data.sha256: learnt, asked_sha256: asked}
    rival = champion if champion is not None and champion.version != candidate.version else None
    rival_learnt = tables.get(rival.manifest.data.sha256) if rival and not rival.manifest.adapted_to else None
    clean, noisy = try_under_noise(
        build(candidate.manifest.estimator, candidate.manifest.params),
        learnt,
        asked,
        (0.0, NOISE),
        coverage=candidate.manifest.policy.coverage,
        seed=seed,
        repeats=repeats,
        adapted_to=adapted_to,
    )
    return Comparison(
        candidate=clean,
        champion=trial(rival, asked, rival_learnt) if rival else None,
        noisy=noisy,
        modified=trial(candidate, dirty, dirty) if dirty else None,
        champion_modified=trial(rival, dirty, dirty if rival_learnt else None) if rival and dirty else None,
    )


def read_dirty(path: Path) -> Table:
    """Read a dirty table, clean it, and leave out rows without a class; missing cells stay missing (NaN).

    Raises
    ------
    DatasetError
        If it is not a CSV table with the class and the 50 features.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *rows = [row for row in csv.reader(file) if row] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path}: cannot be read as a CSV table: {error}") from error
    renamed = [CLASS_COLUMN if name.strip() == "emotion" else name for name in header]
    labelled = [row for row in clean_table(renamed, rows).rows if row[0]]
    if not labelled:
        raise DatasetError(f"{path}: expected rows with a class, got none")
    X = np.array([[float(cell) if cell else np.nan for cell in row[1:]] for row in labelled])
    return Table(X, np.array([row[0] for row in labelled]))
