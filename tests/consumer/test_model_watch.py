"""A new champion is taken, a bad one refused once, and without any there is no worker."""

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from prometheus_client import CollectorRegistry

from consumer.errors import ConfigurationError
from consumer.metrics import Metrics
from consumer.model_watch import ModelWatch
from model.errors import ArtifactDigestError


class Model:
    feature_version = "f-1"
    trained_at = datetime(2026, 1, 1, tzinfo=UTC)
    deciles: Mapping[str, tuple[float, ...]] = {}

    def __init__(self, version: str) -> None:
        self.version = version


class Source:
    def __init__(self, **pointers: str) -> None:
        self.pointers = pointers
        self.bad: set[str] = set()
        self.loads = 0

    def current(self, name: str) -> str | None:
        return self.pointers.get(name)

    def load(self, name: str) -> Model:
        self.loads += 1
        version = self.pointers[name]
        if version in self.bad:
            raise ArtifactDigestError("another digest")
        return Model(version)


def watching(source: Source, *, shadow: bool = False) -> tuple[ModelWatch, Metrics]:
    metrics = Metrics(CollectorRegistry())
    return ModelWatch(source, shadow=shadow, metrics=metrics), metrics


def test_bad_champion_at_the_start_is_a_configuration_error() -> None:
    source = Source(champion="m-1")
    source.bad.add("m-1")
    with pytest.raises(ConfigurationError, match="another digest"):
        watching(source)


def test_look_at_a_registry_that_cannot_be_read_keeps_the_model_in_use() -> None:
    source = Source(champion="m-1")
    models, metrics = watching(source)

    def unreadable(name: str) -> str | None:
        raise PermissionError(13, "Permission denied", name)

    source.current = unreadable  # type: ignore[method-assign]
    models.look()
    assert models.champion.version == "m-1"
    assert metrics.registry.get_sample_value("emotion_model_load_failures_total") == 1


def test_look_takes_the_new_champion() -> None:
    source = Source(champion="m-1")
    models, metrics = watching(source)
    source.pointers["champion"] = "m-2"
    models.look()
    assert models.champion.version == "m-2"
    labels = {"role": "champion", "version": "m-2", "feature_version": "f-1"}
    assert metrics.registry.get_sample_value("emotion_model_info", labels) == 1
    assert metrics.registry.get_sample_value("emotion_model_info", labels | {"version": "m-1"}) is None
    assert metrics.registry.get_sample_value("emotion_model_loads_total") == 1


def test_look_without_change_loads_nothing() -> None:
    source = Source(champion="m-1")
    models, _ = watching(source)
    for _ in range(3):
        models.look()
    assert source.loads == 1


def test_look_bad_champion_keeps_the_one_in_use_and_is_counted_once() -> None:
    source = Source(champion="m-1")
    models, metrics = watching(source)
    source.pointers["champion"] = "m-2"
    source.bad.add("m-2")
    for _ in range(3):
        models.look()
    assert models.champion.version == "m-1"
    assert metrics.registry.get_sample_value("emotion_model_load_failures_total") == 1


def test_challenger_is_followed_only_when_it_shadows() -> None:
    source = Source(champion="m-1", challenger="m-2")
    assert watching(source)[0].challenger is None
    models, _ = watching(source, shadow=True)
    assert models.challenger is not None
    del source.pointers["challenger"]
    models.look()
    assert models.challenger is None
