"""Choose a decoder by a file's first bytes; libsndfile reads WAV, FLAC, MP3 and Ogg Vorbis, FFmpeg the rest.

No decoder ever guesses: text, playlists and videos never reach one. Both read from the descriptor they are handed and
open nothing themselves. libsndfile seeks to the exact sample, except in Opus (off by the pre-skip in files with long
pages, libsndfile 1.2.2) and in FLAC without a length, whose end it cannot read: these go to `features.ffmpeg`.
"""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import BinaryIO, Final, Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

from features.errors import AudioDecodeError, UnsupportedCodecError
from features.samples import at_most_stereo

_SNDFILE_FORMATS: Final = {"WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3"}
_SNDFILE_SUBTYPES: Final = {
    *("PCM_U8", "PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM"),
    *("VORBIS", "MPEG_LAYER_III", "MPEG_LAYER_II"),
}
_LOSSY: Final = {"VORBIS", "MPEG_LAYER_III", "MPEG_LAYER_II"}

# Writers to a pipe cannot go back to fill in the length and leave one of these near 2^31 or 2^32.
_PLACEHOLDER_BYTES: Final = 0x7FFF0000
_WAV_CUT: Final = re.compile(r"^data : (\d+) \(should be (\d+)\)", re.MULTILINE)


Decoded = NDArray[np.float32] | NDArray[np.int16]


class Track(Protocol):
    """An open audio file: what its header declares, and its samples."""

    sr: int
    channels: int
    frames: int
    codec: str
    lossy: bool

    def read(self, start: int, frames: int) -> Decoded:
        """Decode a window.

        Parameters
        ----------
        start, frames : int
            First sample and number of samples per channel, within the track's declared ``frames``.

        Returns
        -------
        np.ndarray, shape (n, 1 or 2), float32 or int16
            What could be decoded, n <= ``frames``; more than two channels are averaged.

        Raises
        ------
        AudioDecodeError
            If the bytes cannot be decoded.
        """


def open_track(file: BinaryIO) -> AbstractContextManager[Track]:
    """Open an audio file with the decoder that its first bytes ask for.

    Parameters
    ----------
    file : binary file
        Seekable, with a descriptor, at its beginning.

    Returns
    -------
    context manager of Track

    Raises
    ------
    UnsupportedCodecError
        If the container or the codec is not on the allow-list.
    AudioDecodeError
        If the header cannot be read.
    """
    container = _sniff(file)
    file.seek(0)
    if container == "sndfile":
        return _open_sndfile(file)
    # FFmpeg takes 70 ms to import, and most tracks do not need it.
    from features.ffmpeg import FfmpegTrack

    return nullcontext(FfmpegTrack(file, container))


def _sniff(file: BinaryIO) -> str:
    """Name the decoder: ``"sndfile"`` or the FFmpeg demuxer's name."""
    head = file.read(64)
    if head[:3] == b"ID3" and len(head) >= 10:
        # An ID3v2 tag's length is four bytes of seven bits, behind its own ten.
        file.seek(10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]))
        head = file.read(64)
        if head[:2] == b"\0\0" or not head:
            return "sndfile"  # padding after the tag, which libsndfile skips
    if head[:4] in (b"RIFF", b"RIFX", b"RF64"):
        return "sndfile"
    if head[:4] == b"fLaC":
        # The count of samples is 36 bits long; zero, as an encoder in a pipe leaves it, is beyond libsndfile.
        unknown_length = len(head) >= 26 and head[21] & 0x0F == 0 and not any(head[22:26])
        return "flac" if unknown_length else "sndfile"
    if head[:4] == b"OggS":
        return "ogg" if b"OpusHead" in head else "sndfile"
    if head[4:8] == b"ftyp":
        return "mov"
    if len(head) >= 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        # MPEG audio sync: layer bits of zero mean AAC in ADTS frames.
        return "aac" if head[1] & 0xF6 == 0xF0 else "sndfile"
    raise UnsupportedCodecError("expected WAV, FLAC, MP3, Ogg, M4A or AAC, got other bytes")


class _SndfileTrack:
    def __init__(self, file: soundfile.SoundFile) -> None:
        self._file = file
        self.sr = int(file.samplerate)
        self.channels = int(file.channels)
        self.codec = f"{file.format}/{file.subtype}".lower()
        self.lossy = file.subtype in _LOSSY
        self.frames = int(file.frames)
        if cut := _WAV_CUT.search(file.extra_info):
            # libsndfile quietly shortens a WAV whose data chunk promises more than the file holds.
            declared, present = int(cut[1]), int(cut[2])
            if present < declared < _PLACEHOLDER_BYTES and present > 0:
                self.frames = self.frames * declared // present

    def read(self, start: int, frames: int) -> Decoded:
        if start >= self._file.frames:
            return np.zeros((0, 1), dtype=np.float32)
        with _as_decode_error():
            self._file.seek(start)
            if self.channels <= 2:
                # 16-bit samples stay integers: half the memory to walk through, and on the right grid already.
                samples = np.empty((frames, self.channels), np.int16 if self._file.subtype == "PCM_16" else np.float32)
                return np.asarray(self._file.read(out=samples))
            seconds = range(0, frames, self.sr)
            blocks = [at_most_stereo(self._file.read(min(self.sr, frames - done), "float32")) for done in seconds]
            return np.concatenate(blocks)


@contextmanager
def _open_sndfile(file: BinaryIO) -> Iterator[Track]:
    with _as_decode_error():
        sound = soundfile.SoundFile(file.fileno(), closefd=False)
    with sound:
        if sound.format not in _SNDFILE_FORMATS or sound.subtype not in _SNDFILE_SUBTYPES:
            raise UnsupportedCodecError(f"expected a codec on the allow-list, got {sound.format}/{sound.subtype}")
        yield _SndfileTrack(sound)


@contextmanager
def _as_decode_error() -> Iterator[None]:
    """Turn libsndfile's error into the ear's own error."""
    try:
        yield
    except soundfile.LibsndfileError as error:
        raise AudioDecodeError(f"libsndfile: {error.error_string}") from error
