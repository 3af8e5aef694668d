"""SURREAL: ``joints2D`` of the ``*_info.mat`` of clips, or of all clips below a folder.

``joints2D`` is (2, 24, T): x and y of the 24 SMPL joints in images of 320 x 240 pixels; scipy
leaves (2, 24) where T is 1. Facts from gulvarol/surreal:

* The camera that SURREAL renders with mirrors the world (its matrix has determinant -1), so what
  SMPL calls left is the right of the person in the image. The dataset's own code says so
  (5e319374, smpl_relations.py) and trains with the sides exchanged (8db007ac, opts.lua). Positions
  here are those of the images, without a flip; the **names** of left and right are exchanged.
* Positions are whole pixels from the image's corner: projecting ``joints3D`` with the principal
  point (160, 120) and rounding gives them (e1eea0e5, misc/3Dto2D/main.m). 0.5 is subtracted.
* Frames whose joints all lie in one point failed (8db007ac, loader_SURREAL.lua): not labelled.

There is no occlusion: joints inside the image count as visible, joints outside it as labelled but
not visible. Groups are the motion capture sequences ("01_01"), because clips of one overlap. Images
are frames of the clip's video beside the file, "train/run0/01_01/01_01_c0001.mp4/000000.png" by its
place in the folder: as `flexpose.frames` names them when it opens the same folder.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexpose.io.base import (
    Format,
    check_array,
    check_positions,
    files_below,
    has_below,
    mat_names,
    read_mat,
    seen_inside,
)
from flexpose.poseset import PoseSet
from flexpose.skeleton import load_skeleton

IMAGE_SIZE = (320, 240)
_FILES = "*_info.mat"
_NAME = re.compile(r"(.+)_c\d+")


def is_surreal(path: Path) -> bool:
    """Whether the file holds ``joints2D``, or the folder has a ``*_info.mat`` below it."""
    return has_below(path, _FILES) if path.is_dir() else "joints2D" in mat_names(path)


def read_surreal(path: Path, *, image_root: Path | None = None) -> PoseSet:
    """Read one clip, or all below a folder in the order of their names.

    Raises
    ------
    DataFormatError : a file is missing, damaged, or its array has another shape.
    """
    files = files_below(path, _FILES) if path.is_dir() else [path]
    root = path if path.is_dir() else path.parent
    clips = [file.relative_to(root).as_posix().removesuffix("_info.mat") for file in files]
    views = [_joints(file) for file in files]
    skeleton = load_skeleton("smpl24")
    keypoints = np.concatenate(views)[:, list(skeleton.flip_index)]
    owners = [clip for clip, view in zip(clips, views, strict=True) for _ in view]
    frames = [frame for view in views for frame in range(len(view))]
    return PoseSet(
        skeleton=skeleton,
        keypoints=keypoints,
        visibility=seen_inside(keypoints, np.array(IMAGE_SIZE)),
        image_size=np.array(IMAGE_SIZE),
        image_ids=tuple(
            f"{clip}.mp4/{frame:06d}.png" for clip, frame in zip(owners, frames, strict=True)
        ),
        groups=tuple(_sequence(clip) for clip in owners),
        source=(
            f"SURREAL, {path.name}, {len(files)} clips; 0.5 subtracted from positions; left and "
            "right exchanged, because its images are mirrored",
        ),
    )


def _joints(path: Path) -> NDArray[np.float32]:
    """Pixels (T, 24, 2) under SMPL's own names; NaN in frames that failed."""
    joints = np.asarray(read_mat(path, ("joints2D",))["joints2D"])
    if joints.ndim == 2:
        joints = joints[..., None]
    check_array(path, "joints2D", joints, (2, 24, None))
    check_positions(path, "joints2D", joints)
    view = joints.transpose(2, 1, 0).astype(np.float32) - np.float32(0.5)
    view[(view == view[:, :1]).all(axis=(1, 2))] = np.nan
    return view


def _sequence(clip: str) -> str:
    """The motion capture sequence of "run0/01_01/01_01_c0001"."""
    name = clip.split("/")[-1]
    found = _NAME.fullmatch(name)
    return found[1] if found else name


FORMAT = Format(
    name="surreal",
    summary="SURREAL (*_info.mat of a clip, or a folder of them)",
    sniff=is_surreal,
    read=read_surreal,
    folder="*_info.mat files of SURREAL",
)
