"""Dead letters: the original message, byte for byte, and why it has no emotion.

Built from any consumed message, however broken. The original key, value and headers are kept; headers of ours are
added after them, so that ``emotion-stream dead-letters replay`` can give the original back.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from msgspec import Struct

from consumer.errors import FatalError, Reason
from consumer.redaction import hide_url_secrets, one_line
from consumer.topics import TRACK_ANALYSIS

REASON: Final = "error.reason"
MESSAGE: Final = "error.message"
SOURCE_TOPIC: Final = "source.topic"
SOURCE_PARTITION: Final = "source.partition"
SOURCE_OFFSET: Final = "source.offset"
ATTEMPTS: Final = "attempts"
FIRST_SEEN: Final = "first_seen"
ADDED_HEADERS: Final = (REASON, MESSAGE, SOURCE_TOPIC, SOURCE_PARTITION, SOURCE_OFFSET, ATTEMPTS, FIRST_SEEN)

# Long enough for a validation error; short beside the broker's 1 MB limit on a message.
MAX_MESSAGE_CHARACTERS: Final = 500
# Of an exception's text; more than is shown, so that no secret is cut in two and no longer looks like one.
_LOOKED_AT_CHARACTERS: Final = 4 * 1024

# Of a topic's name; the longest of what says where an event first came from. A letter must hold it however small.
_MAX_ORIGIN_BYTES: Final = 249

Headers = list[tuple[str, bytes | None]]
# As confluent-kafka, aiokafka and Faust give them.
ReceivedHeaders = Mapping[str, str | bytes | None] | Iterable[tuple[str, str | bytes | None]] | None


class DeadLetter(Struct, frozen=True, kw_only=True):
    """A message for the dead-letter topic.

    Parameters
    ----------
    key, value : bytes or None
        The original's.
    headers : list of (str, bytes or None)
        The original's, then those named in ``ADDED_HEADERS``.
    """

    key: bytes | None
    value: bytes | None
    headers: Headers


def build_dead_letter(
    *,
    topic: str,
    partition: int,
    offset: int,
    key: bytes | None,
    value: bytes | None,
    headers: ReceivedHeaders,
    reason: Reason,
    message: str,
    attempts: int,
    first_seen: datetime,
) -> DeadLetter:
    """Build a dead letter.

    An event forwarded to ``track-analysis`` carries where it first came from in the same ``source.*`` headers; these
    win over the forwarding topic, so that a replay goes back to where the platform had put it.

    Parameters
    ----------
    topic, partition, offset : str, int, int
        Where the message was read.
    key, value : bytes or None
        As received.
    headers : Mapping, iterable of pairs, or None
        As received from confluent-kafka, aiokafka or Faust.
    reason : Reason
        Why, as a slug.
    message : str
        Why, in words; shortened, on one line, without the secrets a URL can carry.
    attempts : int
        How often it was tried, >= 1.
    first_seen : datetime
        When it was first read, with an offset.

    Returns
    -------
    DeadLetter
        Ready to produce.
    """
    received = header_list(headers)
    source = source_headers(topic, partition, offset)
    # Only what this service forwarded says where it came from; on an input topic anyone may have written that.
    if topic == TRACK_ANALYSIS.name:
        origin = {name: value for name, value in received if len(value or b"") <= _MAX_ORIGIN_BYTES}
        source = [(name, origin.get(name) or value) for name, value in source]
    added = [
        *_verdict_headers(reason, message[:_LOOKED_AT_CHARACTERS]),
        *source,
        (ATTEMPTS, b"%d" % attempts),
        (FIRST_SEEN, _rfc3339(first_seen)),
    ]
    return DeadLetter(key=key, value=value, headers=original_headers(received) + added)


@lru_cache(maxsize=256)
def _verdict_headers(reason: Reason, message: str) -> Sequence[tuple[str, bytes]]:
    # Remembered, and therefore cut before: what is wrong with one message is usually wrong with the next.
    return ((REASON, reason.encode()), (MESSAGE, clean_message(message).encode()))


@lru_cache(maxsize=16)
def _rfc3339(moment: datetime) -> bytes:
    # Remembered: the letters of a batch were first seen together, and writing it was a third of a letter's time.
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z").encode()


def source_headers(topic: str, partition: int, offset: int) -> Headers:
    """Give the headers that say where a forwarded event first came from.

    Parameters
    ----------
    topic, partition, offset : str, int, int
        Where the platform had put it.

    Returns
    -------
    list of (str, bytes)
        To be added when the known lane forwards an event to ``track-analysis``.
    """
    return [*_partition_headers(topic, partition), (SOURCE_OFFSET, b"%d" % offset)]


@lru_cache(maxsize=1024)
def _partition_headers(topic: str, partition: int) -> Sequence[tuple[str, bytes]]:
    return ((SOURCE_TOPIC, topic.encode()), (SOURCE_PARTITION, b"%d" % partition))


def header_list(headers: ReceivedHeaders) -> Headers:
    """Give headers as pairs, whichever client they come from.

    Parameters
    ----------
    headers : Mapping, iterable of pairs, or None
        As received.

    Returns
    -------
    list of (str, bytes or None)
        In order, repeated names kept.
    """
    if headers is None:
        return []
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return [(name, value.encode() if isinstance(value, str) else value) for name, value in pairs]


def header_bytes(headers: Headers) -> int:
    """Give the size of headers, names and values.

    Parameters
    ----------
    headers : list of (str, bytes or None)
        As received.

    Returns
    -------
    int
        In bytes.
    """
    return sum(len(name.encode()) + len(value or b"") for name, value in headers)


def original_headers(headers: Headers) -> Headers:
    """Give a dead letter's headers without ours.

    Parameters
    ----------
    headers : list of (str, bytes or None)
        A dead letter's.

    Returns
    -------
    list of (str, bytes or None)
        What the message carried before.
    """
    return [(name, value) for name, value in headers if name not in ADDED_HEADERS]


def clean_message(message: str) -> str:
    """Shorten an error message to one printable line without secrets.

    Parameters
    ----------
    message : str
        Any exception's text; may quote an ``audio_uri``.

    Returns
    -------
    str
        At most ``MAX_MESSAGE_CHARACTERS`` characters; URL credentials and parameters replaced by ``...``.
    """
    # Cut first: an exception can quote a whole event, or what a hostile server said.
    hidden = hide_url_secrets(message[:_LOOKED_AT_CHARACTERS])
    line = hidden if hidden.isprintable() else one_line(hidden)
    return line if len(line) <= MAX_MESSAGE_CHARACTERS else line[: MAX_MESSAGE_CHARACTERS - 1] + "…"


class DeadLetterLimit:
    """How many dead letters in a minute are still somebody else's fault.

    Parameters
    ----------
    per_minute : int
        More than this many stop the worker; 0 for never.
    clock : callable, optional
        Monotonic seconds.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._lock = threading.Lock()
        self._window: deque[tuple[float, int]] = deque()

    def add(self, count: int) -> None:
        """Count dead letters that were delivered; called by both lanes.

        Parameters
        ----------
        count : int
            How many.

        Raises
        ------
        FatalError
            If there were too many within the last minute.
        """
        if not self._per_minute or not count:
            return
        with self._lock:
            now = self._clock()
            self._window.append((now, count))
            while now - self._window[0][0] > 60.0:
                self._window.popleft()
            total = sum(number for _, number in self._window)
        if total > self._per_minute:
            raise FatalError(
                f"{total} dead letters within a minute, EMOTION_DEAD_LETTER_LIMIT is {self._per_minute}: "
                "stopping until somebody has looked"
            )
