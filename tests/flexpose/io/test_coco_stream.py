from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from flexpose.errors import DataFormatError, SkeletonMismatchError
from flexpose.io import CocoAnnotation, CocoDataset, read_coco, write_coco
from flexpose.io.coco_stream import CocoStreamWriter
from flexpose.poseset import PoseSet
from flexpose.skeleton import Skeleton, load_skeleton


def generated(skeleton: Skeleton, count: int) -> PoseSet:
    points = np.random.default_rng(0).uniform(0, 63, (count, skeleton.num_joints, 2))
    return PoseSet.create(skeleton, points, (64, 64), source=("model m",))


def test_blocks_give_the_bytes_of_one_write(tmp_path: Path, trio: Skeleton) -> None:
    poses = generated(trio, 10)
    detail = CocoAnnotation(source="synthetic", reviewed=False, model="m", seed=3)
    with CocoStreamWriter(tmp_path / "s.json", trio, detail=detail, history=poses.source) as writer:
        for start in (0, 4, 8):
            writer.append(poses[start : start + 4])
    assert writer.count == 10
    write_coco(CocoDataset(poses=poses, annotations=(detail,) * 10), tmp_path / "w.json")
    assert (tmp_path / "s.json").read_bytes() == (tmp_path / "w.json").read_bytes()
    back = read_coco(tmp_path / "s.json")
    assert back.repairs == ()
    assert back.images[0].name == "synthetic/000000001.png"
    assert back.annotations[9] == CocoAnnotation(
        id=10, source="synthetic", reviewed=False, model="m", seed=3
    )


def test_no_poses_still_give_a_file(tmp_path: Path, trio: Skeleton) -> None:
    with CocoStreamWriter(tmp_path / "s.json", trio):
        pass
    assert len(read_coco(tmp_path / "s.json").poses) == 0


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path, trio: Skeleton) -> None:
    path = tmp_path / "s.json"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), CocoStreamWriter(path, trio) as writer:
        writer.append(generated(trio, 3))
        raise KeyboardInterrupt
    assert [entry.name for entry in tmp_path.iterdir()] == ["s.json"]
    assert path.read_text() == "old"


def test_full_disk_leaves_nothing_behind(
    tmp_path: Path, trio: Skeleton, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def write(self, _: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with (
        pytest.raises(DataFormatError, match="No space left"),
        CocoStreamWriter(tmp_path / "s.json", trio) as writer,
    ):
        monkeypatch.setattr(writer, "_annotations", Full())
        writer.append(generated(trio, 3))
    assert list(tmp_path.iterdir()) == []


def test_missing_folder_is_said(tmp_path: Path, trio: Skeleton) -> None:
    with (
        pytest.raises(DataFormatError, match="cannot be written"),
        CocoStreamWriter(tmp_path / "absent" / "s.json", trio),
    ):
        pass


def test_foreign_poses_are_refused(tmp_path: Path, trio: Skeleton, poses: PoseSet) -> None:
    with CocoStreamWriter(tmp_path / "s.json", trio) as writer:
        with pytest.raises(SkeletonMismatchError):
            writer.append(generated(load_skeleton("body15"), 1))
        with pytest.raises(DataFormatError, match="belong to images"):
            writer.append(poses)


def test_clipped_joints_are_counted_with_the_number_of_the_pose(
    tmp_path: Path, trio: Skeleton
) -> None:
    outside = PoseSet.create(trio, np.full((1, 3, 2), 80.0), (64, 64))
    with CocoStreamWriter(tmp_path / "s.json", trio) as writer:
        writer.append(generated(trio, 5))
        writer.append(outside)
    assert "3 times, first pose 6, head" in writer.notes[0]
