"""``emotion-stream model``: train, compare, promote and roll back what judges the music."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console

from consumer.commands.model_evaluate import evaluate
from model.artifact import load_artifact, read_manifest, save_artifact
from model.errors import ArtifactError, ModelError
from model.judge import Classifier, Judge
from model.manifest import Manifest
from model.registry import SHIPPED_ROOT, Registry

_output = Console(highlight=False)
_progress = Console(stderr=True)
_directory = click.Path(path_type=Path, file_okay=False)
_existing = click.Path(path_type=Path, exists=True, dir_okay=False)
_anything = click.Path(path_type=Path, exists=True)
_registry = click.option(
    "--registry",
    "root",
    type=_directory,
    default=SHIPPED_ROOT,
    envvar="EMOTION_MODEL_DIR",
    help="Folder of model artifacts; the packaged one by default.",
)
_to = click.option("--output", type=_directory, help="Write the artifact to this folder instead of a registry.")
_seed = click.option("--seed", type=int, default=0, show_default=True, help="Of the classifier and of the folds.")
_repeats = click.option("--repeats", type=click.IntRange(1), default=3, show_default=True, help="Of the ten folds.")
_reference = click.option("--reference", type=_existing, help="The labelled table that decides; --data by default.")
_catalogue = click.option(
    "--catalogue", type=_anything, help="Folder of audio, table of `emotion-stream features`, or .jsonl recording."
)
_audio = click.option(
    "--audio",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Where a recording's tracks are heard; each file is named for its track_id.",
)
_adapted_to = click.option("--adapted-to", type=_anything, help="The catalogue that an adapted candidate names.")


@click.group(name="model")
def command() -> None:
    """Train, evaluate, compare, promote and roll back models.

    ARTIFACT is a folder, or a name or version of the registry: champion, challenger, 20260102-...
    """


command.add_command(evaluate)


@command.command()
@click.option("--data", type=_existing, required=True, help="Labelled table: `Class` and the 50 features.")
@click.option("--from-manifest", type=_anything, help="Train as this artifact or manifest says, and compare with it.")
@_seed
@_to
@_registry
@click.option("--citation", default="", help="Whose table it is; known for the published one.")
@click.option("--licence", default="", help="On what terms; known for the published one.")
def train(
    data: Path, from_manifest: Path | None, seed: int, output: Path | None, root: Path, citation: str, licence: str
) -> None:
    """Train on a labelled table: the result becomes the registry's challenger.

    With --from-manifest nothing is written: an artifact is trained again and its predictions are compared.
    """
    from consumer.commands import model_tables
    from model import train as training

    with _clear_errors(), _progress.status("training, and scoring out of fold ..."):
        if from_manifest is not None:
            _train_again(load_artifact(from_manifest), data)
            return
        classifier, manifest = training.train(data, seed=seed, citation=citation, licence=licence)
        manifest, where = _keep(classifier, manifest, output, root)
    _output.print(model_tables.scores_table(manifest))
    _output.print(f"[bold]{manifest.version}[/]: {where}")


@command.command()
@click.argument("artifact", default="champion")
@click.option("--catalogue", type=_anything, required=True, help="Folder of audio or table of features; 30 or more.")
@_to
@_registry
def adapt(artifact: str, catalogue: Path, output: Path | None, root: Path) -> None:
    """Adapt ARTIFACT to your own music by the features of unlabelled tracks: the result becomes the challenger."""
    from model.catalogue import read_catalogue
    from model.train import adapt as adapt_model

    with _clear_errors(), _progress.status("hearing the catalogue ..."):
        heard = read_catalogue(catalogue)
        classifier, manifest = adapt_model(_find(artifact, root), heard.X, catalogue.name)
        manifest, where = _keep(classifier, manifest, output, root)
    _output.print(f"[bold]{manifest.version}[/]: {where}, adapted to {len(heard.names):,} tracks of {catalogue}")


@command.command()
@click.argument("artifact", default="challenger")
@click.option("--data", type=_existing, required=True, help="The table that ARTIFACT was trained on.")
@_reference
@click.option("--modified", type=_existing, help="A dirty copy of the table: what dirt costs.")
@_catalogue
@_audio
@_adapted_to
@_registry
@_seed
@_repeats
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def simulate(
    artifact: str,
    data: Path,
    reference: Path | None,
    modified: Path | None,
    catalogue: Path | None,
    audio: Path | None,
    adapted_to: Path | None,
    root: Path,
    seed: int,
    repeats: int,
    as_json: bool,
) -> None:
    """Say what ARTIFACT would cost and bring instead of the champion, and which tracks would change emotion."""
    from consumer.commands import model_tables
    from model.catalogue import changes, read_catalogue
    from model.comparison import compare
    from model.policy import read_policy
    from model.promotion import champion_of
    from model.simulate import simulate as price

    with _clear_errors(), _progress.status("trying candidate and champion out of fold ..."):
        candidate, champion = _find(artifact, root), champion_of(Registry(root))
        tried = compare(
            candidate,
            champion,
            data,
            reference=reference,
            modified=modified,
            adapted_to=read_catalogue(adapted_to).X if adapted_to else None,
            seed=seed,
            repeats=repeats,
        )
        pairs = {"original": (tried.candidate, tried.champion)}
        if tried.modified is not None:
            pairs["modified"] = (tried.modified, tried.champion_modified)
        policies = candidate.manifest.policy, champion.manifest.policy
        impacts = {
            name: list(price(ours, policies[0], theirs, policies[1], prices=read_policy(), seed=seed))
            for name, (ours, theirs) in pairs.items()
        }
        heard = read_catalogue(catalogue, audio) if catalogue else None
        changed = changes(heard, candidate, champion) if heard else []
    if as_json:
        _print_json(
            {"candidate": candidate.version, "champion": champion.version, "impact": impacts, "changes": changed}
        )
        return
    for name, rows in impacts.items():
        _output.print(model_tables.impact_table(rows, f"{candidate.version} on the {name} table"))
    if heard is not None:
        _output.print(model_tables.changes_table(heard, changed))
        for line in heard.unheard:
            click.echo(line, err=True)


@command.command()
@click.argument("artifact", default="challenger")
@click.option("--data", type=_existing, required=True, help="The table that ARTIFACT was trained on.")
@_reference
@click.option("--modified", type=_existing, required=True, help="A dirty copy of the table, for the robustness gate.")
@_adapted_to
@_registry
@_seed
@_repeats
@click.option("--dry-run", is_flag=True, help="Only say whether it would pass.")
def promote(
    artifact: str,
    data: Path,
    reference: Path | None,
    modified: Path,
    adapted_to: Path | None,
    root: Path,
    seed: int,
    repeats: int,
    dry_run: bool,
) -> None:
    """Make ARTIFACT champion if it passes every gate; exit status 1 and no change if not."""
    from consumer.commands import model_tables
    from model.promotion import ask_gates, champion_of, seed_registry

    registry = Registry(root)
    with _clear_errors(), _progress.status("asking the gates ..."):
        path = _path(artifact, registry)
        champion = champion_of(registry)
        gates = ask_gates(
            path,
            champion,
            data,
            reference=reference,
            modified=modified,
            adapted_to=adapted_to,
            seed=seed,
            repeats=repeats,
        )
    _output.print(model_tables.gates_table(gates))
    refused = [gate for gate in gates if not gate.passed]
    for gate in refused:
        _output.print(f"[bold red]refused[/] by {gate.name}: {gate.question}: {gate.measured}; allowed: {gate.limit}")
    if refused:
        _output.print(f"champion stays {champion.version}")
        sys.exit(1)
    if dry_run:
        _output.print("every gate passed; nothing was changed (--dry-run)")
        return
    with _clear_errors():
        entry = seed_registry(registry).add(path, "champion")
    _output.print(f"[bold green]{entry.version}[/] is champion of {root}; was {champion.version}")


@command.command()
@_registry
def rollback(root: Path) -> None:
    """Make the former champion champion again; the one withdrawn stays as challenger."""
    with _clear_errors():
        withdrawn, restored = Registry(root).rollback()
    _output.print(f"[bold green]{restored.version}[/] is champion of {root} again; {withdrawn.version} is challenger")


@command.command(name="list")
@_registry
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def list_command(root: Path, as_json: bool) -> None:
    """List every artifact of the registry."""
    from consumer.commands import model_tables

    with _clear_errors():
        entries = list(Registry(root).manifests())
    if as_json:
        _print_json([{"role": role, "directory": where, "manifest": manifest} for role, where, manifest in entries])
    else:
        _output.print(model_tables.list_table(entries) if entries else f"{root}: no artifact")


@command.command()
@click.argument("artifact", default="champion")
@_registry
@click.option("--json", "as_json", is_flag=True, help="Print the manifest.")
def show(artifact: str, root: Path, as_json: bool) -> None:
    """Show where ARTIFACT comes from, its scores, and what its policy does with them."""
    from consumer.commands import model_tables

    with _clear_errors():
        manifest = read_manifest(_path(artifact, Registry(root)))
    if as_json:
        _print_json(manifest)
        return
    for table in (model_tables.manifest_table, model_tables.scores_table):
        _output.print(table(manifest))
    _output.print(model_tables.policy_table(manifest.policy))
    for rule in manifest.policy.rules:
        _output.print(f"  {rule.use}, at most {rule.at_most}: {rule.reason}")


@command.command()
@click.argument("artifact", default="champion")
@_catalogue
@click.option("--feedback", type=_existing, help="Recorded `emotion-feedback`, JSON lines.")
@click.option("--emotions", type=_existing, help="Recorded `emotion-events`, JSON lines.")
@click.option("--records", type=_existing, help="Instead of both: recorded `track-emotions`, which keep corrections.")
@_registry
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def status(
    artifact: str,
    catalogue: Path | None,
    feedback: Path | None,
    emotions: Path | None,
    records: Path | None,
    root: Path,
    as_json: bool,
) -> None:
    """Say whether a retrain is due: age, drift and online F1; exit status 1 when it is."""
    from consumer.commands import model_tables
    from model.catalogue import read_catalogue
    from model.status import age, drift, online_f1, read_corrections, read_kept_corrections

    with _clear_errors():
        manifest = read_manifest(_path(artifact, Registry(root)))
        corrections = None
        if records:
            corrections = read_kept_corrections(records)
        elif feedback and emotions:
            corrections = read_corrections(feedback, emotions)
        signs = [
            age(manifest, datetime.now(UTC)),
            drift(manifest, read_catalogue(catalogue).X if catalogue else None),
            online_f1(manifest, corrections),
        ]
    due = any(sign.due for sign in signs)
    if as_json:
        _print_json({"version": manifest.version, "retrain": due, "signs": signs})
    else:
        _output.print(model_tables.status_table(signs, manifest.version))
        unmeasured = sum(sign.due is None for sign in signs)
        rest = f"; {unmeasured} of {len(signs)} signs were not measured" if unmeasured else ""
        _output.print(f"{'a retrain is due' if due else 'no sign that a retrain is due'}{rest}", soft_wrap=True)
    if due:
        sys.exit(1)


def _train_again(judge: Judge, data: Path) -> None:
    from model.train import disagreements, read_training_table, retrain

    X = read_training_table(judge.manifest, data).X
    differing = disagreements(judge.classifier, retrain(judge.manifest, data), X)
    if differing:
        raise ModelError(f"{judge.version}: {differing} of {len(X)} predictions differ after training again")
    _output.print(f"{judge.version}: trained again, all {len(X)} predictions are the same")


def _keep(classifier: Classifier, manifest: Manifest, output: Path | None, root: Path) -> tuple[Manifest, str]:
    if output is not None:
        return save_artifact(output, classifier, manifest), str(output)
    with tempfile.TemporaryDirectory() as folder:
        written = save_artifact(folder, classifier, manifest)
        Registry(root).add(folder, "challenger")
    return written, f"challenger of {root}"


def _find(artifact: str, root: Path) -> Judge:
    return load_artifact(_path(artifact, Registry(root)))


def _path(artifact: str, registry: Registry) -> Path:
    """Take a folder for what it is, and anything else for a name or a version of the registry."""
    if Path(artifact).is_dir():
        return Path(artifact)
    return registry.root / registry.find(artifact).directory


def _print_json(value: Any) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Turn what is wrong with data or artifacts into one line instead of a traceback."""
    try:
        yield
    except ArtifactError as error:
        raise click.ClickException(f"refused: {error}") from error
    except (ModelError, ValueError) as error:
        raise click.ClickException(str(error)) from error
