"""``emotion-stream dead-letters``: see what had no emotion, and why; publish it again once the cause is gone."""

import base64
import heapq
import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import click
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from consumer import dead_letter
from consumer.commands import plain_errors
from consumer.dead_letter import original_headers
from consumer.dead_letter_store import ReplayReport, StoredLetter, read_letters, replay
from consumer.errors import Reason
from consumer.redaction import one_line
from consumer.settings import Settings

_REASONS: Final = tuple(str(reason) for reason in Reason)
_output = Console(highlight=False)
# Columns from which on a message fits beside the others.
_WIDE: Final = 120
_reason = click.option(
    "--reason",
    "reasons",
    multiple=True,
    type=click.Choice([*_REASONS, "unknown"]),
    metavar="REASON",
    help=f"Only these reasons; may be repeated. One of {', '.join(_REASONS)}, or unknown for letters of others.",
)


@click.group(name="dead-letters")
def command() -> None:
    """Show dead letters and publish them again."""


@command.command(name="list")
@_reason
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Latest letters shown.")
@click.option("--json", "as_json", is_flag=True, help="Print every letter as one line of JSON, value included.")
def list_(reasons: tuple[str, ...], limit: int, as_json: bool) -> None:
    """Show the latest dead letters, and how many there are of each reason."""
    counts: Counter[str] = Counter()

    def wanted(letters: Iterator[StoredLetter]) -> Iterator[StoredLetter]:
        for letter in letters:
            if not reasons or letter.reason in reasons:
                counts[letter.reason] += 1
                yield letter

    with plain_errors():
        letters = wanted(read_letters(Settings.from_environment(os.environ)))
        if as_json:
            for letter in letters:
                click.echo(json.dumps(_plain(letter)))
            return
        # Partitions are read side by side: the latest are known by their time, not by their turn.
        latest = heapq.nlargest(limit, letters, key=lambda letter: letter.header(dead_letter.FIRST_SEEN))
    if not counts:
        _output.print("There are no dead letters" + (" of these reasons." if reasons else "."))
        return
    if _output.width >= _WIDE:
        _output.print(_letters_table(latest[::-1]))
    else:
        # Beside the other columns a message would be one word wide.
        for letter in latest[::-1]:
            row = _letter_row(letter)
            _output.print("  ".join([*row[:-2], f"tries: {row[-2]}"]), style="bold", no_wrap=True, overflow="ellipsis")
            _output.print(Padding(row[-1], (0, 0, 0, 4)))
    _output.print()
    _output.print(_counts_table(counts))


@command.command(name="replay")
@_reason
@click.option("--limit", type=click.IntRange(min=1), help="Publish at most so many.")
@click.option("--dry-run", is_flag=True, help="Say what would be published, publish nothing.")
def replay_(reasons: tuple[str, ...], limit: int | None, dry_run: bool) -> None:
    """Publish dead letters again: same key, value and headers, to the topic they came from.

    Each letter is replayed once: Kafka remembers how far each reason has got, so the command may be interrupted and
    called again. What fails again comes back as a new dead letter.
    """
    with plain_errors(), _asked_to_stop() as stop:
        settings = Settings.from_environment(os.environ)
        report = replay(settings, reasons=reasons or _REASONS, limit=limit, dry_run=dry_run, stop=stop.is_set)
    _say(report, dry_run=dry_run)


@contextmanager
def _asked_to_stop() -> Iterator[threading.Event]:
    """Turn Ctrl-C and SIGTERM into a flag, so that a batch is published and committed or not begun."""
    asked = threading.Event()
    before = {name: signal.signal(name, lambda *_: asked.set()) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _say(report: ReplayReport, *, dry_run: bool) -> None:
    done = "would be replayed" if dry_run else "replayed"
    _output.print(f"{report.replayed.total()} dead letters {done}{_by_reason(report.replayed)}.", soft_wrap=True)
    for counts, text in (
        (report.done_before, "were replayed before"),
        (report.beyond_limit, "are left by --limit"),
        (report.unreplayable, "hold no event or name no topic it may go back to, and stay"),
    ):
        if counts:
            _output.print(f"{counts.total()} {text}{_by_reason(counts)}.", soft_wrap=True)
    if report.interrupted:
        _output.print("Interrupted; call again to go on.")


def _by_reason(counts: Counter[str]) -> str:
    return f" ({', '.join(f'{count} {reason}' for reason, count in counts.most_common())})" if counts else ""


def _letters_table(letters: list[StoredLetter]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("FIRST SEEN", "REASON", "KEY", "SOURCE"):
        table.add_column(title, no_wrap=True, overflow="ellipsis", max_width=40)
    table.add_column("TRIES", justify="right")
    table.add_column("MESSAGE", overflow="fold", ratio=1)
    for letter in letters:
        table.add_row(*_letter_row(letter))
    return table


def _letter_row(letter: StoredLetter) -> list[str]:
    return [
        escape(one_line(letter.header(dead_letter.FIRST_SEEN)[:19].replace("T", " "))),
        letter.reason,
        *(escape(one_line(text)) for text in (_text(letter.key) or "-", letter.source)),
        escape(one_line(letter.header(dead_letter.ATTEMPTS))),
        escape(one_line(letter.header(dead_letter.MESSAGE))),
    ]


def _counts_table(counts: Counter[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("REASON")
    table.add_column("LETTERS", justify="right")
    for reason, count in counts.most_common():
        table.add_row(reason, str(count))
    if len(counts) > 1:
        table.add_row("[bold]all[/]", f"[bold]{counts.total()}[/]")
    return table


def _plain(letter: StoredLetter) -> dict[str, object]:
    return {
        "partition": letter.partition,
        "offset": letter.offset,
        "reason": letter.reason,
        "message": letter.header(dead_letter.MESSAGE),
        "source": letter.source,
        "attempts": letter.header(dead_letter.ATTEMPTS),
        "first_seen": letter.header(dead_letter.FIRST_SEEN),
        **_bytes("key", letter.key),
        **_bytes("value", letter.value),
        "headers": {name: _text(value) for name, value in original_headers(letter.headers)},
    }


def _bytes(name: str, value: bytes | None) -> dict[str, str | None]:
    """Give bytes as text where they are text, and in base64 under another name where they are not."""
    try:
        return {name: value.decode() if value is not None else None}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(value or b"").decode()}


def _text(value: bytes | None) -> str | None:
    return value.decode("utf-8", "backslashreplace") if value is not None else None
