from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io

from flexpose.errors import DataFormatError
from flexpose.io import read_poses


def write_frame(root: Path, name: str, points: np.ndarray) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, {"keypoints_2d": points})


def frame(first: tuple[float, float]) -> np.ndarray:
    points = np.full((32, 2), 0.5)
    points[14] = first
    return points


def test_shares_of_the_image_are_pixels_and_y_comes_first(tmp_path: Path) -> None:
    write_frame(tmp_path, "S9/Landmarks/Walking 1.60457274/10.mat", frame((1.5, 0.5)))
    write_frame(tmp_path, "S9/Landmarks/Walking 1.60457274/9.mat", frame((0.25, 0.75)))
    write_frame(tmp_path, "S11/Landmarks/Posing.54138969/1.mat", frame((0, 1)))
    poses = read_poses(tmp_path)
    assert poses.skeleton.name == "h36m32"
    nose = poses.skeleton.index("nose")
    # 0.75 of 128 pixels from the corner is 96, half a pixel less from the first centre
    assert poses.keypoints[:, nose].tolist() == [[95.5, 31.5], [63.5, 191.5], [127.5, -0.5]]
    assert poses.visibility[:, nose].tolist() == [2, 1, 2]
    assert poses.groups == ("S9/Walking 1",) * 2 + ("S11/Posing",)
    assert poses.image_ids == (
        "S9/WithBackground/Walking 1.60457274/9.jpg",
        "S9/WithBackground/Walking 1.60457274/10.jpg",
        "S11/WithBackground/Posing.54138969/1.jpg",
    )
    assert poses.image_size.tolist() == [[128, 128]] * 3


def test_one_subject_is_read_alone(tmp_path: Path) -> None:
    for subject in ("S1", "S5"):
        write_frame(tmp_path, f"{subject}/Landmarks/Greeting.54138969/1.mat", frame((0, 0)))
    assert read_poses(tmp_path / "S5").groups == ("S5/Greeting",)
    assert len(read_poses(tmp_path)) == 2


def test_a_bad_frame_is_named(tmp_path: Path) -> None:
    write_frame(tmp_path, "S1/Landmarks/Greeting.54138969/1.mat", np.zeros((17, 2)))
    with pytest.raises(DataFormatError, match=r"1\.mat, keypoints_2d: found shape \(17, 2\)"):
        read_poses(tmp_path)


def test_folders_without_landmarks_are_told_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "S1" / "WithBackground").mkdir(parents=True)
    with pytest.raises(DataFormatError, match="S1/Landmarks"):
        read_poses(tmp_path, "simple-h36m")
    (tmp_path / "S1" / "Landmarks").mkdir()
    with pytest.raises(DataFormatError, match=r"without a file \*\.mat"):
        read_poses(tmp_path)
