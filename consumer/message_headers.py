"""A Kafka message's headers, asked for so that a name that is no UTF-8 is an error and not the worker's end.

confluent-kafka (2.16) decodes the names when it is asked, and goes on where that fails: it returns a list with a hole
in it, which ends the process when it is touched, and leaves an exception that the interpreter's own fast calls do not
look for and that comes up wherever the next one does. ``methodcaller`` looks. A second question would be given the list
with the hole and no exception: nobody asks a message for its headers but through here, and never again once it failed.
"""

from collections.abc import Callable
from operator import methodcaller
from typing import Final

from confluent_kafka import Message

from consumer.errors import InvalidEventError, Reason

Received = list[tuple[str, bytes | None]] | None

_ask: Final[Callable[[Message], Received]] = methodcaller("headers")


def read_headers(message: Message) -> Received:
    """Ask a message for its headers.

    Parameters
    ----------
    message : confluent_kafka.Message
        As consumed, without an error.

    Returns
    -------
    list of (str, bytes or None), or None
        In order; None without any.

    Raises
    ------
    InvalidEventError
        With reason ``schema`` if a name is not UTF-8.
    """
    try:
        return _ask(message)
    except (SystemError, UnicodeDecodeError) as error:
        raise InvalidEventError("expected header names in UTF-8", reason=Reason.SCHEMA) from error
