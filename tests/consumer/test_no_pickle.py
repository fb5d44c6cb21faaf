"""Nothing that comes from Kafka is unpickled: a pickle that would make a file is a bad message like any other."""

import pickle
from pathlib import Path
from typing import Any

import pytest

from consumer.drift_watch import unpack_features
from consumer.errors import InvalidEventError, Reason
from consumer.events import decode_feedback_event
from consumer.forwarding import CORRECTION, PURPOSE, forwarded_correction
from consumer.recent_tracks import RecentTracks
from consumer.topics import DEAD_LETTERS
from consumer.track_table import TrackTable
from tests.consumer import test_known_lane as known
from tests.consumer import test_new_lane as new


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    return tmp_path / "unpickled"


@pytest.fixture(params=range(pickle.HIGHEST_PROTOCOL + 1))
def value(request: pytest.FixtureRequest, trap: Path) -> bytes:
    bait = pickle.dumps(Touch(trap), protocol=request.param)
    pickle.loads(bait)  # noqa: S301  # our own: the trap must work for its silence to mean something
    assert trap.exists()
    trap.unlink()
    return bait


def test_track_events_pickle_is_a_dead_letter(value: bytes, trap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = known.Bench(monkeypatch)
    event = known.Message("track-events", 0, 0, value, key=value, headers=[("traceparent", value), (PURPOSE, value)])
    bench.run_assigned([event])
    (letter,) = bench.outbox.to(DEAD_LETTERS.name)
    assert letter[1] == value
    assert dict(letter[3])["error.reason"] == b"invalid_json"
    assert bench.value("emotion_events_dead_lettered_total", lane="known", reason="invalid_json") == 1
    assert not trap.exists()


def test_track_analysis_pickle_is_a_dead_letter(value: bytes, trap: Path) -> None:
    async def scenario(bench: new.Bench) -> None:
        await bench.accept(0, value)
        await bench.settle()
        (letter,) = bench.outbox.letters()
        assert letter["error.reason"] == "invalid_json"
        assert bench.outbox.messages[0].value == value
        assert bench.value("emotion_events_dead_lettered_total", lane="new", reason="invalid_json") == 1
        assert bench.acknowledged == [0]

    new.on_bench(scenario)
    assert forwarded_correction([(CORRECTION, value)]) is None
    assert not trap.exists()


def test_track_emotions_pickle_is_an_ignored_record(value: bytes, trap: Path) -> None:
    table = TrackTable()
    table.open(0)
    assert not table.apply(0, b"t-1", value)
    assert len(table) == 0
    with pytest.raises(ValueError, match=r"."):
        RecentTracks().render(value)
    # Numbers, if their size is right by chance: they are read as they lie.
    unpack_features(value)
    assert not trap.exists()


def test_emotion_feedback_pickle_is_refused(value: bytes, trap: Path) -> None:
    with pytest.raises(InvalidEventError) as caught:
        decode_feedback_event(value)
    assert caught.value.reason is Reason.INVALID_JSON
    assert not trap.exists()
