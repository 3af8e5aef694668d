"""Which frames to label next, from the images alone.

Each frame becomes a small vector: a grey thumbnail and a coarse histogram of edge directions. The
next frame is always the one that brings all frames nearest, in the mean square, to a labelled or
suggested one. Taking the farthest frame instead collects outliers: it covered the poses of most
collections that were tried worse than evenly spaced frames did. Without the square, frames of a
rare kind came last.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from flexpose.errors import DataFormatError
from flexpose.frames.base import FrameSource
from flexpose.jobs import CancelToken

Array = NDArray[np.float32]

_SIDE = 64  # pixels of a thumbnail
_CELLS, _DIRECTIONS = 8, 8  # of the histogram, in each direction
_FAINT = 0.15  # sum of the grey steps (0 to 1) in a cell that is noise
_CUT = 2  # mean differences: neighbours that differ more are no neighbours, but a cut
_SAME = 3  # grey levels by which thumbnails of one view differ at most: noise, compression

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Suggestion:
    """A frame worth labelling.

    Attributes
    ----------
    index, name : the frame in its source
    reason : why, in words
    distance : how much it differs from the most similar frame that is labelled or was suggested
        before it, where 1 is the mean difference of two frames; None where there is no such frame
    """

    index: int
    name: str
    reason: str
    distance: float | None


def suggest_frames(
    source: FrameSource,
    labelled: Collection[str],
    count: int,
    *,
    sample: int = 500,
    seed: int = 0,
    min_gap: int | None = None,
    cancel: CancelToken | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Suggestion]:
    """Choose frames that stand, with the labelled ones, for all frames; the most useful first.

    Fewer than ``count`` come back where no more frames differ from each other. Frames that cannot
    be read are left out and logged.

    Parameters
    ----------
    labelled : names of frames that are labelled already, or not wanted
    sample : frames to read at most, evenly spread, and as many labelled ones
    seed : decides which frames of a long source are read
    min_gap : least distance in frames between two of one folder or video that do not differ far
        more than others do; by default a quarter of that between ``count`` evenly spaced frames
    cancel : looked at before each frame is read; once cancelled, nothing comes back
    on_progress : called with the number of frames read and of those to read

    Raises
    ------
    DataFormatError : none of the frames can be read.
    """
    names, done = source.names, set(labelled)
    known = [index for index, name in enumerate(names) if name in done]
    new = [index for index, name in enumerate(names) if name not in done]
    if count < 1 or not new:
        return []
    offset = float(np.random.default_rng(seed).random())
    wanted = sorted([*_evenly(known, sample, offset), *_evenly(new, sample, offset)])
    seen = _look_at(source, wanted, cancel, on_progress)
    if not seen:
        return []
    frames = np.array([frame.index for frame in seen])
    thumbnails = np.stack([frame.thumbnail for frame in seen])
    distances = _distances([frame.look for frame in seen])
    is_known = np.isin(frames, known)
    gap = len(names) // (4 * count) if min_gap is None else min_gap
    places = _places(names)[frames]

    def ruled_out(row: int) -> NDArray[np.bool_]:
        """Which frames lie too near to a frame, or show the same."""
        same_clip = places[:, 0] == places[row, 0]
        close = same_clip & (np.abs(places[:, 1] - places[row, 1]) < gap)
        near = close & (distances[row] < _CUT)
        one = thumbnails[row]
        difference = np.maximum(thumbnails, one) - np.minimum(thumbnails, one)
        return near | (difference.max(axis=(1, 2)) <= _SAME)

    picks = _cover(distances, is_known, count, ruled_out)
    reasons = _reasons(distances, is_known, picks, len(names) / len(frames))
    return [
        Suggestion(int(frames[row]), names[frames[row]], reason, distance)
        for (row, distance), reason in zip(picks.items(), reasons, strict=True)
    ]


def describe(thumbnail: NDArray[np.uint8]) -> tuple[Array, Array]:
    """What a frame looks like, from its grey thumbnail uint8 (64, 64).

    Returns
    -------
    the picture, float32 (16, 16), 0 to 1; and its edges, float32 (8, 8, 8): row and column of a
    cell, direction in eighths of half a turn, 0 for upright edges. The edges of a cell have the
    length 1, or less where they are faint.
    """
    grey = thumbnail.astype(np.float32) / 255
    picture = grey.reshape(16, 4, 16, 4).mean(axis=(1, 3))
    down, right = np.gradient(grey)
    strength = np.hypot(down, right)
    # without sign: a dark limb before a bright wall and the reverse have the same edges
    direction = np.mod(np.arctan2(down, right), np.pi) / np.pi * _DIRECTIONS
    lower = np.floor(direction)
    share = direction - lower
    cell = np.arange(_SIDE) // (_SIDE // _CELLS)
    first = (cell[:, None] * _CELLS + cell) * _DIRECTIONS
    edges = np.zeros(_CELLS * _CELLS * _DIRECTIONS)
    for step, part in ((0, 1 - share), (1, share)):
        bins = first + (lower.astype(np.intp) + step) % _DIRECTIONS
        edges += np.bincount(bins.ravel(), (strength * part).ravel(), len(edges))
    cells = edges.reshape(_CELLS, _CELLS, _DIRECTIONS)
    cells /= np.linalg.norm(cells, axis=2, keepdims=True) + _FAINT
    return picture, cells.astype(np.float32)


def _distances(looks: Sequence[tuple[Array, Array]]) -> Array:
    """How much n frames differ, (n, n), where 1 is the mean; edges count twice the picture."""
    squared = np.zeros((len(looks), len(looks)), np.float32)
    for weight, part in zip((1, 2), zip(*looks, strict=True), strict=True):
        vectors = np.stack(part).reshape(len(looks), -1)
        vectors = vectors - vectors.mean(axis=0)
        squares = (vectors**2).sum(axis=1)
        if squares.any():
            gaps = squares[:, None] + squares - 2 * vectors @ vectors.T
            squared += weight**2 * np.maximum(gaps, 0) / squares.mean()
    np.fill_diagonal(squared, 0)
    distances = np.sqrt(squared)
    return np.asarray(distances / (distances.mean() or 1), dtype=np.float32)


# ---------------------------------------------------------------- choosing


def _cover(
    distances: Array,
    known: NDArray[np.bool_],
    count: int,
    ruled_out: Callable[[int], NDArray[np.bool_]],
) -> dict[int, float | None]:
    """Rows that bring all others near to a chosen or known one, and how far off each was."""
    free = ~known
    nearest = np.full(len(distances), np.inf, np.float32)
    for row in np.flatnonzero(known).tolist():
        free &= ~ruled_out(row)
        nearest = np.minimum(nearest, distances[row])
    picks: dict[int, float | None] = {}
    while free.any() and len(picks) < count:
        left = (np.minimum(nearest, distances) ** 2).sum(axis=1)
        row = int(np.argmin(np.where(free, left, np.inf)))
        picks[row] = float(nearest[row]) if np.isfinite(nearest[row]) else None
        free &= ~ruled_out(row)
        nearest = np.minimum(nearest, distances[row])
    return picks


def _reasons(
    distances: Array, known: NDArray[np.bool_], picks: Collection[int], weight: float
) -> list[str]:
    """Why each row was picked; each row stands for ``weight`` frames of the source."""
    if not picks:
        return []
    rows, others = np.array(list(picks)), np.flatnonzero(known)
    owner = np.argmin(distances[:, np.concatenate([rows, others])], axis=1)
    sizes = np.bincount(owner, minlength=len(rows))[: len(rows)].tolist()
    reasons = [
        f"like about {round(size * weight)} others" if size > 1 else "unlike any other frame"
        for size in sizes
    ]
    if len(others):
        farthest = np.argmax(distances[np.ix_(rows, others)].min(axis=1))
        reasons[int(farthest)] = "differs most from the labelled frames"
    else:
        reasons[0] = "most typical frame"
    return reasons


# ---------------------------------------------------------------- reading


@dataclass(frozen=True)
class _Seen:
    """A frame that was read: its grey thumbnail uint8 (64, 64), and what it looks like."""

    index: int
    thumbnail: NDArray[np.uint8]
    look: tuple[Array, Array]


def _look_at(
    source: FrameSource,
    indices: Sequence[int],
    cancel: CancelToken | None,
    on_progress: Callable[[int, int], None] | None,
) -> list[_Seen]:
    """Read the frames that can be read; none when cancelled."""
    seen: list[_Seen] = []
    unreadable: list[DataFormatError] = []
    for done, index in enumerate(indices, start=1):
        if cancel is not None and cancel.cancelled:
            return []
        try:
            thumbnail = _thumbnail(source.read(index))
        except DataFormatError as error:
            _log.warning("Left out of the suggestions: %s", error)
            unreadable.append(error)
        else:
            seen.append(_Seen(index, thumbnail, describe(thumbnail)))
        if on_progress is not None:
            on_progress(done, len(indices))
    if unreadable and not seen:
        raise unreadable[0]
    return seen


def _thumbnail(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), (0, 0), 1))


def _evenly(indices: Sequence[int], count: int, offset: float) -> list[int]:
    """At most ``count`` of the numbers, evenly spread; ``offset`` in [0, 1) shifts them."""
    if len(indices) <= count:
        return list(indices)
    step = len(indices) / count
    return [indices[int((place + offset) * step)] for place in range(count)]


def _places(names: Sequence[str]) -> NDArray[np.intp]:
    """Number of the folder or video of each frame, and the frame's place in it: (N, 2)."""
    folders: dict[str, int] = {}
    filled: Counter[str] = Counter()
    places = np.empty((len(names), 2), dtype=np.intp)
    for index, name in enumerate(names):
        folder = name.rpartition("/")[0]
        places[index] = folders.setdefault(folder, len(folders)), filled[folder]
        filled[folder] += 1
    return places
