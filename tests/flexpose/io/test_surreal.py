from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io

from flexpose.errors import DataFormatError
from flexpose.io import read_poses
from flexpose.mapping import find_mapping
from flexpose.skeleton import load_skeleton


def write_clip(path: Path, joints: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, {"joints2D": joints, "zrot": np.zeros((3, 1))}, do_compression=True)
    return path


def clip(frames: int) -> np.ndarray:
    """x is 10 times the joint, y 2 times the frame."""
    joints = np.zeros((2, 24, frames), np.float32)
    joints[0] = 10 * np.arange(24)[:, None]
    joints[1] = 2 * np.arange(frames)
    return joints


def test_sides_are_exchanged_and_half_a_pixel_subtracted(tmp_path: Path) -> None:
    joints = clip(3)
    joints[:, 0, 1] = (320.5, 7)
    poses = read_poses(write_clip(tmp_path / "01_01_c0002_info.mat", joints))
    at = poses.skeleton.index
    # SMPL's joint 1 is its left hip: the right one of the person in the mirrored image
    assert poses.keypoints[2, at("right_hip")].tolist() == [9.5, 3.5]
    assert poses.keypoints[2, at("left_hip")].tolist() == [19.5, 3.5]
    assert poses.keypoints[2, at("head")].tolist() == [149.5, 3.5]
    assert poses.visibility[:, at("pelvis")].tolist() == [2, 1, 2]
    assert poses.image_size[0].tolist() == [320, 240]
    assert poses.groups == ("01_01",) * 3
    assert poses.image_ids == tuple(f"01_01_c0002.mp4/{frame:06d}.png" for frame in range(3))
    assert "mirrored" in poses.source[0]


def test_a_clip_of_one_frame_has_lost_an_axis(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "x_info.mat", clip(1)[..., 0])
    assert len(read_poses(path)) == 1


def test_failed_frames_are_not_labelled(tmp_path: Path) -> None:
    joints = clip(2)
    joints[:, :, 0] = np.array([[0], [238]])
    poses = read_poses(write_clip(tmp_path / "x_info.mat", joints))
    assert poses.labelled.any(axis=1).tolist() == [False, True]


def test_a_folder_is_read_with_all_its_clips(tmp_path: Path) -> None:
    write_clip(tmp_path / "train" / "run1" / "02_05" / "02_05_c0001_info.mat", clip(2))
    write_clip(tmp_path / "train" / "run0" / "ung_01" / "ung_01_c0012_info.mat", clip(1))
    (tmp_path / "train" / "run0" / "ung_01" / "ung_01_c0012_segm.mat").write_bytes(b"not read")
    poses = read_poses(tmp_path)
    assert poses.groups == ("ung_01", "02_05", "02_05")
    assert poses.image_ids is not None
    assert poses.image_ids[1] == "train/run1/02_05/02_05_c0001.mp4/000000.png"


@pytest.mark.parametrize("joints", [np.zeros((2, 23, 4)), np.full((2, 24, 2), np.inf), np.zeros(3)])
def test_other_arrays_are_refused(tmp_path: Path, joints: np.ndarray) -> None:
    with pytest.raises(DataFormatError, match=r"x_info\.mat, joints2D"):
        read_poses(write_clip(tmp_path / "x_info.mat", joints))


def test_all_joints_map_to_the_body() -> None:
    mapping = find_mapping(load_skeleton("smpl24"), load_skeleton("body15"))
    assert mapping.missing == ()
    assert mapping.describe() == []
