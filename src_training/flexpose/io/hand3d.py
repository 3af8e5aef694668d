"""Hand-3D-Studio as domain adaptation uses it: ``H3D_crop/annotation.json`` beside the pictures.

A list of hands, each with ``name`` ("part1/....jpg", the picture), ``keypoint2d`` (21, 2) pixels of
it, ``without_object`` (0 or 1), and ``keypoint3d`` and ``intrinsic_matrix``, which are not read.
Pictures are cut around the hand, with half of its size as margin. Joints are in the order of
``hand21``. Facts from thuml/Transfer-Learning-Library@9fcd99cb: hand_3d_studio.py, where hands
without objects are the usual choice, and each joint counts as visible.

Positions are used as they are: no offset is stated. They come from several views of a hand, so none
is occluded: joints inside the picture count as visible, joints outside it as labelled but not
visible. Groups are the folders of the pictures.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from flexpose.errors import DataFormatError
from flexpose.io.base import (
    Format,
    check_array,
    check_positions,
    read_text,
    seen_inside,
    sizes_of_images,
)
from flexpose.poseset import PoseSet
from flexpose.skeleton import load_skeleton

_FILE = "annotation.json"


def is_hand3d(path: Path) -> bool:
    """Whether the file is such a list, or the folder has one as ``annotation.json``."""
    if path.is_dir():
        return (path / _FILE).is_file() and is_hand3d(path / _FILE)
    if path.suffix.lower() != ".json":
        return False
    try:
        with path.open(encoding="utf-8") as file:
            start = file.read(16_384)
    except (OSError, ValueError):
        return False
    known = '"keypoint2d"' in start and '"without_object"' in start
    return known and start.lstrip()[:1] == "["


def read_hand3d(
    path: Path,
    *,
    image_root: Path | None = None,
    task: Literal["all", "noobject", "object"] = "all",
) -> PoseSet:
    """Read all hands in file order.

    Parameters
    ----------
    image_root : folder of the pictures, the file's own; without it their sizes are guessed
    task : keep hands without, or with, an object in them

    Raises
    ------
    DataFormatError : the file is missing, damaged, or an entry lacks a part.
    """
    if path.is_dir() and not (path / _FILE).is_file():
        raise DataFormatError(path, "", f"is a folder without a file {_FILE}")
    file = path / _FILE if path.is_dir() else path
    names, rows, free = [], [], []
    for number, entry in enumerate(_entries(file)):
        where = f"hand {number}"
        name, flag = (_part(file, where, entry, key) for key in ("name", "without_object"))
        if not isinstance(name, str) or not name:
            raise DataFormatError(file, where, "the name is no name of a picture")
        if str(flag) not in ("0", "1"):
            raise DataFormatError(file, where, f"found without_object {flag!r}, expected 0 or 1")
        names.append(name)
        rows.append(_points(file, f"{where}, keypoint2d", _part(file, where, entry, "keypoint2d")))
        free.append(str(flag) == "1")
    keep = [row for row, alone in enumerate(free) if task == "all" or alone == (task == "noobject")]
    keypoints = np.array([rows[row] for row in keep], np.float32).reshape(-1, 21, 2)
    names = [names[row] for row in keep]
    sizes, note = sizes_of_images(names, keypoints, image_root)
    return PoseSet(
        skeleton=load_skeleton("hand21"),
        keypoints=keypoints,
        visibility=seen_inside(keypoints, sizes),
        image_size=sizes,
        image_ids=tuple(names),
        groups=tuple(name.rpartition("/")[0] for name in names),
        source=(f"Hand-3D-Studio, {file.name}, {task}; {note}",),
    )


def _entries(path: Path) -> list[Any]:
    try:
        found = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise DataFormatError(path, "", f"is not JSON text ({error})") from error
    if not isinstance(found, list):
        raise DataFormatError(path, "", "expected a list of hands")
    return found


def _part(path: Path, where: str, entry: Any, name: str) -> Any:
    if not isinstance(entry, dict) or name not in entry:
        raise DataFormatError(path, where, f"{name!r} is missing")
    return entry[name]


def _points(path: Path, where: str, value: Any) -> NDArray[np.float64]:
    try:
        points = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataFormatError(path, where, f"found what is no number ({error})") from error
    check_array(path, where, points, (21, 2))
    check_positions(path, where, points)
    return points


FORMAT = Format(
    name="hand3d",
    summary="Hand-3D-Studio (annotation.json of H3D_crop, or the folder)",
    sniff=is_hand3d,
    read=read_hand3d,
    folder="annotation.json of Hand-3D-Studio",
)
