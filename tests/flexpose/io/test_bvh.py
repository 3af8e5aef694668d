from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flexpose.errors import DataFormatError
from flexpose.io import read_poses
from flexpose.io.bvh import read_bvh, read_bvh_3d
from flexpose.io.mocap import Camera

CHAIN = """HIERARCHY
ROOT Hips
{
  OFFSET 0 1 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Knee
  {
    OFFSET 0 2 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {
      OFFSET 0 0 3
    }
  }
}
MOTION
Frames: 2
Frame Time: 0.0333
10 20 30 0 0 0 0 0 0
10 20 30 90 0 0 0 90 90
"""


def test_kinematics_by_hand(tmp_path: Path) -> None:
    (tmp_path / "a.bvh").write_text(CHAIN)
    names, points = read_bvh_3d(tmp_path / "a.bvh")
    assert names == ("Hips", "Knee", "Knee end")
    # at rest: position channels take the place of the offset
    assert np.allclose(points[0], [[10, 20, 30], [10, 22, 30], [10, 22, 33]])
    # a quarter turn about z takes up to -x. The knee turns about its own x, then its own y: z goes
    # to x, which its x turn leaves, and the hips' turn takes it up
    assert np.allclose(points[1], [[10, 20, 30], [8, 20, 30], [8, 23, 30]])


def test_channels_in_another_order_turn_in_that_order(tmp_path: Path) -> None:
    text = CHAIN.replace(
        "CHANNELS 3 Zrotation Xrotation Yrotation", "CHANNELS 3 Xrotation Yrotation Zrotation"
    )
    (tmp_path / "a.bvh").write_text(text.replace("90 0 0 0 90 90", "0 0 0 90 90 0"))
    # z goes to x about y, and about x stays there
    assert np.allclose(read_bvh_3d(tmp_path / "a.bvh")[1][1, 2], [13, 22, 30])


def test_bandai_names_give_the_body(samples: dict[str, Any], tmp_path: Path) -> None:
    path = samples["bvh"][0](tmp_path)
    front = Camera(eye=(0, 1, 4), target=(0, 1, 0), focal=100, image_size=(101, 101))
    poses = read_bvh(path, cameras=[front])
    assert poses.skeleton.name == "body15"
    at = poses.skeleton.index
    # feet and hands on the floor, hips 0.8 m above it; the camera 1 m high and 4 m away, the frames
    # 0.05 m behind and before the middle
    assert poses.keypoints[0, at("pelvis")].tolist() == pytest.approx([50, 50 + 100 * 0.2 / 4.05])
    assert poses.keypoints[1, at("left_ankle")].tolist() == pytest.approx([50, 50 + 100 / 3.95])
    assert poses.image_ids == ("walk/cam0/0", "walk/cam0/1")
    assert poses.groups == ("walk", "walk")
    assert "Bandai-Namco" in poses.source[-1]
    assert len(read_poses(path)) == 8


@pytest.mark.parametrize(
    ("neck", "arm", "leg", "rig"),
    [
        ("Neck", ("Shoulder", "Elbow", "Wrist"), ("Hip", "Knee", "Ankle"), "CMU"),
        ("Neck1", ("Arm", "ForeArm", "Hand"), ("UpLeg", "Leg", "Foot"), "CMU for MotionBuilder"),
    ],
)
def test_both_conversions_of_cmu_are_known(
    samples: dict[str, Any],
    tmp_path: Path,
    neck: str,
    arm: tuple[str, ...],
    leg: tuple[str, ...],
    rig: str,
) -> None:
    text = samples["bvh"][0](tmp_path).read_text()
    bandai = ("UpperArm", "LowerArm", "Hand", "UpperLeg", "LowerLeg", "Foot")
    for side, name in (("L", "Left"), ("R", "Right")):
        for old, new in zip(bandai, (*arm, *leg), strict=True):
            text = text.replace(f"JOINT {old}_{side}\n", f"JOINT {name}{new}\n")
    text = text.replace("JOINT Neck\n", f"JOINT {neck}\n")
    path = tmp_path / "cmu.bvh"
    path.write_text(text)
    with pytest.raises(DataFormatError, match=rf"legs are 4\.52 m long.*unit .*{rig}"):
        read_poses(path)
    # 80 units of legs in CMU's unit of 0.0564 m, and in its fifth
    path.write_text(text.replace("-40.0", "-8.0").replace("20.0", "4.0"))
    poses = read_poses(path)
    assert poses.source[-1] == f"motion capture cmu.bvh ({rig}); each clip centred on the floor"


def test_a_folder_is_read_with_all_its_clips(samples: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    samples["bvh"][0](tmp_path)
    samples["bvh"][0](tmp_path / "b")
    poses = read_poses(tmp_path)
    assert poses.groups is not None
    assert set(poses.groups) == {"walk", "b/walk"}
    assert len(poses) == 4 * 2 * 2


def test_unknown_rigs_are_told_which_are_known(tmp_path: Path) -> None:
    (tmp_path / "a.bvh").write_text(CHAIN)
    with pytest.raises(DataFormatError, match=r"joints Hips, Knee, \.\.\.; expected .*CMU"):
        read_poses(tmp_path / "a.bvh")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("CHANNELS 3 Zrotation", "CHANNELS 2 Zrotation", "line 9: expected a number"),
        ("3 Zrotation Xrotation Yrotation\n    End", "1 Zrotation\n    End", "line 9: found 1 rot"),
        ("OFFSET 0 2 0", "OFFSET 0 two 0", "line 8: no number"),
        ("OFFSET 0 2 0", "OFFSET 0 nan 0", "line 8: .*not finite"),
        ("OFFSET 0 2 0", "OFFSET 0 2", "line 8: found 'OFFSET 0 2'"),
        ("Frames: 2", "Frames: 3", "line 17: says '3' frames and has 2"),
        ("Frames: 2", "", "line 17: expected Frames"),
        ("90 0 0 0 90 90", "90 0 0 0 90", "line 20: 8 values, expected 9"),
        ("90 0 0 0 90 90", "90 0 0 0 90 x", "line 20: no number"),
        ("MOTION", "", "line 17: found 'Frames: 2'"),
        ("}\n}\nMOTION", "}\nMOTION", "line 15: found 'MOTION'"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in CHAIN
    (tmp_path / "a.bvh").write_text(CHAIN.replace(old, new))
    with pytest.raises(DataFormatError, match=message):
        read_bvh_3d(tmp_path / "a.bvh")


@pytest.mark.data
def test_real_files_stand_where_the_npz_says(find_data: Callable[[str], Path]) -> None:
    with np.load(find_data("bandai_bvh/bandai1.npz")) as data:
        clip = find_data("bandai_bvh/sample_bvh") / "dataset-1_walk_normal_002.bvh"
        rows = data["clip"] == clip.stem
        names, points = read_bvh_3d(clip)
        order = [names.index(joint) for joint in data["joints"].tolist()]
        assert np.allclose(points[::3, order] / 100, data["xyz"][rows], atol=1e-5)


@pytest.mark.data
@pytest.mark.parametrize("name", ["bandai_bvh/sample_bvh", "cmu_mocap/bvh_sample"])
def test_real_people_stand_upright(find_data: Callable[[str], Path], name: str) -> None:
    poses = read_poses(find_data(name))
    at = poses.skeleton.index
    heights = poses.keypoints[:, [at("head"), at("pelvis"), at("left_ankle")], 1]
    assert (np.diff(heights, axis=1) > 0).all(axis=1).mean() > 0.9
    assert (poses.visibility == 2).mean() > 0.9
