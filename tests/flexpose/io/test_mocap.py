from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flexpose.errors import ConfigError, DataFormatError
from flexpose.io import read_poses
from flexpose.io.mocap import Camera, corner_cameras, project, read_mocap, read_mocap_3d

FRONT = Camera(eye=(0, 1, 4), target=(0, 1, 0), focal=100, image_size=(101, 61))


def test_projection_by_hand() -> None:
    points = np.array([[0, 1, 0], [2, 1, 0], [0, 2, 2], [0, 1, 4.0], [0, 1, 9]])
    seen = FRONT.world_to_image(points)
    # 4 m ahead, 2 m to the camera's right: 100 * 2 / 4; one up at 2 m: 100 * 1 / 2
    assert seen[:3].tolist() == [[50, 30], [100, 30], [50, -20]]
    assert np.isnan(seen[3:]).all()  # at the camera, and behind it


def test_a_facing_person_has_the_left_hand_on_the_right_of_the_image() -> None:
    assert FRONT.world_to_image(np.array([0.5, 1, 0]))[0] > 50
    axes = corner_cameras()[1].axes()
    assert np.allclose(axes @ axes.T, np.eye(3))
    assert np.linalg.det(axes) == pytest.approx(1)


def test_corner_cameras_see_the_middle_from_four_sides() -> None:
    cameras = corner_cameras(distance=5, height=1.5, target_height=0.9)
    assert len({camera.eye for camera in cameras}) == 4
    for camera in cameras:
        assert math.hypot(camera.eye[0], camera.eye[2]) == pytest.approx(5)
        assert camera.world_to_image(np.array([0, 0.9, 0])) == pytest.approx([499.5, 499.5])


def test_camera_without_a_direction_is_refused() -> None:
    with pytest.raises(ConfigError):
        Camera(eye=(0, 3, 0), target=(0, 0, 0)).axes()


SIDED = ("UpperArm", "LowerArm", "Hand", "UpperLeg", "LowerLeg", "Foot")
BANDAI = ["Neck", "Head", *(f"{name}_{side}" for side in "LR" for name in SIDED), "Toes_R"]


def write_bandai(path: Path, xyz: np.ndarray, clips: list[str]) -> None:
    np.savez(
        path,
        xyz=xyz,
        clip=np.array(clips),
        joints=np.array(BANDAI),
        parents=np.zeros(len(BANDAI), int),
    )


def test_bandai_joints_by_rule(tmp_path: Path) -> None:
    xyz = np.random.default_rng(0).random((3, 15, 3))
    write_bandai(tmp_path / "b.npz", xyz, ["a", "b", "a"])
    clips, points = read_mocap_3d(tmp_path / "b.npz")
    assert clips == ("a", "b", "a")
    at = BANDAI.index
    assert np.allclose(points[:, 0], xyz[:, at("Neck")])
    assert np.allclose(points[:, 1], 2 * xyz[:, at("Head")] - xyz[:, at("Neck")])
    assert np.allclose(points[:, 2], (xyz[:, at("UpperLeg_L")] + xyz[:, at("UpperLeg_R")]) / 2)
    assert np.allclose(points[:, 5], xyz[:, at("Hand_L")])
    assert np.allclose(points[:, 14], xyz[:, at("Foot_R")])


def test_cmu_joints_are_millimetres(tmp_path: Path) -> None:
    xyz = np.random.default_rng(0).random((1, 38, 3)) * 1000
    np.savez(tmp_path / "c.npz", xyz=xyz, clip=np.array(["a"]), parents=np.arange(38))
    _, points = read_mocap_3d(tmp_path / "c.npz")
    assert np.allclose(points[0, 1], (2 * xyz[0, 18] + xyz[0, 19]) / 3000)
    assert np.allclose(points[0, [3, 6, 14]], xyz[0, [21, 2, 10]] / 1000)


def test_clips_are_centred_and_stand_on_the_floor(tmp_path: Path) -> None:
    xyz = np.random.default_rng(0).random((4, 15, 3)) * 0.5
    clips = ["a", "b", "a", "b"]
    write_bandai(tmp_path / "1.npz", xyz, clips)
    moved = xyz + np.array([[[9.0, 3, -7]], [[0, 0, 0]], [[9, 3, -7]], [[0, 0, 0]]])
    write_bandai(tmp_path / "2.npz", moved, clips)
    first, second = read_poses(tmp_path / "1.npz"), read_poses(tmp_path / "2.npz")
    assert len(first) == 16
    assert np.allclose(first.keypoints, second.keypoints, atol=0.01)
    assert first.groups == ("a", "b", "a", "b") * 4
    assert first.image_ids is not None
    assert first.image_ids[:4] == ("a/cam0/0", "b/cam0/0", "a/cam0/1", "b/cam0/1")
    assert first.image_ids[4] == "a/cam1/0"
    assert len(read_mocap(tmp_path / "1.npz", cameras=[FRONT])) == 4


def test_joints_behind_the_camera_are_not_labelled() -> None:
    points = np.tile([0.0, 1, 0], (1, 15, 1))
    points[0, 0, 2] = 9
    points[0, 1, 0] = 50
    poses = project(points, [FRONT], ["a"], [0])
    assert poses.visibility[0, :3].tolist() == [0, 1, 2]


def test_other_skeletons_are_refused(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "o.npz",
        xyz=np.zeros((1, 4, 3)),
        clip=np.array(["a"]),
        parents=np.arange(4),
    )
    with pytest.raises(DataFormatError, match="neither"):
        read_poses(tmp_path / "o.npz")
    write_bandai(tmp_path / "n.npz", np.full((1, 15, 3), np.nan), ["a"])
    with pytest.raises(DataFormatError, match="finite"):
        read_poses(tmp_path / "n.npz")


@pytest.mark.data
def test_real_people_stand_upright_in_the_images(find_data: Callable[[str], Path]) -> None:
    poses = read_poses(find_data("bandai_bvh/bandai1.npz"))
    assert len(poses) == 4 * 10695
    index = poses.skeleton.index
    heights = poses.keypoints[:, [index("head"), index("pelvis"), index("left_ankle")], 1]
    assert (np.diff(heights, axis=1) > 0).all(axis=1).mean() > 0.95
    assert (poses.visibility == 2).mean() > 0.9
