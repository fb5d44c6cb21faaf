"""Downloads from a server that lies, drips, redirects, bombs and breaks off."""

import gzip
import hashlib
import resource
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from consumer.audio_store import AudioAccess, LocalAudio, fetch
from consumer.dead_letter import clean_message
from consumer.errors import (
    AnalysisTimeoutError,
    AudioLocationError,
    AudioNotFoundError,
    AudioRejectedError,
    AudioStoreUnavailableError,
    EmotionServiceError,
    Reason,
    ScratchError,
)
from tests.consumer.hostile import ScriptedServer, response, says, scripted

BODY = b"RIFF" + bytes(range(256)) * 40


def access(
    *servers: ScriptedServer, host: str = "127.0.0.1", seconds: float = 10.0, limit: int = 100_000
) -> AudioAccess:
    hosts = tuple(f"{host}:{server.port}" for server in servers)
    return AudioAccess(private_hosts=hosts, timeout_seconds=seconds, max_bytes=limit)


def url(server: ScriptedServer, path: str = "/a.wav", host: str = "127.0.0.1") -> str:
    return f"http://{host}:{server.port}{path}"


def get(server: ScriptedServer, directory: Path, seconds: float = 10.0, limit: int = 100_000) -> LocalAudio:
    return fetch(url(server), access(server, seconds=seconds, limit=limit), directory)


def test_fetch_http_saves_and_digests(tmp_path: Path) -> None:
    with scripted(says(response(BODY))) as server:
        audio = get(server, tmp_path)
    assert audio.path.read_bytes() == BODY
    assert audio.path.parent == tmp_path
    assert audio.sha256 == hashlib.sha256(BODY).hexdigest()
    assert audio.bytes == len(BODY)


def test_fetch_http_onto_a_full_disk_is_no_fault_of_the_audio(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with scripted(says(response(BODY))) as server:
        # The nearest to a full disk without one: the kernel refuses to let any file grow beyond this.
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(BODY) // 2, hard))
        try:
            with pytest.raises(ScratchError, match="File too large"):
                get(server, tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_fetch_http_asks_for_the_file_as_it_is_with_the_urls_host(tmp_path: Path) -> None:
    with scripted(says(response(BODY))) as server:
        uri = url(server, "/a%20b/ü.wav?sig=a%2Fb&x=1#part", host="music.test")
        fetch(uri, access(server, host="music.test"), tmp_path, resolve=lambda _host, _port: ["127.0.0.1"])
    head = server.requests[0].decode()
    assert head.startswith("GET /a%20b/%C3%BC.wav?sig=a%2Fb&x=1 HTTP/1.1\r\n")
    assert f"Host: music.test:{server.port}\r\n" in head
    assert "Accept-Encoding: identity\r\n" in head


def test_fetch_http_chunked_body_is_joined(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nRIFF\r\n3\r\nabc\r\n0\r\n\r\n"
    with scripted(says(answer)) as server:
        assert get(server, tmp_path).path.read_bytes() == b"RIFFabc"


def test_fetch_http_body_without_length_ends_with_the_connection(tmp_path: Path) -> None:
    with scripted(says(b"HTTP/1.0 200 OK\r\n\r\n" + BODY)) as server:
        assert get(server, tmp_path).bytes == len(BODY)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("404 Not Found", AudioNotFoundError),
        ("410 Gone", AudioNotFoundError),
        ("403 Forbidden", AudioNotFoundError),
        ("204 No Content", AudioNotFoundError),
        ("206 Partial Content", AudioNotFoundError),
        ("304 Not Modified", AudioNotFoundError),
        ("429 Too Many Requests", AudioStoreUnavailableError),
        ("500 Oops", AudioStoreUnavailableError),
        ("503 Busy", AudioStoreUnavailableError),
    ],
)
def test_fetch_http_status_decides_whether_to_try_again(
    status: str, error: type[EmotionServiceError], tmp_path: Path
) -> None:
    with scripted(says(response(b"" if status[0] in "23" else b"sorry", status))) as server, pytest.raises(error):
        get(server, tmp_path)
    assert not list(tmp_path.iterdir())


# --- sizes and encodings -------------------------------------------------------------------------------------------


def test_fetch_http_declared_too_large_is_refused_before_the_body(tmp_path: Path) -> None:
    with scripted(says(response(b"", length=10**12))) as server, pytest.raises(AudioRejectedError) as caught:
        get(server, tmp_path)
    assert caught.value.reason is Reason.TOO_LARGE
    assert "announced" in str(caught.value)


def test_fetch_http_endless_body_without_length_stops_at_the_limit(tmp_path: Path) -> None:
    def endless(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while True:
            connection.sendall(bytes(65536))

    with scripted(endless) as server, pytest.raises(AudioRejectedError) as caught:
        get(server, tmp_path)
    assert caught.value.reason is Reason.TOO_LARGE
    assert not list(tmp_path.iterdir())


def test_fetch_http_endless_chunked_body_stops_at_the_limit(tmp_path: Path) -> None:
    def endless(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"1000\r\n" + bytes(0x1000) + b"\r\n")

    with scripted(endless) as server, pytest.raises(AudioRejectedError) as caught:
        get(server, tmp_path)
    assert caught.value.reason is Reason.TOO_LARGE
    assert not list(tmp_path.iterdir())


def test_fetch_http_exactly_the_limit_is_allowed_and_one_more_is_not(tmp_path: Path) -> None:
    with scripted(says(response(bytes(1000)))) as server:
        assert get(server, tmp_path, limit=1000).bytes == 1000
        (tmp_path / "audio").unlink()
        with pytest.raises(AudioRejectedError):
            get(server, tmp_path, limit=999)


@pytest.mark.parametrize(
    "answer",
    [
        response(BODY, length=len(BODY) + 1),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nRIFF",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nRIFF\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nRIFF\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nRIFFab",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"",
    ],
    ids=["short", "chunk-short", "chunk-unended", "chunk-size", "lengths", "header", "headers", "not-http", "nothing"],
)
def test_fetch_http_broken_answer_may_be_tried_again(answer: bytes, tmp_path: Path) -> None:
    with scripted(says(answer)) as server, pytest.raises(AudioStoreUnavailableError):
        get(server, tmp_path)
    assert not list(tmp_path.iterdir())


def test_fetch_http_takes_the_declared_bytes_and_none_behind_them(tmp_path: Path) -> None:
    # What follows belongs to no answer of ours: a digest is of what was declared, whatever the server adds.
    with scripted(says(response(BODY + b"EXTRA" * 100_000, length=len(BODY)))) as server:
        audio = get(server, tmp_path)
    assert audio.path.read_bytes() == BODY
    assert audio.sha256 == hashlib.sha256(BODY).hexdigest()


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate", "br", "zstd", "gzip, gzip", "x"])
def test_fetch_http_compressed_answer_is_refused_unread(encoding: str, tmp_path: Path) -> None:
    bomb = gzip.compress(bytes(5_000_000))
    with (
        scripted(says(response(bomb, Content_Encoding=encoding))) as server,
        pytest.raises(AudioRejectedError, match="Content-Encoding") as caught,
    ):
        get(server, tmp_path)
    assert caught.value.reason is Reason.UNSUPPORTED_CODEC
    assert not list(tmp_path.iterdir())


# --- time ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "before",
    [b"", b"HTTP/1.1 200 OK\r\nX-Slow: ", response(b"", length=1000), b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"],
    ids=["silent", "drips-headers", "drips-body", "drips-without-length"],
)
def test_fetch_http_dripping_server_is_cut_off_at_the_deadline(before: bytes, tmp_path: Path) -> None:
    def drip(connection: socket.socket, _: bytes) -> None:
        connection.sendall(before)
        while before and not server.closing.wait(0.05):
            connection.sendall(b"x")
        server.closing.wait(30)

    with scripted(drip) as server, pytest.raises(AnalysisTimeoutError):
        get(server, tmp_path, seconds=0.4)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
    ],
    ids=["continue", "chunks", "chunk-size"],
)
def test_fetch_http_dripping_in_pieces_is_cut_off_at_the_deadline(begin: bytes, piece: bytes, tmp_path: Path) -> None:
    def drip(connection: socket.socket, _: bytes) -> None:
        connection.sendall(begin)
        while not server.closing.wait(0.02):
            connection.sendall(piece)

    with scripted(drip) as server, pytest.raises(AnalysisTimeoutError):
        get(server, tmp_path, seconds=0.4)
    assert not list(tmp_path.iterdir())


def test_fetch_http_endless_continue_ends_at_the_deadline(tmp_path: Path) -> None:
    def endless(connection: socket.socket, _: bytes) -> None:
        while True:
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)

    with scripted(endless) as server, pytest.raises((AnalysisTimeoutError, AudioStoreUnavailableError)):
        get(server, tmp_path, seconds=0.4)
    assert not list(tmp_path.iterdir())


def test_fetch_http_slow_redirects_share_one_deadline(tmp_path: Path) -> None:
    def slow(connection: socket.socket, _: bytes) -> None:
        # Each hop in time by itself; five of them are not.
        server.closing.wait(0.15)
        connection.sendall(response(b"", "302 Found", Location="/again"))

    started = time.monotonic()
    with scripted(slow) as server, pytest.raises(AnalysisTimeoutError):
        get(server, tmp_path, seconds=0.4)
    assert len(server.requests) < 5
    assert time.monotonic() - started < 5


def test_fetch_http_dripping_tls_handshake_is_cut_off_at_the_deadline(tmp_path: Path) -> None:
    over = threading.Event()

    def drip(listener: socket.socket) -> None:
        with suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                # A handshake record of 16 kB, a byte at a time.
                connection.sendall(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc")
                while not over.wait(0.02):
                    connection.sendall(b"\x03")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        dripping = threading.Thread(target=drip, args=(listener,), daemon=True)
        dripping.start()
        allowed = AudioAccess(private_hosts=(f"127.0.0.1:{port}",), timeout_seconds=0.4)
        started = time.monotonic()
        try:
            with pytest.raises(AnalysisTimeoutError):
                fetch(f"https://127.0.0.1:{port}/a", allowed, tmp_path)
            assert time.monotonic() - started < 5
        finally:
            over.set()
            dripping.join(5)


def test_fetch_http_silent_tls_handshake_is_cut_off_at_the_deadline(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        allowed = AudioAccess(private_hosts=(f"127.0.0.1:{port}",), timeout_seconds=0.3)
        with pytest.raises(AnalysisTimeoutError):
            fetch(f"https://127.0.0.1:{port}/a", allowed, tmp_path)


def test_fetch_http_slow_name_leaves_no_time_for_the_server(tmp_path: Path) -> None:
    with scripted(says(response(BODY))) as server:

        def slow(host: str, port: int) -> list[str]:
            server.closing.wait(0.3)
            return ["127.0.0.1"]

        with pytest.raises(AnalysisTimeoutError):
            fetch(url(server), access(server, seconds=0.2), tmp_path, resolve=slow)


# --- places --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uri",
    [
        "http://",
        "http:///a",
        "http:a",
        "http://user:secret@127.0.0.1/a",
        "http://user@127.0.0.1/a",
        "http://127.0.0.1:99999/a",
        "http://127.0.0.1:0/a",
        "http://127.0.0.1:x/a",
        "http://[::1/a",
        "http://[fe80::1%25eth0]/a",
        "http://a b/c",
        "http://127.0.0.1/a b",
        "http://127.0.0.1\\@evil.test/a",
        "http://127.0.0.1/\r\nX: y",
        "http://127.0.0.1/\tx",
        "http://ex\u0430mple.test/a",
        "http://127.0.0.1\u2100/a",
        "http://-a.test/",
        " http://127.0.0.1/a",
        "ftp://127.0.0.1/a",
        "gopher://127.0.0.1:70/_x",
        "data:audio/wav;base64,AAAA",
        "javascript:alert(1)",
        "concat:/etc/passwd|/etc/passwd",
    ],
)
def test_fetch_malformed_or_unsupported_uri_is_typed_and_never_asked(uri: str, tmp_path: Path) -> None:
    def resolve(host: str, port: int) -> list[str]:
        raise AssertionError("resolved")

    allowed = AudioAccess(hosts=("*",), private_hosts=("127.0.0.1",), roots=(tmp_path,))
    with pytest.raises(AudioLocationError) as caught:
        fetch(uri, allowed, tmp_path, resolve=resolve)
    assert caught.value.reason in (Reason.UNSUPPORTED_URI, Reason.FORBIDDEN_HOST)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1/a",
        "http://localhost/a",
        "http://[::1]/a",
        "http://[::ffff:127.0.0.1]/a",
        "http://169.254.169.254/latest/meta-data/",
        "http://2130706433/a",
        "http://0x7f.1/a",
        "http://127.1/a",
        "http://0/a",
    ],
)
def test_fetch_private_address_in_any_spelling_is_forbidden_by_default(uri: str, tmp_path: Path) -> None:
    with pytest.raises(AudioLocationError) as caught:
        fetch(uri, AudioAccess(hosts=("*",)), tmp_path)
    assert caught.value.reason is Reason.FORBIDDEN_HOST


def test_fetch_nothing_is_allowed_by_default(tmp_path: Path) -> None:
    for uri in ("http://example.org/a", "s3://bucket/key", "/etc/hostname", "file:///etc/hostname"):
        with pytest.raises(AudioLocationError):
            fetch(uri, AudioAccess(), tmp_path)


class ChangingName:
    """A name that answers differently each time it is asked (DNS rebinding)."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self.answers[min(self.asked, len(self.answers)) - 1]


def test_fetch_http_name_is_asked_once_and_the_checked_address_is_used(tmp_path: Path) -> None:
    name = ChangingName(["127.0.0.1"], ["169.254.169.254"])
    with scripted(says(response(BODY))) as server:
        uri = url(server, host="music.test")
        assert fetch(uri, access(server, host="music.test"), tmp_path, resolve=name).bytes == len(BODY)
    assert name.asked == 1


def test_fetch_http_redirect_asks_the_name_again_and_checks_the_answer(tmp_path: Path) -> None:
    name = ChangingName(["127.0.0.1"], ["169.254.169.254"])
    with scripted(says(response(b"", "302 Found", Location="/again"))) as server:
        with pytest.raises(AudioLocationError) as caught:
            fetch(url(server, host="music.test"), access(server, host="music.test"), tmp_path, resolve=name)
        assert len(server.requests) == 1
    assert caught.value.reason is Reason.FORBIDDEN_HOST


def test_fetch_http_tries_the_next_address_when_one_refuses(tmp_path: Path) -> None:
    with scripted(says(response(BODY))) as server:
        uri = url(server, host="music.test")
        allowed = access(server, host="music.test")
        # Nothing listens on 127.0.0.9.
        assert fetch(uri, allowed, tmp_path, resolve=lambda _host, _port: ["127.0.0.9", "127.0.0.1"]).bytes == len(BODY)


def test_fetch_http_from_an_allowed_ipv6_address(tmp_path: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("needs an IPv6 loopback address")
    with scripted(says(response(BODY)), address="::1") as server:
        allowed = access(server, host="[::1]")
        assert fetch(url(server, host="[::1]"), allowed, tmp_path).bytes == len(BODY)
        assert f"Host: [::1]:{server.port}\r\n".encode() in server.requests[0]


def test_fetch_http_nobody_listening_may_be_tried_again(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(AudioStoreUnavailableError):
        fetch(f"http://127.0.0.1:{port}/a", AudioAccess(private_hosts=(f"127.0.0.1:{port}",)), tmp_path)


@pytest.mark.parametrize("status", ["301 a", "302 a", "303 a", "307 a", "308 a"])
def test_fetch_http_redirect_to_an_allowed_place_is_followed(status: str, tmp_path: Path) -> None:
    with (
        scripted(says(response(BODY))) as target,
        scripted(says(response(b"", status, Location=url(target)))) as first,
    ):
        assert fetch(url(first), access(first, target), tmp_path).bytes == len(BODY)
    assert len(target.requests) == 1


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://169.254.169.254/latest/meta-data/iam", Reason.FORBIDDEN_HOST),
        ("http://127.0.0.1:22/", Reason.FORBIDDEN_HOST),
        ("//10.0.0.1/x", Reason.FORBIDDEN_HOST),
        ("file:///etc/passwd", Reason.UNSUPPORTED_URI),
        ("ftp://127.0.0.1/x", Reason.UNSUPPORTED_URI),
        ("http://user:secret@127.0.0.1/x", Reason.UNSUPPORTED_URI),
        ("http://[::1", Reason.UNSUPPORTED_URI),
    ],
)
def test_fetch_http_redirect_to_a_forbidden_place_is_refused(location: str, reason: Reason, tmp_path: Path) -> None:
    with (
        scripted(says(response(b"", "302 Found", Location=location))) as server,
        pytest.raises(AudioLocationError) as caught,
    ):
        get(server, tmp_path)
    assert caught.value.reason is reason
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "location",
    [
        "https://user:hunter2@127.0.0.1/a",
        "https://user:p@hunter2@127.0.0.1/a",
        "https:/user:hunter2@127.0.0.1/a",
        "http://user:hunter2/a@127.0.0.1/",
        "http://hunter2:pw@127.0.0.1\u2100/",
        "http://a/a b?sig=hunter2",
        "http://a/it's.mp3?sig=hunter2",
        "http://a/hunter2/a.mp3",
        "http://a:99999/a.mp3;sig=hunter2",
        "gopher://127.0.0.1/a#hunter2",
    ],
)
def test_fetch_http_error_names_no_more_of_a_url_than_its_host(location: str, tmp_path: Path) -> None:
    allowed = AudioAccess(private_hosts=("127.0.0.1",))
    # Each as an event's location, and as where a server sends us.
    with pytest.raises(AudioLocationError) as caught:
        fetch(location, allowed, tmp_path)
    assert "hunter2" not in str(caught.value)
    answer = response(b"", "302 Found").replace(b"\r\n\r\n", b"\r\nLocation: " + location.encode() + b"\r\n\r\n")
    with scripted(says(answer)) as server, pytest.raises(AudioLocationError) as caught:
        get(server, tmp_path)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        b"://" + b"a-" * 30_000 + b"\r\n\r\n",
        response(b"", "302 Found", Location="://" + "a-" * 30_000),
        response(b"", "302 Found", Location="http://" + "a-" * 30_000 + "/"),
        response(b"", "404 " + "a-://" * 10_000),
    ],
    ids=["status-line", "location", "host", "phrase"],
)
def test_fetch_http_error_of_an_endless_line_is_short_and_its_letter_made_in_no_time(
    answer: bytes, tmp_path: Path
) -> None:
    with scripted(says(answer)) as server, pytest.raises(EmotionServiceError) as caught:
        get(server, tmp_path)
    assert len(str(caught.value)) < 400
    started = time.process_time()
    clean_message(str(caught.value))
    # 64 kB took 16 s once; a loaded machine needs no half second.
    assert time.process_time() - started < 0.5


def test_fetch_http_redirect_loop_ends_after_five(tmp_path: Path) -> None:
    with scripted(says(response(b"", "302 Found", Location="/again"))) as server:
        with pytest.raises(AudioLocationError, match="more than 5 redirects"):
            get(server, tmp_path)
        assert len(server.requests) == 6


def test_fetch_http_redirect_without_a_location_may_be_tried_again(tmp_path: Path) -> None:
    with scripted(says(response(b"", "302 Found"))) as server, pytest.raises(AudioStoreUnavailableError):
        get(server, tmp_path)


# --- TLS -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    pem, key = folder / "cert.pem", folder / "key.pem"
    names = ["-subj", "/CN=music.test", "-addext", "subjectAltName=DNS:music.test"]
    new = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-keyout",
        str(key),
        "-out",
        str(pem),
    ]
    subprocess.run([*new, *names], check=True, capture_output=True)
    yield pem, key


def test_fetch_https_verifies_the_urls_name_at_the_checked_address(
    certificate: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem, key = certificate
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    named: list[str | None] = []
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem, key)
    tls.sni_callback = lambda _socket, name, _context: named.append(name)
    with scripted(says(response(BODY)), tls) as server:
        allowed = AudioAccess(private_hosts=(f"music.test:{server.port}", f"other.test:{server.port}"))
        audio = fetch(f"https://music.test:{server.port}/a", allowed, tmp_path, resolve=lambda _h, _p: ["127.0.0.1"])
        assert audio.bytes == len(BODY)
        audio.path.unlink()
        with pytest.raises(AudioStoreUnavailableError, match=r"certificate|hostname"):
            fetch(f"https://other.test:{server.port}/a", allowed, tmp_path, resolve=lambda _h, _p: ["127.0.0.1"])
    assert named == ["music.test", "other.test"]


def test_fetch_https_unknown_authority_is_refused(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    pem, key = certificate
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem, key)
    with scripted(says(response(BODY)), tls) as server, pytest.raises(AudioStoreUnavailableError, match="certificate"):
        fetch(
            f"https://music.test:{server.port}/a",
            AudioAccess(private_hosts=(f"music.test:{server.port}",)),
            tmp_path,
            resolve=lambda _h, _p: ["127.0.0.1"],
        )
    assert not server.requests


@pytest.mark.parametrize("scheme", ["https", "HTTPS"])
def test_fetch_https_redirect_to_http_is_refused(
    scheme: str, certificate: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem, key = certificate
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem, key)
    with (
        scripted(says(response(b"", "302 Found", Location="http://music.test/a")), tls) as server,
        pytest.raises(AudioLocationError, match="from https"),
    ):
        fetch(
            f"{scheme}://music.test:{server.port}/a",
            AudioAccess(private_hosts=(f"music.test:{server.port}", "music.test")),
            tmp_path,
            resolve=lambda _h, _p: ["127.0.0.1"],
        )
