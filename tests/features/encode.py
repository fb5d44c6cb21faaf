"""Encode samples into every container the ear accepts."""

from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

# file name ending -> (libsndfile format, subtype)
_SNDFILE: Final = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "ogg": ("OGG", "VORBIS"),
}
# file name ending -> (FFmpeg format, codec, bit rate or none)
_FFMPEG: Final[dict[str, tuple[str, str, int | None]]] = {
    "m4a": ("ipod", "aac", 192_000),
    "alac.m4a": ("ipod", "alac", None),
    "aac": ("adts", "aac", 192_000),
    "opus": ("ogg", "libopus", 160_000),
    "320.mp3": ("mp3", "libmp3lame", 320_000),
}
ENDINGS: Final = (*_SNDFILE, *_FFMPEG)


def encode(folder: Path, ending: str, y: NDArray[np.float32], sr: int) -> Path:
    """Write samples of shape (n, channels) and give the file's path."""
    path = folder / f"piece.{ending}"
    if ending in _SNDFILE:
        container, subtype = _SNDFILE[ending]
        soundfile.write(path, y, sr, format=container, subtype=subtype)
    else:
        _encode_with_ffmpeg(path, ending, y, sr)
    return path


def _encode_with_ffmpeg(path: Path, ending: str, y: NDArray[np.float32], sr: int) -> None:
    container_format, codec, bit_rate = _FFMPEG[ending]
    layout = "mono" if y.shape[1] == 1 else "stereo"
    container: Any = av.open(str(path), "w", format=container_format)
    with container:
        stream = container.add_stream(codec, rate=sr, layout=layout)
        if bit_rate:
            stream.bit_rate = bit_rate
        context = stream.codec_context
        if codec == "aac":
            # Bands of "perceptual noise" are filled from a random generator, another one for every decoding.
            context.options = {"aac_pns": "0"}
        context.open()
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(y.T), format="fltp", layout=layout)
        frame.sample_rate = sr
        frame.pts = 0  # the muxer writes the encoder's delay as an edit list only if time stamps are given
        frame.time_base = Fraction(1, sr)
        resampler = av.AudioResampler(
            format=context.format, layout=layout, rate=sr, frame_size=context.frame_size or 1024
        )
        for piece in (*resampler.resample(frame), *resampler.resample(None), None):
            for packet in stream.encode(piece):
                container.mux(packet)
