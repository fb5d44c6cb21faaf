"""Which model is in use: read at the start, looked at again every few seconds, swapped while the worker runs.

The worker only reads versions here; the pool's processes load what a request names. A request carries its model's
version from the moment it is made, so a swap changes no analysis under way and loses no event.
"""

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from consumer.errors import ConfigurationError
from consumer.metrics import Metrics
from model.errors import ModelError
from model.registry import Name

logger = logging.getLogger(__name__)


class Model(Protocol):
    """What the worker needs to know of a model."""

    @property
    def version(self) -> str:
        """Which model this is."""

    @property
    def feature_version(self) -> str:
        """The features it was trained on."""

    @property
    def trained_at(self) -> datetime:
        """When."""

    @property
    def deciles(self) -> Mapping[str, tuple[float, ...]]:
        """The nine inner deciles of each feature in training."""


class ModelSource(Protocol):
    """Where models come from; ``model.registry.Registry``."""

    def current(self, name: Name, /) -> str | None:
        """Give the version a name stands for; cheap."""

    def load(self, name: str, /) -> Model:
        """Load a model by name or version; raises ``ModelError`` if it must not be used."""


class ModelWatch:
    """The champion, and the challenger that shadows it.

    Parameters
    ----------
    source : ModelSource
        The registry.
    shadow : bool
        Whether to look for a challenger.
    metrics : Metrics
        Where the model in use is shown.

    Raises
    ------
    ConfigurationError
        If there is no champion that can be used.
    """

    def __init__(self, source: ModelSource, *, shadow: bool, metrics: Metrics) -> None:
        self._source = source
        self._shadow = shadow
        self._metrics = metrics
        self._refused: set[str] = set()
        try:
            self.champion: Model = source.load("champion")
        except ModelError as error:
            raise ConfigurationError(f"cannot use the champion model: {error}") from error
        self.challenger: Model | None = None
        self._look_for_challenger()
        self._show()

    def look(self) -> None:
        """Look whether the registry points elsewhere now; keep what is in use if the new one must not be used.

        Reads files: call it from a thread, not from the event loop.
        """
        before = self.champion, self.challenger
        try:
            self.champion = self._latest("champion", self.champion) or self.champion
        except (ModelError, OSError) as error:
            self._metrics.model_load_failures.inc()
            logger.error("champion refused, keeping the one in use", extra={"facts": {"error": str(error)}})
        self._look_for_challenger()
        if before != (self.champion, self.challenger):
            self._metrics.model_loads.inc()
            self._show()

    def _look_for_challenger(self) -> None:
        if not self._shadow:
            return
        try:
            self.challenger = self._latest("challenger", self.challenger)
        except (ModelError, OSError) as error:
            logger.warning("challenger refused", extra={"facts": {"error": str(error)}})

    def _latest(self, name: Name, in_use: Model | None) -> Model | None:
        version = self._source.current(name)
        if version is None:
            return None
        if in_use is not None and version == in_use.version:
            return in_use
        if version in self._refused:
            return in_use
        try:
            return self._source.load(name)
        except ModelError:
            # Said once: the pointer is looked at every few seconds.
            self._refused.add(version)
            raise

    def _show(self) -> None:
        self._metrics.model_info.clear()
        self._metrics.model_trained.set(self.champion.trained_at.timestamp())
        for role, model in (("champion", self.champion), ("challenger", self.challenger)):
            if model is not None:
                self._metrics.model_info.labels(role, model.version, model.feature_version).set(1)
                facts = {"role": role, "version": model.version, "feature_version": model.feature_version}
                logger.info("model in use", extra={"facts": facts})
