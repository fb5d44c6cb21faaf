"""The command line ``emotion-stream``: every subcommand is imported only when it is called.

The worker must not pay for matplotlib, and ``emotion-stream features`` must not pay for Faust.
"""

import importlib
import importlib.util
from typing import Final

import click

# name -> (module, one-line help shown by ``emotion-stream --help`` without importing the module)
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "worker": ("consumer.commands.worker", "Run the stream worker, configured by the environment."),
    "topics": ("consumer.commands.topics", "Create and describe the Kafka topics."),
    "dead-letters": ("consumer.commands.dead_letters", "Show dead letters and publish them again."),
    "features": ("consumer.commands.features", "Print the 50 acoustic features of audio files."),
    "classify": ("consumer.commands.classify", "Classify files, folders or a manifest in batch."),
    "data": ("consumer.commands.data", "Fetch, check, clean and version the training data."),
    "model": ("consumer.commands.model", "Train, evaluate, simulate, promote and roll back models."),
    "report": ("consumer.commands.report", "Write HTML reports."),
}
# What the extra ``lifecycle`` brings: data versions, reports, plots and Parquet. The worker's image has none of it.
LIFECYCLE_MODULES: Final = frozenset({"deltalake", "jinja2", "matplotlib", "pyarrow"})


class LazyGroup(click.Group):
    """A click group whose commands are imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List every subcommand in the order of the table."""
        return [name for name, (module, _) in COMMANDS.items() if importlib.util.find_spec(module)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the subcommand's module and give its ``command``."""
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the subcommand; name the extra if it needs one that is not installed.

        Raises
        ------
        click.ClickException
            In place of a ``ModuleNotFoundError`` of the extra ``lifecycle``.
        """
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in LIFECYCLE_MODULES:
                raise
            raise click.ClickException(
                f"this needs {error.name}, which the worker does without: pip install 'emotion-stream[lifecycle]'"
            ) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command table without importing any command."""
        rows = [(name, COMMANDS[name][1]) for name in self.list_commands(ctx)]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="emotion-stream")
def main() -> None:
    """Hear music in a Kafka stream: track events in, emotion events out."""
