from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from flexpose.errors import DataFormatError, UnknownNameError
from flexpose.io import base, formats, read_poses, write_poses
from flexpose.poseset import PoseSet


def names_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_backup_keeps_the_labels_of_before(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    base.atomic_write_text(path, "old", backup=True)
    base.atomic_write_text(path, "new", backup=True)
    assert path.read_text() == "new"
    assert (tmp_path / "labels.json.bak").read_text() == "old"
    assert names_in(tmp_path) == ["labels.json", "labels.json.bak"]


@pytest.mark.parametrize("backup", [False, True])
def test_full_disk_leaves_the_old_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backup: bool
) -> None:
    path = tmp_path / "labels.json"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataFormatError, match="No space left") as caught:
        base.atomic_write_text(path, "new", backup=backup)
    assert "unchanged" in str(caught.value)
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["labels.json"]


def test_interrupt_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), base.atomic_open(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["labels.json"]


def test_a_link_goes_on_pointing_at_the_labels(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("old")
    link = tmp_path / "link.json"
    link.symlink_to(tmp_path / "real.json")
    base.atomic_write_text(link, "new")
    assert link.is_symlink()
    assert (tmp_path / "real.json").read_text() == "new"


def test_every_format_has_its_own_name_and_is_found() -> None:
    assert set(formats()) >= {
        "coco",
        "npz",
        "zarr",
        "coco-npz",
        "jhmdb",
        "mocap",
        "mpii",
        "lsp",
        "penn",
    }


def test_unknown_file_names_the_known_formats(tmp_path: Path) -> None:
    path = tmp_path / "poses.txt"
    path.write_text("1 2 3")
    with pytest.raises(DataFormatError, match="coco, coco-npz"):
        read_poses(path)
    with pytest.raises(UnknownNameError, match="Did you mean 'coco'"):
        read_poses(path, "cocoo")
    with pytest.raises(DataFormatError, match="does not exist"):
        read_poses(tmp_path / "absent.json")


def test_ambiguous_file_asks_for_the_format(tmp_path: Path) -> None:
    path = tmp_path / "both.npz"
    members = ("header", "keypoints", "visibility", "image_size", "xyz", "clip", "parents")
    np.savez(path, **{name: np.zeros(1) for name in members})
    with pytest.raises(DataFormatError, match="mocap or npz"):
        read_poses(path)


@pytest.mark.parametrize("name", sorted(formats()))
def test_foreign_files_are_refused_in_a_sentence(tmp_path: Path, name: str) -> None:
    for suffix, content in ((".json", b"\xff\xfe{"), (".npz", b"PK\x03\x04"), (".mat", b"")):
        path = tmp_path / f"foreign{suffix}"
        path.write_bytes(content)
        with pytest.raises(DataFormatError):
            read_poses(path, name)
        assert not formats()[name].sniff(tmp_path / "absent")
    with pytest.raises(DataFormatError):
        read_poses(tmp_path, name)


def test_suffix_chooses_the_writer(tmp_path: Path, poses: PoseSet) -> None:
    for name in ("poses.json", "poses.npz"):
        write_poses(poses, tmp_path / name)
        assert len(read_poses(tmp_path / name)) == len(poses)
    with pytest.raises(DataFormatError, match=r"\.json"):
        write_poses(poses, tmp_path / "poses.csv")
    with pytest.raises(DataFormatError):
        write_poses(poses, tmp_path / "poses.csv", "mpii")


def test_size_of_unseen_images_holds_all_joints_of_all_people() -> None:
    keypoints = np.array([[[3.2, 1]], [[np.nan, np.nan]], [[1, 7.9]]])
    sizes, note = base.sizes_of_images(["a", "b", "a"], keypoints, None)
    assert sizes.tolist() == [[4, 8], [1, 1], [4, 8]]
    assert "unknown" in note


def test_exif_rotation_turns_the_size(tmp_path: Path) -> None:
    import cv2

    _, jpeg = cv2.imencode(".jpg", np.zeros((4, 6, 3), np.uint8))
    # one EXIF entry: orientation (0x0112), a short, 6: turn by 90 degrees
    tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    block = b"Exif\0\0" + tiff
    turned = b"\xff\xd8\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block
    for name, data in (("plain.jpg", jpeg.tobytes()), ("é.jpg", turned + jpeg.tobytes()[2:])):
        (tmp_path / name).write_bytes(data)
    assert base.image_size(tmp_path / "plain.jpg") == (6, 4)
    assert base.image_size(tmp_path / "é.jpg") == (4, 6)
    with pytest.raises(DataFormatError):
        base.image_size(tmp_path / "absent.jpg")
