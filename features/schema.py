"""The contract between the ear and the model: 50 named numbers in one order.

Names and order are those of the Turkish Music Emotion table's header, which are what MIRtoolbox's ``mirexport``
writes for twenty separate default calls (Er and Aydilek 2019; Lartillot and Toiviainen 2007).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

FEATURE_NAMES: Final[tuple[str, ...]] = (
    "_RMSenergy_Mean",
    "_Lowenergy_Mean",
    "_Fluctuation_Mean",
    "_Tempo_Mean",
    "_MFCC_Mean_1",
    "_MFCC_Mean_2",
    "_MFCC_Mean_3",
    "_MFCC_Mean_4",
    "_MFCC_Mean_5",
    "_MFCC_Mean_6",
    "_MFCC_Mean_7",
    "_MFCC_Mean_8",
    "_MFCC_Mean_9",
    "_MFCC_Mean_10",
    "_MFCC_Mean_11",
    "_MFCC_Mean_12",
    "_MFCC_Mean_13",
    "_Roughness_Mean",
    "_Roughness_Slope",
    "_Zero-crossingrate_Mean",
    "_AttackTime_Mean",
    "_AttackTime_Slope",
    "_Rolloff_Mean",
    "_Eventdensity_Mean",
    "_Pulseclarity_Mean",
    "_Brightness_Mean",
    "_Spectralcentroid_Mean",
    "_Spectralspread_Mean",
    "_Spectralskewness_Mean",
    "_Spectralkurtosis_Mean",
    "_Spectralflatness_Mean",
    "_EntropyofSpectrum_Mean",
    "_Chromagram_Mean_1",
    "_Chromagram_Mean_2",
    "_Chromagram_Mean_3",
    "_Chromagram_Mean_4",
    "_Chromagram_Mean_5",
    "_Chromagram_Mean_6",
    "_Chromagram_Mean_7",
    "_Chromagram_Mean_8",
    "_Chromagram_Mean_9",
    "_Chromagram_Mean_10",
    "_Chromagram_Mean_11",
    "_Chromagram_Mean_12",
    "_HarmonicChangeDetectionFunction_Mean",
    "_HarmonicChangeDetectionFunction_Std",
    "_HarmonicChangeDetectionFunction_Slope",
    "_HarmonicChangeDetectionFunction_PeriodFreq",
    "_HarmonicChangeDetectionFunction_PeriodAmp",
    "_HarmonicChangeDetectionFunction_PeriodEntropy",
)

# Part of every event id and artifact: raise it whenever any of the 50 numbers can change for the same audio.
FEATURE_VERSION: Final = "mirtoolbox-1.7.0+1"


@dataclass(frozen=True, slots=True, eq=False)
class FeatureVector:
    """The 50 features of one fragment, in ``FEATURE_NAMES`` order.

    Parameters
    ----------
    values : np.ndarray, shape (50,), float64
        What MIRtoolbox would print; NaN where MIRtoolbox gives NaN.
    finite : np.ndarray, shape (50,), float64
        What the model is given: ``values`` with every NaN replaced by its column's documented rule.

    Raises
    ------
    ValueError
        If either does not hold exactly 50 numbers, or ``finite`` holds NaN or infinity.
    """

    values: NDArray[np.float64]
    finite: NDArray[np.float64]

    def __post_init__(self) -> None:
        for numbers in (self.values, self.finite):
            if numbers.shape != (len(FEATURE_NAMES),):
                raise ValueError(f"expected {len(FEATURE_NAMES)} features, got shape {numbers.shape}")
        if not np.isfinite(self.finite).all():
            raise ValueError("expected finite numbers for the model, got NaN or infinity")

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> NDArray[np.float64]:
        return np.array(self.values, dtype=dtype, copy=copy)

    def __len__(self) -> int:
        return len(FEATURE_NAMES)

    def __iter__(self) -> Iterator[float]:
        return iter(self.values.tolist())

    def __getitem__(self, name: str) -> float:
        return float(self.values[FEATURE_NAMES.index(name)])

    def to_dict(self) -> dict[str, float]:
        """Give the features by name."""
        return dict(zip(FEATURE_NAMES, self.values.tolist(), strict=True))
