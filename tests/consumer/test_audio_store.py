"""Files below the roots and objects in the buckets are read; everything else has a typed answer."""

import hashlib
import os
import pickle
import re
import socket
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

import hypothesis.strategies as st
import pytest
import s3fs
from hypothesis import given, settings

from consumer.audio_store import AudioAccess, LocalAudio, fetch
from consumer.errors import (
    AudioLocationError,
    AudioNotFoundError,
    AudioRejectedError,
    AudioStoreUnavailableError,
    EmotionServiceError,
    Reason,
)
from consumer.settings import Settings
from tests.consumer.hostile import response, says, scripted

BODY = b"fLaC" + bytes(range(256))


@pytest.fixture
def music(tmp_path: Path) -> Path:
    folder = tmp_path / "music"
    folder.mkdir()
    (folder / "a.flac").write_bytes(BODY)
    (tmp_path / "secret.flac").write_bytes(b"secret")
    (tmp_path / "music-private").mkdir()
    (tmp_path / "music-private" / "a.flac").write_bytes(b"secret")
    return folder


def read(uri: str, *roots: Path, limit: int = 10_000) -> LocalAudio:
    return fetch(uri, AudioAccess(roots=roots, max_bytes=limit), Path("/nowhere"))


def test_access_takes_its_limits_from_the_settings_and_pickles() -> None:
    configured = Settings.from_environment(
        {
            "EMOTION_AUDIO_ROOTS": "/music",
            "EMOTION_ALLOWED_HOSTS": "cdn.test",
            "EMOTION_ALLOWED_PRIVATE_HOSTS": "store.lan:9000",
            "EMOTION_ALLOWED_BUCKETS": "tracks",
            "EMOTION_MAX_AUDIO_BYTES": "7",
            "EMOTION_FETCH_TIMEOUT_SECONDS": "3",
        }
    )
    access = AudioAccess.from_settings(configured)
    assert access == AudioAccess(
        roots=(Path("/music"),),
        hosts=("cdn.test",),
        private_hosts=("store.lan:9000",),
        buckets=("tracks",),
        max_bytes=7,
        timeout_seconds=3.0,
    )
    assert pickle.loads(pickle.dumps(access)) == access  # noqa: S301  # our own bytes


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(
    start=st.sampled_from(
        ["", "/", "file:", "file://", "http:", "http://", "https://[", "s3://", "s3://tracks/", "x:"]
    ),
    rest=st.text(max_size=30) | st.text(alphabet="/.:@%[]\\?#\0 a1-", max_size=30),
)
def test_fetch_whatever_an_event_holds_ends_in_a_typed_error(start: str, rest: str) -> None:
    def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    access = AudioAccess(roots=(Path("/nowhere"),), hosts=("*",), timeout_seconds=1.0)
    with tempfile.TemporaryDirectory() as folder, pytest.raises(EmotionServiceError) as caught:
        fetch(start + rest, access, Path(folder), resolve=resolve)
    assert caught.value.reason in tuple(Reason)


# --- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", ["{}", "file://{}", "file://localhost{}", "FILE://{}", "file:{}"])
def test_fetch_file_below_a_root_is_digested_where_it_lies(spelling: str, music: Path) -> None:
    audio = read(spelling.format(music / "a.flac"), music)
    assert audio == LocalAudio(music.resolve() / "a.flac", hashlib.sha256(BODY).hexdigest(), len(BODY))


def test_fetch_file_percent_escapes_belong_to_urls_only(music: Path) -> None:
    (music / "a #1?é.flac").write_bytes(BODY)
    (music / "100%25.flac").write_bytes(BODY)
    assert read(f"file://{music}/a%20%231%3F%C3%A9.flac", music).bytes == len(BODY)
    assert read(f"{music}/a #1?é.flac", music).bytes == len(BODY)
    assert read(f"{music}/100%25.flac", music).bytes == len(BODY)


@pytest.mark.parametrize(
    "uri",
    [
        "/etc/hostname",
        "{root}/../secret.flac",
        "{root}/x/../../secret.flac",
        "{root}/../music/a.flac",
        "{parent}/secret.flac",
        "{parent}/music-private/a.flac",
        "file://{root}/%2e%2e/secret.flac",
        "file://{root}/..%2fsecret.flac",
        "/proc/self/environ",
        "/dev/zero",
        "{root}",
        "{root}/",
    ],
)
def test_fetch_file_outside_or_no_file_is_forbidden(uri: str, music: Path) -> None:
    with pytest.raises(AudioLocationError) as caught:
        read(uri.format(root=music, parent=music.parent), music)
    assert caught.value.reason is Reason.FORBIDDEN_PATH


@pytest.mark.parametrize(
    "uri",
    [
        "a.flac",
        "./a.flac",
        "",
        "file://evil.test/share/a.flac",
        "file:///a.flac?x",
        "file:///a.flac#x",
        "/a\0b",
        "file:///a%00b",
        "file://[",
        "\\\\server\\share\\a.flac",
        "C:\\a.flac",
    ],
)
def test_fetch_file_malformed_location_is_typed(uri: str, music: Path) -> None:
    with pytest.raises(AudioLocationError) as caught:
        read(uri, music)
    assert caught.value.reason is Reason.UNSUPPORTED_URI


def test_fetch_file_answers_the_same_whether_or_not_a_forbidden_file_exists(music: Path) -> None:
    answers = set()
    for name in ("secret.flac", "missing.flac"):
        with pytest.raises(AudioLocationError) as caught:
            read(str(music.parent / name), music)
        answers.add(str(caught.value))
    assert len(answers) == 1


def test_fetch_file_link_out_of_the_root_is_forbidden(music: Path) -> None:
    (music / "link.flac").symlink_to(music.parent / "secret.flac")
    (music / "folder").symlink_to(music.parent)
    (music / "relative.flac").symlink_to("../secret.flac")
    for name in ("link.flac", "folder/secret.flac", "relative.flac"):
        with pytest.raises(AudioLocationError) as caught:
            read(str(music / name), music)
        assert caught.value.reason is Reason.FORBIDDEN_PATH


def test_fetch_file_link_within_the_roots_and_a_linked_root_are_followed(music: Path) -> None:
    (music / "same.flac").symlink_to("a.flac")
    (music.parent / "root").symlink_to(music)
    assert read(str(music / "same.flac"), music).path == (music / "a.flac").resolve()
    assert read(str(music.parent / "root" / "a.flac"), music.parent / "root").bytes == len(BODY)


def test_fetch_file_exchanged_folder_is_noticed_after_opening(music: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (music / "album").mkdir()
    (music / "album" / "secret.flac").write_bytes(BODY)
    opening = os.open

    def exchange_then_open(path: Path, flags: int) -> int:
        (music / "album").rename(music / "old")
        (music / "album").symlink_to(music.parent)
        return opening(path, flags)

    monkeypatch.setattr(os, "open", exchange_then_open)
    with pytest.raises(AudioLocationError) as caught:
        read(str(music / "album" / "secret.flac"), music)
    assert caught.value.reason is Reason.FORBIDDEN_PATH


def test_fetch_file_fifo_socket_and_device_are_refused_without_waiting(
    music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(music / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(music)  # a socket's own path may hold 107 bytes only
        listener.bind("socket")
        for name in ("fifo", "socket"):
            with pytest.raises(AudioLocationError, match="regular file"):
                read(str(music / name), music)
    with pytest.raises(AudioLocationError, match="regular file"):
        read("/dev/null", Path("/dev"))


@pytest.mark.parametrize("name", ["missing.flac", "a.flac/b", "x" * 300, "loop", "dangling"])
def test_fetch_file_that_is_not_there_is_not_found(name: str, music: Path) -> None:
    (music / "loop").symlink_to("loop")
    (music / "dangling").symlink_to("missing")
    with pytest.raises(AudioNotFoundError):
        read(str(music / name), music)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_fetch_file_without_permission_is_forbidden(music: Path) -> None:
    (music / "a.flac").chmod(0)
    with pytest.raises(AudioLocationError):
        read(str(music / "a.flac"), music)


def test_fetch_file_larger_than_the_limit_is_refused(music: Path) -> None:
    with pytest.raises(AudioRejectedError) as caught:
        read(str(music / "a.flac"), music, limit=len(BODY) - 1)
    assert caught.value.reason is Reason.TOO_LARGE
    assert read(str(music / "a.flac"), music, limit=len(BODY)).bytes == len(BODY)


def test_fetch_file_that_cannot_be_read_now_may_be_tried_again(music: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stale(path: Path, flags: int) -> int:
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(os, "open", stale)
    with pytest.raises(AudioStoreUnavailableError, match="Stale"):
        read(str(music / "a.flac"), music)


# --- S3 ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """Serve just enough of S3 for reading: HEAD and ranged GET of ``/bucket/key``."""
    objects: dict[str, bytes] = {}

    def answer(connection: socket.socket, head: bytes) -> None:
        method, target, _ = head.decode().split("\r\n", 1)[0].split(" ")
        path = target.partition("?")[0]
        if path == "/tracks/forbidden":
            connection.sendall(response(b"", "403 Forbidden"))
        elif path == "/tracks/broken":
            connection.sendall(response(b"", "500 Internal Server Error"))
        elif path not in objects:
            connection.sendall(response(b"", "404 Not Found"))
        elif method == "HEAD":
            connection.sendall(response(b"", length=len(objects[path]), ETag='"1"', Accept_Ranges="bytes"))
        else:
            wanted = re.search(r"bytes=(\d+)-(\d+)", head.decode(), re.IGNORECASE)
            assert wanted is not None
            first, last = int(wanted[1]), min(int(wanted[2]), len(objects[path]) - 1)
            span = f"bytes {first}-{last}/{len(objects[path])}"
            body = objects[path][first : last + 1]
            connection.sendall(response(body, "206 Partial Content", ETag='"1"', Content_Range=span))

    with scripted(answer) as server:
        use_endpoint(f"http://127.0.0.1:{server.port}", monkeypatch)
        yield objects


def use_endpoint(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    # s3fs keeps its clients, and they keep the endpoint they were made with.
    s3fs.S3FileSystem.clear_instance_cache()


TRACKS = AudioAccess(buckets=("tracks",), max_bytes=10_000, timeout_seconds=5.0)


def test_fetch_s3_saves_and_digests(s3: dict[str, bytes], tmp_path: Path) -> None:
    s3["/tracks/album/a.flac"] = BODY
    audio = fetch("s3://tracks/album/a.flac", TRACKS, tmp_path)
    assert audio == LocalAudio(tmp_path / "audio", hashlib.sha256(BODY).hexdigest(), len(BODY))
    assert audio.path.read_bytes() == BODY


def test_fetch_s3_dots_within_a_name_are_part_of_it(s3: dict[str, bytes], tmp_path: Path) -> None:
    s3["/tracks/..album/a..b/..."] = BODY
    assert fetch("s3://tracks/..album/a..b/...", TRACKS, tmp_path).bytes == len(BODY)


def test_fetch_s3_too_large_is_refused_before_reading(s3: dict[str, bytes], tmp_path: Path) -> None:
    s3["/tracks/a"] = bytes(10_001)
    with pytest.raises(AudioRejectedError) as caught:
        fetch("s3://tracks/a", TRACKS, tmp_path)
    assert caught.value.reason is Reason.TOO_LARGE
    assert not list(tmp_path.iterdir())


def test_fetch_s3_missing_and_forbidden_objects_are_not_found(s3: dict[str, bytes], tmp_path: Path) -> None:
    for key in ("missing", "forbidden"):
        with pytest.raises(AudioNotFoundError):
            fetch(f"s3://tracks/{key}", TRACKS, tmp_path)


def test_fetch_s3_failing_store_may_be_tried_again(s3: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(AudioStoreUnavailableError):
        fetch("s3://tracks/broken", TRACKS, tmp_path)


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://minio:hun/ter2@127.0.0.1:9",
        "http://minio:hunter2@127.0.0.1:99999",
        "http://127.0.0.1:hunter2",
        "//minio:hunter2@127.0.0.1:9",
        "minio:hunter2@127.0.0.1:9",
        "http:/minio:hunter2@127.0.0.1:9",
        "http://minio:hunter2@[::1",
        "http://minio:hunter2\uff20@127.0.0.1:9",
        "hunter2",
    ],
)
def test_fetch_s3_malformed_endpoint_may_be_mended_and_is_not_quoted(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_endpoint(endpoint, monkeypatch)
    with pytest.raises(AudioStoreUnavailableError, match="malformed: see AWS_ENDPOINT_URL") as caught:
        fetch("s3://tracks/a", TRACKS, tmp_path)
    # Its traceback too, should it be logged.
    shown = "".join(traceback.format_exception(caught.value))
    assert not any(word in shown for word in ("ter2", "minio"))


def test_fetch_s3_malformed_region_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_endpoint("http://127.0.0.1:9", monkeypatch)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu west")
    with pytest.raises(AudioStoreUnavailableError, match="region"):
        fetch("s3://tracks/a", TRACKS, tmp_path)


@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_fetch_s3_redirect_is_refused_and_asked_for_once(
    method: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted(says(response(BODY)), address="127.0.0.2") as elsewhere:
        location = f"http://127.0.0.2:{elsewhere.port}/latest/meta-data/"

        def answer(connection: socket.socket, head: bytes) -> None:
            if head.startswith(method.encode()):
                connection.sendall(response(b"", f"{status} Elsewhere", Location=location))
            else:
                connection.sendall(response(b"", length=len(BODY), ETag='"1"', Accept_Ranges="bytes"))

        with scripted(answer) as server:
            use_endpoint(f"http://127.0.0.1:{server.port}", monkeypatch)
            with pytest.raises(AudioStoreUnavailableError, match=f"{status}: a redirect, which was refused") as caught:
                fetch("s3://tracks/a", TRACKS, tmp_path)
            assert [head[: len(method)] for head in server.requests].count(method.encode()) == 1
        assert not elsewhere.requests
    assert "meta-data" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_fetch_s3_redirect_that_names_a_region_stays_with_the_endpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted(says(response(BODY)), address="127.0.0.2") as elsewhere:
        location = f"http://127.0.0.2:{elsewhere.port}/"
        redirect = response(b"", "307 Temporary Redirect", Location=location, X_Amz_Bucket_Region="eu-central-1")
        with scripted(says(redirect)) as server:
            use_endpoint(f"http://127.0.0.1:{server.port}", monkeypatch)
            with pytest.raises(AudioStoreUnavailableError):
                fetch("s3://tracks/a", TRACKS, tmp_path)
            assert 1 <= len(server.requests) <= 2
        assert not elsewhere.requests


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("s3://other/a", Reason.FORBIDDEN_HOST),
        ("s3://tracks", Reason.UNSUPPORTED_URI),
        ("s3://tracks/", Reason.UNSUPPORTED_URI),
        ("s3:///a", Reason.UNSUPPORTED_URI),
        ("s3:tracks/a", Reason.UNSUPPORTED_URI),
        ("s3://user:key@tracks/a", Reason.UNSUPPORTED_URI),
        ("s3://tracks/a?versionId=1", Reason.UNSUPPORTED_URI),
        ("s3://../a", Reason.UNSUPPORTED_URI),
        ("s3://tracks/../other/a", Reason.UNSUPPORTED_URI),
        ("s3://tracks/album/../../other/a", Reason.UNSUPPORTED_URI),
        ("s3://tracks/./a", Reason.UNSUPPORTED_URI),
        ("s3://tracks/album/..", Reason.UNSUPPORTED_URI),
        ("s3://tracks/.", Reason.UNSUPPORTED_URI),
    ],
)
def test_fetch_s3_other_places_are_refused_unasked(uri: str, reason: Reason, tmp_path: Path) -> None:
    with pytest.raises(AudioLocationError) as caught:
        fetch(uri, TRACKS, tmp_path)
    assert caught.value.reason is reason
