"""Joints of one skeleton from another: by name first, then by the target's stated stand-ins."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from flexpose.errors import SkeletonMismatchError
from flexpose.poseset import PoseSet
from flexpose.skeleton import Skeleton


@dataclass(frozen=True)
class JointMapping:
    """How each joint of ``target`` comes from joints of ``source``.

    Attributes
    ----------
    parts : for each target joint the source joint indices whose mean it is; empty when the source
        cannot give it
    """

    source: Skeleton
    target: Skeleton
    parts: tuple[tuple[int, ...], ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """Target joints that the source cannot give."""
        names = zip(self.target.joints, self.parts, strict=True)
        return tuple(name for name, part in names if not part)

    def describe(self) -> list[str]:
        """One line a target joint that is not simply the joint of the same name."""
        lines = []
        for name, part in zip(self.target.joints, self.parts, strict=True):
            used = [self.source.joints[i] for i in part]
            if not used:
                lines.append(f"{name}: not available")
            elif used != [name]:
                lines.append(f"{name}: {'mean of ' if len(used) > 1 else ''}{' and '.join(used)}")
        return lines


def find_mapping(source: Skeleton, target: Skeleton) -> JointMapping:
    """Match joints by name, never by position; fall back on ``target.derived``."""
    parts: list[tuple[int, ...]] = []
    for joint in target.joints:
        options = [(joint,), *target.derived.get(joint, ())]
        usable = (o for o in options if all(name in source.joints for name in o))
        parts.append(tuple(source.joints.index(name) for name in next(usable, ())))
    return JointMapping(source, target, tuple(parts))


def map_poses(poses: PoseSet, target: Skeleton, *, allow_missing: bool = False) -> PoseSet:
    """Express poses in another skeleton.

    A derived joint is labelled when all its parts are, visible when all of them are visible, and as
    sure as the least sure of them.

    Raises
    ------
    SkeletonMismatchError : the source lacks joints of the target and ``allow_missing`` is false.
    """
    if poses.skeleton.same_layout(target):
        return replace(poses, skeleton=target)
    mapping = find_mapping(poses.skeleton, target)
    if mapping.missing and not allow_missing:
        raise SkeletonMismatchError(
            f"Poses of {poses.skeleton.name} lack the joints {', '.join(mapping.missing)} "
            f"of {target.name}.",
            "Add them to the labels, or use a skeleton whose joints the labels have.",
        )
    n = len(poses)
    keypoints = np.full((n, target.num_joints, 2), np.nan, dtype=np.float32)
    visibility = np.zeros((n, target.num_joints), dtype=np.int8)
    confidence = None if poses.confidence is None else np.zeros(visibility.shape, dtype=np.float32)
    for joint, part in enumerate(mapping.parts):
        if part:
            keypoints[:, joint] = poses.keypoints[:, list(part)].mean(axis=1)
            visibility[:, joint] = poses.visibility[:, list(part)].min(axis=1)
            if confidence is not None and poses.confidence is not None:
                confidence[:, joint] = poses.confidence[:, list(part)].min(axis=1)
    changed = "; ".join(mapping.describe()) or "by name"
    return replace(
        poses,
        skeleton=target,
        keypoints=keypoints,
        visibility=visibility,
        confidence=confidence,
        source=(*poses.source, f"{poses.skeleton.name} -> {target.name} ({changed})"),
    )
