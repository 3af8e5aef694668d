"""Hands: RHD's pickles and Hand-3D-Studio's list, on tiny files in their true form."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from flexpose.errors import DataFormatError
from flexpose.io import read_poses
from flexpose.io.hand3d import read_hand3d
from flexpose.io.rhd import read_rhd


def person(spans: tuple[float, float] = (20, 40)) -> dict[str, Any]:
    """Joint j of the left hand at (j, 10), of the right one at (100 + 2 j, 50): which are wider."""
    uv = np.zeros((42, 3))
    for hand, span in enumerate(spans):
        at = slice(21 * hand, 21 * hand + 21)
        uv[at, 0] = 100 * hand + np.arange(21) * span / 20
        uv[at, 1] = 10 + 40 * hand
    uv[:, 2] = 1
    return {"uv_vis": uv, "xyz": np.full((42, 3), 0.5, np.float32), "K": np.eye(3)}


def saved(folder: Path, *entries: dict[str, Any], protocol: int = 2) -> Path:
    path = folder / "anno_training.pickle"
    path.write_bytes(pickle.dumps(dict(enumerate(entries)), protocol))
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_fingers_of_rhd_are_turned_round_and_both_hands_are_read(
    tmp_path: Path, protocol: int
) -> None:
    poses = read_poses(saved(tmp_path, person(), person(), protocol=protocol))
    assert poses.skeleton.name == "hand21"
    assert len(poses) == 4
    at = poses.skeleton.index
    left, right = poses.keypoints[0], poses.keypoints[1]
    assert left[at("wrist")].tolist() == [0, 10]
    assert left[at("thumb_tip")].tolist() == [1, 10]
    assert left[at("thumb_cmc")].tolist() == [4, 10]
    assert left[at("index_finger_mcp")].tolist() == [8, 10]
    assert right[at("pinky_tip")].tolist() == [134, 50]
    assert right[at("pinky_mcp")].tolist() == [140, 50]
    assert poses.image_ids == ("training/color/00000.png",) * 2 + ("training/color/00001.png",) * 2
    assert poses.image_size[0].tolist() == [320, 320]


def test_hidden_joints_are_labelled_and_hands_out_of_the_picture_are_not(tmp_path: Path) -> None:
    entry = person()
    entry["uv_vis"][21:, 2] = 0  # the right hand
    entry["uv_vis"][1:4, 2] = 0
    entry["uv_vis"][2] = (-5, 400, 0)
    entry["xyz"][3, 2] = -0.1  # behind the camera
    entry["uv_vis"][30, :2] = 1e30  # of a hand that is not read
    poses = read_poses(saved(tmp_path, entry))
    assert len(poses) == 1
    at = poses.skeleton.index
    flags = [poses.visibility[0, at(f"thumb_{name}")] for name in ("tip", "ip", "mcp", "cmc")]
    assert flags == [1, 1, 0, 2]
    assert poses.keypoints[0, at("thumb_ip")].tolist() == [-5, 400]


def test_the_larger_hand_can_be_asked_for(tmp_path: Path) -> None:
    path = saved(tmp_path, person((20, 40)), person((60, 40)))
    poses = read_rhd(path, hands="larger")
    assert poses.image_ids == ("training/color/00000.png", "training/color/00001.png")
    assert poses.keypoints[:, 0, 1].tolist() == [50, 10]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"uv_vis": np.zeros((42, 2))}, r"picture 1, uv_vis: found shape \(42, 2\)"),
        ({"uv_vis": np.full((42, 3), 2.0)}, "picture 1, uv_vis: found flags"),
        ({"uv_vis": np.tile([np.nan, 5, 1.0], (42, 1))}, "uv_vis: .*not finite"),
        ({"xyz": "text"}, "picture 1, xyz: found shape"),
        ({"xyz": None}, "picture 1: the array 'xyz' is missing"),
    ],
)
def test_other_arrays_of_rhd_are_refused_by_picture(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    changed = {key: value for key, value in {**person(), **change}.items() if value is not None}
    path = saved(tmp_path, person(), changed)
    with pytest.raises(DataFormatError, match=rf"anno_training\.pickle.*{message}"):
        read_poses(path)


@pytest.mark.parametrize("content", [[1, 2], {}, {"a": person()}, {0: [1]}, {0: {1, 2}}])
def test_pickles_of_anything_else_are_refused(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "anno_training.pickle"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(DataFormatError, match=r"anno_training\.pickle"):
        read_poses(path)


def test_nothing_in_a_pickle_is_run(tmp_path: Path) -> None:
    made = tmp_path / "made"
    path = tmp_path / "anno_training.pickle"
    path.write_bytes(b"\x80\x02cos\nmkdir\nX\x04\x00\x00\x00madeR.")
    with pytest.raises(DataFormatError, match=r"names os\.mkdir"):
        read_poses(path)
    assert not made.exists()


def test_many_pictures_come_back(tmp_path: Path) -> None:
    """More objects than one byte can count: pickles then use longer instructions."""
    shared = np.arange(9.0).reshape(3, 3)
    entries = [{**person(), "K": shared} for _ in range(300)]
    path = saved(tmp_path, *entries)
    assert len(read_poses(path)) == 600


def hand(name: str = "part2/a.jpg", **changes: Any) -> dict[str, Any]:
    points = [[float(joint), 7.0] for joint in range(21)]
    return {"name": name, "without_object": 1, "keypoint2d": points, **changes}


def listed(folder: Path, *entries: Any) -> Path:
    path = folder / "annotation.json"
    path.write_text(json.dumps(list(entries)), encoding="utf-8")
    return path


def test_hand_3d_studio_is_in_our_order_and_knows_its_objects(tmp_path: Path) -> None:
    listed(tmp_path, hand(), hand("part3/b.jpg", without_object="0"))
    poses = read_poses(tmp_path)
    assert poses.skeleton.name == "hand21"
    assert poses.keypoints[0, poses.skeleton.index("middle_finger_mcp")].tolist() == [9, 7]
    assert poses.visibility.min() == 2
    assert poses.groups == ("part2", "part3")
    assert read_hand3d(tmp_path, task="noobject").image_ids == ("part2/a.jpg",)
    assert read_hand3d(tmp_path, task="object").image_ids == ("part3/b.jpg",)
    (tmp_path / "part2").mkdir()
    cv2.imwrite(str(tmp_path / "part2/a.jpg"), np.zeros((8, 16, 3), np.uint8))
    seen = read_hand3d(tmp_path, task="noobject", image_root=tmp_path)
    assert seen.image_size.tolist() == [[16, 8]]
    assert seen.visibility[0].tolist() == [2] * 16 + [1] * 5


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (hand(keypoint2d=[[1, 2]] * 20), r"hand 1, keypoint2d: found shape \(20, 2\)"),
        (hand(keypoint2d=[["x", 2]] * 21), "hand 1, keypoint2d: found what is no number"),
        (hand(keypoint2d=[[1, 1e9]] * 21), "hand 1, keypoint2d: .*beyond"),
        (hand(without_object=3), "hand 1: found without_object 3"),
        (hand(name=5), "hand 1: the name is no name"),
        ({"name": "a.jpg"}, "hand 1: 'without_object' is missing"),
        ("text", "hand 1: 'name' is missing"),
    ],
)
def test_other_entries_are_refused_by_number(tmp_path: Path, entry: Any, message: str) -> None:
    path = listed(tmp_path, hand(), entry)
    with pytest.raises(DataFormatError, match=rf"annotation\.json, {message}"):
        read_poses(path)
