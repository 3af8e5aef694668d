"""300-W and 300-VW: offsets, names, clips, bad frames, sizes; and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from flexpose.errors import DataFormatError
from flexpose.frames.video import VideoFrames
from flexpose.io import read_poses

POINTS = np.stack([np.arange(68) + 10.5, 2 * np.arange(68) + 20.25], axis=1)


def write_pts(path: Path, points: np.ndarray = POINTS) -> Path:
    """As the files of 300-W are: two spaces before the count, no end of line after the brace."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = "".join(f"{x:f} {y:f}\n" for x, y in points)
    path.write_text(f"version: 1\nn_points:  {len(points)}\n{{\n{rows}}}", encoding="utf-8")
    return path


def write_image(path: Path, width: int, height: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.zeros((height, width, 3), np.uint8))
    return path


def write_video(path: Path, width: int, height: int, frames: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (width, height))
    for level in range(frames):
        writer.write(np.full((height, width, 3), 50 * level, np.uint8))
    writer.release()
    return path


def test_one_is_subtracted_and_names_are_those_of_300_w(tmp_path: Path) -> None:
    poses = read_poses(write_pts(tmp_path / "indoor_001.pts"))
    at = poses.skeleton.index
    assert poses.skeleton.name == "face68"
    assert poses.keypoints[0, at("jaw_01")].tolist() == [9.5, 19.25]
    assert poses.keypoints[0, at("right_eye_1")].tolist() == [45.5, 91.25]  # point 37 of iBUG
    assert poses.image_ids == ("indoor_001",)
    assert poses.groups is None
    assert "1 subtracted" in poses.source[0]


def test_sizes_come_from_images_beside_the_points(tmp_path: Path) -> None:
    for folder in ("lfpw", "afw"):
        write_pts(tmp_path / folder / "image_1.pts")
    write_image(tmp_path / "lfpw" / "image_1.png", 50, 200)
    poses = read_poses(tmp_path)
    assert poses.image_ids == ("afw/image_1", "lfpw/image_1.png")
    assert poses.image_size.tolist() == [[77, 154], [50, 200]]  # the smallest; the file's
    assert "of 1 unknown" in poses.source[1]
    # x is 9.5 + joint: from joint 40 on outside an image 50 pixels wide
    assert poses.visibility[1].tolist() == [2] * 41 + [1] * 27


def test_images_elsewhere_are_found_and_must_be_there(tmp_path: Path) -> None:
    write_pts(tmp_path / "labels" / "a" / "x.pts")
    with pytest.raises(DataFormatError, match=r"images/a/x: cannot be read"):
        read_poses(tmp_path / "labels", image_root=tmp_path / "images")
    write_image(tmp_path / "images" / "a" / "x.jpg", 90, 80)
    poses = read_poses(tmp_path / "labels", image_root=tmp_path / "images")
    assert poses.image_ids == ("a/x.jpg",)
    assert poses.image_size.tolist() == [[90, 80]]


def test_frames_of_a_clip_are_named_as_those_of_its_video(tmp_path: Path) -> None:
    for frame in (1, 2, 3):
        write_pts(tmp_path / "007" / "annot" / f"{frame:06d}.pts")
    video = write_video(tmp_path / "007" / "vid.avi", 96, 160, 3)
    clip = read_poses(tmp_path / "007")
    assert clip.image_ids == tuple(VideoFrames(video).names)
    assert clip.image_size.tolist() == [[96, 160]] * 3
    for path in (clip, read_poses(tmp_path)):
        assert path.groups == ("007",) * 3
    assert read_poses(tmp_path).image_ids == tuple(f"007/{name}" for name in clip.image_ids or ())
    for inside in ("annot", "annot/000002.pts"):
        assert read_poses(tmp_path / "007" / inside).groups[0] == "007"  # type: ignore[index]


def test_pictures_of_frames_go_before_the_video(tmp_path: Path) -> None:
    write_pts(tmp_path / "007" / "annot" / "000012.pts")
    write_image(tmp_path / "007" / "imgs" / "000012.jpg", 96, 160)
    poses = read_poses(tmp_path)
    assert poses.image_ids == ("007/imgs/000012.jpg",)
    assert poses.image_size.tolist() == [[96, 160]]


def test_single_pictures_beside_clips_are_groups_of_their_own(tmp_path: Path) -> None:
    write_pts(tmp_path / "007" / "annot" / "000001.pts")
    write_pts(tmp_path / "face.pts")
    assert read_poses(tmp_path).groups == ("007", "face")


def test_bad_frames_are_left_out_where_they_are_listed(tmp_path: Path) -> None:
    for clip, frame in (("401", 722), ("401", 723), ("402", 722)):
        write_pts(tmp_path / clip / "annot" / f"{frame:06d}.pts")
    assert len(read_poses(tmp_path)) == 3
    np.save(tmp_path / "broken_frames.npy", {"401": [722, 724]}, allow_pickle=True)
    poses = read_poses(tmp_path)
    assert poses.image_ids == ("401/vid.avi/000722.png", "402/vid.avi/000721.png")
    assert "broken_frames.npy: 1" in poses.source[1]
    assert len(read_poses(tmp_path / "401")) == 1
    np.save(tmp_path / "broken_frames.npy", {"401": "none"}, allow_pickle=True)
    with pytest.raises(DataFormatError, match=r"broken_frames\.npy: is damaged"):
        read_poses(tmp_path)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"n_points:  68": "n_points: 49"}, "found 49 points, expected the 68 of 300-W"),
        ({"n_points:  68": "n_points: 98"}, "found 98 points"),
        ({"11.500000 ": ""}, "found 135 numbers"),
        ({"11.500000": "eleven"}, "not a number"),
        ({"11.500000": "nan"}, "not finite"),
        ({"}": ""}, "cut short"),
        ({"version": "other"}, "no .pts file"),
    ],
    ids=str,
)
def test_other_files_are_refused(tmp_path: Path, change: dict[str, str], problem: str) -> None:
    path = write_pts(tmp_path / "a.pts")
    text = path.read_text()
    for old, new in change.items():
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    with pytest.raises(DataFormatError, match=r"a\.pts") as caught:
        read_poses(path, "pts")
    assert problem in str(caught.value)


@pytest.mark.parametrize("name", ["first", "000000"])
def test_labels_of_frames_have_numbers_as_names(tmp_path: Path, name: str) -> None:
    write_pts(tmp_path / "007" / "annot" / f"{name}.pts")
    with pytest.raises(DataFormatError, match="number of a frame"):
        read_poses(tmp_path)


def test_a_video_that_is_none_is_refused(tmp_path: Path) -> None:
    write_pts(tmp_path / "007" / "annot" / "000001.pts")
    (tmp_path / "007" / "vid.avi").write_bytes(b"no video")
    with pytest.raises(DataFormatError, match=r"vid\.avi: is no video"):
        read_poses(tmp_path)


@pytest.mark.data
def test_real_clips_agree_with_the_files_of_mmpose(find_data: Callable[[str], Path]) -> None:
    poses = read_poses(find_data("mmpose_samples/300vw"))
    assert poses.image_ids == ("001/imgs/000006.jpg", "001/imgs/000009.jpg", "401/imgs/000732.jpg")
    assert poses.image_size.tolist() == [[1280, 720], [1280, 720], [700, 512]]
    np.testing.assert_allclose(poses.keypoints[0, 0], [742.224, 196.764], atol=1e-3)


@pytest.mark.data
def test_real_points_of_lfpw_agree_with_its_arrays(find_data: Callable[[str], Path]) -> None:
    files = read_poses(find_data("lfpw68/testset_pts"))
    arrays = read_poses(find_data("lfpw68/testset.npz"))
    assert files.image_ids is not None
    assert arrays.image_ids is not None
    order = [arrays.image_ids.index(name) for name in files.image_ids]
    np.testing.assert_allclose(files.keypoints, arrays.keypoints[order], atol=1e-3)
