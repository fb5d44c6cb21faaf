"""What a rhythm's page holds, and how its numbers are written.

Sections carry tables, charts, what is missing, and the sources of their figures. A number that was not measured is the
words ``not measured``: never a zero, never a blank.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import jinja2
from markupsafe import Markup

from consumer.reports.prometheus import Answers
from consumer.reports.share import Share

MISSING: Final = "not measured"
# Keeps a number and its unit on one line of a narrow table.
_NB: Final = "\u00a0"
# Below this share of a period, counts are called lower bounds.
_ENOUGH: Final = 0.99
# Ten-minute steps of a day; the query is in ``COVERAGE``.
_STEPS_A_DAY: Final = 144

# Asked by every rhythm: how much of the period the worker was scraped at all.
COVERAGE: Final = {"coverage": 'count_over_time((count(emotion_events_consumed_total{lane="known"}) > bool 0)[1d:10m])'}


@dataclass(frozen=True, slots=True)
class Card:
    """One figure for a reader in a hurry: its value with unit, and what it is of."""

    value: str
    label: str


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under heads, which name units. Columns but the first are numbers, unless ``text``."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    text: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing, empty where there was nothing to draw, and what it shows, with units."""

    caption: str
    svg: Markup


@dataclass(frozen=True, slots=True)
class Section:
    """A question and its answer.

    Parameters
    ----------
    title, lead : str
        The question, and how to read the answer.
    tables, charts : sequence
        The answer.
    missing : sequence of str
        What could not be said, and what it would take.
    sources : sequence of (str, str)
        What a figure is, and the query or file it came from.
    """

    title: str
    lead: str = ""
    tables: Sequence[Table] = ()
    charts: Sequence[Chart] = ()
    missing: Sequence[str] = ()
    sources: Sequence[tuple[str, str]] = ()

    @property
    def drawn(self) -> list[Chart]:
        """The charts that show anything: one without a single value is left out, not drawn empty."""
        return [chart for chart in self.charts if chart.svg]


@dataclass(frozen=True, slots=True)
class Page:
    """A report: a heading, the period, the few figures to remember, the sections, and notes on the files read."""

    title: str
    start: datetime
    until: datetime
    cards: Sequence[Card]
    sections: Sequence[Section]
    covered: float | None
    notes: Sequence[str] = ()

    @property
    def complete(self) -> bool:
        """Whether the worker was measured for practically the whole period."""
        return self.covered is not None and self.covered >= _ENOUGH


def render(page: Page, origin: str) -> str:
    """Write the page.

    Parameters
    ----------
    page : Page
    origin : str
        Which Prometheus was asked, and when.

    Returns
    -------
    str
        HTML that loads no other file and asks no host.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("consumer.reports"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("rhythm.html").render(title=page.title, page=page, origin=origin, missing=MISSING)


def covered(answers: Answers) -> float | None:
    """Give the share of the period in which at least one worker was scraped; None if never."""
    steps = answers.total("coverage")
    return None if steps is None else min(1.0, steps / (_STEPS_A_DAY * len(answers.days)))


def sources(answers: Answers, **names: str) -> list[tuple[str, str]]:
    """Pair what figures are with their PromQL: ``sources(answers, consumed="events taken")``."""
    return [(what, answers.queries[name]) for name, what in names.items()]


def count(value: float | None) -> str:
    """Write a count: ``1,204``."""
    return MISSING if value is None else f"{value:,.0f}"


def number(value: float | None, digits: int = 2, unit: str = "") -> str:
    """Write a number to so many digits after the point."""
    return MISSING if value is None else f"{value:,.{digits}f}{unit}"


def percent(value: float | None, digits: int = 1) -> str:
    """Write a share in [0, 1]; a share just below 100 % never rounds to it, nor one just above 0 to that."""
    if value is None:
        return MISSING
    least = 10.0**-digits
    if 0 < value * 100 < least / 2:
        return f"<{_NB}{least:.{digits}f}{_NB}%"
    if 100 - least / 2 < value * 100 < 100:
        return f">{_NB}{100 - least:.{digits}f}{_NB}%"
    return f"{100 * value:.{digits}f}{_NB}%"


def with_interval(share: Share | None) -> str:
    """Write a share and its 95 % interval, in whole percent as such an interval deserves: ``62 % (52 to 71)``."""
    if share is None or share.value is None:
        return MISSING
    low, high = share.interval()
    return f"{percent(share.value, digits=0)} ({100 * low:.0f} to {100 * high:.0f})"


def seconds(value: float | None) -> str:
    """Write a duration to two or three figures: ``4.2 ms``, ``1.3 s``."""
    if value is None:
        return MISSING
    if math.isinf(value):
        return "beyond 300 s"
    return f"{1000 * value:.3g}{_NB}ms" if value < 1 else f"{value:.3g}{_NB}s"
