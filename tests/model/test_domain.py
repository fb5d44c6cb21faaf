"""What is not music must be recognised by the shipped champion, through the real ear."""

import csv
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from features import extract
from features.schema import COLUMNS, FEATURE_NAMES
from model.domain import TrainingDomain
from model.judge import Classifier
from model.registry import Registry

GOLDEN = Path(__file__).parents[2].parent / "shared" / "features" / "golden.csv"
SR = 44_100
T = np.arange(30 * SR) / SR


def speech_like(rng: np.random.Generator) -> NDArray[np.float64]:
    """A buzzing voice through three formants, opened and closed four times a second, with pauses between phrases."""
    pitch = 120 + 25 * np.sin(2 * np.pi * 0.4 * T) + 5 * rng.standard_normal(len(T)).cumsum() / np.sqrt(len(T))
    voice = np.diff(np.floor(np.cumsum(pitch) / SR), prepend=0.0)
    for formant, width in ((650, 80), (1100, 90), (2500, 120)):
        r = np.exp(-np.pi * width / SR)
        voice = lfilter([1 - r], [1, -2 * r * np.cos(2 * np.pi * formant / SR), r**2], voice)
    syllables = np.maximum(np.sin(2 * np.pi * 4 * T), 0) * (np.sin(2 * np.pi * 0.3 * T) > -0.5)
    return np.asarray(0.5 * voice * syllables / np.abs(voice).max())


SIGNALS = {
    "silence": lambda rng: np.zeros_like(T),
    "tone": lambda rng: 0.5 * np.sin(2 * np.pi * 440 * T),
    "white_noise": lambda rng: 0.2 * rng.standard_normal(len(T)),
    "clicks": lambda rng: (np.arange(len(T)) % (SR // 2) < 40) * 0.8,
    "speech_like": speech_like,
}


@pytest.fixture(scope="module")
def champion() -> Classifier:
    return Registry().load("champion").classifier


@pytest.mark.parametrize("signal", SIGNALS)
def test_in_domain_signal_that_is_not_music_is_refused(champion: Classifier, signal: str) -> None:
    vector = extract(SIGNALS[signal](np.random.default_rng(0)), SR)
    assert not champion.in_domain(vector.finite[np.newaxis])[0]


def test_in_domain_most_real_and_rendered_music_passes(champion: Classifier) -> None:
    if not GOLDEN.exists():
        pytest.skip(f"{GOLDEN} is not there")
    with GOLDEN.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if not row["clip"].startswith("syn")]
    cells = [[float(row[name] or "nan") for name in FEATURE_NAMES] for row in rows]
    X = np.where(np.isnan(cells), [column.neutral for column in COLUMNS], cells)
    assert champion.in_domain(X).mean() >= 0.8


def test_training_domain_distance_grows_outwards_and_passes_its_own_rows() -> None:
    Z = np.random.default_rng(0).normal(size=(300, 10))
    domain = TrainingDomain().fit(Z)
    distances = domain.distance(np.outer([1.0, 2.0, 8.0], np.ones(10)))
    assert (np.diff(distances) > 0).all()
    assert (domain.distance(Z) <= 1).mean() >= 0.99
    assert distances[-1] > 1
