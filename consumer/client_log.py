"""librdkafka's log lines, brought down to what a person can read."""

import logging
import re
import time
from collections.abc import Callable
from typing import Final

_REPEAT_SECONDS: Final = 30.0
_NUMBERS: Final = re.compile(r"\d+(?:\.\d+)?")


class _Once(logging.Filter):
    """Lets lines that differ in numbers only through once in a while: a broker that is away fails ten times a second.

    Parameters
    ----------
    clock : callable
        Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self._seen: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        kind, now = _NUMBERS.sub("#", record.getMessage()), self._clock()
        if now - self._seen.get(kind, -_REPEAT_SECONDS) < _REPEAT_SECONDS:
            return False
        self._seen[kind] = now
        return True


def client_logger(clock: Callable[[], float] = time.monotonic) -> logging.Logger:
    """Give the logger for confluent-kafka's clients.

    Parameters
    ----------
    clock : callable, optional
        Monotonic seconds.

    Returns
    -------
    logging.Logger
        For the ``logger`` argument of ``Consumer`` and ``Producer``.
    """
    logger = logging.getLogger("librdkafka")
    if not logger.filters:
        logger.addFilter(_Once(clock))
    return logger
