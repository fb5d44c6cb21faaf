"""How fast the machine works meanwhile, by a little work of always the same size.

What shares a physical core with a virtual one is not ours to see: the same work took 16 or 25 µs of it, for a tenth of
a second or for seconds, and the kernel calls none of that stolen. It was two thirds of the variance of equal turns.
"""

import json
import multiprocessing
import os
import time
from collections.abc import MutableSequence
from typing import Final, Self

from tests.integration.processes import die_with_parent

_DOCUMENT: Final = json.dumps({"numbers": list(range(50)), "text": "x" * 100, "more": [1.5] * 20})
# Some 100 µs of work: 3 % of each core.
_TIMES: Final = 12
_EVERY_SECONDS: Final = 0.004

Mark = list[tuple[float, float]]


class Pace:
    """Works a little on every core, again and again, and tells how long that took.

    A context manager; the work goes on from its beginning to its end.
    """

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        cores = sorted(os.sched_getaffinity(0))
        # Seconds worked and how often, by core.
        self._sums: list[MutableSequence[float]] = [context.Array("d", 2, lock=False) for _ in cores]
        self._probes = [
            context.Process(target=_work, args=(core, sums), daemon=True)
            for core, sums in zip(cores, self._sums, strict=True)
        ]

    def __enter__(self) -> Self:
        for probe in self._probes:
            probe.start()
        while not all(count for _, count in self.mark()):
            assert all(probe.exitcode is None for probe in self._probes), "a probe has ended"
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        for probe in self._probes:
            probe.kill()
            probe.join()

    def mark(self) -> Mark:
        """Give what was done so far, for ``since``."""
        return [(sums[0], sums[1]) for sums in self._sums]

    def since(self, mark: Mark) -> float:
        """Give the processor time, in seconds, of one piece of work since then; the mean of the cores."""
        pieces = [
            (worked - before) / (count - counted)
            for (worked, count), (before, counted) in zip(self.mark(), mark, strict=True)
        ]
        return sum(pieces) / len(pieces)


def _work(core: int, sums: MutableSequence[float]) -> None:
    die_with_parent()
    os.sched_setaffinity(0, {core})
    while True:
        time.sleep(_EVERY_SECONDS)
        # What was asleep finds its memory in no cache.
        for _ in range(3):
            json.loads(_DOCUMENT)
        begun = time.thread_time()
        for _ in range(_TIMES):
            json.loads(_DOCUMENT)
        sums[0] += time.thread_time() - begun
        sums[1] += 1
