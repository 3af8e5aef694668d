"""The frames of a folder of videos, one video after the other: a clip each, as datasets have it."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexpose.frames.base import CACHE_BYTES, check_index
from flexpose.frames.video import VideoFrames


class VideoFolder:
    """The frames of videos below a folder; a `FrameSource`.

    A frame is called ``<video below the folder>/<number>.png``, as in `VideoFrames`. Opening counts
    the frames of every video; one of them is open at a time.

    Parameters
    ----------
    videos : their names relative to ``path``

    Raises
    ------
    DataFormatError : one of them is no video that can be decoded.
    """

    def __init__(
        self, path: Path | str, videos: Sequence[str], *, cache_bytes: int = CACHE_BYTES
    ) -> None:
        self.root = Path(path).absolute()
        self._videos, self._cache_bytes = tuple(videos), cache_bytes
        self._lock = threading.Lock()
        names: list[str] = []
        notes: list[str] = []
        self._starts: list[int] = []
        self._sizes: list[tuple[int, int]] = []
        for number, video in enumerate(self._videos):
            self._open = number, VideoFrames(self.root / video, cache_bytes=cache_bytes)
            frames = self._open[1]
            folder = video.rpartition("/")[0]
            self._starts.append(len(names))
            self._sizes.append(frames.size(0))
            names += [f"{folder}/{name}" if folder else name for name in frames.names]
            notes += frames.notes
        self.names: Sequence[str] = tuple(names)
        self.notes: tuple[str, ...] = tuple(notes)
        self.description = f"{len(self._videos):,} videos in {self.root}, {len(names):,} frames"

    def read(self, index: int) -> NDArray[np.uint8]:
        check_index(index, len(self.names))
        video = self._video(index)
        with self._lock:
            if self._open[0] != video:
                frames = VideoFrames(self.root / self._videos[video], cache_bytes=self._cache_bytes)
                self._open = video, frames
            frames = self._open[1]
        return frames.read(index - self._starts[video])

    def size(self, index: int) -> tuple[int, int]:
        check_index(index, len(self.names))
        return self._sizes[self._video(index)]

    def _video(self, index: int) -> int:
        return bisect_right(self._starts, index) - 1
