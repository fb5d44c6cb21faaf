"""From a curve over frames to single numbers."""

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float64]


def mean_std_slope(values: Curve) -> tuple[float, float, float]:
    """Summarise a curve by its level, spread and trend.

    The slope is that of the standardised curve against 0 to 1 through the origin, uncentred, as MIRtoolbox 1.7 has it.

    Parameters
    ----------
    values : np.ndarray, shape (n,), float64

    Returns
    -------
    mean, std, slope : float
        ``std`` with n - 1; both it and the slope are NaN where the curve is constant, all three where it is empty.
    """
    if not len(values):
        return np.nan, np.nan, np.nan
    mean = float(values.mean())
    std = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    if std == 0:
        return mean, np.nan, np.nan
    u = np.linspace(0, 1, len(values))
    return mean, std, float(((values - mean) / std * u).sum() / (u * u).sum())


def period(values: Curve, spacing: float) -> tuple[float, float, float]:
    """Find the main period of a curve in its autocorrelation, whose mean is left in.

    Parameters
    ----------
    values : np.ndarray, shape (n,), float64
    spacing : float
        Distance of two values in seconds.

    Returns
    -------
    frequency, amplitude, entropy : float
        Of the highest point past the autocorrelation's first fall (Hz, relative to lag 0), and the relative entropy of
        the whole. NaN where the curve is zero or its autocorrelation never rises.
    """
    n = len(values)
    r = np.correlate(values, values, "full")[n - 1 :]
    if n < 2 or r[0] == 0:
        return np.nan, np.nan, np.nan
    r = r / r[0]
    share = np.abs(r) / np.abs(r).sum()
    entropy = float(-(share * np.log(share + 1e-12)).sum() / np.log(n))
    rises = np.flatnonzero(np.diff(r) > 0)
    if not len(rises):
        return np.nan, np.nan, entropy
    r[: rises[0] + 1] = 0
    lag = int(r.argmax())
    return 1 / (lag * spacing), float(r[lag]), entropy
