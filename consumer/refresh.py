"""How fast known tracks are heard again after a model change."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

# A popular track is played again before its new record arrives: not sent twice within this time.
_REPEAT_SECONDS: Final = 600.0
_REMEMBERED_TRACKS: Final = 50_000


class RefreshBudget:
    """A token bucket for re-analyses, and the memory of those under way.

    Parameters
    ----------
    per_second : float
        Rate, also the largest burst (at least one); 0 for none.
    clock : callable, optional
        Monotonic seconds.
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_second
        self._clock = clock
        self._burst = max(1.0, per_second)
        self._tokens = self._burst
        self._filled_at = clock()
        self._sent: OrderedDict[str, float] = OrderedDict()

    def take(self, track_id: str) -> bool:
        """Ask whether a track may be sent for re-analysis now.

        Parameters
        ----------
        track_id : str
            The track.

        Returns
        -------
        bool
            True at most ``per_second`` times a second, and once in ten minutes for one track.
        """
        if self._rate <= 0:
            return False
        now = self._clock()
        sent_at = self._sent.get(track_id)
        if sent_at is not None and now - sent_at < _REPEAT_SECONDS:
            return False
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        self._sent[track_id] = now
        self._sent.move_to_end(track_id)
        if len(self._sent) > _REMEMBERED_TRACKS:
            self._sent.popitem(last=False)
        return True
