"""Simplified Human3.6M: 128 x 128 crops of six activities, as a folder.

Below the dataset's folder, or that of one subject::

    S1/Landmarks/Directions.54138969/1.mat            keypoints_2d (32, 2): y, x from 0 to 1
    S1/WithBackground/Directions.54138969/1.jpg       the image
    S1/BackgroudMask/Directions.54138969/1.png        the mask of the person (spelled like this)

Released with YutingZhang/lmdis-rep; the layout was read in tomasjakab/keypointgan@541b769d
(data/simplehuman36m_dataset.py), which trains with S1, 5, 6, 7, 8, 9 and tests with S11. Positions
are shares of the image from its corner: times 128, minus 0.5. Nothing is occluded: joints inside
the image count as visible, joints outside it as labelled but not visible. Groups are
"subject/action", a take with all its cameras; images are
"S1/WithBackground/Directions.54138969/1.jpg". Images and masks are not read.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from flexpose.errors import DataFormatError
from flexpose.io.base import (
    Format,
    check_array,
    check_positions,
    files_below,
    read_mat,
    seen_inside,
)
from flexpose.poseset import PoseSet
from flexpose.skeleton import load_skeleton

SIZE = 128
_SUBJECT = re.compile(r"S\d+")


def is_simple_h36m(path: Path) -> bool:
    """Whether the path is the folder of the dataset or of one subject."""
    return bool(_subjects(path))


def read_simple_h36m(path: Path, *, image_root: Path | None = None) -> PoseSet:
    """Read subject by subject, clip by clip, frames by their number.

    Raises
    ------
    DataFormatError : the folder holds no landmarks, or a file is damaged or of another shape.
    """
    if not _subjects(path):
        raise DataFormatError(
            path, "", "expected a folder with S1/Landmarks, S5/Landmarks, ... or with Landmarks"
        )
    keypoints, images, groups = [], [], []
    for subject in _subjects(path):
        for file in sorted(files_below(subject / "Landmarks", "*.mat"), key=_order):
            points = np.asarray(read_mat(file, ("keypoints_2d",))["keypoints_2d"])
            check_array(file, "keypoints_2d", points, (32, 2), "f")
            check_positions(file, "keypoints_2d", points)
            clip, name = file.parent.name, subject.absolute().name
            keypoints.append(points[:, ::-1] * SIZE - 0.5)
            images.append(f"{name}/WithBackground/{clip}/{file.stem}.jpg")
            groups.append(f"{name}/{clip.rsplit('.', 1)[0]}")
    stack = np.array(keypoints, dtype=np.float32)
    return PoseSet(
        skeleton=load_skeleton("h36m32"),
        keypoints=stack,
        visibility=seen_inside(stack, np.array((SIZE, SIZE))),
        image_size=np.array((SIZE, SIZE)),
        image_ids=tuple(images),
        groups=tuple(groups),
        source=(f"Simplified Human3.6M, {path.name}; shares of {SIZE} pixels, 0.5 subtracted",),
    )


def _subjects(path: Path) -> list[Path]:
    """Folders of subjects: those in the folder, or the folder itself."""
    try:
        if (path / "Landmarks").is_dir():
            return [path]
        found = [entry for entry in path.iterdir() if _SUBJECT.fullmatch(entry.name)]
    except OSError:
        return []
    found = [entry for entry in found if (entry / "Landmarks").is_dir()]
    return sorted(found, key=lambda entry: int(entry.name[1:]))


def _order(file: Path) -> tuple[str, int, str]:
    """Clips by name, frames by number."""
    number = int(file.stem) if file.stem.isdecimal() else 0
    return file.parent.name, number, file.stem


FORMAT = Format(
    name="simple-h36m",
    summary="Simplified Human3.6M (folder of .mat landmarks)",
    sniff=is_simple_h36m,
    read=read_simple_h36m,
    folder="S*/Landmarks of Simplified Human3.6M",
)
