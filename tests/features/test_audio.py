"""What serving does to audio: the 16-bit grid, exact windows, and the limits."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from features import (
    AudioDecodeError,
    AudioFormatError,
    AudioLimits,
    AudioTooLargeError,
    AudioTooShortError,
    SilentAudioError,
    TruncatedAudioError,
    UnsupportedCodecError,
    load_window,
    prepare,
    probe,
)
from tests.features.encode import ENDINGS, encode
from tests.features.signals import tune

SR = 44_100
ANY = AudioLimits.unrestricted()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("audio")


@pytest.fixture(scope="module")
def encoded(folder: Path) -> dict[str, Path]:
    return {
        ending: encode(folder, ending, tune(14.0, rate := 48_000 if ending == "opus" else SR), rate)
        for ending in ENDINGS
    }


# --- prepare


@given(st.integers(1, 2), st.integers(0, 2**32 - 1), st.floats(0.01, 3.0))
@settings(max_examples=50, deadline=None)
def test_prepare_twice_changes_nothing(channels: int, seed: int, gain: float) -> None:
    y = np.random.default_rng(seed).uniform(-gain, gain, (500, channels)).astype(np.float32)
    once, sr = prepare(y, SR)
    twice, _ = prepare(once, sr)
    np.testing.assert_array_equal(once, twice)
    assert once.dtype == np.float32 and once.min() >= -1 and once.max() < 1


def test_prepare_float_samples_are_rounded_to_16_bits() -> None:
    y = np.array([0.4, 0.6, -0.6, 1.5, -1.5], dtype=np.float32) / np.float32(32768)
    np.testing.assert_array_equal(prepare(y, SR)[0] * 32768, [0, 1, -1, 2, -2])


def test_prepare_overshoot_is_clipped_to_full_scale() -> None:
    y, _ = prepare(np.array([1.0, 1.7, -1.0, -1.7]), SR)
    np.testing.assert_array_equal(y * 32768, [32767, 32767, -32768, -32768])


def test_prepare_stereo_keeps_the_half_step_of_the_mean() -> None:
    # MIRtoolbox averages 16-bit channels and rounds nothing: golden values need the half steps.
    y = np.array([[3, 4], [-1, -2]], dtype=np.int16)
    np.testing.assert_array_equal(prepare(y, SR)[0] * 32768, [3.5, -1.5])


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("sr", [SR, 48_000])
def test_prepare_integers_and_the_same_floats_give_the_same_samples(channels: int, sr: int) -> None:
    integers = np.random.default_rng(0).integers(-32768, 32768, (5000, channels), dtype=np.int16)
    floats = integers / np.float32(32768)
    np.testing.assert_array_equal(prepare(integers, sr)[0], prepare(floats, sr)[0])


def test_prepare_channel_order_does_not_matter() -> None:
    y = tune(1.0)
    np.testing.assert_array_equal(prepare(y, SR)[0], prepare(y[:, ::-1], SR)[0])


def test_prepare_six_channels_are_averaged_before_rounding() -> None:
    y = tune(0.5, channels=6)
    expected, _ = prepare(y.mean(axis=1), SR)
    np.testing.assert_array_equal(prepare(y, SR)[0], expected)


def test_prepare_int16_and_float_of_the_same_samples_agree() -> None:
    y = np.random.default_rng(0).integers(-32768, 32768, (1000, 2), dtype=np.int16)
    np.testing.assert_array_equal(prepare(y, SR)[0], prepare(y / 32768.0, SR)[0])


def test_prepare_48_khz_is_resampled_before_rounding() -> None:
    y = tune(1.0, 48_000)
    got, sr = prepare(y, 48_000)
    steps = np.rint(soxr.resample(y, 48_000, SR, quality="HQ") * 32768)
    assert sr == SR
    np.testing.assert_array_equal(got, steps.mean(axis=1).astype(np.float32) / 32768)


def test_prepare_native_rate_keeps_rate_and_samples() -> None:
    y = np.random.default_rng(0).integers(-32768, 32768, 1000, dtype=np.int16)
    got, sr = prepare(y, 22_050, native_rate=True)
    assert sr == 22_050
    np.testing.assert_array_equal(got * 32768, y)


@pytest.mark.parametrize(
    ("y", "sr", "says"),
    [
        (np.zeros((2, 2, 2)), SR, "shape"),
        (np.float32(0), SR, "shape"),
        (np.zeros((10, 9)), SR, "channels"),
        (np.zeros((10, 0)), SR, "channels"),
        (np.zeros(10), 7_999, "sampling rate"),
        (np.zeros(10), 192_001, "sampling rate"),
        (np.zeros(10, dtype=np.int32), SR, "int16"),
        (np.zeros(10, dtype=np.complex128), SR, "int16"),
        (np.array([0, np.nan]), SR, "finite"),
        (np.array([0, -np.inf]), SR, "finite"),
        (np.array([0, 32767.0]), SR, "peak"),
    ],
)
def test_prepare_what_cannot_be_heard_is_refused(y: np.ndarray, sr: int, says: str) -> None:
    with pytest.raises(AudioFormatError, match=says):
        prepare(y, sr)


def test_prepare_no_samples_is_too_short() -> None:
    with pytest.raises(AudioTooShortError):
        prepare(np.zeros(0), SR)


# --- load_window: exact windows


@pytest.mark.parametrize("ending", ENDINGS)
def test_load_window_anywhere_equals_the_slice_of_the_whole(encoded: dict[str, Path], ending: str) -> None:
    whole = load_window(encoded[ending], 0, 100, native_rate=True)
    for start in (0.0, 0.3333, 1.0001, 4.7, 6.5):
        window = load_window(encoded[ending], start, 7.0, native_rate=True)
        first = round(start * window.sr)
        assert window.start_seconds == pytest.approx(start, abs=1 / window.sr)
        assert len(window.y) == round(7.0 * window.sr)
        np.testing.assert_array_equal(window.y, whole.y[first : first + len(window.y)])


@pytest.mark.parametrize("ending", ["wav", "flac", "alac.m4a"])
def test_load_window_lossless_gives_the_samples_that_went_in(encoded: dict[str, Path], ending: str) -> None:
    expected, _ = prepare(tune(14.0), SR)
    got = load_window(encoded[ending], 0, 14.0).y
    # soundfile and FFmpeg round half a step differently when they write 16 bits.
    assert np.abs(got - expected).max() <= 1 / 32768


@pytest.mark.parametrize("ending", ENDINGS)
def test_load_window_lossy_formats_stay_aligned_with_the_source(encoded: dict[str, Path], ending: str) -> None:
    window = load_window(encoded[ending], 5.0, 6.0, native_rate=True)
    source, _ = prepare(tune(14.0, window.sr), window.sr, native_rate=True)
    # Bare AAC has no field for the encoder's delay of 1024 samples.
    delay = 1024 if ending == "aac" else 0
    first = 5 * window.sr - delay
    error = window.y - source[first : first + len(window.y)]
    assert np.sqrt(np.mean(error**2)) < 0.02  # one sample of misalignment gives 0.03 and more here


@pytest.mark.parametrize("ending", ENDINGS)
def test_probe_tells_length_rate_and_channels(encoded: dict[str, Path], ending: str) -> None:
    info = probe(encoded[ending])
    assert info.sr == (48_000 if ending == "opus" else SR)
    assert info.channels == 2
    assert info.duration_seconds == pytest.approx(14.0, abs=0.06)


def test_load_window_past_the_end_is_moved_back(encoded: dict[str, Path]) -> None:
    late = load_window(encoded["flac"], 12.0, 7.0)
    assert (late.start_seconds, late.duration_seconds) == (7.0, 7.0)
    np.testing.assert_array_equal(late.y, load_window(encoded["flac"], 7.0, 7.0).y)


def test_load_window_longer_than_the_track_hears_it_whole(encoded: dict[str, Path]) -> None:
    for duration in (30.0, float("inf")):
        audio = load_window(encoded["flac"], 3.0, duration)
        assert (audio.start_seconds, audio.duration_seconds) == (0.0, 14.0)


def test_load_window_flac_without_a_length_is_heard(encoded: dict[str, Path], tmp_path: Path) -> None:
    data = bytearray(encoded["flac"].read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    (tmp_path / "pipe.flac").write_bytes(data)
    assert probe(tmp_path / "pipe.flac").duration_seconds == pytest.approx(14.0)
    np.testing.assert_array_equal(
        load_window(tmp_path / "pipe.flac", 3.0, 6.0).y, load_window(encoded["flac"], 3.0, 6.0).y
    )


def test_load_window_eight_channels_of_float_are_averaged(tmp_path: Path) -> None:
    y = tune(6.0, channels=8)
    soundfile.write(tmp_path / "surround.wav", y, SR, subtype="FLOAT")
    np.testing.assert_array_equal(load_window(tmp_path / "surround.wav").y, prepare(y, SR)[0])


# --- load_window: limits


def _wav(path: Path, y: np.ndarray, sr: int = SR, subtype: str = "PCM_16") -> Path:
    soundfile.write(path, y, sr, subtype=subtype)
    return path


def test_load_window_two_seconds_is_too_short_unless_unrestricted(tmp_path: Path) -> None:
    path = _wav(tmp_path / "short.wav", tune(2.0))
    with pytest.raises(AudioTooShortError, match=r"at least 5 s of audio, got 2\.00 s"):
        load_window(path)
    assert len(load_window(path, limits=ANY).y) == 2 * SR


def test_load_window_silence_is_refused_unless_unrestricted(tmp_path: Path) -> None:
    path = _wav(tmp_path / "silence.flac", np.zeros(6 * SR))
    with pytest.raises(SilentAudioError):
        load_window(path)
    assert not load_window(path, limits=ANY).y.any()


def test_load_window_large_files_and_long_tracks_are_refused(tmp_path: Path) -> None:
    path = _wav(tmp_path / "long.wav", tune(20.0))
    with pytest.raises(AudioTooLargeError, match="bytes"):
        load_window(path, limits=replace(AudioLimits(), max_bytes=1_000_000))
    with pytest.raises(AudioTooLargeError, match=r"at most 10 s of audio, got 20"):
        probe(path, replace(AudioLimits(), max_track_seconds=10.0))


def test_load_window_nan_samples_are_refused(tmp_path: Path) -> None:
    y = tune(6.0)
    y[1000] = np.nan
    with pytest.raises(AudioFormatError, match="finite"):
        load_window(_wav(tmp_path / "nan.wav", y, subtype="FLOAT"))


def test_load_window_cut_file_is_truncated_where_samples_are_missing(encoded: dict[str, Path], tmp_path: Path) -> None:
    for ending in ("wav", "320.mp3"):
        data = encoded[ending].read_bytes()
        path = tmp_path / f"cut.{ending}"
        path.write_bytes(data[: len(data) * 6 // 10])
        assert probe(path).duration_seconds == pytest.approx(14.0, abs=0.01)
        assert load_window(path, 0.0, 7.0).duration_seconds == 7.0
        with pytest.raises(TruncatedAudioError):
            load_window(path, 6.0, 7.0)


def test_load_window_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path, kind in ((tmp_path / "fifo", "FIFO"), (tmp_path, "directory"), (Path("/dev/zero"), "device")):
        with pytest.raises(AudioDecodeError, match=kind):
            load_window(path)


def test_load_window_unknown_bytes_are_an_unsupported_codec(tmp_path: Path) -> None:
    (tmp_path / "list.m3u").write_text("#EXTM3U\nfile:///etc/hostname\n")
    with pytest.raises(UnsupportedCodecError):
        load_window(tmp_path / "list.m3u")


def test_load_window_missing_file_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_window(tmp_path / "none.wav")


@pytest.mark.parametrize(("start", "duration"), [(-1.0, 30.0), (0.0, 0.0), (float("nan"), 30.0), (0.0, float("nan"))])
def test_load_window_impossible_window_is_a_value_error(tmp_path: Path, start: float, duration: float) -> None:
    with pytest.raises(ValueError, match="expected start"):
        load_window(_wav(tmp_path / "a.wav", tune(6.0)), start, duration)


def test_load_window_leaves_no_descriptor_open(encoded: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no audio")
    before = len(os.listdir("/proc/self/fd"))
    for path in (*encoded.values(), tmp_path / "text.wav"):
        try:
            load_window(path)
        except UnsupportedCodecError:
            assert path.name == "text.wav"
    assert len(os.listdir("/proc/self/fd")) == before
