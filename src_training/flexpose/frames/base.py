"""What all sources of frames share: their protocol, natural order, a cache bounded in bytes."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

CACHE_BYTES = 2**28
"""Memory for what was read last: 43 images in Full HD, 3 of 24 megapixels."""

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts",
    ".wmv", ".flv", ".ogv", ".3gp",
)  # fmt: skip

Value = TypeVar("Value")


class FrameSource(Protocol):
    """N frames in a fixed order. Safe to read from several threads.

    Attributes
    ----------
    names : N different names, each the identity of its frame: paths relative to ``root``, with "/"
    root : folder that the names are relative to
    description : one line for people
    """

    @property
    def names(self) -> Sequence[str]: ...

    @property
    def root(self) -> Path: ...

    @property
    def description(self) -> str: ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out or changed so far, one sentence a kind."""

    def read(self, index: int) -> NDArray[np.uint8]:
        """Pixels of a frame, uint8 (H, W, 3) RGB, read-only, turned the way it is to be looked at.

        Raises
        ------
        DataFormatError : the frame is missing or damaged.
        IndexError : there is no such frame.
        """

    def size(self, index: int) -> tuple[int, int]:
        """Width and height in pixels of what ``read`` gives; raises the same."""


class ByteCache(Generic[Value]):
    """The values used last, as many as fit into ``limit`` bytes, but at least one."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._total = 0
        self._entries: OrderedDict[int, tuple[Value, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: int) -> Value | None:
        """Value of a key, or None where it was dropped or never there."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            self._entries.move_to_end(key)
            return entry[0]

    def put(self, key: int, value: Value, size: int) -> None:
        """Keep a value of ``size`` bytes; drops those not used for longest."""
        with self._lock:
            _, old = self._entries.pop(key, (None, 0))
            self._entries[key] = (value, size)
            self._total += size - old
            while self._total > self._limit and len(self._entries) > 1:
                _, (_, dropped) = self._entries.popitem(last=False)
                self._total -= dropped


def natural_key(name: str) -> tuple[object, ...]:
    """Key that sorts relative paths folder by folder, numbers by value: img2 before img10."""
    parts = [
        tuple(
            int(piece) if place % 2 else piece.casefold()
            for place, piece in enumerate(re.split("([0-9]+)", part))
        )
        for part in name.split("/")
    ]
    return (parts, name)


def check_index(index: int, count: int) -> None:
    """Refuse the number of a frame that is not there."""
    if not 0 <= index < count:
        raise IndexError(f"Found frame {index}, expected 0 to {count - 1}.")
