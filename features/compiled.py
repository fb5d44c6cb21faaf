"""Numba's compiler as this room uses it: cached on disk wherever the package is installed.

Numba keeps machine code beside the source or below the user's home. A container with a read-only image and no home has
neither and would refuse to import; there the cache goes to a private directory below the system's temporary one.
``NUMBA_CACHE_DIR`` goes before all of them.

Compiling everything takes some seconds. Assigning one array to a slice of another would add seconds more, because numba
compiles the error message for shapes that differ: kernels copy in loops.
"""

import os
import tempfile
from collections.abc import Callable
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
        numba.config.CACHE_DIR = str(private_cache())  # type: ignore[attr-defined] # set at run time
        dispatcher = numba.njit(cache=True, **options)(function)
    return dispatcher


def private_cache() -> Path:
    """Give a directory that this user alone may write, since loading a cache runs the code in it.

    Raises
    ------
    PermissionError
        If somebody else owns the directory of that name.
    """
    directory = Path(tempfile.gettempdir()) / f"emotion-stream-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    owner = directory.stat()
    if owner.st_uid != os.getuid() or owner.st_mode & 0o077:
        raise PermissionError(f"expected {directory} to be private to this user; remove it or set NUMBA_CACHE_DIR")
    return directory
