"""Readers of public datasets, on tiny invented files and, where at hand, the real ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import scipy.io

from flexpose.errors import DataFormatError
from flexpose.io import read_poses
from flexpose.io.jhmdb import read_jhmdb, video_of
from flexpose.mapping import map_poses
from flexpose.poseset import PoseSet
from flexpose.skeleton import load_skeleton


def coco_arrays() -> dict[str, Any]:
    keypoints = np.zeros((2, 17, 3), np.int16)
    keypoints[0, 0] = (12, 30, 2)
    keypoints[1, 5] = (7, 8, 1)
    return {
        "image_id": np.array([139, 785], np.int32),
        "bbox_xywh": np.ones((2, 4), np.float32),
        "keypoints": keypoints,
        "image_wh": np.array([[640, 426], [640, 425]], np.int16),
        "wh_uncertain": np.array([False, True]),
    }


def test_coco_npz_counts_from_0(tmp_path: Path) -> None:
    np.savez(tmp_path / "c.npz", **coco_arrays())
    poses = read_poses(tmp_path / "c.npz")
    assert poses.skeleton.name == "coco17"
    assert poses.keypoints[0, 0].tolist() == [12, 30]
    assert poses.visibility[:, [0, 5]].tolist() == [[2, 0], [0, 1]]
    assert poses.image_ids == ("000000000139.jpg", "000000000785.jpg")
    assert "1 rows inferred" in poses.source[0]


@pytest.mark.parametrize(
    "change",
    [
        {"keypoints": np.zeros((2, 16, 3))},
        {"keypoints": np.full((2, 17, 3), 5)},
        {"image_id": np.zeros(3, np.int32)},
        {"image_id": np.int32(3)},
        {"bbox_xywh": np.full((2, 4), "x")},
    ],
)
def test_coco_npz_of_other_shapes_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    np.savez(tmp_path / "c.npz", **(coco_arrays() | change))
    with pytest.raises(DataFormatError, match=r"c\.npz"):
        read_poses(tmp_path / "c.npz")


def write_jhmdb(folder: Path) -> Path:
    joints = np.full((3, 15, 2), 11.0, np.float32)
    joints[0, 2] = (321.0, 240.0)
    joints[1, 2] = (322.0, 240.0)
    path = folder / "jhmdb.npz"
    np.savez(
        path,
        clip=np.array(["golf/a", "golf/a", "walk/b"]),
        frame=np.array([0, 1, 0], np.int16),
        joints=joints,
        joint_names=np.array(load_skeleton("jhmdb15").joints),
        clips=np.array(["golf/a", "walk/b"]),
        grade=np.array(["A", "B"]),
    )
    (folder / "clips.csv").write_text("clip,static_f_nm_np1\ngolf/a,0\nwalk/b,1\n")
    return path


def test_jhmdb_counts_from_1_and_knows_its_clips(tmp_path: Path) -> None:
    path = write_jhmdb(tmp_path)
    poses = read_poses(path)
    assert poses.skeleton.name == "jhmdb15"
    assert poses.keypoints[0, 0].tolist() == [10, 10]
    assert poses.keypoints[0, 2].tolist() == [320, 239]
    assert poses.visibility[:, 2].tolist() == [1, 1, 2]  # 320 is half a pixel beyond 319.5
    assert poses.groups == ("golf/a", "golf/a", "walk/b")
    assert poses.image_ids == ("golf/a/0", "golf/a/1", "walk/b/0")
    assert read_jhmdb(path, grade="A").groups == ("golf/a", "golf/a")
    assert read_jhmdb(path, static=True).groups == ("walk/b",)
    assert len(read_jhmdb(path, grade="A", static=True)) == 0
    named = read_jhmdb(path, static=True, names="{clip}.avi/{frame:06d}.png")
    assert named.image_ids == ("walk/b.avi/000000.png",)
    assert read_jhmdb(path, names="{clip}/{number:05d}.png").image_ids[1] == "golf/a/00002.png"
    (tmp_path / "clips.csv").write_text("clip\ngolf/a\n")
    with pytest.raises(DataFormatError, match="line 2"):
        read_jhmdb(path, static=True)


def test_jhmdb_knows_which_clips_are_of_one_video(tmp_path: Path) -> None:
    assert video_of("shoot_ball/Learn_to_shoot_ball_f_nm_np1_ba_med_4") == "shoot_ball/Learn_to"
    assert video_of("golf/a") == "golf/a"
    assert read_jhmdb(write_jhmdb(tmp_path), by_video=True).groups[2] == "walk/b"


def mpii_line(name: str, first: str) -> str:
    return ",".join([name, first, *["21"] * 30])


def test_mpii_counts_from_1_and_knows_activities(tmp_path: Path) -> None:
    path = tmp_path / "joints.csv"
    lines = [mpii_line("a.jpg", "11,31"), mpii_line("b.jpg", "-1,-1"), mpii_line("c.jpg", "-3,5")]
    path.write_text("\n".join(lines) + "\n")
    poses = read_poses(path)
    assert poses.skeleton.name == "mpii16"
    assert poses.keypoints[0, :2].tolist() == [[10, 30], [20, 20]]
    assert poses.visibility[:, 0].tolist() == [2, 0, 1]
    assert poses.image_size.tolist() == [[21, 31], [21, 21], [21, 21]]
    assert poses.groups is None
    (tmp_path / "mpii_human_pose_activity.csv").write_text(
        "NAME,Activity,Category\na.jpg,curling,sports\n"
    )
    assert read_poses(path).groups == ("sports/curling", "unknown", "unknown")
    for name in "abc":
        cv2.imwrite(str(tmp_path / f"{name}.jpg"), np.zeros((72, 128, 3), np.uint8))
    assert read_poses(path, image_root=tmp_path).image_size[0].tolist() == [128, 72]


@pytest.mark.parametrize(
    ("line", "message"), [("c.jpg,1,2", "line 2: 3 values"), (mpii_line("c.jpg", "x,1"), "line 2")]
)
def test_mpii_names_the_bad_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "joints.csv"
    path.write_text(mpii_line("a.jpg", "1,1") + "\n" + line)
    with pytest.raises(DataFormatError, match=message):
        read_poses(path)


def test_the_two_lsp_sets_mean_opposite_things_by_their_flag(tmp_path: Path) -> None:
    joints = np.full((14, 3, 2), 20.0)
    joints[:, 2] = 0
    joints[0, :, 0] = (5, 6, 1)
    scipy.io.savemat(tmp_path / "lspet.mat", {"joints": joints})
    scipy.io.savemat(tmp_path / "lsp.mat", {"joints": joints.transpose(1, 0, 2)})
    lsp, lspet = read_poses(tmp_path / "lsp.mat"), read_poses(tmp_path / "lspet.mat")
    assert lsp.visibility[0].tolist() == [1] + [2] * 13
    assert lspet.visibility[0].tolist() == [2] + [0] * 13
    assert lsp.keypoints[0, 0].tolist() == lspet.keypoints[0, 0].tolist() == [5, 6]
    assert lsp.image_ids == ("im0001.jpg", "im0002.jpg")
    assert lspet.image_ids == ("im00001.jpg", "im00002.jpg")
    scipy.io.savemat(tmp_path / "other.mat", {"joints": np.zeros((3, 13, 2))})
    with pytest.raises(DataFormatError, match="expected \\(3, 14, N\\)"):
        read_poses(tmp_path / "other.mat")


def penn_arrays() -> dict[str, Any]:
    x = np.full((2, 13), 11.0)
    y = np.full((2, 13), 21.0)
    visibility = np.ones((2, 13), np.uint8)
    visibility[0, :2] = 0
    x[0, 1] = y[0, 1] = 1
    x[1, 0] = 90
    return {
        "x": x,
        "y": y,
        "visibility": visibility,
        "bbox": np.array([[5.0, 6, 15, 26]] * 2),
        "dimensions": np.array([[48, 64, 2]], np.uint16),
        "action": "bowl",
    }


def test_penn_is_read_alike_from_both_forms(tmp_path: Path) -> None:
    data = penn_arrays()
    scipy.io.savemat(tmp_path / "0007.mat", data)
    np.savez(
        tmp_path / "penn.npz",
        sequence=np.array(["0007"]),
        length=np.array([2]),
        action=np.array(["bowl"]),
        height_width=np.array([[48, 64]]),
        xy=np.dstack([data["x"], data["y"]]),
        visibility=data["visibility"],
        bbox=data["bbox"],
        joint_names=np.array(load_skeleton("penn13").joints),
    )
    for name in ("0007.mat", "penn.npz"):
        poses = read_poses(tmp_path / name)
        assert poses.skeleton.name == "penn13"
        assert poses.keypoints[0, 0].tolist() == [10, 20]
        assert poses.visibility[0, :3].tolist() == [1, 0, 2]
        assert poses.visibility[1, 0] == 1
        assert poses.image_size[0].tolist() == [64, 48]
        assert poses.boxes is not None
        assert poses.boxes[0].tolist() == [4, 5, 10, 20]
        assert poses.image_ids == ("0007/000001.jpg", "0007/000002.jpg")
        assert poses.groups == ("bowl/0007",) * 2


def test_the_folder_of_penn_reads_as_its_files(tmp_path: Path) -> None:
    labels = tmp_path / "Penn_Action" / "labels"
    (labels.parent / "frames").mkdir(parents=True)
    labels.mkdir()
    files = [labels / name for name in ("0002.mat", "0007.mat")]
    for file, action in zip(files, ("bowl", "squat"), strict=True):
        scipy.io.savemat(file, penn_arrays() | {"action": action})
    single = PoseSet.concat([read_poses(file) for file in files])
    for folder in (labels.parent, labels):
        poses = read_poses(folder)
        assert np.array_equal(poses.keypoints, single.keypoints, equal_nan=True)
        assert np.array_equal(poses.visibility, single.visibility)
        assert poses.image_ids == single.image_ids
        assert poses.groups == ("bowl/0002",) * 2 + ("squat/0007",) * 2
        assert poses.source == (f"Penn Action, {folder.name}; 1 subtracted from positions",)
    files[1].write_bytes(files[1].read_bytes()[:300])
    with pytest.raises(DataFormatError, match=r"0007\.mat"):
        read_poses(labels.parent)


@pytest.mark.parametrize(
    "change",
    [
        {"y": np.zeros((3, 13))},
        {"bbox": np.zeros((1, 4))},
        {"dimensions": np.zeros((1, 1))},
        {"action": 3},
        {"x": np.full((2, 13), np.nan)},
    ],
)
def test_penn_of_other_shapes_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    scipy.io.savemat(tmp_path / "0007.mat", penn_arrays() | change)
    with pytest.raises(DataFormatError, match=r"0007\.mat"):
        read_poses(tmp_path / "0007.mat")


def test_original_jhmdb_clips_read_as_the_npz(tmp_path: Path) -> None:
    positions = np.full((2, 15, 2), 11.0)
    positions[:, 2, 1] = (322, 240)
    for video, frames in (("one", positions), ("two", positions[..., 1])):
        place = tmp_path / "golf" / video
        place.mkdir(parents=True)
        content = {"pos_img": frames, "pos_world": frames / 320, "scale": np.ones((1, 2))}
        scipy.io.savemat(place / "joint_positions.mat", content)
    poses = read_poses(tmp_path)
    assert poses.keypoints[1, 2].tolist() == [321, 239]
    assert poses.visibility[:, 2].tolist() == [2, 1, 1]
    assert poses.image_ids == ("golf/one/0", "golf/one/1", "golf/two/0")
    assert poses.groups == ("golf/one", "golf/one", "golf/two")
    assert len(read_poses(tmp_path / "golf" / "two" / "joint_positions.mat")) == 1


def test_the_original_mpii_file_knows_more(samples: dict[str, Any], tmp_path: Path) -> None:
    poses = read_poses(samples["mpii"][2](tmp_path))
    assert poses.image_ids == ("b.jpg",)
    assert poses.groups == ("sports/curling",)
    at = [poses.skeleton.index(joint) for joint in ("right_ankle", "right_knee", "upper_neck")]
    assert poses.keypoints[0, at].tolist() == [[9, 19], [10, 20], [17, 27]]
    assert poses.visibility[0, at].tolist() == [2, 1, 2]
    assert poses.labelled.sum() == 3
    assert poses.norm_length is not None
    assert poses.norm_length[0] == pytest.approx(0.6 * 5)  # a head box of 3 x 4 pixels


def test_mpii_json_counts_from_1_too(tmp_path: Path) -> None:
    joints = [[21, 31]] * 16
    flags = [1] * 15 + [0]
    (tmp_path / "train.json").write_text(
        json.dumps([{"joints_vis": flags, "joints": joints, "image": "a.jpg", "scale": 2.0}])
    )
    (tmp_path / "mpii_human_pose_activity.csv").write_text(
        "NAME,Activity,Category\na.jpg,curling,sports\n"
    )
    poses = read_poses(tmp_path / "train.json")
    assert poses.keypoints[0, 0].tolist() == [20, 30]
    assert poses.visibility[0].tolist() == [2] * 15 + [0]
    assert poses.groups == ("sports/curling",)
    (tmp_path / "bad.json").write_text('[{"joints_vis": [1], "joints": [[1, 2]]}]')
    with pytest.raises(DataFormatError, match=r"bad\.json, person 0: expected image"):
        read_poses(tmp_path / "bad.json")


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "skeleton", "count"),
    [
        ("coco2017_keypoints/coco_keypoints_val2017.npz", "coco17", 6352),
        ("jhmdb/jhmdb_joints.npz", "jhmdb15", 10324),
        ("mpii/test_joints.csv", "mpii16", 1991),
        ("mmpose_samples/mpii/test_mpii.json", "mpii16", 5),
        ("lsp/lsp_joints.mat", "lsp14", 2000),
        ("lsp/lspet_joints.mat", "lsp14", 10000),
        ("penn_action/sample_mat/0001.mat", "penn13", 151),
        ("penn_action/sample_mat", "penn13", 151 + 663),
    ],
)
def test_real_files(find_data: Callable[[str], Path], name: str, skeleton: str, count: int) -> None:
    poses = read_poses(find_data(name))
    assert poses.skeleton.name == skeleton
    assert len(poses) == count
    body = map_poses(poses, load_skeleton("body15"), allow_missing=True)
    up = body.keypoints[:, body.skeleton.index("head"), 1]
    down = body.keypoints[:, body.skeleton.index("left_ankle"), 1]
    known = np.isfinite(up) & np.isfinite(down)
    assert (up < down)[known].mean() > 0.6  # most people stand on their feet
