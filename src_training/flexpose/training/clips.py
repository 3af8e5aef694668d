"""Frames as the detector sees them: square crops of a person, clip by clip, with labels of some."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flexpose.calibration import Calibration, drift_of
from flexpose.configs.detector import FramesConfig
from flexpose.errors import DataFormatError, FlexPoseError
from flexpose.frames import FrameSource, open_frames
from flexpose.frames.crops import cut, motion_boxes, place, same_place, shrunk
from flexpose.geometry import FILL, boxes_to_crops, image_to_unit, tight_boxes, unit_to_image
from flexpose.io.base import read_poses
from flexpose.mapping import map_poses
from flexpose.models.heatmaps import NEAR
from flexpose.models.maps import Reading
from flexpose.poseset import PoseSet
from flexpose.skeleton import Skeleton

_OF_CLIP, _OTHER_CLIPS = 16, 48  # frames of a clip, and other clips, that show its place
_AT_ONCE = 256  # crops of a clip whose place is looked for


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
        return signed(self.images[rows])

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


def load_clips(
    config: FramesConfig, size: int, stop: Callable[[], bool] = lambda: False
) -> Clips | None:
    """Read and crop all frames.

    ``stop`` is looked at before each clip and, within a clip, each frame; None once it is true.

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
    ends = [*starts[1:], len(names)]
    motion = config.crop == "motion"
    elsewhere = [shrunk(frames.read(row)) for row in _middles(starts, ends)] if motion else []
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        rows = range(start, end)
        if motion:
            found = dict(zip(rows, motion_boxes(frames, rows, elsewhere, stop), strict=False))
        else:
            found = {row: box for row in rows if (box := _box(frames, row, boxes)) is not None}
        if stop():
            return None
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


def measured(
    read: Callable[[Tensor], Reading], clips: Clips, labels: Labels, start: Calibration
) -> tuple[Calibration, dict[str, float]]:
    """How sure a detector may be, and how good it is, by held-out frames and those beside them.

    Parameters
    ----------
    read : rows of the clips to what the detector finds there
    start : coefficients that few labels move little

    Returns
    -------
    the calibration; and the mean distance to the labels in percent of the crop, with the share of
    joints that are nearer than .05 and .1 of it
    """
    around = torch.cat([labels.rows - 1, labels.rows, labels.rows + 1]).unique()
    around = around[(around >= 0) & (around < len(clips.names))]
    found = read(around)
    crops = clips.crops[around.numpy()]
    points = unit_to_image(found.keypoints.numpy(), crops)
    unit = 0.1 * FILL * crops[:, 2]
    # rows that follow each other in a clip have the same difference to their number
    runs = (around - torch.arange(len(around))) + clips.clip[around] * len(clips.names)
    drift = torch.from_numpy(drift_of(points / unit[:, None, None], runs.numpy(), 1.0))
    own = torch.searchsorted(around, labels.rows)
    distance = (found.keypoints[own] - labels.keypoints).norm(dim=2)
    known = distance.isfinite()
    distance = distance[known]
    belief, drifted = (part[own][known].numpy() for part in (found.mass, drift))
    figures = {
        "distance_percent": 50 * distance.mean().item(),
        "pck@.05": (distance < 0.1).float().mean().item(),
        "pck@.1": (distance < 0.2).float().mean().item(),
    }
    return start.fitted(belief, drifted, (distance < NEAR).numpy()), figures


def signed(images: Tensor) -> Tensor:
    """Pixels of uint8 as float in [-1, 1]."""
    return images.float() / 127.5 - 1


def backgrounds(
    config: FramesConfig, clips: Clips, rows: Tensor, stop: Callable[[], bool] = lambda: False
) -> NDArray[np.uint8]:
    """The places of some crops without the person, (n, size, size, 3), as far as can be told.

    See `flexpose.frames.crops.place`. One frame is held at a time, for frames may be large.
    ``stop`` is looked at before each clip; once it is true, the other places stay black.
    """
    frames = open_frames(config.path)
    index = {name: i for i, name in enumerate(frames.names)}
    _, lengths = torch.unique_consecutive(clips.clip, return_counts=True)
    ends = lengths.cumsum(0).tolist()
    middle = [index[clips.names[row]] for row in _middles([0, *ends[:-1]], ends)]
    elsewhere = [shrunk(frames.read(i)) for i in middle]
    size = clips.images.shape[-1]
    out = np.zeros((len(rows), size, size, 3), np.uint8)
    for clip in clips.clip[rows].unique().tolist():
        if stop():
            break
        own = torch.nonzero(clips.clip == clip)[:, 0]
        own_frames = [index[clips.names[r]] for r in own[:: max(1, len(own) // _OF_CLIP)].tolist()]
        size_of_clip = frames.size(own_frames[0])
        own_frames = [i for i in own_frames if frames.size(i) == size_of_clip]
        here = np.stack([shrunk(frames.read(i)) for i in own_frames])
        others = [middle[number] for number in same_place(here, elsewhere)]
        others = [i for i in others if frames.size(i) == size_of_clip]
        for wanted in torch.nonzero(clips.clip[rows] == clip)[:, 0].split(_AT_ONCE):
            crops = clips.crops[rows[wanted].numpy()]
            seen = np.stack([_cuts(frames.read(i), crops, size) for i in (*own_frames, *others)])
            for number, views in zip(wanted.tolist(), seen.swapaxes(0, 1), strict=True):
                out[number] = place(views[: len(own_frames)], list(views[len(own_frames) :]))
    return out


def _cuts(image: NDArray[np.uint8], crops: NDArray[np.float32], size: int) -> NDArray[np.uint8]:
    return np.stack([cut(image, crop, size) for crop in crops])


def _middles(starts: list[int], ends: list[int]) -> list[int]:
    """The row in the middle of each clip, of so many clips at most."""
    rows = [(start + end) // 2 for start, end in zip(starts, ends, strict=True)]
    return rows[:: max(1, len(rows) // _OTHER_CLIPS)]


def placements(labels: Labels) -> Tensor:
    """Where in its crop each labelled person stands: scale and offset (n, 3).

    A box-normalised pose times scale plus offset stands like the person; only complete ones count.
    """
    poses = labels.keypoints[labels.keypoints.isfinite().all(dim=2).all(dim=1)]
    low, high = poses.amin(dim=1), poses.amax(dim=1)
    scale = (high - low).amax(dim=1, keepdim=True) / (2 * FILL)
    return torch.cat([scale, (high + low) / 2], dim=1)


def placed(poses: Tensor, places: Tensor) -> Tensor:
    """Box-normalised poses (n, J, 2), each at a place of `placements`, (n, 3)."""
    return poses * places[:, None, :1] + places[:, None, 1:]
