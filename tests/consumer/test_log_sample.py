"""Outcome lines: one an event in the new lane, a sample in the known lane, and never a flood."""

import json
import logging

import pytest

from consumer.log_config import DEAD_LETTERS_PER_SECOND, JsonFormatter
from consumer.log_sample import LogSample
from tests.consumer import test_known_lane as known
from tests.consumer import test_new_lane as new
from tests.consumer.records import track_emotion_json, track_event_json


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def lines(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, object]]:
    formatter = JsonFormatter()
    return [json.loads(formatter.format(record)) for record in caplog.records if record.getMessage() == event]


def test_sample_gives_so_many_a_second_and_counts_the_rest() -> None:
    clock = Clock()
    sample = LogSample(2, clock)
    assert [sample.take() for _ in range(5)] == [{}, {}, None, None, None]
    clock.now = 0.9
    assert sample.take() is None
    clock.now = 1.0
    assert [sample.take() for _ in range(3)] == [{"passed_over": 4}, {}, None]


def test_known_lane_writes_one_line_a_second_that_stands_for_many(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench = known.Bench(monkeypatch)
    clock = Clock()
    bench.lane._batches_shown = LogSample(1, clock)

    def a_second_later() -> None:
        clock.now += 1.0

    batches = [[known.event_of(100 * n + i, track_event_json(f"e-{n}-{i}")) for i in range(100)] for n in range(3)]
    with caplog.at_level(logging.INFO, "consumer.known_lane"):
        bench.run(
            bench.assign(0), [known.record_of(0, track_emotion_json()), known.end_of(0, 1)],
            batches[0], batches[1], a_second_later, batches[2],
        )  # fmt: skip
    first, second = lines(caplog, "emotion emitted")
    assert (first["answers"], second["answers"]) == (100, 200)
    assert {name: second[name] for name in ("topic", "partition", "offset", "event_id", "track_id")} == {
        "topic": "track-events", "partition": 0, "offset": 200, "event_id": "e-2-0", "track_id": "t-1"
    }  # fmt: skip
    assert second["emotion"] == "sad"


def test_known_lane_flood_of_poison_and_of_bad_records_writes_a_few_lines(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench = known.Bench(monkeypatch)
    clock = Clock()
    bench.lane._letters_shown = LogSample(DEAD_LETTERS_PER_SECOND, clock)
    bench.lane._records_shown = LogSample(DEAD_LETTERS_PER_SECOND, clock)
    bad_records = [known.record_of(offset, b"?") for offset in range(500)]
    poison = [known.event_of(offset, b"?") for offset in range(500)]
    with caplog.at_level(logging.WARNING, "consumer.known_lane"):
        bench.run(bench.assign(0), [*bad_records, known.end_of(0, 500)], poison)
    assert len(lines(caplog, "event dead-lettered")) == DEAD_LETTERS_PER_SECOND
    assert len(lines(caplog, "record ignored: not a TrackEmotion")) == DEAD_LETTERS_PER_SECOND
    first = lines(caplog, "event dead-lettered")[0]
    assert (first["topic"], first["offset"], first["reason"]) == ("track-events", 0, "invalid_json")
    assert str(first["error"]).startswith("not JSON")


def test_new_lane_writes_one_line_for_each_answer_and_few_for_a_flood(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(bench: new.Bench) -> None:
        bench.lane._letters_shown = LogSample(DEAD_LETTERS_PER_SECOND, Clock())
        for offset in range(3):
            await bench.accept(offset, track_event_json(f"e-{offset}"))
        for offset in range(3, 103):
            await bench.accept(offset, b"?")
        await bench.settle()
        assert len(bench.acknowledged) == 103

    with caplog.at_level(logging.INFO, "consumer.new_lane"):
        new.on_bench(scenario, max_in_flight=200)
    assert [line["event_id"] for line in lines(caplog, "emotion emitted")] == ["e-0", "e-1", "e-2"]
    assert len(lines(caplog, "event dead-lettered")) == DEAD_LETTERS_PER_SECOND
