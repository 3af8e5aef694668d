"""Tensors as pictures for previews."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """Images (n, c, h, w) in [-1, 1] as uint8 (n, h, w, 3) RGB."""
    rgb = images.detach().float().clamp(-1, 1).expand(-1, 3, -1, -1)
    array = ((rgb + 1) * 127.5).round().byte().permute(0, 2, 3, 1)
    return array.contiguous().cpu().numpy()
