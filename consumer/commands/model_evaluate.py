"""``emotion-stream model evaluate``: the whole examination of the training procedure, for people or as JSON."""

from pathlib import Path

import click
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from model.emotions import EMOTIONS
from model.errors import ModelError
from model.evaluate import REPEATS, Evaluation, Report
from model.manifest import Score

_existing = click.Path(path_type=Path, exists=True, dir_okay=False)
_output = Console(highlight=False)
_progress = Console(stderr=True)


@click.command(name="evaluate")
@click.option("--data", type=_existing, required=True, help="Labelled table: `Class` or `emotion` and the 50 features.")
@click.option("--transfer", type=_existing, help="Labelled table of another repertoire: asked, never shipped.")
@click.option("--repeats", type=click.IntRange(1), default=REPEATS, show_default=True, help="Of the ten folds.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the classifier and of the folds.")
@click.option("--plots", type=click.Path(path_type=Path, file_okay=False), help="Folder for the model card's plots.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate(data: Path, transfer: Path | None, repeats: int, seed: int, plots: Path | None, *, as_json: bool) -> None:
    """Examine the training procedure: out of fold, under noise, and on another repertoire."""
    from model.evaluate import evaluate as evaluate_procedure

    try:
        with _progress.status("fitting and asking, fold by fold ..."):
            evaluation, trial = evaluate_procedure(data, transfer, repeats=repeats, seed=seed)
            if plots is not None:
                from model.plots import draw

                draw(plots, data, trial, seed=seed)
    except ModelError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(evaluation), indent=2).decode())
        return
    for table in _tables(evaluation):
        _output.print(table)


def _tables(evaluation: Evaluation) -> list[Table]:
    title = (
        f"{evaluation.table}: {evaluation.rows} rows in {evaluation.groups} groups, "
        f"{evaluation.repeats} x {evaluation.folds}-fold\n"
        "± half of the 95 % interval; --json has both ends"
    )
    reports = {"at home": evaluation.home}
    if evaluation.transfer:
        reports |= {
            "abroad as is": evaluation.transfer.as_it_is,
            "adapted": evaluation.transfer.adapted,
            "own labels": evaluation.transfer.own_labels,
        }
    scores = _table("", *reports, title=title)
    for name, words in (
        ("macro_f1", "macro-F1"),
        ("accuracy", "accuracy"),
        ("roc_auc", "ROC-AUC"),
        ("coverage", "coverage of sets"),
    ):
        scores.add_row(words, *(_amount(getattr(r, name)) for r in reports.values()))
    scores.add_row("calibration error", *(f"{r.ece.value:.3f}" for r in reports.values()))
    scores.add_row("labels per set", *(f"{r.set_size:.2f}" for r in reports.values()))
    scores.add_row("in domain", *(f"{r.in_domain:.3f}" for r in reports.values()))
    for emotion in EMOTIONS:
        scores.add_row(f"recall {emotion}", *(_amount(r.emotions[emotion].recall) for r in reports.values()))
    return [scores, _emotions(evaluation.home), _confusion(evaluation.home, evaluation.repeats), _robust(evaluation)]


def _emotions(home: Report) -> Table:
    table = _table("", "precision", "recall", "ROC-AUC", "coverage", title="each emotion at home")
    for emotion, s in home.emotions.items():
        table.add_row(emotion, *(_amount(score) for score in (s.precision, s.recall, s.roc_auc, s.coverage)))
    return table


def _confusion(home: Report, repeats: int) -> Table:
    table = _table("truth", *(f"as {emotion}" for emotion in EMOTIONS), title="confusion at home, per repeat")
    for emotion, row in zip(EMOTIONS, home.confusion, strict=True):
        table.add_row(emotion, *(f"{count / repeats:.1f}" for count in row))
    return table


def _robust(evaluation: Evaluation) -> Table:
    table = _table("", "", "labels unchanged", title="the most confident, and noise on the features")
    for share, accuracy in evaluation.home.answered.items():
        table.add_row(f"accuracy, most confident {share}", f"{accuracy:.3f}", "")
    for noise in evaluation.noise:
        table.add_row(f"macro-F1, noise of {noise.deviations} sd", f"{noise.macro_f1:.3f}", f"{noise.unchanged:.3f}")
    return table


def _table(*columns: str, title: str) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def _amount(score: Score) -> str:
    return f"{score.value:.3f} ±{(score.high - score.low) / 2:.3f}".replace("±0.", "±.")
