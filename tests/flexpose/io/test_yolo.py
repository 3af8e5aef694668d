from __future__ import annotations

import numpy as np
import pytest
import yaml
from conftest import PUPPET

from flexpose.errors import DataFormatError
from flexpose.io.yolo import YoloWriter, data_yaml, yolo_rows
from flexpose.poseset import PoseSet

IMAGE = np.zeros((50, 100, 3), np.uint8)


def poses(*names: str) -> PoseSet:
    points = np.tile(
        np.array([[49.5, 24.5], [49.5, 4.5], [29.5, 24.5], [69.5, 24.5], [0, 0]], np.float32),
        (len(names), 1, 1),
    )
    visibility = np.tile(np.array([2, 2, 1, 2, 0], np.int8), (len(names), 1))
    return PoseSet(
        skeleton=PUPPET,
        keypoints=points,
        visibility=visibility,
        image_size=np.array([100, 50]),
        image_ids=names,
    )


def test_a_row_is_in_shares_of_the_image_from_its_border():
    (row,) = yolo_rows(poses("a.png"))
    values = [float(word) for word in row.split()]
    assert len(values) == 5 + 3 * 5
    # joints span x 30 to 70 and y 5 to 25 from the border, padded by a tenth
    np.testing.assert_allclose(values[:5], [0, 0.50, 0.30, 0.48, 0.48])
    np.testing.assert_allclose(values[5:8], [0.5, 0.5, 2])
    np.testing.assert_allclose(values[11:14], [0.3, 0.5, 1])
    assert values[17:20] == [0, 0, 0]


def test_joints_outside_are_moved_to_the_border():
    outside = poses("a.png")
    moved = np.array(outside.keypoints)
    moved[0, 1] = [-20, 80]
    row = yolo_rows(PoseSet(**{**outside.__dict__, "keypoints": moved}))[0].split()
    assert row[8:11] == ["0.000000", "1.000000", "2"]
    assert all(0 <= float(word) <= 1 for word in row[1:5])


def test_data_yaml_exchanges_left_and_right():
    data = yaml.safe_load(data_yaml(PUPPET))
    assert data["kpt_shape"] == [5, 3]
    assert data["flip_idx"] == [0, 1, 3, 2, 4]
    assert data["names"] == {0: "person"}


def test_images_and_labels_lie_side_by_side_in_sub_folders(tmp_path):
    with YoloWriter(tmp_path / "out", poses("clip.mp4/000001.png", "b.jpg")) as writer:
        writer.add("clip.mp4/000001.png", IMAGE)
        writer.add("b.jpg", IMAGE)
    files = sorted(
        p.relative_to(tmp_path / "out").as_posix()
        for p in (tmp_path / "out").rglob("*")
        if p.is_file()
    )
    assert files == [
        "data.yaml",
        "images/train/b.png",
        "images/train/clip.mp4/000001.png",
        "labels/train/b.txt",
        "labels/train/clip.mp4/000001.txt",
    ]


def test_an_error_on_the_way_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), YoloWriter(tmp_path / "out", poses("a.png")) as writer:
        writer.add("other.png", IMAGE)
    assert not list(tmp_path.iterdir())


def test_a_folder_with_something_in_it_is_refused(tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(DataFormatError, match="not an empty folder"):
        YoloWriter(tmp_path, poses("a.png"))


def test_images_that_would_share_a_text_file_are_refused(tmp_path):
    with pytest.raises(DataFormatError, match="share one text file"):
        YoloWriter(tmp_path / "out", poses("a.png", "a.jpg"))
