"""Bent pictures: a labelled frame whose whole content follows the keypoints to another pose.

For what has no trunk and limbs to cut out: faces, hands, animals of a few points.
Between the points the picture is bent linearly (triangles of Delaunay), far outside it stays. Ours,
as the puppets are; the warp is that of active appearance models (Cootes 2001).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import Delaunay

from flexpose.rendering.puppet import Image

_BORDER_POINTS = 5  # a side
_MARGIN = 0.75  # of the image's side, at which the border that stays lies outside of it


class BentPicture:
    """A labelled image, ready to be bent.

    Parameters
    ----------
    image : uint8 (H, W, 3)
    pose : float (J, 2), complete, in pixels of the image
    """

    def __init__(self, image: Image, pose: NDArray[np.floating]) -> None:
        self.image, self.pose = image, pose.astype(np.float64)
        height, width = image.shape[:2]
        across = np.linspace(-_MARGIN, 1 + _MARGIN, _BORDER_POINTS)
        grid = np.stack(np.meshgrid(across, across), axis=-1).reshape(-1, 2)
        outer = np.isclose(np.abs(grid - 0.5), 0.5 + _MARGIN).any(axis=1)
        self._border = grid[outer] * (width - 1, height - 1)
        y, x = np.mgrid[:height, :width]
        self._pixels = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float64)

    def posed(self, pose: NDArray[np.floating]) -> Image:
        """The picture with its keypoints at ``pose`` (J, 2), pixels; uint8 (H, W, 3)."""
        height, width = self.image.shape[:2]
        triangles = Delaunay(np.concatenate([pose.astype(np.float64), self._border]))
        source = np.concatenate([self.pose, self._border])
        wanted = LinearNDInterpolator(triangles, source)(self._pixels)
        x, y = np.asarray(wanted, np.float32).T.reshape(2, height, width)
        bent = cv2.remap(self.image, x, y, cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE)
        return np.asarray(bent, np.uint8)
