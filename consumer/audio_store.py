"""Audio by its location, as a local file: ``file://`` and plain paths, ``http(s)://``, ``s3://``.

Runs inside a pool process: it may block, and the pool kills it at the analysis timeout if it must. Nothing is allowed
until a setting names it: folders for files, hosts for HTTP, buckets for S3.
"""

import errno
import hashlib
import os
import re
import stat
from collections.abc import Generator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final, Self
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from consumer.audio_http import http_chunks
from consumer.audio_s3 import s3_chunks
from consumer.errors import (
    AudioLocationError,
    AudioNotFoundError,
    AudioRejectedError,
    AudioStoreUnavailableError,
    Reason,
)
from consumer.network_policy import Resolver, resolve_host
from consumer.scratch import own_disk
from consumer.settings import Settings

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
# Fits into a core's own cache: what is read is digested from there.
_READ_BYTES: Final = 256 * 1024


class LocalAudio(Struct, frozen=True):
    """An audio file that can be decoded.

    Parameters
    ----------
    path : Path
        Where it lies: a copy in the directory given to ``fetch``, or the original. One that is held open is named by
        its descriptor (``/proc/self/fd``): what is decoded is what was digested, whatever its path leads to by then.
    sha256 : str
        Digest of its bytes, lower-case hexadecimal.
    bytes : int
        Its size.
    """

    path: Path
    sha256: str
    bytes: int


class AudioAccess(Struct, frozen=True, kw_only=True):
    """What may be fetched and how much of it: the part of the settings a pool process needs, without secrets.

    Parameters
    ----------
    roots : tuple of Path
        Folders below which files may be read.
    hosts, private_hosts, buckets : tuple of str
        As ``EMOTION_ALLOWED_HOSTS``, ``EMOTION_ALLOWED_PRIVATE_HOSTS``, ``EMOTION_ALLOWED_BUCKETS``.
    max_bytes : int
        Largest file.
    timeout_seconds : float
        Longest download.
    """

    roots: tuple[Path, ...] = ()
    hosts: tuple[str, ...] = ()
    private_hosts: tuple[str, ...] = ()
    buckets: tuple[str, ...] = ()
    max_bytes: int = 256 * 1024 * 1024
    timeout_seconds: float = 10.0

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Take what concerns audio from the settings.

        Parameters
        ----------
        settings : Settings
            The worker's.

        Returns
        -------
        AudioAccess
            Small and picklable.
        """
        return cls(
            roots=settings.audio_roots,
            hosts=settings.allowed_hosts,
            private_hosts=settings.allowed_private_hosts,
            buckets=settings.allowed_buckets,
            max_bytes=settings.max_audio_bytes,
            timeout_seconds=settings.fetch_timeout_seconds,
        )


def fetch(
    uri: str,
    access: AudioAccess,
    directory: Path,
    *,
    resolve: Resolver = resolve_host,
    held: ExitStack | None = None,
) -> LocalAudio:
    """Make the audio at a location a local file, and digest it.

    Parameters
    ----------
    uri : str
        ``audio_uri`` of an event: hostile until shown otherwise.
    access : AudioAccess
        What is allowed.
    directory : Path
        An existing private folder for a copy; the caller removes it.
    resolve : callable, optional
        Gives a host's addresses.
    held : ExitStack, optional
        Keeps an original open until it is closed, and then raises ``AudioStoreUnavailableError`` if the file was
        written meanwhile. Without it the original's path is all that is known of it.

    Returns
    -------
    LocalAudio
        Path, digest and size.

    Raises
    ------
    AudioLocationError
        If the location is malformed or not allowed.
    AudioNotFoundError
        If there is nothing.
    AudioRejectedError
        If there is too much.
    AudioStoreUnavailableError
        If it may be there later.
    AnalysisTimeoutError
        If the download takes too long.
    ScratchError
        If the copy cannot be written.
    """
    if "\0" in uri:
        raise AudioLocationError("expected a location without NUL characters")
    matched = _SCHEME.match(uri)
    scheme = matched[1].lower() if matched else ""
    match scheme:
        case "" | "file":
            return _read_file(_local_path(uri), access, held)
        case "http" | "https":
            chunks = http_chunks(
                uri,
                hosts=access.hosts,
                private_hosts=access.private_hosts,
                max_bytes=access.max_bytes,
                seconds=access.timeout_seconds,
                resolve=resolve,
            )
            return _save(chunks, directory, access.max_bytes)
        case "s3":
            chunks = s3_chunks(uri, buckets=access.buckets, max_bytes=access.max_bytes, seconds=access.timeout_seconds)
            return _save(chunks, directory, access.max_bytes)
        case _:
            raise AudioLocationError(f"expected a path, file, http, https or s3 location, got {scheme[:20]!r}")


def _local_path(uri: str) -> Path:
    if not uri.lower().startswith("file:"):
        return Path(uri)
    try:
        url = urlsplit(uri)
    except ValueError as error:
        raise AudioLocationError(f"malformed file location: {error}") from error
    if url.netloc not in ("", "localhost"):
        host = url.netloc.rpartition("@")[2][:80]  # whatever stands before it may be a password
        raise AudioLocationError(f"expected file:///path, got the host {host!r}")
    if url.query or url.fragment:
        raise AudioLocationError("expected file:///path without query and fragment; write ? as %3F and # as %23")
    path = unquote(url.path, errors="surrogateescape")
    if "\0" in path:
        raise AudioLocationError("expected a path without NUL characters")
    return Path(path)


def _read_file(path: Path, access: AudioAccess, held: ExitStack | None) -> LocalAudio:
    if not path.is_absolute():
        raise AudioLocationError("expected an absolute path")
    roots = [*access.roots, *(root.resolve() for root in access.roots)]
    # By its spelling first, so that nothing outside is so much as looked at; then by where it really is.
    if ".." in path.parts or not any(path.is_relative_to(root) for root in roots):
        raise _forbidden("the path is not below EMOTION_AUDIO_ROOTS")
    try:
        real = path.resolve(strict=True)
        _require_below(real, roots)
        if not stat.S_ISREG(os.lstat(real).st_mode):
            raise _forbidden("expected a regular file")
        # Never waits (a FIFO would), never follows a link put there since.
        descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with ExitStack() as opened:
            file = opened.enter_context(open(descriptor, "rb", buffering=0))
            _require_below(_opened(descriptor, real), roots)
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise _forbidden("expected a regular file")
            if status.st_size > access.max_bytes:
                raise _too_large(access.max_bytes)
            digest, size = hashlib.sha256(), 0
            buffer = memoryview(bytearray(_READ_BYTES))
            while count := file.readinto(buffer):
                size += count
                if size > access.max_bytes:
                    raise _too_large(access.max_bytes)
                digest.update(buffer[:count])
            if held is not None:
                held.push(opened.pop_all())
                held.callback(_require_unchanged, descriptor, status)
                real = _open_file(descriptor, real)
    except PermissionError as error:
        raise _forbidden("the worker may not read this file") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise AudioNotFoundError("there is no such file") from error
    except (OSError, RuntimeError) as error:  # RuntimeError: Path.resolve's word for a loop of links
        if isinstance(error, RuntimeError) or error.errno in (errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL):
            raise AudioNotFoundError("the path leads nowhere") from error
        raise AudioStoreUnavailableError(f"cannot read the file: {error.strerror}") from error
    return LocalAudio(real, digest.hexdigest(), size)


def _open_file(descriptor: int, real: Path) -> Path:
    """Give a path that leads to what is open, and nowhere else; where there is no /proc, the path it had."""
    entry = Path(f"/proc/self/fd/{descriptor}")
    return entry if entry.is_symlink() else real


def _require_unchanged(descriptor: int, before: os.stat_result) -> None:
    """Refuse to have heard a file that was written after it was digested; it may be whole by the next attempt.

    The time of its last change is the kernel's and cannot be set back. It moves also when another file takes the place
    of this one: then the next attempt hears that one.
    """
    after = os.fstat(descriptor)
    if (after.st_size, after.st_mtime_ns, after.st_ctime_ns) != (
        before.st_size,
        before.st_mtime_ns,
        before.st_ctime_ns,
    ):
        changed = AudioStoreUnavailableError("the file was changed while it was heard")
        changed.stage = "fetch"
        raise changed


def _opened(descriptor: int, real: Path) -> Path:
    """Give the path of what was opened: a folder on the way may have been exchanged for a link meanwhile."""
    entry = _open_file(descriptor, real)
    if entry != real:
        return Path(os.readlink(entry))
    again = real.resolve(strict=True)
    if not os.path.samestat(os.fstat(descriptor), os.stat(again)):
        raise _forbidden("the file was exchanged while it was opened")
    return again


def _require_below(real: Path, roots: list[Path]) -> None:
    if not any(real.is_relative_to(root) for root in roots):
        raise _forbidden("a link leads outside EMOTION_AUDIO_ROOTS")


def _save(chunks: Generator[bytes], directory: Path, max_bytes: int) -> LocalAudio:
    path = directory / "audio"
    digest, size = hashlib.sha256(), 0
    try:
        # What the network does wrong comes as an error of ours: an OSError is the disk's.
        with closing(chunks), own_disk(directory), open(path, "xb") as file:
            for chunk in chunks:
                size += len(chunk)
                if size > max_bytes:
                    raise _too_large(max_bytes)
                digest.update(chunk)
                file.write(chunk)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return LocalAudio(path, digest.hexdigest(), size)


def _forbidden(message: str) -> AudioLocationError:
    return AudioLocationError(message, reason=Reason.FORBIDDEN_PATH)


def _too_large(max_bytes: int) -> AudioRejectedError:
    return AudioRejectedError(f"expected at most {max_bytes} bytes, more came", reason=Reason.TOO_LARGE)
