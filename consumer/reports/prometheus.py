"""Asking Prometheus: each question once, answered for every day of a period.

A day's answer covers the 24 hours before its instant, so that the days of a period neither overlap nor leave a gap, and
a total is the sum of its days. What Prometheus has no samples for stays missing; it never becomes zero.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import msgspec
import urllib3

from consumer.errors import EmotionServiceError

_DAY_SECONDS: Final = 86_400
# Prometheus gives up on a query after two minutes by default; nothing is gained by waiting longer.
_TIMEOUT: Final = urllib3.Timeout(connect=10.0, read=150.0)


class PrometheusError(EmotionServiceError):
    """Prometheus cannot be reached, refuses a question, or answers something else than a matrix."""


@dataclass(frozen=True, slots=True)
class Series:
    """One label set's values.

    Parameters
    ----------
    labels : mapping of str to str
        Without the metric's name.
    values : tuple of float or None
        One for each day of the period, oldest first; None where nothing was measured.
    """

    labels: Mapping[str, str]
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class Answers:
    """What Prometheus said, by the name of the question.

    Parameters
    ----------
    days : tuple of datetime
        The end of each day, oldest first.
    queries : mapping of str to str
        The questions in PromQL, to be shown beside what was made of them.
    series : mapping of str to sequence of Series
        The answers; a question without any is missing or empty.
    """

    days: tuple[datetime, ...]
    queries: Mapping[str, str]
    series: Mapping[str, Sequence[Series]] = field(default_factory=dict)

    def daily(self, name: str, **labels: str) -> list[float | None]:
        """Sum the series of these labels, day by day; None on days without any."""
        chosen = self._chosen(name, labels)
        return [_sum(series.values[day] for series in chosen) for day in range(len(self.days))]

    def total(self, name: str, **labels: str) -> float | None:
        """Sum over days and over the series of these labels; None without any."""
        return _sum(self.daily(name, **labels))

    def last(self, name: str, **labels: str) -> float | None:
        """Give the newest value there is; None without any."""
        return next((value for value in reversed(self.daily(name, **labels)) if value is not None), None)

    def by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """Give the total of each value of one label, for those that were measured, largest first."""
        totals = {value: self.total(name, **labels, **{label: value}) for value in self.values_of(name, label)}
        measured = {value: total for value, total in totals.items() if total is not None}
        return dict(sorted(measured.items(), key=lambda item: -item[1]))

    def values_of(self, name: str, label: str) -> list[str]:
        """Give the values that a label takes, in order of appearance."""
        return list(dict.fromkeys(series.labels.get(label, "") for series in self.series.get(name, ())))

    def _chosen(self, name: str, labels: Mapping[str, str]) -> list[Series]:
        return [
            series
            for series in self.series.get(name, ())
            if all(series.labels.get(label) == value for label, value in labels.items())
        ]


class Prometheus:
    """A Prometheus server's HTTP API.

    Parameters
    ----------
    url : str
        Such as ``http://localhost:9090``; a user and password in it are sent as basic authentication and never shown.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise PrometheusError(f"expected Prometheus as http://host:port, got {_without_login(url)!r}")
        self.url = _without_login(url).rstrip("/")
        login, at, _ = parts.netloc.rpartition("@")
        self._headers = urllib3.make_headers(basic_auth=login) if at else {}
        self._pool = urllib3.PoolManager(timeout=_TIMEOUT, retries=False)

    def ask(self, queries: Mapping[str, str], until: datetime, days: int) -> Answers:
        """Ask every question for every day.

        Parameters
        ----------
        queries : mapping of str to str
            PromQL by name, each over the last day (``[1d]``).
        until : datetime
            End of the period, with a time zone.
        days : int
            Its length, > 0.

        Returns
        -------
        Answers

        Raises
        ------
        PrometheusError
            If the server cannot be reached, refuses a question, or is no Prometheus.
        """
        ends = tuple(until - timedelta(days=back) for back in reversed(range(days)))
        return Answers(ends, queries, {name: self._matrix(query, ends) for name, query in queries.items()})

    def _matrix(self, query: str, ends: tuple[datetime, ...]) -> list[Series]:
        fields = {
            "query": query,
            "start": str(ends[0].timestamp()),
            "end": str(ends[-1].timestamp()),
            "step": str(_DAY_SECONDS),
        }
        try:
            response = self._pool.request(
                "POST", f"{self.url}/api/v1/query_range", fields=fields, encode_multipart=False, headers=self._headers
            )
        except urllib3.exceptions.HTTPError as error:
            raise PrometheusError(f"Prometheus at {self.url} cannot be reached: {error}") from error
        try:
            answer = msgspec.json.decode(response.data)
            if answer["status"] != "success":
                raise PrometheusError(f"Prometheus at {self.url} refused {query!r}: {answer.get('error')}")
            return read_matrix(answer["data"], ends)
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
            raise PrometheusError(
                f"expected Prometheus's answer from {self.url}, got status {response.status}: {response.data[:200]!r}"
            ) from error


def read_matrix(data: Mapping[str, Any], ends: Sequence[datetime]) -> list[Series]:
    """Read the ``data`` of a range query.

    Parameters
    ----------
    data : mapping
        ``{"resultType": "matrix", "result": [{"metric": {...}, "values": [[seconds, "1"], ...]}, ...]}``.
    ends : sequence of datetime
        The instants asked for, a day apart.

    Returns
    -------
    list of Series
        NaN and infinities become missing.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it is not such an answer.
    """
    if data["resultType"] != "matrix":
        raise ValueError(f"expected a matrix, got {data['resultType']!r}")
    found = []
    for row in data["result"]:
        values: list[float | None] = [None] * len(ends)
        for at, text in row["values"]:
            value = float(text)
            values[round((at - ends[0].timestamp()) / _DAY_SECONDS)] = value if math.isfinite(value) else None
        labels = {str(label): str(value) for label, value in row["metric"].items() if label != "__name__"}
        found.append(Series(labels, tuple(values)))
    return found


def quantile(buckets: Mapping[str, float], q: float) -> float | None:
    """Estimate a quantile of a histogram as PromQL's ``histogram_quantile`` does: linear within a bucket.

    Parameters
    ----------
    buckets : mapping of str to float
        Cumulative counts by ``le``, ``+Inf`` among them.
    q : float
        In [0, 1].

    Returns
    -------
    float or None
        None without observations; infinity if it lies beyond the last finite bound.
    """
    bounds = sorted((float(le), count) for le, count in buckets.items())
    if not bounds or bounds[-1][1] <= 0:
        return None
    rank = q * bounds[-1][1]
    low, below = 0.0, 0.0
    for bound, count in bounds:
        if count >= rank:
            return (
                bound if math.isinf(bound) or count == below else low + (bound - low) * (rank - below) / (count - below)
            )
        low, below = bound, count
    return math.inf


def _sum(values: Iterable[float | None]) -> float | None:
    measured = [value for value in values if value is not None]
    return sum(measured) if measured else None


def _without_login(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
