"""Whether what is heard still looks like training, and whether what is said of it still looks like before.

A window of the newest analyses: one 30-second fragment's features of each track, so that an album counts as its
tracks and a long upload once, and the emotion the model gave it. Features are held against the deciles of training
that the model's manifest carries. The emotions have no such reference, since a platform's mix is not that of a
balanced training table: the newest are held against those before them.

Kept durably in Kafka itself: a track's record carries the features in a header, and when partitions are assigned the
newest records are read again anyway (``recent_tracks``). No file, nothing to tear, bounded by compaction.
"""

import math
import threading
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from consumer.metrics import Metrics
from features.schema import FEATURE_NAMES
from model.drift import MIN_TRACKS, kolmogorov_smirnov, mix_stability, stability_index
from model.emotions import EMOTIONS

# Of a TrackEmotion: 50 little-endian float32 in FEATURE_NAMES order, 200 bytes.
FEATURES: Final = "ear.features"
_WIRE: Final = np.dtype("<f4")
# 200 bytes each.
_WINDOW_TRACKS: Final = 2000
_NEWEST_PREDICTIONS: Final = 500


def pack_features(X: NDArray[np.float64]) -> bytes:
    """Give the header that keeps a track's features.

    Parameters
    ----------
    X : np.ndarray, shape (n_fragments, 50), float64
        As analysed, n_fragments >= 1; the middle fragment is kept.

    Returns
    -------
    bytes
        50 little-endian float32.
    """
    # float32 holds seven digits; a decile is not met more closely than that.
    return np.asarray(X[len(X) // 2], dtype=_WIRE).tobytes()


def unpack_features(value: bytes) -> NDArray[np.float32] | None:
    """Read the header back.

    Parameters
    ----------
    value : bytes
        From ``pack_features``, or whatever else a header of that name holds.

    Returns
    -------
    np.ndarray, shape (50,), float32, or None
        None if these are not 50 finite numbers.
    """
    if len(value) != len(FEATURE_NAMES) * _WIRE.itemsize:
        return None
    features = np.frombuffer(value, dtype=_WIRE)
    return features if np.isfinite(features).all() else None


class DriftWatch:
    """The window of one worker, and its metrics. Callable from any thread.

    Parameters
    ----------
    metrics : Metrics
        Where drift is shown, once there are ``MIN_TRACKS`` analyses.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._lock = threading.Lock()
        self._features: deque[NDArray[np.float32]] = deque(maxlen=_WINDOW_TRACKS)
        self._emotions: deque[str] = deque(maxlen=_WINDOW_TRACKS)
        self._changed = False

    def add(self, features: NDArray[np.float32] | None, emotion: str) -> None:
        """Take in one analysis.

        Parameters
        ----------
        features : np.ndarray, shape (50,), float32, or None
            Of one fragment; None where they are not known.
        emotion : str
            The model's.
        """
        with self._lock:
            if features is not None:
                self._features.append(features)
            self._emotions.append(emotion)
            self._changed = True

    def refill(self, analyses: Iterable[tuple[NDArray[np.float32] | None, str]]) -> None:
        """Begin anew with what Kafka kept of the partitions now assigned.

        Parameters
        ----------
        analyses : iterable of (features, emotion)
            Oldest first.
        """
        with self._lock:
            self._features.clear()
            self._emotions.clear()
        for features, emotion in analyses:
            self.add(features, emotion)

    def show(self, deciles: Mapping[str, Sequence[float]]) -> None:
        """Bring the metrics up to date; some 10 ms of work if anything has changed.

        Parameters
        ----------
        deciles : mapping of str to sequence of float
            The champion's, from its manifest; without them the features are not measured.
        """
        with self._lock:
            if not self._changed:
                return
            self._changed = False
            rows, emotions = list(self._features), list(self._emotions)
        metrics = self._metrics
        if len(rows) >= MIN_TRACKS and deciles:
            X = np.asarray(np.stack(rows), dtype=np.float64)
            for metric, drift in (
                (metrics.feature_drift, stability_index(deciles, X)),
                (metrics.feature_drift_ks, kolmogorov_smirnov(deciles, X)),
            ):
                for name, value in drift.items():
                    metric.labels(name).set(value)
        else:
            # Another model or other partitions: what was measured before is not said of them.
            metrics.feature_drift.clear()
            metrics.feature_drift_ks.clear()
        metrics.prediction_drift.set(prediction_drift(emotions))


def prediction_drift(emotions: Sequence[str]) -> float:
    """Measure how far the newest predictions differ from those before.

    Parameters
    ----------
    emotions : sequence of str
        Oldest first.

    Returns
    -------
    float
        The population stability index of the newest quarter (at most 500, at least ``MIN_TRACKS``) against the
        rest; NaN with fewer than ``MIN_TRACKS`` on either side.
    """
    newest = min(_NEWEST_PREDICTIONS, max(MIN_TRACKS, len(emotions) // 4))
    if len(emotions) < newest + MIN_TRACKS:
        return math.nan
    before, after = Counter(emotions[:-newest]), Counter(emotions[-newest:])
    return mix_stability([before[emotion] for emotion in EMOTIONS], [after[emotion] for emotion in EMOTIONS])
