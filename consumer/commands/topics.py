"""``emotion-stream topics``: create the topics of the contract, and show what the brokers have."""

import json
import os
import sys

import click
from rich.console import Console
from rich.table import Table

from consumer.commands import plain_errors
from consumer.settings import Settings
from consumer.topic_admin import TopicReport, connect, report_topics

_output = Console(highlight=False)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


@click.group(name="topics")
def command() -> None:
    """Create and describe the Kafka topics.

    Partition count and replication come from EMOTION_TOPIC_PARTITION_COUNT and EMOTION_TOPIC_REPLICATION_FACTOR. The
    exit status is 1 if a topic is missing or differs.
    """


@command.command()
@_json
def create(as_json: bool) -> None:
    """Create the topics that are missing; existing ones are compared, never altered."""
    _run(create=True, as_json=as_json)


@command.command(name="list")
@_json
def list_(as_json: bool) -> None:
    """Show every topic of the contract as the brokers have it."""
    _run(create=False, as_json=as_json)


def _run(*, create: bool, as_json: bool) -> None:
    with plain_errors():
        settings = Settings.from_environment(os.environ)
        reports = report_topics(connect(settings), settings, create=create)
    if as_json:
        click.echo(json.dumps([_plain(report) for report in reports], indent=2))
    else:
        _show(reports)
    if any(report.differences for report in reports):
        sys.exit(1)


def _plain(report: TopicReport) -> dict[str, object]:
    state = report.state
    return {
        "topic": report.topic.name,
        "value": report.topic.value,
        "exists": state is not None,
        "created": report.created,
        "partitions": state.partition_count if state else None,
        "replication": state.replication_factor if state else None,
        "config": state.config if state else None,
        "differences": list(report.differences),
    }


def _show(reports: list[TopicReport]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("TOPIC", "PARTITIONS", "REPLICAS", "MIN ISR", "CLEANUP", ""):
        table.add_column(title, justify="left" if title in ("TOPIC", "CLEANUP", "") else "right", no_wrap=True)
    where: dict[str, list[str]] = {}
    for report in reports:
        state = report.state
        cells = ["-"] * 4
        if state is not None:
            counts = [str(state.partition_count), str(state.replication_factor)]
            cells = [*counts, *(state.config.get(name, "?") for name in ("min.insync.replicas", "cleanup.policy"))]
        table.add_row(report.topic.name, *cells, _verdict(report))
        for difference in report.differences if state is not None else ():
            where.setdefault(difference, []).append(report.topic.name)
    _output.print(table)
    for difference, names in where.items():
        _output.print(f"\n[red]{difference}[/]: {', '.join(names)}", soft_wrap=True)
    if any(difference.startswith("partitions") for difference in where):
        _output.print(
            "A partition count cannot be mended in place, since keys would move: set EMOTION_TOPIC_PARTITION_COUNT to "
            "what is there, or delete the topic and create it again.",
            soft_wrap=True,
        )


def _verdict(report: TopicReport) -> str:
    if report.state is None:
        return "[red]missing[/]"
    if report.differences:
        return "[red]differs[/]"
    return "[green]created[/]" if report.created else "[dim]as wanted[/]"
