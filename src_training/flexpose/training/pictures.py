"""Tensors as pictures for previews, sheets of them, and PNG files."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

_SIDE = 128  # least pixels of a sheet's pictures; small ones are enlarged about to it
_GAP, _GROUND = 4, 17  # pixels between pictures, and their grey


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """Images (n, c, h, w) in [-1, 1] as uint8 (n, h, w, 3) RGB."""
    rgb = images.detach().float().clamp(-1, 1).expand(-1, 3, -1, -1)
    array = ((rgb + 1) * 127.5).round().byte().permute(0, 2, 3, 1)
    return array.contiguous().cpu().numpy()


def sheet(rows: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Rows of as many pictures each, uint8 (n, h, w, 3), below each other as one picture."""
    cells = np.stack(rows)
    enlarge = max(1, _SIDE // cells.shape[2])
    cells = cells.repeat(enlarge, axis=2).repeat(enlarge, axis=3)
    margins = ((0, 0), (0, 0), (_GAP, 0), (_GAP, 0), (0, 0))
    cells = np.pad(cells, margins, constant_values=_GROUND)
    table = np.vstack([np.hstack(list(row)) for row in cells])
    return np.pad(table, ((0, _GAP), (0, _GAP), (0, 0)), constant_values=_GROUND)


def png(image: NDArray[np.uint8]) -> bytes:
    """A PNG file of a picture, uint8 (h, w, 3) RGB."""
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
