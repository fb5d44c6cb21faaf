"""Prometheus's answers: what is read from them, what is missing, and what is no answer."""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from consumer.reports.prometheus import Answers, Prometheus, PrometheusError, Series, quantile, read_matrix
from tests.consumer.reports.made_up import UNTIL, ends_of

DAYS = ends_of(3)


@contextmanager
def server(status: int, body: bytes) -> Iterator[tuple[str, list[bytes]]]:
    asked: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Keep quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}", asked
        http.shutdown()
        thread.join()


def test_read_matrix_missing_days_and_nan_are_missing() -> None:
    at = [day.timestamp() for day in DAYS]
    data = {
        "resultType": "matrix",
        "result": [{"metric": {"__name__": "x", "lane": "known"}, "values": [[at[0], "2.5"], [at[2], "NaN"]]}],
    }
    assert read_matrix(data, DAYS) == [Series({"lane": "known"}, (2.5, None, None))]


def test_answers_sum_what_was_measured_and_only_that() -> None:
    series = {"dead": [Series({"reason": "a"}, (1.0, None, 2.0)), Series({"reason": "b"}, (None, None, 4.0))]}
    answers = Answers(tuple(DAYS), {"dead": "..."}, series)
    assert answers.daily("dead") == [1.0, None, 6.0]
    assert answers.total("dead") == 7.0
    assert answers.by("dead", "reason") == {"b": 4.0, "a": 3.0}
    assert answers.last("dead", reason="a") == 2.0
    assert answers.total("dead", reason="c") is None
    assert answers.total("other") is None


def test_quantile_is_linear_within_its_bucket() -> None:
    # 10 of 40 up to 1 s, 30 up to 5 s: the median is the 20th, half way through the second bucket.
    buckets = {"1.0": 10.0, "5.0": 30.0, "+Inf": 40.0}
    assert quantile(buckets, 0.5) == pytest.approx(3.0)
    assert quantile(buckets, 0.1) == pytest.approx(0.4)
    assert quantile(buckets, 0.99) == math.inf
    assert quantile({"1.0": 0.0, "+Inf": 0.0}, 0.5) is None
    assert quantile({}, 0.5) is None


def test_ask_sends_the_question_and_reads_the_answer() -> None:
    body = b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[%d,"7"]]}]}}'
    with server(200, body % UNTIL.timestamp()) as (url, asked):
        answers = Prometheus(url).ask({"up": "sum(up)"}, UNTIL, 3)
    assert answers.daily("up") == [None, None, 7.0]
    assert answers.days[0] == UNTIL - timedelta(days=2)
    assert b"query=sum%28up%29" in asked[0]


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (422, b'{"status":"error","errorType":"execution","error":"query timed out"}', "query timed out"),
        (200, b"<html>a login page</html>", "login page"),
        (200, b'{"status":"success","data":{"resultType":"vector","result":[]}}', "expected Prometheus's answer"),
        (200, b"[]", "expected Prometheus's answer"),
        (503, b"", "status 503"),
    ],
)
def test_ask_other_answer_raises_with_what_came(status: int, body: bytes, said: str) -> None:
    with server(status, body) as (url, _), pytest.raises(PrometheusError, match=said):
        Prometheus(url).ask({"up": "up"}, UNTIL, 3)


def test_ask_nobody_listening_raises_and_names_the_server() -> None:
    with pytest.raises(PrometheusError, match=r"Prometheus at http://127\.0\.0\.1:1 cannot be reached"):
        Prometheus("http://127.0.0.1:1").ask({"up": "up"}, UNTIL, 3)


def test_prometheus_login_is_never_shown() -> None:
    prometheus = Prometheus("http://me:secret@127.0.0.1:1/prometheus/")
    assert prometheus.url == "http://127.0.0.1:1/prometheus"
    with pytest.raises(PrometheusError) as raised:
        prometheus.ask({"up": "up"}, UNTIL, 3)
    assert "secret" not in str(raised.value)


def test_prometheus_other_address_raises() -> None:
    with pytest.raises(PrometheusError, match="http://host:port"):
        Prometheus("localhost:9090")
