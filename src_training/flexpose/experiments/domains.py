"""Source and target domains of experiments: what their specs say, read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from flexpose.configs.experiment import TargetSpec
from flexpose.errors import FlexPoseError
from flexpose.geometry import tight_boxes
from flexpose.io.base import read_poses, recognised
from flexpose.mannequin import mannequin_frames
from flexpose.mannequin.faces import face_frames
from flexpose.mapping import map_poses
from flexpose.poseset import PoseSet
from flexpose.skeleton import Skeleton

MAX_POSES = 5000
"""Of a part, drawn at random: distances need no more, and cost the square of it."""


@dataclass(frozen=True)
class Target:
    """A target domain.

    Attributes
    ----------
    title : for people
    train, test : complete poses in the prior's skeleton, with groups and boxes, of other clips
    frames : folder of their images, or None
    """

    title: str
    train: PoseSet
    test: PoseSet
    frames: Path | None

    def shots(self, count: int, seed: int) -> PoseSet:
        """``count`` shots, spread over as many clips as there are."""
        return self.train[self.train.spread_rows(count, np.random.default_rng([seed, count]))]


def below(data: Path | None, path: Path) -> Path:
    """A file of an experiment.

    Raises
    ------
    FlexPoseError : it is not there, or no data folder was named.
    """
    if path.is_absolute() and path.exists():
        return path
    if data is None:
        raise FlexPoseError(
            f"The experiment needs {path} and was given no folder of data.",
            "Name the folder with --data.",
        )
    if not (data / path).exists():
        raise FlexPoseError(
            f"{data / path} is not there; the experiment needs it.",
            "docs/data-formats.md says where each dataset comes from.",
        )
    return data / path


def load_target(
    name: str, spec: TargetSpec, data: Path | None, skeleton: Skeleton, made: Path, seen: bool
) -> Target:
    """Read a target domain.

    Parameters
    ----------
    data : folder of datasets
    made : folder for what has to be made first: an embedded sample's frames, a studio
    seen : whether frames are needed, not poses alone
    """
    title = spec.title or name
    if spec.studio is not None:
        train, test = (
            _ready(_prefixed(read_poses(made / f"{part}.coco.json"), part), skeleton)
            for part in ("train", "test")
        )
        return Target(title, train, test, made)
    if spec.poses is None:
        sample = face_frames(0, yaw_deg=30) if spec.sample == "faces" else mannequin_frames(0)
        if seen and not any(made.glob("*.coco.json")):
            sample.write(made)
        poses = _ready(sample.poses, skeleton)
        held = _held_out(poses, spec.test_groups, name)
        if spec.sample == "mannequin":
            held = np.array([str(group).endswith("_2") for group in poses.groups or ()])
        return Target(title, poses[~held], poses[held], made)
    poses = _ready(_read(below(data, spec.poses), spec.read), skeleton, spec.groups)
    frames = below(data, spec.frames) if spec.frames is not None else None
    if spec.test is not None:
        other = _ready(_read(below(data, spec.test), spec.read), skeleton, spec.groups)
        return Target(title, poses, other, frames)
    held = _held_out(poses, spec.test_groups, name)
    return Target(title, _some(poses[~held]), _some(poses[held]), frames)


def _read(path: Path, options: dict[str, Any]) -> PoseSet:
    if not options:
        return read_poses(path)
    return recognised(path).read(path, **options)


def _prefixed(poses: PoseSet, part: str) -> PoseSet:
    return replace(poses, image_ids=tuple(f"{part}/{name}" for name in poses.image_ids or ()))


def _ready(poses: PoseSet, skeleton: Skeleton, groups: tuple[str, ...] = ()) -> PoseSet:
    """Complete poses in a skeleton; where nothing says what a clip is, folders of frames do."""
    if groups:
        poses = poses[np.array([str(g).startswith(groups) for g in poses.groups or ()])]
    poses = map_poses(poses, skeleton)
    poses = poses[poses.complete]
    if poses.groups is None and poses.image_ids is not None:
        poses = replace(poses, groups=tuple(n.rpartition("/")[0] for n in poses.image_ids))
    return replace(poses, boxes=tight_boxes(poses.keypoints))


def _held_out(poses: PoseSet, prefixes: tuple[str, ...], name: str) -> np.ndarray:
    """Which poses are for testing: those of named groups, or of every second one by lot."""
    groups = np.array(poses.groups or [str(row) for row in range(len(poses))])
    if prefixes:
        held = np.array([str(group).startswith(prefixes) for group in groups])
    else:
        names = np.random.default_rng(0).permutation(np.unique(groups))
        held = ~np.isin(groups, names[: len(names) // 2])
    if held.all() or not held.any():
        raise FlexPoseError(
            f"The target {name} has {int(held.sum())} test poses of {len(held)}.",
            "Check its groups and test_groups.",
        )
    return held


def _some(poses: PoseSet) -> PoseSet:
    rows = np.random.default_rng(1).permutation(len(poses))[:MAX_POSES]
    return poses[np.sort(rows)]
