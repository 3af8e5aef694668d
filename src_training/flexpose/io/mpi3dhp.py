"""MPI-INF-3DHP: the ``annot.mat`` of sequences, the test set's ``annot_data.mat``, MMPose's npz.

* ``annot.mat`` of a training sequence: ``annot2`` is a 14 x 1 cell, one camera each, of (T, 56): x
  and y of 28 joints in images of 2048 x 2048 pixels. A folder is read with all that lie below it.
* ``annot_data.mat`` of a test sequence: ``annot2`` (2, 17, 1, T), ``valid_frame`` (T); frames whose
  flag is 0 are left out. The original is a MATLAB 7.3 file, which needs h5py.
* ``mpi_inf_3dhp_train.npz`` and ``..._test_valid.npz``: ``imgname`` (N,), ``part`` (N, 17, 3).

Layouts and image sizes: open-mmlab/mmpose@a59dfc94 (tools/dataset_converters/
preprocess_mpi_inf_3dhp.py); order of the joints: open-mmlab/mmhuman3d@5706ed9e
(core/conventions/keypoints_mapping/mpi_inf_3dhp.py). Positions are used as they are: no offset is
stated. They come from markerless capture in 3-D, so none is occluded: joints inside the image count
as visible, joints outside it as labelled but not visible. Groups are "S1/Seq1", a take with all its
cameras, or "TS1"; images "S1_Seq1_Cam0_000001.jpg", as MMPose names them.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexpose.errors import DataFormatError
from flexpose.io.base import (
    Format,
    check_array,
    check_positions,
    files_below,
    has_below,
    mat_names,
    npz_first,
    npz_names,
    read_mat,
    read_npz,
    seen_inside,
)
from flexpose.poseset import PoseSet
from flexpose.skeleton import load_skeleton

CAMERAS = 14
_TRAIN, _TEST = "annot.mat", "annot_data.mat"
_IMAGE = re.compile(r"(?:(S\d+)_(Seq\d+)_Cam\d+|(TS\d+))_\d+\.\w+")
_FULL_HD = ("TS5", "TS6")  # filmed outdoors with another camera


def is_mpi3dhp(path: Path) -> bool:
    """Whether the file is one of the three forms, or the folder has ``annot.mat`` below it."""
    if path.is_dir():
        return has_below(path, _TRAIN) or has_below(path, _TEST)
    names = npz_names(path)
    if names >= {"imgname", "part"}:
        return _IMAGE.search(str(npz_first(path, "imgname"))) is not None
    found = mat_names(path)
    return "annot2" in found and bool(found & {"annot3", "univ_annot3", "valid_frame"})


def read_mpi3dhp(path: Path, *, image_root: Path | None = None) -> PoseSet:
    """Read all cameras and frames in their order.

    Raises
    ------
    DataFormatError : a file is missing, damaged, or its arrays do not fit together.
    """
    if path.is_dir():
        pattern = _TRAIN if has_below(path, _TRAIN) else _TEST
        return PoseSet.concat([read_mpi3dhp(file) for file in files_below(path, pattern)])
    if path.suffix.lower() != ".mat":
        return _read_npz(path)
    test = path.name == _TEST or "valid_frame" in mat_names(path)
    return _read_test(path) if test else _read_train(path)


def _read_train(path: Path) -> PoseSet:
    cells = np.asarray(read_mat(path, ("annot2",))["annot2"])
    if cells.dtype != object or cells.size != CAMERAS:
        raise DataFormatError(
            path, "annot2", f"found shape {cells.shape} of {cells.dtype}, expected {CAMERAS} cells"
        )
    skeleton = load_skeleton("mpi3dhp28")
    views = []
    for camera, cell in enumerate(cells.ravel()):
        where = f"annot2, camera {camera}"
        view = np.asarray(cell)
        check_array(path, where, view, (None, 2 * skeleton.num_joints))
        check_positions(path, where, view)
        views.append(view.reshape(len(view), -1, 2).astype(np.float32))
    subject, sequence = _place(path)
    images = [
        f"{subject}_{sequence}_Cam{camera}_{frame + 1:06d}.jpg"
        for camera, view in enumerate(views)
        for frame in range(len(view))
    ]
    return _poses(
        path,
        np.concatenate(views),
        skeleton_name=skeleton.name,
        images=images,
        groups=[f"{subject}/{sequence}"] * len(images),
    )


def _read_test(path: Path) -> PoseSet:
    data = read_mat(path, ("annot2", "valid_frame"))
    valid = np.asarray(data["valid_frame"])
    check_array(path, "valid_frame", valid.ravel(), (None,), "biuf")
    annot = np.asarray(data["annot2"])
    if annot.ndim == 4 and annot.shape[2] == 1:
        annot = annot[:, :, 0]
    check_array(path, "annot2", annot, (2, 17, valid.size))
    check_positions(path, "annot2", annot)
    frames = np.flatnonzero(valid.ravel() == 1)
    subject = _place(path)[1]
    return _poses(
        path,
        annot.transpose(2, 1, 0)[frames],
        skeleton_name="mpi3dhp17",
        images=[f"{subject}_{frame + 1:06d}.jpg" for frame in frames.tolist()],
        groups=[subject] * len(frames),
    )


def _read_npz(path: Path) -> PoseSet:
    data = read_npz(path, ("imgname", "part"))
    n = len(data["imgname"]) if data["imgname"].ndim else 0
    check_array(path, "imgname", data["imgname"], (n,), "U")
    check_array(path, "part", data["part"], (n, 17, 3), "f")
    names = data["imgname"].tolist()
    groups = []
    for name in names:
        found = _IMAGE.search(name)
        if found is None:
            raise DataFormatError(path, f"image {name!r}", "expected a name of subject and camera")
        groups.append("/".join(part for part in found.groups() if part))
    check_positions(path, "part", data["part"])
    keypoints = data["part"][..., :2]
    return _poses(path, keypoints, skeleton_name="mpi3dhp17", images=names, groups=groups)


def _poses(
    path: Path,
    keypoints: NDArray[np.floating],
    *,
    skeleton_name: str,
    images: list[str],
    groups: list[str],
) -> PoseSet:
    sizes = np.array(
        [(1920, 1080) if group in _FULL_HD else (2048, 2048) for group in groups], dtype=np.int32
    ).reshape(-1, 2)
    return PoseSet(
        skeleton=load_skeleton(skeleton_name),
        keypoints=keypoints,
        visibility=seen_inside(keypoints, sizes),
        image_size=sizes,
        image_ids=tuple(images),
        groups=tuple(groups),
        source=(f"MPI-INF-3DHP, {path.name}",),
    )


def _place(path: Path) -> tuple[str, str]:
    """Names of the two folders around a file: subject and sequence."""
    sequence = path.absolute().parent
    return sequence.parent.name, sequence.name


FORMAT = Format(
    name="mpi3dhp",
    summary="MPI-INF-3DHP (annot.mat of sequences, or MMPose's .npz)",
    sniff=is_mpi3dhp,
    read=read_mpi3dhp,
    folder="annot.mat files of MPI-INF-3DHP",
)
