"""Square crops of one person out of frames: cutting them, and finding the person by motion.

A crop is ``x, y, side`` as `flexpose.geometry` has it, so poses of crops and of images are the
same but for `image_to_unit`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from flexpose.errors import DataFormatError
from flexpose.frames.base import FrameSource

Array = NDArray[np.float32]
Image = NDArray[np.uint8]

_LOOK = 160  # longer side of what motion is looked for in
_BACKGROUND = 48  # frames of a clip whose median is the background
_SAME_LEVELS, _SAME_PLACE = 12, 0.6  # so similar, and so much of the picture, is one place
_ALIKE = 8  # frames of other clips to one of the clip's own
_LEAST = 10.0  # levels of 255 that differ from it, at least
_NOISE = 6.0  # times the usual difference of a pixel
_DARKEST, _ONE_HUE = 0.35, 0.12  # a shadow takes so much light at most, of all colours alike
_SMALLEST = 0.002  # of the frame's area; less is no person
_SMOOTH = 5  # frames of the running median of boxes


def cut(image: Image, crop: NDArray[np.floating], size: int) -> Image:
    """Cut a crop out of an image, uint8 (size, size, 3); beyond the image its border goes on.

    Parameters
    ----------
    image : uint8 (H, W, 3)
    crop : float (3,), x, y, side in image pixels
    """
    x, y, side = (float(value) for value in crop)
    step = side / (size - 1)  # image pixels a canvas pixel
    height, width = image.shape[:2]
    margin = 3 * step + 2
    left, top = (int(np.clip(v - margin, 0, n - 1)) for v, n in ((x, width), (y, height)))
    right = int(np.clip(x + side + margin + 1, left + 1, width))
    bottom = int(np.clip(y + side + margin + 1, top + 1, height))
    part = image[top:bottom, left:right]
    if step > 1:  # each pixel of the crop is the mean of some of the image
        blurred = cv2.GaussianBlur(part, (0, 0), 0.5 * step, borderType=cv2.BORDER_REPLICATE)
        part = np.asarray(blurred, np.uint8)
    to_image = np.array([[step, 0, x - left], [0, step, y - top]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(part, to_image, (size, size), None, flags, cv2.BORDER_REPLICATE), np.uint8
    )


def motion_boxes(
    frames: FrameSource,
    rows: Sequence[int],
    elsewhere: Sequence[Image] = (),
    stop: Callable[[], bool] = lambda: False,
) -> Array:
    """Boxes of what moves before a background that stands still, in consecutive frames.

    The background is what the frames show most of the time, and those of other clips of the
    `same_place`; what differs from it by more than noise, and is the largest such thing, is boxed.
    Frames without any take the boxes of their neighbours; clips without any motion are boxed whole.
    No tracker, no training: one person, a static camera.

    Parameters
    ----------
    frames, rows : frames of one clip, in order, all of one size
    elsewhere : frames of other clips, shrunk by `shrunk`
    stop : looked at before each frame; once true, the boxes so far are given up

    Returns
    -------
    float32 (n, 4) x, y, width, height in pixels; (0, 4) when stopped

    Raises
    ------
    DataFormatError : a frame cannot be read, or has another size than the first.
    """
    small = []
    width, height = frames.size(rows[0])
    for row in rows:
        if stop():
            return np.zeros((0, 4), np.float32)
        image = frames.read(row)
        if image.shape[:2] != (height, width):
            raise DataFormatError(
                frames.root / frames.names[row],
                "",
                f"has {image.shape[1]} x {image.shape[0]} pixels, the first of its clip "
                f"{width} x {height}; expected frames of one static camera.",
            )
        small.append(shrunk(image))
    stack = np.stack(small)
    scale = max(stack.shape[1:3]) / max(width, height)
    others = [elsewhere[i] for i in same_place(stack, elsewhere)]
    background = place(stack, others)
    # a place seen in one clip only may hold part of the person, which darkens and is no shadow
    found = np.array([_largest(frame, background, shadows=bool(others)) for frame in stack])
    found = _filled(found, (0.0, 0.0, stack.shape[2] - 1.0, stack.shape[1] - 1.0))
    return (_smoothed(found) / scale).astype(np.float32)


def shrunk(image: Image) -> Image:
    """An image at the size at which motion is looked for."""
    height, width = image.shape[:2]
    scale = min(1.0, _LOOK / max(width, height))
    shape = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, shape, interpolation=cv2.INTER_AREA), np.uint8)


def same_place(clip: Image, elsewhere: Sequence[Image]) -> list[int]:
    """Which frames of other clips show what a clip shows, people aside: those of its camera.

    Parameters
    ----------
    clip : uint8 (n, H, W, 3), shrunk
    elsewhere : uint8 (H, W, 3) each, of other clips, shrunk
    """
    view = np.median(_spread(clip), axis=0)
    return [
        number
        for number, other in enumerate(elsewhere)
        if other.shape == view.shape
        and (np.abs(other - view).max(axis=2) < _SAME_LEVELS).mean() >= _SAME_PLACE
    ]


def place(clip: Image, others: Sequence[Image] = ()) -> Image:
    """What a clip shows when nobody is there, as far as can be told: what its pixels mostly are.

    Where a person stands still all the time, he is part of the place.

    Parameters
    ----------
    clip : uint8 (n, H, W, 3)
    others : uint8 (H, W, 3) each, frames of other clips of the `same_place`
    """
    own = _spread(clip)
    if not others:
        return np.asarray(np.median(own, axis=0), np.uint8)
    # the frames of one clip are much alike, so all of them say little more than one
    few = own[:: max(1, _ALIKE * len(own) // len(others))]
    return _mode(np.concatenate([few, np.stack(others)]))


def _spread(clip: Image) -> Image:
    """Some frames of a clip, from its first to its last."""
    return clip[np.linspace(0, len(clip) - 1, min(len(clip), _BACKGROUND)).round().astype(int)]


def _mode(pictures: Image) -> Image:
    """Where each pixel's values lie densest, by halving: the half that spans least, and so on.

    A wall seen in a third of the frames outweighs shirts of many colours; a median does not.
    """
    values = np.sort(pictures, axis=0)
    while len(values) > 2:
        half = (len(values) + 1) // 2
        span = values[half - 1 :].astype(np.int16) - values[: len(values) - half + 1]
        first = span.argmin(axis=0)
        values = np.take_along_axis(values, first + np.arange(half)[:, None, None, None], axis=0)
    return np.asarray(values.astype(np.uint16).mean(axis=0), np.uint8)


def _largest(frame: Image, background: Image, shadows: bool) -> tuple[float, float, float, float]:
    """Box of the largest thing that differs from the background; NaN when there is none.

    With ``shadows`` what is only darker does not count.
    """
    difference = np.abs(frame.astype(np.int16) - background).max(axis=2).astype(np.uint8)
    difference = cv2.GaussianBlur(difference, (5, 5), 0)
    least = max(_LEAST, _NOISE * float(np.median(difference)))
    different = difference > least
    if shadows:
        different &= ~_shadow(frame, background)
    mask = different.astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    # an arm before a ground of its colour is cut off from its body
    mask = cv2.dilate(mask, np.ones((7, 7), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
    things = stats[1:]
    if not len(things) or things[:, cv2.CC_STAT_AREA].max() < _SMALLEST * mask.size:
        return (np.nan,) * 4
    x, y, w, h, _ = things[things[:, cv2.CC_STAT_AREA].argmax()].tolist()
    grown = 3  # by the dilation
    return (x + grown, y + grown, max(w - 2 * grown, 1), max(h - 2 * grown, 1))


def _shadow(frame: Image, background: Image) -> NDArray[np.bool_]:
    """Where the frame is the background, only darker: by the same factor in each colour."""
    smooth = cv2.GaussianBlur(frame, (5, 5), 0).astype(np.float32)
    ratio = (smooth + 1) / (background + np.float32(1))
    low, high = ratio.min(axis=2), ratio.max(axis=2)
    return np.asarray((high < 1) & (low > _DARKEST) & (high - low < _ONE_HUE))


def _filled(boxes: NDArray[np.float64], whole: tuple[float, ...]) -> NDArray[np.float64]:
    """Boxes (n, 4) with rows of NaN interpolated from their neighbours."""
    known = np.isfinite(boxes[:, 0])
    if not known.any():
        return np.tile(np.array(whole), (len(boxes), 1))
    rows = np.arange(len(boxes))
    return np.stack([np.interp(rows, rows[known], column[known]) for column in boxes.T], axis=1)


def _smoothed(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Running median of the boxes' edges: one frame in which something else moved does no harm."""
    edges = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    half = _SMOOTH // 2
    padded = np.pad(edges, ((half, half), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, _SMOOTH, axis=0)
    edges = np.median(windows, axis=2)
    return np.concatenate([edges[:, :2], edges[:, 2:] - edges[:, :2]], axis=1)
