"""Chroma of long frames, halved before they are transformed."""

import numpy as np
import pytest

from features import tonal
from tests.features import reference
from tests.features.signals import phrase


@pytest.mark.parametrize(
    ("sr", "seconds"),
    [(44_100, 1.3), (44_100, 1.30001), (48_000, 1.3), (96_000, 1.3), (32_000, 1.3)],
    ids=["44.1 kHz", "an odd sample", "padded", "96 kHz", "not halved"],
)
def test_frame_chromas_equal_the_chroma_of_whole_frames(sr: int, seconds: float) -> None:
    # White noise as well: whatever lies above the kept band, and at a frame's ends, must not fold into it.
    rng = np.random.default_rng(1)
    y = phrase(seconds, sr) + 0.1 * rng.standard_normal(round(seconds * sr))
    y32 = y.astype(np.float32)
    length = int(0.743 * sr)
    starts = np.array([0, 1, 1001, len(y) - length])
    expected = [reference.chroma(y32[begin : begin + length].astype(np.float64), sr) for begin in starts]
    np.testing.assert_allclose(tonal.frame_chromas(y32, starts, length, sr), expected, atol=2e-5)
