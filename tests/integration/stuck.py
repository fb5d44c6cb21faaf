"""The worker with a decoder that never returns from one file: ``python -m tests.integration.stuck``.

No file is known that does this to the decoder as it is: pipes and devices are refused, and fuzzing the ear found none.
A pool process runs its parent's main module, under another name, before it serves: it has this decoder too.
"""

import os
from pathlib import Path
from typing import Any

import features
from consumer.cli import main

STUCK_FILE = "stuck.wav"
_load_window = features.load_window


def load_window_or_never(path: Path, *arguments: Any, **options: Any) -> features.Audio:
    """Decode as ever, but for the one file."""
    # A local file is held open, and named by its descriptor.
    while os.path.basename(os.path.realpath(path)) == STUCK_FILE:
        pass  # As a loop in a decoder: it takes all of the processor, and no signal but SIGKILL ends it.
    return _load_window(path, *arguments, **options)


if __name__ in ("__main__", "__mp_main__"):
    features.load_window = load_window_or_never  # type: ignore[assignment]  # it passes on what it does not look at

if __name__ == "__main__":
    main()
