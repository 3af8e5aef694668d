"""WFLW, 98 face landmarks, a face a line: ``list_98pt_rect_attr_train.txt`` and the like.

A line of ``list_98pt_rect_attr_{train,test}.txt`` holds x and y of 98 points; left, top, right and
bottom of a detected face; six flags (pose, expression, illumination, make-up, occlusion, blur); and
the image, "37--Soccer/37_Soccer_soccer_ball_37_45.jpg". In ``list_98pt_test*.txt`` boxes and flags
are missing. No offset is stated and none is subtracted. Every point is labelled: inside the image
it counts as visible, outside it as labelled but not visible. Groups are the events, "37--Soccer",
which keep the faces of one image together. The flags are checked and not kept: the subsets that
they make are lists of their own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from flexpose.errors import DataFormatError
from flexpose.io.base import Format, check_positions, read_text, seen_inside, sizes_of_images
from flexpose.poseset import PoseSet
from flexpose.skeleton import load_skeleton

_POINTS = 98
_SHORT = 2 * _POINTS + 1  # points and image
_LONG = _SHORT + 4 + 6  # with box and flags
_SUFFIXES = (".jpg", ".jpeg", ".png")


def is_wflw(path: Path) -> bool:
    """Whether the first line of a text file is a face of one of the two kinds of list."""
    if path.suffix.lower() != ".txt":
        return False
    try:
        with path.open(encoding="utf-8") as file:
            row = file.readline(16_384).split()
        return len(row) in (_SHORT, _LONG) and bool([float(value) for value in row[:-1]])
    except (OSError, ValueError):
        return False


def read_wflw(path: Path, *, image_root: Path | None = None) -> PoseSet:
    """Read all faces in file order; several may lie in one image.

    Parameters
    ----------
    image_root : the folder ``WFLW_images``

    Raises
    ------
    DataFormatError : the file is missing, or a line is cut short or of another kind.
    """
    lines = read_text(path).splitlines()
    rows = [line.split() for line in lines]
    width = len(rows[0]) if rows else 0
    if width not in (_SHORT, _LONG):
        raise DataFormatError(
            path,
            "line 1",
            f"found {width} values, expected {_LONG} (98 points, box, 6 flags, image) "
            f"or {_SHORT} (98 points, image)",
        )
    for number, row in enumerate(rows, start=1):
        _check_row(path, f"line {number}", row, width)
    values = np.array([[float(value) for value in row[:-1]] for row in rows])
    check_positions(path, "points", values)
    keypoints = values[:, : 2 * _POINTS].reshape(-1, _POINTS, 2).astype(np.float32)
    names = [row[-1] for row in rows]
    sizes, note = sizes_of_images(names, keypoints, image_root)
    boxes = None
    if width == _LONG:
        corners = values[:, 2 * _POINTS : 2 * _POINTS + 4]
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        if (boxes[:, 2:] < 0).any():
            line = int(np.argmax((boxes[:, 2:] < 0).any(axis=1))) + 1
            raise DataFormatError(path, f"line {line}", "found a box with its corners exchanged")
    has_events = all("/" in name for name in names)
    return PoseSet(
        skeleton=load_skeleton("wflw98"),
        keypoints=keypoints,
        visibility=seen_inside(keypoints, sizes),
        image_size=sizes,
        boxes=None if boxes is None else boxes.astype(np.float32),
        image_ids=tuple(names),
        groups=tuple(name.partition("/")[0] for name in names) if has_events else None,
        source=(f"WFLW, {path.name}", note),
    )


def _check_row(path: Path, where: str, row: list[str], width: int) -> None:
    if len(row) != width:
        raise DataFormatError(path, where, f"found {len(row)} values, expected {width} as before")
    try:
        [float(value) for value in row[:-1]]
    except ValueError as error:
        raise DataFormatError(path, where, f"found what is no number ({error})") from error
    if width == _LONG and not {*row[-7:-1]} <= {"0", "1"}:
        raise DataFormatError(path, where, f"found the flags {row[-7:-1]}, expected 0 or 1")
    if not row[-1].lower().endswith(_SUFFIXES):
        raise DataFormatError(path, where, f"found {row[-1]!r}, expected the name of an image")


FORMAT = Format(
    name="wflw",
    summary="WFLW (list_98pt_*.txt, a face a line)",
    sniff=is_wflw,
    read=read_wflw,
)
