"""napari writer of COCO keypoints, for points layers that the reader made."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def write_keypoints(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write a points layer as COCO keypoints; moved points keep their joints.

    Raises
    ------
    DataFormatError : the layer does not say which joint of which person each point is.
    """
    import numpy as np

    from flexpose.errors import DataFormatError
    from flexpose.io.coco import write_coco
    from flexpose.poseset import PoseSet
    from flexpose.skeleton import Skeleton
    from napari_flexpose.convert import to_xy

    known, features = meta.get("metadata", {}), meta.get("features")
    if (
        features is None
        or "skeleton" not in known
        or not {"image", "person", "joint", "visibility"} <= set(features)
    ):
        raise DataFormatError(
            path,
            "",
            "cannot be written: the layer does not name the joint of each point.",
            "Layers that were read from a COCO file can be written, and labels from the dock.",
        )
    skeleton = Skeleton.from_dict(known["skeleton"], "the layer's metadata")
    people = np.asarray(features["person"], np.int64)
    rows = {person: row for row, person in enumerate(sorted(set(people.tolist())))}
    keypoints = np.full((len(rows), skeleton.num_joints, 2), np.nan, np.float32)
    visibility = np.zeros((len(rows), skeleton.num_joints), np.int8)
    names = [""] * len(rows)
    points = to_xy(np.asarray(data)[:, -2:])
    joints, images = list(features["joint"]), list(features["image"])
    seen = np.asarray(features["visibility"], dtype=np.int8)
    for point, person, joint, state, image in zip(
        points, people.tolist(), joints, seen, images, strict=True
    ):
        row = rows[person]
        keypoints[row, skeleton.index(joint)] = point
        visibility[row, skeleton.index(joint)] = state
        names[row] = image
    poses = PoseSet(
        skeleton=skeleton,
        keypoints=keypoints,
        visibility=visibility,
        image_size=np.array([known["sizes"][name] for name in names], np.int32).reshape(-1, 2),
        image_ids=tuple(names),
        source=("points layer of napari",),
    )
    write_coco(poses, Path(path))
    return [path]
