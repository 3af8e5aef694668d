"""Coordinate spaces of keypoints, and the functions between them.

*image*: pixels of the original image, (0, 0) the centre of its top-left pixel, y down.
*canvas*: pixels of a square skeleton image of ``size`` pixels, origin likewise.
*unit*: what networks see; -1 and +1 are the centres of the first and the last canvas pixel.

A *crop* is a float (N, 3) array ``x, y, side``: the image position of the first canvas pixel's
centre, and the distance in image pixels from the first to the last canvas pixel's centre. So
``image = crop[:2] + (unit + 1) / 2 * crop[2]``, whatever the canvas size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flexpose.errors import PoseShapeError
from flexpose.poseset import PoseSet
from flexpose.skeleton import Skeleton

Array = NDArray[np.float32]

FILL = 0.85
"""Share of the canvas that the longer side of a pose's tight box takes: leaves room for drawing."""


def tight_boxes(keypoints: NDArray[np.floating]) -> Array:
    """Smallest boxes around the labelled joints.

    Parameters
    ----------
    keypoints : float (N, J, 2), any space; NaN where not labelled

    Returns
    -------
    float32 (N, 4) x, y, width, height in the same space

    Raises
    ------
    PoseShapeError : a pose has no labelled joint.
    """
    empty = ~np.isfinite(keypoints).any(axis=(1, 2))
    if empty.any():
        raise PoseShapeError(f"Pose {int(np.argmax(empty))} has no labelled joint to box.")
    low = np.nanmin(keypoints, axis=1)
    high = np.nanmax(keypoints, axis=1)
    return np.concatenate([low, high - low], axis=1).astype(np.float32)


def boxes_to_crops(boxes: NDArray[np.floating], fill: float = FILL, min_side: float = 1.0) -> Array:
    """Square crops around boxes (N, 4), so that the longer side takes ``fill`` of the crop.

    ``min_side`` keeps the inverse defined for a box without extent: one pixel for images.
    """
    side = np.maximum(np.maximum(boxes[:, 2], boxes[:, 3]) / fill, min_side)
    centre = boxes[:, :2] + boxes[:, 2:] / 2
    return np.concatenate([centre - side[:, None] / 2, side[:, None]], axis=1).astype(np.float32)


def image_to_unit(keypoints: NDArray[np.floating], crops: NDArray[np.floating]) -> Array:
    """Image pixels (N, J, 2) to unit space, given crops (N, 3)."""
    return ((keypoints - crops[:, None, :2]) / crops[:, None, 2:] * 2 - 1).astype(np.float32)


def unit_to_image(keypoints: NDArray[np.floating], crops: NDArray[np.floating]) -> Array:
    """Unit space (N, J, 2) to image pixels, given crops (N, 3)."""
    return (crops[:, None, :2] + (keypoints + 1) / 2 * crops[:, None, 2:]).astype(np.float32)


def unit_to_canvas(keypoints: NDArray[np.floating], size: int) -> Array:
    """Unit space to pixels of a canvas of ``size`` pixels."""
    return ((keypoints + 1) / 2 * (size - 1)).astype(np.float32)


def canvas_to_unit(keypoints: NDArray[np.floating], size: int) -> Array:
    """Pixels of a canvas of ``size`` pixels to unit space."""
    return (keypoints / (size - 1) * 2 - 1).astype(np.float32)


def normalised(keypoints: NDArray[np.floating], fill: float = FILL) -> Array:
    """Poses (N, J, 2) of any space and unit, box-centred and scaled to ``fill`` of unit space.

    Raises
    ------
    PoseShapeError : all labelled joints of a pose lie in one point, or none is labelled.
    """
    boxes = tight_boxes(keypoints)
    flat = boxes[:, 2:].max(axis=1, initial=0) <= 0
    if flat.any():
        raise PoseShapeError(f"Pose {int(np.argmax(flat))} has no extent: its joints coincide.")
    return image_to_unit(keypoints, boxes_to_crops(boxes, fill, min_side=0))


def canvas_poses(
    keypoints: NDArray[np.floating], skeleton: Skeleton, size: int, source: Sequence[str] = ()
) -> PoseSet:
    """Complete unit poses (N, J, 2) as a PoseSet on a canvas of ``size`` pixels."""
    return PoseSet.create(
        skeleton, unit_to_canvas(keypoints, size), (size, size), source=tuple(source)
    )


def mirrored_unit(keypoints: NDArray[np.floating], flip_index: Sequence[int]) -> Array:
    """Unit poses mirrored about the vertical axis, left and right joints exchanged.

    Coordinates and names change together, so anatomy stays valid; its own inverse.
    """
    flipped = keypoints[:, list(flip_index)] * np.array([-1.0, 1.0], dtype=np.float32)
    return flipped.astype(np.float32)


def mirrored_image(
    keypoints: NDArray[np.floating], width: NDArray[np.integer] | int, flip_index: Sequence[int]
) -> Array:
    """Image poses mirrored within images of ``width`` pixels, left and right exchanged."""
    flipped = keypoints[:, list(flip_index)].astype(np.float32)
    flipped[..., 0] = np.asarray(width).reshape(-1, 1) - 1 - flipped[..., 0]
    return flipped
