import numpy as np
import pytest
from scipy import fft

from features.transform import rfft


@pytest.mark.parametrize("n", [1 << 12, 1 << 18, 1 << 21])
def test_rfft_noise_equals_scipy(n: int) -> None:
    y = np.random.default_rng(n).standard_normal(n).astype(np.float32)
    expected = fft.rfft(y.astype(np.float64))
    # Single precision: 1e-7 of the root mean square bin, which is sqrt(n), with a margin for the worst of a million.
    assert np.abs(rfft(y) - expected).max() < 1.5e-6 * np.sqrt(n)
