"""``emotion-stream worker``: run the stream worker."""

import logging
import os
import sys

import click

from consumer.errors import FatalError
from consumer.log_config import configure_logging
from consumer.redaction import hide_url_secrets
from consumer.settings import Settings, log_settings, withhold_memory, withhold_secrets


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--lanes", metavar="LANE,...", help="Lanes to run: known, new or both; overrides EMOTION_LANES.")
def command(lanes: str | None) -> None:
    """Run the stream worker, configured by EMOTION_* environment variables.

    Ends with status 0 after SIGTERM or SIGINT, with 1 when it cannot go on; nothing unanswered is acknowledged.
    """
    environment = dict(os.environ)
    if lanes is not None:
        environment["EMOTION_LANES"] = lanes
    try:
        settings = Settings.from_environment(environment)
        # Processes that open strangers' audio inherit the environment.
        withhold_secrets(os.environ)
        withhold_memory()
        configure_logging(settings)
        log_settings(settings, environment)
        # Faust, numpy and scikit-learn: not for --help, and not before the settings are known to be right.
        from consumer.worker import run

        status = run(settings)
    except FatalError as error:
        raise click.ClickException(hide_url_secrets(str(error))) from error
    # Past the interpreter's own tidying: client threads that still wait for a broker would hold it up.
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
