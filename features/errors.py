"""What can be wrong with a piece of audio.

::

    FeatureError
    ├── AudioDecodeError            decode             the bytes are not audio, or break off in the middle
    │   ├── TruncatedAudioError     truncated          fewer frames came than the container declares
    │   └── UnsupportedCodecError   unsupported_codec  a container or codec outside the allow-list
    ├── AudioFormatError            audio_format       rate outside 8-192 kHz, more than 8 channels, NaN samples
    ├── AudioTooLargeError          too_large          bytes or duration above the limit
    ├── AudioTooShortError          too_short          less audio than the features need
    └── SilentAudioError            silent             digital silence: no emotion can be heard

Every class has a ``reason``: the slug that dead letters, metrics and logs share.
"""

from typing import ClassVar


class FeatureError(Exception):
    """Root of everything the ear refuses; never raised itself."""

    reason: ClassVar[str] = "decode"


class AudioDecodeError(FeatureError):
    """The bytes cannot be decoded as audio."""

    reason = "decode"


class TruncatedAudioError(AudioDecodeError):
    """Decoding gave fewer frames than the container declares."""

    reason = "truncated"


class UnsupportedCodecError(AudioDecodeError):
    """The container or codec is outside the allow-list."""

    reason = "unsupported_codec"


class AudioFormatError(FeatureError):
    """Sampling rate, channel count or sample values are outside what can be heard."""

    reason = "audio_format"


class AudioTooLargeError(FeatureError):
    """The audio is larger or longer than the limits allow."""

    reason = "too_large"


class AudioTooShortError(FeatureError):
    """There is less audio than the features need."""

    reason = "too_short"


class SilentAudioError(FeatureError):
    """Every sample of the window is zero."""

    reason = "silent"
