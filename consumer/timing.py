"""When a stage of an analysis ran: measured where it ran, told across processes."""

from collections.abc import Iterable
from typing import NamedTuple


class Timing(NamedTuple):
    """One run of one stage.

    Parameters
    ----------
    stage : str
        fetch, decode, extract or predict.
    start_ns, end_ns : int
        Nanoseconds since the epoch; their difference comes from a clock that is never set.
    """

    stage: str
    start_ns: int
    end_ns: int


def stage_seconds(timings: Iterable[Timing]) -> dict[str, float]:
    """Sum the time spent in each stage.

    Parameters
    ----------
    timings : iterable of Timing
        In any order; a stage may occur several times.

    Returns
    -------
    dict of str to float
        Seconds by stage, in order of first occurrence.
    """
    seconds: dict[str, float] = {}
    for timing in timings:
        seconds[timing.stage] = seconds.get(timing.stage, 0.0) + (timing.end_ns - timing.start_ns) / 1e9
    return seconds
