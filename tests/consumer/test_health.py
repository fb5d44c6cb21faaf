"""The three pages, and what makes them fail."""

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Gauge, Metric
from prometheus_client.registry import Collector

from consumer.errors import ConfigurationError
from consumer.health import _MOST_CONNECTIONS, Health, HealthServer
from consumer.metrics import Metrics


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(["model_loaded", "pool_warm"], clock)


@pytest.fixture
def server(health: Health) -> Iterator[HealthServer]:
    registry = CollectorRegistry()
    Metrics(registry)
    running = HealthServer("127.0.0.1", 0, registry, health).start()
    yield running
    running.stop()


def ask(server: HealthServer, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read(), dict(response.getheaders())
    finally:
        connection.close()


def test_ready_is_503_naming_what_is_missing_until_all_holds(server: HealthServer, health: Health) -> None:
    status, body, _ = ask(server, "/ready")
    assert (status, json.loads(body)["missing"]) == (503, ["model_loaded", "pool_warm"])
    health.mark("model_loaded", holds=True)
    status, body, _ = ask(server, "/ready")
    assert (status, json.loads(body)["missing"]) == (503, ["pool_warm"])
    health.mark("pool_warm", holds=True)
    status, body, _ = ask(server, "/ready")
    assert (status, json.loads(body)["ready"]) == (200, True)
    health.mark("pool_warm", holds=False)
    assert ask(server, "/ready")[0] == 503


def test_live_fails_naming_the_loop_that_stopped_turning(server: HealthServer, health: Health, clock: Clock) -> None:
    known, new = health.heartbeat("known_lane", 30.0), health.heartbeat("new_lane", 30.0)
    assert ask(server, "/live")[0] == 200
    clock.now += 29
    known.beat()
    clock.now += 2
    status, body, _ = ask(server, "/live")
    assert (status, json.loads(body)["stuck"]) == (503, ["new_lane"])
    new.beat()
    assert ask(server, "/live")[0] == 200


def test_metrics_serves_the_registry(server: HealthServer) -> None:
    status, body, headers = ask(server, "/metrics")
    assert status == 200
    assert b'emotion_events_consumed_total{lane="known"} 0.0' in body
    assert headers["Content-Type"].startswith("text/plain")


def test_metrics_speaks_openmetrics_when_asked(server: HealthServer) -> None:
    _, body, headers = ask(server, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text; version=abc",
        "application/openmetrics-text; version=1..0",
        "text/plain;version=\u00b2",
        "text/plain;version=" + "9" * 5000,
    ],
)
def test_metrics_of_a_version_that_is_none_are_those_of_the_default(
    server: HealthServer, accept: str, caplog: pytest.LogCaptureFixture
) -> None:
    status, body, headers = ask(server, "/metrics", Accept=accept)
    assert status == 200
    assert b'emotion_events_consumed_total{lane="known"} 0.0' in body
    assert headers["Content-Type"] == ask(server, "/metrics")[2]["Content-Type"]
    assert not caplog.records


def test_requests_that_fail_are_logged_once_a_second(health: Health, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Collector):
        def describe(self) -> list[Metric]:
            return []

        def collect(self) -> Iterator[Metric]:
            raise RuntimeError("as ever")

    registry = CollectorRegistry()
    registry.register(Broken())
    server = HealthServer("127.0.0.1", 0, registry, health).start()
    begun = time.monotonic()
    for _ in range(20):
        with pytest.raises(http.client.RemoteDisconnected):
            ask(server, "/metrics")
    server.stop()
    assert 1 <= len(caplog.records) <= 2 + time.monotonic() - begun
    assert caplog.records[0].exc_info


def test_head_gives_headers_without_a_body(server: HealthServer) -> None:
    status, body, headers = ask(server, "/metrics", "HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 0


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_refused(server: HealthServer, method: str) -> None:
    status, body, headers = ask(server, "/metrics", method)
    assert (status, body, headers["Allow"]) == (405, b"", "GET, HEAD")


def test_unknown_path_is_404_and_says_which_there_are(server: HealthServer) -> None:
    status, body, _ = ask(server, "/../etc/passwd")
    assert status == 404
    assert b"/ready" in body


def test_a_silent_client_does_not_hold_up_the_others(server: HealthServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as silent:
        silent.sendall(b"GET /live HT")
        assert ask(server, "/live")[0] == 200


def test_a_client_that_does_not_read_is_cut_off_in_time(
    health: Health, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("consumer.health._CLIENT_TIMEOUT_SECONDS", 0.5)
    registry = CollectorRegistry()
    # More than the buffers of both ends hold.
    many = Gauge("many", "Labels enough.", ["label"], registry=registry)
    for number in range(50_000):
        many.labels("x" * 100 + str(number)).set(number)
    with contextlib.closing(socket.socket()) as deaf:
        server = HealthServer("127.0.0.1", 0, registry, health).start()
        before = threading.active_count()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", server.port))
        deaf.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        deadline = time.monotonic() + 10
        while threading.active_count() <= before:
            assert time.monotonic() < deadline
        while threading.active_count() > before:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        server.stop()
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET http://[ HTTP/1.1", 404),
        (b"GET //[/live?x HTTP/1.1", 404),
        (b"GET /live?verbose=1 HTTP/1.1", 200),
        (b"FOO /live HTTP/1.1", 501),
        (b"<script> /live HTTP/1.1", 501),
        (b"GET /live HTTP/9.9", 505),
        (b"\xff\xfe\x00", 400),
        (b"\x16\x03\x01", 400),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1", 414),
    ],
)
def test_odd_requests_have_a_status_and_no_traceback(
    server: HealthServer, request_line: bytes, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(request_line + b"\r\n\r\n")
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while received := client.recv(65536):
                answer += received
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split(b" ")[1] == str(status).encode()
    assert status in (200, 404) or body == b""
    assert request_line not in answer
    assert "Traceback" not in capfd.readouterr().err


def test_mark_unknown_condition_is_our_mistake(health: Health) -> None:
    with pytest.raises(KeyError, match="model_loaded"):
        health.mark("model_laoded", holds=True)


def test_port_in_use_says_which_setting(server: HealthServer, health: Health) -> None:
    with pytest.raises(ConfigurationError, match="EMOTION_METRICS_PORT"):
        HealthServer("127.0.0.1", server.port, CollectorRegistry(), health)


def test_stop_gives_the_port_back(health: Health) -> None:
    first = HealthServer("127.0.0.1", 0, CollectorRegistry(), health).start()
    port = first.port
    first.stop()
    HealthServer("127.0.0.1", port, CollectorRegistry(), health).stop()


def test_silent_clients_hold_few_threads_and_keep_nobody_from_asking(server: HealthServer) -> None:
    before = threading.active_count()
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
        status, _, _ = ask(server, "/live")
        assert status == 200
        assert threading.active_count() - before <= _MOST_CONNECTIONS + 1


def test_client_that_drips_is_cut_off_by_the_whole_connection(
    server: HealthServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.health._CLIENT_TIMEOUT_SECONDS", 0.5)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(b"GET /live HTTP/1.1\r\n")
        begun = time.monotonic()
        with pytest.raises(OSError):  # a reset or a broken pipe, as it happens
            while time.monotonic() - begun < 10:
                client.sendall(b"X-Drip: y\r\n")
                time.sleep(0.1)
        assert time.monotonic() - begun < 5


def test_server_listens_where_told_and_nowhere_else(health: Health) -> None:
    running = HealthServer("127.0.0.2", 0, CollectorRegistry(), health).start()
    try:
        with socket.create_connection(("127.0.0.2", running.port), timeout=10):
            pass
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", running.port), timeout=10)
    finally:
        running.stop()
