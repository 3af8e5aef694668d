"""Training poses: read, mapped, filtered, normalised; and batches drawn from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flexpose.configs.prior import SourceConfig
from flexpose.errors import FlexPoseError, SkeletonMismatchError
from flexpose.geometry import normalised, tight_boxes
from flexpose.io.base import read_poses
from flexpose.mapping import map_poses
from flexpose.poseset import PoseSet
from flexpose.sampling import PoseSampler, load_model
from flexpose.skeleton import Skeleton, load_skeleton


@dataclass(frozen=True)
class SourcePoses:
    """What a prior learns.

    Attributes
    ----------
    keypoints : float32 (N, J, 2), unit space, box-normalised
    skeleton : their skeleton
    notes : what was read, kept and left out
    """

    keypoints: Tensor
    skeleton: Skeleton
    notes: tuple[str, ...]


def load_source(config: SourceConfig, path: Path | None = None) -> SourcePoses:
    """Complete poses of a file in the prior's skeleton, large enough and normalised.

    Parameters
    ----------
    path : another file under the same rules, such as held-out poses

    Raises
    ------
    FlexPoseError : fewer than 16 poses remain.
    """
    path = path or config.poses
    skeleton = load_skeleton(config.skeleton)
    read = read_poses(path)
    mapped = map_poses(read, skeleton)
    complete = mapped[mapped.complete]
    side = tight_boxes(complete.keypoints)[:, 2:].max(axis=1, initial=0.0)
    kept = complete[side >= max(config.min_side, 1e-3)]
    if len(kept) < 16:
        raise FlexPoseError(
            f"{path}: of {len(read)} poses {len(complete)} are complete and {len(kept)} of those "
            f"at least {config.min_side:g} px large; expected at least 16 to learn from.",
        )
    counted = f"{len(read)} poses, {len(complete)} with all joints of {skeleton.name}"
    if config.min_side:
        counted += f", {len(kept)} of those at least {config.min_side:g} px large"
    keypoints = torch.from_numpy(normalised(kept.keypoints))
    return SourcePoses(keypoints, skeleton, (*mapped.source, counted))


def file_or_model(
    path: Path | None,
    model: str | None,
    count: int,
    random: torch.Generator,
    device: torch.device,
) -> PoseSet:
    """Poses of a file, or ``count`` that an adapted run or a prior draws, in unit space.

    Raises
    ------
    FlexPoseError : not one of both is given, or it cannot be read.
    """
    if path is not None and model is not None:
        raise FlexPoseError("Found both poses and a model of poses, expected one of them.")
    if path is not None:
        return read_poses(path)
    if model is None:
        raise FlexPoseError(
            "Found neither poses nor a model of poses.", "Name a file, an adapted run or a prior."
        )
    known = load_model(model, device)
    drawn = PoseSampler(known).draw(count, random).cpu().numpy()
    source = (f"sampled from {model}",)
    return PoseSet.create(known.prior.skeleton, drawn, (2, 2), source=source)


def draw_batch(
    poses: Tensor,
    size: int,
    skeleton: Skeleton,
    random: torch.Generator,
    mirror: bool = True,
    rotation_deg: float = 0.0,
) -> Tensor:
    """A random batch (size, J, 2) of unit poses, mirrored by halves and slightly rotated.

    Augmented poses are box-normalised again, as all poses a prior sees.
    """
    batch = poses[torch.randint(len(poses), (size,), generator=random)]
    if mirror:
        flipped = batch[:, list(skeleton.flip_index)] * torch.tensor([-1.0, 1.0])
        chosen = torch.rand(size, 1, 1, generator=random) < 0.5
        batch = torch.where(chosen, flipped, batch)
    if rotation_deg > 0:
        angle = torch.randn(size, generator=random) * np.deg2rad(rotation_deg)
        cos, sin = angle.cos(), angle.sin()
        matrix = torch.stack([cos, -sin, sin, cos], dim=1).view(-1, 2, 2)
        batch = torch.from_numpy(normalised((batch @ matrix.transpose(1, 2)).numpy()))
    return batch


def load_shots(path: Path, prior: str, skeleton: Skeleton) -> tuple[NDArray[np.float32], list[str]]:
    """The complete shots (M, J, 2) in the prior's skeleton, normalised, and what was left out.

    Raises
    ------
    SkeletonMismatchError : the shots lack joints of the prior's skeleton.
    FlexPoseError : fewer than two complete shots, or all of them the same pose.
    """
    poses = read_poses(path)
    try:
        mapped = map_poses(poses, skeleton)
    except SkeletonMismatchError as error:
        raise SkeletonMismatchError(
            f"{path}: {error.message} The prior {prior} needs them all.", error.hint
        ) from error
    complete = mapped[mapped.complete]
    if len(complete) < 2:
        raise FlexPoseError(
            f"{path}: {len(complete)} of {len(poses)} poses have all joints of "
            f"{skeleton.name}, expected at least 2 shots.",
            "Label a dozen frames with every joint, occluded ones where you guess them.",
        )
    notes = []
    if len(complete) < len(poses):
        notes.append(
            f"{len(poses) - len(complete)} of {len(poses)} shots lack joints of {skeleton.name} "
            "and are left out."
        )
    shots = normalised(complete.keypoints)
    if np.ptp(shots, axis=0).max() < 1e-4:
        raise FlexPoseError(
            f"{path}: all {len(shots)} shots show the same pose.",
            "Label frames in which the pose differs; from one pose no distribution can be told.",
        )
    return shots, notes
