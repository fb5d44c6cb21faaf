"""Trace context (W3C): taken from an event's headers, put into the headers of whatever the event becomes.

This is tracing turned off: an event's ``traceparent`` and ``tracestate`` go on as they came, so that a platform's trace
does not end here, and nothing of OpenTelemetry is imported. ``consumer.spans`` is tracing turned on.

Only what is a trace context goes on. Headers are written by others, and one as large as Kafka allows would make an
answer that Kafka refuses, of an event that would then be read again and again.
"""

import re
from collections.abc import Sequence
from typing import Final

from consumer.dead_letter import Headers, ReceivedHeaders, header_list
from consumer.errors import ConfigurationError, EmotionServiceError
from consumer.settings import Settings
from consumer.timing import Timing

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
CONTEXT_HEADERS: Final = (TRACEPARENT, TRACESTATE)
# W3C Trace Context, 3.2.2: version (ff is none), trace and parent (zeros are none), flags.
_TRACEPARENT: Final = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
# What everybody who passes it on must at least keep (3.3.1.5); more is dropped as a whole.
_TRACESTATE: Final = re.compile(rb"[\t\x20-\x7e]{1,512}")


class Trace:
    """What is traced of one event: nothing, but its context goes on.

    Parameters
    ----------
    received : ReceivedHeaders
        The event's.
    """

    __slots__ = ("_context",)

    def __init__(self, received: ReceivedHeaders) -> None:
        self._context = received_context(received)

    def stage(self, name: str) -> None:
        """Say that a stage has ended that began where the one before it ended, or with the event."""

    def analysed(self, start_ns: int, timings: Sequence[Timing], error: EmotionServiceError | None = None) -> None:
        """Say how an analysis went that has just ended.

        Parameters
        ----------
        start_ns : int
            When it was asked for, nanoseconds since the epoch.
        timings : sequence of Timing
            Of its stages, as the process that ran them measured.
        error : EmotionServiceError, optional
            Why it failed.
        """

    def shares(self, other: "Trace") -> None:
        """Say that this event is answered by the analysis of another one."""

    def outgoing(self, topic: str) -> Headers:
        """Begin to produce.

        Parameters
        ----------
        topic : str
            Where to.

        Returns
        -------
        list of (str, bytes or None)
            The context for the message's headers; empty where there is none.
        """
        return list(self._context)

    def delivered(self) -> None:
        """Say that Kafka has acknowledged what was produced."""

    def end(self, outcome: str) -> None:
        """Say what became of the event; it is acknowledged next."""


class Tracing:
    """Gives each event its trace."""

    is_on = False

    def begin(self, topic: str, partition: int, offset: int, received: ReceivedHeaders) -> Trace:
        """Begin an event's trace, in the one that its headers name.

        Parameters
        ----------
        topic, partition, offset : str, int, int
            Where it was read.
        received : Headers
            As received from any client.

        Returns
        -------
        Trace
            Of this event.
        """
        return Trace(received)

    def close(self) -> None:
        """Send what was not sent yet, within a second."""


OFF: Final = Tracing()


def received_context(received: ReceivedHeaders) -> Headers:
    """Give the trace context that an event came with.

    Parameters
    ----------
    received : ReceivedHeaders
        As received from any client.

    Returns
    -------
    list of (str, bytes)
        ``traceparent``, and ``tracestate`` if there is one; empty if the context is malformed, said twice, or longer
        than anybody has to pass on.
    """
    found = [header for header in header_list(received) if header[0] in CONTEXT_HEADERS]
    if not found:
        return found
    parents = [value for name, value in found if name == TRACEPARENT]
    states = [value for name, value in found if name == TRACESTATE]
    if len(parents) != 1 or not _TRACEPARENT.fullmatch(parents[0] or b""):
        # A state says nothing without the trace it is of.
        return []
    if len(states) != 1 or not _TRACESTATE.fullmatch(states[0] or b""):
        return [(TRACEPARENT, parents[0])]
    return [(TRACEPARENT, parents[0]), (TRACESTATE, states[0])]


def with_context(headers: Headers, context: Headers) -> Headers:
    """Put a context in the place of the one that headers may hold.

    Parameters
    ----------
    headers, context : list of (str, bytes or None)
        A message's; from ``Trace.outgoing``.

    Returns
    -------
    list of (str, bytes or None)
        The headers with that context; as they were where it says nothing, be what is there valid or not.
    """
    if not context:
        return headers
    said = {name for name, _ in context}
    return [header for header in headers if header[0] not in said] + context


def open_tracing(settings: Settings) -> Tracing:
    """Give the tracing that the settings ask for.

    Parameters
    ----------
    settings : Settings
        ``tracing``; where spans go and how many are kept is for OpenTelemetry's own ``OTEL_*`` variables to say.

    Returns
    -------
    Tracing
        ``OFF`` by default.

    Raises
    ------
    ConfigurationError
        If it is asked for and OpenTelemetry is not installed.
    """
    if not settings.tracing:
        return OFF
    try:
        from consumer.spans import SpanTracing
    except ImportError as error:
        raise ConfigurationError(
            f"EMOTION_TRACING expects OpenTelemetry: pip install 'emotion-stream[tracing]' ({error})"
        ) from error
    return SpanTracing.exporting()
