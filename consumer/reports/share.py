"""Shares with their uncertainty: so many of so many, and the interval in which the true share probably lies.

Wilson (1927) for one share, Newcombe (1998, method 10) for the difference of two independent ones: both stay within
their range and hold their 95 % for small counts.
"""

import math
from dataclasses import dataclass
from typing import Final

_Z: Final = 1.959964


@dataclass(frozen=True, slots=True)
class Share:
    """``part`` of ``whole``.

    Parameters
    ----------
    part, whole : float
        0 <= part <= whole. Prometheus extrapolates its increases, so that counts need not be whole.
    """

    part: float
    whole: float

    @property
    def value(self) -> float | None:
        """The share in [0, 1]; None of nothing."""
        return self.part / self.whole if self.whole > 0 else None

    def interval(self) -> tuple[float, float]:
        """Give the 95 % interval; (0, 1) of nothing."""
        if self.whole <= 0:
            return 0.0, 1.0
        p, n, z = self.part / self.whole, self.whole, _Z
        # Extrapolated counts can exceed their whole by a rounding error.
        p = min(max(p, 0.0), 1.0)
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
        return max(0.0, middle - half), min(1.0, middle + half)

    def minus(self, other: "Share") -> tuple[float, float, float] | None:
        """Give the difference to an independent share and its 95 % interval; None if either is of nothing."""
        if self.value is None or other.value is None:
            return None
        (low, high), (other_low, other_high) = self.interval(), other.interval()
        difference = self.value - other.value
        return (
            difference,
            difference - math.hypot(self.value - low, other_high - other.value),
            difference + math.hypot(high - self.value, other.value - other_low),
        )


def bounded(part: float | None, whole: float) -> Share | None:
    """Make a share of two extrapolated counts, of which the part may seem larger; None without a part."""
    return None if part is None else Share(min(part, whole), whole)
