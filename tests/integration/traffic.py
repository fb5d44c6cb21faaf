"""Plays the platform: numbered track events, poison among them, each entered in the ledger's book."""

import hashlib
import itertools
import json
import random
import threading
import time
import wave
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, Self, cast

import numpy as np
from confluent_kafka import KafkaError, Message, Producer

from tests.integration.administration import read_topic
from tests.integration.ledger import Entry

TRACK_EVENTS: Final = "track-events"
SAMPLE_RATE: Final = 22050


def write_track(path: Path, seed: int, *, seconds: float = 6.0, volume: float = 0.8) -> Path:
    """Write a short piece as 16-bit mono WAV: three chords over a beat, other keys and tempi for other seeds.

    Short, because the tests ask what the stream does with an analysis, not what the analysis says.
    """
    rng = np.random.default_rng(seed)
    moments = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    root = 110.0 * 2 ** (rng.integers(12) / 12)
    third = rng.choice([3, 4])
    y = np.zeros(moments.size)
    for start, step in zip(np.linspace(0, seconds, 4)[:-1], (0, 5, 7), strict=True):
        span = (moments >= start) & (moments < start + seconds / 3)
        for semitone, harmonic in itertools.product((step, step + third, step + 7), (1, 2, 3)):
            y[span] += np.sin(2 * np.pi * root * 2 ** (semitone / 12) * harmonic * moments[span]) / harmonic
    beat = 60.0 / rng.uniform(70, 150)
    y *= 0.4 + np.exp(-8 * (moments % beat))
    y += 0.5 * np.exp(-60 * (moments % beat)) * rng.standard_normal(moments.size)
    samples = (y / np.abs(y).max() * volume * 32767).astype("<i2")
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(samples.tobytes())
    return path


Poison = tuple[str, Callable[[dict[str, Any], Path], bytes]]
# Ways to spoil an event, each with the reason it must be buried under. The number keeps every value unique.
SHORT_POISON: Final[Sequence[Poison]] = (
    ("invalid_json", lambda event, _: b"not json " + event["event_id"].encode()),
    ("invalid_json", lambda event, _: json.dumps(event).encode()[:-3]),
    ("invalid_json", lambda event, _: b"\xff\xfe" + event["event_id"].encode()),
    ("schema", lambda event, _: json.dumps([event["event_id"]]).encode()),
    ("schema", lambda event, _: _json(event, track_id=7)),
    ("schema", lambda event, _: _json({k: v for k, v in event.items() if k != "audio_uri"})),
    ("schema", lambda event, _: _json(event, occurred_at="yesterday")),
    ("schema", lambda event, _: _json(event, schema_version=9)),
    ("unknown_event_type", lambda event, _: _json(event, event_type="track_paused")),
    ("unsupported_uri", lambda event, _: _spoiled(event, "gopher://example.org/track")),
    ("forbidden_path", lambda event, _: _spoiled(event, "file:///etc/passwd")),
    ("not_found", lambda event, folder: _spoiled(event, f"file://{folder}/absent.wav")),
    (
        "unsupported_codec",
        lambda event, folder: _spoiled(event, f"file://{_file(folder, 'junk.wav', b'no audio')}"),
    ),
    ("too_short", lambda event, folder: _spoiled(event, f"file://{_piece(folder, 'blip.wav', 0.2)}")),
    ("silent", lambda event, folder: _spoiled(event, f"file://{_piece(folder, 'hush.wav', 6.0, volume=0.0)}")),
)
# Every byte of these is read, and written again in a dead letter.
LONG_POISON: Final[Sequence[Poison]] = (
    # The error quotes it whole; looking for URLs in it once took seconds, in which the worker did nothing else.
    ("unknown_event_type", lambda event, _: _json(event, event_type="://" + "a-" * 15_000)),
    ("event_too_large", lambda event, _: _json(event, extra="x" * 200_000)),
)
POISON: Final = (*SHORT_POISON, *LONG_POISON)


class Platform:
    """Produces track events and keeps the book.

    Parameters
    ----------
    bootstrap : str
        Brokers to produce to.
    folder : Path
        Where the catalogue's audio lies; the worker's ``EMOTION_AUDIO_ROOTS`` must hold it.
    seed : int
        Fixes which tracks are played and what is poisoned.
    """

    def __init__(self, bootstrap: str, folder: Path, *, seed: int = 0) -> None:
        self.folder = folder
        self.book: dict[str, Entry] = {}
        self._bootstrap = bootstrap
        self._unplaced: list[Entry] = []
        self._digests: dict[str, str] = {}
        self._numbers = itertools.count()
        self._rng = random.Random(seed)
        self._failures: list[KafkaError] = []
        # Kafka's own partitioner, as the contract asks; idempotent, so that a broker's fault adds no input.
        config = {
            "bootstrap.servers": bootstrap,
            "partitioner": "murmur2_random",
            "enable.idempotence": True,
            "linger.ms": 2,
            "delivery.timeout.ms": 120_000,
            "queue.buffering.max.messages": 1_000_000,
            "message.max.bytes": 2**26,
            "log_level": 0,
        }
        self._producer = Producer(config)
        # A broker's limit is on what arrives, which may unpack to much more.
        self._packing_producers = {
            codec: Producer(config | {"compression.type": codec, "message.max.bytes": 2**28})
            for codec in ("gzip", "zstd")
        }

    @property
    def entries(self) -> list[Entry]:
        """Every input so far."""
        return list(self.book.values())

    def track(self, number: int, *, seconds: float = 6.0) -> str:
        """Give the id of the catalogue's track ``number``, writing its audio the first time."""
        path = self.folder / f"track-{number:04d}.wav"
        if not path.exists():
            write_track(path, number, seconds=seconds)
        if (uri := f"file://{path}") not in self._digests:
            self._digests[uri] = hashlib.sha256(path.read_bytes()).hexdigest()
        return path.stem

    def play(self, track_id: str, *, audio_uri: str | None = None, **changes: Any) -> None:
        """Produce one ``track_played``; other fields, the entry's expectation, Kafka's key and headers by keyword."""
        self._emit(self._event(track_id, audio_uri=audio_uri), **changes)

    def upload(self, track_id: str, **changes: Any) -> None:
        """Produce one ``track_uploaded``."""
        self._emit(self._event(track_id) | {"event_type": "track_uploaded"}, **changes)

    def poison(self, track_id: str, shape: Poison) -> None:
        """Produce one event that must become a dead letter."""
        self._produce(self._spoilt(track_id, shape))

    def mix(
        self,
        tracks: Sequence[str],
        count: int,
        *,
        poison_share: float = 0.0,
        shapes: Sequence[Poison] = POISON,
    ) -> None:
        """Produce ``count`` plays of ``tracks`` chosen at random, the given share of them poison of ``shapes``.

        Poison comes under keys of its own: a spoiled ``audio_uri`` under a known track's key is no poison, since a
        known track is answered without opening it.
        """
        self.send(self.draw(tracks, count, poison_share=poison_share, shapes=shapes))

    def draw(
        self, tracks: Sequence[str], count: int, *, poison_share: float, shapes: Sequence[Poison]
    ) -> Iterator[Entry]:
        """Write the events of ``mix`` without sending them, each when it is asked for."""
        for _ in range(count):
            if self._rng.random() < poison_share:
                yield self._spoilt(f"poison-{self._rng.randrange(10**9)}", self._rng.choice(shapes))
            else:
                event = self._event(self._rng.choice(tracks))
                yield self._entry(event, _json(event))

    def send(self, entries: Iterable[Entry]) -> None:
        """Produce events as ``draw`` gives them."""
        for entry in entries:
            self._produce(entry)

    def flush(self, timeout_seconds: float = 120.0) -> None:
        """Wait until Kafka has every event, and raise if it refused any."""
        producers = (self._producer, *self._packing_producers.values())
        left = sum(producer.flush(timeout_seconds) for producer in producers)
        if left or self._failures:
            raise RuntimeError(f"{left} inputs unsent, failures {self._failures[:3]}")
        if self._unplaced:
            self._find_places()

    def _spoilt(self, track_id: str, shape: Poison) -> Entry:
        reason, spoil = shape
        event = self._event(track_id)
        return Entry(event["event_id"], track_id, spoil(event, self.folder), "dead_letter", reason)

    def _entry(self, event: dict[str, Any], value: bytes, **changes: Any) -> Entry:
        digest = self._digests.get(event["audio_uri"])
        return Entry(event["event_id"], event["track_id"], value, audio_sha256=digest, **changes)

    def _event(self, track_id: str, *, audio_uri: str | None = None) -> dict[str, Any]:
        return {
            "schema_version": 1,
            "event_id": f"event-{next(self._numbers):07d}",
            "event_type": "track_played",
            "occurred_at": datetime.now(UTC).isoformat(),
            "track_id": track_id,
            "audio_uri": audio_uri or f"file://{self.folder / track_id}.wav",
        }

    def _emit(
        self,
        event: dict[str, Any],
        *,
        expected: Literal["emotion", "dead_letter", "either"] = "emotion",
        reason: str | None = None,
        key: bytes | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
        may_be_stripped: bool = False,
        packed: Literal["gzip", "zstd"] | None = None,
        **fields: Any,
    ) -> None:
        self._produce(
            self._entry(
                event, _json(event, **fields), expected=expected, reason=reason, key=key, headers=tuple(headers),
                may_be_stripped=may_be_stripped,
            ),
            self._packing_producers[packed] if packed else self._producer,
        )  # fmt: skip

    def _produce(self, entry: Entry, producer: Producer | None = None) -> None:
        producer = producer or self._producer
        entry = replace(entry, sent_at=time.time())
        key = entry.track_id.encode() if entry.key is None else entry.key

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self._failures.append(error)
                return
            # A broker that has a message already, from an attempt whose answer was lost, does not say where.
            if message.offset() is None:
                self._unplaced.append(entry)
            else:
                self._enter(entry, message)

        while True:
            try:
                producer.produce(
                    TRACK_EVENTS, entry.value, key, headers=cast(Any, list(entry.headers)), on_delivery=delivered
                )
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)

    def _enter(self, entry: Entry, message: Message) -> None:
        partition, offset = message.partition(), message.offset()
        assert partition is not None and offset is not None, "a message in Kafka has a place"
        self.book[entry.event_id] = replace(entry, partition=partition, offset=offset)

    def _find_places(self) -> None:
        """Look the messages up of which the broker did not say where they are."""
        unplaced = {entry.value: entry for entry in self._unplaced}
        for message in read_topic(self._bootstrap, TRACK_EVENTS):
            if (entry := unplaced.pop(message.value(), None)) is not None:
                self._enter(entry, message)
        if unplaced:
            raise RuntimeError(f"{len(unplaced)} inputs that Kafka took are not there")
        self._unplaced.clear()


class Load:
    """A steady stream from a thread of its own, as a context manager; every event is in Kafka when it ends.

    Parameters
    ----------
    platform : Platform
        Produces and keeps the book; not to be used otherwise meanwhile.
    tracks : sequence of str
        Tracks played at random; or locations of audio, for tracks never heard before.
    per_second : float
        Events a second.
    new_share, poison_share : float
        Share of the events that play a track never heard before (the audio of one of ``tracks`` under a new id), and
        share that is poison.
    limit : int, optional
        Ends by itself after so many events.
    """

    def __init__(
        self,
        platform: Platform,
        tracks: Sequence[str],
        *,
        per_second: float,
        new_share: float = 0.0,
        poison_share: float = 0.0,
        limit: int = 10**9,
    ) -> None:
        self.platform, self.tracks, self.per_second = platform, tracks, per_second
        self.new_share, self.poison_share, self.limit = new_share, poison_share, limit
        self.sent = 0
        self._rng = random.Random(1)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self.finish()

    def finish(self, timeout_seconds: float = 600.0) -> None:
        """Wait until the limit is reached (or the load is stopped) and Kafka has every event."""
        self._thread.join(timeout_seconds)
        self.platform.flush()

    def _run(self) -> None:
        begun = time.monotonic()
        while self.sent < self.limit and not self._stop.wait(0.02):
            due = min(self.limit, int((time.monotonic() - begun) * self.per_second))
            for _ in range(self.sent, due):
                self._send()
            self.sent = max(self.sent, due)

    def _send(self) -> None:
        drawn = self._rng.random()
        track = self._rng.choice(self.tracks)
        if drawn < self.new_share:
            uri = track if "://" in track else f"file://{self.platform.folder / track}.wav"
            self.platform.play(f"fresh-{self._rng.randrange(10**12)}", audio_uri=uri)
        elif drawn < self.new_share + self.poison_share:
            self.platform.mix(self.tracks, 1, poison_share=1.0)
        else:
            self.platform.play(track)


def tracks(platform: Platform, count: int, *, first: int = 0) -> list[str]:
    """Give ``count`` tracks of the catalogue from number ``first`` on."""
    return [platform.track(number) for number in range(first, first + count)]


def _json(event: dict[str, Any], **changes: Any) -> bytes:
    return json.dumps(event | changes).encode()


def _spoiled(event: dict[str, Any], uri: str) -> bytes:
    return _json(event, audio_uri=uri)


def _file(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    if not path.exists():
        path.write_bytes(content)
    return path


def _piece(folder: Path, name: str, seconds: float, *, volume: float = 0.8) -> Path:
    path = folder / name
    return path if path.exists() else write_track(path, 0, seconds=seconds, volume=volume)


def event_ids(entries: Iterable[Entry]) -> set[str]:
    """Give the ids of entries."""
    return {entry.event_id for entry in entries}
