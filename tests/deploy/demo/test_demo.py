"""``python -m deploy.demo`` as ``make run`` calls it: the real worker, the embedded broker, the shipped catalogue."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).parents[3]


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "deploy.demo", *options],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def workers_below(folder: Path) -> list[str]:
    """List the processes that were started for this test, by the folder they run in."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve() == folder.resolve():
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def test_demo_plays_its_catalogue_through_the_real_worker(tmp_path: Path) -> None:
    process = start(tmp_path, "--plays", "8")
    text, _ = process.communicate(timeout=280)
    assert process.returncode == 0, text
    assert "21 events, each with exactly one outcome: 19 emotions, 2 dead letters" in text
    assert re.search(r"Village polka +\w+ +0\.\d\d +new", text)
    assert re.search(r"play +\w+ +.+ known ", text)
    assert "decode" in text and "invalid_json" in text
    assert workers_below(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_demo_interrupted_ends_with_130_and_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    process = start(tmp_path, "--plays", "1000")
    assert process.stdout is not None
    for line in process.stdout:
        if " play " in line:
            break
    process.send_signal(number)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 130, text
    assert "Traceback" not in text
    assert workers_below(tmp_path) == []
