"""From a file to what the ear hears: one window of it, decoded and prepared (`features.samples`).

Only the window asked for is decoded, from a regular file that is opened once, within stated limits.
"""

import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final, Self

import numpy as np
from numpy.typing import NDArray

from features.decoders import Track, open_track
from features.errors import (
    AudioDecodeError,
    AudioTooLargeError,
    AudioTooShortError,
    SilentAudioError,
    TruncatedAudioError,
)
from features.samples import check_format, prepare

WINDOW_SECONDS: Final = 30.0

# Lossy encoders pad the last frame, and headers count the padding or not: a window that touches the end of such a
# track may come out this much shorter than declared.
_LOSSY_TAIL_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class AudioLimits:
    """What the ear accepts; the worker passes its settings.

    Parameters
    ----------
    max_bytes : int
        Size of the file.
    max_track_seconds : float
        Declared duration of the whole track.
    min_window_seconds : float
        Shortest window that is heard. Tempo needs a few beats and the dataset's windows had 30 s; under 5 s rhythm and
        harmony columns say more about the length than about the music.
    allow_silence : bool
        Whether a window of zeros is given instead of refused.
    """

    max_bytes: int = 512_000_000
    max_track_seconds: float = 4 * 3600.0
    min_window_seconds: float = 5.0
    allow_silence: bool = False

    @classmethod
    def unrestricted(cls) -> Self:
        """Accept any size, any length above nothing, and silence: for parity with MIRtoolbox, not for serving."""
        return cls(max_bytes=2**63, max_track_seconds=math.inf, min_window_seconds=0.0, allow_silence=True)


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What a track's header declares.

    Parameters
    ----------
    duration_seconds : float
        Duration of the whole track.
    sr : int
        Sampling rate of the file, Hz.
    channels : int
        Channels of the file.
    codec : str
        Container and coding, such as ``"wav/pcm_16"`` or ``"mov/aac"``.
    """

    duration_seconds: float
    sr: int
    channels: int
    codec: str


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """One window of a track, ready for the extractor.

    Parameters
    ----------
    y : np.ndarray, shape (n_samples,), float32
        Mono samples in [-1, 1) as `features.samples.prepare` gives them.
    sr : int
        Sampling rate of ``y``, Hz: 44 100, or the file's own with ``native_rate``.
    start_seconds, duration_seconds : float
        Where the window begins in the track, and how long it is.
    channels : int
        Channels of the file.
    codec : str
        Container and coding of the file.
    """

    y: NDArray[np.float32]
    sr: int
    start_seconds: float
    duration_seconds: float
    channels: int
    codec: str


def probe(path: str | os.PathLike[str], limits: AudioLimits | None = None) -> AudioInfo:
    """Read what a file's header declares, without decoding it.

    Files that declare no length cost more: raw AAC, and FLAC from a pipe, are walked packet by packet.

    Parameters
    ----------
    path : path-like
        A regular file.
    limits : AudioLimits, optional
        What to accept; the defaults of `AudioLimits`. The shortest window is not checked here.

    Returns
    -------
    AudioInfo

    Raises
    ------
    FeatureError
        As `load_window`, except for what only decoding shows.
    OSError
        If the file cannot be opened.
    """
    with _checked_track(path, limits or AudioLimits()) as track:
        return AudioInfo(track.frames / track.sr, track.sr, track.channels, track.codec)


def load_window(
    path: str | os.PathLike[str],
    start: float = 0.0,
    duration: float = WINDOW_SECONDS,
    *,
    native_rate: bool = False,
    limits: AudioLimits | None = None,
) -> Audio:
    """Decode one window of a track and prepare it for the extractor.

    A window that would reach past the end of the track is moved back; a track shorter than the window is heard whole.

    Parameters
    ----------
    path : path-like
        A regular file: WAV, FLAC, MP3, Ogg (Vorbis, Opus, FLAC), M4A (AAC, ALAC) or AAC.
    start, duration : float
        The window in seconds, ``start`` >= 0 and ``duration`` > 0; infinity for the whole track.
    native_rate : bool
        Keep the file's sampling rate.
    limits : AudioLimits, optional
        What to accept; the defaults of `AudioLimits`.

    Returns
    -------
    Audio
        The window; its ``start_seconds`` and ``duration_seconds`` say what was really heard.

    Raises
    ------
    AudioDecodeError
        If it is no regular file or its bytes cannot be decoded (`UnsupportedCodecError`: not on the allow-list).
    TruncatedAudioError
        If fewer samples can be decoded than the header declares for the window.
    AudioFormatError
        If the rate, the channel count or the sample values cannot be heard.
    AudioTooLargeError, AudioTooShortError, SilentAudioError
        If the limits say so.
    OSError
        If the file cannot be opened.
    ValueError
        If ``start`` or ``duration`` is out of range.
    """
    if not (0 <= start < math.inf and duration > 0):
        raise ValueError(f"expected start >= 0 and duration > 0 seconds, got {start} and {duration}")
    limits = limits or AudioLimits()
    with _checked_track(path, limits) as track:
        wanted = round(min(duration * track.sr, track.frames))
        if wanted < max(1, round(limits.min_window_seconds * track.sr)):
            heard = f"{wanted / track.sr:.2f} s (the track has {track.frames / track.sr:.2f} s)"
            raise AudioTooShortError(f"expected at least {limits.min_window_seconds:g} s of audio, got {heard}")
        first = min(round(start * track.sr), track.frames - wanted)
        samples = track.read(first, wanted)
        touches_end = first + wanted == track.frames
        spare = round(_LOSSY_TAIL_SECONDS * track.sr) if track.lossy and touches_end else 0
        if len(samples) < max(1, wanted - spare):
            raise TruncatedAudioError(f"expected {wanted} samples from {first / track.sr:.2f} s, got {len(samples)}")
        file_rate, channels, codec = track.sr, track.channels, track.codec
    y, sr = prepare(samples, file_rate, native_rate=native_rate)
    if not limits.allow_silence and not y.any():
        raise SilentAudioError(f"expected sound, got {len(y) / sr:.2f} s of digital silence")
    return Audio(y, sr, first / file_rate, len(samples) / file_rate, channels, codec)


@contextmanager
def _checked_track(path: str | os.PathLike[str], limits: AudioLimits) -> Iterator[Track]:
    """Open a track whose size, rate, channels and length are within the limits."""
    with _open_regular(path) as file, _memory_for_decoding():
        size = os.fstat(file.fileno()).st_size
        if size > limits.max_bytes:
            raise AudioTooLargeError(f"expected at most {limits.max_bytes} bytes, got {size}")
        with open_track(file) as track:
            check_format(track.sr, track.channels)
            seconds = track.frames / track.sr
            if seconds > limits.max_track_seconds:
                raise AudioTooLargeError(f"expected at most {limits.max_track_seconds:g} s of audio, got {seconds:g}")
            yield track


@contextmanager
def _memory_for_decoding() -> Iterator[None]:
    """Blame the audio where a decoder is refused memory; how much this process may have is its owner's to limit."""
    try:
        yield
    except MemoryError as error:
        raise AudioDecodeError("expected audio that decodes within this process's memory, got more") from error


@contextmanager
def _open_regular(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a path once; what is checked is then what is decoded, whatever happens to the path meanwhile."""
    _check_regular(os.stat(path).st_mode)
    # Without O_NONBLOCK, opening a FIFO put there meanwhile would wait for its writer for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with open(descriptor, "rb", buffering=0) as file:
        _check_regular(os.fstat(descriptor).st_mode)
        yield file


def _check_regular(mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise AudioDecodeError(f"expected a regular file, got {_FILE_KINDS.get(stat.S_IFMT(mode), 'something else')}")


_FILE_KINDS: Final = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFDIR: "a directory",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFSOCK: "a socket",
}
