"""The table of known tracks: one packed record per track, kept per partition of ``track-emotions``.

About 220 bytes a track with the key and the dictionary, 300 with eight fragments. The JSON of the tracks played lately
is kept beside it, and so is what people said of a track: no newer analysis replaces that.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final

import msgspec

from consumer.corrections import Correction, correct, correction_of
from consumer.events import DecisionLabel, TrackEmotion
from consumer.track_record import KnownTrack, RecordCodec, Shape

# Rendered judgements kept: about 700 bytes each.
_RENDERED_LIMIT: Final = 20_000

_decode: Final = msgspec.json.Decoder(TrackEmotion).decode


class TrackTable:
    """Records of the tracks in the partitions this worker holds.

    Used by one thread, but for ``find`` and ``corrections``. ``len()`` is the number of tracks.
    """

    def __init__(self) -> None:
        self._partitions: dict[int, dict[bytes, bytes]] = {}
        self._shapes: dict[int, Counter[Shape]] = {}
        self._codec = RecordCodec()
        self._rendered: dict[bytes, KnownTrack] = {}
        self._corrections: dict[int, dict[bytes, Correction]] = {}
        self._overruling: dict[int, dict[bytes, TrackEmotion]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._partitions.values()))

    @property
    def partitions(self) -> frozenset[int]:
        """Partitions that have a table."""
        return frozenset(self._partitions)

    def open(self, partition: int) -> None:
        """Begin an empty table for a partition, unless there is one.

        Parameters
        ----------
        partition : int
            Partition of ``track-emotions``.
        """
        self._partitions.setdefault(partition, {})
        self._shapes.setdefault(partition, Counter())
        self._corrections.setdefault(partition, {})
        self._overruling.setdefault(partition, {})

    def drop(self, partition: int) -> None:
        """Forget a partition's tracks.

        Parameters
        ----------
        partition : int
            Partition of ``track-emotions``; one without a table is fine.
        """
        for tables in (self._partitions, self._corrections, self._overruling, self._shapes):
            tables.pop(partition, None)

    def apply(self, partition: int, key: bytes | None, value: bytes | None) -> bool:
        """Take in one message of ``track-emotions``.

        A record that would replace a person's word, or a newer one by an older, is taken in with that word put into
        it, and given out by ``overruling``.

        Parameters
        ----------
        partition : int
            Where it was read; a partition without a table ignores it.
        key : bytes or None
            The track id.
        value : bytes or None
            A TrackEmotion; None removes the track.

        Returns
        -------
        bool
            False if the message is no TrackEmotion and was left out.
        """
        tracks = self._partitions.get(partition)
        if tracks is None:
            return True
        if key is None:
            return False
        if value is None:
            if (removed := tracks.pop(key, None)) is not None:
                self._shapes[partition][self._codec.shape(removed)] -= 1
            self._corrections[partition].pop(key, None)
            self._overruling[partition].pop(key, None)
            return True
        try:
            packed = self._codec.pack(value)
            if key in self._corrections[partition] or self._codec.shape(packed).is_corrected:
                packed = self._settle(partition, key, _decode(value))
        except ValueError:  # msgspec's and Unicode's errors among them
            return False
        shapes, before = self._shapes[partition], tracks.get(key)
        if before is not None:
            shapes[self._codec.shape(before)] -= 1
        shapes[self._codec.shape(packed)] += 1
        tracks[key] = packed
        return True

    def catalogue(self) -> "Counter[DecisionLabel]":
        """Count the tracks by what the catalogue may do with the model's word; those a person labelled are left out.

        Returns
        -------
        Counter of DecisionLabel
            Tracks.
        """
        tracks: Counter[DecisionLabel] = Counter()
        for shapes in self._shapes.values():
            for shape, number in shapes.items():
                if not shape.is_corrected:
                    tracks[shape.catalogue] += number
        return tracks

    def _settle(self, partition: int, key: bytes, record: TrackEmotion) -> bytes:
        """Let the newest word of a person stand."""
        corrections, overruling = self._corrections[partition], self._overruling[partition]
        said, stands = correction_of(record), corrections.get(key)
        if stands is not None and (said is None or said.at < stands.at):
            record = correct(record, stands)
            overruling[key] = record
        else:
            overruling.pop(key, None)
        packed = self._codec.pack(msgspec.json.encode(record))
        latest = correction_of(record)
        if latest is not None:
            corrections[key] = latest
        return packed

    def overruling(self, partitions: Iterable[int]) -> list[TrackEmotion]:
        """Give the records that must be published so that a person's word stands, until told that they are.

        Parameters
        ----------
        partitions : iterable of int
            Those whose table is complete: before that, the word may well come again itself.

        Returns
        -------
        list of TrackEmotion
            Corrected records.
        """
        return [record for partition in partitions for record in self._overruling.get(partition, {}).values()]

    def overruled(self, partitions: Iterable[int]) -> None:
        """Take note that what ``overruling`` gave of these partitions is published.

        Parameters
        ----------
        partitions : iterable of int
            As given to ``overruling``, with no message taken in since.
        """
        for partition in partitions:
            self._overruling.get(partition, {}).clear()

    def find(self, partition: int, track_id: str) -> tuple[KnownTrack, Correction | None] | None:
        """Look a track up, from any thread; nothing is kept.

        Parameters
        ----------
        partition : int
            As in ``get``.
        track_id : str
            The track.

        Returns
        -------
        (KnownTrack, Correction or None) or None
            None for a track never judged, or a partition without a table.
        """
        key = track_id.encode()
        packed = self._partitions.get(partition, {}).get(key)
        if packed is None:
            return None
        return self._codec.render(packed), self.correction(partition, track_id)

    def correction(self, partition: int, track_id: str) -> Correction | None:
        """Give what a person said of a track.

        Parameters
        ----------
        partition, track_id : int, str
            As in ``find``.

        Returns
        -------
        Correction or None
            None where nobody did.
        """
        return self._corrections.get(partition, {}).get(track_id.encode())

    def corrections(self) -> list[Correction]:
        """Give what people said of the tracks in this table, from any thread.

        Returns
        -------
        list of Correction
            In no particular order.
        """
        # list() of a dictionary is one step of the interpreter: the thread that owns it cannot come between.
        return [said for part in list(self._corrections.values()) for said in list(part.values())]

    def get(self, partition: int, key: bytes) -> KnownTrack | None:
        """Look a track up.

        Parameters
        ----------
        partition : int
            Partition the event was read from.
        key : bytes
            The event's track id, as it is the record's key.

        Returns
        -------
        KnownTrack or None
            None for a track never judged.
        """
        tracks = self._partitions.get(partition)
        if tracks is None:
            return None
        packed = tracks.get(key)
        if packed is None:
            return None
        # Keyed by the record itself, whose hash Python keeps: a new record misses, and no update can be forgotten.
        known = self._rendered.get(packed)
        if known is None:
            if len(self._rendered) >= _RENDERED_LIMIT:
                self._rendered.clear()
            known = self._rendered[packed] = self._codec.render(packed)
        return known
