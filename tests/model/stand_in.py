"""A classifier whose every answer is known in advance, and artifacts of it."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from features import FEATURE_NAMES, FEATURE_VERSION
from model.artifact import installed_libraries, save_artifact
from model.emotions import EMOTIONS
from model.manifest import DataReference, Manifest, Score
from model.policy import read_policy

N_FEATURES = len(FEATURE_NAMES)


class StandIn:
    """Answers with the first four features as probabilities; a negative fifth is out of domain."""

    def predict_proba(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        return X[:, :4]

    def label_sets(self, P: NDArray[np.float64], coverage: float) -> NDArray[np.bool_]:
        return 1.0 - coverage <= P

    def combine(self, P: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(P.mean(axis=0))

    def in_domain(self, X: NDArray[np.float64]) -> NDArray[np.bool_]:
        return X[:, 4] >= 0.0

    def adapt(self, X: NDArray[np.float64]) -> "StandIn":
        return StandIn()


def fragment(relax: float, happy: float, sad: float, angry: float, *, familiar: bool = True) -> list[float]:
    return [relax, happy, sad, angry, 1.0 if familiar else -1.0] + [0.0] * (N_FEATURES - 5)


def manifest(**changes: Any) -> Manifest:
    plain = Manifest(
        labels=EMOTIONS,
        feature_version=FEATURE_VERSION,
        estimator="tests.model.stand_in:StandIn",
        params={},
        data=DataReference(name="table.csv", sha256="0" * 64, rows=4),
        seed=0,
        commit="unknown",
        created_at="2026-01-02T03:04:05+00:00",
        python="3.11",
        libraries=installed_libraries(),
        protocol="none",
        scores={"macro_f1": Score(value=0.8, low=0.76, high=0.84)},
        calibration={},
        policy=read_policy(),
        deciles={},
        files={},
    )
    return msgspec.structs.replace(plain, **changes)


def write_artifact(path: Path, **changes: Any) -> Manifest:
    return save_artifact(path, StandIn(), manifest(**changes))
