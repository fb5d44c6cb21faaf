"""``emotion-stream model``: train, compare, promote and roll back what judges the music."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from model.artifact import save_artifact
from model.errors import ModelError
from model.manifest import Manifest
from model.registry import SHIPPED_ROOT, Registry

_output = Console(highlight=False)
_directory = click.Path(path_type=Path, file_okay=False)
_existing = click.Path(path_type=Path, exists=True, dir_okay=False)
_registry = click.option(
    "--registry",
    "root",
    type=_directory,
    default=SHIPPED_ROOT,
    envvar="EMOTION_MODEL_DIR",
    help="Folder of model artifacts; the packaged one by default.",
)
_data = click.option("--data", type=_existing, required=True, help="Labelled table: `Class` and the 50 features.")
_seed = click.option("--seed", type=int, default=0, show_default=True, help="Of the classifier and of the folds.")


@click.group(name="model")
def command() -> None:
    """Train, evaluate, compare, promote and roll back models."""


@command.command()
@_data
@_seed
@click.option("--output", type=_directory, help="Write the artifact to this folder instead of a registry.")
@_registry
@click.option("--citation", default="", help="Whose table it is; known for the published one.")
@click.option("--licence", default="", help="On what terms; known for the published one.")
def train(data: Path, seed: int, output: Path | None, root: Path, citation: str, licence: str) -> None:
    """Train on a labelled table: the result becomes the registry's challenger."""
    from model.train import train as train_model

    with _clear_errors(), _output.status("training, and scoring out of fold ..."):
        classifier, manifest = train_model(data, seed=seed, citation=citation, licence=licence)
        if output is not None:
            manifest, where = save_artifact(output, classifier, manifest), str(output)
        else:
            with tempfile.TemporaryDirectory() as folder:
                manifest = save_artifact(folder, classifier, manifest)
                Registry(root).add(folder, "challenger")
            where = f"challenger of {root}"
    _output.print(_scores(manifest))
    _output.print(f"[bold]{manifest.version}[/]: {where}")


def _scores(manifest: Manifest) -> Table:
    table = Table(
        "score out of fold", "value", "95 % interval", title=f"{manifest.data.name}, {manifest.data.rows} rows"
    )
    for name, score in manifest.scores.items():
        table.add_row(name, f"{score.value:.3f}", f"{score.low:.3f} to {score.high:.3f}")
    table.add_section()
    for name, value in manifest.calibration.items():
        table.add_row(name, f"{value:.3f}", "")
    return table


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Turn what is wrong with data or artifacts into one line instead of a traceback."""
    try:
        yield
    except (ModelError, ValueError) as error:
        raise click.ClickException(str(error)) from error
