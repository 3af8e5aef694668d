"""WFLW: points, boxes and events of its lists, the way to 68 points, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flexpose.errors import DataFormatError
from flexpose.io import read_poses
from flexpose.mapping import find_mapping, map_poses
from flexpose.skeleton import load_skeleton

POINTS = np.stack([np.arange(98) + 0.5, 3.0 * np.arange(98)], axis=1)
FLAGS = ["0", "1", "0", "0", "1", "0"]
IMAGE = "37--Soccer/37_Soccer_soccer_ball_37_45.jpg"


def line(
    points: np.ndarray = POINTS,
    box: tuple[str, ...] = ("2", "3", "92", "203"),
    flags: list[str] = FLAGS,
    image: str = IMAGE,
) -> str:
    return " ".join([*(f"{value:.6f}" for value in points.ravel()), *box, *flags, image]) + "\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_points_boxes_and_events(tmp_path: Path) -> None:
    text = line() + line(POINTS + 1, image="7--Cheering/7_Cheering_Cheering_7_16.jpg") + line()
    poses = read_poses(write(tmp_path / "list_98pt_rect_attr_train.txt", text))
    at = poses.skeleton.index
    assert poses.skeleton.name == "wflw98"
    assert poses.keypoints[0, at("jaw_17")].tolist() == [32.5, 96]
    assert poses.keypoints[1, at("left_pupil")].tolist() == [98.5, 292]
    assert poses.boxes is not None
    assert poses.boxes[0].tolist() == [2, 3, 90, 200]
    assert poses.groups == ("37--Soccer", "7--Cheering", "37--Soccer")
    assert poses.image_ids is not None
    assert poses.image_ids[0] == poses.image_ids[2] == IMAGE
    assert poses.image_size[0].tolist() == [98, 292]
    assert (poses.visibility == 2).all()


def test_lists_of_a_subset_have_neither_boxes_nor_flags(tmp_path: Path) -> None:
    path = write(tmp_path / "list_98pt_test_blur.txt", line(box=(), flags=[], image="a.jpg"))
    poses = read_poses(path)
    assert poses.boxes is None
    assert poses.groups is None
    assert poses.image_ids == ("a.jpg",)


def test_the_68_points_of_300_w_are_those_in_common_use(tmp_path: Path) -> None:
    # as lists of correspondences have it: every other point of the jaw, the upper edge of a brow,
    # six of the eight points of an eye, all of nose and mouth, no pupils
    common = [*range(0, 33, 2), *range(33, 38), *range(42, 47), *range(51, 60)]
    common += [60, 61, 63, 64, 65, 67, 68, 69, 71, 72, 73, 75, *range(76, 96)]
    mapping = find_mapping(load_skeleton("wflw98"), load_skeleton("face68"))
    assert mapping.parts == tuple((point,) for point in common)
    assert mapping.describe() == []
    poses = read_poses(write(tmp_path / "a.txt", line()))
    mapped = map_poses(poses, load_skeleton("face68"))
    np.testing.assert_array_equal(mapped.keypoints[0], POINTS[common].astype(np.float32))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "line 1: found 0 values, expected 207"),
        (line(POINTS[:68]), "line 1: found 147 values"),
        (line() + line(POINTS[:97]), "line 2: found 205 values, expected 207"),
        (line() + line(box=(), flags=[]), "line 2: found 197 values, expected 207"),
        (line().replace("3.000000", "three"), "line 1: found what is no number"),
        (line(POINTS * np.nan), "not finite"),
        (line(flags=["0", "1", "2", "0", "0", "0"]), "expected 0 or 1"),
        (line(box=("92", "3", "2", "203")), "line 1: found a box"),
        (line(image="37--Soccer/37_Soc"), "line 1: found '37--Soccer/37_Soc', expected"),
    ],
    ids=range(9),
)
def test_other_lists_are_refused(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(DataFormatError, match=r"a\.txt") as caught:
        read_poses(write(tmp_path / "a.txt", text), "wflw")
    assert problem in str(caught.value)


@pytest.mark.data
def test_the_sides_of_real_faces_are_those_of_the_names(
    find_data: Callable[[str], Path],
) -> None:
    faces = json.loads(find_data("mmpose_samples/wflw/test_wflw.json").read_text())["annotations"]
    index = load_skeleton("wflw98").index
    for face in faces:
        points = np.reshape(face["keypoints"], (98, 3))[:, :2]
        assert points[index("right_pupil"), 0] < points[index("left_pupil"), 0]
        for side in ("right", "left"):
            corners = points[[index(f"{side}_eye_1"), index(f"{side}_eye_4")], 0]
            assert corners[0] < points[index(f"{side}_pupil"), 0] < corners[1]
            upper = points[index(f"{side}_brow_3"), 1]
            assert upper < points[index(f"{side}_brow_lower_2"), 1]
