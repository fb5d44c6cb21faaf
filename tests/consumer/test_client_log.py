"""A broker that is away is said once, not ten times a second."""

import logging

import pytest

from consumer.client_log import client_logger


def test_lines_that_differ_in_numbers_only_are_said_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    logging.getLogger("librdkafka").filters.clear()
    logger = client_logger(lambda: now)
    try:
        for milliseconds in range(5):
            logger.error("FAIL connect failed (after %dms)", milliseconds)
        logger.error("another matter")
        now = 60.0
        logger.error("FAIL connect failed (after 7ms)")
    finally:
        logging.getLogger("librdkafka").filters.clear()
    assert [record.getMessage() for record in caplog.records] == [
        "FAIL connect failed (after 0ms)",
        "another matter",
        "FAIL connect failed (after 7ms)",
    ]
