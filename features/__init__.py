"""The ear: audio samples in, a named vector of 50 acoustic features out.

This room knows signal processing and decoding. It may import numpy, scipy, numba and the audio libraries; it knows
no Kafka, no scikit-learn, no settings and no metrics.
"""

from features.audio import Audio, AudioInfo, AudioLimits, load_window, probe
from features.errors import (
    AudioDecodeError,
    AudioFormatError,
    AudioTooLargeError,
    AudioTooShortError,
    FeatureError,
    SilentAudioError,
    TruncatedAudioError,
    UnsupportedCodecError,
)
from features.extractor import extract, extract_file, extract_window, warm_up
from features.samples import prepare
from features.schema import COLUMNS, FEATURE_NAMES, FEATURE_VERSION, Column, FeatureVector

__all__ = [
    "COLUMNS",
    "FEATURE_NAMES",
    "FEATURE_VERSION",
    "Audio",
    "AudioDecodeError",
    "AudioFormatError",
    "AudioInfo",
    "AudioLimits",
    "AudioTooLargeError",
    "AudioTooShortError",
    "Column",
    "FeatureError",
    "FeatureVector",
    "SilentAudioError",
    "TruncatedAudioError",
    "UnsupportedCodecError",
    "extract",
    "extract_file",
    "extract_window",
    "load_window",
    "prepare",
    "probe",
    "warm_up",
]
