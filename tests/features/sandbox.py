"""A process that hears whatever file it is given, under limits, so that a crash or a hang is a finding and not the end.

The parent writes one path per line; the child answers one JSON object per line. Its memory is limited as that of the
worker's processes, and every file has a wall-clock alarm, whose default action kills the child.
"""

import json
import resource
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from consumer.pool import limit_memory
from consumer.settings import Settings

# As a process of the worker has by default.
MEMORY_BYTES: Final = Settings().analysis_memory_bytes
ALARM_SECONDS: Final = 60


@dataclass(frozen=True)
class Outcome:
    """What became of one file.

    Parameters
    ----------
    reason : str
        ``"heard"``, the slug of a FeatureError, ``"killed"`` for a crash or a hang, or the name of any other exception.
    detail : str
        The error's message.
    window_seconds, declared_seconds : float
        What was heard, and what the file declares; 0 unless heard.
    peak_bytes : int
        Most memory the child ever held, so far.
    """

    reason: str
    detail: str = ""
    window_seconds: float = 0.0
    declared_seconds: float = 0.0
    peak_bytes: int = 0


class Sandbox:
    """The parent's end; starts another child after one was killed."""

    def __init__(self, *, min_window_seconds: float = 5.0, extract: bool = False) -> None:
        self._arguments = [sys.executable, "-m", "tests.features.sandbox", str(min_window_seconds), str(int(extract))]
        self._child: subprocess.Popen[str] | None = None

    def hear(self, path: Path) -> Outcome:
        """Hear one file in the child."""
        if self._child is None:
            self._child = subprocess.Popen(
                self._arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                cwd=Path(__file__).parents[2],
            )
        assert self._child.stdin and self._child.stdout
        self._child.stdin.write(f"{path}\n")
        self._child.stdin.flush()
        answer = self._child.stdout.readline()
        if not answer:
            status = self._child.wait()
            self.close()
            return Outcome("killed", f"exit status {status} on {path}")
        return Outcome(**json.loads(answer))

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            assert self._child.stdin and self._child.stdout
            self._child.stdin.close()
            self._child.stdout.close()
            self._child.wait()
            self._child = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _hear(path: str, min_window_seconds: float, extract: bool) -> dict[str, Any]:
    import numpy as np

    from features import AudioLimits, FeatureError, load_window, probe
    from features import extract as extract_features

    limits = AudioLimits(min_window_seconds=min_window_seconds)
    try:
        audio = load_window(path, start=1.0, limits=limits)
        declared = probe(path, limits).duration_seconds
        assert np.isfinite(audio.y).all() and audio.y.min() >= -1 and audio.y.max() < 1 and audio.y.any()
        assert abs(len(audio.y) / audio.sr - audio.duration_seconds) < 1e-3
        if extract:
            extract_features(audio.y, audio.sr)  # a FeatureVector refuses numbers that are not finite
    except FeatureError as error:
        return {"reason": error.reason, "detail": str(error)}
    except Exception as error:  # anything else is what the tests look for
        return {"reason": type(error).__name__, "detail": str(error)}
    return {"reason": "heard", "window_seconds": audio.duration_seconds, "declared_seconds": declared}


def _serve(min_window_seconds: float, extract: bool) -> None:
    import features

    if extract:
        features.warm_up()
    limit_memory(MEMORY_BYTES)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        signal.alarm(ALARM_SECONDS)
        answer = _hear(line.rstrip("\n"), min_window_seconds, extract)
        signal.alarm(0)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({**answer, "peak_bytes": peak}), flush=True)


if __name__ == "__main__":
    _serve(float(sys.argv[1]), sys.argv[2] == "1")
