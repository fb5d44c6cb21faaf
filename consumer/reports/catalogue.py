"""The report of a batch run: where a catalogue lies in emotion, how sure that is, and what to listen to first."""

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

import jinja2
import msgspec

from consumer.errors import ConfigurationError
from model.emotions import EMOTIONS

# The page holds every track; a browser sorts and filters so many in a blink, and the file stays below some 20 MB.
MOST_TRACKS: Final = 100_000
_CONFIDENCE_BINS: Final = 10


@dataclass(frozen=True, slots=True)
class Track:
    """One row of a batch's results, as the report needs it.

    Parameters
    ----------
    path : str
        The track.
    emotion : str
        Its label; empty where there is none.
    confidence : float
        Calibrated, in [0, 1].
    valence, arousal : float
        In [-1, 1].
    alternatives : int
        Labels in the prediction set.
    decision : str
        Of the catalogue policy.
    out_of_domain : bool
        Unlike the training data.
    reason : str
        Why there is no judgement; empty where there is one.
    """

    path: str
    emotion: str = ""
    confidence: float = 0.0
    valence: float = 0.0
    arousal: float = 0.0
    alternatives: int = 0
    decision: str = ""
    out_of_domain: bool = False
    reason: str = ""

    def urgency(self) -> tuple[int, int, float]:
        """Order for review: withheld before suggested before applied, then by doubt."""
        return (("withhold", "suggest", "apply").index(self.decision), -self.alternatives, self.confidence)


def read_tracks(results: Path) -> list[Track]:
    """Read the results of ``emotion-stream classify``.

    Parameters
    ----------
    results : pathlib.Path
        ``.jsonl``, ``.csv`` or ``.parquet``.

    Returns
    -------
    list of Track
        In the order of the file.

    Raises
    ------
    ConfigurationError
        If the file is not such a result, or holds more than ``MOST_TRACKS`` rows.
    """
    readers = {".jsonl": _read_jsonl, ".csv": _read_csv, ".parquet": _read_parquet}
    if results.suffix.lower() not in readers:
        raise ConfigurationError(f"{results}: expected a name ending in {', '.join(readers)}")
    tracks: list[Track] = []
    try:
        for row in readers[results.suffix.lower()](results):
            tracks.append(_track(row))
            if len(tracks) > MOST_TRACKS:
                raise ConfigurationError(f"{results}: more than {MOST_TRACKS:,} tracks; report folders one by one")
    except (KeyError, ValueError, TypeError, msgspec.DecodeError) as error:
        raise ConfigurationError(
            f"{results}: row {len(tracks) + 1} is not a result of `emotion-stream classify`: {error!r}"
        ) from error
    if not tracks:
        raise ConfigurationError(f"{results}: no rows")
    return tracks


def render(tracks: list[Track], title: str) -> str:
    """Write the page.

    Parameters
    ----------
    tracks : list of Track
        At least one.
    title : str
        Its heading.

    Returns
    -------
    str
        HTML without any reference to another file or host.
    """
    judged = [track for track in tracks if not track.reason]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("consumer.reports"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("catalogue.html").render(
        title=title,
        emotions=[emotion.value for emotion in EMOTIONS],
        total=len(tracks),
        judged=len(judged),
        out_of_domain=sum(track.out_of_domain for track in judged),
        counts=Counter(track.emotion for track in judged),
        decisions=Counter(track.decision for track in judged),
        reasons=Counter(track.reason for track in tracks if track.reason),
        histogram=(histogram := _histogram(judged)),
        most=max(sum(counts.values()) for counts in histogram),
        folders=_folders(tracks),
        review=sorted((track for track in judged if track.decision != "apply"), key=Track.urgency)[:20],
        # Escaped so that a path cannot end the script it stands in.
        data=msgspec.json.encode([_compact(track) for track in tracks]).decode().replace("<", "\\u003c"),
    )


def _compact(track: Track) -> list[Any]:
    place = (round(track.confidence, 3), round(track.valence, 3), round(track.arousal, 3))
    return [track.path, track.emotion or track.reason, *place, track.decision, int(track.out_of_domain)]


def _histogram(judged: Iterable[Track]) -> list[dict[str, int]]:
    bins: list[dict[str, int]] = [dict.fromkeys((e.value for e in EMOTIONS), 0) for _ in range(_CONFIDENCE_BINS)]
    for track in judged:
        bins[min(int(track.confidence * _CONFIDENCE_BINS), _CONFIDENCE_BINS - 1)][track.emotion] += 1
    return bins


def _folders(tracks: Iterable[Track]) -> list[dict[str, Any]]:
    groups: dict[str, list[Track]] = defaultdict(list)
    for track in tracks:
        groups[str(PurePosixPath(track.path).parent)].append(track)
    summary = []
    for folder, members in sorted(groups.items(), key=lambda item: -len(item[1])):
        judged = [track for track in members if not track.reason]
        summary.append(
            {
                "folder": folder,
                "tracks": len(members),
                "counts": Counter(track.emotion for track in judged),
                "confidence": sum(track.confidence for track in judged) / len(judged) if judged else None,
                "review": sum(track.decision != "apply" for track in judged),
                "errors": len(members) - len(judged),
            }
        )
    return summary


def _track(row: dict[str, Any]) -> Track:
    if row.get("reason"):
        return Track(path=row["path"], reason=row["reason"])
    labels = row["prediction_set"]
    out = row["out_of_domain"]
    return Track(
        path=row["path"],
        emotion=row["emotion"],
        confidence=float(row["confidence"]),
        valence=float(row["valence"]),
        arousal=float(row["arousal"]),
        alternatives=len(labels.split() if isinstance(labels, str) else labels),
        decision=row["decision_catalogue"] if "decision_catalogue" in row else row["decisions"]["catalogue"],
        out_of_domain=out == "True" if isinstance(out, str) else bool(out),
    )


def _read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                yield msgspec.json.decode(line)


def _read_csv(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def _read_parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(path).iter_batches():
        yield from batch.to_pylist()
