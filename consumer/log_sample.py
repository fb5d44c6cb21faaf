"""How many lines of one kind a second's log may hold; what it passes over is counted, and told with the next line."""

import time
from collections.abc import Callable


class LogSample:
    """At most so many lines in a second.

    Used by one thread.

    Parameters
    ----------
    per_second : int
        Most lines, >= 1.
    clock : callable, optional
        Monotonic seconds.
    """

    def __init__(self, per_second: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._clock = clock
        self._second = float("-inf")
        self._lines = 0
        self._passed_over = 0

    def take(self) -> dict[str, object] | None:
        """Ask whether a line may be written now.

        Returns
        -------
        dict or None
            Facts to add to the line: ``passed_over``, how many were not written since the last one, where there are
            any. None: write nothing.
        """
        now = self._clock()
        if now - self._second >= 1.0:
            self._second, self._lines = now, 0
        if self._lines == self._per_second:
            self._passed_over += 1
            return None
        self._lines += 1
        passed_over, self._passed_over = self._passed_over, 0
        return {"passed_over": passed_over} if passed_over else {}
