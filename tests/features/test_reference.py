"""The readable float64 reference against MIRtoolbox, and the fast extractor against the reference."""

import math

import numpy as np
import pytest

from features import FEATURE_NAMES, AudioLimits, extract, load_window
from tests.features import reference
from tests.features.golden import CLIPS, needs_golden, read_golden
from tests.features.signals import phrase

QUICK_CLIPS = ("real09_trumpet5s", "syn07_short2s")
EVERY_CLIP = sorted(path.stem for path in CLIPS.glob("*.flac")) if CLIPS.is_dir() else []


def worst_error_of_reference(clip: str) -> float:
    golden = read_golden()
    audio = load_window(CLIPS / f"{clip}.flac", duration=60.0, native_rate=True, limits=AudioLimits.unrestricted())
    computed = reference.compute(audio.y.astype(np.float64), audio.sr)
    return max(golden.error(clip, name, computed[name]) for name in FEATURE_NAMES)


@needs_golden
@pytest.mark.parametrize("clip", QUICK_CLIPS)
def test_reference_quick_clip_equals_mirtoolbox(clip: str) -> None:
    assert worst_error_of_reference(clip) < 2e-10


@needs_golden
@pytest.mark.slow
@pytest.mark.parametrize("clip", EVERY_CLIP)
def test_reference_every_clip_equals_mirtoolbox(clip: str) -> None:
    # Golden values are printed with 12 digits; NaN must be NaN.
    assert worst_error_of_reference(clip) < 2e-10


@pytest.mark.parametrize(("seconds", "sr"), [(4.0, 44_100), (3.3, 48_000), (5.1, 22_050)])
def test_extract_phrase_equals_reference(seconds: float, sr: int) -> None:
    y = np.round(np.clip(phrase(seconds, sr, seed=sr), -1, 1 - 2**-15) * 32768) / 32768
    fast = extract(y, sr, native_rate=True)
    slow = reference.compute(y, sr)
    for name in FEATURE_NAMES:
        if math.isnan(slow[name]):
            assert math.isnan(fast[name]), name
        else:
            assert fast[name] == pytest.approx(slow[name], rel=1e-4, abs=1e-7), name
