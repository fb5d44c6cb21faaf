"""What the stages compute on the way, against arrays that MIRtoolbox itself held."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import io

from features import dynamics, onsets, roughness, spectrum, tempo, timbre, tonal
from features.audio import Audio, load_window
from features.frames import blocked_starts, frame_times
from features.peaks import CLOSED, peaks, valleys
from tests.features.golden import CLIPS, SHARED, needs_golden

pytestmark = needs_golden

CLIP_NAMES = ("own07_sad_piano", "real01_fishin_a", "sym05_hicaz_sarki")


class Held:
    """One clip and MIRtoolbox's arrays for it."""

    def __init__(self, clip: str, suffix: str = "") -> None:
        self.audio: Audio = load_window(CLIPS / f"{clip}.flac")
        self.arrays: dict[str, Any] = io.loadmat(SHARED / "features" / "intermediates" / f"{clip}{suffix}.mat")

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        return np.asarray(self.arrays[name], np.float64).ravel()


@pytest.fixture(scope="module", params=CLIP_NAMES)
def held(request: pytest.FixtureRequest) -> Held:
    return Held(request.param)


def assert_close(computed: NDArray[Any], expected: NDArray[np.float64], tolerance: float) -> None:
    """Compare to a share of the greatest value."""
    assert computed.shape == expected.shape
    assert np.abs(computed - expected).max() <= tolerance * np.abs(expected).max()


def test_clip_spectrum_equals_mirtoolbox(held: Held) -> None:
    clip = spectrum.clip_spectrum(held.audio.y, held.audio.sr)
    # Below 40 Hz single precision suffers from differencing, which no column notices.
    assert_close(clip.S[:2000], held["spectrum_first2000"], 2e-3)
    assert clip.S.sum(dtype=np.float64) == pytest.approx(held["spectrum_sum"][0], rel=1e-6)
    assert clip.least == pytest.approx(held["spectrum_min"][0], rel=1e-7)
    assert len(clip.S) == held["spectrum_nbins"][0]


def test_mel_bands_equal_mirtoolbox(held: Held) -> None:
    clip = spectrum.clip_spectrum(held.audio.y, held.audio.sr)
    assert_close(timbre._bands(clip.S, timbre._band_edges(), clip.bin_hz), held["mel40"], 1e-6)


def test_clip_chroma_equals_mirtoolbox(held: Held) -> None:
    clip = spectrum.clip_spectrum(held.audio.y, held.audio.sr)
    assert_close(tonal.clip_chroma(held.audio.y, clip), held["chroma"], 1e-6)


def test_harmonic_change_equals_mirtoolbox(held: Held) -> None:
    assert_close(tonal.harmonic_change(held.audio.y, held.audio.sr)[0], held["hcdf"], 2e-5)


def test_onset_curve_equals_mirtoolbox(held: Held) -> None:
    curve = onsets.onset_curve(held.audio.y, held.audio.sr)
    assert_close(curve.energy / curve.energy.max(), held["onset_spectro"] / held["onset_spectro"].max(), 1e-10)
    assert_close(curve.times, held["onset_spectro_t"], 1e-15)


def test_pulse_autocorrelation_equals_mirtoolbox(held: Held) -> None:
    curve = onsets.onset_curve(held.audio.y, held.audio.sr)
    kept, weights = tempo.resonance(curve.times[:-1] - curve.times[0])
    correlation = tempo.autocorrelation(np.diff(curve.energy), kept.stop)[kept] * weights
    assert_close(correlation, held["pc_ac"], 1e-9)


def test_tempo_autocorrelation_equals_mirtoolbox(held: Held) -> None:
    change = np.diff(tempo.envelope(held.audio.y, held.audio.sr))
    lags = np.arange(len(change)) / (held.audio.sr / 16)
    kept, weights = tempo.resonance(lags)
    correlation = tempo.autocorrelation(change, kept.stop)[kept] * weights
    # The toolbox keeps this curve multiplied by n / (n - 1 - i).
    kept_by_toolbox = correlation * len(change) / (len(change) - 1 - np.arange(len(correlation)))
    assert_close(kept_by_toolbox, held["tempo_ac"], 1e-5)
    assert_close(lags[kept], held["tempo_ac_lag"], 1e-15)


def test_envelope_follows_mirtoolbox(held: Held) -> None:
    # Kept in single precision and rescaled: only its shape can be compared.
    change = np.diff(tempo.envelope(held.audio.y, held.audio.sr))
    assert np.corrcoef(change, held["tempo_env"])[0, 1] > 1 - 1e-10


def test_roughness_curve_equals_mirtoolbox(held: Held) -> None:
    assert_close(roughness.roughness_curve(held.audio.y, held.audio.sr), held["rough_frames"], 1e-5)


def test_frame_rms_equals_mirtoolbox(held: Held) -> None:
    length = 2205
    starts = blocked_starts(len(held.audio.y), length, 1102.5)
    rms = np.sqrt(dynamics._energies(held.audio.y, starts, length) / length)
    assert_close(rms, held["rms_frames"], 1e-10)


def test_attack_curves_equal_mirtoolbox() -> None:
    held = Held("real01_fishin_a", "_attack_v170")
    sr = held.audio.sr
    length, hop = int(0.03 * sr), 0.02 * (0.03 * sr)
    starts = blocked_starts(len(held.audio.y), length, hop)
    energy = onsets.frame_energies(held.audio.y, starts, length)
    times = frame_times(starts, length, sr)
    assert_close(energy / energy.max(), held["dby"], 1e-10)
    assert_close(times, held["dbyt"], 1e-15)
    assert_close(times[peaks(energy, 0.05, begin=CLOSED, end=CLOSED)], held["dbpp"], 1e-12)
    bottoms = valleys(held["dbz"], 0.1, level=0.5, end=CLOSED)
    assert_close(held["dbt"][bottoms], held["dbstu"], 1e-12)
