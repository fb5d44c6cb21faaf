"""The table at the end of a run: one line for each fault, and below it what is worth knowing."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tests.integration.ledger import Verdict

HEADINGS = (
    "fault", "in", "emotions", "letters", "lost", "copies", "wrong", "order", "two models", "late",
    "known p99", "in fault", "new p99", "in fault", "verdict",
)  # fmt: skip
NAME_WIDTH = 56


class Row(NamedTuple):
    """One test of the run.

    Parameters
    ----------
    name : str
        Of the test.
    verdict : Verdict or None
        Its ledger's; None where it had none: it was skipped, or failed before its books were closed.
    note : str
        What is worth knowing.
    outcome : str
        ``holds``, ``FAILED`` or ``SKIPPED``.
    """

    name: str
    verdict: Verdict | None
    note: str = ""
    outcome: str = "holds"


def table_lines(rows: Iterable[Row]) -> Iterator[str]:
    """Write the ledger as a table.

    Parameters
    ----------
    rows : iterable of Row
        In the order of the run.

    Yields
    ------
    str
        A line of text.
    """
    rows = list(rows)
    cells = [HEADINGS, *map(_cells, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEADINGS))]
    for number, row in enumerate(cells):
        # The first and last column are words, the others numbers.
        first, *numbers, last = (
            cell.rjust(width) if 0 < column < len(HEADINGS) - 1 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join((first, *numbers, last)).rstrip()
        if number:
            shown = rows[number - 1]
            findings = shown.verdict.findings() if shown.verdict else []
            yield from (f"    {line.strip()}" for line in (shown.note, *findings) if line)


def _cells(row: Row) -> tuple[str, ...]:
    words = row.name.removeprefix("test_").replace("_", " ")
    words = words if len(words) <= NAME_WIDTH else words[: NAME_WIDTH - 1] + "…"
    if row.verdict is None:
        return (words, *["-"] * (len(HEADINGS) - 2), row.outcome)
    verdict = row.verdict
    counts = (
        verdict.inputs, verdict.emotions, verdict.dead_letters, len(verdict.lost), verdict.duplicated,
        len(verdict.wrong), verdict.misordered, len(verdict.rejudged), verdict.late,
    )  # fmt: skip
    p99 = (
        f"{verdict.latency(lane, 0.99, inside=inside):.3f} s" if verdict.answered(lane, inside=inside) else "-"
        for lane in ("known", "new")
        for inside in (False, True)
    )
    return (words, *map(str, counts), *p99, row.outcome)
