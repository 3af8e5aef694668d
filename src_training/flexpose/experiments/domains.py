"""Source and target domains of experiments: what their specs say, read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from flexpose.configs.base import ConfigBase
from flexpose.configs.experiment import TargetSpec
from flexpose.errors import FlexPoseError
from flexpose.frames import open_frames
from flexpose.frames.images import only_videos
from flexpose.geometry import tight_boxes
from flexpose.io.base import atomic_write_bytes, read_poses, recognised
from flexpose.mannequin import mannequin_frames
from flexpose.mannequin.faces import face_frames
from flexpose.mapping import map_poses
from flexpose.poseset import PoseSet
from flexpose.skeleton import Skeleton


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
        return _sample(title, spec, skeleton, made, seen)
    frames = below(data, spec.frames) if spec.frames is not None else None
    videos = frames if frames is not None and only_videos(frames) else None

    def read(path: Path) -> PoseSet:
        poses = _read(below(data, path), spec.read, None if videos else frames)
        if spec.photographs and poses.image_ids is not None:
            poses = replace(poses, groups=poses.image_ids)
        poses = _ready(poses, skeleton, spec.groups)
        if videos is not None:
            poses = with_frame(poses, videos)
        return one_a_frame(poses) if seen else poses

    if spec.test is not None:
        train, test = read(spec.poses), read(spec.test)
    else:
        poses = read(spec.poses)
        held = _held_out(poses, spec, name)
        train, test = (_some(part, spec.most) for part in (poses[~held], poses[held]))
    if videos is not None and seen:
        frames = stills(videos, [*(train.image_ids or ()), *(test.image_ids or ())], made)
    return Target(title, train, test, frames)


def _sample(title: str, spec: TargetSpec, skeleton: Skeleton, made: Path, seen: bool) -> Target:
    """A target of the embedded sample, whose frames are drawn into a folder."""
    faces = spec.sample == "faces"
    sample = face_frames(0, yaw_deg=30) if faces else mannequin_frames(**spec.draw)
    if seen and not any(made.glob("*.coco.json")):
        sample.write(made)
    poses = _ready(sample.poses, skeleton)
    held = np.array([str(group).endswith("_2") for group in poses.groups or ()])
    if faces or not held.any():
        held = _held_out(poses, spec, title)
    return Target(title, poses[~held], poses[held], made)


def frames_folder(spec: TargetSpec, data: Path | None, made: Path) -> Path:
    """Where a domain's frames lie: where they were made, or taken out of videos, or were found."""
    frames = made if spec.frames is None else below(data, spec.frames)
    return made if frames == made or only_videos(frames) else frames


def with_frame(poses: PoseSet, videos: Path) -> PoseSet:
    """Poses whose video is there; sets of labels know more clips than sets of videos."""
    names = poses.image_ids or ()
    there = {clip: (videos / clip).is_file() for clip in {n.rpartition("/")[0] for n in names}}
    return poses[np.array([there[name.rpartition("/")[0]] for name in names], dtype=bool)]


def one_a_frame(poses: PoseSet) -> PoseSet:
    """Of the people in a frame the largest, for detectors find one."""
    if poses.image_ids is None or poses.boxes is None:
        return poses
    largest = np.argsort(-poses.boxes[:, 2:].max(axis=1), kind="stable")
    _, first = np.unique(np.array(poses.image_ids)[largest], return_index=True)
    return poses[np.sort(largest[first])]


def stills(videos: Path, names: Iterable[str], folder: Path) -> Path:
    """Write frames of a folder of videos as pictures; to read videos again and again takes long.

    Returns
    -------
    the folder of the pictures, which have the names of the frames
    """
    missing = {name for name in names if not (folder / name).exists()}
    if missing:
        frames = open_frames(videos)
        for index, name in enumerate(frames.names):
            if name in missing:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                _, png = cv2.imencode(".png", frames.read(index)[..., ::-1])
                atomic_write_bytes(folder / name, png.tobytes())
    return folder


def _read(path: Path, options: dict[str, Any], images: Path | None) -> PoseSet:
    if not options:
        return read_poses(path, image_root=images)
    return recognised(path).read(path, image_root=images, **options)


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


def _held_out(poses: PoseSet, spec: TargetSpec, name: str) -> np.ndarray:
    """Which poses are for testing: those of named groups, or of every second one by lot."""
    groups = np.array(poses.groups or [str(row) for row in range(len(poses))])
    if spec.test_groups:
        held = np.array([str(group).startswith(spec.test_groups) for group in groups])
    else:
        names = np.random.default_rng(0).permutation(np.unique(groups))
        held = ~np.isin(groups, names[: len(names) // 2])
    if held.all() or not held.any():
        raise FlexPoseError(
            f"The target {name} has {int(held.sum())} test poses of {len(held)}.",
            "Check its groups and test_groups.",
        )
    return held


def _some(poses: PoseSet, most: int) -> PoseSet:
    rows = np.random.default_rng(1).permutation(len(poses))[:most]
    return poses[np.sort(rows)]


def joined(settings: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of which some are replaced, also inside of settings."""
    both = {**settings, **over}
    for key in settings.keys() & over.keys():
        if isinstance(settings[key], Mapping) and isinstance(over[key], Mapping):
            both[key] = joined(settings[key], over[key])
    return both


def digest_of(*specs: Any) -> str:
    """Eight letters that differ where specs differ, for the names of what is made by them."""
    said = [s.model_dump(mode="json") if isinstance(s, ConfigBase) else s for s in specs]
    text = json.dumps(said, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def plain(name: str) -> str:
    """A name that can be a folder's."""
    kept = "".join(c if c.isalnum() else "-" for c in name.lower())
    return "-".join(part for part in kept.split("-") if part)
