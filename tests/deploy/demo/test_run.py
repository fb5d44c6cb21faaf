"""The demo from beginning to end, with a stand-in for the worker so that its faults can be staged."""

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

from deploy.demo import run as run_module
from deploy.demo import scenario as scenario_module
from deploy.demo.run import run
from deploy.demo.scenario import Scenario
from deploy.demo.streaming_platform import two_listeners
from deploy.demo.tracks import break_track, find_tracks
from deploy.demo.worker_process import WorkerError
from deploy.embedded_broker import embedded_broker


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Play":
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(run_module.__file__).parents[2]))
    monkeypatch.setattr(scenario_module, "STALL_SECONDS", 3.0)
    monkeypatch.setattr(scenario_module, "_PLAY_INTERVAL_SECONDS", 0.05)
    return Play(tmp_path, monkeypatch)


class Play:
    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch
        self.output = io.StringIO()

    def __call__(self, fault: str = "") -> int:
        self.monkeypatch.setenv("FAKE_WORKER", fault)
        for name in ("ash", "birch", "cedar", "elm", "fir", "gum", "hazel"):
            (self.folder / f"{name}.ogg").write_bytes(name.encode())
        tracks = find_tracks(self.folder, "test")
        scenario = Scenario(
            uploads=tracks[:-1],
            unheard=tracks[-1],
            broken=break_track(tracks[0], self.folder, "test"),
            listeners=two_listeners("test"),
            play_count=12,
        )
        command = (sys.executable, "-m", "tests.deploy.demo.fake_worker")
        console = Console(file=self.output, width=110)
        with embedded_broker() as bootstrap:
            return run(scenario, bootstrap, [self.folder], console, is_embedded=True, worker_command=command)


def test_run_every_event_answered_ends_with_0(play: Play) -> None:
    assert play() == 0
    text = play.output.getvalue()
    assert "20 events, each with exactly one outcome: 18 emotions, 2 dead letters" in text
    assert "invalid_json" in text and "decode" in text
    assert "queue   " in text
    assert "accepted" in text


def test_run_event_without_outcome_ends_with_1_and_is_named(play: Play) -> None:
    assert play("lose") == 1
    assert "6 events, 1 without an outcome" in play.output.getvalue()
    assert "no outcome: upload of" in play.output.getvalue()


def test_run_two_outcomes_for_one_event_end_with_1(play: Play) -> None:
    assert play("twice") == 1
    assert "1 with more than one" in play.output.getvalue()


def test_run_repeated_outcomes_are_told_apart_from_contradictions(play: Play) -> None:
    assert play("repeat") == 0
    assert "18 delivered again" in play.output.getvalue()


def test_run_worker_that_ends_is_reported_with_its_log(play: Play) -> None:
    with pytest.raises(WorkerError, match=r"status 3[^$]*no model here"):
        play("die")
