"""What can go wrong with an event, and what is then done about it.

::

    EmotionServiceError
    ├── RetriableError          the same bytes may work later   -> bounded backoff, in order, then dead letter
    │   ├── AudioStoreUnavailableError   unavailable
    │   └── AnalysisTimeoutError         timeout
    ├── PermanentError          the same bytes will fail again  -> dead letter now, with its reason
    │   ├── InvalidEventError            invalid_json, schema, unknown_event_type, event_too_large,
    │   │                                unmatched (feedback on a track never judged)
    │   ├── AudioLocationError           unsupported_uri, forbidden_host, forbidden_path
    │   ├── AudioNotFoundError           not_found
    │   ├── AudioRejectedError           too_large, and every reason of ``features.errors``
    │   └── WorkerCrashError             crash    (the analysis killed its process, more than once)
    └── FatalError              the worker cannot be right      -> stop; let the orchestrator restart
        ├── ConfigurationError
        ├── BrokerError
        └── ScratchError

``reason`` is a closed list, shared by dead letters, the metric label and the log. A flood of dead letters is our bug
until shown otherwise: see ``emotion_events_dead_lettered_total`` in docs/runbooks.
"""

from enum import StrEnum

from consumer.timing import Timing


class Reason(StrEnum):
    """Why an event became a dead letter: the closed list of slugs."""

    # A text's own: an enumeration's is written in Python, and differs from that of the text it is equal to.
    __hash__ = str.__hash__

    INVALID_JSON = "invalid_json"
    SCHEMA = "schema"
    UNKNOWN_EVENT_TYPE = "unknown_event_type"
    EVENT_TOO_LARGE = "event_too_large"
    UNSUPPORTED_URI = "unsupported_uri"
    FORBIDDEN_HOST = "forbidden_host"
    FORBIDDEN_PATH = "forbidden_path"
    NOT_FOUND = "not_found"
    UNAVAILABLE = "unavailable"
    TOO_LARGE = "too_large"
    TIMEOUT = "timeout"
    DECODE = "decode"
    TRUNCATED = "truncated"
    UNSUPPORTED_CODEC = "unsupported_codec"
    AUDIO_FORMAT = "audio_format"
    TOO_SHORT = "too_short"
    SILENT = "silent"
    CRASH = "crash"
    UNMATCHED = "unmatched"
    INTERNAL = "internal"


class EmotionServiceError(Exception):
    """Root of the service's errors.

    Parameters
    ----------
    message : str
        What was expected and what came.
    reason : Reason, optional
        The slug of a dead letter; the class's own by default.
    """

    retriable = False
    reason: Reason = Reason.INTERNAL
    # The stage of an analysis that failed: fetch, decode, extract or predict.
    stage: str | None = None
    # When the stages of the analysis ran that failed.
    timings: tuple[Timing, ...] = ()

    def __init__(self, message: str, *, reason: Reason | None = None) -> None:
        super().__init__(message)
        if reason is not None:
            self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        # Raised in a pool process and pickled back: keyword-only arguments need this.
        return (_rebuild, (type(self), str(self), self.reason, self.stage, self.timings))


def _rebuild(
    cls: type[EmotionServiceError], message: str, reason: Reason, stage: str | None, timings: tuple[Timing, ...]
) -> EmotionServiceError:
    error = cls(message, reason=reason)
    error.stage = stage
    error.timings = timings
    return error


class RetriableError(EmotionServiceError):
    """The same bytes may work later: retried with backoff, then dead-lettered."""

    retriable = True
    reason = Reason.UNAVAILABLE


class AudioStoreUnavailableError(RetriableError):
    """The audio's server did not answer, or answered 5xx or 429."""


class AnalysisTimeoutError(RetriableError):
    """Fetching or analysing the track took longer than its limit; its process was killed."""

    reason = Reason.TIMEOUT


class PermanentError(EmotionServiceError):
    """The same bytes will fail again: dead-lettered now."""


class InvalidEventError(PermanentError):
    """The message is not a TrackEvent."""

    reason = Reason.SCHEMA


class AudioLocationError(PermanentError):
    """The ``audio_uri`` points where this worker may not go."""

    reason = Reason.UNSUPPORTED_URI


class AudioNotFoundError(PermanentError):
    """There is nothing at the ``audio_uri``."""

    reason = Reason.NOT_FOUND


class AudioRejectedError(PermanentError):
    """The audio was had but cannot be heard; wraps ``features.FeatureError``."""

    reason = Reason.DECODE


class WorkerCrashError(PermanentError):
    """Analysing this track killed its process, more than once."""

    reason = Reason.CRASH


class FatalError(EmotionServiceError):
    """The worker cannot be right: it stops without acknowledging."""


class ConfigurationError(FatalError):
    """A setting is missing, malformed or contradicts another."""


class BrokerError(FatalError):
    """Kafka refused what the worker must be able to do."""


class ScratchError(FatalError):
    """The worker's own disk takes no download: no event is to blame for it."""
