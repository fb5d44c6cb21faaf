"""Hostile files end in a typed error or a whole window, within time and memory, and reach nothing but themselves."""

import socket
from collections import Counter
from pathlib import Path

import pytest

from tests.features.hostile import Hostile, encode_pieces, hostile_files
from tests.features.sandbox import Outcome, Sandbox

# Beyond a process that has imported everything but FFmpeg; read whole, the longest file would cost 345 MB.
DECODING_BYTES = 100_000_000
EXTRACTING_BYTES = 300_000_000


def hear_all(folder: Path, *, extract: bool) -> dict[Hostile, Outcome]:
    """Hear every hostile file in the sandbox, beside a server that must not be called."""
    with socket.create_server(("127.0.0.1", 0)) as nobody_may_call, Sandbox(extract=extract) as sandbox:
        outcomes = {}
        for hostile in hostile_files(encode_pieces(folder), nobody_may_call.getsockname()[1]):
            hostile.write(folder / hostile.name)
            outcomes[hostile] = sandbox.hear(folder / hostile.name)
        nobody_may_call.setblocking(False)
        with pytest.raises(BlockingIOError):
            nobody_may_call.accept()
    return outcomes


def misjudged(outcomes: dict[Hostile, Outcome]) -> dict[str, Outcome]:
    """Keep what ended otherwise than it should, or was heard shorter than declared."""
    return {
        hostile.name: outcome
        for hostile, outcome in outcomes.items()
        if outcome.reason not in hostile.allowed
        or (outcome.reason == "heard" and outcome.window_seconds <= min(30.0, outcome.declared_seconds) - 0.11)
    }


def growth_bytes(outcomes: dict[Hostile, Outcome]) -> int:
    """Give how much memory the files cost; the first one is empty."""
    peaks = [outcome.peak_bytes for outcome in outcomes.values() if outcome.reason != "killed"]
    return max(peaks) - peaks[0]


def test_load_window_hostile_files_end_as_they_should(tmp_path: Path) -> None:
    outcomes = hear_all(tmp_path, extract=False)
    assert len(outcomes) > 100
    assert not misjudged(outcomes)
    assert growth_bytes(outcomes) < DECODING_BYTES


@pytest.mark.slow
def test_extract_what_is_heard_of_hostile_files_is_finite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = hear_all(tmp_path, extract=True)
    assert not misjudged(outcomes)
    assert growth_bytes(outcomes) < EXTRACTING_BYTES
    counts = Counter(outcome.reason for outcome in outcomes.values())
    with capsys.disabled():
        print(f"\n{len(outcomes)} hostile files: " + ", ".join(f"{n} {reason}" for reason, n in counts.most_common()))
