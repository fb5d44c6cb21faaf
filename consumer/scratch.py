"""A private folder for downloads, and the removal of those that killed processes left behind."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from consumer.errors import ScratchError

_PREFIX: Final = "emotion-stream-"


def scratch_directory(parent: Path | None = None) -> Path:
    """Make a folder for this process, and remove the folders of processes that are gone.

    A process killed at its timeout cannot tidy up; the next one does it, so that a slow server cannot fill the disk.

    Parameters
    ----------
    parent : Path, optional
        Where; the system's folder for temporary files by default.

    Returns
    -------
    Path
        An empty folder that only this user can enter.
    """
    parent = parent or Path(tempfile.gettempdir())
    for left in parent.glob(f"{_PREFIX}*"):
        pid, _, started = left.name.removeprefix(_PREFIX).rpartition("-")[0].partition("-")
        # Another user's folder of this name is left alone by the file system; a link is not followed by rmtree.
        if pid.isdecimal() and started != _started(int(pid)):
            with suppress(OSError):
                shutil.rmtree(left)
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-{_started(os.getpid())}-", dir=parent))


@contextmanager
def own_disk(directory: Path) -> Iterator[None]:
    """Tell a failure of the worker's own disk from a failure of the audio that is written to it.

    Parameters
    ----------
    directory : Path
        Where the block writes.

    Raises
    ------
    ScratchError
        If the disk is full, gone or read-only: the event is read again by a worker that has room.
    """
    try:
        yield
    except OSError as error:
        raise ScratchError(f"cannot write a download to {directory}: {error.strerror}") from error


def _started(pid: int) -> str | None:
    """Say when a living process started, in the kernel's ticks; None if there is none.

    Its number alone is not enough: in a container every worker has the same one as the worker before it.
    """
    try:
        # The name of the program, in brackets, may hold anything.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None
