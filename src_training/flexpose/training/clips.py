"""Frames as the detector sees them: square crops of a person, clip by clip, with labels of some."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flexpose.configs.detector import FramesConfig
from flexpose.errors import DataFormatError, FlexPoseError
from flexpose.frames import FrameSource, open_frames
from flexpose.frames.crops import cut, motion_boxes
from flexpose.geometry import FILL, boxes_to_crops, image_to_unit, tight_boxes
from flexpose.io.base import read_poses
from flexpose.mapping import map_poses
from flexpose.poseset import PoseSet
from flexpose.skeleton import Skeleton


@dataclass(frozen=True)
class Clips:
    """Crops of frames.

    Attributes
    ----------
    images : uint8 (N, 3, size, size)
    crops : float32 (N, 3), x, y, side in pixels of the frames
    names : N names of frames
    clip : int64 (N,), which clip a frame is of; frames of a clip are consecutive rows
    """

    images: Tensor
    crops: NDArray[np.float32]
    names: tuple[str, ...]
    clip: Tensor

    def rows(self, names: tuple[str, ...]) -> NDArray[np.intp]:
        """Rows of frames by name, -1 where there is none."""
        place = {name: row for row, name in enumerate(self.names)}
        return np.array([place.get(name, -1) for name in names], dtype=np.intp)

    def batch(self, rows: Tensor) -> Tensor:
        """Crops of rows as float (n, 3, size, size) in [-1, 1]."""
        return self.images[rows].float() / 127.5 - 1

    def neighbours(self, rows: Tensor, random: torch.Generator) -> Tensor:
        """For each row a random other frame of its clip; itself where it is alone."""
        first = torch.searchsorted(self.clip, self.clip[rows])
        count = torch.searchsorted(self.clip, self.clip[rows], right=True) - first
        step = 1 + (torch.rand(len(rows), generator=random) * (count - 1)).long()
        return first + (rows - first + step) % count


@dataclass(frozen=True)
class Labels:
    """Labelled crops: rows (n,), and keypoints (n, J, 2) in the crop's unit space, NaN unknown."""

    rows: Tensor
    keypoints: Tensor


def load_clips(config: FramesConfig, size: int) -> Clips:
    """Read and crop all frames.

    Raises
    ------
    DataFormatError, FlexPoseError : frames or boxes cannot be read, or no frame has a box.
    """
    frames = open_frames(config.path)
    names = [name.rpartition("/")[0] for name in frames.names]
    starts = [row for row, name in enumerate(names) if row == 0 or name != names[row - 1]]
    images, crops, kept, clip = [], [], [], []
    boxes = _known_boxes(config)
    fill = 1.0 if config.crop == "whole" else FILL
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(names)], strict=True)):
        rows = range(start, end)
        if config.crop == "motion":
            found = dict(zip(rows, motion_boxes(frames, rows), strict=True))
        else:
            found = {row: box for row in rows if (box := _box(frames, row, boxes)) is not None}
        for row, box in found.items():
            crop = boxes_to_crops(box[None], fill)[0]
            images.append(cut(frames.read(row), crop, size))
            crops.append(crop)
            kept.append(frames.names[row])
            clip.append(number)
    if not kept:
        raise FlexPoseError(f"None of the {len(names)} frames of {config.path} has a box.")
    stack = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    return Clips(stack, np.stack(crops), tuple(kept), torch.tensor(clip))


def _known_boxes(config: FramesConfig) -> Mapping[str, NDArray[np.float32]] | None:
    """Boxes by name of the frame; None when frames are taken whole."""
    if config.crop != "boxes":
        return None
    if config.boxes is None:
        raise FlexPoseError("Crops of known boxes need a file of them.", "Set frames.boxes.")
    poses = read_poses(config.boxes)
    if poses.image_ids is None:
        raise DataFormatError(config.boxes, "", "does not say which frame a pose belongs to.")
    boxes = poses.boxes if poses.boxes is not None else tight_boxes(poses.keypoints)
    return dict(zip(poses.image_ids, boxes, strict=True))


def _box(
    frames: FrameSource, row: int, boxes: Mapping[str, NDArray[np.float32]] | None
) -> NDArray[np.float32] | None:
    if boxes is not None:
        return boxes.get(frames.names[row])
    width, height = frames.size(row)
    return np.array([0, 0, width - 1, height - 1], np.float32)


def load_labels(path: Path, clips: Clips, skeleton: Skeleton) -> Labels:
    """Labels of the frames in a file, as far as they are among the clips.

    Raises
    ------
    FlexPoseError : none of them is.
    """
    poses: PoseSet = map_poses(read_poses(path), skeleton)
    rows = clips.rows(poses.image_ids or ())
    here = rows >= 0
    if not here.any():
        first = (poses.image_ids or ("without names",))[0]
        raise FlexPoseError(
            f"{path}: none of its frames (first {first!r}) is among the frames "
            f"(first {clips.names[0]!r})."
        )
    keypoints = image_to_unit(poses.keypoints[here], clips.crops[rows[here]])
    return Labels(torch.from_numpy(rows[here]), torch.from_numpy(keypoints))


def placements(labels: Labels) -> Tensor:
    """Where in its crop each labelled person stands: scale and offset (n, 3).

    A box-normalised pose times scale plus offset stands like the person; only complete ones count.
    """
    poses = labels.keypoints[labels.keypoints.isfinite().all(dim=2).all(dim=1)]
    low, high = poses.amin(dim=1), poses.amax(dim=1)
    scale = (high - low).amax(dim=1, keepdim=True) / (2 * FILL)
    return torch.cat([scale, (high + low) / 2], dim=1)
