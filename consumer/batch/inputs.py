"""What to classify: files, folders, playlists (M3U) and CSV manifests, read lazily."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from consumer.errors import ConfigurationError
from consumer.redaction import one_line

AUDIO_SUFFIXES: Final = frozenset(
    {".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".mp4", ".aif", ".aiff"}
)
_PLAYLIST_SUFFIXES: Final = frozenset({".m3u", ".m3u8"})


@dataclass(frozen=True, slots=True)
class Item:
    """One track of a catalogue.

    Parameters
    ----------
    path : str
        Where its audio is: a path, or a URL as in ``audio_uri``.
    track_id : str
        Its id in the stream; the path itself where nobody gave one.
    """

    path: str
    track_id: str


def expand(arguments: Iterable[Path]) -> Iterator[Item]:
    """Read the tracks behind the command's arguments, in their order.

    Parameters
    ----------
    arguments : iterable of pathlib.Path
        An audio file; a folder (every audio file at or below it, by name); a playlist (``.m3u``, ``.m3u8``); a
        manifest (``.csv`` with a column ``path`` or ``audio_uri`` and, if wanted, ``track_id``). Relative paths in
        playlists and manifests start at the file that names them.

    Yields
    ------
    Item
        One per track; the same path named twice is given twice.

    Raises
    ------
    ConfigurationError
        If an argument does not exist, or a manifest lacks its column.
    """
    for argument in arguments:
        if argument.is_dir():
            yield from _folder(argument)
        elif not argument.exists():
            raise ConfigurationError(f"{argument}: no such file or folder")
        elif argument.suffix.lower() in _PLAYLIST_SUFFIXES:
            yield from _playlist(argument)
        elif argument.suffix.lower() == ".csv":
            yield from _manifest(argument)
        else:
            yield Item(str(argument), str(argument))


def _folder(folder: Path) -> Iterator[Item]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _folder(path)
        elif path.suffix.lower() in AUDIO_SUFFIXES:
            yield Item(str(path), str(path))


def _playlist(playlist: Path) -> Iterator[Item]:
    encoding = "utf-8-sig" if playlist.suffix.lower() == ".m3u8" else "latin-1"
    with playlist.open(encoding=encoding, errors="replace") as file:
        for line in file:
            entry = line.strip()
            if entry and not entry.startswith("#"):
                location = _located(entry, playlist)
                yield Item(location, location)


def _manifest(manifest: Path) -> Iterator[Item]:
    with manifest.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        columns = rows.fieldnames or []
        column = next((name for name in ("path", "audio_uri") if name in columns), None)
        if column is None:
            got = one_line(", ".join(columns))
            raise ConfigurationError(f"{manifest}: expected a column path or audio_uri, got {got}")
        for row in rows:
            entry = (row[column] or "").strip()
            if entry:
                location = _located(entry, manifest)
                yield Item(location, (row.get("track_id") or "").strip() or location)


def _located(entry: str, beside: Path) -> str:
    return entry if "://" in entry else str(beside.parent / entry)
