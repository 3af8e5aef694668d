"""napari reader of COCO keypoints: one points layer, its features say what each point is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

LayerData = tuple[Any, dict[str, Any], str]


def get_reader(
    path: str | Sequence[str],
) -> Callable[[str | Sequence[str]], list[LayerData]] | None:
    """The reader, if the file looks like COCO keypoints; None for everything else."""
    from flexpose.io.coco_read import is_coco

    if isinstance(path, str) and is_coco(Path(path)):
        return read_keypoints
    return None


def read_keypoints(path: str | Sequence[str]) -> list[LayerData]:
    """Points (image, row, column) of all labelled joints, images in the order of the file.

    Features are ``image``, ``person`` (row of the file), ``joint`` and ``visibility``; the names of
    images and the skeleton are in the metadata, from which `_writer` makes a file again.

    Raises
    ------
    DataFormatError : the file cannot be read.
    """
    import numpy as np

    from flexpose.io.coco_read import read_coco
    from napari_flexpose.convert import SIDE_COLOURS, joint_sides, to_rows_columns

    assert isinstance(path, str)
    poses = read_coco(Path(path)).poses
    ids = poses.image_ids or tuple(str(row) for row in range(len(poses)))
    images = list(dict.fromkeys(ids))
    people, joints = np.nonzero(poses.labelled)
    number = np.array([images.index(name) for name in ids], dtype=np.float32)
    points = to_rows_columns(poses.keypoints[people, joints])
    sides = joint_sides(poses.skeleton)
    sizes = dict(zip(ids, poses.image_size.tolist(), strict=True))
    largest = float(poses.image_size.max()) if len(poses) else 100.0
    options = {
        "name": Path(path).name.split(".")[0],
        "features": {
            "image": [ids[person] for person in people],
            "person": people,
            "joint": [poses.skeleton.joints[joint] for joint in joints],
            "visibility": poses.visibility[people, joints].astype(int),
        },
        "face_color": [SIDE_COLOURS[sides[joint]] for joint in joints],
        "symbol": ["ring" if v == 1 else "disc" for v in poses.visibility[people, joints]],
        "size": largest / 70,
        "metadata": {"skeleton": poses.skeleton.to_dict(), "images": images, "sizes": sizes},
    }
    if not len(points):
        for key in ("features", "face_color", "symbol"):
            options.pop(key)
    return [(np.column_stack([number[people], points]), options, "points")]
