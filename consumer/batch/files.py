"""Recognising a file: unchanged since, or the same audio under another name."""

import hashlib
import os
from pathlib import Path
from typing import Final

_SAMPLE_BYTES: Final = 64 * 1024


def stamp(path: str) -> str:
    """Recognise a file that has not changed: its size and modification time; empty for a URL or a missing file.

    Parameters
    ----------
    path : str
        Path or URL.

    Returns
    -------
    str
        Equal for two looks at an unchanged file.
    """
    if "://" in path:
        return ""
    try:
        status = Path(path).stat()
    except OSError:
        return ""
    return f"{status.st_size}-{status.st_mtime_ns}"


def fingerprint(path: str) -> str:
    """Tell files apart cheaply: by size, beginning and end; empty for a URL or what cannot be read.

    Parameters
    ----------
    path : str
        Path or URL.

    Returns
    -------
    str
        Equal for copies of a file. Equal ones may still differ in between: ``audio_digest`` decides.
    """
    if "://" in path or not Path(path).is_file():
        return ""
    try:
        with Path(path).open("rb", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            sample = file.read(_SAMPLE_BYTES)
            file.seek(max(0, size - _SAMPLE_BYTES))
            sample += file.read(_SAMPLE_BYTES)
    except OSError:
        return ""
    return f"{size}-{hashlib.blake2b(sample, digest_size=16).hexdigest()}"


def audio_digest(path: str) -> str:
    """Give the SHA-256 of a file, as in a row's ``audio_sha256``; empty for what cannot be read.

    Parameters
    ----------
    path : str
        Path of a file.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
