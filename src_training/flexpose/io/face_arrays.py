"""Faces of 68 landmarks as arrays: ``.npy`` of AFLW2000-3D, ``.npz`` of LFPW and YouTube Faces.

* ``AFLW2000-3D.pts68.npy`` (N, 3, 68) and ``AFLW2000-3D-Reannotated.pts68.npy`` (N, 2, 68), as
  cleardusk/3DDFA@3545f355 has them, of images of 450 x 450. The first is of a model in MATLAB that
  counts from 1, so 1 is subtracted, and depth is dropped. The second lies 1.2 and 0.9 pixels before
  it (median) and is read as it is. Hidden points are those of the model's or annotator's guess.
  Rows are "<file>/0000"; neither file names the images.
* ``.npz`` with ``name`` (N,) and positions (N, 68, 2): ``landmarks_original0`` from 0, with
  ``image_wh`` (N, 2), or ``landmarks_original``, for which nothing is stated. Names such as
  "Luis_Fonsi_21.jpg" are frames of videos of a person, who is the group. The same faces in
  square cut-outs are ``landmarks_crop192`` or of another side.

Every point is labelled: inside the image it counts as visible, outside it as labelled but not
visible.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from flexpose.errors import DataFormatError
from flexpose.io.base import (
    DAMAGE,
    Format,
    check_array,
    check_positions,
    npy_header,
    npz_names,
    read_npz,
    seen_inside,
    sizes_of_images,
)
from flexpose.poseset import PoseSet
from flexpose.skeleton import load_skeleton

AFLW_SIZE = (450, 450)
_POINTS = 68
_ORIGINALS = ("landmarks_original0", "landmarks_original")
_CROP = re.compile(r"landmarks_crop(\d{1,4})")
_PERSON = re.compile(r"(.+)_\d\d\.jpg")


def is_face_arrays(path: Path) -> bool:
    """Whether the file is one of the two forms."""
    if path.suffix.lower() == ".npy":
        return _is_faces(_header(path)[0])
    names = npz_names(path)
    return "name" in names and not names.isdisjoint(_ORIGINALS)


def read_face_arrays(path: Path, *, image_root: Path | None = None, crops: bool = False) -> PoseSet:
    """Read all faces in file order.

    Parameters
    ----------
    crops : read the cut-outs of an ``.npz`` instead of the originals; images are then named
        "<file>_crops192/<name>"

    Raises
    ------
    DataFormatError : the file is missing, damaged, its arrays do not fit, or it has no cut-outs.
    """
    if path.suffix.lower() == ".npy":
        return _read_npy(path)
    present = npz_names(path)
    wanted = next((name for name in _ORIGINALS if name in present), _ORIGINALS[0])
    if crops:
        wanted = next((name for name in sorted(present) if _CROP.fullmatch(name)), "landmarks_crop")
    sized = "image_wh" in present and not crops
    data = read_npz(path, ("name", wanted, *(("image_wh",) if sized else ())))
    n = len(data["name"]) if data["name"].ndim else 0
    check_array(path, "name", data["name"], (n,), "U")
    check_array(path, wanted, data[wanted], (n, _POINTS, 2))
    check_positions(path, wanted, data[wanted])
    keypoints = data[wanted].astype(np.float32)
    names = data["name"].tolist()
    people = [_PERSON.fullmatch(name) for name in names]
    note = "image sizes from the file"
    sizes: Any
    if sized:
        check_array(path, "image_wh", data["image_wh"], (n, 2), "iu")
        sizes = data["image_wh"]
    elif found := _CROP.fullmatch(wanted):
        side = int(found[1])
        sizes = np.full((n, 2), side)
        names = [_crop_name(path, side, name) for name in names]
    else:
        sizes, note = sizes_of_images(names, keypoints, image_root)
    return PoseSet(
        skeleton=load_skeleton("face68"),
        keypoints=keypoints,
        visibility=seen_inside(keypoints, sizes),
        image_size=sizes,
        image_ids=tuple(names),
        groups=tuple(found[1] for found in people if found) if all(people) else None,
        source=(f"68-point faces, {path.name}, {wanted}", note),
    )


def _crop_name(path: Path, side: int, name: str) -> str:
    return f"{path.stem}_crops{side}/{name}" + ("" if Path(name).suffix else ".jpg")


def _read_npy(path: Path) -> PoseSet:
    shape, length = _header(path)
    if not _is_faces(shape):
        raise DataFormatError(
            path,
            "",
            f"is missing, damaged or of shape {shape}; expected (n, 2, 68) or (n, 3, 68)",
        )
    if length != math.prod(shape):
        raise DataFormatError(path, "", f"is cut short: {length} numbers for the shape {shape}")
    points = np.load(path, allow_pickle=False)
    check_positions(path, "points", points)
    in_depth = points.shape[1] == 3
    keypoints = points[:, :2].transpose(0, 2, 1).astype(np.float32) - np.float32(in_depth)
    note = "depth dropped and 1 subtracted from positions" if in_depth else "re-annotated"
    return PoseSet(
        skeleton=load_skeleton("face68"),
        keypoints=keypoints,
        visibility=seen_inside(keypoints, np.array(AFLW_SIZE)),
        image_size=np.array(AFLW_SIZE),
        image_ids=tuple(f"{path.stem}/{row:04d}" for row in range(len(keypoints))),
        source=(f"AFLW2000-3D, {path.name}; {note}",),
    )


def _header(path: Path) -> tuple[tuple[int, ...], int]:
    """Shape of the array of numbers in an ``.npy`` and how many follow; () and 0 if it is none."""
    try:
        with path.open("rb") as file:
            shape, dtype = npy_header(file)
            data = path.stat().st_size - file.tell()
    except (OSError, *DAMAGE):
        return (), 0
    return (shape, data // dtype.itemsize) if dtype.kind in "iuf" else ((), 0)


def _is_faces(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and shape[1] in (2, 3) and shape[2] == _POINTS


FORMAT = Format(
    name="face-arrays",
    summary="68-point faces as arrays (.npy of AFLW2000-3D, .npz of LFPW and YouTube Faces)",
    sniff=is_face_arrays,
    read=read_face_arrays,
)
