"""Which events may be acknowledged: those whose outcome is safe, strictly in the order of their offsets.

Faust forgets this as soon as more than one event is in flight (faust-streaming #606): it commits past unfinished
offsets. So the new lane acknowledges an event only when every event before it in its partition has its outcome.
"""

from collections import deque
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

Partition = TypeVar("Partition", bound=Hashable)
Token = TypeVar("Token")


class _Entry(Generic[Token]):
    __slots__ = ("is_done", "offset", "token")

    def __init__(self, offset: int, token: Token) -> None:
        self.offset = offset
        self.token = token
        self.is_done = False


class AcknowledgementOrder(Generic[Partition, Token]):
    """Events in flight, by partition, in the order of their offsets.

    A token is whatever acknowledges the event (a Faust event). ``len()`` is the number of events in flight.
    """

    def __init__(self) -> None:
        self._entries: dict[Partition, deque[_Entry[Token]]] = {}
        self._by_offset: dict[tuple[Partition, int], _Entry[Token]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._entries.values()))

    def count(self, partition: Partition) -> int:
        """Count the events of one partition in flight.

        Parameters
        ----------
        partition : hashable
            Which.

        Returns
        -------
        int
            How many.
        """
        return len(self._entries.get(partition, ()))

    def begin(self, partition: Partition, offset: int, token: Token) -> bool:
        """Take an event in.

        Parameters
        ----------
        partition : hashable
            Where it was read.
        offset : int
            Its offset.
        token : object
            Given back once it may be acknowledged.

        Returns
        -------
        bool
            False if the event, or one after it, is in flight already: it was delivered twice and must be ignored.
        """
        entries = self._entries.setdefault(partition, deque())
        if entries and offset <= entries[-1].offset:
            return False
        entry = _Entry(offset, token)
        entries.append(entry)
        self._by_offset[partition, offset] = entry
        return True

    def finish(self, partition: Partition, offset: int) -> list[Token]:
        """Note that an event's outcome is safe.

        Parameters
        ----------
        partition : hashable
            Where it was read.
        offset : int
            Its offset; one that is not in flight (its partition was revoked) is ignored.

        Returns
        -------
        list
            Tokens that may now be acknowledged, in the order of their offsets; often none.
        """
        entry = self._by_offset.get((partition, offset))
        if entry is None:
            return []
        entry.is_done = True
        entries, ready = self._entries[partition], []
        while entries and entries[0].is_done:
            first = entries.popleft()
            del self._by_offset[partition, first.offset]
            ready.append(first.token)
        return ready

    def revoke(self, partitions: Iterable[Partition]) -> None:
        """Forget the events of partitions that are no longer ours; they will be delivered again to whoever has them.

        Parameters
        ----------
        partitions : iterable
            Those revoked.
        """
        for partition in partitions:
            for entry in self._entries.pop(partition, ()):
                del self._by_offset[partition, entry.offset]

    def is_in_flight(self, partition: Partition, offset: int) -> bool:
        """Tell whether an event was taken in and is neither acknowledged nor revoked.

        Parameters
        ----------
        partition : hashable
            Where it was read.
        offset : int
            Its offset.

        Returns
        -------
        bool
            Whether it is.
        """
        return (partition, offset) in self._by_offset

    @property
    def has_gaps(self) -> bool:
        """Whether a finished event waits for one before it: if the worker stopped now, its outcome would come twice."""
        # Finished events at the front are gone at once: any that is left has an unfinished one before it.
        return any(entry.is_done for entries in self._entries.values() for entry in entries)

    def must_finish(self, partition: Partition, offset: int) -> bool:
        """Tell whether an unfinished event keeps a finished one behind it from being acknowledged.

        If the worker stopped now, that one's outcome would be given again after the restart.

        Parameters
        ----------
        partition : hashable
            Where it was read.
        offset : int
            Its offset.

        Returns
        -------
        bool
            Whether finishing this event would spare a duplicate.
        """
        entry = self._by_offset.get((partition, offset))
        if entry is None or entry.is_done:
            return False
        return any(later.is_done for later in self._entries[partition] if later.offset > offset)
