"""Pose-mixup: T* from T, the paper's enrichment of few shots (FlexPose, Eq. 7)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flexpose.errors import FlexPoseError


def pose_mixup(
    shots: NDArray[np.floating], count: int, random: np.random.Generator
) -> NDArray[np.float32]:
    """Convex combinations ``lam * t_i + (1 - lam) * t_j`` of pairs of different shots.

    ``lam`` is uniform on [0, 1]; the paper draws E = 1000 of them. Interpolating coordinates
    shortens limbs that turn between the two poses, which is why T* alone is no substitute for a
    generator.

    Parameters
    ----------
    shots : float (M, J, 2), any space, M >= 2

    Returns
    -------
    float32 (count, J, 2), same space

    Raises
    ------
    FlexPoseError : fewer than two shots.
    """
    if len(shots) < 2:
        raise FlexPoseError(
            f"Found {len(shots)} shot{'s' * (len(shots) != 1)}, expected at least 2 to mix.",
            "Label a dozen frames; 12 to 30 are what the method is made for.",
        )
    first = random.integers(len(shots), size=count)
    second = (first + random.integers(1, len(shots), size=count)) % len(shots)
    lam = random.random((count, 1, 1))
    return (lam * shots[first] + (1 - lam) * shots[second]).astype(np.float32)
