"""Human3.6M in the forms that pose estimation uses.

* VideoPose3D's ``data_2d_h36m_*.npz``: ``positions_2d``, a pickled dictionary of subjects, actions
  and one (T, J, 2) array a camera, and ``metadata``, which names the joints.
* VideoPose3D's ``data_3d_h36m.npz``: ``positions_3d``, likewise with one (T, J, 3) array of world
  metres an action; seen here by the dataset's four cameras (``h36m_cameras``).
* MMPose's ``h36m_train.npz``: ``imgname`` (N,) and ``part`` (N, 17, 3), x, y and a flag.
* h36m-fetch's ``annot.h5``, one a take: ``pose/2d`` (N, 32, 2), ``subject``, ``camera`` and
  ``frame`` (N,), numbers from 1. A folder is read with all that lie below it. The take has the name
  of the file's folder, images are "S1/Directions-1/imageSequence/54138969/img_000001.jpg".
* ``S1/MyPoses/3D_positions/Directions.h5`` of 3d-pose-baseline: ``3D_positions`` (96, T), world
  millimetres of 32 joints, seen as above. The folder above ``S1`` is read with all of them.
* COCO files with MMPose's joint names. They call the legs by the wrong side (its issue 1478): the
  second joint is ``left_hip`` there, and stands on the side of ``right_shoulder``. By their order
  the joints are those of ``h36m17``, which is how they are read.

Layouts: facebookresearch/VideoPose3D@4aaf1dce (data/data_utils.py and data/prepare_data_h36m.py,
which also reads the files of 3d-pose-baseline), open-mmlab/mmpose@05253ce1
(tools/dataset_converters/preprocess_h36m.py), anibali/h36m-fetch@c59c7df7 (process_all.py).
Positions are used as they are: no offset is stated. Joints come from markers and a model, so none
is occluded: joints inside the image count as visible, joints outside it as labelled but not
visible. Groups are "subject/action", a take with all its cameras, so that no split separates the
views of one moment. Where not said otherwise, images are
"S1/S1_Directions_1.54138969/S1_Directions_1.54138969_000001.jpg", as MMPose names them. S1, S5, S6,
S7 and S8 are for training, S9 and S11 for testing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexpose.errors import DataFormatError
from flexpose.io.base import (
    Format,
    check_array,
    check_positions,
    files_below,
    has_below,
    npz_first,
    npz_names,
    read_npz,
    seen_inside,
)
from flexpose.io.coco_read import is_coco, read_coco
from flexpose.io.h36m_cameras import CAMERA_IDS, H36M_SUBJECTS, IMAGE_SIZES, h36m_cameras
from flexpose.io.hdf5 import hdf5_names, read_hdf5
from flexpose.io.pickled import read_object
from flexpose.poseset import PoseSet
from flexpose.skeleton import load_skeleton

_HDF5 = (".h5", ".hdf5")
_ANNOT = "annot.h5"
_WORLD = "S*/MyPoses/3D_positions/*.h5"
_ANNOT_ARRAYS = ("pose/2d", "subject", "camera", "frame")
_IMAGE = re.compile(r"(S\d+)_([^/]+)\.(\d{8})_(\d+)\.\w+")
_COCO_NAME = b'"root (pelvis)"'  # what only MMPose calls the pelvis
_LEFT = {  # left joints of a layout of VideoPose3D -> our skeleton
    (4, 5, 6, 11, 12, 13): "h36m17",
    (1, 3, 5, 7, 9, 11, 13, 15): "coco17",
    (3, 4, 5, 13, 14, 15): "mpii16",
    (6, 7, 8, 9, 10, 16, 17, 18, 19, 20, 21, 22, 23): "h36m32",
}
_SEEN = "3-D positions seen by the four cameras of the dataset"
_Clip = tuple[str, str, str, NDArray[np.float32]]
"""Subject, action, camera and float32 (T, J, 2)."""


def is_h36m(path: Path) -> bool:
    """Whether the file is one of the forms, or the folder holds HDF5 files of theirs."""
    if path.is_dir():
        return any(path.glob(_WORLD)) or has_below(path, _ANNOT)
    names = (hdf5_names if path.suffix.lower() in _HDF5 else npz_names)(path)
    if "3D_positions" in names or names >= {name.split("/")[0] for name in _ANNOT_ARRAYS}:
        return True
    if names & {"positions_2d", "positions_3d"}:
        return True
    if names >= {"imgname", "part"}:
        return _IMAGE.search(str(npz_first(path, "imgname"))) is not None
    return is_coco(path) and _has_coco_name(path)


def _has_coco_name(path: Path) -> bool:
    """Whether the first or the last part of a JSON file has MMPose's name of the pelvis."""
    try:
        with path.open("rb") as file:
            start = file.read(8192)
            file.seek(max(path.stat().st_size - 8192, 0))
            return _COCO_NAME in start or _COCO_NAME in file.read()
    except OSError:
        return False


def read_h36m(
    path: Path, *, image_root: Path | None = None, subjects: Sequence[str] | None = None
) -> PoseSet:
    """Read a file or a folder: clip by clip, camera by camera, frames in their order.

    Parameters
    ----------
    subjects : keep these only ("S9", "S11")

    Raises
    ------
    DataFormatError : a file is missing, damaged, of another dataset, or of joints or subjects that
        are not known.
    MissingDependencyError : it is HDF5, and h5py is not installed.
    """
    names = npz_names(path)
    if path.is_dir() or path.suffix.lower() in _HDF5:
        poses = _read_h5(path, subjects)
    elif path.suffix.lower() == ".json":
        poses = _read_coco(path, image_root)
    elif "positions_3d" in names:
        poses = _joined(path, *_seen_clips(path, subjects))
    elif "positions_2d" in names:
        poses = _joined(path, *_flat_clips(path, subjects))
    else:
        poses = _read_mmpose(path)
    if subjects is not None and poses.groups is not None:
        keep = [group.split("/")[0] in subjects for group in poses.groups]
        poses = poses[np.array(keep, dtype=bool)]
    return poses


# ---------------------------------------------------------------- VideoPose3D


def _flat_clips(path: Path, subjects: Sequence[str] | None) -> tuple[str, list[_Clip], str]:
    """Skeleton, clips and a note on a file of 2-D positions."""
    metadata = read_object(path, "metadata") if "metadata" in npz_names(path) else {}
    sides = metadata.get("keypoints_symmetry") if isinstance(metadata, dict) else None
    try:
        skeleton = _LEFT[tuple(sides[0])] if sides else ""
    except (LookupError, TypeError):
        skeleton = ""
    if not skeleton:
        known = ", ".join(sorted(_LEFT.values()))
        raise DataFormatError(
            path, "metadata", f"names no joints that are known; expected those of {known}"
        )
    clips: list[_Clip] = []
    for subject, action, views in _actions(path, "positions_2d", subjects):
        where = f"positions_2d, {subject}, {action}"
        if isinstance(views, np.ndarray):
            views = list(views)
        if not isinstance(views, (list, tuple)) or len(views) > len(CAMERA_IDS):
            raise DataFormatError(path, where, "expected a list of at most four cameras")
        for camera, view in zip(CAMERA_IDS, views, strict=False):
            clips.append((subject, action, camera, _checked(path, where, view, skeleton, 2)))
    return skeleton, clips, "2-D positions as in the file"


def _seen_clips(path: Path, subjects: Sequence[str] | None) -> tuple[str, list[_Clip], str]:
    """Skeleton, clips and a note on a file of 3-D positions, seen by the dataset's cameras."""
    clips: list[_Clip] = []
    skeleton = ""
    for subject, action, points in _actions(path, "positions_3d", subjects):
        where = f"positions_3d, {subject}, {action}"
        joints = points.shape[1] if isinstance(points, np.ndarray) and points.ndim == 3 else 0
        skeleton = skeleton or ("h36m17" if joints == 17 else "h36m32")
        clips += _views(path, where, subject, action, _checked(path, where, points, skeleton, 3))
    return skeleton, clips, _SEEN


def _views(
    path: Path, where: str, subject: str, action: str, world: NDArray[np.float32]
) -> list[_Clip]:
    """World metres (T, J, 3) seen by the four cameras that filmed the subject."""
    if subject not in H36M_SUBJECTS:
        raise DataFormatError(path, where, f"cameras are known of {', '.join(H36M_SUBJECTS)} only")
    if np.abs(world).max(initial=0) > 100:
        raise DataFormatError(path, where, "found positions far from any room, not metres")
    return [
        (subject, action, name, camera.world_to_image(world))
        for name, camera in zip(CAMERA_IDS, h36m_cameras(subject), strict=True)
    ]


def _actions(
    path: Path, name: str, subjects: Sequence[str] | None
) -> Iterator[tuple[str, str, Any]]:
    """Subject, action and what the file holds of it."""
    found = read_object(path, name)
    if not isinstance(found, dict):
        raise DataFormatError(path, name, "expected a dictionary of subjects")
    for subject, actions in found.items():
        if not isinstance(subject, str) or not isinstance(actions, dict):
            raise DataFormatError(path, f"{name}, {subject}", "expected a dictionary of actions")
        for action, value in actions.items():
            if subjects is None or subject in subjects:
                yield subject, str(action), value


def _checked(
    path: Path, where: str, value: Any, skeleton: str, dimensions: int
) -> NDArray[np.float32]:
    """A (T, J, dimensions) array of numbers."""
    array = np.asarray(value) if isinstance(value, np.ndarray) else np.empty(0)
    check_array(path, where, array, (None, load_skeleton(skeleton).num_joints, dimensions), "f")
    check_positions(path, where, array)
    return array.astype(np.float32)


def _joined(path: Path, skeleton: str, clips: Sequence[_Clip], note: str) -> PoseSet:
    """All clips as one set."""
    if not clips:
        raise DataFormatError(path, "", "holds no poses of these subjects")
    lengths = [len(view) for *_, view in clips]
    sizes = np.repeat([IMAGE_SIZES[camera] for _, _, camera, _ in clips], lengths, axis=0)
    keypoints = np.concatenate([view for *_, view in clips])
    return PoseSet(
        skeleton=load_skeleton(skeleton),
        keypoints=keypoints,
        visibility=seen_inside(keypoints, sizes),
        image_size=sizes,
        image_ids=tuple(
            _image(subject, action, camera, frame)
            for subject, action, camera, view in clips
            for frame in range(len(view))
        ),
        groups=tuple(
            group
            for subject, action, _, view in clips
            for group in [f"{subject}/{action}"] * len(view)
        ),
        source=(f"Human3.6M, {path.name}; {note}",),
    )


def _image(subject: str, action: str, camera: str, frame: int) -> str:
    """Name of the image of a frame (from 0) as MMPose extracts them."""
    clip = f"{subject}_{action.replace(' ', '_')}.{camera}"
    return f"{subject}/{clip}/{clip}_{frame + 1:06d}.jpg"


# ---------------------------------------------------------------- HDF5


def _read_h5(path: Path, subjects: Sequence[str] | None) -> PoseSet:
    """A file or a folder of one of the two forms in HDF5."""
    if path.is_dir():
        world = sorted(path.glob(_WORLD))
    else:
        world = [path] if "3D_positions" in hdf5_names(path) else []
    if world:
        return _joined(path, "h36m32", _world_clips(world, subjects), _SEEN)
    files = files_below(path, _ANNOT) if path.is_dir() else [path]
    return PoseSet.concat([_read_annot(file) for file in files])


def _world_clips(files: Sequence[Path], subjects: Sequence[str] | None) -> list[_Clip]:
    """Clips of files whose folders name the subject."""
    clips: list[_Clip] = []
    where = "3D_positions"
    for file in files:
        subject = file.absolute().parents[2].name
        if subjects is None or subject in subjects:
            points = read_hdf5(file, (where,))[where]
            check_array(file, where, points, (96, None), "f")
            metres = points.reshape(32, 3, -1).transpose(2, 0, 1) / 1000
            clips += _views(
                file, where, subject, file.stem, _checked(file, where, metres, "h36m32", 3)
            )
    return clips


def _read_annot(path: Path) -> PoseSet:
    """One take as h36m-fetch keeps it, every frame with its camera."""
    data = read_hdf5(path, _ANNOT_ARRAYS)
    keypoints = _checked(path, "pose/2d", data["pose/2d"], "h36m32", 2)
    for name in _ANNOT_ARRAYS[1:]:
        check_array(path, name, data[name], (len(keypoints),), "iu")
    subjects, cameras, frames = (data[name].tolist() for name in _ANNOT_ARRAYS[1:])
    unknown = {str(camera) for camera in cameras} - set(CAMERA_IDS)
    if unknown:
        raise DataFormatError(path, "camera", f"found {min(unknown)}, expected one of {CAMERA_IDS}")
    take = path.absolute().parent.name
    sizes = np.array([IMAGE_SIZES[str(camera)] for camera in cameras]).reshape(-1, 2)
    return PoseSet(
        skeleton=load_skeleton("h36m32"),
        keypoints=keypoints,
        visibility=seen_inside(keypoints, sizes),
        image_size=sizes,
        image_ids=tuple(
            f"S{subject}/{take}/imageSequence/{camera}/img_{frame:06d}.jpg"
            for subject, camera, frame in zip(subjects, cameras, frames, strict=True)
        ),
        groups=tuple(f"S{subject}/{take}" for subject in subjects),
        source=(f"Human3.6M, {path.name}; 2-D positions as in the file",),
    )


# ---------------------------------------------------------------- MMPose


def _read_mmpose(path: Path) -> PoseSet:
    data = read_npz(path, ("imgname", "part"))
    n = len(data["imgname"]) if data["imgname"].ndim else 0
    check_array(path, "imgname", data["imgname"], (n,), "U")
    check_array(path, "part", data["part"], (n, 17, 3), "f")
    names = data["imgname"].tolist()
    takes = [_take(path, name) for name in names]
    sizes = np.array([IMAGE_SIZES[camera] for _, camera in takes]).reshape(-1, 2)
    check_positions(path, "part", data["part"])
    keypoints = data["part"][..., :2].astype(np.float32)
    return PoseSet(
        skeleton=load_skeleton("h36m17"),
        keypoints=keypoints,
        visibility=seen_inside(keypoints, sizes),
        image_size=sizes,
        image_ids=tuple(names),
        groups=tuple(group for group, _ in takes),
        source=(f"Human3.6M, {path.name}",),
    )


def _read_coco(path: Path, image_root: Path | None) -> PoseSet:
    poses = read_coco(path, image_root=image_root).poses
    skeleton = load_skeleton("h36m17")
    joints = poses.skeleton.joints
    if len(joints) != 17 or "pelvis" not in joints[0] or joints[11:] != skeleton.joints[11:]:
        raise DataFormatError(path, "categories", "found other joints than MMPose's of Human3.6M")
    groups = tuple(_take(path, name)[0] for name in poses.image_ids or ())
    visibility = np.where(poses.labelled, seen_inside(poses.keypoints, poses.image_size), 0)
    note = "joints by their order, because the file calls the legs by the wrong side"
    named = replace(poses, skeleton=skeleton, visibility=visibility, groups=groups)
    return named.with_note(note)


def _take(path: Path, name: str) -> tuple[str, str]:
    """The group, "subject/action", and the camera of an image name of MMPose."""
    found = _IMAGE.search(name)
    if found is None or found[3] not in IMAGE_SIZES:
        raise DataFormatError(path, f"image {name!r}", "expected a name of subject and camera")
    return f"{found[1]}/{found[2].replace('_', ' ')}", found[3]


FORMAT = Format(
    name="h36m",
    summary="Human3.6M of VideoPose3D (.npz), MMPose (.npz, COCO), h36m-fetch and others (.h5)",
    sniff=is_h36m,
    read=read_h36m,
    folder="annot.h5 or 3D_positions/*.h5 files of Human3.6M",
    refines="coco",
)
