"""The table at the end of a run: one line for each fault, and below it what is worth knowing."""

from collections.abc import Iterable, Iterator, Set

from tests.integration.ledger import Verdict

HEADINGS = (
    "fault", "in", "emotions", "letters", "lost", "copies", "wrong", "order", "late", "known p99", "new p99", "verdict",
)  # fmt: skip
NAME_WIDTH = 56


def table_lines(rows: Iterable[tuple[str, Verdict, str]], failed: Set[str]) -> Iterator[str]:
    """Write the ledger as a table.

    Parameters
    ----------
    rows : iterable of (str, Verdict, str)
        Test, verdict and note, in the order of the run.
    failed : set of str
        Tests that failed, for whatever reason.

    Yields
    ------
    str
        A line of text.
    """
    rows = list(rows)
    cells = [HEADINGS, *(_cells(name, verdict, name in failed) for name, verdict, _ in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEADINGS))]
    for number, row in enumerate(cells):
        # The first and last column are words, the others numbers.
        first, *numbers, last = (
            cell.rjust(width) if 0 < column < len(HEADINGS) - 1 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join((first, *numbers, last)).rstrip()
        if number:
            _, verdict, note = rows[number - 1]
            yield from (f"    {line.strip()}" for line in (note, *verdict.findings()) if line)


def _cells(name: str, verdict: Verdict, failed: bool) -> tuple[str, ...]:
    counts = (
        verdict.inputs, verdict.emotions, verdict.dead_letters, len(verdict.lost), verdict.duplicated,
        len(verdict.wrong), verdict.misordered, verdict.late,
    )  # fmt: skip
    p99 = (f"{verdict.latency(lane, 0.99):.3f} s" if lane in verdict.latencies else "-" for lane in ("known", "new"))
    words = name.removeprefix("test_").replace("_", " ")
    return (
        words if len(words) <= NAME_WIDTH else words[: NAME_WIDTH - 1] + "…",
        *map(str, counts),
        *p99,
        "FAILED" if failed else "holds",
    )
