from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from flexpose.errors import DataFormatError
from flexpose.io import read_poses
from flexpose.mapping import find_mapping, map_poses
from flexpose.skeleton import load_skeleton


def write_annot(path: Path, cameras: int = 14, columns: int = 56, bad: float = 0.0) -> Path:
    """Two frames a camera; x is the joint, y the camera, but the first joint of frame 2."""
    cells = np.empty((cameras, 1), dtype=object)
    for camera in range(cameras):
        view = np.zeros((2, columns))
        view[:, 0::2] = np.arange(columns // 2)
        view[:, 1::2] = camera
        view[1, :2] = (2048 + bad, 5)
        cells[camera, 0] = view
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, {"annot2": cells, "annot3": np.zeros((14, 1))})
    return path


def test_annot_mat_has_fourteen_cameras(tmp_path: Path) -> None:
    path = write_annot(tmp_path / "S3" / "Seq2" / "annot.mat")
    poses = read_poses(path)
    assert poses.skeleton.name == "mpi3dhp28"
    assert len(poses) == 28
    assert poses.keypoints[6, 9].tolist() == [9, 3]
    assert poses.skeleton.joints[9] == "left_shoulder"
    assert poses.visibility[:2, 0].tolist() == [2, 1]
    assert poses.image_size[0].tolist() == [2048, 2048]
    assert poses.groups is not None
    assert set(poses.groups) == {"S3/Seq2"}  # views of one moment
    assert poses.image_ids is not None
    assert poses.image_ids[7] == "S3_Seq2_Cam3_000002.jpg"


def test_a_folder_is_read_with_all_its_sequences(tmp_path: Path) -> None:
    for place in ("S1/Seq1", "S1/Seq2", "S2/Seq1"):
        write_annot(tmp_path / place / "annot.mat")
    poses = read_poses(tmp_path)
    assert len(poses) == 3 * 28
    assert poses.groups is not None
    assert set(poses.groups) == {"S1/Seq1", "S1/Seq2", "S2/Seq1"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cameras": 13}, "annot2: found shape .*expected 14 cells"),
        ({"columns": 34}, r"annot2, camera 0: found shape \(2, 34\), expected \(n, 56\)"),
        ({"bad": np.nan}, "annot2, camera 0: .*not finite"),
    ],
)
def test_other_shapes_are_refused_by_camera(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = write_annot(tmp_path / "S1" / "Seq1" / "annot.mat", **change)
    with pytest.raises(DataFormatError, match=message):
        read_poses(path, "mpi3dhp")


def test_invalid_frames_of_the_test_set_are_left_out(tmp_path: Path) -> None:
    annot = np.zeros((2, 17, 1, 3))
    annot[0] = np.arange(17)[:, None, None]
    annot[1, :, 0] = [7, 8, 9]
    (tmp_path / "TS6").mkdir()
    path = tmp_path / "TS6" / "annot_data.mat"
    scipy.io.savemat(path, {"annot2": annot, "valid_frame": np.array([[1.0, 0, 1]])})
    poses = read_poses(path)
    assert poses.skeleton.name == "mpi3dhp17"
    assert poses.keypoints[:, 5].tolist() == [[5, 7], [5, 9]]
    assert poses.image_ids == ("TS6_000001.jpg", "TS6_000003.jpg")
    assert poses.groups == ("TS6", "TS6")
    assert poses.image_size[0].tolist() == [1920, 1080]


def test_the_test_set_reads_alike_from_matlab_73(samples: dict[str, Any], tmp_path: Path) -> None:
    path = samples["mpi3dhp"][3](tmp_path)  # (3, 1, 17, 2) in the file
    annot = np.linspace(20, 220, 2 * 17 * 3).reshape(2, 17, 1, 3)
    poses = read_poses(path)
    assert poses.keypoints[0, 5].tolist() == pytest.approx(annot[:, 5, 0, 1].tolist())
    assert poses.image_ids == ("TS1_000002.jpg", "TS1_000003.jpg")
    scipy.io.savemat(path, {"annot2": annot, "valid_frame": np.array([[0, 1, 1]])})
    assert np.array_equal(read_poses(path).keypoints, poses.keypoints)


def test_npz_names_hold_the_groups(tmp_path: Path) -> None:
    path = tmp_path / "train.npz"
    names = np.array(["S4_Seq2_Cam0_001033.jpg", "TS5_000002.jpg"])
    np.savez(path, imgname=names, part=np.full((2, 17, 3), 1900.0))
    poses = read_poses(path)
    assert poses.groups == ("S4/Seq2", "TS5")
    assert poses.visibility[:, 0].tolist() == [2, 1]  # 1900 is below the 1080 rows of TS5
    np.savez(path, imgname=np.array(["S4_Seq2_Cam0_001033.jpg", "x.jpg"]), part=np.ones((2, 17, 3)))
    with pytest.raises(DataFormatError, match=r"image 'x\.jpg'"):
        read_poses(path)


@pytest.mark.parametrize("name", ["mpi3dhp28", "mpi3dhp17"])
def test_all_joints_map_to_the_body(name: str) -> None:
    mapping = find_mapping(load_skeleton(name), load_skeleton("body15"))
    assert mapping.missing == ()
    assert mapping.describe() == []


def test_both_layouts_agree() -> None:
    order = [7, 5, 14, 15, 16, 9, 10, 11, 23, 24, 25, 18, 19, 20, 4, 3, 6]  # of MMPose
    joints = load_skeleton("mpi3dhp28").joints
    assert tuple(joints[i] for i in order) == load_skeleton("mpi3dhp17").joints


@pytest.mark.data
def test_real_files(find_data: Callable[[str], Path]) -> None:
    folder = find_data("mmpose_samples/mpi_inf_3dhp")
    train, test = (read_poses(folder / f"test_3dhp_{part}.npz") for part in ("train", "test"))
    assert train.groups == ("S4/Seq2", "S8/Seq1")
    assert test.groups == ("TS1", "TS2")
    body = map_poses(test, load_skeleton("body15"))
    heights = body.keypoints[:, [body.skeleton.index(j) for j in ("head", "neck", "pelvis")], 1]
    assert (np.diff(heights, axis=1) > 0).all()
