"""One track's story: which fragments are heard, and which error each bad track becomes."""

import hashlib
import itertools
import os
import wave
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import features
from consumer.audio_store import AudioAccess
from consumer.errors import (
    AudioLocationError,
    AudioNotFoundError,
    AudioRejectedError,
    AudioStoreUnavailableError,
    Reason,
    ScratchError,
)
from consumer.pipeline import Analysis, Listening, analyse, plan_fragments
from features.audio import AudioInfo, AudioLimits
from features.schema import FEATURE_NAMES
from model.emotions import EMOTIONS, Emotion
from model.judgement import FragmentJudgement, Judgement

SR = 22050


class FakeJudge:
    version = "m-1"
    feature_version = "f-1"

    def __init__(self, *, fails: bool = False) -> None:
        self.asked: list[tuple[NDArray[np.float64], list[float]]] = []
        self.fails = fails

    def judge(self, X: NDArray[np.float64], starts: list[float]) -> Judgement:
        if self.fails:
            raise ValueError("on trial")
        self.asked.append((X, starts))
        return Judgement(
            emotion=Emotion.HAPPY,
            confidence=1.0,
            probabilities=dict.fromkeys(EMOTIONS, 0.0) | {Emotion.HAPPY: 1.0},
            prediction_set=(Emotion.HAPPY,),
            valence=1.0,
            arousal=1.0,
            decisions={"playlist": "apply", "therapy": "apply", "catalogue": "apply"},
            fragments=tuple(FragmentJudgement(start, Emotion.HAPPY, 1.0) for start in starts),
            out_of_domain=False,
        )


def tune(seconds: float) -> NDArray[np.float64]:
    moments = np.arange(int(seconds * SR)) / SR
    noise = 0.01 * np.random.default_rng(0).standard_normal(moments.size)
    return np.asarray(0.4 * np.exp(-6 * (moments % 0.5)) * np.sin(2 * np.pi * 220 * moments) + noise)


def write(path: Path, y: NDArray[np.float64]) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SR)
        file.writeframes((y * 32767).astype("<i2").tobytes())
    return path


def listening(root: Path) -> Listening:
    return Listening(access=AudioAccess(roots=(root,)), limits=AudioLimits())


def heard(path: Path, judge: FakeJudge | None = None, *, scratch: Path | None = None, **changes: Any) -> Analysis:
    scratch = scratch or path.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    arguments: dict[str, Any] = {
        "position_seconds": None,
        "whole_track": False,
        "judge": judge or FakeJudge(),
        "listening": listening(path.parent),
        "directory": scratch,
    }
    try:
        return analyse(str(path), **(arguments | changes))
    finally:
        assert list(scratch.iterdir()) == [], "nothing is left behind"


@pytest.mark.parametrize(
    ("duration", "position", "count", "starts"),
    [
        (240.0, 100.0, 1, [85.0]),
        (240.0, None, 1, [105.0]),
        (240.0, 3.0, 1, [0.0]),
        (240.0, 239.0, 1, [210.0]),
        (240.0, 1e12, 1, [210.0]),
        (12.0, 6.0, 1, [0.0]),
        (240.0, None, 3, [0.0, 105.0, 210.0]),
        (240.0, 17.0, 3, [0.0, 105.0, 210.0]),
        (60.0, None, 8, [0.0, 30.0]),
        (59.0, None, 8, [14.5]),
        (12.0, None, 8, [0.0]),
    ],
)
def test_plan_fragments(duration: float, position: float | None, count: int, starts: list[float]) -> None:
    assert plan_fragments(duration, position_seconds=position, count=count) == pytest.approx(starts)


def test_plan_fragments_never_overlap_and_stay_inside() -> None:
    for duration in np.linspace(1, 400, 97):
        starts = plan_fragments(duration, position_seconds=None, count=8)
        assert all(later - earlier >= 30.0 - 1e-9 for earlier, later in itertools.pairwise(starts))
        assert starts[0] >= 0
        assert starts[-1] <= max(0.0, duration - 30.0) + 1e-9


def test_analyse_gives_judgement_digest_and_durations(tmp_path: Path) -> None:
    judge = FakeJudge()
    analysis = heard(write(tmp_path / "a.wav", tune(8)), judge, position_seconds=4.0)
    assert analysis.judgement.emotion is Emotion.HAPPY
    assert (analysis.model_version, analysis.feature_version) == ("m-1", "f-1")
    assert len(analysis.audio_sha256) == 64
    assert analysis.audio_bytes == (tmp_path / "a.wav").stat().st_size
    assert set(analysis.durations) == {"fetch", "decode", "extract", "predict"}
    assert analysis.features.shape == (1, len(FEATURE_NAMES))
    assert judge.asked[0][1] == [0.0]


def test_analyse_with_no_room_for_downloads_blames_the_disk(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tune(8))
    (tmp_path / "scratch").mkdir()
    full = tmp_path / "scratch" / "gone"
    with pytest.raises(ScratchError, match="No such file or directory"):
        heard(path, directory=full)


def test_analyse_same_track_twice_gives_the_same_features(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tune(8))
    np.testing.assert_array_equal(heard(path).features, heard(path).features)


def test_analyse_silent_fragment_of_an_upload_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", np.concatenate([np.zeros(30 * SR), tune(31)]))
    analysis = heard(path, whole_track=True)
    assert [fragment.start_seconds for fragment in analysis.judgement.fragments] == pytest.approx([31.0])


@pytest.mark.parametrize(
    ("name", "content", "reason", "stage"),
    [
        ("silent.wav", np.zeros(8 * SR), Reason.SILENT, "decode"),
        ("short.wav", tune(2), Reason.TOO_SHORT, "decode"),
    ],
)
@pytest.mark.parametrize("whole_track", [False, True])
def test_analyse_bad_audio_is_rejected_with_reason_and_stage(
    tmp_path: Path, name: str, content: NDArray[np.float64], reason: Reason, stage: str, whole_track: bool
) -> None:
    with pytest.raises(AudioRejectedError) as caught:
        heard(write(tmp_path / name, content), whole_track=whole_track)
    assert (caught.value.reason, caught.value.stage) == (reason, stage)


def test_analyse_what_is_no_audio_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"not audio" * 100)
    with pytest.raises(AudioRejectedError) as caught:
        heard(path)
    assert caught.value.reason in (Reason.DECODE, Reason.UNSUPPORTED_CODEC)


def test_analyse_missing_and_forbidden_files_fail_in_fetch(tmp_path: Path) -> None:
    with pytest.raises(AudioNotFoundError) as missing:
        heard(tmp_path / "absent.wav")
    assert missing.value.stage == "fetch"
    write(tmp_path / "a.wav", tune(8))
    with pytest.raises(AudioLocationError):
        heard(
            tmp_path / "a.wav",
            listening=Listening(access=AudioAccess(roots=(tmp_path / "other",)), limits=AudioLimits()),
        )


@pytest.fixture
def after_fetch(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Let something happen between the moment a file is digested and the moment it is decoded."""

    def patch(happen: Callable[[], object]) -> None:
        def probe(path: Path, limits: AudioLimits) -> AudioInfo:
            happen()
            return features.probe(path, limits)

        monkeypatch.setattr("consumer.pipeline.features", SimpleNamespace(**(vars(features) | {"probe": probe})))

    return patch


def test_analyse_path_that_leads_elsewhere_by_then_hears_what_was_digested(
    tmp_path: Path, after_fetch: Callable[[Callable[[], object]], None]
) -> None:
    folder = tmp_path / "album"
    folder.mkdir()
    path = write(folder / "a.wav", tune(6))
    plain = heard(path, listening=listening(tmp_path))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    write(elsewhere / "a.wav", -tune(12)[::-1])

    def exchange() -> None:
        folder.rename(tmp_path / "old")
        folder.symlink_to(elsewhere)

    after_fetch(exchange)
    analysis = heard(path, listening=listening(tmp_path), scratch=tmp_path / "scratch")
    assert analysis.audio_sha256 == hashlib.sha256((tmp_path / "old" / "a.wav").read_bytes()).hexdigest()
    np.testing.assert_array_equal(analysis.features, plain.features)


@pytest.mark.parametrize("how", ["written", "written and dated back", "exchanged for a link"])
def test_analyse_file_changed_after_its_digest_is_tried_again(
    how: str, tmp_path: Path, after_fetch: Callable[[Callable[[], object]], None]
) -> None:
    path = write(tmp_path / "a.wav", tune(6))
    other = write(tmp_path / "b.wav", -tune(6)[::-1])
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns

    def change() -> None:
        if how == "exchanged for a link":
            (tmp_path / "link").symlink_to(other)
            (tmp_path / "link").replace(path)
            return
        path.write_bytes(other.read_bytes())
        if how == "written and dated back":
            os.utime(path, ns=times)

    after_fetch(change)
    with pytest.raises(AudioStoreUnavailableError, match="changed while it was heard") as caught:
        heard(path)
    assert (caught.value.reason, caught.value.stage) == (Reason.UNAVAILABLE, "fetch")
    assert [timing.stage for timing in caught.value.timings][:1] == ["fetch"]


def test_analyse_leaves_no_descriptor_open(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tune(6))
    silent = write(tmp_path / "silence.wav", np.zeros(6 * SR))
    heard(path)
    before = os.listdir("/proc/self/fd")
    heard(path)
    with pytest.raises(AudioRejectedError):
        heard(silent)
    assert os.listdir("/proc/self/fd") == before


def test_analyse_challenger_is_asked_and_may_fail(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tune(8))
    assert heard(path, challenger=FakeJudge()).challenger is Emotion.HAPPY
    assert heard(path, challenger=FakeJudge(fails=True)).challenger is None
    assert heard(path).challenger is None


def test_analyse_file_exchanged_after_its_digest_is_not_what_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    roots = tmp_path / "music"
    roots.mkdir()
    original, other = write(roots / "a.wav", tune(40)), write(outside / "other.wav", tune(31) * 0.1)
    probing, durations = features.probe, []

    def exchange_then_probe(path: Path, limits: AudioLimits) -> features.AudioInfo:
        original.unlink()
        original.symlink_to(other)
        info = probing(path, limits)
        durations.append(info.duration_seconds)
        return info

    monkeypatch.setattr(features, "probe", exchange_then_probe)
    # What was digested is what was heard, and since nobody knows which of the two was meant, it is tried again.
    with pytest.raises(AudioStoreUnavailableError, match="changed while it was heard"):
        heard(original)
    assert durations == [pytest.approx(40)]
