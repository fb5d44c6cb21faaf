"""What a pool process does: answer requests for analyses with the model each one names."""

import logging
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, Self

from msgspec import Struct

import features
from consumer.audio_store import AudioAccess
from consumer.errors import FatalError
from consumer.log_config import configure_logging
from consumer.pipeline import Analysis, Judge, Listening, analyse
from consumer.scratch import scratch_directory
from consumer.settings import Settings
from features.audio import AudioLimits
from model.errors import ModelError
from model.registry import SHIPPED_ROOT, Registry

# The champion, the challenger, and the champion before while its last requests are served.
_MODELS_KEPT: Final = 3


class AnalysisRequest(Struct, frozen=True, kw_only=True):
    """One track to hear.

    Parameters
    ----------
    audio_uri : str
        Where its audio is.
    position_seconds : float or None
        Where the listener was.
    whole_track : bool
        Hear fragments from all over the track.
    model_version : str
        Who judges.
    challenger_version : str or None
        Who is asked for a second opinion.
    """

    audio_uri: str
    position_seconds: float | None
    whole_track: bool
    model_version: str
    challenger_version: str | None = None


class AnalystPlan(Struct, frozen=True, kw_only=True):
    """What a pool process needs to become an analyst, and no more; pickles, and is called in the process.

    The process runs decoders on strangers' bytes: Kafka's credentials, which it has no use for, stay outside.

    Parameters
    ----------
    listening : Listening
        What is allowed.
    model_root : Path
        Folder of model artifacts.
    log_level, log_format : str
        As in the settings.
    model_version : str
        The model to load before the process counts as ready.
    scratch : Path
        The worker's private folder; the process makes its own in it.
    """

    listening: Listening
    model_root: Path
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"]
    log_format: Literal["json", "console"]
    model_version: str
    scratch: Path

    @classmethod
    def from_settings(cls, settings: Settings, *, model_version: str, scratch: Path) -> Self:
        """Take from the settings what a pool process needs.

        Parameters
        ----------
        settings : Settings
            The worker's.
        model_version : str
            The model to load before the process counts as ready.
        scratch : Path
            The worker's private folder.

        Returns
        -------
        AnalystPlan
            Small, picklable, without secrets.
        """
        return cls(
            listening=listening_from(settings),
            model_root=settings.model_dir or SHIPPED_ROOT,
            log_level=settings.log_level,
            log_format=settings.log_format,
            model_version=model_version,
            scratch=scratch,
        )

    def __call__(self) -> Callable[[AnalysisRequest], Analysis]:
        """Load the model, warm the ear's kernels, and give the function that serves requests."""
        configure_logging(Settings(log_level=self.log_level, log_format=self.log_format))
        analyst = Analyst(Registry(self.model_root).load, self.listening, scratch_directory(self.scratch))
        analyst.model(self.model_version)
        features.warm_up()
        return analyst


def listening_from(settings: Settings) -> Listening:
    """Take from the settings how to listen.

    Parameters
    ----------
    settings : Settings
        The worker's.

    Returns
    -------
    Listening
        Small and picklable.
    """
    return Listening(
        access=AudioAccess.from_settings(settings),
        limits=AudioLimits(max_bytes=settings.max_audio_bytes, max_track_seconds=settings.max_track_seconds),
        fragments_per_upload=settings.fragments_per_upload,
    )


class Analyst:
    """Serves requests in one process.

    Parameters
    ----------
    load : callable
        Gives the model of a version.
    listening : Listening
        What is allowed.
    directory : Path
        Private folder for downloads.
    """

    def __init__(self, load: Callable[[str], Judge], listening: Listening, directory: Path) -> None:
        self._load = load
        self._listening = listening
        self._directory = directory
        self._models: OrderedDict[str, Judge] = OrderedDict()

    def __call__(self, request: AnalysisRequest) -> Analysis:
        """Serve one request; raises what ``analyse`` raises."""
        challenger = None
        if request.challenger_version is not None:
            try:
                challenger = self.model(request.challenger_version)
            except FatalError:
                logging.getLogger(__name__).warning("the challenger cannot be loaded", exc_info=True)
        return analyse(
            request.audio_uri,
            position_seconds=request.position_seconds,
            whole_track=request.whole_track,
            judge=self.model(request.model_version),
            challenger=challenger,
            listening=self._listening,
            directory=self._directory,
        )

    def model(self, version: str) -> Judge:
        """Give a model, loading it on first use.

        Parameters
        ----------
        version : str
            As in the registry.

        Returns
        -------
        Judge
            The model.

        Raises
        ------
        FatalError
            If it cannot be used.
        """
        if version not in self._models:
            try:
                self._models[version] = self._load(version)
            except ModelError as error:
                raise FatalError(f"cannot use model {version}: {error}") from error
            if len(self._models) > _MODELS_KEPT:
                self._models.popitem(last=False)
        self._models.move_to_end(version)
        return self._models[version]
