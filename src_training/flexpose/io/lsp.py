"""Leeds Sports Pose (LSP) and its extended training set (LSPET): ``joints`` in a MATLAB file.

LSP has (3, 14, N), LSPET (14, 3, N); rows are x, y and a flag. The flag of LSP is 1 for occluded
joints, which were placed all the same. The flag of LSPET is 1 for visible joints; the crowd's
positions of the others are arbitrary, so they count as not labelled. Positions are used as they
are: the authors state no offset. Images are ``im0001.jpg`` (LSP) and ``im00001.jpg`` (LSPET).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from flexpose.errors import DataFormatError
from flexpose.io.base import Format, check_positions, mat_names, read_mat, sizes_of_images
from flexpose.poseset import PoseSet
from flexpose.skeleton import load_skeleton


def is_lsp(path: Path) -> bool:
    """Whether the file is a MATLAB file whose only variable is ``joints``."""
    return mat_names(path) == {"joints"}


def read_lsp(path: Path, *, image_root: Path | None = None) -> PoseSet:
    """Read all poses; the order of the axes says whether it is LSP or LSPET.

    Raises
    ------
    DataFormatError : the file is missing, damaged, or its array has another shape.
    """
    joints = np.asarray(read_mat(path, ("joints",))["joints"])
    shape = joints.shape
    extended = joints.ndim == 3 and shape[:2] == (14, 3)
    if joints.ndim != 3 or shape[:2] not in ((3, 14), (14, 3)) or joints.dtype.kind not in "iuf":
        raise DataFormatError(
            path, "joints", f"found shape {shape}, expected (3, 14, N) for LSP or (14, 3, N)"
        )
    table = joints.transpose(2, 0, 1) if extended else joints.transpose(2, 1, 0)
    flag = table[..., 2]
    check_positions(path, "joints", table)
    if not np.isin(flag, (0, 1)).all():
        raise DataFormatError(path, "joints", "found flags other than 0 and 1")
    visibility = np.where(flag == 1, 2, 0) if extended else np.where(flag == 1, 1, 2)
    keypoints = np.where((visibility > 0)[..., None], table[..., :2], np.nan).astype(np.float32)
    digits = 5 if extended else 4
    names = [f"im{number + 1:0{digits}d}.jpg" for number in range(len(table))]
    sizes, note = sizes_of_images(names, keypoints, image_root)
    return PoseSet(
        skeleton=load_skeleton("lsp14"),
        keypoints=keypoints,
        visibility=visibility.astype(np.int8),
        image_size=sizes,
        image_ids=tuple(names),
        source=(f"{'LSPET' if extended else 'LSP'}, {path.name}; {note}",),
    )


FORMAT = Format(
    name="lsp",
    summary="Leeds Sports Pose and its extended set (.mat)",
    sniff=is_lsp,
    read=read_lsp,
)
