from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flexpose.errors import DataFormatError
from flexpose.io import read_poses
from flexpose.io.h36m import read_h36m
from flexpose.io.h36m_cameras import CAMERA_IDS, H36M_SUBJECTS, LensCamera, h36m_cameras
from flexpose.mapping import find_mapping, map_poses
from flexpose.skeleton import load_skeleton

STRAIGHT = LensCamera(
    rotation=(1.0, 0.0, 0.0, 0.0),
    eye=(0.0, 0.0, -2.0),
    focal=(100.0, 200.0),
    principal=(50.0, 60.0),
    radial=(0.0, 0.0, 0.0),
    tangential=(0.0, 0.0),
    image_size=(100, 120),
)
SIDES = {
    "h36m": [[4, 5, 6, 11, 12, 13], [1, 2, 3, 14, 15, 16]],
    "coco": [[1, 3, 5, 7, 9, 11, 13, 15], [2, 4, 6, 8, 10, 12, 14, 16]],
    "mpii": [[3, 4, 5, 13, 14, 15], [0, 1, 2, 10, 11, 12]],
}


def flat_file(folder: Path, positions: Any, layout: str = "h36m") -> Path:
    path = folder / "data_2d_h36m_gt.npz"
    np.savez_compressed(
        path, positions_2d=positions, metadata={"keypoints_symmetry": SIDES[layout]}
    )
    return path


def test_a_lens_by_hand() -> None:
    # 4 m ahead of the camera: 100 * 1 / 4 + 50 and 200 * -2 / 4 + 60
    seen = STRAIGHT.world_to_image(np.array([[1.0, -2.0, 2.0], [0, 0, -3.0], [0, 0, -1.95]]))
    assert seen[0].tolist() == [75, -40]
    assert np.isnan(seen[1:]).all()  # behind the camera, and too near
    bent = LensCamera(**(STRAIGHT.__dict__ | {"radial": (0.4, 0.2, 0.1), "tangential": (0.1, 0.3)}))
    # x 1/2, y 0, r2 1/4: 1 + 0.1 + 0.0125 + 0.0015625 + 0.05, then r2 times the tangential part
    x = 0.5 * 1.1640625 + 0.25 * 0.1
    expected = [100 * x + 50, 200 * 0.25 * 0.3 + 60]
    assert bent.world_to_image(np.array([1.0, 0, 0])) == pytest.approx(expected)


def test_a_turned_camera_looks_along_its_axis() -> None:
    # a quarter turn about y: the camera's forward is the world's +x
    half = np.sqrt(0.5)
    turned = LensCamera(
        **(STRAIGHT.__dict__ | {"rotation": (half, 0.0, half, 0.0), "eye": (0.0, 0.0, 0.0)})
    )
    assert turned.world_to_image(np.array([4.0, 0, 0])) == pytest.approx([50, 60])
    assert turned.world_to_image(np.array([4.0, 0, -1.0])) == pytest.approx([75, 60])


def test_every_subject_is_seen_upright_by_four_cameras() -> None:
    person = np.array([[0.0, 0, 0], [0, 0, 1.7]])  # world z is up
    for subject in H36M_SUBJECTS:
        for camera in h36m_cameras(subject):
            assert np.linalg.norm(camera.rotation) == pytest.approx(1, abs=1e-6)
            feet, head = camera.world_to_image(person)
            assert 0 < head[1] < feet[1] < camera.image_size[1]
            assert abs(head[0] - feet[0]) < 60


def test_flat_positions_come_clip_by_clip(tmp_path: Path) -> None:
    views = [np.full((2, 17, 2), 10.0 * camera, np.float32) for camera in range(4)]
    views[1][0, 0] = (1200, 30)
    path = flat_file(tmp_path, {"S1": {"Directions 1": views}, "S11": {"Posing": views[:1]}})
    poses = read_poses(path)
    assert poses.skeleton.name == "h36m17"
    assert len(poses) == 10
    assert poses.keypoints[:, 1, 0].tolist() == [0, 0, 10, 10, 20, 20, 30, 30, 0, 0]
    assert poses.groups is not None
    assert poses.groups == (*["S1/Directions 1"] * 8, *["S11/Posing"] * 2)  # views of one moment
    assert poses.image_ids is not None
    assert poses.image_ids[1] == "S1/S1_Directions_1.54138969/S1_Directions_1.54138969_000002.jpg"
    assert poses.image_size[::2].tolist() == [
        [1000, 1002], [1000, 1000], [1000, 1000], [1000, 1002], [1000, 1002],
    ]  # fmt: skip
    assert poses.visibility[2, :2].tolist() == [1, 2]
    assert read_h36m(path, subjects=["S11"]).groups == ("S11/Posing",) * 2


@pytest.mark.parametrize(
    ("layout", "joints", "name"), [("coco", 17, "coco17"), ("mpii", 16, "mpii16")]
)
def test_detections_of_other_joints_are_named_by_their_sides(
    tmp_path: Path, layout: str, joints: int, name: str
) -> None:
    view = np.full((1, joints, 2), 5, np.float32)
    path = flat_file(tmp_path, {"S9": {"Eating": [view]}}, layout)
    assert read_poses(path).skeleton.name == name


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        ({"S1": {"A": [np.zeros((1, 16, 2), np.float32)]}}, r"S1, A: found shape \(1, 16, 2\)"),
        ({"S1": {"A": [np.full((1, 17, 2), np.nan, np.float32)]}}, "S1, A: .*not finite"),
        ({"S1": {"A": "x"}}, "S1, A: expected a list"),
        ({"S1": {"A": [[1, 2]]}}, "S1, A: found shape"),
        ({"S1": 3}, "S1: expected a dictionary"),
        ({}, "holds no poses"),
        (None, "expected a dictionary of subjects"),
        (print, r"names builtins\.print"),
    ],
)
def test_other_contents_are_refused_by_place(tmp_path: Path, positions: Any, message: str) -> None:
    with pytest.raises(DataFormatError, match=message):
        read_poses(flat_file(tmp_path, positions))


def test_unknown_joints_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "data_2d_humaneva15_gt.npz"
    np.savez(path, positions_2d={}, metadata={"keypoints_symmetry": [[2, 3, 4, 8, 9, 10], [5]]})
    with pytest.raises(DataFormatError, match="names no joints that are known"):
        read_poses(path)


@pytest.mark.parametrize(("joints", "name"), [(17, "h36m17"), (32, "h36m32")])
def test_world_positions_are_seen_by_the_cameras_of_the_subject(
    tmp_path: Path, joints: int, name: str
) -> None:
    world = np.zeros((1, joints, 3), np.float32)
    world[0, :, 2] = np.linspace(0, 1.7, joints)
    path = tmp_path / "data_3d_h36m.npz"
    np.savez_compressed(path, positions_3d={"S9": {"Posing": world}})
    poses = read_poses(path)
    assert poses.skeleton.name == name
    assert poses.groups == ("S9/Posing",) * 4
    for camera, view in zip(h36m_cameras("S9"), poses.keypoints, strict=True):
        assert np.allclose(view, camera.world_to_image(world[0]))
    assert (np.diff(poses.keypoints[..., 1], axis=1) < 0).all()
    assert (poses.visibility == 2).all()


def test_world_positions_of_others_are_refused(tmp_path: Path) -> None:
    world = np.zeros((1, 32, 3), np.float32)
    path = tmp_path / "data_3d.npz"
    np.savez(path, positions_3d={"S2": {"Posing": world}})
    with pytest.raises(DataFormatError, match=r"S2, Posing: cameras are known of S1, S5"):
        read_poses(path)
    np.savez(path, positions_3d={"S1": {"Posing": world + 1700}})
    with pytest.raises(DataFormatError, match="not metres"):
        read_poses(path)


def test_mmpose_names_hold_the_groups(samples: dict[str, Any], tmp_path: Path) -> None:
    poses = read_poses(samples["h36m"][2](tmp_path))
    assert poses.skeleton.name == "h36m17"
    assert poses.groups == ("S1/Directions 1", "S9/Posing")
    assert poses.image_size.tolist() == [[1000, 1002], [1000, 1000]]


def test_the_legs_of_mmpose_coco_files_are_put_right(
    samples: dict[str, Any], tmp_path: Path
) -> None:
    path = samples["h36m"][3](tmp_path)
    poses = read_poses(path)
    assert poses.skeleton == load_skeleton("h36m17")
    assert poses.groups == ("S1/Directions 1",)
    assert (poses.visibility == 2).all()
    by_name = read_poses(path, "coco")  # the wrong side, as the file says
    right = poses.keypoints[0, poses.skeleton.index("right_hip")]
    left = by_name.keypoints[0, by_name.skeleton.index("left_hip")]
    assert right.tolist() == left.tolist()
    assert "wrong side" in poses.source[-1]


def write_h5(path: Path, **arrays: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with pytest.importorskip("h5py").File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return path


def annot(**changes: Any) -> dict[str, Any]:
    """One frame seen by two cameras; x is the joint, y the row."""
    pose = np.zeros((2, 32, 2))
    pose[..., 0] = np.arange(32)
    pose[1, :, 1] = 1
    pose[1, 0] = (1000, 1)
    arrays = {
        "pose/2d": pose,
        "subject": np.array([11, 11]),
        "camera": np.array([54138969, 55011271]),
        "frame": np.array([65, 65]),
    }
    return arrays | changes


def test_takes_of_h36m_fetch_are_read_alone_and_as_a_folder(tmp_path: Path) -> None:
    paths = [
        write_h5(tmp_path / subject / "Walking-1" / "annot.h5", **annot(subject=[number] * 2))
        for subject, number in (("S11", 11), ("S9", 9))
    ]
    poses = read_poses(paths[0])
    assert poses.skeleton.name == "h36m32"
    assert poses.keypoints[:, 3].tolist() == [[3, 0], [3, 1]]
    assert poses.visibility[1, :2].tolist() == [1, 2]
    assert poses.image_size.tolist() == [[1000, 1002], [1000, 1000]]
    assert poses.groups == ("S11/Walking-1",) * 2
    assert poses.image_ids is not None
    assert poses.image_ids[1] == "S11/Walking-1/imageSequence/55011271/img_000065.jpg"
    assert read_poses(tmp_path).groups == ("S11/Walking-1",) * 2 + ("S9/Walking-1",) * 2
    assert read_h36m(tmp_path, subjects=["S9"]).groups == ("S9/Walking-1",) * 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pose/2d": np.zeros((2, 17, 2))}, r"pose/2d: found shape \(2, 17, 2\)"),
        ({"frame": np.array([1])}, r"frame: found shape \(1,\), expected \(2\)"),
        ({"camera": np.array([54138969, 7])}, "camera: found 7, expected one of"),
    ],
)
def test_other_arrays_in_hdf5_are_refused_by_place(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataFormatError, match=message):
        read_poses(write_h5(tmp_path / "annot.h5", **annot(**change)))


def test_world_positions_in_hdf5_are_those_of_the_npz(tmp_path: Path) -> None:
    world = np.linspace(-1, 1, 3 * 32 * 3).reshape(3, 32, 3)
    np.savez(tmp_path / "data_3d_h36m.npz", positions_3d={"S9": {"Posing 1": world}})
    millimetres = 1000 * world.reshape(3, 96).T
    file = tmp_path / "h36m" / "S9" / "MyPoses" / "3D_positions" / "Posing 1.h5"
    write_h5(file, **{"3D_positions": millimetres})
    expected = read_poses(tmp_path / "data_3d_h36m.npz")
    for path in (file, tmp_path / "h36m"):
        poses = read_poses(path)
        assert np.allclose(poses.keypoints, expected.keypoints, atol=1e-3)
        assert poses.groups == expected.groups
        assert poses.image_ids == expected.image_ids
    with pytest.raises(DataFormatError, match="holds no poses"):
        read_h36m(tmp_path / "h36m", subjects=["S1"])


@pytest.mark.parametrize("name", ["h36m32", "h36m17"])
def test_all_joints_map_to_the_body(name: str) -> None:
    source, target = load_skeleton(name), load_skeleton("body15")
    mapping = find_mapping(source, target)
    assert mapping.missing == ()
    assert [source.joints[i] for i in mapping.parts[target.index("head")]] == ["nose"]


def test_the_32_joints_are_those_of_the_files() -> None:
    joints = load_skeleton("h36m32").joints
    used = [0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27]
    assert [joints[i] for i in used] == list(load_skeleton("h36m17").joints)


@pytest.mark.data
def test_real_cameras_see_what_the_files_say(find_data: Callable[[str], Path]) -> None:
    import json

    folder = find_data("mmpose_samples/h36m")
    poses = read_poses(folder / "h36m_coco.json")
    flat = read_poses(folder / "test_h36m_body3d.npz")
    assert np.allclose(poses.keypoints, flat.keypoints[: len(poses)])
    people = json.loads((folder / "h36m_coco.json").read_text())["annotations"]
    assert poses.image_ids is not None
    for person, name, keypoints in zip(people, poses.image_ids, poses.keypoints, strict=True):
        subject, camera = name.split("_")[0].split("/")[-1], name.split(".")[-2].split("_")[0]
        world = np.array(person["keypoints_3d"]).reshape(-1, 4)[:, :3]
        seen = h36m_cameras(subject)[CAMERA_IDS.index(camera)].world_to_image(world)
        assert np.abs(seen - keypoints).max() < 0.01
    body = map_poses(flat, load_skeleton("body15")).keypoints
    at = load_skeleton("body15").index
    for joint in ("hip", "knee"):  # both sides of the body are on one side of the image
        side = body[:, at(f"left_{joint}"), 0] - body[:, at(f"right_{joint}"), 0]
        shoulders = body[:, at("left_shoulder"), 0] - body[:, at("right_shoulder"), 0]
        assert (np.sign(side) == np.sign(shoulders)).mean() > 0.7
