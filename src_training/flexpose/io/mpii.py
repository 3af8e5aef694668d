"""MPII Human Pose, complete poses as csv: name, then x and y of 16 joints, no header.

Positions are MATLAB's and count from 1 (open-mmlab/mmpose@01835e6d says so of MPII:
mmpose/datasets/datasets/body/mpii_dataset.py), so 1 is subtracted. The table has no visibility:
joints count as visible, those outside their image as labelled but not visible, and (-1, -1) is not
labelled. Groups are "category/activity" where ``mpii_human_pose_activity.csv`` lies beside the file
("unknown" for images it lacks).
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from flexpose.errors import DataFormatError
from flexpose.io.base import Format, read_text, seen_inside, sizes_of_images
from flexpose.poseset import PoseSet
from flexpose.skeleton import load_skeleton

_ACTIVITIES = "mpii_human_pose_activity.csv"
_COLUMNS = 33


def is_mpii(path: Path) -> bool:
    """Whether the file is a csv whose first row is an image name and 32 numbers."""
    try:
        if path.suffix.lower() != ".csv":
            return False
        with path.open(encoding="utf-8") as file:
            row = file.readline().strip().split(",")
        return len(row) == _COLUMNS and bool([float(value) for value in row[1:]])
    except (OSError, ValueError):
        return False


def read_mpii(path: Path, *, image_root: Path | None = None) -> PoseSet:
    """Read all rows in file order.

    Raises
    ------
    DataFormatError : the file is missing, or a row is cut short or holds no numbers.
    """
    names, rows = [], []
    for line, row in enumerate(csv.reader(read_text(path).splitlines()), start=1):
        if len(row) != _COLUMNS:
            problem = f"{len(row)} values, expected {_COLUMNS} (a name, x and y of 16 joints)"
            raise DataFormatError(path, f"line {line}", problem)
        try:
            rows.append([float(value) for value in row[1:]])
        except ValueError as error:
            raise DataFormatError(path, f"line {line}", f"no number ({error})") from error
        names.append(row[0])
    if not rows:
        raise DataFormatError(path, "", "holds no poses")
    keypoints = np.array(rows, dtype=np.float32).reshape(-1, 16, 2)
    if not np.isfinite(keypoints).all():
        raise DataFormatError(path, "", "found positions that are not finite numbers")
    keypoints[(keypoints == -1).all(axis=2)] = np.nan
    keypoints -= 1
    sizes, note = sizes_of_images(names, keypoints, image_root)
    activities = path.with_name(_ACTIVITIES)
    known = _activities(activities) if activities.exists() else None
    return PoseSet(
        skeleton=load_skeleton("mpii16"),
        keypoints=keypoints,
        visibility=seen_inside(keypoints, sizes),
        image_size=sizes,
        image_ids=tuple(names),
        groups=None if known is None else tuple(known.get(name, "unknown") for name in names),
        source=(f"MPII, {path.name}; 1 subtracted from positions; {note}",),
    )


def _activities(path: Path) -> dict[str, str]:
    """Names like "sports/curling" by image name."""
    found = {}
    for line, row in enumerate(csv.DictReader(read_text(path).splitlines()), start=2):
        name, category, activity = row.get("NAME"), row.get("Category"), row.get("Activity")
        if not name or category is None or activity is None:
            raise DataFormatError(path, f"line {line}", "expected NAME, Category and Activity")
        found[name] = f"{category}/{activity}"
    return found


FORMAT = Format(
    name="mpii",
    summary="MPII Human Pose, complete poses as csv",
    sniff=is_mpii,
    read=read_mpii,
)
