"""MPII Human Pose: the original ``.mat``, the json of HRNet and MMPose, complete poses as csv.

* ``mpii_human_pose_v1_u12_1.mat``: the structure ``RELEASE`` with ``annolist``, ``img_train`` and
  ``act``. People with points are read; a point's ``is_visible`` is 1, or 0 for an occluded one, or
  empty (both head points), which counts as visible. Joints without a point are not labelled.
  ``norm_length`` is the head size of PCKh, 0.6 of the diagonal of the head box.
* json: a list of people with ``image``, ``joints`` (16, 2) and ``joints_vis``; 0 is not labelled.
* csv: name, then x and y of 16 joints, no header; (-1, -1) is not labelled.

Positions are MATLAB's and count from 1 in all three (open-mmlab/mmpose@01835e6d says so of the
json: mmpose/datasets/datasets/body/mpii_dataset.py), so 1 is subtracted. Joints outside their image
are labelled but not visible; json and csv say no more about visibility. Groups are
"category/activity": of ``act`` in the ``.mat``, of ``mpii_human_pose_activity.csv`` where it lies
beside the other two ("unknown" for images that it lacks).
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexpose.errors import DataFormatError
from flexpose.io.base import (
    DAMAGE,
    FAR,
    Format,
    check_positions,
    mat_names,
    read_mat,
    read_text,
    seen_inside,
    sizes_of_images,
)
from flexpose.poseset import PoseSet
from flexpose.skeleton import load_skeleton

_ACTIVITIES = "mpii_human_pose_activity.csv"
_COLUMNS = 33
_HEAD_SHARE = 0.6  # of the head box's diagonal: the head size of PCKh


def is_mpii(path: Path) -> bool:
    """Whether the file is one of the three forms."""
    suffix = path.suffix.lower()
    if suffix == ".mat":
        return "RELEASE" in mat_names(path)
    if suffix not in (".csv", ".json"):
        return False
    try:
        with path.open(encoding="utf-8") as file:
            start = file.read(4096)
        if suffix == ".json":
            return start.lstrip()[:1] == "[" and '"joints_vis"' in start
        row = start.partition("\n")[0].strip().split(",")
        return len(row) == _COLUMNS and bool([float(value) for value in row[1:]])
    except (OSError, ValueError):
        return False


def read_mpii(path: Path, *, image_root: Path | None = None) -> PoseSet:
    """Read all people in file order.

    Raises
    ------
    DataFormatError : the file is missing, or a person is cut short or holds no numbers.
    """
    if path.suffix.lower() == ".mat":
        return _read_mat(path, image_root)
    read = _json_rows if path.suffix.lower() == ".json" else _csv_rows
    names, keypoints = read(path)
    activities = path.with_name(_ACTIVITIES)
    known = _activities(activities) if activities.exists() else None
    groups = None if known is None else tuple(known.get(name, "unknown") for name in names)
    return _poses(path, names, keypoints, groups, image_root)


def _poses(
    path: Path,
    names: list[str],
    keypoints: NDArray[np.float32],
    groups: tuple[str, ...] | None,
    image_root: Path | None,
) -> PoseSet:
    """Poses from positions that count from 1, NaN where not labelled."""
    if not names:
        raise DataFormatError(path, "people", "found none that have joints")
    keypoints = keypoints - 1
    sizes, note = sizes_of_images(names, keypoints, image_root)
    return PoseSet(
        skeleton=load_skeleton("mpii16"),
        keypoints=keypoints,
        visibility=seen_inside(keypoints, sizes),
        image_size=sizes,
        image_ids=tuple(names),
        groups=groups,
        source=(f"MPII, {path.name}; 1 subtracted from positions; {note}",),
    )


# ---------------------------------------------------------------- csv and json


def _csv_rows(path: Path) -> tuple[list[str], NDArray[np.float32]]:
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
    table = np.array(rows).reshape(-1, 16, 2)
    check_positions(path, "", table)
    keypoints = table.astype(np.float32)
    keypoints[(keypoints == -1).all(axis=2)] = np.nan
    return names, keypoints


def _json_rows(path: Path) -> tuple[list[str], NDArray[np.float32]]:
    try:
        people = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise DataFormatError(path, "", f"is not JSON text ({error})") from error
    if not isinstance(people, list):
        raise DataFormatError(path, "", "expected a list of people")
    names, rows = [], np.zeros((len(people), 16, 3))
    for number, (person, row) in enumerate(zip(people, rows, strict=True)):
        where = f"person {number}"
        try:
            names.append(person["image"])
            row[:, :2] = np.array(person["joints"], dtype=float)
            row[:, 2] = np.array(person["joints_vis"], dtype=float)
        except (TypeError, ValueError, LookupError) as error:
            problem = f"expected image, joints (16, 2) and joints_vis ({error})"
            raise DataFormatError(path, where, problem) from error
        if not isinstance(names[-1], str):
            raise DataFormatError(path, where, "the image is no name")
        check_positions(path, where, row)
    return names, np.where(rows[..., 2:] > 0, rows[..., :2], np.nan).astype(np.float32)


def _activities(path: Path) -> dict[str, str]:
    """Names like "sports/curling" by image name."""
    found = {}
    for line, row in enumerate(csv.DictReader(read_text(path).splitlines()), start=2):
        name, category, activity = row.get("NAME"), row.get("Category"), row.get("Activity")
        if not name or category is None or activity is None:
            raise DataFormatError(path, f"line {line}", "expected NAME, Category and Activity")
        found[name] = f"{category}/{activity}"
    return found


# ---------------------------------------------------------------- mat


def _read_mat(path: Path, image_root: Path | None) -> PoseSet:
    release = read_mat(path, ("RELEASE",))["RELEASE"]
    names: list[str] = []
    groups: list[str] = []
    people: list[NDArray[np.float32]] = []
    heads: list[float] = []
    number = 0
    try:
        annolist, acts = _entry(release, "annolist"), _entry(release, "act")
        for number in range(annolist.size):
            image = _text(_entry(_entry(annolist, "image", number), "name"))
            activity = [_text(_entry(acts, key, number)) for key in ("cat_name", "act_name")]
            for points, head in _people(_entry(annolist, "annorect", number)):
                names.append(image)
                groups.append("/".join(activity) if all(activity) else "unknown")
                people.append(points)
                heads.append(head)
    except DAMAGE as error:
        raise DataFormatError(
            path, f"RELEASE.annolist({number + 1})", f"is not as in MPII's release ({error})"
        ) from error
    stack = np.array(people, dtype=np.float32).reshape(-1, 16, 3)
    poses = _poses(path, names, stack[..., :2], tuple(groups), image_root)
    seen = np.where((poses.visibility == 2) & (stack[..., 2] == 0), 1, poses.visibility)
    fields = {**poses.__dict__, "visibility": seen, "norm_length": heads}
    return PoseSet(**fields)


def _people(rects: NDArray[Any]) -> list[tuple[NDArray[np.float32], float]]:
    """Points (16, 3) x, y, visible and the head size of each person that has points."""
    found = []
    if rects.dtype.names is None or "annopoints" not in rects.dtype.names:
        return []
    for person in range(rects.size):
        annotated = _entry(rects, "annopoints", person)
        if annotated.dtype.names is None or annotated.size == 0:
            continue
        points = _points(_entry(annotated, "point"))
        if np.isfinite(points).any():
            x1, y1, x2, y2 = (_number(rects, key, person) for key in ("x1", "y1", "x2", "y2"))
            found.append((points, _HEAD_SHARE * float(np.hypot(x2 - x1, y2 - y1))))
    return found


def _points(points: NDArray[Any]) -> NDArray[np.float32]:
    """Points (16, 3) x, y, visible of one person; NaN where there is none."""
    rows = np.full((16, 3), np.nan, dtype=np.float32)
    flagged = "is_visible" in (points.dtype.names or ())
    for number in range(points.size):
        joint = _number(points, "id", number)
        if joint not in range(16):
            raise ValueError(f"a point has the id {joint:g}")
        seen = _entry(points, "is_visible", number) if flagged else np.empty(0)
        visible = float(seen.ravel()[0]) if seen.size else 1.0
        rows[int(joint)] = (_number(points, "x", number), _number(points, "y", number), visible)
        if not (np.abs(rows[int(joint)]) < FAR).all():
            raise ValueError(f"point {joint:g} has no position")
    return rows


def _entry(struct: NDArray[Any], name: str, number: int = 0) -> NDArray[Any]:
    """A field of one entry of a MATLAB structure."""
    return np.asarray(struct[name].ravel()[number])


def _number(struct: NDArray[Any], name: str, number: int) -> float:
    return float(_entry(struct, name, number).ravel()[0])


def _text(value: NDArray[Any]) -> str:
    return str(value.ravel()[0]) if value.size else ""


FORMAT = Format(
    name="mpii",
    summary="MPII Human Pose (.mat, json of HRNet and MMPose, or complete poses as csv)",
    sniff=is_mpii,
    read=read_mpii,
)
