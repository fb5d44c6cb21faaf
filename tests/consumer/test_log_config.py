"""Log lines: parseable whatever they carry, without secrets, and the same for Faust."""

import json
import logging
import logging.config
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.util.re import parse_env_headers

from consumer.log_config import ConsoleFormatter, JsonFormatter, configure_logging, logging_config
from consumer.settings import Settings


def record(event: str, exc_info: object = None, **facts: object) -> logging.LogRecord:
    made = logging.LogRecord("consumer.known_lane", logging.WARNING, __file__, 1, event, (), exc_info)  # type: ignore[arg-type]  # as sys.exc_info gives it
    made.facts = facts
    return made


@pytest.fixture
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    before = (root.level, root.handlers[:])
    yield
    logging.captureWarnings(False)
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    for name in logging_config(Settings())["loggers"]:
        logging.getLogger(name).setLevel(logging.NOTSET)


def test_json_line_holds_event_and_facts() -> None:
    line = json.loads(JsonFormatter().format(record("event dead-lettered", track_id="t", offset=3, reason="silent")))
    assert line["event"] == "event dead-lettered"
    assert (line["level"], line["logger"]) == ("warning", "consumer.known_lane")
    assert (line["track_id"], line["offset"], line["reason"]) == ("t", 3, "silent")
    assert line["time"].endswith("Z")


@pytest.mark.parametrize(
    "facts",
    [
        {"text": "two\nlines"},
        {"text": "lone \ud800 surrogate"},
        {"path": Path("/a")},
        {"number": math.nan},
        {"nested": {"a": [1, {"b": object()}]}},
        {"raw": b"\xff"},
        {"deep": {"a": ["lone \ud800"]}},
        {"keys": {(1, 2): 3}},
    ],
)
def test_json_line_is_one_valid_line_whatever_it_carries(facts: dict[str, object]) -> None:
    line = JsonFormatter().format(record("event", **facts))
    assert "\n" not in line
    assert json.loads(line)["event"].strip("'") == "event"


def test_json_fact_cannot_overwrite_the_line_itself() -> None:
    line = json.loads(JsonFormatter().format(record("event", time="never", level="none")))
    assert line["level"] == "warning"
    assert line["fact_time"] == "never"


def test_json_line_holds_the_traceback_in_one_field() -> None:
    try:
        raise ValueError("https://user:hunter2@host/a?sig=hunter2")
    except ValueError:
        text = JsonFormatter().format(record("failed", sys.exc_info()))
    assert "\n" not in text
    assert "ValueError" in json.loads(text)["exception"]
    assert "hunter2" not in text


SIGNED = "https://u:hunter2@host/a.mp3?X-Amz-Signature=hunter2"


@pytest.mark.parametrize("formatter", [JsonFormatter(), ConsoleFormatter(), ConsoleFormatter(colour=True)])
@pytest.mark.parametrize(
    "fact",
    [SIGNED, OSError(f"cannot read {SIGNED} now"), [SIGNED, "b"], {"uri": (SIGNED,)}, {SIGNED: 1}, {(SIGNED, 2): 3}],
    ids=["text", "exception", "list", "nested", "key", "key that is no text"],
)
def test_url_secrets_are_hidden_in_every_format_wherever_they_stand(fact: object, formatter: logging.Formatter) -> None:
    text = formatter.format(record("fetched", audio_uri=fact))
    assert "hunter2" not in text
    assert "host/a.mp3" in text


def test_console_line_reads_well() -> None:
    text = ConsoleFormatter().format(record("event emitted", track_id="t-1", emotion="sad"))
    assert text[8:] == " WARNING event emitted  track_id=t-1 emotion=sad"


def test_console_facts_cannot_forge_a_second_line() -> None:
    assert "\n" not in ConsoleFormatter().format(record("event", track_id="t\n12:00:00 INFO all is well"))


def test_console_message_and_traceback_cannot_forge_a_line_or_move_the_cursor() -> None:
    forged = "12:00:00 INFO    all is well"
    try:
        raise ValueError(f"\x1b[2J\r{forged}\n{forged}\u2028{forged}")
    except ValueError:
        text = ConsoleFormatter().format(record(f"failed\n{forged}\x1b[1A", sys.exc_info()))
    first, *below = text.split("\n")
    assert "failed" in first
    assert all(line.startswith("    ") for line in below)
    assert all(line.isprintable() for line in (first, *below))


@pytest.mark.parametrize("formatter", [JsonFormatter(), ConsoleFormatter()])
def test_line_of_a_hostile_text_is_bounded_and_made_in_no_time(formatter: logging.Formatter) -> None:
    hostile = "://" + "a-" * 500_000
    started = time.process_time()
    try:
        raise ValueError(hostile)
    except ValueError:
        text = formatter.format(record(hostile, sys.exc_info(), error=hostile))
    # 64 kB took 16 s once; a loaded machine needs no half second.
    assert time.process_time() - started < 0.5
    assert len(text) < 30_000
    assert "ValueError" in text


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_configure_logging_writes_to_stderr(
    log_format: str, capsys: pytest.CaptureFixture[str], restored_logging: None
) -> None:
    configure_logging(Settings.from_environment({"EMOTION_LOG_FORMAT": log_format}))
    logging.getLogger("consumer.test").info("worker started", extra={"facts": {"lanes": ["known"]}})
    logging.getLogger("aiokafka.consumer").info("chatter")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "worker started" in captured.err
    assert "chatter" not in captured.err


@pytest.mark.parametrize(("level", "library"), [("DEBUG", "INFO"), ("INFO", "WARNING"), ("ERROR", "ERROR")])
def test_libraries_are_no_louder_than_asked(level: str, library: str) -> None:
    config = logging_config(Settings.from_environment({"EMOTION_LOG_LEVEL": level}))
    assert config["loggers"]["aiokafka"]["level"] == library


@pytest.mark.parametrize("level", ["DEBUG", "INFO"])
def test_headers_that_do_not_parse_are_not_quoted(
    level: str, capsys: pytest.CaptureFixture[str], restored_logging: None
) -> None:
    configure_logging(Settings.from_environment({"EMOTION_LOG_LEVEL": level}))
    parse_env_headers("Authorization: Bearer hunter2", liberal=True)
    parse_env_headers("Authorization: Bearer hunter2")
    assert "hunter2" not in capsys.readouterr().err
