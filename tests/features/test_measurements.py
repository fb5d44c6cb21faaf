"""The figures of docs/features.md: the page says what was measured, and the code still does what was measured."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from features import FEATURE_NAMES, extract, extract_file, extract_window, load_window
from tests.features.encode import encode
from tests.features.golden import needs_golden
from tests.features.measurements import (
    FORMATS,
    MEASUREMENTS,
    PAGE,
    format_differences,
    measure_parity,
    rendered_page,
    stability_clips,
)
from tests.features.signals import tune

SR = 44_100
# They pick one of several peaks, and may pick another one after a change that nobody hears.
JUMPING = {"_Tempo_Mean", "_AttackTime_Mean", "_AttackTime_Slope", "_HarmonicChangeDetectionFunction_PeriodFreq"}


def test_features_page_says_what_was_measured_and_what_the_schema_says() -> None:
    assert PAGE.read_text() == rendered_page(), "run python -m tests.features.measurements"


def test_measurements_cover_every_column_and_format() -> None:
    measured = json.loads(MEASUREMENTS.read_text())
    assert tuple(measured["parity"]) == FEATURE_NAMES
    assert tuple(measured["formats"]) == tuple(FORMATS)
    assert all(tuple(columns) == FEATURE_NAMES for columns in measured["formats"].values())


def test_extract_file_wav_and_flac_give_the_same_numbers(tmp_path: Path) -> None:
    y = np.rint(tune(8.0) * 32767).astype(np.int16)  # as integers: from floats libsndfile rounds each format otherwise
    for ending in ("wav", "flac"):
        soundfile.write(tmp_path / f"piece.{ending}", y, SR)
    wav, flac = extract_file(tmp_path / "piece.wav"), extract_file(tmp_path / "piece.flac")
    np.testing.assert_array_equal(wav.values, flac.values)


def test_extract_window_gives_what_the_same_samples_give(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "piece.wav", tune(8.0), SR)
    window = load_window(tmp_path / "piece.wav", 1.0, 6.0)
    np.testing.assert_array_equal(extract_window(window).values, extract(window.y, window.sr).values)


@pytest.mark.parametrize("ending", ["320.mp3", "48k"])
def test_extract_file_mp3_320_and_48_khz_stay_within_a_twentieth_of_a_standard_deviation(
    tmp_path: Path, ending: str
) -> None:
    # Nothing above 11 kHz, as in most music: white noise up to 22 kHz is what no encoder keeps.
    y = soxr.resample(tune(12.0, SR // 2), SR // 2, SR)
    moved = format_differences(encode(tmp_path, "wav", y, SR), tmp_path, ending)
    assert {name: value for name, value in moved.items() if value > 0.05 and name not in JUMPING} == {}


@pytest.mark.parametrize("heading", ["MP3 320", "48 kHz"])
def test_measurements_mp3_320_and_48_khz_are_within_the_bounds_of_the_page(heading: str) -> None:
    worst = {name: pair[1] for name, pair in json.loads(MEASUREMENTS.read_text())["formats"][heading].items()}
    wide = {
        "_Spectralspread_Mean": 0.15,
        "_Spectralskewness_Mean": 0.25,
        "_Spectralkurtosis_Mean": 0.7,
        "_Spectralflatness_Mean": 1.75,
    }
    assert {name: value for name, value in worst.items() if value > wide.get(name, 0.1)} == {}


@needs_golden
@pytest.mark.slow
@pytest.mark.parametrize("heading", FORMATS)
def test_extract_file_formats_move_the_columns_no_further_than_measured(
    tmp_path: Path, heading: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bounds = json.loads(MEASUREMENTS.read_text())["formats"][heading]
    moved = [format_differences(clip, tmp_path, FORMATS[heading]) for clip in stability_clips()[::4]]
    worst = {name: max(one[name] for one in moved) for name in FEATURE_NAMES}
    with capsys.disabled():
        furthest = sorted(worst.items(), key=lambda item: -item[1])[:5]
        print(f"\n{heading}, standard deviations: " + ", ".join(f"{name} {value:.2f}" for name, value in furthest))
    # Encoders differ a little between versions; half a hundredth is the last digit of the page.
    assert {name: value for name, value in worst.items() if value > 1.2 * bounds[name][1] + 0.005} == {}


@needs_golden
@pytest.mark.slow
def test_extract_file_agrees_with_mirtoolbox_as_closely_as_measured() -> None:
    recorded = json.loads(MEASUREMENTS.read_text())["parity"]
    errors = measure_parity(("own07_sad_piano", "own20_angry_metal", "own11_sad_clarinet48k", "real09_trumpet5s"))
    # Single precision rounds otherwise on other processors.
    assert {name: worst for name, (_, worst) in errors.items() if worst > 3 * recorded[name][1] + 1e-9} == {}
