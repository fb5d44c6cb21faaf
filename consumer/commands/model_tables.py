"""What ``emotion-stream model`` prints: tables that a person reads, one function each."""

from collections.abc import Iterable, Sequence
from typing import Final

from rich import box
from rich.table import Table
from rich.text import Text

from model.catalogue import Catalogue, Change, flows
from model.emotions import EMOTIONS
from model.gates import Gate
from model.manifest import Manifest, Score
from model.policy import USES, Policy
from model.simulate import PER_TRACKS, QUANTITIES, Impact
from model.status import Sign

# Characters of a cell that is read at a glance.
_WIDEST_MEASURED: Final = 60


def scores_table(manifest: Manifest) -> Table:
    """Show scores out of fold with intervals, then calibration."""
    table = _table("out of fold", "value", "95 % interval", title=f"{manifest.data.name}, {manifest.data.rows} rows")
    for name, score in manifest.scores.items():
        table.add_row(_words(name), f"{score.value:.3f}", f"{score.low:.3f} to {score.high:.3f}")
    table.add_section()
    for name, value in manifest.calibration.items():
        table.add_row(_words(name), f"{value:.3f}", "")
    return table


def list_table(entries: Iterable[tuple[str, str, Manifest | None]]) -> Table:
    """List every artifact of a registry."""
    table = _table("", "version", "macro-F1", "trained", "data", "commit")
    for role, directory, manifest in entries:
        style = {"champion": "bold green", "challenger": "cyan"}.get(role, "dim")
        if manifest is None:
            table.add_row(Text(role, style), directory, Text("cannot be trusted", "bold red"))
            continue
        f1 = manifest.scores["macro_f1"]
        data = manifest.data.name + (f", adapted to {manifest.adapted_to.name}" if manifest.adapted_to else "")
        interval = f"{f1.value:.3f} ({f1.low:.3f} to {f1.high:.3f})"
        origin = manifest.created_at[:10], data, manifest.commit[:10]
        table.add_row(Text(role, style), manifest.version, interval, *origin)
    return table


def manifest_table(manifest: Manifest) -> Table:
    """Show where an artifact comes from."""
    table = _table("", "", title=manifest.version, show_header=False)
    rows = {
        "trained": f"{manifest.created_at}, commit {manifest.commit}, seed {manifest.seed}",
        "estimator": f"{manifest.estimator} {manifest.params}",
        "features": manifest.feature_version,
        "labels": ", ".join(manifest.labels),
        "data": f"{manifest.data.name}, {manifest.data.rows} rows, SHA-256 {manifest.data.sha256}",
        "citation": " ".join(filter(None, (manifest.data.citation, manifest.data.licence))) or "none given",
        "adapted to": f"{a.name}, {a.tracks} tracks" if (a := manifest.adapted_to) else "no catalogue",
        "libraries": f"Python {manifest.python}, " + ", ".join(f"{k} {v}" for k, v in manifest.libraries.items()),
        "protocol": manifest.protocol,
    }
    for name, value in rows.items():
        table.add_row(name, Text(value, overflow="fold"))
    return table


def policy_table(policy: Policy) -> Table:
    """Show from which confidence a label is applied, when all doubt is about one other."""
    table = _table(
        "use",
        "said",
        *(f"or {label}" for label in EMOTIONS),
        "and below",
        title="Confidence from which a label is applied, when all doubt is about one other",
    )
    for use in USES:
        economy = policy.uses[use]
        for said in EMOTIONS:
            cells = ["-" if rival is said else f"{economy.threshold(said, rival):.2f}" for rival in EMOTIONS]
            suggest = economy.review / economy.gain
            table.add_row(use if said is EMOTIONS[0] else "", said, *cells, f"suggested from {suggest:.2f}")
        table.add_section()
    return table


def gates_table(gates: Sequence[Gate]) -> Table:
    """Show the gates, one question a row."""
    table = _table("gate", "question", "measured", "allowed", "", title="Gates")
    previous = ""
    for gate in gates:
        if previous and gate.name != previous:
            table.add_section()
        verdict = Text("pass", "green") if gate.passed else Text("REFUSED", "bold red")
        name = "" if gate.name == previous else gate.name
        # What is refused is printed in full below the table, where paths and digests stay whole.
        measured = gate.measured if gate.passed or len(gate.measured) <= _WIDEST_MEASURED else "see below"
        table.add_row(name, gate.question, Text(measured, overflow="fold"), gate.limit, verdict)
        previous = gate.name
    return table


def impact_table(impacts: Iterable[Impact], title: str) -> Table:
    """Show cost, gain and net of every use."""
    table = _table("use", "candidate does", f"per {PER_TRACKS:,}", "candidate", "champion", "difference", title=title)
    for impact in impacts:
        does = [
            f"apply {impact.applied:.0%}, wrongly {impact.wrongly_applied:.1%}",
            f"suggest {impact.suggested:.0%}",
            f"withhold {impact.withheld:.0%}",
        ]
        for row, quantity in enumerate(QUANTITIES):
            difference = _difference(impact.difference[quantity], quantity) if impact.difference else Text("")
            table.add_row(
                impact.use if row == 0 else "",
                does[row],
                quantity,
                _amount(impact.candidate[quantity]),
                _amount(impact.champion[quantity]) if impact.champion else "",
                difference,
            )
        table.add_section()
    return table


def changes_table(catalogue: Catalogue, changed: Sequence[Change]) -> Table | str:
    """Show which tracks of a catalogue change emotion; one line when none does."""
    total = len(catalogue.names)
    title = f"{len(changed):,} of {total:,} tracks change emotion ({len(changed) / total:.1%})"
    if not changed:
        return title
    table = _table("from", "to", "tracks", "for example", title=title)
    for (before, after), count in flows(changed).most_common():
        examples = [change.name for change in changed if (change.before, change.after) == (before, after)]
        table.add_row(before, after, f"{count:,}", Text(", ".join(examples[:3]), overflow="ellipsis"))
    return table


def status_table(signs: Iterable[Sign], title: str) -> Table:
    """Show the signs that a retrain is due."""
    table = _table("sign", "measured", "allowed", "", title=title)
    for sign in signs:
        verdict = {
            None: Text("not measured", "yellow"),
            False: Text("fine", "green"),
            True: Text("RETRAIN", "bold red"),
        }[sign.due]
        table.add_row(sign.name, sign.measured, sign.limit, verdict)
    return table


def _table(*columns: str, title: str | None = None, show_header: bool = True) -> Table:
    return Table(*columns, title=title, show_header=show_header, box=box.SIMPLE_HEAD, title_justify="left")


def _amount(score: Score) -> str:
    return f"{score.value:,.0f} ({score.low:,.0f} to {score.high:,.0f})"


def _difference(score: Score, quantity: str) -> Text:
    good = score.high < 0 if quantity == "cost" else score.low > 0
    bad = score.low > 0 if quantity == "cost" else score.high < 0
    style = "green" if good else "red" if bad else ""
    return Text(f"{score.value:+,.0f} ({score.low:+,.0f} to {score.high:+,.0f})", style)


def _words(name: str) -> str:
    return {"ece": "expected calibration error", "macro_f1": "macro-F1"}.get(name, name.replace("_", " "))
