"""What must hold for any sound, whatever its numbers are."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from features import (
    COLUMNS,
    FEATURE_NAMES,
    AudioTooShortError,
    FeatureVector,
    extract,
    extractor,
    warm_up,
)
from tests.features.signals import phrase

SR = 44_100
HCDF = "_HarmonicChangeDetectionFunction_"
CHROMA = tuple(f"_Chromagram_Mean_{i}" for i in range(1, 13))
GRID = 32_768


def on_even_steps(y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round to every second 16-bit step, so that half of it is on the grid too."""
    return np.asarray(np.round(np.clip(y, -0.99, 0.99) * GRID / 2) * 2 / GRID)


@pytest.fixture(scope="module")
def music() -> NDArray[np.float64]:
    return on_even_steps(phrase(6.0, SR, seed=3))


@pytest.fixture(scope="module")
def heard(music: NDArray[np.float64]) -> FeatureVector:
    return extract(music, SR)


def test_extract_half_the_level_changes_only_level_columns(music: NDArray[np.float64], heard: FeatureVector) -> None:
    half = extract(music / 2, SR)
    expected = heard.to_dict()
    expected["_RMSenergy_Mean"] /= 2
    expected["_Roughness_Mean"] /= 4
    del expected["_Fluctuation_Mean"]  # the mask's floor is absolute
    for name, value in expected.items():
        assert half[name] == pytest.approx(value, rel=1e-5, abs=1e-9), name


def test_extract_inverted_polarity_changes_nothing_but_chroma_a_little(
    music: NDArray[np.float64], heard: FeatureVector
) -> None:
    inverted = extract(-music, SR)
    for name in FEATURE_NAMES:
        # MIRtoolbox lifts the least sample to zero before a chromagram, and polarity decides which sample that is.
        relative, absolute = (2e-2, 1e-3) if name.startswith(("_Chromagram", HCDF)) else (1e-6, 1e-9)
        assert inverted[name] == pytest.approx(heard[name], rel=relative, abs=absolute), name


def test_extract_swapped_channels_gives_the_same_vector(music: NDArray[np.float64]) -> None:
    stereo = np.stack([music, np.roll(music, 1000)], axis=1)
    np.testing.assert_array_equal(extract(stereo, SR).values, extract(stereo[:, ::-1], SR).values)


@pytest.mark.parametrize("steps", [1, 4, 7])
def test_extract_transposed_chord_rotates_chroma(steps: int) -> None:
    def chord(transposition: int) -> NDArray[np.float64]:
        t = np.arange(4 * SR) / SR
        pitches = 261.6256 * 2 ** ((np.array([0, 4, 7]) + transposition) / 12)
        levels = np.array([1.0, 0.7, 0.5])
        return np.asarray((0.2 * levels[:, None] * np.sin(2 * np.pi * pitches[:, None] * t)).sum(axis=0))

    plain = np.array([extract(chord(0), SR)[name] for name in CHROMA])
    moved = np.array([extract(chord(steps), SR)[name] for name in CHROMA])
    assert set(np.argsort(plain)[-3:]) == {0, 4, 7}
    # Means over the bins of a semitone: their number grows with frequency, and with it how a line is diluted.
    np.testing.assert_allclose(moved, np.roll(plain, steps), atol=0.35)
    assert set(np.argsort(moved)[-3:]) == {(0 + steps) % 12, (4 + steps) % 12, (7 + steps) % 12}


def test_extract_silence_is_nan_where_mirtoolbox_is_and_finite_for_the_model() -> None:
    silent = extract(np.zeros(30 * SR), SR)
    assert silent["_RMSenergy_Mean"] == silent["_Rolloff_Mean"] == silent["_Eventdensity_Mean"] == 0
    assert silent["_Fluctuation_Mean"] == pytest.approx(15.6371, abs=1e-4)
    assert all(silent[name] == 0 for name in CHROMA)
    undefined = {name for name in FEATURE_NAMES if math.isnan(silent[name])}
    assert undefined == {
        *("_Tempo_Mean", "_Roughness_Slope", "_AttackTime_Mean", "_AttackTime_Slope", "_Brightness_Mean"),
        *(f"_Spectral{name}_Mean" for name in ("centroid", "spread", "skewness", "kurtosis", "flatness")),
        *(HCDF + name for name in ("Std", "Slope", "PeriodFreq", "PeriodAmp", "PeriodEntropy")),
    }
    neutral = {column.name: column.neutral for column in COLUMNS}
    assert all(silent.finite[FEATURE_NAMES.index(name)] == neutral[name] for name in undefined)


def test_extract_noise_gives_the_model_the_centroid_that_mirtoolbox_withholds() -> None:
    noise = extract(0.2 * np.random.default_rng(0).standard_normal(5 * SR), SR)
    assert math.isnan(noise["_Spectralcentroid_Mean"])
    # White noise is as loud at every frequency: its mean is the middle of 0 to 22 050 Hz.
    assert noise.finite[FEATURE_NAMES.index("_Spectralcentroid_Mean")] == pytest.approx(11_025, rel=0.01)


def test_extract_constant_is_finite_for_the_model() -> None:
    constant = extract(np.full(3 * SR, 0.25), SR)
    assert constant["_RMSenergy_Mean"] == pytest.approx(0.25, rel=1e-5)
    assert constant["_Zero-crossingrate_Mean"] == 0
    assert all(constant[name] == 0 for name in CHROMA)


def test_extract_offset_removes_crossings_and_keeps_chroma(music: NDArray[np.float64], heard: FeatureVector) -> None:
    quiet, lifted = extract(music / 4, SR), extract(music / 4 + 0.5, SR)
    assert lifted["_Zero-crossingrate_Mean"] == 0
    assert lifted["_RMSenergy_Mean"] == pytest.approx(math.hypot(quiet["_RMSenergy_Mean"], 0.5), rel=1e-3)
    for name in CHROMA:
        assert lifted[name] == pytest.approx(quiet[name], abs=1e-3), name


def test_extract_overdriven_sounds_as_clipped(music: NDArray[np.float64]) -> None:
    loud = 20 * music
    assert np.abs(loud).max() > 1
    clipped = np.clip(loud, -1, 1 - 1 / GRID)
    np.testing.assert_array_equal(extract(loud, SR).values, extract(clipped, SR).values)


@pytest.mark.parametrize("bpm", [80.0, 120.0, 150.0])
def test_extract_click_train_has_its_tempo(bpm: float) -> None:
    y = np.zeros(20 * SR)
    click = np.exp(-np.arange(400) / 60) * np.sin(2 * np.pi * 1000 * np.arange(400) / SR)
    for onset in np.arange(0.2, 19.9, 60 / bpm):
        y[round(onset * SR) : round(onset * SR) + 400] += 0.8 * click
    clicks = extract(y, SR)
    assert clicks["_Tempo_Mean"] == pytest.approx(bpm, rel=1e-3)
    assert clicks["_Eventdensity_Mean"] == pytest.approx(bpm / 60, rel=0.05)
    assert clicks["_Pulseclarity_Mean"] > 0.7


@pytest.mark.parametrize("frequency", [3_001.7, 11_025.3, 16_003.1])
def test_extract_tone_has_its_frequency_as_centroid(frequency: float) -> None:
    tone = extract(0.9 * np.sin(0.3 + 2 * np.pi * frequency * np.arange(4 * SR) / SR), SR)
    # The window's side lobes and the 16-bit rounding noise, spread over all frequencies, hold a twentieth of the
    # magnitude and pull towards the middle.
    assert tone["_Spectralcentroid_Mean"] == pytest.approx(frequency, abs=50 + abs(frequency - SR / 4) / 15)
    assert tone["_Rolloff_Mean"] == pytest.approx(frequency, abs=60)
    assert tone["_Zero-crossingrate_Mean"] == pytest.approx(frequency, rel=1e-3)


def test_extract_clip_of_the_dataset_length_is_on_the_dataset_grids() -> None:
    # 30.02 s at 44.1 kHz: 2 993 onset frames, and harmonic change every 3 277 samples.
    clip = extract(phrase(30.02, SR, seed=11), SR)
    events = clip["_Eventdensity_Mean"] * 29.93
    assert events == pytest.approx(round(events), abs=1e-9)
    lag = SR / 3277 / clip[HCDF + "PeriodFreq"]
    assert lag == pytest.approx(round(lag), abs=1e-9)


def test_extract_two_minutes_is_heard_whole() -> None:
    long = extract(np.tile(phrase(30.0, SR, seed=5), 4), SR)
    assert np.isfinite(long.finite).all()
    assert 40 <= long["_Tempo_Mean"] <= 200


def test_extract_read_only_samples_give_the_same_vector(music: NDArray[np.float64], heard: FeatureVector) -> None:
    frozen = music.astype(np.float32)
    frozen.flags.writeable = False
    np.testing.assert_array_equal(extract(frozen, SR).values, heard.values)


@pytest.mark.parametrize("seconds", [0.01, 0.5, 0.999])
def test_extract_under_a_second_raises_too_short(seconds: float) -> None:
    with pytest.raises(AudioTooShortError, match=r"expected at least 1 s of audio, got 0\."):
        extract(np.full(round(seconds * SR), 0.1), SR)


@pytest.mark.parametrize("sr", [8_000, 16_000, 22_050, 96_000])
def test_extract_one_second_at_any_rate_is_finite_for_the_model(sr: int) -> None:
    second = phrase(1.01, sr, seed=sr)
    assert np.isfinite(extract(second, sr).finite).all()
    assert np.isfinite(extract(second, sr, native_rate=True).finite).all()


def test_warm_up_compiles_every_kernel_that_a_full_clip_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    warm_up()
    from numba.core.registry import CPUDispatcher

    kernels = [
        kernel
        for module in vars(extractor).values()
        if getattr(module, "__module__", "").startswith("features.")
        for kernel in vars(__import__(module.__module__, fromlist=["_"])).values()
        if isinstance(kernel, CPUDispatcher)
    ]
    compiled = {kernel: len(kernel.signatures) for kernel in kernels}
    assert compiled
    extract(phrase(30.0, SR, seed=2), SR)
    assert {kernel: len(kernel.signatures) for kernel in kernels} == compiled
