"""A small disk of the test's own that can be filled to its last byte: a tmpfs, where mounting is allowed."""

import errno
import subprocess
from pathlib import Path
from typing import Self

import pytest

_CHUNK_BYTES = 2**16


class SmallDisk:
    """A mounted tmpfs; a context manager that skips the test where the system does not let us mount.

    Parameters
    ----------
    path : Path
        Where to mount it; made when absent.
    megabytes : int
        Its size.
    """

    def __init__(self, path: Path, *, megabytes: int) -> None:
        self.path = path
        self._megabytes = megabytes
        self._filler = path / "filler"

    def __enter__(self) -> Self:
        self.path.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={self._megabytes}m", "tmpfs", str(self.path)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("no disk to fill: there is no mount command here")
        if done.returncode != 0:
            pytest.skip(f"no disk to fill: mounting a tmpfs is refused here ({done.stderr.strip()})")
        return self

    def __exit__(self, *_: object) -> None:
        # Lazily: a process that is about to be killed may still hold a file.
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)

    def fill(self) -> None:
        """Write until nothing more fits."""
        with self._filler.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(_CHUNK_BYTES))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def free(self) -> None:
        """Give the room back."""
        self._filler.unlink()
