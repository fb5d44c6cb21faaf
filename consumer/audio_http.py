"""Audio over HTTP from servers nobody vouches for.

The address is resolved once, checked, and connected to; ``Host`` and the TLS name stay the URL's. Redirects are
followed by hand, each checked like the first. Nothing is decompressed. One deadline covers everything: urllib3's
timeouts begin anew with every byte, so a watchdog closes the socket under a server that drips. (Only the system's
resolver cannot be hurried; the pool's time limit stands behind it.)
"""

import http.client
import re
import socket
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Final
from urllib.parse import SplitResult, quote, urljoin, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.response import BaseHTTPResponse

from consumer.errors import (
    AnalysisTimeoutError,
    AudioLocationError,
    AudioNotFoundError,
    AudioRejectedError,
    AudioStoreUnavailableError,
    Reason,
)
from consumer.network_policy import DEFAULT_PORTS, Resolver, addresses_allowed
from consumer.redaction import shorten

MAX_REDIRECTS: Final = 5
CHUNK_BYTES: Final = 64 * 1024
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_HEADERS: Final = {"Accept": "audio/*, application/octet-stream;q=0.9, */*;q=0.1", "Accept-Encoding": "identity"}
_HOST: Final = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?|[0-9a-f:.]+")
_MAX_NAME_CHARACTERS: Final = 100
_MAX_ERROR_CHARACTERS: Final = 200
# What a request line may hold unquoted; "%" because the URL's own quoting is kept.
_SAFE_IN_TARGET: Final = "%/:?#[]@!$&'()*+,;=-._~"


def http_chunks(
    uri: str,
    *,
    hosts: tuple[str, ...],
    private_hosts: tuple[str, ...],
    max_bytes: int,
    seconds: float,
    resolve: Resolver,
) -> Generator[bytes]:
    """Download a file piece by piece.

    Parameters
    ----------
    uri : str
        ``http://`` or ``https://``.
    hosts, private_hosts : tuple of str
        ``EMOTION_ALLOWED_HOSTS`` and ``EMOTION_ALLOWED_PRIVATE_HOSTS``.
    max_bytes : int
        A declared length above it is refused before the first byte; the caller counts what comes undeclared.
    seconds : float
        Limit on everything together: names, connections, redirects, headers, body.
    resolve : callable
        Gives a host's addresses.

    Yields
    ------
    bytes
        The body in order, at most ``CHUNK_BYTES`` at a time.

    Raises
    ------
    AudioLocationError
        If the URL, or one it redirects to, may not be asked.
    AudioNotFoundError
        If the server says that there is nothing, or nothing for us.
    AudioRejectedError
        If it is too large, or compressed on the way.
    AudioStoreUnavailableError
        If the server cannot be reached, breaks off, or answers 5xx or 429.
    AnalysisTimeoutError
        If it is not done in time.
    """
    deadline = time.monotonic() + seconds
    for _ in range(MAX_REDIRECTS + 1):
        url = parse_http_url(uri)
        scheme, host = url.scheme, str(url.hostname).removesuffix(".")
        port = url.port or DEFAULT_PORTS[scheme]
        addresses = addresses_allowed(scheme, host, port, hosts=hosts, private_hosts=private_hosts, resolve=resolve)
        with _answer(url, host, port, addresses, deadline) as response:
            if response.status not in _REDIRECTS:
                _check(response, uri, max_bytes)
                yield from _body(response)
                return
            uri = _next(uri, response)
    raise AudioLocationError(f"more than {MAX_REDIRECTS} redirects, the last to {_shown(uri)}")


def parse_http_url(uri: str) -> SplitResult:
    """Split a URL, refusing what two parsers could read in two ways.

    Parameters
    ----------
    uri : str
        An absolute ``http`` or ``https`` URL.

    Returns
    -------
    urllib.parse.SplitResult
        With a plain host name or address and a valid port.

    Raises
    ------
    AudioLocationError
        With reason ``unsupported_uri``.
    """
    shown = _shown(uri)
    if not uri.isprintable() or " " in uri or "\\" in uri:
        raise AudioLocationError(
            f"expected a URL without spaces, control characters and backslashes, got one of {shown}"
        )
    try:
        url = urlsplit(uri)
        port_valid = url.port is None or url.port > 0
    except ValueError as error:
        # Without Python's words: they quote what may be a password.
        raise AudioLocationError("malformed URL") from error
    if url.scheme not in DEFAULT_PORTS:
        raise AudioLocationError(f"expected http or https, got {shown}")
    if "@" in url.netloc:
        raise AudioLocationError(f"expected a URL without credentials, got one of {shown}")
    if not port_valid or not _HOST.fullmatch(url.hostname or ""):
        raise AudioLocationError(f"expected an ASCII host name and a port of 1-65535, got {shown}")
    return url


@contextmanager
def _answer(
    url: SplitResult, host: str, port: int, addresses: list[str], deadline: float
) -> Iterator[BaseHTTPResponse]:
    """Ask the first address that lets us connect; close everything when the block ends or time is up."""
    shown = f"{url.scheme}://{_host_header(url.scheme, host, port)}"
    connection = _connection(url.scheme, host, addresses[0], port, deadline)
    connected: list[socket.socket] = []
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        # http.client forgets the socket of a response that ends with its connection: hence a list of our own.
        for sock in connected or filter(None, [connection.sock]):
            with suppress(OSError):
                # Beneath TLS on purpose: SSLSocket.shutdown would pull its state from under the reading thread.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    watchdog = threading.Timer(_left(deadline), expire)
    watchdog.daemon = True
    watchdog.start()
    try:
        if time.monotonic() >= deadline:
            raise TimeoutError
        for address in addresses:
            connection = _connection(url.scheme, host, address, port, deadline)
            try:
                connection.connect()
                break
            except (OSError, urllib3.exceptions.HTTPError):
                connection.close()
                if address == addresses[-1] or expired.is_set():
                    raise
        connected.append(connection.sock)
        if expired.is_set():
            raise TimeoutError
        headers = _HEADERS | {"Host": _host_header(url.scheme, host, port)}
        connection.request("GET", _target(url), headers=headers, preload_content=False, decode_content=False)
        with closing(connection.getresponse()) as response:
            yield response
        # Without a declared length, the end that the watchdog made looks like the end of the file.
        if expired.is_set():
            raise TimeoutError
    except (OSError, ValueError, http.client.HTTPException, urllib3.exceptions.HTTPError) as error:
        if expired.is_set() or time.monotonic() >= deadline:
            raise AnalysisTimeoutError(f"{shown} did not deliver within the fetch timeout") from error
        raise AudioStoreUnavailableError(f"{shown}: {type(error).__name__}: {_brief(error)}") from error
    finally:
        watchdog.cancel()
        connection.close()


def _shown(uri: str) -> str:
    """Name a URL by its scheme, host and port: its path can be as secret as its query, and the event has all of it."""
    try:
        url = urlsplit(uri)
        host, port = url.hostname or "", url.port
    except ValueError:
        return "a malformed URL"
    scheme = shorten(url.scheme, _MAX_NAME_CHARACTERS) or "no scheme"
    if not _HOST.fullmatch(host):
        return f"{scheme} without a host name"
    host = shorten(f"[{host}]" if ":" in host else host, _MAX_NAME_CHARACTERS)
    return f"{scheme}://{host}" if port is None else f"{scheme}://{host}:{port}"


def _brief(error: Exception) -> str:
    # Some quote a whole status line, header or URL: what a hostile server said.
    return shorten(str(error), _MAX_ERROR_CHARACTERS)


def _left(deadline: float) -> float:
    return max(0.01, deadline - time.monotonic())


def _host_header(scheme: str, host: str, port: int) -> str:
    name = f"[{host}]" if ":" in host else host
    return name if port == DEFAULT_PORTS[scheme] else f"{name}:{port}"


def _target(url: SplitResult) -> str:
    path = quote(url.path or "/", safe=_SAFE_IN_TARGET)
    return f"{path}?{quote(url.query, safe=_SAFE_IN_TARGET)}" if url.query else path


def _connection(scheme: str, host: str, address: str, port: int, deadline: float) -> HTTPConnection:
    if scheme == "http":
        return HTTPConnection(address, port, timeout=_left(deadline))
    return HTTPSConnection(
        address,
        port,
        timeout=_left(deadline),
        cert_reqs="CERT_REQUIRED",
        server_hostname=host,
        assert_hostname=host,
    )


def _next(uri: str, response: BaseHTTPResponse) -> str:
    location = response.headers.get("Location")
    if not location:
        raise AudioStoreUnavailableError(f"redirect {response.status} without a Location")
    try:
        following = urljoin(uri, location)
        target = urlsplit(following).scheme
    except ValueError as error:
        raise AudioLocationError("redirect to a malformed URL") from error
    # As parsed, not as spelt: `HTTPS://` is https too.
    if urlsplit(uri).scheme == "https" and target != "https":
        raise AudioLocationError(f"redirect from https to {_shown(following)}")
    return following


def _check(response: BaseHTTPResponse, uri: str, max_bytes: int) -> None:
    shown = f"{_shown(uri)} answered {response.status}"
    if response.status in _TRANSIENT or response.status >= 500:
        raise AudioStoreUnavailableError(shown)
    if response.status != 200:
        raise AudioNotFoundError(f"{shown}, expected 200")
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise AudioRejectedError(
            f"expected the file as it is, got Content-Encoding {encoding[:40]!r}", reason=Reason.UNSUPPORTED_CODEC
        )
    if (declared := response.length_remaining) is not None and declared > max_bytes:
        raise AudioRejectedError(f"expected at most {max_bytes} bytes, {declared} announced", reason=Reason.TOO_LARGE)


def _body(response: BaseHTTPResponse) -> Iterator[bytes]:
    while chunk := response.read1(CHUNK_BYTES, decode_content=False):
        yield chunk
