"""Where the shared data stand, for tests that may read them and must do without."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


def shared(path: str) -> Path:
    """Give a shared file's path, or skip the test where it is absent."""
    file = SHARED / path
    if not file.exists():
        pytest.skip(f"needs the shared data: {path}")
    return file
