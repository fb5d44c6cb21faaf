"""Thousands of damaged files: no crash, no hang, nothing but typed errors, and never a silent short read."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from features import FeatureError
from tests.features.encode import ENDINGS, encode
from tests.features.sandbox import Sandbox
from tests.features.signals import tune

SECONDS = 2.0
# As if written by a header's author gone mad: every width's extremes, little and big endian.
EXTREMES = (
    *(b"\0", b"\x7f", b"\xff", b"\x80"),
    *(b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"),
)
# The first bytes choose the decoder; without them most mutations would only be unsupported codecs.
MAGIC_BYTES = 12
# These declare their length up front; while the front is whole, nothing shorter may be heard without an error.
DECLARES_LENGTH_IN_FRONT = ("wav", "flac", "mp3", "320.mp3")
FRONT_BYTES = 4096
_REASONS = {"heard", *(error.reason for error in FeatureError.__subclasses__())}
_REASONS |= {"truncated", "unsupported_codec"}


@dataclass(frozen=True)
class Mutation:
    """One change to a file: ``kind`` at a place given as a share of its length."""

    kind: str
    place: float
    length: int
    filler: bytes

    def apply(self, data: bytes) -> bytes:
        at = MAGIC_BYTES + int(self.place * len(data))
        before, inside, after = data[:at], data[at : at + self.length], data[at + self.length :]
        match self.kind:
            case "cut":
                return before
            case "delete":
                return before + after
            case "insert":
                return before + self.filler * self.length + inside + after
            case "repeat":
                return before + inside * 3 + after
            case "blank":
                return before + bytes(len(inside)) + after
            case _:
                return before + self.filler + data[at + len(self.filler) :]


# Half of all changes fall into the first hundredth of the file, where the headers are.
places = st.one_of(st.floats(0, 1), st.floats(0, 0.01))
mutations = st.builds(
    Mutation,
    st.sampled_from(("overwrite", "overwrite", "overwrite", "cut", "delete", "insert", "repeat", "blank")),
    places,
    st.integers(1, 5000),
    st.one_of(st.sampled_from(EXTREMES), st.binary(min_size=1, max_size=8)),
)


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("pieces")
    made = {}
    for ending in ENDINGS:
        sr = 48_000 if ending == "opus" else 44_100
        made[ending] = encode(folder, ending, tune(SECONDS, sr), sr).read_bytes()
    return made


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(min_window_seconds=0.5) as sandbox:
        yield sandbox


def fuzz(pieces: dict[str, bytes], sandbox: Sandbox, path: Path, examples: int, *, derandomize: bool) -> Counter[str]:
    """Hear mutated files; give how many ended how."""
    counts: Counter[str] = Counter()

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=derandomize,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(ENDINGS), st.lists(mutations, min_size=1, max_size=6))
    def hear_mutated(ending: str, changes: list[Mutation]) -> None:
        data = pieces[ending]
        front = data[:FRONT_BYTES]
        for change in changes:
            data = change.apply(data)
        path.write_bytes(data)
        outcome = sandbox.hear(path)
        note(str(outcome))
        counts[outcome.reason] += 1
        assert outcome.reason in _REASONS
        if outcome.reason == "heard":
            assert outcome.window_seconds > min(30.0, outcome.declared_seconds) - 0.11
            if ending in DECLARES_LENGTH_IN_FRONT and data[:FRONT_BYTES] == front:
                assert outcome.window_seconds > SECONDS - 0.11

    hear_mutated()
    return counts


def test_load_window_fifty_mutations_are_heard_whole_or_refused(
    pieces: dict[str, bytes], sandbox: Sandbox, tmp_path: Path
) -> None:
    counts = fuzz(pieces, sandbox, tmp_path / "mutated", 50, derandomize=True)
    assert counts.total() >= 50


@pytest.mark.slow
def test_load_window_thousands_of_mutations_are_heard_whole_or_refused(
    pieces: dict[str, bytes], sandbox: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = fuzz(pieces, sandbox, tmp_path / "mutated", 2500, derandomize=False)
    assert counts.total() >= 2000
    with capsys.disabled():
        print(f"\n{counts.total()} mutations: " + ", ".join(f"{n} {reason}" for reason, n in counts.most_common()))
