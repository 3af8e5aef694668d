"""Faces as arrays: offsets, sizes, people, cut-outs; and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flexpose.errors import DataFormatError
from flexpose.io import read_poses
from flexpose.io.face_arrays import read_face_arrays

FACES = np.arange(2 * 68 * 2, dtype=np.float32).reshape(2, 68, 2)


def write_npz(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def test_the_model_of_aflw_counts_from_1_and_has_depth(tmp_path: Path) -> None:
    points = np.concatenate([FACES.transpose(0, 2, 1), np.full((2, 1, 68), -50)], axis=1)
    np.save(tmp_path / "AFLW2000-3D.pts68.npy", points.astype(np.float32))
    poses = read_poses(tmp_path / "AFLW2000-3D.pts68.npy")
    np.testing.assert_array_equal(poses.keypoints, FACES - 1)
    assert poses.image_size.tolist() == [[450, 450]] * 2
    assert poses.image_ids == ("AFLW2000-3D.pts68/0000", "AFLW2000-3D.pts68/0001")
    assert poses.visibility[0, 0] == 1  # (-1, 0) lies outside the image
    assert "1 subtracted" in poses.source[0]


def test_its_second_annotation_is_read_as_it_is(tmp_path: Path) -> None:
    np.save(tmp_path / "again.npy", FACES.transpose(0, 2, 1))
    np.testing.assert_array_equal(read_poses(tmp_path / "again.npy").keypoints, FACES)


def test_original_faces_and_their_cut_outs(tmp_path: Path) -> None:
    path = write_npz(
        tmp_path / "testset.npz",
        name=np.array(["image_0001", "image_0002"]),
        landmarks_original0=FACES,
        landmarks_crop192=FACES / 4,
        image_wh=np.array([[300, 280], [100, 280]]),
    )
    poses = read_poses(path)
    np.testing.assert_array_equal(poses.keypoints, FACES)
    assert poses.image_size.tolist() == [[300, 280], [100, 280]]
    assert poses.groups is None
    assert (poses.visibility[0] == 2).all()
    assert (poses.visibility[1] == 1).all()
    crops = read_face_arrays(path, crops=True)
    np.testing.assert_array_equal(crops.keypoints, FACES / 4)
    assert crops.image_size.tolist() == [[192, 192]] * 2
    assert crops.image_ids == (
        "testset_crops192/image_0001.jpg",
        "testset_crops192/image_0002.jpg",
    )


def test_frames_of_a_person_belong_together(tmp_path: Path) -> None:
    path = write_npz(
        tmp_path / "training.npz",
        name=np.array(["Luis_Fonsi_21.jpg", "Ann_Veneman_00.jpg"]),
        landmarks_original=FACES,
    )
    poses = read_poses(path)
    assert poses.groups == ("Luis_Fonsi", "Ann_Veneman")
    assert poses.image_size.tolist() == [[135, 136], [271, 272]]
    with pytest.raises(DataFormatError, match="landmarks_crop: the array is missing"):
        read_face_arrays(path, crops=True)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 68, 2)),
        np.zeros((2, 3, 49)),
        np.zeros((2, 2, 68), dtype=bool),
        np.full((1, 2, 68), np.nan),
        np.array({"a": 1}, dtype=object),
    ],
    ids=["order", "points", "type", "nan", "object"],
)
def test_other_arrays_are_refused(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(DataFormatError, match=r"a\.npy"):
        read_poses(tmp_path / "a.npy", "face-arrays")


def test_an_array_that_announces_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (10**9, 2, 68)}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(4 * 136))
    with pytest.raises(DataFormatError, match="cut short: 136 numbers"):
        read_poses(tmp_path / "a.npy", "face-arrays")


@pytest.mark.data
def test_both_annotations_of_aflw_lie_in_one_place(find_data: Callable[[str], Path]) -> None:
    model = read_poses(find_data("aflw2000_pts/AFLW2000-3D.pts68.npy"))
    again = read_poses(find_data("aflw2000_pts/AFLW2000-3D-Reannotated.pts68.npy"))
    assert len(model) == len(again) == 2000
    between = np.median(model.keypoints - again.keypoints, axis=(0, 1))
    assert np.abs(between).max() < 0.25  # a pixel more without the subtraction


@pytest.mark.data
@pytest.mark.parametrize("name", ["lfpw68/testset", "youtube_faces68/test"])
def test_cut_outs_have_the_names_of_their_files(
    find_data: Callable[[str], Path], name: str
) -> None:
    path = find_data(f"{name}.npz")
    crops = read_face_arrays(path, crops=True)
    assert crops.image_ids is not None
    assert (path.parent / crops.image_ids[0]).is_file()
    assert (crops.visibility == 2).all()
