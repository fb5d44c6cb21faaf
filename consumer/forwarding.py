"""What the known lane tells the new lane about an event it forwards to ``track-analysis``."""

from typing import Final

import msgspec

from consumer.corrections import Correction
from consumer.dead_letter import SOURCE_OFFSET, SOURCE_PARTITION, SOURCE_TOPIC, Headers, source_headers

PURPOSE: Final = "analysis.purpose"
REFRESH: Final = b"refresh"
CORRECTION: Final = "analysis.correction"
_OURS: Final = (PURPOSE, CORRECTION, SOURCE_TOPIC, SOURCE_PARTITION, SOURCE_OFFSET)


def forwarded_headers(
    received: Headers, topic: str, partition: int, offset: int, *, refresh: bool, correction: Correction | None = None
) -> Headers:
    """Give the headers of a forwarded event: the original's, and where it first came from.

    Parameters
    ----------
    received : list of (str, bytes or None)
        The original's.
    topic, partition, offset : str, int, int
        Where it was read.
    refresh : bool
        The event was answered already; only the track's record is to be renewed.
    correction : Correction, optional
        What a person said of the track: the analysis must not say otherwise.

    Returns
    -------
    list of (str, bytes or None)
        For ``track-analysis``.
    """
    # Not from outside: an event that came with our header for a refresh would never be answered.
    headers = [(name, value) for name, value in received if name not in _OURS]
    headers += source_headers(topic, partition, offset)
    if refresh:
        headers.append((PURPOSE, REFRESH))
    if correction is not None:
        headers.append((CORRECTION, msgspec.json.encode(correction)))
    return headers


def is_refresh(headers: Headers) -> bool:
    """Tell whether a forwarded event was answered already.

    Parameters
    ----------
    headers : list of (str, bytes or None)
        As received on ``track-analysis``.

    Returns
    -------
    bool
        Whether only the track's record is to be renewed.
    """
    return (PURPOSE, REFRESH) in headers


def forwarded_correction(headers: Headers) -> Correction | None:
    """Give what a person said of a forwarded event's track.

    Parameters
    ----------
    headers : list of (str, bytes or None)
        As received on ``track-analysis``.

    Returns
    -------
    Correction or None
        None where nobody said anything, or the header is not ours.
    """
    value = dict(headers).get(CORRECTION)
    try:
        return None if value is None else msgspec.json.decode(value, type=Correction)
    except (ValueError, RecursionError):  # msgspec's errors among them
        return None
