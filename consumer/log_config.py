"""Logging: one JSON line per outcome for machines, one coloured line for people; configured once, given to Faust too.

The known lane writes a sample of its outcomes, and no lane more than ten dead letters a second (``log_sample``).

A call names the event with a fixed phrase and carries the facts beside it, never inside it::

    logger.info("emotion emitted", extra={"facts": {"track_id": ..., "emotion": ...}})
"""

import logging
import logging.config
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from consumer.redaction import hide_url_secrets, one_line, shorten
from consumer.settings import Settings

# Whatever comes in: metrics count every event, and every dead letter is kept; the log must not fill a disk with them.
DEAD_LETTERS_PER_SECOND: Final = 10
# Libraries that report every step at INFO.
_TALKATIVE: Final = ("aiobotocore", "aiokafka", "botocore", "faust", "fsspec", "mode", "numba", "s3fs", "urllib3")
# Quotes a whole variable of the exporter's headers, credentials included, where it does not parse.
_QUOTES_SECRETS: Final = "opentelemetry.util.re"
_RESERVED: Final = ("time", "level", "logger", "event", "exception")
# Of one text of a line; a traceback may be longer.
_MAX_CHARACTERS: Final = 4 * 1024
_MAX_TRACEBACK_CHARACTERS: Final = 16 * 1024
_COLOURS: Final = {"DEBUG": "2", "INFO": "36", "WARNING": "33", "ERROR": "31", "CRITICAL": "31;1"}


class JsonFormatter(logging.Formatter):
    """Write a record as one JSON object: time, level, logger, event, then its facts."""

    def format(self, record: logging.LogRecord) -> str:
        """Give one line of JSON.

        Parameters
        ----------
        record : logging.LogRecord
            Its ``facts``, if it has any, become fields.

        Returns
        -------
        str
            UTF-8 JSON without a line break; URL secrets hidden; NaN becomes null.
        """
        line: dict[str, object] = {
            "time": _time(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": _readable(record.getMessage()),
        }
        facts = {
            f"fact_{name}" if name in _RESERVED else _readable(name): value for name, value in _facts(record).items()
        }
        if record.exc_info and record.exc_info[0]:
            line["exception"] = _readable(self.formatException(record.exc_info), _MAX_TRACEBACK_CHARACTERS)
        try:
            clean = {name: _clean(value) for name, value in facts.items()}
            return msgspec.json.encode(line | clean, enc_hook=_describe).decode()
        except (TypeError, ValueError, RecursionError):
            # Keys that are no text, surrogates deep inside: the line must not be lost for a fact's sake.
            shown = {name: _readable(ascii(value)) for name, value in (line | facts).items()}
            return msgspec.json.encode(shown).decode()


class ConsoleFormatter(logging.Formatter):
    """Write a record as one line for a person: time, level, event, facts.

    Parameters
    ----------
    colour : bool
        Whether the level is coloured.
    """

    def __init__(self, *, colour: bool = False) -> None:
        super().__init__()
        self.colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """Give one line, and the traceback below it where there is one, indented.

        Parameters
        ----------
        record : logging.LogRecord
            Its ``facts``, if it has any, follow as ``name=value``.

        Returns
        -------
        str
            A line; URL secrets hidden, and nothing in it that a terminal would obey.
        """
        level = f"{record.levelname:<7}"
        if self.colour:
            level = f"\x1b[{_COLOURS.get(record.levelname, '0')}m{level}\x1b[0m"
        # As text before secrets are looked for: an exception or a list holds them as well.
        facts = " ".join(f"{name}={_readable(str(value))}" for name, value in _facts(record).items())
        line = f"{_time(record).astimezone():%H:%M:%S} {level} {one_line(_readable(record.getMessage()))}"
        line = f"{line}  {one_line(facts)}" if facts else line
        if record.exc_info and record.exc_info[0]:
            traceback = _readable(self.formatException(record.exc_info), _MAX_TRACEBACK_CHARACTERS)
            # Indented, because an exception quotes what others wrote: a line break in it must not begin a line of ours.
            line = "\n".join([line, *(f"    {one_line(below)}" for below in traceback.split("\n"))])
        return line


def logging_config(settings: Settings) -> dict[str, Any]:
    """Give the configuration of ``logging.config.dictConfig``.

    Parameters
    ----------
    settings : Settings
        ``log_level`` and ``log_format``.

    Returns
    -------
    dict
        For ``dictConfig`` and for Faust's ``logging_config``, which would otherwise install its own.
    """
    json = settings.log_format == "json"
    formatter: dict[str, Any] = (
        {"()": JsonFormatter} if json else {"()": ConsoleFormatter, "colour": sys.stderr.isatty()}
    )
    talkative = "INFO" if settings.log_level == "DEBUG" else "WARNING"
    levels = dict.fromkeys(_TALKATIVE, talkative) | {_QUOTES_SECRETS: "ERROR"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": formatter},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr", "formatter": "line"}},
        "root": {"level": settings.log_level, "handlers": ["stderr"]},
        "loggers": {name: {"level": max(least, settings.log_level, key=_severity)} for name, least in levels.items()},
    }


def configure_logging(settings: Settings) -> None:
    """Configure logging for this process.

    Parameters
    ----------
    settings : Settings
        ``log_level`` and ``log_format``.
    """
    logging.config.dictConfig(logging_config(settings))
    logging.captureWarnings(True)


def _severity(level: str) -> int:
    return logging.getLevelNamesMapping()[level]


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _facts(record: logging.LogRecord) -> dict[str, object]:
    facts: dict[str, object] = getattr(record, "facts", {})
    return facts


def _clean(value: object) -> object:
    if isinstance(value, str):
        return _readable(value)
    if isinstance(value, Mapping):
        return {_readable(name) if isinstance(name, str) else name: _clean(below) for name, below in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(below) for below in value]
    return value


def _readable(text: str, most: int = _MAX_CHARACTERS) -> str:
    # Shortened after secrets are hidden, so that none is cut in two and no longer looks like one. And lone surrogates
    # (undecodable file names) are no UTF-8; a log line must never be the thing that fails.
    return shorten(hide_url_secrets(text), most).encode("utf-8", "backslashreplace").decode()


def _describe(value: object) -> str:
    return _readable(str(value))
