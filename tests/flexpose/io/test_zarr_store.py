from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

from flexpose.errors import DataFormatError, PoseShapeError, SkeletonMismatchError
from flexpose.io import read_poses, write_poses
from flexpose.io.zarr_store import PoseStore
from flexpose.poseset import PoseSet
from flexpose.skeleton import Skeleton, load_skeleton


def generated(skeleton: Skeleton, count: int, seed: int = 0) -> PoseSet:
    random = np.random.default_rng(seed)
    points = random.uniform(0, 63, (count, skeleton.num_joints, 2))
    points[random.random(points.shape[:2]) < 0.1] = np.nan
    return PoseSet.create(skeleton, points, (64, 64))


def test_blocks_are_read_back_in_any_part(tmp_path: Path, trio: Skeleton) -> None:
    images = np.random.default_rng(0).integers(0, 255, (5, 8, 8, 3), dtype=np.uint8)
    poses = generated(trio, 5)
    store = PoseStore.create(
        tmp_path / "s.zarr",
        trio,
        image_shape=(8, 8),
        provenance={"seed": 3},
        source=["model m"],
    )
    store.append(poses[:2], images[:2])
    PoseStore.open(tmp_path / "s.zarr", writable=True).append(poses[2:], images[2:])
    back = PoseStore.open(tmp_path / "s.zarr")
    assert len(back) == 5
    assert (back.skeleton, back.provenance, back.source) == (trio, {"seed": 3}, ("model m",))
    assert np.array_equal(back.read().keypoints, poses.keypoints, equal_nan=True)
    assert np.array_equal(back.read(1, -1).visibility, poses.visibility[1:-1])
    plain = zarr.open_array(tmp_path / "s.zarr" / "images", mode="r")
    assert np.array_equal(plain[:], images)


def test_half_an_append_is_invisible_and_overwritten(
    tmp_path: Path, trio: Skeleton, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.zarr"
    store = PoseStore.create(path, trio)
    store.append(generated(trio, 4))

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(zarr.core.attributes.Attributes, "__setitem__", interrupted)
        store.append(generated(trio, 3, seed=1))
    assert zarr.open_array(path / "keypoints", mode="r").shape[0] == 7
    assert len(PoseStore.open(path).read()) == 4
    again = PoseStore.open(path, writable=True)
    assert again.keypoints.shape[0] == 4
    last = generated(trio, 2, seed=2)
    again.append(last)
    assert np.array_equal(PoseStore.open(path).read(4).keypoints, last.keypoints, equal_nan=True)


def test_lost_data_are_noticed(tmp_path: Path, trio: Skeleton) -> None:
    path = tmp_path / "s.zarr"
    PoseStore.create(path, trio).append(generated(trio, 4))
    for chunk in (path / "visibility" / "c").rglob("*"):
        if chunk.is_file():
            chunk.unlink()
    with pytest.raises(DataFormatError, match="damaged"):
        PoseStore.open(path).read()


def test_files_cut_short_are_refused_or_read_as_before(tmp_path: Path, trio: Skeleton) -> None:
    path = tmp_path / "s.zarr"
    poses = generated(trio, 40)
    PoseStore.create(path, trio).append(poses)
    for file in sorted(entry for entry in path.rglob("*") if entry.is_file()):
        whole = file.read_bytes()
        for share in (0, 0.3, 0.9):
            file.write_bytes(whole[: int(share * len(whole))])
            try:
                back = PoseStore.open(path).read()
            except DataFormatError:
                continue
            assert np.array_equal(back.keypoints, poses.keypoints, equal_nan=True), file
        file.write_bytes(whole)


def test_foreign_blocks_are_refused(tmp_path: Path, trio: Skeleton) -> None:
    store = PoseStore.create(tmp_path / "s.zarr", trio)
    with pytest.raises(SkeletonMismatchError):
        store.append(generated(load_skeleton("body15"), 1))
    with pytest.raises(PoseShapeError):
        store.append(generated(trio, 1), np.zeros((1, 8, 8, 3), np.uint8))
    with pytest.raises(DataFormatError, match="exists already"):
        PoseStore.create(tmp_path / "s.zarr", trio)


@pytest.mark.parametrize("text", ["", "{}", '{"zarr_format": 3, "node_type": "group"}'])
def test_other_folders_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "s.zarr").mkdir()
    (tmp_path / "s.zarr" / "zarr.json").write_text(text)
    with pytest.raises(DataFormatError):
        PoseStore.open(tmp_path / "s.zarr")
    with pytest.raises(DataFormatError):
        read_poses(tmp_path / "s.zarr")


def test_poses_are_written_whole_or_not_at_all(
    tmp_path: Path, trio: Skeleton, poses: PoseSet
) -> None:
    path = tmp_path / "s.zarr"
    with pytest.raises(DataFormatError, match="image_ids"):
        write_poses(poses, path)
    assert list(tmp_path.iterdir()) == []
    made = generated(trio, 3)
    write_poses(made, path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["s.zarr"]
    assert np.array_equal(read_poses(path).keypoints, made.keypoints, equal_nan=True)
    with pytest.raises(DataFormatError, match="exists already"):
        write_poses(made, path)
