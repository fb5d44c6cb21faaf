"""Charts as inline SVG: lines over days, stacked columns over days, and bars. Every text is escaped by ``Markup``."""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from markupsafe import Markup

# Small enough that 12-pixel text is still read on a phone, where the drawing is 360 pixels wide.
_WIDTH: Final = 400
_HEIGHT: Final = 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 392, 12, 180
COLOURS: Final = ("var(--one)", "var(--two)", "var(--three)", "var(--four)")
EMOTION_COLOURS: Final = {name: f"var(--{name})" for name in ("relax", "happy", "sad", "angry")}

Daily = Mapping[str, Sequence[float | None]]


def lines(
    days: Sequence[datetime], series: Daily, *, unit: str, limit: tuple[float, str] | None = None, log: bool = False
) -> Markup:
    """Draw one line for each series; a missing day breaks it.

    Parameters
    ----------
    days : sequence of datetime
        The end of each day.
    series : mapping of str to sequence of float or None
        At most four.
    unit : str
        Of the values, such as ``" s"``.
    limit : tuple of (float, str), optional
        A value to draw as a dashed line, and its name.
    log : bool
        Draw values > 0 on a logarithmic scale.

    Returns
    -------
    Markup
        Empty without any value.
    """
    shown = [value for values in series.values() for value in values if value is not None and math.isfinite(value)]
    if not shown:
        return Markup("")
    shown += [limit[0]] if limit else []
    ticks = _decades([value for value in shown if value > 0] or [1.0]) if log else _ticks(max(shown))

    def y(value: float) -> float:
        place = math.log(max(value, ticks[0]) / ticks[0]) / math.log(ticks[-1] / ticks[0]) if log else value / ticks[-1]
        return _BOTTOM - (_BOTTOM - _TOP) * min(place, 1.0)

    parts = [_grid(ticks, y, unit), _dates(days)]
    if limit:
        parts.append(
            Markup(
                '<line x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}" stroke="var(--soft)" stroke-dasharray="5 4"/>'
            ).format(_LEFT, _RIGHT, y(limit[0]), y(limit[0]))
        )
        parts.append(
            Markup('<text x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(_RIGHT, y(limit[0]) + 14, limit[1])
        )
    for colour, (name, values) in zip(COLOURS, series.items(), strict=False):
        for run in _runs(values):
            points = " ".join(f"{_x(day, len(days)):.1f},{y(value):.1f}" for day, value in run)
            parts.append(
                Markup('<polyline points="{}" fill="none" stroke="{}" stroke-width="2"/>').format(points, colour)
            )
            # A title on each point: hovering tells the value.
            parts += [
                Markup(
                    '<circle cx="{:.1f}" cy="{:.1f}" r="{}" fill="{}"><title>{}, {}: {:,.4g}{}</title></circle>'
                ).format(
                    _x(day, len(days)),
                    y(value),
                    3 if len(days) <= 31 else 1.6,
                    colour,
                    name,
                    _day(days[day]),
                    value,
                    unit,
                )
                for day, value in run
            ]
    legend = dict(zip(series, COLOURS, strict=False)) if len(series) > 1 else {}
    return _svg(parts, legend)


def columns(
    days: Sequence[datetime], series: Daily, *, unit: str = "", colours: Mapping[str, str] | None = None
) -> Markup:
    """Draw a stacked column for each day; a day without any measurement is hatched.

    Parameters
    ----------
    days : sequence of datetime
        The end of each day.
    series : mapping of str to sequence of float or None
        From the bottom up; >= 0.
    unit : str
        Of the values.
    colours : mapping of str to str, optional
        By series.

    Returns
    -------
    Markup
        Empty without any value.
    """
    if all(value is None for values in series.values() for value in values):
        return Markup("")
    paint = colours or dict(zip(series, COLOURS, strict=False))
    heights = [sum(values[day] or 0.0 for values in series.values()) for day in range(len(days))]
    ticks = _ticks(max(heights, default=0.0))

    def y(value: float) -> float:
        return _BOTTOM - (_BOTTOM - _TOP) * value / ticks[-1]

    parts = [_grid(ticks, y, unit), _dates(days)]
    width = 0.82 * (_RIGHT - _LEFT) / len(days)
    for day, end in enumerate(days):
        left = _x(day, len(days)) - width / 2
        if all(values[day] is None for values in series.values()):
            parts.append(
                Markup(
                    '<rect x="{:.1f}" y="{}" width="{:.1f}" height="{}" class="gap"><title>{}: {}</title></rect>'
                ).format(left, _TOP, width, _BOTTOM - _TOP, _day(end), "not measured")
            )
            continue
        foot = 0.0
        for name, values in series.items():
            value = values[day] or 0.0
            parts.append(
                Markup(
                    '<rect x="{:.1f}" y="{:.2f}" width="{:.1f}" height="{:.2f}" fill="{}"><title>{}</title></rect>'
                ).format(
                    left,
                    y(foot + value),
                    width,
                    y(foot) - y(foot + value),
                    paint[name],
                    f"{name}, {_day(end)}: {value:,.0f}{unit}",
                )
            )
            foot += value
    return _svg(parts, {name: paint[name] for name in series} if len(series) > 1 else {})


def bars(values: Mapping[str, float], *, digits: int, unit: str = "", limit: float | None = None) -> Markup:
    """Draw one horizontal bar for each value, the name above it.

    Parameters
    ----------
    values : mapping of str to float
        >= 0.
    digits : int
        After the point.
    unit : str
        Of the values.
    limit : float, optional
        Drawn as a line; bars beyond it stand out.

    Returns
    -------
    Markup
        Empty without any value.
    """
    if not values:
        return Markup("")
    row, most = 34, max([*values.values(), limit or 0.0]) or 1.0
    scale = (_WIDTH - 70) / most
    parts = []
    if limit is not None:
        parts.append(
            Markup(
                '<line x1="{0:.1f}" x2="{0:.1f}" y1="0" y2="{1}" stroke="var(--ink)" stroke-dasharray="3 3"/>'
            ).format(limit * scale, row * len(values))
        )
    for place, (name, value) in enumerate(values.items()):
        top = row * place
        colour = "var(--angry)" if limit is not None and value > limit else "var(--one)"
        parts.append(
            Markup('<text x="0" y="{}">{}</text>').format(top + 12, name if len(name) < 60 else f"{name[:58]} …")
        )
        parts.append(
            Markup('<rect x="0" y="{}" width="{:.1f}" height="11" rx="2" fill="{}"/>').format(
                top + 17, max(value * scale, 1.0), colour
            )
        )
        parts.append(
            Markup('<text x="{:.1f}" y="{}" class="strong">{}</text>').format(
                max(value * scale, 1.0) + 5, top + 27, f"{value:,.{digits}f}{unit}"
            )
        )
    return Markup('<svg viewBox="0 0 {} {}" role="img">{}</svg>').format(
        _WIDTH, row * len(values), Markup("").join(parts)
    )


def _svg(parts: Sequence[Markup], legend: Mapping[str, str]) -> Markup:
    drawing = Markup('<svg viewBox="0 0 {} {}" role="img">{}</svg>').format(_WIDTH, _HEIGHT, Markup("").join(parts))
    names = Markup("").join(
        Markup('<span><i class="dot" style="background: {}"></i>{}</span>').format(colour, name)
        for name, colour in legend.items()
    )
    return drawing + (Markup('<p class="legend">{}</p>').format(names) if legend else Markup(""))


def _grid(ticks: Sequence[float], y: Callable[[float], float], unit: str) -> Markup:
    parts = [
        Markup(
            '<line x1="{0}" x2="{1}" y1="{2:.1f}" y2="{2:.1f}" stroke="var(--line)"/>'
            '<text x="{3}" y="{4:.1f}" text-anchor="end">{5}</text>'
        ).format(_LEFT, _RIGHT, y(tick), _LEFT - 5, y(tick) + 4, f"{_short(tick)}{unit}")
        for tick in ticks
    ]
    return Markup("").join(parts)


def _dates(days: Sequence[datetime]) -> Markup:
    every = max(1, math.ceil(len(days) / 7))
    parts = [
        Markup('<text x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
            _x(day, len(days)),
            _BOTTOM + 17,
            f"{_middle(days[day]):%d %b}" if every > 1 else f"{_middle(days[day]):%a %d}",
        )
        for day in range(0, len(days), every)
    ]
    return Markup("").join(parts)


def _x(day: int, days: int) -> float:
    return _LEFT + (_RIGHT - _LEFT) * (day + 0.5) / days


def _middle(end: datetime) -> datetime:
    # A day that ends at midnight is the one before; one that ends at noon is half of each, and goes by its middle too.
    return end - timedelta(hours=12)


def _day(end: datetime) -> str:
    return f"{_middle(end):%a %d %b}"


def _runs(values: Sequence[float | None]) -> list[list[tuple[int, float]]]:
    runs: list[list[tuple[int, float]]] = [[]]
    for day, value in enumerate(values):
        if value is None or not math.isfinite(value):
            runs.append([])
        else:
            runs[-1].append((day, value))
    return [run for run in runs if run]


def _ticks(most: float) -> list[float]:
    if most <= 0:
        return [0.0, 1.0]
    step = next(
        base * 10.0**power
        for power in range(math.floor(math.log10(most)) - 1, math.ceil(math.log10(most)) + 1)
        for base in (1, 2, 2.5, 5)
        if base * 10.0**power * 5 >= most * 0.999
    )
    return [step * number for number in range(math.ceil(most / step * 0.999) + 1)]


def _decades(values: Sequence[float]) -> list[float]:
    first, last = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return [10.0**exponent for exponent in range(first, max(last, first + 1) + 1)]


def _short(value: float) -> str:
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= size:
            scale = 1e3 if suffix == "k" else size
            return f"{value / scale:g}{suffix}"
    return f"{value:g}"
