"""Tracing turned on: OpenTelemetry spans of each event and each stage; imported only then (the extra ``tracing``).

An event is one consumer span, child of the producer's span that its headers name. Below it: decoding and looking up;
one span for each attempt at an analysis, and in it the stages, with the times that the pool's process measured; one
producer span for each message, whose context goes out in the message's headers. So a play of a new track is one trace
through both lanes. An event answered by another one's analysis has a link to that one's span.
"""

import os
import threading
import time
from collections.abc import Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.environment_variables import OTEL_EXPORTER_OTLP_HEADERS, OTEL_EXPORTER_OTLP_TRACES_HEADERS
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from consumer.dead_letter import Headers, ReceivedHeaders
from consumer.errors import ConfigurationError, EmotionServiceError
from consumer.timing import Timing
from consumer.tracing import Trace, Tracing, received_context

_PROPAGATOR: Final = TraceContextTextMapPropagator()
_CLOSE_SECONDS: Final = 1.0
_HEADERS: Final = (OTEL_EXPORTER_OTLP_HEADERS, OTEL_EXPORTER_OTLP_TRACES_HEADERS)


class SpanTrace(Trace):
    """The spans of one event.

    Parameters
    ----------
    tracer : Tracer
        Makes spans.
    topic, partition, offset : str, int, int
        Where the event was read.
    received : Headers
        Its headers.
    """

    __slots__ = ("_inside", "_open", "_since", "_span", "_tracer")

    def __init__(self, tracer: Tracer, topic: str, partition: int, offset: int, received: ReceivedHeaders) -> None:
        self._tracer = tracer
        self._since = time.time_ns()
        self._open: list[Span] = []
        self._span = tracer.start_span(
            f"process {topic}",
            _extract(received),
            SpanKind.CONSUMER,
            {
                "messaging.system": "kafka",
                "messaging.operation.type": "process",
                "messaging.destination.name": topic,
                "messaging.destination.partition.id": str(partition),
                "messaging.kafka.offset": offset,
            },
            start_time=self._since,
        )
        self._inside = set_span_in_context(self._span)

    def stage(self, name: str) -> None:
        """Make the span of a stage that ends now."""
        now = time.time_ns()
        if self._span.is_recording():
            self._tracer.start_span(name, self._inside, start_time=self._since).end(now)
        self._since = now

    def analysed(self, start_ns: int, timings: Sequence[Timing], error: EmotionServiceError | None = None) -> None:
        """Make the spans of one attempt and of its stages, with the times that another process measured."""
        if not self._span.is_recording():
            return
        attempt = self._tracer.start_span("analyse", self._inside, start_time=start_ns)
        inside = set_span_in_context(attempt)
        for timing in timings:
            span = self._tracer.start_span(timing.stage, inside, start_time=timing.start_ns)
            if error is not None and error.stage == timing.stage and timing is timings[-1]:
                _fail(span, error)
            span.end(timing.end_ns)
        if error is not None:
            _fail(attempt, error)
        attempt.end()

    def shares(self, other: Trace) -> None:
        """Link to the event that was analysed."""
        if isinstance(other, SpanTrace):
            self._span.add_link(other._span.get_span_context())

    def outgoing(self, topic: str) -> Headers:
        """Begin a producer span, and give its context."""
        if not self._span.is_recording():
            return _inject(self._inside)
        attributes = {
            "messaging.system": "kafka",
            "messaging.operation.type": "send",
            "messaging.destination.name": topic,
        }
        span = self._tracer.start_span(f"send {topic}", self._inside, SpanKind.PRODUCER, attributes)
        self._open.append(span)
        return _inject(set_span_in_context(span))

    def delivered(self) -> None:
        """End the producer spans."""
        for span in self._open:
            span.end()
        self._open.clear()

    def end(self, outcome: str) -> None:
        """End every span of the event."""
        self.delivered()
        self._span.set_attribute("emotion.outcome", outcome)
        self._span.end()


class SpanTracing(Tracing):
    """Gives each event its spans.

    Parameters
    ----------
    provider : TracerProvider
        What becomes of them.
    """

    is_on = True

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("emotion-stream")

    @classmethod
    def exporting(cls) -> "SpanTracing":
        """Send spans over OTLP/HTTP, as the ``OTEL_*`` variables say, from a thread of its own.

        The variables of its headers, which hold credentials, are then no longer in the environment.

        Raises
        ------
        ConfigurationError
            If a header holds a line break.
        """
        for variable in _HEADERS:
            # requests refuses such a header at every export, and quotes it.
            if any(line_break in os.environ.get(variable, "").lower() for line_break in ("%0a", "%0d")):
                raise ConfigurationError(f"{variable}: expected headers without a line break (%0A, %0D)")
        named = Resource({SERVICE_NAME: "emotion-stream"}).merge(OTELResourceDetector().detect())
        # The interpreter's end must not wait for a collector that does not answer: ``close`` does, for a second.
        provider = TracerProvider(resource=named, shutdown_on_exit=False)
        exporter = OTLPSpanExporter()
        # It has read them, and processes that open strangers' audio inherit the environment. Before the processor,
        # which starts a thread: the environment is the C library's too, which locks nothing.
        for variable in _HEADERS:
            os.environ.pop(variable, None)
        provider.add_span_processor(BatchSpanProcessor(exporter))
        return cls(provider)

    def begin(self, topic: str, partition: int, offset: int, received: ReceivedHeaders) -> Trace:
        """Begin the span of an event."""
        return SpanTrace(self._tracer, topic, partition, offset, received)

    def close(self) -> None:
        """Send what was not sent yet; what a collector does not take within a second is lost."""
        closing = threading.Thread(target=self._provider.shutdown, name="tracing", daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)


def _extract(received: ReceivedHeaders) -> Context:
    carrier = {name: (value or b"").decode() for name, value in received_context(received)}
    # An empty context, not the thread's: a malformed header begins a trace of its own.
    return _PROPAGATOR.extract(carrier, Context())


def _inject(context: Context) -> Headers:
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, context)
    return [(name, value.encode()) for name, value in carrier.items()]


def _fail(span: Span, error: EmotionServiceError) -> None:
    span.set_attribute("error.type", str(error.reason))
    span.set_status(StatusCode.ERROR, str(error.reason))
