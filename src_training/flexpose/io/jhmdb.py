"""JHMDB, 15 joints for every frame of 320 x 240 video.

The original is ``joint_positions/<action>/<video>/joint_positions.mat`` with ``pos_img``
(2, 15, T); a folder is read with all that lie below it. ``jhmdb_joints.npz`` has all clips in one:
``clip`` and ``frame`` (from 0) (N,), ``joints`` (N, 15, 2), ``joint_names`` (15,); ``clips`` and
``grade`` (C,), one row a clip; beside it ``clips.csv``, also a row a clip.

Positions are MATLAB's and count from 1, as open-mmlab/mmpose@01835e6d says of JHMDB
(mmpose/datasets/datasets/body/jhmdb_dataset.py), so 1 is subtracted. JHMDB has no visibility:
joints inside the image count as visible, joints outside it as labelled but not visible.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexpose.errors import DataFormatError
from flexpose.io.base import (
    Format,
    check_array,
    check_positions,
    files_below,
    has_below,
    mat_names,
    npz_names,
    read_mat,
    read_npz,
    read_text,
    seen_inside,
)
from flexpose.poseset import PoseSet
from flexpose.skeleton import load_skeleton

IMAGE_SIZE = (320, 240)
_MAT = "joint_positions.mat"
# "shoot_ball/Learn_to_shoot_ball_f_nm_np1_ba_med_4": fourth clip of the video "Learn_to"
_CLIP = re.compile(r"(?P<action>[^/]+)/(?P<video>.*)_(?P=action)_[fuhl]_[nc]m_")
_ARRAYS = ("clip", "frame", "joints", "joint_names", "clips", "grade")


def is_jhmdb(path: Path) -> bool:
    """Whether the file has the arrays of one of the two forms, or the folder has such below it."""
    if path.is_dir():
        return has_below(path, _MAT)
    return npz_names(path).issuperset(_ARRAYS) or "pos_img" in mat_names(path)


def read_jhmdb(
    path: Path,
    *,
    image_root: Path | None = None,
    grade: str | None = None,
    static: bool | None = None,
    names: str = "{clip}/{frame}",
    by_video: bool = False,
) -> PoseSet:
    """Read frames in file order; ``groups`` are clips, ``image_ids`` are "clip/frame".

    A clip is named "action/video", as in the folders of the dataset.

    Parameters
    ----------
    grade : keep clips of this grade of the ``.npz`` only ("A" is the better one)
    static : keep clips with (or without) a resting camera, by ``clips.csv`` beside the ``.npz``
    names : how frames are called instead, such as "{clip}.avi/{frame:06d}.png" for a folder of
        the videos; ``frame`` counts from 0, ``number`` from 1
    by_video : ``groups`` are videos instead; clips cut from one show the same people in the same
        place, and a split by group keeps them on one side

    Raises
    ------
    DataFormatError : a file is missing, damaged, or its arrays do not fit together.
    """
    if path.is_dir():
        poses = PoseSet.concat([_read_mat(file, names) for file in files_below(path, _MAT)])
    elif path.suffix.lower() == ".mat":
        poses = _read_mat(path, names)
    else:
        poses = _read_npz(path, names, grade, static)
    if by_video:
        poses = replace(poses, groups=tuple(video_of(str(clip)) for clip in poses.groups or ()))
    return poses


def video_of(clip: str) -> str:
    """The video that a clip was cut from, as "action/video"; the clip where its name has none."""
    found = _CLIP.match(clip)
    return f"{found['action']}/{found['video']}" if found else clip


def _read_npz(path: Path, names: str, grade: str | None, static: bool | None) -> PoseSet:
    """The frames of all clips, or of those of a grade and a camera."""
    data = read_npz(path, _ARRAYS)
    n = len(data["clip"]) if data["clip"].ndim else 0
    skeleton = load_skeleton("jhmdb15")
    check_array(path, "clip", data["clip"], (n,), "U")
    check_array(path, "frame", data["frame"], (n,), "iu")
    check_array(path, "joints", data["joints"], (n, skeleton.num_joints, 2))
    if tuple(data["joint_names"].ravel().tolist()) != skeleton.joints:
        raise DataFormatError(path, "joint_names", "found other joints than those of jhmdb15")
    clips = data["clip"].tolist()
    poses = _poses(path, data["joints"], clips, data["frame"].tolist(), names)
    keep = np.ones(n, dtype=bool)
    if grade is not None:
        check_array(path, "grade", data["grade"], data["clips"].shape, "U")
        graded = set(data["clips"][data["grade"] == grade].tolist())
        keep &= np.array([clip in graded for clip in clips], dtype=bool)
    if static is not None:
        resting = _static_clips(path.with_name("clips.csv"))
        keep &= np.array([(clip in resting) == static for clip in clips], dtype=bool)
    return poses[keep]


def _read_mat(path: Path, names: str) -> PoseSet:
    """The frames of one clip, named after the two folders around the file."""
    joints = np.asarray(read_mat(path, ("pos_img",))["pos_img"])
    if joints.ndim == 2:  # MATLAB drops the axis of a single frame
        joints = joints[..., None]
    check_array(path, "pos_img", joints, (2, 15, None))
    folder = path.absolute().parent
    frames = range(joints.shape[2])
    clips = [f"{folder.parent.name}/{folder.name}"] * len(frames)
    return _poses(path, joints.transpose(2, 1, 0), clips, frames, names)


def _poses(
    path: Path, joints: NDArray[Any], clips: list[str], frames: Iterable[int], names: str
) -> PoseSet:
    check_positions(path, "joints", joints)
    keypoints = joints.astype(np.float32) - 1
    return PoseSet(
        skeleton=load_skeleton("jhmdb15"),
        keypoints=keypoints,
        visibility=seen_inside(keypoints, np.array(IMAGE_SIZE)),
        image_size=np.array(IMAGE_SIZE),
        image_ids=tuple(
            names.format(clip=clip, frame=frame, number=frame + 1)
            for clip, frame in zip(clips, frames, strict=True)
        ),
        groups=tuple(clips),
        source=(f"JHMDB, {path.name}; 1 subtracted from positions",),
    )


def _static_clips(path: Path) -> set[str]:
    """Clips whose camera rests, by the column ``static_f_nm_np1`` (0 or 1)."""
    rows = csv.DictReader(read_text(path).splitlines())
    found = set()
    for line, row in enumerate(rows, start=2):
        if row.get("static_f_nm_np1") not in ("0", "1") or not row.get("clip"):
            raise DataFormatError(path, f"line {line}", "expected a clip and static_f_nm_np1")
        if row["static_f_nm_np1"] == "1":
            found.add(row["clip"])
    return found


FORMAT = Format(
    name="jhmdb",
    summary="JHMDB (joint_positions.mat of clips, or .npz of all)",
    sniff=is_jhmdb,
    read=read_jhmdb,
    folder="joint_positions.mat files of JHMDB",
)
