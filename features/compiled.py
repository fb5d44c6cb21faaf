"""Numba's compiler as this room uses it: cached on disk wherever the package is installed.

Numba keeps machine code beside the source or below the user's home. A container with a read-only image and no home has
neither and would refuse to import; there the cache goes to a private directory below the system's temporary one.
``NUMBA_CACHE_DIR`` goes before all of them; where it cannot be written, as in a read-only image, numba would not even
read it, and the private directory begins as its copy.

Compiling everything takes some seconds. Assigning one array to a slice of another would add seconds more, because numba
compiles the error message for shapes that differ: kernels copy in loops.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., Any])

# Sums may be reordered, which is what lets loops use vector registers; infinities keep their meaning.
_VECTORISE: Final = {"reassoc", "contract", "nsz", "nnan", "arcp"}


def compiled(function: Function) -> Function:
    """Compile to machine code that computes exactly in the order written."""
    return _cached(function, fastmath=False)


def vectorised(function: Function) -> Function:
    """Compile with sums in any order; for arguments without NaN."""
    return _cached(function, fastmath=_VECTORISE)


def _cached(function: Function, **options: Any) -> Function:
    try:
        dispatcher: Function = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # numba: "cannot cache function ...: no locator available"
        numba.config.CACHE_DIR = str(private_cache(baked=numba.config.CACHE_DIR))  # type: ignore[attr-defined] # set at run time
        dispatcher = numba.njit(cache=True, **options)(function)
    return dispatcher


def private_cache(*, baked: str = "") -> Path:
    """Give a directory that this user alone may write, since loading a cache runs the code in it.

    Parameters
    ----------
    baked : str, optional
        A cache to begin with, if nobody but root or this user may write it.

    Raises
    ------
    PermissionError
        If somebody else owns the directory of that name.
    """
    directory = Path(tempfile.gettempdir()) / f"emotion-stream-{os.getuid()}"
    if baked and not directory.exists() and _is_trusted(Path(baked)):
        _copy_cache(Path(baked), directory)
    directory.mkdir(mode=0o700, exist_ok=True)
    owner = directory.stat()
    if owner.st_uid != os.getuid() or owner.st_mode & 0o077:
        raise PermissionError(f"expected {directory} to be private to this user; remove it or set NUMBA_CACHE_DIR")
    return directory


def _is_trusted(directory: Path) -> bool:
    try:
        status = directory.stat()
    except OSError:
        return False
    return status.st_uid in (0, os.getuid()) and not status.st_mode & 0o022


def _copy_cache(baked: Path, directory: Path) -> None:
    """Copy a cache whole or not at all: processes of a pool start side by side, and the first copy stays."""
    copy = Path(tempfile.mkdtemp(prefix=f"{directory.name}-", dir=directory.parent))
    # Without a copy everything is compiled, which takes long and is right.
    with suppress(OSError, shutil.Error):
        # Bytes alone: the image's modes would make the copy read-only too.
        for source in baked.glob("*/*"):
            target = copy / source.relative_to(baked)
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(source, target)
        copy.rename(directory)
    shutil.rmtree(copy, ignore_errors=True)
