"""The music the demo plays: every audio file of a folder, and one that is broken."""

import mimetypes
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# What ``mimetypes`` does not know on every machine.
_AUDIO_SUFFIXES: Final = {".aac", ".aif", ".aiff", ".flac", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".wav", ".wma"}
# Enough for a container's header, not for music: an upload that was cut off.
_BROKEN_BYTES: Final = 2000


@dataclass(frozen=True, slots=True)
class Track:
    """A piece of music on the platform.

    Parameters
    ----------
    track_id : str
        Key of its events.
    title : str
        For people.
    path : Path
        Where its audio is, absolute.
    """

    track_id: str
    title: str
    path: Path


def find_tracks(folder: Path, run_id: str) -> list[Track]:
    """List the audio files at and below a folder, by name; whether they can be heard is for the worker to say.

    Parameters
    ----------
    folder : Path
        Hidden files and folders in it are left out.
    run_id : str
        Makes the track ids this run's own, so that on a Kafka that remembers earlier runs the tracks are new again.

    Returns
    -------
    list of Track
        Empty if there are none.
    """
    folder = folder.resolve()
    paths = sorted(path for path in folder.rglob("*") if _is_audio(path.relative_to(folder)) and path.is_file())
    return [_track(path, f"{run_id}-{number:04}") for number, path in enumerate(paths, start=1)]


def break_track(track: Track, folder: Path, run_id: str) -> Track:
    """Write the first bytes of a track as a file of its own, as an upload that broke off would leave it."""
    path = folder.resolve() / f"broken-file{track.path.suffix}"
    path.write_bytes(track.path.read_bytes()[:_BROKEN_BYTES])
    return _track(path, f"{run_id}-broken")


def _track(path: Path, track_id: str) -> Track:
    title = path.stem.replace("-", " ").replace("_", " ").strip() or path.name
    return Track(track_id, title[0].upper() + title[1:], path)


def _is_audio(path: Path) -> bool:
    if any(part.startswith(".") for part in path.parts):
        return False
    kind, _ = mimetypes.guess_type(path.name)
    # "audio/x-mpegurl" and its kind are playlists, which name music but hold none.
    is_playlist = kind is not None and (kind.endswith("mpegurl") or kind.endswith("scpls"))
    return path.suffix.lower() in _AUDIO_SUFFIXES or (
        kind is not None and kind.startswith("audio/") and not is_playlist
    )
