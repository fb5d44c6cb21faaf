"""The contract between the ear and the model: 50 named numbers in one order.

Names and order are those of the Turkish Music Emotion table's header, which are what MIRtoolbox's ``mirexport``
writes for twenty separate default calls [1]_ [2]_. ``COLUMNS`` says of each what it measures, in which unit and range,
after whom, and what the model is given where MIRtoolbox gives NaN. Unless a definition speaks of frames, a column is
one value computed from the whole clip at once.

References
----------
.. [1] Er and Aydilek (2019), Music emotion recognition by using chroma spectrogram and deep visual features,
       International Journal of Computational Intelligence Systems 12(2).
.. [2] Lartillot and Toiviainen (2007), A Matlab toolbox for musical feature extraction from audio, DAFx.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Column:
    """What one of the 50 numbers means.

    Parameters
    ----------
    name : str
        As in the dataset's header.
    definition : str
        What is computed, in one sentence.
    unit : str
        Unit of the value; "ratio" for shares and normalised values, "1" for other pure numbers.
    low, high : float
        Values that the definition allows (infinite where it sets no bound).
    source : str
        Paper or system that the measure comes from.
    neutral : float
        What the model is given where the value is undefined and no better rule applies: the dataset's median, or 0
        for slopes and spreads.
    missing : str
        When MIRtoolbox gives NaN and what the model is given then; empty where the value always exists.
    """

    name: str
    definition: str
    unit: str
    low: float
    high: float
    source: str
    neutral: float = 0.0
    missing: str = ""


_INF = float("inf")
_PITCHES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_SPECTRUM = "the magnitude spectrum of the whole Hamming-windowed clip"
_SILENT = "Silence; the dataset's median stands in."
_HCDF = "_HarmonicChangeDetectionFunction_"
_CHANGE = "distance of successive tonal centroids (.743 s frames, .0743 s apart)"

COLUMNS: Final[tuple[Column, ...]] = (
    Column("_RMSenergy_Mean", "Root mean square of the samples.", "full scale", 0, 1, "textbook"),
    Column(
        "_Lowenergy_Mean",
        "Share of 50 ms frames whose root mean square is below the frames' mean.",
        "ratio",
        0,
        1,
        "Tzanetakis and Cook (2002)",
    ),
    Column(
        "_Fluctuation_Mean",
        "Mean over 24 Bark bands and 0-10 Hz of the masked loudness levels' modulation spectrum, weighted by "
        "fluctuation strength.",
        "dB/s",
        0,
        _INF,
        "Pampalk, Rauber and Merkl (2002); Terhardt (1979); Schroeder et al. (1979); Fastl (1982)",
    ),
    Column(
        "_Tempo_Mean",
        "Speed of the strongest period of ten gammatone channels' envelopes, by enhanced autocorrelation.",
        "BPM",
        40,
        200,
        "Tolonen and Karjalainen (2000); Toiviainen and Snyder (2003)",
        120.185,
        "No period stands out; the dataset's median stands in.",
    ),
    *(
        Column(
            f"_MFCC_Mean_{i}",
            f"Mel-frequency cepstral coefficient {i}: cosine transform of 40 bands' log10 magnitudes over {_SPECTRUM}.",
            "1",
            -_INF,
            _INF,
            "Davis and Mermelstein (1980); Slaney (1998), Auditory Toolbox",
        )
        for i in range(1, 14)
    ),
    Column(
        "_Roughness_Mean",
        "Mean over 50 ms frames of the dissonance summed over all pairs of spectral peaks; grows with the square of "
        "the level.",
        "magnitude squared",
        0,
        _INF,
        "Plomp and Levelt (1965); Sethares (1998)",
    ),
    Column(
        "_Roughness_Slope",
        "Trend of the frames' roughness: slope through the origin of the standardised curve over 0 to 1.",
        "1",
        -0.87,
        0.87,
        "Lartillot and Toiviainen (2007)",
        0.0,
        "Roughness does not change (pure tones, silence); 0: no trend.",
    ),
    Column("_Zero-crossingrate_Mean", "Half the sign changes per second.", "1/s", 0, 22050, "textbook"),
    Column(
        "_AttackTime_Mean",
        "Mean time from the beginning to the end of the steep rise of each onset in the 30 ms energy curve.",
        "s",
        0,
        _INF,
        "Krimphoff, McAdams and Winsberg (1994); MIRtoolbox 1.7.0",
        0.027,
        "No attack: the dataset's median. Peaks end before onsets do: the remaining onsets and the last attack "
        "are left out, as MIRtoolbox 1.7.1 does.",
    ),
    Column(
        "_AttackTime_Slope",
        "Trend of the attack times over the clip, as for roughness.",
        "1",
        -0.87,
        0.87,
        "Lartillot and Toiviainen (2007)",
        0.0,
        "As for the mean; with fewer than two different attacks 0: no trend.",
    ),
    Column(
        "_Rolloff_Mean",
        f"Frequency below which 85 % of the magnitude lies in {_SPECTRUM}.",
        "Hz",
        0,
        22050,
        "Tzanetakis and Cook (2002)",
    ),
    Column(
        "_Eventdensity_Mean",
        "Onsets per second: peaks of the 100 ms energy curve that stand out by a tenth of its range.",
        "1/s",
        0,
        50,
        "Lartillot and Toiviainen (2007)",
    ),
    Column(
        "_Pulseclarity_Mean",
        "Highest autocorrelation of the 100 ms energy curve's difference over lags of .3 to 1.5 s.",
        "ratio",
        -1,
        1,
        "Lartillot, Eerola, Toiviainen and Fornari (2008)",
    ),
    Column(
        "_Brightness_Mean",
        f"Share of magnitude above 1500 Hz in {_SPECTRUM}.",
        "ratio",
        0,
        1,
        "Juslin (2000)",
        0.448,
        _SILENT,
    ),
    Column(
        "_Spectralcentroid_Mean",
        f"Mean frequency of {_SPECTRUM}.",
        "Hz",
        0,
        22050,
        "textbook",
        2548.163,
        "Entropy above .95 (noise): the centroid all the same. Silence: the dataset's median.",
    ),
    Column(
        "_Spectralspread_Mean",
        f"Standard deviation of frequency in {_SPECTRUM}.",
        "Hz",
        0,
        22050,
        "textbook",
        3156.712,
        _SILENT,
    ),
    Column(
        "_Spectralskewness_Mean",
        f"Third standardised moment of frequency in {_SPECTRUM}.",
        "1",
        -_INF,
        _INF,
        "textbook",
        1.687,
        _SILENT,
    ),
    Column(
        "_Spectralkurtosis_Mean",
        f"Fourth standardised moment of frequency in {_SPECTRUM}; 3 for a normal shape.",
        "1",
        1,
        _INF,
        "textbook",
        5.217,
        _SILENT,
    ),
    Column(
        "_Spectralflatness_Mean",
        f"Geometric over arithmetic mean of {_SPECTRUM}.",
        "ratio",
        0,
        1,
        "Gray and Markel (1974)",
        0.047,
        _SILENT,
    ),
    Column(
        "_EntropyofSpectrum_Mean",
        f"Relative entropy of {_SPECTRUM}: 0 for one line, 1 for a flat spectrum.",
        "ratio",
        0,
        1,
        "Shannon (1948)",
    ),
    *(
        Column(
            f"_Chromagram_Mean_{i + 1}",
            f"Strength of pitch class {pitch}, 100-6400 Hz, down to 20 dB below the strongest line; the top is 1.",
            "ratio",
            0,
            1,
            "Fujishima (1999); Gomez (2006)",
        )
        for i, pitch in enumerate(_PITCHES)
    ),
    Column(f"{_HCDF}Mean", f"Mean {_CHANGE}.", "1", 0, _INF, "Harte, Sandler and Gasser (2006)"),
    Column(
        f"{_HCDF}Std",
        f"Standard deviation of the {_CHANGE}.",
        "1",
        0,
        _INF,
        "Harte, Sandler and Gasser (2006)",
        0.0,
        "The harmony does not change; 0.",
    ),
    Column(
        f"{_HCDF}Slope",
        f"Trend of the {_CHANGE}, as for roughness.",
        "1",
        -0.87,
        0.87,
        "Harte, Sandler and Gasser (2006)",
        0.0,
        "The harmony does not change; 0: no trend.",
    ),
    Column(
        f"{_HCDF}PeriodFreq",
        f"Frequency of the main period of the {_CHANGE}.",
        "Hz",
        0,
        13.4574,
        "Harte, Sandler and Gasser (2006); Lartillot and Toiviainen (2007)",
        1.682,
        "No period; the dataset's median stands in.",
    ),
    Column(
        f"{_HCDF}PeriodAmp",
        "Height of the autocorrelation peak of that period.",
        "ratio",
        0,
        1,
        "Lartillot and Toiviainen (2007)",
        0.786,
        "No period; the dataset's median stands in.",
    ),
    Column(
        f"{_HCDF}PeriodEntropy",
        "Relative entropy of that autocorrelation.",
        "ratio",
        0,
        1,
        "Lartillot and Toiviainen (2007)",
        0.967,
        "No change at all; the dataset's median stands in.",
    ),
)

FEATURE_NAMES: Final[tuple[str, ...]] = tuple(column.name for column in COLUMNS)

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
