"""Penn Action: the original ``.mat`` of a sequence, a folder of them, or all as one ``.npz``.

The dataset's own form is ``Penn_Action/labels/0001.mat`` to ``2326.mat``; that folder, or
``labels``, is read with all of them. A ``.mat`` holds ``x``, ``y``, ``visibility`` (T, 13),
``bbox`` (T, 4) as left, top, right, bottom, ``dimensions`` (height, width, frames) and ``action``;
the ``.npz`` the same end to end. Positions are MATLAB's and count from 1; 1 is subtracted.
Invisible joints are occluded ones, but for those at the corner (x and y at most 1), which are not
labelled. A visible joint outside the image counts as not visible. Images are named
"0001/000001.jpg", groups "action/0001".
"""

from __future__ import annotations

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
    mat_names,
    npz_names,
    read_mat,
    read_npz,
    seen_inside,
)
from flexpose.poseset import PoseSet
from flexpose.skeleton import load_skeleton

_FILES = "*.mat"
_MAT = ("x", "y", "visibility", "bbox", "dimensions", "action")
_NPZ = ("sequence", "length", "action", "height_width", "xy", "visibility", "bbox", "joint_names")


def is_penn(path: Path) -> bool:
    """Whether the file is one of the two forms, or the folder holds such a ``.mat``."""
    if path.is_dir():
        return any(mat_names(file).issuperset(_MAT) for file in _labels(path).glob(_FILES))
    return npz_names(path).issuperset(_NPZ) or mat_names(path).issuperset(_MAT)


def read_penn(path: Path, *, image_root: Path | None = None) -> PoseSet:
    """Read all frames in file order, sequences of a folder by their number.

    Raises
    ------
    DataFormatError : a file is missing, damaged, or its arrays do not fit together.
    """
    if path.is_dir():
        poses = PoseSet.concat([_read_mat(file) for file in files_below(_labels(path), _FILES)])
        return replace(poses, source=(_source(path),))
    return _read_mat(path) if path.suffix.lower() == ".mat" else _read_npz(path)


def _labels(folder: Path) -> Path:
    """Where the ``.mat`` files lie: beside ``frames``, or in the folder itself."""
    labels = folder / "labels"
    return labels if labels.is_dir() else folder


def _read_mat(path: Path) -> PoseSet:
    data = {name: np.asarray(value) for name, value in read_mat(path, _MAT).items()}
    frames = len(data["x"]) if data["x"].ndim else 0
    dimensions, action = data["dimensions"].ravel(), data["action"].ravel()
    if dimensions.size < 2 or dimensions.dtype.kind not in "iuf":
        raise DataFormatError(path, "dimensions", "expected height, width and number of frames")
    if action.size != 1 or action.dtype.kind != "U":
        raise DataFormatError(path, "action", "expected one text")
    for name in ("x", "y"):
        check_array(path, name, data[name], (frames, 13))
    return _poses(
        path,
        xy=np.stack([data["x"], data["y"]], axis=2),
        visible=data["visibility"],
        corners=data["bbox"],
        height_width=np.tile(dimensions[:2].astype(np.int32), (frames, 1)),
        images=[f"{path.stem}/{frame + 1:06d}.jpg" for frame in range(frames)],
        groups=[f"{action[0]}/{path.stem}"] * frames,
    )


def _read_npz(path: Path) -> PoseSet:
    data = read_npz(path, _NPZ)
    if tuple(data["joint_names"].ravel().tolist()) != load_skeleton("penn13").joints:
        raise DataFormatError(path, "joint_names", "found other joints than those of penn13")
    count = len(data["length"]) if data["length"].ndim else 0
    check_array(path, "length", data["length"], (count,), "iu")
    check_array(path, "sequence", data["sequence"], (count,), "U")
    check_array(path, "action", data["action"], (count,), "U")
    check_array(path, "height_width", data["height_width"], (count, 2))
    lengths = data["length"].tolist()
    if min(lengths, default=0) < 0:
        raise DataFormatError(path, "length", "found a negative number of frames")
    frames = sum(lengths)
    check_array(path, "xy", data["xy"], (frames, 13, 2))
    images, groups = [], []
    for sequence, action, length in zip(data["sequence"], data["action"], lengths, strict=True):
        images += [f"{sequence}/{frame + 1:06d}.jpg" for frame in range(length)]
        groups += [f"{action}/{sequence}"] * length
    return _poses(
        path,
        xy=data["xy"],
        visible=data["visibility"],
        corners=data["bbox"],
        height_width=np.repeat(data["height_width"], data["length"], axis=0),
        images=images,
        groups=groups,
    )


def _poses(
    path: Path,
    *,
    xy: NDArray[Any],
    visible: NDArray[Any],
    corners: NDArray[Any],
    height_width: NDArray[Any],
    images: list[str],
    groups: list[str],
) -> PoseSet:
    frames = len(xy)
    check_array(path, "visibility", visible, (frames, 13))
    check_array(path, "bbox", corners, (frames, 4))
    check_positions(path, "x, y", xy)
    check_positions(path, "bbox", corners)
    seen = visible == 1
    lost = ~seen & np.asarray((xy <= 1).all(axis=2))
    keypoints = np.where(lost[..., None], np.nan, xy - 1).astype(np.float32)
    size = height_width[:, ::-1]
    visibility = seen_inside(keypoints, size)
    visibility[~seen & ~lost] = 1
    sides = corners[:, 2:] - corners[:, :2]
    return PoseSet(
        skeleton=load_skeleton("penn13"),
        keypoints=keypoints,
        visibility=visibility,
        image_size=size,
        boxes=np.concatenate([corners[:, :2] - 1, sides], axis=1).astype(np.float32),
        image_ids=tuple(images),
        groups=tuple(groups),
        source=(_source(path),),
    )


def _source(path: Path) -> str:
    return f"Penn Action, {path.name}; 1 subtracted from positions"


FORMAT = Format(
    name="penn",
    summary="Penn Action (.mat of a sequence, the folder of them, or .npz of all)",
    sniff=is_penn,
    read=read_penn,
    folder="labels/*.mat of Penn Action",
)
