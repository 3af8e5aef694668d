"""HDF5 files, which MATLAB's of version 7.3 are too, read through the optional package h5py.

Only arrays of numbers come out. What h5py raises for damaged files becomes a ``DataFormatError``.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexpose.errors import DataFormatError, MissingDependencyError

_MAGIC = b"\x89HDF\r\n\x1a\n"
_STARTS = (0, 512)  # MATLAB writes its own header before
_PACKED = 2000  # times smaller than gzip can make data, which saves a thousandfold at most
_DAMAGE = (OSError, RuntimeError, ValueError, TypeError, LookupError, ArithmeticError, MemoryError)


def is_hdf5(path: Path) -> bool:
    """Whether a file begins as HDF5 or MATLAB 7.3."""
    try:
        with path.open("rb") as file:
            start = file.read(_STARTS[-1] + len(_MAGIC))
    except OSError:
        return False
    return any(start[at : at + len(_MAGIC)] == _MAGIC for at in _STARTS)


def require_h5py() -> Any:
    """The package h5py.

    Raises
    ------
    MissingDependencyError : it is not installed.
    """
    try:
        return importlib.import_module("h5py")
    except ImportError as error:
        raise MissingDependencyError("h5py", "Reading HDF5 and MATLAB 7.3 files") from error


def hdf5_names(path: Path) -> frozenset[str]:
    """Names at the root of an HDF5 file; empty when the file is none or h5py is missing."""
    if not is_hdf5(path):
        return frozenset()
    try:
        with require_h5py().File(path, "r") as file:
            return frozenset(file)
    except (MissingDependencyError, *_DAMAGE):
        return frozenset()


def read_hdf5(path: Path, names: Sequence[str], hint: str = "") -> dict[str, NDArray[Any]]:
    """Read the named arrays, as "pose/2d", in the order of axes that the file has.

    Parameters
    ----------
    hint : what to do about an array that holds no numbers

    Raises
    ------
    DataFormatError : the file is missing or damaged, or lacks one of them as an array of numbers.
    MissingDependencyError : h5py is not installed.
    """
    h5py = require_h5py()
    found = {}
    name = ""
    try:
        with h5py.File(path, "r") as file:
            for name in names:
                if name not in file:
                    raise DataFormatError(path, name, "the array is missing")
                array = file[name]
                if not isinstance(array, h5py.Dataset) or array.dtype.kind not in "biuf":
                    raise DataFormatError(path, name, "is no array of numbers.", hint)
                if array.nbytes > _PACKED * array.id.get_storage_size():
                    raise DataFormatError(path, name, f"has no data for its shape {array.shape}")
                found[name] = np.asarray(array[()])
    except _DAMAGE as error:
        problem = "cannot be read, or is damaged or no HDF5 file"
        raise DataFormatError(path, name, f"{problem} ({error})") from error
    return found
