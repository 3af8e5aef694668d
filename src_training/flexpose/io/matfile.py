"""MATLAB files of version 5 to 7.2, checked while they are read.

Variables come out as ``scipy.io.loadmat`` gives them: numbers in MATLAB's shapes, text as arrays of
rows, true and false as 1 and 0, cells as arrays of objects, structures as arrays with a field of
objects each. Damaged bytes end in a ValueError; scipy's reader follows them into memory that is not
the file's. The layout is that of "MAT-File Format" by The MathWorks, chapter 1.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Container, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
_TEXTS = {2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16"}
_CELL, _STRUCT, _CHAR = 1, 2, 4
_CLASSES = {
    6: "f8",
    7: "f4",
    8: "i1",
    9: "u1",
    10: "i2",
    11: "u2",
    12: "i4",
    13: "u4",
    14: "i8",
    15: "u8",
}
_COMPLEX = 0x0800
_HEAD = 4096  # bytes that hold the name of any variable


def variables(path: Path, wanted: Container[str]) -> Iterator[tuple[str, Any]]:
    """Names of all variables in file order, with the value of those wanted and None for others.

    Raises
    ------
    OSError : the file cannot be read.
    ValueError, zlib.error : it is damaged, or no MATLAB file of these versions.
    NotImplementedError : it is of version 7.3, or a wanted variable is of a kind not read here.
    """
    with path.open("rb") as file:
        order = _byte_order(file.read(128))
        end = path.stat().st_size
        while (at := file.tell()) < end:
            kind, size = np.frombuffer(_exactly(file, 8), f"{order}u4").tolist()
            if kind not in (_MATRIX, _COMPRESSED) or at + 8 + size > end:
                raise ValueError(f"no variable at byte {at}")
            start = file.read(min(size, _HEAD))
            if kind == _COMPRESSED:
                start = zlib.decompressobj().decompress(start, _HEAD)[8:]
            name = _Head(_Bytes(start, order)).name
            value = None
            if name in wanted:
                file.seek(at + 8)
                data = _Bytes(_exactly(file, size), order)
                if kind == _COMPRESSED:
                    whole = _Bytes(zlib.decompress(data.data), order)
                    data = _Bytes(whole.element(_MATRIX), order)
                value = _value(data)
            file.seek(at + 8 + size)
            yield name, value


def _byte_order(header: bytes) -> str:
    if header.startswith(b"MATLAB 7.3 MAT-file"):
        raise NotImplementedError("version 7.3")
    order = {b"IM": "<", b"MI": ">"}.get(header[126:128])
    if order is None:
        raise ValueError("no header of a MATLAB file")
    return order


def _exactly(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise ValueError("the file ends within a variable")
    return data


class _Bytes:
    """The elements of a variable, one after the other."""

    def __init__(self, data: bytes | memoryview, order: str) -> None:
        self.data = memoryview(data)
        self.order = order
        self.at = 0

    def next(self) -> tuple[int, memoryview]:
        """Type and content of the next element; small ones share 8 bytes with their tag."""
        tag = self.numbers(self.data[self.at : self.at + 4], "u4")
        if tag.size != 1:
            raise ValueError("an element is missing")
        kind, size, start = int(tag[0]) & 0xFFFF, int(tag[0]) >> 16, self.at + 4
        if size == 0:
            kind, start = int(tag[0]), self.at + 8
            size = int(self.numbers(self.data[self.at + 4 : start], "u4")[0])
        if start + size > len(self.data):
            raise ValueError("an element is larger than its variable")
        self.at += 8 if start == self.at + 4 else 8 + size + -size % 8
        return kind, self.data[start : start + size]

    def element(self, *kinds: int) -> memoryview:
        """Content of the next element, which must be of one of some types."""
        kind, content = self.next()
        if kind not in kinds:
            raise ValueError(f"found an element of type {kind}, expected {kinds}")
        return content

    def numbers(self, data: memoryview, kind: str) -> NDArray[Any]:
        return np.frombuffer(data, np.dtype(kind).newbyteorder(self.order))  # type: ignore[arg-type]


class _Head:
    """Class, shape and name with which every variable begins."""

    def __init__(self, data: _Bytes) -> None:
        flags = int(data.numbers(data.element(6), "u4")[0])
        self.kind, self.complex = flags & 0xFF, flags & _COMPLEX
        self.shape = tuple(data.numbers(data.element(5, 6), "i4").tolist())
        if len(self.shape) < 2 or min(self.shape) < 0:
            raise ValueError(f"a variable has the shape {self.shape}")
        self.name = bytes(data.element(1, 2, 16)).decode("latin-1")


def _value(data: _Bytes) -> Any:
    """The value of a variable, or of a part of one."""
    if not data.data:
        return np.empty((0, 0))
    head = _Head(data)
    if head.kind == _CELL:
        return _parts(data, head.shape, 1).reshape(head.shape, order="F")
    if head.kind == _STRUCT:
        return _structure(data, head.shape)
    if head.kind == _CHAR:
        return _text(data, head.shape)
    if head.kind not in _CLASSES or head.complex:
        raise NotImplementedError(f"a variable of class {head.kind}")
    kind, content = data.next()
    if kind not in _NUMBERS:
        raise ValueError(f"found an element of type {kind}, expected numbers")
    numbers = data.numbers(content, _NUMBERS[kind]).astype(_CLASSES[head.kind])
    return numbers.reshape(head.shape, order="F")


def _parts(data: _Bytes, shape: tuple[int, ...], fields: int) -> NDArray[Any]:
    """Objects (entries, fields) as they follow each other."""
    entries = math.prod(shape)
    if entries * max(fields, 1) * 8 > len(data.data):  # each has a tag at least
        raise ValueError(f"no room for the shape {shape}")
    found = np.empty((entries, fields), dtype=object)
    for place in np.ndindex(found.shape):
        found[place] = _value(_Bytes(data.element(_MATRIX), data.order))
    return found


def _structure(data: _Bytes, shape: tuple[int, ...]) -> NDArray[Any]:
    length = int(data.numbers(data.element(5), "i4")[0])
    names = bytes(data.element(1))
    if length <= 0 or len(names) % length:
        raise ValueError(f"the names of fields do not have {length} letters each")
    fields = [
        names[at : at + length].partition(b"\0")[0].decode("ascii")
        for at in range(0, len(names), length)
    ]
    parts = _parts(data, shape, len(fields))
    found = np.empty(len(parts), dtype=[(name, object) for name in fields])
    for column, name in enumerate(fields):
        found[name] = parts[:, column]
    return found.reshape(shape, order="F")


def _text(data: _Bytes, shape: tuple[int, ...]) -> NDArray[np.str_]:
    """Rows of text: the last axis becomes one string."""
    kind, content = data.next()
    if kind not in _TEXTS:
        raise ValueError(f"found an element of type {kind}, expected text")
    coding = _TEXTS[kind]
    if coding == "utf-16":
        coding += "-le" if data.order == "<" else "-be"
    letters = list(bytes(content).decode(coding))
    if len(letters) != math.prod(shape):
        raise ValueError(f"found {len(letters)} letters for the shape {shape}")
    if not letters:
        return np.empty(0, dtype=str)
    table = np.array(letters).reshape(shape, order="F").reshape(-1, shape[-1])
    return np.array(["".join(row) for row in table]).reshape(shape[:-1])
