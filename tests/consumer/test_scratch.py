"""Downloads of killed processes do not stay for ever."""

import os
import subprocess
import sys
from pathlib import Path

from consumer.scratch import scratch_directory


def test_scratch_directory_is_private_and_new(tmp_path: Path) -> None:
    first, second = scratch_directory(tmp_path), scratch_directory(tmp_path)
    assert first != second
    assert first.stat().st_mode & 0o077 == 0


def test_scratch_directory_removes_what_dead_processes_left_and_nothing_else(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = tmp_path / f"emotion-stream-{dead.pid}-12-abc"
    left.mkdir()
    (left / "audio").write_bytes(b"half a download")
    mine = scratch_directory(tmp_path)
    other = tmp_path / "emotion-stream-demo"
    other.mkdir()
    scratch_directory(tmp_path)
    assert not left.exists()
    assert mine.exists()
    assert other.exists()


def test_scratch_directory_removes_what_a_process_of_the_same_number_left(tmp_path: Path) -> None:
    # A worker in a container is number 1, and so was the one that was killed there.
    predecessors = tmp_path / f"emotion-stream-{os.getpid()}-1-abc"
    predecessors.mkdir()
    scratch_directory(tmp_path)
    assert not predecessors.exists()


def test_scratch_directory_does_not_follow_a_link(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    precious = tmp_path / "precious"
    precious.mkdir()
    (tmp_path / f"emotion-stream-{dead.pid}-12-abc").symlink_to(precious)
    scratch_directory(tmp_path)
    assert precious.exists()
