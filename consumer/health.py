"""``/metrics``, ``/live`` and ``/ready`` over HTTP, in a thread of the worker.

*Live* means that every loop has turned lately: a stuck worker fails and is restarted. *Ready* means that the model is
loaded, the pool is warm and the partitions are assigned and restored: until then no traffic counts on this worker.
Neither asks Kafka or the disk anything, so a probe is cheap and cannot hang.
"""

import json
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from consumer.errors import ConfigurationError
from consumer.log_sample import LogSample

logger = logging.getLogger(__name__)

# From accepting a connection to its end, however slowly its client speaks or listens.
_CLIENT_TIMEOUT_SECONDS: Final = 5.0
# Probes and a few Prometheus servers; each connection is a thread.
_MOST_CONNECTIONS: Final = 16
# A thread whose connection was cut ends within milliseconds; this is for a machine that swaps.
_MAKING_ROOM_SECONDS: Final = 1.0
# In the log, each with its traceback: whoever reaches the port asks as often as they like.
_FAILURES_PER_SECOND: Final = 1
Answer = tuple[HTTPStatus, str, bytes]


class Heartbeat:
    """The pulse of one loop.

    Parameters
    ----------
    limit_seconds : float
        Silence after which the loop counts as stuck, > 0.
    clock : callable
        Monotonic seconds.
    """

    def __init__(self, limit_seconds: float, clock: Callable[[], float]) -> None:
        self._limit = limit_seconds
        self._clock = clock
        self._last = clock()

    def beat(self) -> None:
        """Say that the loop turned; cheap enough for every turn, callable from any thread."""
        self._last = self._clock()

    @property
    def age_seconds(self) -> float:
        """Seconds since the last beat."""
        return self._clock() - self._last

    @property
    def alive(self) -> bool:
        """Whether the last beat is recent enough."""
        return self.age_seconds <= self._limit


class Health:
    """What the worker knows of its own state.

    Parameters
    ----------
    conditions : iterable of str
        What must hold before the worker is ready, such as ``model_loaded``; none holds at first.
    clock : callable, optional
        Monotonic seconds.
    """

    def __init__(self, conditions: Iterable[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._conditions: dict[str, bool] = dict.fromkeys(conditions, False)
        self._heartbeats: dict[str, Heartbeat] = {}

    def heartbeat(self, name: str, limit_seconds: float) -> Heartbeat:
        """Add a loop to watch.

        Parameters
        ----------
        name : str
            The loop, as ``/live`` shows it.
        limit_seconds : float
            Silence after which it counts as stuck, counted from now.

        Returns
        -------
        Heartbeat
            For the loop to ``beat``.
        """
        self._heartbeats[name] = Heartbeat(limit_seconds, self._clock)
        return self._heartbeats[name]

    def mark(self, condition: str, *, holds: bool) -> None:
        """Say whether a condition holds.

        Parameters
        ----------
        condition : str
            One of those given to the constructor.
        holds : bool
            Its state from now on.

        Raises
        ------
        KeyError
            If nobody waits for this condition.
        """
        if condition not in self._conditions:
            raise KeyError(f"expected one of {', '.join(self._conditions)}, got {condition!r}")
        self._conditions[condition] = holds

    @property
    def stuck(self) -> list[str]:
        """Loops that have not turned within their limit."""
        return [name for name, heartbeat in self._heartbeats.items() if not heartbeat.alive]

    @property
    def missing(self) -> list[str]:
        """Conditions that do not hold."""
        return [name for name, holds in self._conditions.items() if not holds]

    def live(self) -> Answer:
        """Answer the liveness probe.

        Returns
        -------
        tuple of (HTTPStatus, str, bytes)
            200, or 503 naming the stuck loops; content type; JSON with the age of every loop's last turn.
        """
        stuck = self.stuck
        ages = {name: round(heartbeat.age_seconds, 3) for name, heartbeat in self._heartbeats.items()}
        return _json(not stuck, {"live": not stuck, "stuck": stuck, "loop_age_seconds": ages})

    def ready(self) -> Answer:
        """Answer the readiness probe.

        Returns
        -------
        tuple of (HTTPStatus, str, bytes)
            200, or 503 naming what is missing; content type; JSON with every condition.
        """
        missing = self.missing
        return _json(not missing, {"ready": not missing, "missing": missing, "conditions": dict(self._conditions)})


class HealthServer:
    """A small HTTP server in a daemon thread: GET and HEAD of three paths, nothing else.

    Parameters
    ----------
    host : str
        Address to listen on.
    port : int
        Port to listen on; 0 for any free one.
    registry : CollectorRegistry
        What ``/metrics`` serves.
    health : Health
        What ``/live`` and ``/ready`` answer from.

    Raises
    ------
    ConfigurationError
        If the address cannot be listened on.
    """

    def __init__(self, host: str, port: int, registry: CollectorRegistry, health: Health) -> None:
        pages: dict[str, Callable[[str], Answer]] = {
            "/metrics": lambda accept: _metrics(registry, accept),
            "/live": lambda _: health.live(),
            "/ready": lambda _: health.ready(),
        }
        try:
            self._server = _Server((host, port), type("Handler", (_Handler,), {"pages": pages}))
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on EMOTION_METRICS_HOST:EMOTION_METRICS_PORT = {host}:{port}: {error}"
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="health", daemon=True)

    @property
    def port(self) -> int:
        """The port listened on."""
        return self._server.server_port

    def start(self) -> Self:
        """Begin to answer.

        Returns
        -------
        HealthServer
            Itself.
        """
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop answering and give the port back."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    """A thread for each connection, as many as there are places, none for longer than its time.

    A newcomer that finds every place taken takes that of the oldest connection: a probe is answered in milliseconds, so
    the oldest is one that says nothing.
    """

    daemon_threads = True
    # With socketserver's 5 a burst of connections would have a probe's SYN dropped, and sent again a second later.
    request_queue_size = 128
    # server_close would wait for clients that hold their connection open.
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        # In the order in which they came.
        self._accepted_at: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        self._places = threading.Semaphore(_MOST_CONNECTIONS)
        self._failures_shown = LogSample(_FAILURES_PER_SECOND)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:  # socketserver's name
        if not self._places.acquire(blocking=False):
            with self._lock:
                oldest = list(self._accepted_at)[:1]
            _cut(oldest)
            if not self._places.acquire(timeout=_MAKING_ROOM_SECONDS):
                self.shutdown_request(request)
                return
        with self._lock:
            self._accepted_at[request] = time.monotonic()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # socketserver's name
        super().shutdown_request(request)
        with self._lock:
            had_place = self._accepted_at.pop(request, None) is not None
        if had_place:
            self._places.release()

    def service_actions(self) -> None:  # socketserver's name; called at every turn of serve_forever
        latest = time.monotonic() - _CLIENT_TIMEOUT_SECONDS
        with self._lock:
            overdue = [request for request, accepted_at in self._accepted_at.items() if accepted_at < latest]
        _cut(overdue)

    def handle_error(self, request: Any, client_address: Any) -> None:  # socketserver's name
        # A client that goes away, or is cut off, while it is answered is none of our errors.
        if isinstance(sys.exception(), OSError):
            return
        with self._lock:
            facts = self._failures_shown.take()
        if facts is not None:
            logger.error("health request failed", exc_info=True, extra={"facts": facts})


def _cut(connections: Iterable[socket.socket]) -> None:
    """End connections under the threads that serve them, which then find nothing more to read and nowhere to write."""
    for connection in connections:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    pages: dict[str, Callable[[str], Answer]]
    server_version = "emotion-stream"
    sys_version = ""

    def do_GET(self) -> None:  # http.server's name
        page = self.pages.get(self.path.partition("?")[0])
        if page is None:
            self._answer(*_json(HTTPStatus.NOT_FOUND, {"error": f"expected one of {', '.join(self.pages)}"}))
        else:
            self._answer(*page(self.headers.get("Accept", "")))

    def _refuse(self) -> None:
        self.send_error(HTTPStatus.METHOD_NOT_ALLOWED)

    do_HEAD = do_GET  # noqa: N815  # http.server's name
    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_TRACE = do_CONNECT = _refuse  # noqa: N815  # the same

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # the same
        """Refuse a request by its status alone; http.server's page would quote it."""
        # Not known yet where the request line itself is at fault, and then http.server would send no status.
        self.request_version = self.protocol_version
        self.send_response(code)
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        if code == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # http.server's name
        """Keep probes out of the log."""


def _metrics(registry: CollectorRegistry, accept: str) -> Answer:
    try:
        encode, content_type = choose_encoder(accept)
    except (TypeError, ValueError):
        # It compares a version's parts as they come, and those that are no numbers are texts.
        encode, content_type = choose_encoder("")
    return HTTPStatus.OK, content_type, encode(registry)


def _json(status: bool | HTTPStatus, content: dict[str, object]) -> Answer:
    if isinstance(status, bool):
        status = HTTPStatus.OK if status else HTTPStatus.SERVICE_UNAVAILABLE
    return status, "application/json", json.dumps(content).encode() + b"\n"
