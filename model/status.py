"""Is a retrain due? Age, drift of the features, and what feedback says of the answers, each with its limit.

What was not given cannot be measured and is said to be missing; it is never taken for good.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.catalogue import read_records
from model.drift import DRIFT_LIMIT, MIN_TRACKS, stability_index
from model.emotions import EMOTIONS, Emotion
from model.errors import DatasetError
from model.manifest import Manifest
from model.online import score_corrections

AGE_LIMIT_DAYS: Final = 90
# A tenth of the 50 features; over a hundred tracks about one exceeds the index's limit by chance.
# DRIFTED_LIMIT or more is drift, here and in the alert EmotionFeatureDrift.
DRIFTED_LIMIT: Final = 5
F1_FALL_LIMIT: Final = 0.05
MIN_LABELS: Final = 50


@dataclass(frozen=True, slots=True)
class Sign:
    """One reason to train again.

    Parameters
    ----------
    name, measured, limit : str
        For a person to read.
    due : bool or None
        Whether it calls for a retrain; None where it was not measured.
    """

    name: str
    measured: str
    limit: str
    due: bool | None


def age(manifest: Manifest, now: datetime) -> Sign:
    """Ask how old the model is."""
    days = (now - datetime.fromisoformat(manifest.created_at)).days
    return Sign("age", f"{days} days", f"at most {AGE_LIMIT_DAYS} days", days > AGE_LIMIT_DAYS)


def drift(manifest: Manifest, X: NDArray[np.float64] | None) -> Sign:
    """Ask whether recent tracks still look like those of training.

    Parameters
    ----------
    manifest : Manifest
        With the deciles of training.
    X : np.ndarray, shape (n, 50), float64, optional
        Features of recent tracks.
    """
    limit = f"fewer than {DRIFTED_LIMIT} features with a PSI above {DRIFT_LIMIT:g}"
    if X is None:
        return Sign("drift", "not measured: name recent tracks with --catalogue", limit, None)
    if len(X) < MIN_TRACKS:
        return Sign("drift", f"not measured: {len(X)} tracks, {MIN_TRACKS} are needed", limit, None)
    index = stability_index(manifest.deciles, X)
    moved = sorted((name for name in index if index[name] > DRIFT_LIMIT), key=lambda name: -index[name])
    most = f", most {moved[0].strip('_')} ({index[moved[0]]:.2f})" if moved else ""
    return Sign("drift", f"{len(moved)} features over {len(X):,} tracks{most}", limit, len(moved) >= DRIFTED_LIMIT)


def online_f1(manifest: Manifest, corrections: list[tuple[Emotion, Emotion]] | None) -> Sign:
    """Ask whether people who know still agree.

    Parameters
    ----------
    manifest : Manifest
        With the macro-F1 out of fold.
    corrections : list of (said, truth), optional
        From feedback of kind ``label``.
    """
    expected = manifest.scores["macro_f1"].value
    limit = f"at least {expected - F1_FALL_LIMIT:.3f} ({F1_FALL_LIMIT:g} below training)"
    if corrections is None:
        return Sign("online F1", "not measured: name --records, or --feedback and --emotions", limit, None)
    if len(corrections) < MIN_LABELS:
        return Sign("online F1", f"not measured: {len(corrections)} labels, {MIN_LABELS} are needed", limit, None)
    f1 = score_corrections(corrections).macro_f1
    if math.isnan(f1.value):
        return Sign("online F1", "not measured: the labels do not name all four emotions", limit, None)
    measured = f"{f1.value:.3f} ({f1.low:.3f} to {f1.high:.3f}) over {len(corrections):,} labels"
    return Sign("online F1", measured, limit, f1.value < expected - F1_FALL_LIMIT)


def read_corrections(feedback: Path, emotions: Path) -> list[tuple[Emotion, Emotion]]:
    """Join recorded feedback to the emotions it speaks of.

    Parameters
    ----------
    feedback : Path
        ``emotion-feedback`` as JSON lines; only kind ``label`` counts, the latest of each emotion event.
    emotions : Path
        ``emotion-events`` as JSON lines.

    Returns
    -------
    list of (said, truth)

    Raises
    ------
    DatasetError
        If a line is not such a record.
    """
    said = {str(record.get("event_id")): label for record, label in _labelled(emotions, "emotion")}
    truth = {str(record.get("emotion_event_id")): label for record, label in _labelled(feedback, "label")}
    return [(said[event_id], label) for event_id, label in truth.items() if event_id in said]


def read_kept_corrections(records: Path) -> list[tuple[Emotion, Emotion]]:
    """Take the corrections from recorded tracks: the worker keeps both words in a corrected track's record.

    Parameters
    ----------
    records : Path
        ``track-emotions`` as JSON lines, oldest first; the last record of a track counts.

    Returns
    -------
    list of (said, truth)

    Raises
    ------
    DatasetError
        If a line is not such a record.
    """
    kept: dict[str, tuple[Emotion, Emotion] | None] = {}
    for number, record in read_records(records):
        try:
            pair = Emotion(str(record["model_emotion"])), Emotion(str(record["emotion"]))
            kept[str(record["track_id"])] = pair
        except KeyError as error:
            if error.args == ("model_emotion",) and "track_id" in record:
                kept[str(record["track_id"])] = None
                continue
            raise DatasetError(f"{records}, line {number}: expected a TrackEmotion, missing {error}") from error
        except ValueError as error:
            raise DatasetError(f"{records}, line {number}: {error}") from error
    return [pair for pair in kept.values() if pair is not None]


def _labelled(path: Path, field: str) -> Iterable[tuple[dict[str, object], Emotion]]:
    for number, record in read_records(path):
        if field == "label" and record.get("kind") != "label":
            continue
        if record.get(field) not in EMOTIONS:
            raise DatasetError(f"{path}, line {number}, {field}: expected an emotion, got {record.get(field)!r}")
        yield record, Emotion(str(record[field]))
