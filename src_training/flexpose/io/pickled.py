"""Pickled plain data, read without running any code from them.

Some datasets are ``.npz`` files with a dictionary of arrays inside, which numpy pickles. Here only
numbers, text, lists, tuples, dictionaries and numpy arrays of numbers, text or these can come out.
Instructions that do anything else are unknown to the reader, and the few functions of numpy that
pickled arrays name are replaced by functions of this module, so that damaged bytes cannot reach
memory that is not theirs.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import numpy as np
from numpy.typing import NDArray

from flexpose.errors import DataFormatError
from flexpose.io.base import DAMAGE, npy_header

_KINDS = "biufUSO"

_OPCODES = b"".join(
    (
        pickle.PROTO,
        pickle.FRAME,
        pickle.MARK,
        pickle.STOP,
        pickle.NONE,
        pickle.NEWTRUE,
        pickle.NEWFALSE,
        pickle.BININT,
        pickle.BININT1,
        pickle.BININT2,
        pickle.LONG1,
        pickle.BINFLOAT,
        pickle.BINUNICODE,
        pickle.SHORT_BINUNICODE,
        pickle.BINUNICODE8,
        pickle.BINBYTES,
        pickle.SHORT_BINBYTES,
        pickle.BINBYTES8,
        pickle.EMPTY_LIST,
        pickle.APPEND,
        pickle.APPENDS,
        pickle.EMPTY_TUPLE,
        pickle.TUPLE,
        pickle.TUPLE1,
        pickle.TUPLE2,
        pickle.TUPLE3,
        pickle.EMPTY_DICT,
        pickle.SETITEM,
        pickle.SETITEMS,
        pickle.BINPUT,
        pickle.LONG_BINPUT,
        pickle.MEMOIZE,
        pickle.BINGET,
        pickle.LONG_BINGET,
        pickle.GLOBAL,
        pickle.STACK_GLOBAL,
        pickle.REDUCE,
        pickle.BUILD,
    )
)


def read_object(path: Path, name: str) -> Any:
    """Read the member ``name`` of an ``.npz`` that holds one pickled object of plain data.

    Raises
    ------
    DataFormatError : the file is missing or damaged, lacks the member, or it holds anything else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if f"{name}.npy" not in archive.namelist():
                raise DataFormatError(path, name, "the array is missing")
            with archive.open(f"{name}.npy") as file:
                shape, dtype = npy_header(file)
                if shape == () and dtype.hasobject:
                    found = load_plain(file.read())
                    single = isinstance(found, np.ndarray) and found.size == 1
                    return found.item() if single else found
    except OSError as error:
        raise DataFormatError(path, "", f"cannot be read ({error.strerror or error})") from error
    except DAMAGE as error:
        raise DataFormatError(path, name, f"is damaged, or not plain data ({error})") from error
    raise DataFormatError(path, name, f"found shape {shape} of {dtype}, expected one object")


def read_pickle(path: Path) -> Any:
    """Read a file that is one pickled object of plain data.

    Raises
    ------
    DataFormatError : the file is missing or damaged, or holds anything else.
    """
    try:
        return load_plain(path.read_bytes())
    except OSError as error:
        raise DataFormatError(path, "", f"cannot be read ({error.strerror or error})") from error
    except DAMAGE as error:
        raise DataFormatError(path, "", f"is damaged, or not plain data ({error})") from error


def load_plain(data: bytes) -> Any:
    """Plain data from pickled bytes.

    Raises
    ------
    pickle.UnpicklingError : they name a class or function that plain data do not need.
    ValueError, TypeError, LookupError, EOFError, AttributeError, MemoryError : they are damaged.
    """
    return _plain(_PlainUnpickler(io.BytesIO(data)).load())


class _Type:
    """Stands for a numpy data type."""

    def __init__(self, code: str = "", *_: Any) -> None:
        self.code = code
        self.order = "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]

    def dtype(self) -> np.dtype[Any]:
        found = np.dtype(self.code)
        if found.kind not in _KINDS or found.fields is not None or found.subdtype is not None:
            raise ValueError(f"an array of type {found}")
        if self.order not in ("<", ">"):
            return found
        return found.newbyteorder(cast(Literal["<", ">"], self.order))


class _Array:
    """Stands for a numpy array while it is put together."""

    def __init__(self, *_: Any) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def array(self) -> NDArray[Any]:
        _, shape, kind, fortran, data = self.state
        shape = tuple(int(length) for length in shape)
        dtype = kind.dtype()
        if dtype.kind != "O":
            flat = np.frombuffer(data, dtype)
        else:
            flat = np.empty(len(data), dtype=object)
            for row, entry in enumerate(data):
                flat[row] = _plain(entry)
        return flat.reshape(shape, order="F" if fortran else "C")


class _Scalar:
    """Stands for a single number of numpy."""

    def __init__(self, kind: _Type, data: bytes) -> None:
        self.value = np.frombuffer(data, kind.dtype()).item()


class _NdarrayClass:
    """Stands for numpy's class of arrays, which pickles name and never call."""


def _latin1(text: str, encoding: str) -> bytes:
    """Bytes as old pickles of arrays write them."""
    if encoding != "latin1":
        raise ValueError(f"bytes as {encoding!r} text")
    return text.encode("latin-1")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _NdarrayClass,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _latin1,
}
for _module in ("numpy.core.multiarray", "numpy._core.multiarray"):
    _ALLOWED[_module, "_reconstruct"] = _Array
    _ALLOWED[_module, "scalar"] = _Scalar


# the one in C allocates what damaged bytes ask for and cannot be kept to some instructions
class _PlainUnpickler(pickle._Unpickler):
    dispatch: ClassVar = {code: pickle._Unpickler.dispatch[code] for code in _OPCODES}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return _ALLOWED[module, name]


def _plain(value: Any) -> Any:
    """What stands for arrays and numbers, exchanged for them."""
    if isinstance(value, _Array):
        return value.array()
    if isinstance(value, _Scalar):
        return value.value
    if isinstance(value, dict):
        return {_plain(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(entry) for entry in value)
    if value is None or isinstance(value, (str, bytes, int, float)):
        return value
    raise pickle.UnpicklingError(f"it holds {type(value).__name__}")
