"""What the stream's bench is held to: each target beside what was measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Target:
    """One figure that is aimed at.

    Parameters
    ----------
    what : str
        The figure, as the table shows it.
    bound : {'at least', 'at most'}
        Which side of ``aimed_at`` is right.
    aimed_at, measured : float
        In ``unit``.
    unit : str
        Follows both numbers.
    """

    what: str
    bound: Literal["at least", "at most"]
    aimed_at: float
    measured: float
    unit: str

    @property
    def is_met(self) -> bool:
        """Whether the figure is on the right side."""
        return self.measured >= self.aimed_at if self.bound == "at least" else self.measured <= self.aimed_at


def print_targets(targets: Sequence[Target]) -> bool:
    """Print the table; give whether every target is met."""
    width = max((len(target.what) for target in targets), default=0)
    print(f"\n  {'':{width}}  {'aimed at':>22}  {'measured':>14}")
    for target in targets:
        aimed = f"{target.bound} {target.aimed_at:g} {target.unit}"
        print(
            f"  {target.what:{width}}  {aimed:>22}  {f'{target.measured:,.3g} {target.unit}':>14}  "
            f"{'PASS' if target.is_met else 'SHORT'}",
            flush=True,
        )
    return all(target.is_met for target in targets)
