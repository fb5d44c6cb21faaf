"""Hostile files end in a typed error or a whole window, within time and memory, and reach nothing but themselves."""

import socket
from collections import Counter
from pathlib import Path

import pytest

from tests.features.hostile import INDEX_OF_GIGABYTES, Hostile, encode_pieces, hostile_files, index_claim
from tests.features.sandbox import MEMORY_BYTES, Outcome, Sandbox

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
    """Give how much memory the files cost that are not held back by the limit; the first one is empty."""
    peaks = [o.peak_bytes for hostile, o in outcomes.items() if hostile.name != INDEX_OF_GIGABYTES]
    return max(peaks) - peaks[0]


def test_load_window_hostile_files_end_as_they_should(tmp_path: Path) -> None:
    outcomes = hear_all(tmp_path, extract=False)
    assert len(outcomes) > 100
    assert not misjudged(outcomes)
    assert growth_bytes(outcomes) < DECODING_BYTES


@pytest.mark.parametrize("samples", [30_000_000, 80_000_000])
def test_load_window_index_without_bounds_is_held_back_and_the_next_file_is_heard(tmp_path: Path, samples: int) -> None:
    pieces = encode_pieces(tmp_path)
    bomb, piece = tmp_path / "bomb.m4a", tmp_path / "heard.m4a"
    bomb.write_bytes(index_claim(pieces["m4a"], samples))
    piece.write_bytes(pieces["m4a"])
    assert bomb.stat().st_size < 200_000
    with Sandbox() as sandbox:
        first = sandbox.hear(piece)
        # Repeated, since memory that a refused decoder kept would be missed in the end.
        refused = [sandbox.hear(bomb) for _ in range(3)]
        after = sandbox.hear(piece)
    assert (first.reason, after.reason) == ("heard", "heard")
    assert {outcome.reason for outcome in refused} == {"decode"}
    assert after.peak_bytes - first.peak_bytes < MEMORY_BYTES


@pytest.mark.slow
def test_extract_what_is_heard_of_hostile_files_is_finite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = hear_all(tmp_path, extract=True)
    assert not misjudged(outcomes)
    assert growth_bytes(outcomes) < EXTRACTING_BYTES
    counts = Counter(outcome.reason for outcome in outcomes.values())
    with capsys.disabled():
        print(f"\n{len(outcomes)} hostile files: " + ", ".join(f"{n} {reason}" for reason, n in counts.most_common()))
