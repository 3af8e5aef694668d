"""Rendered Handpose Dataset (RHD): ``anno_training.pickle`` and ``anno_evaluation.pickle``.

A file is a pickled dictionary: number of a picture to ``uv_vis`` (42, 3), pixels and a flag,
``xyz`` (42, 3), metres before the camera, and ``K``, the camera, which is not read. The left hand
has the joints 0 to 20, the right one 21 to 41: the wrist, then each finger from its tip to the
palm, the thumb first (thuml/Transfer-Learning-Library@9fcd99cb: rendered_hand_pose.py). A folder is
read with all such files below it. Pictures have 320 x 320 pixels and are named
"training/color/00000.png".

Positions are used as they are: no offset is stated. Everybody has two hands, of which often one is
not in the picture: a hand of which no joint is seen is left out. Of the others, joints that are
seen count as visible; all else is rendered too, so joints that are hidden or outside the picture
are labelled but not visible, and only what lies behind the camera is not labelled.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from flexpose.errors import DataFormatError
from flexpose.io.base import FAR, Format, check_array, check_positions, files_below, has_below
from flexpose.io.pickled import read_pickle
from flexpose.poseset import PoseSet
from flexpose.skeleton import load_skeleton

SIZE = 320
_FILES = "anno_*.pickle"
_NAME = re.compile(r"anno_(training|evaluation)\.pickle")
_FROM_BASE = [0, *(tip - step for tip in (4, 8, 12, 16, 20) for step in range(4))]
"""Where the joints of ``hand21``, whose fingers begin at their base, stand in a hand of RHD."""


def is_rhd(path: Path) -> bool:
    """Whether the file has RHD's name and is pickled, or the folder has such below it."""
    if path.is_dir():
        return has_below(path, _FILES)
    if not _NAME.fullmatch(path.name):
        return False
    try:
        with path.open("rb") as file:
            return file.read(1) == b"\x80"
    except OSError:
        return False


def read_rhd(
    path: Path, *, image_root: Path | None = None, hands: Literal["all", "larger"] = "all"
) -> PoseSet:
    """Read hands picture by picture, the left one first.

    Parameters
    ----------
    hands : of a picture with two ``larger`` keeps the one whose seen joints span more

    Raises
    ------
    DataFormatError : a file is missing, damaged, or its arrays have other shapes.
    """
    files = files_below(path, _FILES) if path.is_dir() else [path]
    return PoseSet.concat([_read(file, hands) for file in files])


def _read(path: Path, hands: str) -> PoseSet:
    found = _NAME.fullmatch(path.name)
    if found is None:
        raise DataFormatError(path, "", "expected the name anno_training or anno_evaluation.pickle")
    numbers, table, depth = _tables(path)
    xy, seen = table[..., :2], table[..., 2] == 1
    near = np.isfinite(xy).all(axis=3) & (np.abs(xy) < FAR).all(axis=3)
    labelled = seen | ((depth > 0) & near)
    kept = seen.any(axis=2)
    if hands == "larger":
        kept &= np.eye(2, dtype=bool)[_spans(xy, seen).argmax(axis=1)]
    check_positions(path, "uv_vis", xy[kept[..., None] & labelled])
    picture = np.nonzero(kept)[0]
    keypoints = np.where(labelled[..., None], xy, np.nan)[kept]
    return PoseSet(
        skeleton=load_skeleton("hand21"),
        keypoints=keypoints.astype(np.float32),
        visibility=np.where(seen, 2, np.where(labelled, 1, 0))[kept].astype(np.int8),
        image_size=np.array((SIZE, SIZE)),
        image_ids=tuple(f"{found[1]}/color/{numbers[row]:05d}.png" for row in picture),
        source=(f"RHD, {path.name}: {len(picture)} hands, left and right, {hands} of a picture",),
    )


def _tables(path: Path) -> tuple[list[int], NDArray[np.float64], NDArray[np.float64]]:
    """Numbers of n pictures; pixels and flag (n, 2, 21, 3) and depth (n, 2, 21), as ``hand21``."""
    content = read_pickle(path)
    if not isinstance(content, dict) or not content:
        raise DataFormatError(path, "", "expected a dictionary of pictures")
    numbers, rows, points = [], [], []
    for number, entry in content.items():
        where = f"picture {number}"
        if not isinstance(number, int) or number < 0 or not isinstance(entry, dict):
            raise DataFormatError(path, where, "expected a number and a dictionary")
        rows.append(_array(path, where, entry, "uv_vis"))
        points.append(_array(path, where, entry, "xyz"))
        numbers.append(number)
    table, xyz = np.stack(rows).astype(np.float64), np.stack(points).astype(np.float64)
    odd = ~np.isin(table[..., 2], (0, 1)).all(axis=1)
    if odd.any():
        where = f"picture {numbers[int(odd.argmax())]}, uv_vis"
        raise DataFormatError(path, where, "found flags other than 0 and 1")
    order = np.array(_FROM_BASE)
    both = np.stack([order, order + 21])
    return numbers, table[:, both], xyz[:, both, 2]


def _array(path: Path, where: str, entry: dict[str, Any], name: str) -> NDArray[Any]:
    if name not in entry:
        raise DataFormatError(path, where, f"the array {name!r} is missing")
    array = np.asarray(entry[name])
    check_array(path, f"{where}, {name}", array, (42, 3))
    return array


def _spans(xy: NDArray[np.float64], seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Longer side (n, 2) of the box around the seen joints of both hands; -inf without any."""
    mask = seen[..., None]
    high, low = np.where(mask, xy, -np.inf).max(axis=2), np.where(mask, xy, np.inf).min(axis=2)
    return np.asarray((high - low).max(axis=2))


FORMAT = Format(
    name="rhd",
    summary="Rendered Handpose Dataset (anno_*.pickle of a split, or the folder)",
    sniff=is_rhd,
    read=read_rhd,
    folder="anno_*.pickle files of the Rendered Handpose Dataset",
)
