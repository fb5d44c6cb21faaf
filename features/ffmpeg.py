"""AAC, ALAC, Opus and FLAC from a pipe, decoded by FFmpeg (PyAV) to the exact sample.

FFmpeg's own seeking is not exact, so decoding begins a second before the window and samples are placed by the time
stamps of packets that were read in sequence. What it may open is fenced three times: the caller names the demuxer, and
white lists leave it no other format, no other codec and no protocol at all.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Final

import av
import numpy as np
from numpy.typing import NDArray

from features.errors import AudioDecodeError, TruncatedAudioError, UnsupportedCodecError
from features.samples import at_most_stereo

_CODECS: Final = {"aac", "alac", "flac", "opus"}
_LOSSY: Final = {"aac", "opus"}

# AAC settles after 2 frames and Opus after .1 s (measured: bit-exact from there); a second is ample and costs 1 ms.
_PREROLL_SECONDS: Final = 1.0
# Time stamps round to the container's clock; a missing packet leaves at least 20 ms (Opus) or 21 ms (AAC at 48 kHz).
_GAP_SECONDS: Final = 0.015


class FfmpegTrack:
    """A `features.decoders.Track`; every walk over its packets starts anew on the same descriptor.

    Parameters
    ----------
    file : binary file
        Seekable.
    demuxer : str
        FFmpeg's name of the container: ``"mov"``, ``"ogg"``, ``"aac"`` or ``"flac"``.

    Raises
    ------
    UnsupportedCodecError
        If it holds no audio, or audio in a codec that is not on the allow-list.
    AudioDecodeError
        If its header or its first frame cannot be decoded.
    """

    def __init__(self, file: BinaryIO, demuxer: str) -> None:
        self._file = file
        self._demuxer = demuxer
        with self._open() as (container, stream):
            codec = stream.codec_context.name
            self.codec = f"{demuxer}/{codec}"
            self.lossy = codec in _LOSSY
            clock = float(stream.time_base)
            packets = container.demux(stream)
            # The header of HE-AAC may tell half the rate and channels; the first decoded frame tells what comes.
            first = next((frame for packet in packets for frame in packet.decode()), None)
            if first is None:
                raise AudioDecodeError(f"expected {codec} frames, got none")
            self.sr = int(first.sample_rate)
            self.channels = int(first.layout.nb_channels)
            if demuxer in ("aac", "flac"):
                # No length is declared, and FFmpeg's guess for AAC is 2 % off: add the packets up.
                seconds = first.samples / self.sr + clock * sum(packet.duration or 0 for packet in packets)
            else:
                seconds = clock * (stream.duration or 0)
            self.frames = round(seconds * self.sr)

    def read(self, start: int, frames: int) -> NDArray[np.float32]:
        """Decode a window, as `features.decoders.Track.read` promises; a gap in the stream is an error."""
        blocks: list[NDArray[np.float32]] = []
        end = start + frames
        expected: int | None = None
        with self._open() as (container, stream):
            for frame in self._frames_from(container, stream, start / self.sr - _PREROLL_SECONDS):
                if frame.sample_rate != self.sr or frame.layout.nb_channels != self.channels:
                    raise AudioDecodeError(f"expected {self.sr} Hz throughout, got a change of rate or channels")
                position = round(self._seconds(frame, stream) * self.sr)
                if expected is None:
                    expected = position
                if abs(position - expected) > _GAP_SECONDS * self.sr:
                    raise TruncatedAudioError(f"expected sample {expected} next, got {position}: packets are missing")
                kept = slice(max(0, start - expected), max(0, end - expected))
                blocks.append(_samples(frame)[kept])
                expected += frame.samples
                if expected >= end:
                    break
        return np.concatenate(blocks) if blocks else np.zeros((0, 1), dtype=np.float32)

    def _frames_from(self, container: Any, stream: Any, seconds: float) -> Iterator[Any]:
        """Decode from the last packet before a time; earlier packets are passed over undecoded."""
        if self._demuxer == "mov" and seconds > 0:
            # An index of every sample makes this exact; Ogg and ADTS are walked from the beginning instead, because
            # after a seek their time stamps are guesses.
            offset = (stream.start_time or 0) + int(seconds / stream.time_base)
            container.seek(offset, stream=stream)
        for packet in container.demux(stream):
            if packet.pts is None or self._seconds(packet, stream) >= seconds:
                yield from packet.decode()

    @staticmethod
    def _seconds(timed: Any, stream: Any) -> float:
        if timed.pts is None:
            raise AudioDecodeError("expected a time stamp on every frame, got none")
        return float((timed.pts - (stream.start_time or 0)) * stream.time_base)

    @contextmanager
    def _open(self) -> Iterator[tuple[Any, Any]]:
        with _as_decode_error():
            self._file.seek(0)
            container = av.open(
                self._file,
                format=self._demuxer,
                metadata_errors="ignore",
                options={
                    "protocol_whitelist": "none",
                    "format_whitelist": self._demuxer,
                    "codec_whitelist": ",".join(sorted(_CODECS)),
                },
            )
            with container:
                streams = container.streams.audio
                if not streams:
                    raise UnsupportedCodecError(f"expected an audio stream, got none in {self._demuxer}")
                context = streams[0].codec_context
                if context is None or context.name not in _CODECS:
                    name = context.name if context else "an unknown codec"
                    raise UnsupportedCodecError(f"expected one of {sorted(_CODECS)}, got {name}")
                yield container, streams[0]


def _samples(frame: Any) -> NDArray[np.float32]:
    """Give a frame's samples, shape (n, 1 or 2), integers scaled to [-1, 1)."""
    raw = frame.to_ndarray()
    samples = raw.T if frame.format.is_planar else raw.reshape(-1, frame.layout.nb_channels)
    if samples.dtype.kind == "i":
        samples = samples / np.float32(2.0 ** (8 * samples.dtype.itemsize - 1))
    return at_most_stereo(samples.astype(np.float32))


@contextmanager
def _as_decode_error() -> Iterator[None]:
    """Turn FFmpeg's error into the ear's own."""
    try:
        yield
    except av.FFmpegError as error:
        raise AudioDecodeError(f"FFmpeg: {error.strerror}") from error
