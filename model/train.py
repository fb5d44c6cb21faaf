"""From a labelled table to an artifact, and from a manifest to the same artifact again."""

import hashlib
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from features.schema import FEATURE_NAMES, FEATURE_VERSION
from model.artifact import installed_libraries
from model.calibration import expected_calibration_error
from model.classifier import EmotionClassifier
from model.datasets import drop_exact_duplicates, load_table, near_duplicate_groups
from model.emotions import EMOTIONS
from model.errors import ArtifactMismatchError
from model.judge import DECIMALS, Classifier, Judge
from model.manifest import Adaptation, DataReference, Manifest, Score
from model.policy import Policy, read_policy
from model.trial import Procedure, Table, Trial, macro_f1, recalls, resamples, score, try_procedure

# What a manifest may name: an import path from a file is never simply imported.
ESTIMATORS: Final[dict[str, type[Any]]] = {"model.classifier:EmotionClassifier": EmotionClassifier}
ESTIMATOR: Final = "model.classifier:EmotionClassifier"

PUBLISHED_SHA256: Final = "8df80318735ee45123f7dfd5201927a6404836332dc80d733d30a7250856030c"
CITATION: Final = (
    "Er, M. B., and Aydilek, I. B. (2019), Music emotion recognition by using chroma spectrogram and deep visual "
    "features, Int. J. Comput. Intell. Syst. 12(2), 1622-1634; UCI 862, doi 10.24432/C5JG93"
)
LICENCE: Final = "CC BY 4.0"

REPEATS: Final = 3


# One thread: how many share a sum changes its last digits, and an artifact must be reproduced wherever it is retrained.
@threadpool_limits.wrap(limits=1)
def train(
    path: Path,
    *,
    seed: int = 0,
    params: dict[str, Any] | None = None,
    policy: Policy | None = None,
    citation: str = "",
    licence: str = "",
) -> tuple[Procedure, Manifest]:
    """Train on every distinct row of a table, and score the procedure out of fold.

    Parameters
    ----------
    path : Path
        CSV with a label column and the 50 features, without missing cells.
    seed : int
        ``random_state`` of the classifier and of the folds.
    params : dict, optional
        Parameters of the classifier other than its defaults.
    policy : Policy, optional
        What may be done with its answers; the packaged one by default.
    citation, licence : str
        Of the table; known for the published one.

    Returns
    -------
    classifier, manifest
        For `save_artifact`.

    Raises
    ------
    DatasetError
        If the table cannot be trained on.
    """
    policy = policy or read_policy()
    table, sha256 = read_distinct(path)
    if sha256 == PUBLISHED_SHA256:
        citation, licence = CITATION, LICENCE
    params = {**(params or {}), "random_state": seed}
    classifier = build(ESTIMATOR, params)
    trial = try_procedure(classifier, table, table, coverage=policy.coverage, seed=seed, repeats=REPEATS)
    scores, calibration = summarise(trial, seed=seed)
    classifier.fit(table.X, table.y, near_duplicate_groups(table.X))
    manifest = Manifest(
        labels=EMOTIONS,
        feature_version=FEATURE_VERSION,
        estimator=ESTIMATOR,
        params=params,
        data=DataReference(name=path.name, sha256=sha256, rows=len(table.y), citation=citation, licence=licence),
        seed=seed,
        commit=current_commit(),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        python=platform.python_version(),
        libraries=installed_libraries(),
        protocol=(
            f"exact duplicates removed, near-duplicates grouped, {REPEATS} repeats of stratified grouped 10-fold; "
            "95 % intervals over 1000 resamples of groups"
        ),
        scores=scores,
        calibration=calibration,
        policy=policy,
        deciles=deciles(table.X),
        files={},
    )
    return classifier, manifest


@threadpool_limits.wrap(limits=1)
def retrain(manifest: Manifest, path: Path, *, adapted_to: NDArray[np.float64] | None = None) -> Classifier:
    """Train again exactly as a manifest says.

    Parameters
    ----------
    manifest : Manifest
        Of the artifact.
    path : Path
        The table that it names.
    adapted_to : np.ndarray, shape (n, 50), optional
        The catalogue that it names, where it was adapted.

    Returns
    -------
    Classifier
        Fitted; it must predict what the artifact predicts.

    Raises
    ------
    ArtifactMismatchError
        If the table or the catalogue is another one.
    """
    table = read_training_table(manifest, path)
    classifier = build(manifest.estimator, manifest.params)
    classifier.fit(table.X, table.y, near_duplicate_groups(table.X))
    if manifest.adapted_to is None:
        return classifier
    got = None if adapted_to is None else catalogue_digest(adapted_to)
    if adapted_to is None or got != manifest.adapted_to.sha256:
        raise ArtifactMismatchError(
            f"expected the catalogue that it was adapted to, {manifest.adapted_to.name} with digest "
            f"{manifest.adapted_to.sha256}, got {got or 'none'}"
        )
    return classifier.adapt(adapted_to)


def adapt(judge: Judge, X: NDArray[np.float64], name: str) -> tuple[Classifier, Manifest]:
    """Adapt a model to an unlabelled catalogue.

    Parameters
    ----------
    judge : Judge
        A model that was not adapted before.
    X : np.ndarray, shape (n, 50), float64
        Features of tracks that represent the catalogue.
    name : str
        What to call it in the manifest.

    Returns
    -------
    classifier, manifest
        For `save_artifact`. Drift is then measured from the catalogue; the scores stay those of the training table.

    Raises
    ------
    ArtifactMismatchError
        If the model was adapted already.
    ValueError
        If there are too few tracks.
    """
    if judge.manifest.adapted_to is not None:
        raise ArtifactMismatchError(f"{judge.version}: already adapted to {judge.manifest.adapted_to.name}")
    adaptation = Adaptation(name=name, sha256=catalogue_digest(X), tracks=len(X))
    changed = msgspec.structs.replace(
        judge.manifest,
        adapted_to=adaptation,
        deciles=deciles(X),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return judge.classifier.adapt(X), changed


def catalogue_digest(X: NDArray[np.float64]) -> str:
    """Digest a catalogue's features, in whatever order its tracks come: SHA-256 of the sorted rows."""
    rows = sorted(np.ascontiguousarray(row, dtype="<f8").tobytes() for row in X)
    return hashlib.sha256(b"".join(rows)).hexdigest()


def disagreements(one: Classifier, other: Classifier, X: NDArray[np.float64]) -> int:
    """Count rows of which two classifiers say anything different, at the decimals that events carry."""
    proba = [np.round(classifier.predict_proba(X), DECIMALS) for classifier in (one, other)]
    return int(np.count_nonzero((proba[0] != proba[1]).any(axis=1)))


def build(estimator: str, params: dict[str, Any]) -> Procedure:
    """Make an unfitted classifier from its name and parameters.

    Raises
    ------
    ArtifactMismatchError
        If the name is not one of ours, or it does not take these parameters.
    """
    if estimator not in ESTIMATORS:
        raise ArtifactMismatchError(f"expected an estimator out of {', '.join(ESTIMATORS)}, got {estimator!r}")
    try:
        classifier: Procedure = ESTIMATORS[estimator](**params)
    except TypeError as error:
        raise ArtifactMismatchError(f"{estimator}: {error}") from error
    return classifier


def read_distinct(path: Path) -> tuple[Table, str]:
    """Read a table without its exact duplicates, with the SHA-256 of its file."""
    X, y = drop_exact_duplicates(*load_table(path))
    return Table(X, y), hashlib.sha256(path.read_bytes()).hexdigest()


def read_training_table(manifest: Manifest, path: Path) -> Table:
    """Read the table that a manifest names.

    Raises
    ------
    ArtifactMismatchError
        If it is another one.
    """
    table, sha256 = read_distinct(path)
    if sha256 != manifest.data.sha256:
        raise ArtifactMismatchError(
            f"{path}: expected the table that was trained on, {manifest.data.name} with SHA-256 "
            f"{manifest.data.sha256}, got {sha256}"
        )
    return table


def summarise(trial: Trial, *, seed: int) -> tuple[dict[str, Score], dict[str, float]]:
    """Give a trial's scores with intervals, and how well its confidence is calibrated.

    Returns
    -------
    scores : dict
        ``macro_f1``, ``accuracy``, and ``recall_<emotion>``.
    calibration : dict
        ``ece`` (expected calibration error over ten equal-width bins of confidence), ``coverage`` and
        ``coverage_<emotion>`` of the prediction sets, ``set_size`` (mean) and ``out_of_domain`` (share).
    """
    confusion = trial.confusion()
    resampled = trial.confusion(resamples(trial.groups, seed=seed))
    scores = {"macro_f1": score(float(macro_f1(confusion)), macro_f1(resampled))}
    accuracy = np.trace(resampled, axis1=1, axis2=2) / resampled.sum(axis=(1, 2))
    scores["accuracy"] = score(float(np.trace(confusion) / confusion.sum()), accuracy)
    for index, label in enumerate(EMOTIONS):
        scores[f"recall_{label}"] = score(recalls(confusion)[index], recalls(resampled)[:, index])
    covered = trial.sets[np.arange(len(trial.truth)), trial.truth]
    ece = expected_calibration_error(trial.proba.max(axis=1), trial.proba.argmax(axis=1) == trial.truth)
    calibration = {"ece": ece, "coverage": float(covered.mean())}
    for index, label in enumerate(EMOTIONS):
        calibration[f"coverage_{label}"] = float(covered[trial.truth == index].mean())
    calibration["set_size"] = float(trial.sets.sum(axis=1).mean())
    calibration["out_of_domain"] = float(1.0 - trial.familiar.mean())
    return scores, {name: round(value, 4) for name, value in calibration.items()}


def deciles(X: NDArray[np.float64]) -> dict[str, tuple[float, ...]]:
    """Give the nine inner deciles of every feature: what drift is measured against."""
    edges = np.quantile(X, np.arange(1, 10) / 10, axis=0)
    return {name: tuple(edges[:, k].tolist()) for k, name in enumerate(FEATURE_NAMES)}


def current_commit() -> str:
    """Give the git commit of this code, ``-dirty`` if tracked files differ from it, ``unknown`` outside a checkout."""
    root = Path(__file__).resolve().parent.parent
    try:
        commit, changes = (
            subprocess.run(  # noqa: S603  (fixed arguments, nothing of a user's in them)
                ["git", "-C", str(root), *arguments],  # noqa: S607  (git is found where the developer has it)
                check=True,
                capture_output=True,
                text=True,
                timeout=10,
            ).stdout.strip()
            for arguments in (
                ["rev-parse", "HEAD"],
                ["status", "--porcelain", "--untracked-files=no", "--", "features", "model"],
            )
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    # The artifact itself is written into the checkout; it is the result, not the code.
    dirty = [line for line in changes.splitlines() if "model/artifacts/" not in line]
    return commit + ("-dirty" if dirty else "")
