"""A server that answers exactly what a test wants, byte for byte, and remembers what it was asked."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Self

Script = Callable[[socket.socket, bytes], None]


class ScriptedServer:
    """Answers every connection with a script, until closed.

    Parameters
    ----------
    script : callable
        Given the connection and the request's head.
    tls : ssl.SSLContext, optional
        Speak TLS.
    address : str, optional
        Where to listen.
    """

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None, address: str = "127.0.0.1") -> None:
        self._script = script
        self._tls = tls
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, 0), family=family)
        self.port = int(self._listener.getsockname()[1])
        self.requests: list[bytes] = []
        # Set when the test is over: a script that drips waits for this instead of sleeping.
        self.closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self.closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with suppress(OSError), connection:
            if isinstance(connection, ssl.SSLSocket):
                connection.do_handshake()
            head = b""
            while b"\r\n\r\n" not in head:
                received = connection.recv(65536)
                if not received:
                    return
                head += received
            self.requests.append(head)
            self._script(connection, head)

    def close(self) -> None:
        """Stop listening."""
        self.closing.set()
        with suppress(OSError):
            # A thread in accept() is not woken by close() alone.
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


@contextmanager
def scripted(script: Script, tls: ssl.SSLContext | None = None, address: str = "127.0.0.1") -> Iterator[ScriptedServer]:
    """Run a scripted server for the block."""
    server = ScriptedServer(script, tls, address)
    try:
        yield server
    finally:
        server.close()


def says(answer: bytes) -> Script:
    """Give a script that always answers the same."""
    return lambda connection, _: connection.sendall(answer)


def response(body: bytes = b"", status: str = "200 OK", length: int | None = None, **headers: str) -> bytes:
    """Compose an HTTP/1.1 response."""
    fields = {"Content-Length": str(len(body) if length is None else length), "Connection": "close"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


class HeaderName(str):
    """The name of a Kafka header that encodes to any bytes, for a client that asks it to encode itself."""

    raw: bytes

    def __new__(cls, raw: bytes) -> Self:
        """Take the bytes."""
        name = super().__new__(cls, raw.decode("latin-1"))
        name.raw = raw
        return name

    def encode(self, *_: object) -> bytes:
        """Give them."""
        return self.raw
