"""Pose-mixup: T* from T, the paper's enrichment of few shots (FlexPose, Eq. 7), and a variant."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flexpose.errors import FlexPoseError
from flexpose.skeleton import Skeleton, bone_tree


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
    first, second, lam = _pairs(shots, count, random)
    share = lam[:, None, None]
    return (share * shots[first] + (1 - share) * shots[second]).astype(np.float32)


def angle_mixup(
    shots: NDArray[np.floating], count: int, random: np.random.Generator, skeleton: Skeleton
) -> NDArray[np.float32]:
    """As `pose_mixup`, between directions and lengths of bones instead of positions.

    A bone turns the shorter way round and keeps its length where both shots agree on it, so limbs
    do not shrink. Joints follow from the root outwards. An idea of ours.

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
    first, second, lam = _pairs(shots, count, random)
    share = lam[:, None]
    out = share[..., None] * shots[first] + (1 - share[..., None]) * shots[second]
    for parent, child in bone_tree(skeleton):
        bones = (shots[:, child] - shots[:, parent]) @ np.array([1, 1j])
        one, other = bones[first], bones[second]
        turn = np.angle(one * other.conj())  # from the second's direction to the first's
        length = lam * np.abs(one) + (1 - lam) * np.abs(other)
        bone = length * np.exp(1j * (np.angle(other) + lam * turn))
        out[:, child] = out[:, parent] + np.stack([bone.real, bone.imag], axis=1)
    return out.astype(np.float32)


def _pairs(
    shots: NDArray[np.floating], count: int, random: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Two different shots each, (count,), and the share of the first."""
    if len(shots) < 2:
        raise FlexPoseError(
            f"Found {len(shots)} shot{'s' * (len(shots) != 1)}, expected at least 2 to mix.",
            "Label a dozen frames; 12 to 30 are what the method is made for.",
        )
    first = random.integers(len(shots), size=count)
    second = (first + random.integers(1, len(shots), size=count)) % len(shots)
    return first, second, random.random((count, 1, 1))[:, 0, 0]
