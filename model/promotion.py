"""A candidate before the gates: every question asked in one place, the cheapest and most suspicious first."""

from pathlib import Path

from model.artifact import load_artifact
from model.catalogue import read_catalogue
from model.comparison import compare
from model.errors import ArtifactError
from model.gates import Gate, efficiency, fairness, performance, robustness, traceability
from model.judge import Judge
from model.registry import SHIPPED_ROOT, Registry
from model.train import read_distinct


def ask_gates(
    artifact: Path,
    champion: Judge,
    data: Path,
    *,
    reference: Path | None = None,
    modified: Path | None = None,
    adapted_to: Path | None = None,
    seed: int = 0,
    repeats: int = 3,
) -> list[Gate]:
    """Ask every gate about a candidate.

    Parameters
    ----------
    artifact : Path
        The candidate's directory. One that cannot be trusted stops at the first gate, unopened.
    champion : Judge
        What it is compared with.
    data, reference, modified : Path
        As for `compare`; without ``modified`` robustness is not shown.
    adapted_to : Path, optional
        The catalogue that an adapted candidate names.
    seed, repeats : int
        Of the folds.

    Returns
    -------
    list of Gate
        In order; promotion needs all of them passed.

    Raises
    ------
    DatasetError
        If the reference or the modified table cannot be used: that is not the candidate's fault.
    """
    question, limit = "digests, permissions, versions", "as stated"
    try:
        candidate = load_artifact(artifact)
    except ArtifactError as error:
        return [Gate("integrity", question, str(error), limit, False)]
    trusted = Gate("integrity", question, "all as stated", limit, True)
    catalogue = read_catalogue(adapted_to).X if adapted_to else None
    asked, _ = read_distinct(reference or data)
    traced = traceability(candidate, data, asked.X, adapted_to=catalogue)
    quick = efficiency(candidate, artifact)
    if not all(gate.passed for gate in traced if gate.question.startswith("trained again")):
        # What cannot be trained again cannot be tried: its figures would be another model's.
        return [trusted, *quick, *traced]
    try:
        tried = compare(
            candidate,
            champion,
            data,
            reference=reference,
            modified=modified,
            adapted_to=catalogue,
            seed=seed,
            repeats=repeats,
        )
    except ValueError as error:
        reason = str(error).partition("\n")[0]
        return [trusted, Gate("performance", "fitting it in ten folds", reason, "possible", False), *quick, *traced]
    return [
        trusted,
        *performance(tried.candidate, tried.champion, seed=seed),
        *fairness(tried.candidate, tried.champion, seed=seed),
        *robustness(tried.candidate, tried.noisy, tried.modified),
        *quick,
        *traced,
    ]


def champion_of(registry: Registry) -> Judge:
    """Give what a candidate must beat: the registry's champion, or the shipped one where it has none yet."""
    return (registry if registry.current("champion") else Registry(SHIPPED_ROOT)).load("champion")


def seed_registry(registry: Registry) -> Registry:
    """Put the shipped champion into a registry that has none, so that there is something to beat and to return to."""
    if registry.current("champion") is None:
        registry.add(SHIPPED_ROOT / "champion", "champion")
    return registry
