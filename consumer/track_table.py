"""The table of known tracks: one packed record per track, kept per partition of ``track-emotions``.

About 220 bytes a track with the key and the dictionary, 300 with eight fragments. The JSON of the tracks played lately
is kept beside it.
"""

from typing import Final

from consumer.track_record import KnownTrack, RecordCodec

# Rendered judgements kept: about 700 bytes each.
_RENDERED_LIMIT: Final = 20_000


class TrackTable:
    """Records of the tracks in the partitions this worker holds.

    Used by one thread. ``len()`` is the number of tracks.
    """

    def __init__(self) -> None:
        self._partitions: dict[int, dict[bytes, bytes]] = {}
        self._codec = RecordCodec()
        self._rendered: dict[bytes, KnownTrack] = {}

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

    def drop(self, partition: int) -> None:
        """Forget a partition's tracks.

        Parameters
        ----------
        partition : int
            Partition of ``track-emotions``; one without a table is fine.
        """
        self._partitions.pop(partition, None)

    def apply(self, partition: int, key: bytes | None, value: bytes | None) -> bool:
        """Take in one message of ``track-emotions``.

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
            tracks.pop(key, None)
            return True
        try:
            tracks[key] = self._codec.pack(value)
        except ValueError:  # msgspec's and Unicode's errors among them
            return False
        return True

    def get(self, partition: int, track_id: str) -> KnownTrack | None:
        """Look a track up.

        Parameters
        ----------
        partition : int
            Partition the event was read from.
        track_id : str
            The event's.

        Returns
        -------
        KnownTrack or None
            None for a track never judged.
        """
        tracks = self._partitions.get(partition)
        if tracks is None:
            return None
        packed = tracks.get(track_id.encode())
        if packed is None:
            return None
        # Keyed by the record itself, whose hash Python keeps: a new record misses, and no update can be forgotten.
        known = self._rendered.get(packed)
        if known is None:
            if len(self._rendered) >= _RENDERED_LIMIT:
                self._rendered.clear()
            known = self._rendered[packed] = self._codec.render(packed)
        return known
