"""COCO 2017 person keypoints as one ``.npz``: all people with at least one labelled joint.

Arrays: ``image_id`` (N,), ``bbox_xywh`` (N, 4), ``keypoints`` int (N, 17, 3) x, y, v, ``image_wh``
(N, 2), ``wh_uncertain`` bool (N,), true where the image size is inferred. COCO counts pixels from
0 (cocodataset.org, keypoints), so nothing is subtracted.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from flexpose.errors import DataFormatError
from flexpose.io.base import Format, check_array, npz_names, read_npz
from flexpose.poseset import PoseSet
from flexpose.skeleton import load_skeleton

_ARRAYS = ("image_id", "bbox_xywh", "keypoints", "image_wh", "wh_uncertain")


def is_coco_npz(path: Path) -> bool:
    """Whether the file is an ``.npz`` with the arrays of this format."""
    return npz_names(path).issuperset(_ARRAYS)


def read_coco_npz(path: Path, *, image_root: Path | None = None) -> PoseSet:
    """Read all rows in file order; image names are COCO's (``000000000139.jpg``).

    Raises
    ------
    DataFormatError : the file is missing, damaged, or its arrays do not fit together.
    """
    data = read_npz(path, _ARRAYS)
    n = len(data["image_id"]) if data["image_id"].ndim else 0
    check_array(path, "image_id", data["image_id"], (n,), "iu")
    check_array(path, "keypoints", data["keypoints"], (n, 17, 3))
    check_array(path, "bbox_xywh", data["bbox_xywh"], (n, 4))
    check_array(path, "image_wh", data["image_wh"], (n, 2))
    check_array(path, "wh_uncertain", data["wh_uncertain"], (n,), "b")
    visibility = data["keypoints"][..., 2]
    if not np.isin(visibility, (0, 1, 2)).all():
        raise DataFormatError(path, "keypoints", "found visibilities other than 0, 1 and 2")
    inferred = int(data["wh_uncertain"].sum())
    return PoseSet(
        skeleton=load_skeleton("coco17"),
        keypoints=data["keypoints"][..., :2],
        visibility=visibility,
        image_size=data["image_wh"],
        boxes=data["bbox_xywh"],
        image_ids=tuple(f"{number:012d}.jpg" for number in data["image_id"].tolist()),
        source=(f"COCO 2017 keypoints, {path.name}; image sizes of {inferred} rows inferred",),
    )


FORMAT = Format(
    name="coco-npz",
    summary="COCO 2017 person keypoints as one .npz",
    sniff=is_coco_npz,
    read=read_coco_npz,
)
