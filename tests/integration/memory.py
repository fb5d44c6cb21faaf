"""Memory as on a server that has run for a while: full of page cache, each page of it touched long ago."""

import contextlib
import os
from collections.abc import Generator
from pathlib import Path
from typing import Final

_READ_BYTES: Final = 4 * 2**20


@contextlib.contextmanager
def full_memory(directory: Path) -> Generator[None]:
    """Fill the free memory with the pages of a file, so that what is measured inside is given used ones.

    A virtual machine is given a page by its host when it is first touched, and hands free ones back after seconds. On
    one where that took up to 16 µs a page, the same work was twice as slow in one minute as in the next, most of all
    where a broker writes long logs; and while pages were handed back, the host took the processors away.

    Parameters
    ----------
    directory : Path
        On a disk's file system. The file is sparse: it takes no room there.
    """
    path = directory / "memory"
    with path.open("wb") as file:
        size = file.truncate(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    print(f"filling {size / 2**30:.0f} GB of free memory ...", flush=True)
    try:
        chunk = bytearray(_READ_BYTES)
        with path.open("rb", buffering=0) as file:
            while file.readinto(chunk):
                pass
        yield
    finally:
        path.unlink()
