"""The Fourier transform of a signal too long for the cache.

One transform of two million points walks through memory with ever longer strides. Laid out as a matrix, the same
transform is one short transform per column, a rotation of every element, and one short transform per row [1]_: twice as
fast on the machines it was tried on, and as exact.

References
----------
.. [1] Bailey (1990), FFTs in external or hierarchical memory, The Journal of Supercomputing 4.
"""

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from features.compiled import vectorised

_ROWS: Final = 512
_TILE: Final = 16
# Below this length a plain transform fits the cache.
_LONG: Final = 1 << 18


@lru_cache(maxsize=1)
def _rotations(n_columns: int) -> NDArray[np.complex64]:
    turns = np.outer(np.arange(_ROWS // 2 + 1), np.arange(n_columns)) / (_ROWS * n_columns)
    return np.asarray(np.exp(-2j * np.pi * turns), np.complex64)


@vectorised
def _rotate(matrix: NDArray[np.complex64], rotations: NDArray[np.complex64]) -> None:
    for i in range(len(matrix)):
        row, turn = matrix[i], rotations[i]
        for j in range(len(row)):
            row[j] *= turn[j]


@vectorised
def _in_order(matrix: NDArray[np.complex64], out: NDArray[np.complex64]) -> None:
    """Copy bin ``row + 512 * column`` to its place, and its conjugate to that of the mirrored bin."""
    n_columns = matrix.shape[1]
    middle = _ROWS // 2
    for top in range(0, middle, _TILE):
        for column in range(n_columns // 2):
            ahead = out[_ROWS * column + top : _ROWS * column + top + _TILE]
            mirrored = out[_ROWS * (column + 1) - top - _TILE + 1 : _ROWS * (column + 1) - top + 1]
            for j in range(_TILE):
                ahead[j] = matrix[top + j, column]
                mirrored[_TILE - 1 - j] = np.conj(matrix[top + j, n_columns - 1 - column])
    for column in range(n_columns // 2):
        out[_ROWS * column + middle] = matrix[middle, column]


def rfft(y: NDArray[np.float32]) -> NDArray[np.complex64]:
    """Transform a real signal whose length is a power of two; as ``scipy.fft.rfft``.

    Parameters
    ----------
    y : np.ndarray, shape (n,), float32

    Returns
    -------
    np.ndarray, shape (n // 2 + 1,), complex64
    """
    if len(y) < _LONG:
        return np.asarray(fft.rfft(y))
    n_columns = len(y) // _ROWS
    matrix = fft.rfft(y.reshape(_ROWS, n_columns), axis=0)
    _rotate(matrix, _rotations(n_columns))
    matrix = fft.fft(matrix, axis=1, overwrite_x=True)
    out = np.empty(len(y) // 2 + 1, np.complex64)
    _in_order(matrix, out)
    return out
