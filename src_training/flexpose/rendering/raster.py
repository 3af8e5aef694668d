"""Skeleton images and overlays without torch: alpha in numpy, and crisp drawings with OpenCV."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from flexpose.rendering.style import DrawingStyle
from flexpose.skeleton import Skeleton

Image = NDArray[np.uint8]

SIDE_COLORS = {"left": (86, 180, 233), "right": (230, 159, 0), "middle": (255, 255, 255)}
"""RGB by the person's side: Okabe-Ito, told apart by colour-blind eyes."""

_CLOSE = 4  # thicknesses between joints at which there is no room for usual dots
_SUB = 4  # OpenCV's fractional bits of drawing coordinates


def skeleton_images(poses: NDArray[np.floating], skeleton: Skeleton, style: DrawingStyle) -> Image:
    """Alpha without torch: the same formula as ``rendering.soft``, rounded to 8 bits.

    OpenCV's distance transform was the alternative; it snaps limbs to whole pixels, which costs
    up to .2 px, so distances are computed exactly here.

    Parameters
    ----------
    poses : float (n, J, 2), unit space; limbs with a NaN end are left out

    Returns
    -------
    uint8 (n, size, size, channels), 0 the background
    """
    edges = np.array(skeleton.edges, dtype=np.int64).reshape(-1, 2)
    colors = style.limb_colors(skeleton)
    images = np.zeros((len(poses), style.size, style.size, style.channels), dtype=np.float32)
    for image, pose in zip(images, np.asarray(poses, dtype=np.float32), strict=True):
        limbs = pose[edges]
        for limb, color in zip(limbs, colors, strict=True):
            if np.isfinite(limb).all():
                _add_limb(image, limb, color, style)
    return np.rint(images * 255).astype(np.uint8)


def _add_limb(
    image: NDArray[np.float32],
    limb: NDArray[np.float32],
    color: NDArray[np.float32],
    style: DrawingStyle,
) -> None:
    """Combine one limb (2, 2) into a float image in [0, 1], within the window it reaches."""
    step = 2 / (style.size - 1)
    reach = style.sigma**2 * np.log(1024)  # beyond it the glow is below half an 8-bit level
    low = np.floor((limb.min(axis=0) - reach + 1) / step).astype(int).clip(0, style.size)
    high = np.ceil((limb.max(axis=0) + reach + 1) / step).astype(int).clip(-1, style.size - 1) + 1
    if (low >= high).any():
        return
    x = np.arange(low[0], high[0], dtype=np.float32) * step - 1
    y = (np.arange(low[1], high[1], dtype=np.float32) * step - 1)[:, None]
    (ax, ay), (bx, by) = limb[0], limb[1] - limb[0]
    along = ((x - ax) * bx + (y - ay) * by) / max(float(bx * bx + by * by), 1e-6)
    np.clip(along, 0, 1, out=along)
    distance = np.sqrt((x - ax - along * bx) ** 2 + (y - ay - along * by) ** 2 + 1e-6)
    glow = np.exp(distance * np.float32(-1 / style.sigma**2))
    window = image[low[1] : high[1], low[0] : high[0]]
    np.maximum(window, glow[..., None] * color, out=window)


def draw_overlay(
    image: Image,
    keypoints: NDArray[np.floating],
    skeleton: Skeleton,
    visibility: Sequence[int] | NDArray[np.integer] | None = None,
    thickness: int = 2,
) -> Image:
    """A copy of an image with one pose on it: side-coloured limbs on a dark outline.

    Where joints lie close together, as those of a face do, lines and dots are thinner.

    Parameters
    ----------
    image : uint8 (H, W, 3) RGB
    keypoints : float (J, 2), image pixels; NaN where not labelled
    visibility : (J,) 0, 1 or 2; occluded joints (1) are rings, visible ones discs
    thickness : limb width in pixels
    """
    out = image.copy()
    scale = 1 << _SUB
    known = np.isfinite(keypoints).all(axis=1)
    fixed = np.where(known[:, None], np.rint(np.nan_to_num(keypoints) * scale), 0).astype(int)
    colors = [SIDE_COLORS[side] for side in skeleton.edge_sides]
    drawn = [(a, b) for a, b in skeleton.edges if known[a] and known[b]]
    bones = [np.linalg.norm(keypoints[a] - keypoints[b]) for a, b in drawn]
    close = bool(bones) and float(np.median(bones)) < _CLOSE * thickness
    thickness = 1 if close else thickness
    for width, outline in ((thickness + 2, True), (thickness, False)):
        for (a, b), color in zip(skeleton.edges, colors, strict=True):
            if known[a] and known[b]:
                ink = (17, 17, 17) if outline else color
                start, end = tuple(map(int, fixed[a])), tuple(map(int, fixed[b]))
                cv2.line(out, start, end, ink, width, cv2.LINE_AA, _SUB)
    for joint in np.flatnonzero(known).tolist():
        occluded = visibility is not None and visibility[joint] == 1
        centre = tuple(map(int, fixed[joint]))
        radius = thickness * scale if close else (thickness + 1) * scale
        cv2.circle(out, centre, radius, (17, 17, 17), 1 if occluded else -1, cv2.LINE_AA, _SUB)
        if not occluded:
            cv2.circle(out, centre, thickness * scale, (255, 255, 255), -1, cv2.LINE_AA, _SUB)
    return out
