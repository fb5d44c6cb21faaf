"""The story of one track: fetch its audio, decode fragments, extract features, predict the emotion.

Plain functions of values; no Kafka and no Faust. Runs in a pool process, in the batch command, anywhere.
"""

import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

import features
from consumer.audio_store import AudioAccess, fetch
from consumer.errors import AudioRejectedError, AudioStoreUnavailableError, EmotionServiceError, Reason
from consumer.scratch import own_disk
from consumer.timing import Timing, stage_seconds
from features.audio import AudioLimits
from model.emotions import Emotion
from model.judgement import Judgement

FRAGMENT_SECONDS: Final = 30.0

logger = logging.getLogger(__name__)


class Judge(Protocol):
    """A model that can be asked."""

    @property
    def version(self) -> str:
        """Which model this is."""

    @property
    def feature_version(self) -> str:
        """The features it was trained on."""

    def judge(self, X: NDArray[np.float64], starts: list[float]) -> Judgement:
        """Judge a track by its fragments.

        Parameters
        ----------
        X : np.ndarray, shape (n_fragments, 50), float64
            Finite features, one row per fragment.
        starts : list of float
            Where the fragments begin, seconds.

        Returns
        -------
        Judgement
            Of the whole track.
        """


class Listening(Struct, frozen=True, kw_only=True):
    """How to listen.

    Parameters
    ----------
    access : AudioAccess
        What may be fetched.
    limits : AudioLimits
        What may be decoded.
    fragments_per_upload : int
        Most fragments heard of a whole track.
    """

    access: AudioAccess
    limits: AudioLimits
    fragments_per_upload: int = 8


class Analysis(Struct, frozen=True, kw_only=True):
    """What was heard in a track.

    Parameters
    ----------
    judgement : Judgement
        The model's word.
    model_version, feature_version : str
        Who judged, by which features.
    audio_sha256 : str
        Digest of the audio file.
    audio_bytes : int
        Its size.
    features : np.ndarray, shape (n_fragments, 50), float64
        What the model was given.
    challenger : Emotion or None
        What the shadowing model would have said.
    timings : tuple of Timing
        When fetch, decode, extract and predict ran, in order; decode and extract once for each fragment.
    """

    judgement: Judgement
    model_version: str
    feature_version: str
    audio_sha256: str
    audio_bytes: int
    features: NDArray[np.float64]
    challenger: Emotion | None = None
    timings: tuple[Timing, ...] = ()

    @property
    def durations(self) -> dict[str, float]:
        """Seconds spent in each stage."""
        return stage_seconds(self.timings)


def analyse(
    audio_uri: str,
    *,
    position_seconds: float | None,
    whole_track: bool,
    judge: Judge,
    challenger: Judge | None = None,
    listening: Listening,
    directory: Path,
) -> Analysis:
    """Hear a track and judge it.

    Parameters
    ----------
    audio_uri : str
        Where its audio is.
    position_seconds : float or None
        Where the listener was; None for the middle.
    whole_track : bool
        Hear fragments from all over the track instead of one.
    judge : Judge
        The model.
    challenger : Judge, optional
        A second model to ask; what it says is reported, not used.
    listening : Listening
        What is allowed.
    directory : Path
        Private folder for downloads; empty again afterwards.

    Returns
    -------
    Analysis
        The judgement and how it came about.

    Raises
    ------
    EmotionServiceError
        With ``reason``, ``stage`` and ``timings``: the audio cannot be had, or cannot be heard.
    ScratchError
        If there is no room for a download.
    """
    timings: list[Timing] = []
    download = directory / "download"
    with own_disk(directory):
        download.mkdir()
    try:
        with ExitStack() as held:
            with _stage("fetch", timings):
                audio = fetch(audio_uri, listening.access, download, held=held)
            with _stage("decode", timings):
                info = features.probe(audio.path, listening.limits)
            count = listening.fragments_per_upload if whole_track else 1
            vectors, starts = [], []
            silence: EmotionServiceError | None = None
            for start in plan_fragments(info.duration_seconds, position_seconds=position_seconds, count=count):
                try:
                    with _stage("decode", timings):
                        window = features.load_window(audio.path, start, FRAGMENT_SECONDS, limits=listening.limits)
                except AudioRejectedError as error:
                    # A silent intro says nothing of the track; a track of nothing but silence is refused below.
                    if error.reason is not Reason.SILENT:
                        raise
                    silence = error
                    continue
                with _stage("extract", timings):
                    vectors.append(features.extract_window(window).finite)
                starts.append(window.start_seconds)
        if silence is not None and not vectors:
            raise silence
        X = np.stack(vectors)
        with _stage("predict", timings):
            judgement = judge.judge(X, starts)
            doubt = _second_opinion(challenger, X, starts)
        return Analysis(
            judgement=judgement,
            model_version=judge.version,
            feature_version=judge.feature_version,
            audio_sha256=audio.sha256,
            audio_bytes=audio.bytes,
            features=X,
            challenger=doubt,
            timings=tuple(timings),
        )
    except EmotionServiceError as error:
        error.timings = tuple(timings)
        raise
    finally:
        shutil.rmtree(download, ignore_errors=True)


def plan_fragments(duration_seconds: float, *, position_seconds: float | None, count: int) -> list[float]:
    """Decide which fragments of a track to hear.

    Parameters
    ----------
    duration_seconds : float
        Of the track, > 0.
    position_seconds : float or None
        Centre of a single fragment; the middle of the track when None. Beyond the end means the end.
    count : int
        Most fragments; above 1 they are spread evenly over the track without overlapping, and ``position_seconds``
        is not looked at.

    Returns
    -------
    list of float
        Starts in seconds, ascending; a track shorter than a fragment gives one start at 0.
    """
    last = max(0.0, duration_seconds - FRAGMENT_SECONDS)
    fitting = min(count, int(duration_seconds // FRAGMENT_SECONDS))
    if count > 1 and fitting > 1:
        return [last * index / (fitting - 1) for index in range(fitting)]
    centre = duration_seconds / 2 if position_seconds is None or count > 1 else position_seconds
    return [min(max(0.0, centre - FRAGMENT_SECONDS / 2), last)]


def _second_opinion(challenger: Judge | None, X: NDArray[np.float64], starts: list[float]) -> Emotion | None:
    try:
        return challenger.judge(X, starts).emotion if challenger is not None else None
    except Exception:
        # It is on trial: nothing it does may cost an event its answer. The worker counts the missing opinion.
        logger.warning("the challenger failed", exc_info=True)
        return None


@contextmanager
def _stage(name: str, timings: list[Timing]) -> Iterator[None]:
    begun, started = time.time_ns(), time.perf_counter_ns()
    try:
        yield
    except features.FeatureError as error:
        rejected = AudioRejectedError(str(error), reason=Reason(error.reason))
        rejected.stage = name
        raise rejected from error
    except EmotionServiceError as error:
        error.stage = name
        raise
    except OSError as error:
        unreadable = AudioStoreUnavailableError(f"cannot read the audio: {error.strerror or error}")
        unreadable.stage = name
        raise unreadable from error
    finally:
        timings.append(Timing(name, begun, begun + time.perf_counter_ns() - started))
