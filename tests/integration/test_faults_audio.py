"""Bombs, absurd headers, playlists and outsized messages through the whole worker: each has its outcome."""

import base64
import gzip
import random
import socket
from collections import Counter
from pathlib import Path

import pytest

from features.audio import AudioLimits
from tests.consumer.hostile import response, scripted
from tests.features.hostile import HEARD, Hostile, encode_pieces, hostile_files
from tests.integration.auditor import Auditor
from tests.integration.conftest import Record, WorkerFactory
from tests.integration.faults import judge
from tests.integration.traffic import Platform

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.fault, pytest.mark.timeout(600)]

MEGABYTE = 2**20
# What a worker refuses by where it lies, before anybody opens it.
FORBIDDEN = frozenset({"pipe.wav", "folder.wav", "zero.wav", "socket.wav", "hidden.wav"})
# As `create_topics` sets it for every topic.
LARGEST_MESSAGE = 2 * MEGABYTE


def test_hostile_files_become_dead_letters_and_open_no_connection(
    bootstrap: str, platform: Platform, auditor: Auditor, new_worker: WorkerFactory, record: Record, tmp_path: Path
) -> None:
    # The longest track the ear itself allows, for which the files were made.
    worker = new_worker(bootstrap, pool_size=2, max_track_seconds=AudioLimits().max_track_seconds).start()
    platform.play(platform.track(0))
    platform.flush()
    assert auditor.wait(platform.entries, 60).balanced
    before = worker.rss_bytes()
    pieces = tmp_path / "pieces"
    pieces.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as nobody_may_call:
        files = list(hostile_files(encode_pieces(pieces), nobody_may_call.getsockname()[1]))
        for hostile in files:
            path = platform.folder / hostile.name
            hostile.write(path)
            platform.play(hostile.name, audio_uri=f"file://{path}", expected=expected(hostile))
        platform.flush()
        verdict = auditor.settle(platform.entries, 180)
        nobody_may_call.setblocking(False)
        with pytest.raises(BlockingIOError):
            nobody_may_call.accept()
    growth = (worker.rss_bytes() - before) / MEGABYTE
    killed = worker.metric("emotion_pool_restarts_total")
    note = f"{len(files)} files; memory of worker and pool {growth:+.0f} MB; {killed:.0f} pool processes lost"
    judge(verdict, record, note)
    reasons = {letter.value: letter.reason for letter in auditor.dead_letters}
    told = {entry.track_id: reasons.get(entry.value, "heard") for entry in platform.entries[1:]}
    assert {name: told[name] for name in told if told[name] not in allowed(files)[name]} == {}
    assert killed == 0
    assert growth <= 300


def expected(hostile: Hostile) -> str:
    """Say which outcome an event of this file must have."""
    reasons = allowed([hostile])[hostile.name]
    if reasons == HEARD:
        return "emotion"
    return "either" if "heard" in reasons else "dead_letter"


def allowed(files: list[Hostile]) -> dict[str, frozenset[str]]:
    """Give the reasons that are right for each file in a worker."""
    return {
        hostile.name: frozenset({"forbidden_path"}) if hostile.name in FORBIDDEN else hostile.allowed
        for hostile in files
    }


def test_hostile_downloads_become_dead_letters(
    bootstrap: str, platform: Platform, auditor: Auditor, new_worker: WorkerFactory, record: Record
) -> None:
    piece = (platform.folder / platform.track(0)).with_suffix(".wav").read_bytes()
    bomb = gzip.compress(bytes(64 * MEGABYTE))
    answers = {
        "piece": response(piece),
        "bomb": response(bomb, Content_Encoding="gzip"),
        "bomb-as-it-is": response(bomb),
        "declared": response(piece, length=10**12),
        "undeclared": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + bytes(3 * MEGABYTE),
        "header": b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * MEGABYTE + b"\r\n\r\n" + piece,
        "headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000 + b"\r\n" + piece,
        "metadata": response(status="302 Found", Location="http://169.254.169.254/latest/meta-data/"),
        "loop": response(status="302 Found", Location="/loop"),
        "file": response(status="302 Found", Location="file:///etc/passwd"),
        "playlist": response(b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:1/track.mp3\n", Content_Type="audio/mpegurl"),
        "page": response(b"<!DOCTYPE html><html></html>", Content_Type="text/html"),
        "nothing": response(status="404 Not Found"),
        "short": response(piece[:1000], length=len(piece)),
    }
    reasons = {
        "bomb": "unsupported_codec", "bomb-as-it-is": "unsupported_codec", "declared": "too_large",
        "undeclared": "too_large", "header": "unavailable", "headers": "unavailable", "metadata": "forbidden_host",
        "loop": "unsupported_uri", "file": "unsupported_uri", "playlist": "unsupported_codec",
        "page": "unsupported_codec", "nothing": "not_found", "short": "unavailable",
    }  # fmt: skip

    def answer(connection: socket.socket, head: bytes) -> None:
        connection.sendall(answers[head.split(b" ")[1].decode().strip("/")])

    with scripted(answer) as server:
        host = f"127.0.0.1:{server.port}"
        worker = new_worker(
            bootstrap, allowed_hosts=host, allowed_private_hosts=host, max_audio_bytes=2 * MEGABYTE,
            max_attempts=2, retry_backoff_seconds=0.1,
        ).start()  # fmt: skip
        before = worker.rss_bytes()
        for path in answers:
            reason = reasons.get(path)
            outcome = "emotion" if reason is None else "dead_letter"
            platform.play(path, audio_uri=f"http://{host}/{path}", expected=outcome, reason=reason)
        platform.flush()
        verdict = auditor.settle(platform.entries, 60)
    growth = (worker.rss_bytes() - before) / MEGABYTE
    judge(verdict, record, f"memory of worker and pool {growth:+.0f} MB")
    assert growth <= 100


@pytest.mark.parametrize("transactions", [False, True])
def test_outsized_messages_become_dead_letters_and_block_nobody(
    bootstrap: str,
    platform: Platform,
    auditor: Auditor,
    new_worker: WorkerFactory,
    record: Record,
    transactions: bool,
) -> None:
    worker = new_worker(bootstrap, transactions=transactions).start()
    known = platform.track(0)
    platform.play(known)
    platform.flush()
    assert auditor.wait(platform.entries, 60).balanced
    uri = f"file://{platform.folder / known}.wav"
    many = [(f"header-{number}", b"x" * 1000) for number in range(1000)]
    # So near the topic's limit that with our own headers it is beyond it; the event itself is some 200 bytes.
    nearly, short = LARGEST_MESSAGE - 320, "/x"
    # What does not pack: a letter is sent packed, and what does is far within the limit again.
    noise = base64.b64encode(random.Random(0).randbytes(nearly))[:nearly]
    too_large = {"expected": "dead_letter", "reason": "event_too_large"}
    platform.play("value", audio_uri=uri, extra="x" * 70_000, **too_large)
    platform.play("huge-value", audio_uri=short, extra=noise.decode(), may_be_stripped=True, **too_large)
    # Which is not so in a transaction, where what is larger than a topic takes by default is not tried.
    is_cut = {"may_be_stripped": transactions}
    platform.play("huge-value-of-text", audio_uri=short, extra="x" * nearly, **is_cut, **too_large)
    # Some 12 kB where the broker looks, and more than any client of ours may send.
    platform.play("packed", audio_uri=uri, extra="x" * 12 * MEGABYTE, packed="gzip", may_be_stripped=True, **too_large)
    # More than librdkafka unpacks: it says where the event lies, and asks for it again and again.
    platform.play("bomb", audio_uri=uri, extra="x" * 110 * MEGABYTE, packed="zstd", may_be_stripped=True, **too_large)
    platform.play("headers", audio_uri=uri, headers=many, **is_cut, **too_large)
    platform.play("huge-header", audio_uri=short, headers=[("x", noise)], may_be_stripped=True, **too_large)
    platform.play(known, headers=many)
    platform.play(known, audio_uri=short, headers=[("x", b"x" * nearly)])
    # A trace context goes on to the answer, which is larger than the event.
    platform.play(known, audio_uri=short, headers=[("tracestate", b"x" * nearly)])
    platform.play("key", audio_uri=uri, key=b"k" * 100_000)
    platform.play(
        "huge-key", audio_uri=short, schema_version=9, key=noise, expected="dead_letter", reason="schema",
        may_be_stripped=True,
    )  # fmt: skip
    # Behind each of them in its partition, somebody waits.
    for number in range(40):
        platform.play(f"behind-{number}", audio_uri=uri)
    platform.flush()
    # Behind a transaction lies its marker, which no group acknowledges: one in each partition of track-analysis.
    verdict = auditor.settle(platform.entries, 60, but_for=4 if transactions else 0)
    without_value = Counter(letter.reason for letter in auditor.dead_letters if not letter.value)
    judge(verdict, record, f"{without_value.total()} dead letters that Kafka takes only without their original")
    assert verdict.dead_letters == 8
    assert without_value == {"event_too_large": 6 if transactions else 4, "schema": 1}
    assert worker.running
