"""Files that break decoders, each with the outcomes that are right for it.

Run ``python -m tests.features.hostile FOLDER`` to write them all somewhere and look.
"""

import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

from tests.features.encode import ENDINGS, encode
from tests.features.signals import tune

SR: Final = 44_100
SECONDS: Final = 6.0

HEARD: Final = frozenset({"heard"})
CODEC: Final = frozenset({"unsupported_codec"})
DECODE: Final = frozenset({"decode"})
FORMAT: Final = frozenset({"audio_format"})
SHORT: Final = frozenset({"too_short"})
LARGE: Final = frozenset({"too_large"})
SILENT: Final = frozenset({"silent"})
BROKEN: Final = frozenset({"decode", "truncated"})
# Damage that a decoder may repair: a whole window or an error, never a short one.
DAMAGED: Final = BROKEN | HEARD

# The one file that no check of a header holds back, only the memory that its process may have.
INDEX_OF_GIGABYTES: Final = "index_of_gigabytes.m4a"


@dataclass(frozen=True)
class Hostile:
    """One file and the reasons that may be given for it; ``"heard"`` for a whole window."""

    name: str
    write: Callable[[Path], object]
    allowed: frozenset[str]


def hostile_files(pieces: dict[str, bytes], port: int) -> Iterator[Hostile]:
    """Yield every hostile file.

    Parameters
    ----------
    pieces : dict of str to bytes
        A piece of ``SECONDS`` in every format of ``encode.ENDINGS``.
    port : int
        Where a server listens that nobody may connect to; playlists name it.
    """
    yield from _no_audio(pieces)
    yield from _playlists(port)
    yield from _no_regular_files()
    yield from _wavs(pieces["wav"])
    yield from _flacs(pieces["flac"])
    yield from _mp3s(pieces["320.mp3"], pieces["mp3"])
    yield from _oggs(pieces["ogg"], pieces["opus"])
    yield from _mp4s(pieces["m4a"], pieces["aac"], port)
    # Last: it takes what memory there is, and peaks are of the whole run.
    yield _bytes(INDEX_OF_GIGABYTES, index_claim(pieces["m4a"], 80_000_000), BROKEN)


def encode_pieces(folder: Path) -> dict[str, bytes]:
    """Encode one piece in every format."""
    pieces = {}
    for ending in ENDINGS:
        sr = 48_000 if ending == "opus" else SR
        pieces[ending] = encode(folder, ending, tune(SECONDS, sr), sr).read_bytes()
    return pieces


def _bytes(name: str, data: bytes, allowed: frozenset[str]) -> Hostile:
    return Hostile(name, lambda path: path.write_bytes(data), allowed)


def _flipped(data: bytes, share: float, *, spare: int = 4096, seed: int = 0) -> bytes:
    """Replace a share of the bytes, but for the first ``spare``."""
    rng = np.random.default_rng(seed)
    damaged = np.frombuffer(data, np.uint8).copy()
    where = rng.integers(spare, len(data), max(1, int(share * len(data))))
    damaged[where] = rng.integers(0, 256, len(where))
    return damaged.tobytes()


def _patched(data: bytes, offset: int, patch: bytes) -> bytes:
    return data[:offset] + patch + data[offset + len(patch) :]


# --- not audio at all


def _no_audio(pieces: dict[str, bytes]) -> Iterator[Hostile]:
    noise = np.random.default_rng(1).bytes(100_000)
    yield _bytes("empty.wav", b"", CODEC)
    yield _bytes("one_byte.mp3", b"\xff", CODEC)
    yield _bytes("text.mp3", b"Lorem ipsum dolor sit amet. " * 1000, CODEC)
    yield _bytes("page.flac", b"<!DOCTYPE html><html><body>404</body></html>", CODEC)
    yield _bytes("picture.ogg", b"\x89PNG\r\n\x1a\n" + noise, CODEC)
    yield _bytes("archive.wav", b"PK\x03\x04" + noise, CODEC)
    yield _bytes("noise.wav", b"\x01" + noise, CODEC)
    yield _bytes("zeros.wav", bytes(100_000), CODEC)
    yield _bytes("ones.mp3", b"\xff" * 100_000, DECODE | CODEC)
    yield Hostile("piece.aiff", lambda path: soundfile.write(path, tune(SECONDS), SR, format="AIFF"), CODEC)
    yield Hostile("piece.caf", lambda path: soundfile.write(path, tune(SECONDS), SR, format="CAF"), CODEC)
    yield Hostile("piece.mkv", lambda path: _remux(pieces["aac"], path, "matroska"), CODEC)
    yield Hostile("piece.ts", lambda path: _remux(pieces["aac"], path, "mpegts"), CODEC)


def _remux(data: bytes, path: Path, container_format: str) -> None:
    source_path = path.with_suffix(".source")
    source_path.write_bytes(data)
    source: Any = av.open(str(source_path))
    target: Any = av.open(str(path), "w", format=container_format)
    with source, target:
        stream = target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)


def _playlists(port: int) -> Iterator[Hostile]:
    url = f"http://127.0.0.1:{port}/track.mp3"
    playlists = {
        "list.m3u": f"#EXTM3U\n#EXTINF:30,Track\n{url}\n",
        "list.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{url}\n#EXT-X-ENDLIST\n",
        "list.pls": f"[playlist]\nFile1={url}\nNumberOfEntries=1\n",
        "list.asx": f'<asx version="3.0"><entry><ref href="{url}"/></entry></asx>',
        "list.ffconcat": f"ffconcat version 1.0\nfile '{url}'\n",
        "list.mpd": f'<?xml version="1.0"?><MPD><Period><BaseURL>{url}</BaseURL></Period></MPD>',
        "list.sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=audio {port} RTP/AVP 14\n",
        "list.cue": 'FILE "/etc/hostname" WAVE\n  TRACK 01 AUDIO\n    INDEX 01 00:00:00\n',
        "list_called.mp3": f"#EXTM3U\nconcat:{url}|/etc/hostname\n",
        "list_called.wav": f"#EXTM3U\n#EXTINF:10,\n{url}\n",
    }
    for name, text in playlists.items():
        yield _bytes(name, text.encode(), CODEC)


def _no_regular_files() -> Iterator[Hostile]:
    yield Hostile("pipe.wav", os.mkfifo, DECODE)
    yield Hostile("folder.wav", Path.mkdir, DECODE)
    yield Hostile("zero.wav", lambda path: path.symlink_to("/dev/zero"), DECODE)
    yield Hostile("socket.wav", _make_socket, DECODE)
    yield Hostile("sparse.wav", lambda path: _sparse(path, 600_000_000), LARGE)
    yield Hostile("hidden.wav", lambda path: path.symlink_to("/etc/passwd"), CODEC)


def _make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def _sparse(path: Path, size: int) -> None:
    path.write_bytes(_wav(tune(1.0).astype(np.float32).tobytes(), sr=SR))
    os.truncate(path, size)


# --- WAV


def _wav(
    data: bytes, *, tag: int = 3, channels: int = 2, sr: int = SR, bits: int = 32, align: int | None = None
) -> bytes:
    """Build a WAV whose header says what it is told to."""
    align = channels * bits // 8 if align is None else align
    fmt = struct.pack("<HHIIHH", tag, channels & 0xFFFF, sr, (sr * align) & 0xFFFFFFFF, align & 0xFFFF, bits)
    body = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _floats(change: Callable[[NDArray[np.float32]], object]) -> bytes:
    y = tune(SECONDS)
    change(y)
    return _wav(y.tobytes())


def _wavs(wav: bytes) -> Iterator[Hostile]:
    y = tune(SECONDS)
    samples = y.tobytes()
    yield _bytes("cut.wav", wav[: len(wav) // 2], BROKEN)
    yield _bytes("header_only.wav", wav[:44], SHORT | DECODE)
    yield _bytes("half_header.wav", wav[:30], DECODE)
    yield _bytes("no_fmt.wav", b"RIFF\x24\0\0\0WAVEdata\x10\0\0\0" + bytes(16), DECODE)
    yield _bytes("endless.wav", _patched(wav, 40, b"\xff\xff\xff\xff"), HEARD)
    yield _bytes("data_of_nothing.wav", _patched(wav, 40, bytes(4)), SHORT | DECODE)
    yield _bytes("data_of_gigabyte.wav", _patched(wav, 40, struct.pack("<I", 1 << 30)), BROKEN)
    yield _bytes("chunk_of_gigabytes.wav", _patched(wav, 16, b"\xf0\xff\xff\xff"), DECODE)
    yield _bytes("many_chunks.wav", wav[:36] + b"junk\0\0\0\0" * 100_000 + wav[36:], HEARD | DECODE)
    for sr in (0, 1, 7_999, 192_001, 2_000_000_000, 0xFFFFFFFF):
        yield _bytes(f"rate_{sr}.wav", _wav(samples, sr=sr), FORMAT | DECODE | LARGE)
    for channels in (0, 9, 1024, 65_535):
        yield _bytes(f"channels_{channels}.wav", _wav(samples, channels=channels), FORMAT | DECODE)
    yield _bytes("bits_0.wav", _wav(samples, bits=0, align=8), DECODE | CODEC)
    yield _bytes("bits_7.wav", _wav(samples, tag=1, bits=7, align=2), DECODE | CODEC | HEARD)
    yield _bytes("align_0.wav", _wav(samples, align=0), DECODE | HEARD)
    yield _bytes("codec_unknown.wav", _wav(samples, tag=0x7777), DECODE | CODEC)
    yield _bytes("codec_mp3.wav", _wav(samples, tag=0x55, bits=0, align=1), DECODE | CODEC)
    yield _bytes("codec_gsm.wav", _wav(samples, tag=0x31, channels=1, bits=0, align=65), DECODE | CODEC)
    yield _bytes("nan.wav", _floats(lambda y: y.__setitem__(100_000, np.nan)), FORMAT)
    yield _bytes("infinity.wav", _floats(lambda y: y.__setitem__(100_000, -np.inf)), FORMAT)
    yield _bytes("huge.wav", _floats(lambda y: y.__setitem__(100_000, 1e30)), FORMAT)
    yield _bytes("integers_as_floats.wav", _wav((y * 32768).tobytes()), FORMAT)
    yield _bytes("tiny.wav", _wav((y * np.float32(1e-30)).tobytes()), SILENT)
    yield _bytes("silence.wav", _wav(bytes(len(samples))), SILENT)
    yield _bytes("constant.wav", _wav(np.full(len(samples) // 4, 0.5, np.float32).tobytes()), HEARD)
    yield _bytes("one_click.wav", _floats(lambda y: np.copyto(y, (np.arange(len(y)) == 100_000)[:, None] * 0.5)), HEARD)
    yield _bytes("square_at_full_scale.wav", _floats(lambda y: np.copyto(y, np.sign(y) * 2)), HEARD)
    yield _bytes("two_seconds.wav", _wav(samples[: 2 * SR * 8]), SHORT)
    yield _bytes("one_sample.wav", _wav(samples[:8]), SHORT)
    for subtype in ("PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM"):
        write = _writer(y, subtype)
        yield Hostile(f"plain_{subtype}.wav".lower(), write, HEARD)


def _writer(y: NDArray[np.float32], subtype: str) -> Callable[[Path], object]:
    return lambda path: soundfile.write(path, y, SR, subtype=subtype)


# --- FLAC


def _flacs(flac: bytes) -> Iterator[Hostile]:
    # STREAMINFO: 20 bits of rate, 3 of channels, 5 of bits and 36 of length from byte 18 on.
    packed = int.from_bytes(flac[18:26], "big")
    length = (1 << 36) - 1
    for name, claim, allowed in (
        ("claims_2_to_36.flac", length, LARGE),
        ("claims_no_length.flac", 0, HEARD),
        ("claims_one_sample.flac", 1, SHORT),
        ("claims_an_hour.flac", 3600 * SR, BROKEN),
    ):
        yield _bytes(name, _patched(flac, 18, (packed & ~length | claim).to_bytes(8, "big")), allowed)
    no_rate = packed & ((1 << 44) - 1)
    yield _bytes("rate_0.flac", _patched(flac, 18, no_rate.to_bytes(8, "big")), FORMAT | DECODE)
    yield _bytes("cut.flac", flac[: len(flac) // 2], BROKEN)
    yield _bytes("header_only.flac", flac[:42], BROKEN)
    yield _bytes("flipped.flac", _flipped(flac, 0.001), DAMAGED)
    yield _bytes("flipped_once.flac", _flipped(flac, 0), DAMAGED)
    yield _bytes("metadata_of_16_megabytes.flac", _patched(flac, 4, b"\x04\xff\xff\xff"), BROKEN)
    # Some 100 kB that hold three hours: read whole they would cost 345 MB.
    yield Hostile("three_hours_of_silence.flac", lambda path: _silence(path, 3), SILENT)


def _silence(path: Path, hours: int) -> None:
    zeros = np.zeros(8000 * 600, dtype=np.int16)
    with soundfile.SoundFile(path, "w", 8000, 1, compression_level=0.0) as file:
        for _ in range(6 * hours):
            file.write(zeros)


# --- MP3


def _mp3s(mp3: bytes, short_frames: bytes) -> Iterator[Hostile]:
    yield _bytes("cut.mp3", mp3[: len(mp3) // 2], BROKEN)
    yield _bytes("flipped.mp3", _flipped(mp3, 0.001), DAMAGED)
    yield _bytes("flipped_more.mp3", _flipped(mp3, 0.01), DAMAGED)
    yield _bytes("hole.mp3", mp3[:60_000] + bytes(40_000) + mp3[100_000:], DAMAGED)
    yield _bytes("tag_of_256_megabytes.mp3", b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + mp3, DECODE | CODEC)
    yield _bytes("tag_only.mp3", b"ID3\x04\0\0\0\0\0\x0a" + bytes(10), DECODE | CODEC)
    yield _bytes("tag_then_text.mp3", b"ID3\x04\0\0\0\0\0\0" + b"no music here" * 100, DECODE | CODEC)
    yield _bytes("tag_then_music.mp3", b"ID3\x04\0\0\0\0\x01\x00" + bytes(128) + short_frames, HEARD)
    yield _bytes("garbage_behind.mp3", short_frames + b"trailing garbage " * 1000, HEARD)
    yield _bytes("syncs_only.mp3", b"\xff\xfb\x90\x00" * 50_000, DECODE | SHORT | SILENT | DAMAGED)
    yield _bytes("two_rates.mp3", short_frames + _at_22_khz(short_frames), DAMAGED)
    xing = max(mp3.find(b"Xing"), mp3.find(b"Info"))
    yield _bytes("claims_2_to_32_frames.mp3", _patched(mp3, xing + 8, b"\xff\xff\xff\xff"), LARGE | DAMAGED)
    yield _bytes("free_format.mp3", bytes((0xFF, 0xFB, 0x00, 0x00)) + mp3[4:], DAMAGED | SHORT | CODEC)


def _at_22_khz(mp3: bytes) -> bytes:
    """Turn MPEG 1 headers into MPEG 2 ones: the same frames at half the rate, and of another length."""
    return mp3.replace(b"\xff\xfb", b"\xff\xf3")


# --- Ogg


def _oggs(ogg: bytes, opus: bytes) -> Iterator[Hostile]:
    for name, data in (("ogg", ogg), ("opus", opus)):
        last = data.rfind(b"OggS")
        # No length is declared: what is left of the pages is the track, and four seconds are too short.
        yield _bytes(f"cut.{name}", data[: len(data) // 2], SHORT | BROKEN)
        yield _bytes(f"flipped.{name}", _flipped(data, 0.001, spare=8192), DAMAGED | SHORT)
        yield _bytes(f"flipped_more.{name}", _flipped(data, 0.02, spare=8192), DAMAGED | SHORT | CODEC)
        yield _bytes(f"first_page_only.{name}", data[: data.find(b"OggS", 4)], BROKEN | SHORT)
        yield _bytes(f"hole.{name}", data[: len(data) // 3] + data[len(data) // 2 :], DAMAGED | SHORT)
        claim = _patched(data, last + 6, struct.pack("<q", 1 << 61))
        yield _bytes(f"claims_2_to_61.{name}", claim, LARGE | DAMAGED | FORMAT | SHORT)
        yield _bytes(f"twice.{name}", data + data, DAMAGED)
    head = opus.find(b"OpusHead")
    yield _bytes("channels_255.opus", _patched(opus, head + 9, b"\xff"), FORMAT | BROKEN | CODEC | DAMAGED)
    yield _bytes("no_codec.ogg", ogg.replace(b"\x01vorbis", b"\x01nobody"), DECODE | CODEC)


# --- MP4 and bare AAC


def _mp4s(m4a: bytes, aac: bytes, port: int) -> Iterator[Hostile]:
    yield _bytes("cut.m4a", m4a[: len(m4a) // 2], BROKEN)
    yield _bytes("flipped.m4a", _flipped(m4a, 0.001, spare=64), DAMAGED | SHORT | CODEC | FORMAT | LARGE)
    yield _bytes("flipped_frames.m4a", _flipped(m4a[: len(m4a) * 3 // 4], 0.01) + m4a[len(m4a) * 3 // 4 :], DAMAGED)
    yield _bytes("brand_only.m4a", m4a[:32], DECODE | CODEC)
    yield _bytes("nested_boxes.m4a", m4a[:32] + _nested(b"moov", 20_000), DECODE | CODEC)
    yield _bytes("sample_table_of_gigabytes.m4a", _table_claim(m4a), BROKEN | SHORT | LARGE | HEARD)
    yield _bytes("duration_of_years.m4a", _duration_claim(m4a), LARGE | DAMAGED)
    yield _bytes("points_elsewhere.m4a", _external_reference(m4a, f"http://127.0.0.1:{port}/"), DAMAGED | SHORT)
    yield Hostile("video_only.mp4", _write_video, CODEC)
    yield _bytes("cut.aac", aac[: len(aac) // 2], SHORT | BROKEN)
    yield _bytes("flipped.aac", _flipped(aac, 0.001), DAMAGED | SHORT)
    # The sampling rate is four bits of every header: 4 is 44.1 kHz, 7 is 22.05 kHz.
    half = aac[: len(aac) // 2]
    yield _bytes("two_rates.aac", half + half.replace(aac[:3], bytes((aac[0], aac[1], aac[2] ^ 0x0C))), DAMAGED)
    yield _bytes("headers_only.aac", aac[:7] * 20_000, DECODE | SHORT | CODEC | DAMAGED)


def _nested(kind: bytes, depth: int) -> bytes:
    return b"".join(struct.pack(">I", 8 * (depth - level)) + kind for level in range(depth))


def _table_claim(m4a: bytes) -> bytes:
    return _patched(m4a, m4a.find(b"stsz") + 12, b"\x7f\xff\xff\xff")


def index_claim(m4a: bytes, samples: int) -> bytes:
    """Declare samples of one byte each, all in one chunk: three short tables, of which FFmpeg makes 24 bytes a sample.

    Above 89 million samples the index would pass 2^31 bytes, and FFmpeg refuses by itself.
    """
    tables = {
        b"stsz": struct.pack(">3I", 0, 1, samples),
        b"stsc": struct.pack(">5I", 0, 1, 1, samples, 1),
        # As many durations as samples would be one packet for the chunk, as for uncompressed audio.
        b"stts": struct.pack(">4I", 0, 1, samples - 2, 1024),
    }
    return _with_boxes(m4a, tables)


def _with_boxes(boxes: bytes, contents: dict[bytes, bytes]) -> bytes:
    """Replace the contents of some boxes, and mend the sizes of those around them."""
    written, at = b"", 0
    while at < len(boxes):
        size, kind = int.from_bytes(boxes[at : at + 4], "big"), boxes[at + 4 : at + 8]
        content = contents.get(kind, boxes[at + 8 : at + size])
        if kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
            content = _with_boxes(content, contents)
        written += struct.pack(">I", 8 + len(content)) + kind + content
        at += size
    return written


def _duration_claim(m4a: bytes) -> bytes:
    return _patched(m4a, m4a.find(b"mdhd") + 20, b"\x7f\xff\xff\xff")


def _external_reference(m4a: bytes, url: str) -> bytes:
    """Say that the samples lie at a URL instead of in this file."""
    entry = m4a.rfind(b"url ")
    location = url.encode() + b"\0"
    grown = m4a[: entry + 4] + bytes(4) + location + m4a[entry + 8 :]
    for box in (b"url ", b"dref", b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        at = m4a.rfind(box, 0, entry + 4) - 4
        size = int.from_bytes(m4a[at : at + 4], "big") + len(location)
        grown = _patched(grown, at, size.to_bytes(4, "big"))
    return grown


def _write_video(path: Path) -> None:
    container: Any = av.open(str(path), "w", format="mp4")
    with container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(10):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True)
    for hostile in hostile_files(encode_pieces(folder), 9):
        hostile.write(folder / hostile.name)
