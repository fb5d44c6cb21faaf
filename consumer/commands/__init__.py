"""The subcommands of ``emotion-stream``, one module each, imported only when called."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from consumer.errors import EmotionServiceError


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
        raise click.ClickException(str(error)) from error
