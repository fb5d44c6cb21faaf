"""Memory as on a server that has run for a while: each page of it touched long ago.

A virtual machine is given a page by its host when it is first touched, and hands free ones back after seconds. On one
where that took up to 30 µs a page, the same work was twice as slow in one minute as in the next, most of all where a
broker writes long logs; and while pages were handed back, the host took the processors away.
"""

import contextlib
import mmap
import os
from collections.abc import Generator
from pathlib import Path
from typing import Final, Self

_READ_BYTES: Final = 4 * 2**20
_PIECE_BYTES: Final = 64 * 2**20
# Left to the kernel, which begins to look for pages to reclaim at half of it.
_SPARE_BYTES: Final = 200 * 2**20
# A turn of half a second to a second needs half of it.
_TURN_BYTES: Final = 384 * 2**20


@contextlib.contextmanager
def full_memory(directory: Path) -> Generator[None]:
    """Fill the free memory with the pages of a file, so that what runs inside is given used ones.

    For minutes at a time: whoever needs memory is given that of the file. A kernel that reclaims ahead of need (DAMON)
    hands it back to the host by and by, from the second minute on.

    Parameters
    ----------
    directory : Path
        On a disk's file system. The file is sparse: it takes no room there.
    """
    path = directory / "memory"
    with path.open("wb") as file:
        size = file.truncate(_free_bytes())
    print(f"filling {size / 2**30:.0f} GB of free memory ...", flush=True)
    try:
        chunk = bytearray(_READ_BYTES)
        with path.open("rb", buffering=0) as file:
            while file.readinto(chunk):
                pass
        yield
    finally:
        path.unlink()


class TouchedMemory:
    """Hold the free memory, and give some of it out before each turn of a measurement.

    For seconds at a time, and exactly: within a turn no page is the host's, and none is handed back to it. Nothing
    else can have what is held, so that it must be closed before anything large is started.
    """

    def __init__(self) -> None:
        self._held: list[mmap.mmap] = []
        self._content = bytes(_PIECE_BYTES)

    def __enter__(self) -> Self:
        print(f"touching {_free_bytes() / 2**30:.0f} GB of free memory ...", flush=True)
        self._take()
        return self

    def __exit__(self, *_: object) -> None:
        for piece in self._held:
            piece.close()
        self._held.clear()

    def give(self) -> None:
        """Touch what became free, and let a turn's worth of it go; the turn must begin at once."""
        self._take()
        for _ in range(min(_TURN_BYTES // _PIECE_BYTES, len(self._held))):
            with self._held.pop() as piece:
                # Again: what lay idle for minutes may be the host's once more.
                piece.write(self._content)

    def _take(self) -> None:
        while _free_bytes() > _SPARE_BYTES + _PIECE_BYTES:
            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
            self._held.append(mmap.mmap(-1, _PIECE_BYTES, flags))


def _free_bytes() -> int:
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
