"""Trace context through both lanes: carried on when tracing is off, one span a stage when it is on."""

import asyncio
import itertools
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, Sampler
from opentelemetry.trace import SpanKind, TraceFlags, format_span_id, format_trace_id

from consumer.analyst import AnalystPlan
from consumer.errors import AudioNotFoundError, AudioStoreUnavailableError, ConfigurationError
from consumer.pool import Pool
from consumer.settings import Settings
from consumer.spans import SpanTracing
from consumer.timing import Timing, stage_seconds
from consumer.topics import DEAD_LETTERS, EMOTION_EVENTS, TRACK_ANALYSIS, TRACK_EMOTIONS, TRACK_EVENTS
from consumer.tracing import OFF, Trace, Tracing, open_tracing, with_context
from model.registry import SHIPPED_ROOT, Registry
from tests.consumer import test_known_lane as known
from tests.consumer import test_new_lane as new
from tests.consumer.records import track_emotion_json, track_event_json
from tests.integration.traffic import write_track

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT_ID = "00f067aa0ba902b7"
CONTEXT = [("traceparent", f"00-{TRACE_ID}-{PARENT_ID}-01".encode()), ("tracestate", b"platform=1")]


class Recorder:
    """Tracing whose spans stay here."""

    def __init__(self, sampler: Sampler | None = None) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracing = SpanTracing(provider)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    def one(self, name: str) -> ReadableSpan:
        (span,) = [span for span in self.spans if span.name == name]
        return span

    def children(self, span: ReadableSpan) -> list[str]:
        return [child.name for child in self.spans if child.parent is not None and child.parent.span_id == id_of(span)]


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


def traceparent(span: ReadableSpan) -> bytes:
    assert span.context is not None
    return f"00-{format_trace_id(span.context.trace_id)}-{format_span_id(span.context.span_id)}-01".encode()


def through_known_lane(
    monkeypatch: pytest.MonkeyPatch, tracing: Tracing, value: bytes, headers: list[tuple[str, bytes]] = CONTEXT
) -> known.FakeOutbox:
    bench = known.Bench(monkeypatch, tracing)
    event = known.Message(TRACK_EVENTS.name, 0, 7, value, headers=headers)
    bench.run_assigned([event], record=track_emotion_json())
    outbox: known.FakeOutbox = bench.outbox
    return outbox


def through_new_lane(tracing: Tracing, scenario: Callable[[new.Bench], Awaitable[None]]) -> new.Bench:
    async def main() -> new.Bench:
        bench = new.Bench(tracing)
        await asyncio.wait_for(scenario(bench), 20)
        await bench.settle()
        await bench.lane.stop()
        return bench

    return asyncio.run(main())


def test_off_every_outcome_of_the_known_lane_carries_the_context_on(monkeypatch: pytest.MonkeyPatch) -> None:
    known_play, unknown_play = track_event_json(), track_event_json(track_id="t-new")
    for value, topic in ((known_play, EMOTION_EVENTS), (unknown_play, TRACK_ANALYSIS), (b"?", DEAD_LETTERS)):
        ((_, _, _, headers),) = through_known_lane(monkeypatch, OFF, value).to(topic.name)
        assert [header for header in headers if header[0].startswith("trace")] == CONTEXT, topic


def test_off_every_outcome_of_the_new_lane_carries_the_context_on() -> None:
    async def scenario(bench: new.Bench) -> None:
        bench.pool.failures["file:///music/none.flac"] = [AudioNotFoundError("none")]
        await bench.accept(0, track_event_json(), CONTEXT)
        await bench.accept(1, track_event_json(track_id="t-2", audio_uri="file:///music/none.flac"), CONTEXT)
        await bench.accept(2, b"?", CONTEXT)

    messages = through_new_lane(OFF, scenario).outbox.messages
    topics = (TRACK_EMOTIONS, EMOTION_EVENTS, DEAD_LETTERS, DEAD_LETTERS)
    assert sorted(message.topic for message in messages) == sorted(topic.name for topic in topics)
    for message in messages:
        assert [header for header in message.headers if header[0].startswith("trace")] == CONTEXT, message.topic


PARENT = CONTEXT[0]


@pytest.mark.parametrize(
    ("received", "kept"),
    [
        (CONTEXT, CONTEXT),
        ([CONTEXT[1], PARENT], CONTEXT),
        ([PARENT, ("tracestate", b"a=" + b"x" * 510)], [PARENT, ("tracestate", b"a=" + b"x" * 510)]),
        ([PARENT, ("tracestate", b"a=" + b"x" * 511)], [PARENT]),
        ([PARENT, ("tracestate", b"x" * 2_000_000)], [PARENT]),
        ([PARENT, ("tracestate", b"a=\x1b")], [PARENT]),
        ([PARENT, ("tracestate", None)], [PARENT]),
        ([*CONTEXT, CONTEXT[1]], [PARENT]),
        ([PARENT, *CONTEXT], []),
        ([CONTEXT[1]], []),
        ([("traceparent", None)], []),
        ([("traceparent", b"x" * 2_000_000), CONTEXT[1]], []),
        ([("traceparent", PARENT[1] + b"\n")], []),
        ([("traceparent", PARENT[1].upper())], []),
        ([("traceparent", b"ff" + PARENT[1][2:])], []),
        ([("traceparent", PARENT[1].replace(TRACE_ID.encode(), b"0" * 32))], []),
        ([("traceparent", PARENT[1].replace(PARENT_ID.encode(), b"0" * 16))], []),
    ],
)
def test_off_only_a_valid_and_small_context_goes_on(
    received: list[tuple[str, bytes]], kept: list[tuple[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Trace(received).outgoing("any") == kept
    ((_, _, _, headers),) = through_known_lane(monkeypatch, OFF, track_event_json(), received).to(EMOTION_EVENTS.name)
    assert [header for header in headers if header[0].startswith("trace")] == kept


def test_on_an_endless_context_does_not_go_on_either(monkeypatch: pytest.MonkeyPatch) -> None:
    received = [PARENT, ("tracestate", b",".join(b"k%d=" % n + b"x" * 200 for n in range(30)))]
    outbox = through_known_lane(monkeypatch, Recorder().tracing, track_event_json(), received)
    ((_, _, _, headers),) = outbox.to(EMOTION_EVENTS.name)
    assert "tracestate" not in dict(headers)
    assert TRACE_ID.encode() in dict(headers)["traceparent"]


def test_off_an_event_without_context_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = through_known_lane(monkeypatch, OFF, track_event_json(), [("other", b"1")])
    ((_, _, _, headers),) = outbox.to(EMOTION_EVENTS.name)
    assert not [name for name, _ in headers if name.startswith("trace")]


def test_known_lane_makes_a_span_for_the_event_and_each_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    outbox = through_known_lane(monkeypatch, recorder.tracing, track_event_json())
    event, send = recorder.one(f"process {TRACK_EVENTS.name}"), recorder.one(f"send {EMOTION_EVENTS.name}")
    assert event.parent is not None
    assert (format_trace_id(event.parent.trace_id), format_span_id(event.parent.span_id)) == (TRACE_ID, PARENT_ID)
    assert event.kind is SpanKind.CONSUMER
    assert event.attributes is not None
    assert event.attributes["messaging.kafka.offset"] == 7
    assert event.attributes["emotion.outcome"] == "emitted"
    assert recorder.children(event) == ["decode event", "look up and answer", f"send {EMOTION_EVENTS.name}"]
    ((_, _, _, headers),) = outbox.to(EMOTION_EVENTS.name)
    assert dict(headers)["traceparent"] == traceparent(send)
    assert dict(headers)["tracestate"] == b"platform=1"


def test_a_play_of_a_new_track_is_one_trace_through_both_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    value = track_event_json(track_id="t-new")
    ((_, _, _, forwarded),) = through_known_lane(monkeypatch, recorder.tracing, value).to(TRACK_ANALYSIS.name)
    assert [name for name, _ in forwarded].count("traceparent") == 1
    bench = through_new_lane(recorder.tracing, lambda bench: bench.accept(3, value, forwarded))

    hops = [
        f"process {TRACK_EVENTS.name}",
        f"send {TRACK_ANALYSIS.name}",
        f"process {TRACK_ANALYSIS.name}",
        f"send {EMOTION_EVENTS.name}",
    ]
    for above, below in itertools.pairwise(hops):
        assert below in recorder.children(recorder.one(above))
    assert {format_trace_id(span.context.trace_id) for span in recorder.spans if span.context} == {TRACE_ID}
    assert recorder.children(recorder.one(hops[2])) == [
        "decode event", "analyse", f"send {TRACK_EMOTIONS.name}", f"send {EMOTION_EVENTS.name}"
    ]  # fmt: skip
    assert recorder.children(recorder.one("analyse")) == ["fetch"]
    fetch = recorder.one("fetch")
    # As the pool's process measured it, not when the lane heard of it.
    assert (fetch.start_time, fetch.end_time) == (0, 100_000_000)
    (answer,) = [message for message in bench.outbox.messages if message.topic == EMOTION_EVENTS.name]
    assert dict(answer.headers)["traceparent"] == traceparent(recorder.one(hops[3]))


def test_failed_attempts_are_spans_with_the_reason_and_the_dead_letter_names_the_last() -> None:
    failure = AudioStoreUnavailableError("away")
    failure.stage, failure.timings = "fetch", (Timing("fetch", 5, 9),)
    recorder = Recorder()

    async def scenario(bench: new.Bench) -> None:
        bench.pool.failures["file:///music/t-1.flac"] = [failure]
        await bench.accept(0, track_event_json(audio_uri="file:///music/t-1.flac"), CONTEXT)

    bench = through_new_lane(recorder.tracing, scenario)
    attempts = [span for span in recorder.spans if span.name == "analyse"]
    assert len(attempts) == bench.settings.max_attempts
    for span in [*attempts, *(span for span in recorder.spans if span.name == "fetch")]:
        assert not span.status.is_ok
        assert span.attributes is not None
        assert span.attributes["error.type"] == "unavailable"
    (letter,) = bench.outbox.letters()
    assert letter["traceparent"].encode() == traceparent(recorder.one(f"send {DEAD_LETTERS.name}"))
    outcome = recorder.one(f"process {TRACK_ANALYSIS.name}").attributes
    assert outcome is not None
    assert outcome["emotion.outcome"] == "dead-lettered"


def test_an_event_that_shares_an_analysis_is_linked_to_it() -> None:
    recorder = Recorder()

    async def scenario(bench: new.Bench) -> None:
        held = bench.pool.hold("file:///music/t-1.flac")
        for offset in range(2):
            await bench.accept(offset, track_event_json(f"e-{offset}", audio_uri="file:///music/t-1.flac"))
        await bench.settle()
        held.set()

    through_new_lane(recorder.tracing, scenario)
    first, second = [span for span in recorder.spans if span.name == f"process {TRACK_ANALYSIS.name}"]
    assert [link.context.span_id for link in second.links] == [id_of(first)]
    assert "analyse" in recorder.children(first)
    assert "analyse" not in recorder.children(second)


def test_an_event_that_is_not_sampled_makes_no_spans_and_says_so_downstream(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(ParentBased(ALWAYS_OFF))
    outbox = through_known_lane(monkeypatch, recorder.tracing, track_event_json(), [("other", b"1")])
    ((_, _, _, headers),) = outbox.to(EMOTION_EVENTS.name)
    flags = dict(headers)["traceparent"].rpartition(b"-")[2]
    assert not int(flags, 16) & TraceFlags.SAMPLED
    assert recorder.spans == ()


def test_a_malformed_context_begins_a_trace_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    through_known_lane(monkeypatch, recorder.tracing, track_event_json(), [("traceparent", b"\xff-not-one")])
    assert recorder.one(f"process {TRACK_EVENTS.name}").parent is None


@pytest.mark.slow
def test_stages_in_a_pool_process_are_spans_of_the_event_with_their_own_times(tmp_path: Path) -> None:
    recorder = Recorder()
    track = write_track(tmp_path / "track.wav", 0, seconds=70.0)
    settings = Settings(audio_roots=(tmp_path,), pool_size=1)
    version = Registry(SHIPPED_ROOT).load("champion").version

    async def scenario(bench: new.Bench) -> None:
        plan = AnalystPlan.from_settings(settings, model_version=version, scratch=tmp_path)
        pool = Pool(
            plan, size=1, timeout_seconds=60, memory_bytes=settings.analysis_memory_bytes, metrics=bench.metrics
        )
        bench.models.version = version
        bench.watch.look()
        bench.lane._pool = pool
        await pool.start()
        try:
            uploaded = track_event_json(event_type="track_uploaded", audio_uri=str(track))
            await bench.accept(0, uploaded, CONTEXT)
            while bench.lane.in_flight:
                await asyncio.sleep(0.01)
        finally:
            await pool.stop()

    async def patient() -> None:
        bench = new.Bench(recorder.tracing)
        await asyncio.wait_for(scenario(bench), 120)
        await bench.lane.stop()

    asyncio.run(patient())
    analyse = recorder.one("analyse")
    # Two fragments of 30 s; the first decode looks at the file.
    assert recorder.children(analyse) == ["fetch", "decode", "decode", "extract", "decode", "extract", "predict"]
    stages = [span for span in recorder.spans if span.parent is not None and span.parent.span_id == id_of(analyse)]
    edges = [
        analyse.start_time,
        *(edge for span in stages for edge in (span.start_time, span.end_time)),
        analyse.end_time,
    ]
    known_edges = [edge for edge in edges if edge is not None]
    assert len(known_edges) == len(edges)
    # Two processes' clocks are one machine's: in order, but for what a clock is set by meanwhile.
    assert all(later - earlier > -5_000_000 for earlier, later in itertools.pairwise(known_edges))


def test_with_context_replaces_the_one_that_is_there() -> None:
    assert with_context([("a", b"1"), ("traceparent", b"old")], [("traceparent", b"new")]) == [
        ("a", b"1"),
        ("traceparent", b"new"),
    ]
    state = ("tracestate", b"too long to go on, but the original's")
    assert with_context([("traceparent", b"old"), state], [("traceparent", b"new")]) == [state, ("traceparent", b"new")]
    assert with_context([("traceparent", b"old")], []) == [("traceparent", b"old")]
    parent = CONTEXT[0][1]
    assert Trace({"traceparent": parent.decode()}).outgoing("any") == [("traceparent", parent)]


def test_timings_and_their_error_cross_processes() -> None:
    error = AudioNotFoundError("none")
    error.stage, error.timings = "fetch", (Timing("fetch", 1, 2),)
    assert pickle.loads(pickle.dumps(error)).timings == error.timings  # noqa: S301  # our own bytes
    runs = [Timing("decode", 0, 10**9), Timing("extract", 0, 10**9), Timing("decode", 0, 2 * 10**9)]
    assert stage_seconds(runs) == {"decode": 3.0, "extract": 1.0}


def test_off_is_the_default_and_imports_nothing_of_opentelemetry() -> None:
    program = (
        "import os, sys; from consumer.settings import Settings; from consumer.tracing import OFF, open_tracing;"
        "import consumer.worker; assert open_tracing(Settings()) is OFF;"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_on_without_the_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "consumer.spans")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'emotion-stream\[tracing\]'"):
        open_tracing(Settings(tracing=True))


def test_on_spans_reach_the_collector_that_the_standard_variables_name(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[tuple[str, str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.append((self.path, self.headers["Authorization"], body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "worker-of-the-test")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20hunter2")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "Authorization=Bearer%20hunter3")
        tracing = open_tracing(Settings(tracing=True))
        through_known_lane(monkeypatch, tracing, track_event_json())
        tracing.close()
        server.shutdown()
        thread.join()
    ((path, authorization, body),) = taken
    assert (path, authorization) == ("/v1/traces", "Bearer hunter3")
    # Analysis processes inherit what is left.
    assert not {"OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"} & os.environ.keys()
    for text in (b"worker-of-the-test", b"process track-events", b"send emotion-events"):
        assert text in body


@pytest.mark.parametrize("variable", ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"])
@pytest.mark.parametrize("line_break", ["%0A", "%0d"])
def test_on_a_header_that_every_export_would_quote_is_refused_unquoted(
    variable: str, line_break: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, f"Authorization=Bearer%20hun{line_break}ter2")
    with pytest.raises(ConfigurationError, match=variable) as caught:
        open_tracing(Settings(tracing=True))
    assert "ter2" not in str(caught.value)
