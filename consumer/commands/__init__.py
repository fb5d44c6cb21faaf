"""The subcommands of ``emotion-stream``, one module each, imported only when called."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from consumer.errors import EmotionServiceError
from consumer.redaction import hide_url_secrets


@contextmanager
def plain_errors() -> Iterator[None]:
    """Tell the user of an error of ours in one line and exit with status 1, without a traceback.

    Raises
    ------
    click.ClickException
        In place of an ``EmotionServiceError``.
    """
    try:
        yield
    except EmotionServiceError as error:
        raise click.ClickException(hide_url_secrets(str(error))) from error
