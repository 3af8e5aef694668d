from __future__ import annotations

import errno
import itertools
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flexpose.errors import DataFormatError
from flexpose.io import CocoAnnotation, CocoDataset, CocoImage, read_coco, write_coco
from flexpose.io.coco import coco_document, coco_results
from flexpose.poseset import PoseSet
from flexpose.skeleton import Skeleton, load_skeleton


def document(poses: PoseSet, **fields: object) -> dict:
    return coco_document(CocoDataset(poses=poses, **fields))[0]


def test_one_pose_by_hand(trio: Skeleton) -> None:
    poses = PoseSet(
        skeleton=trio,
        keypoints=[[[10, 10], [20.256, 30], [0, 0]]],
        visibility=[[2, 1, 0]],
        image_size=(64, 48),
        image_ids=("a.png",),
    )
    written = document(poses)
    assert written["images"] == [{"id": 1, "file_name": "a.png", "width": 64, "height": 48}]
    # joints span 10.26 x 20, padded by 1.026 (rounded) and 2 on each side
    assert written["annotations"] == [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 1,
            "keypoints": [10, 10, 2, 20.26, 30, 1, 0, 0, 0],
            "num_keypoints": 2,
            "bbox": [8.97, 8, 12.32, 24],
            "area": 295.68,
            "iscrowd": 0,
            "segmentation": [],
            "flexpose": {"source": "manual", "reviewed": True},
        }
    ]
    (category,) = written["categories"]
    assert category["id"] == 1
    assert category["name"] == category["supercategory"] == "puppet"
    assert category["keypoints"] == ["head", "left_hand", "right_hand"]
    assert category["skeleton"] == [[1, 2], [1, 3]]
    assert category["flexpose"]["symmetric_pairs"] == [["left_hand", "right_hand"]]
    assert written["info"]["flexpose"]["coordinates"].startswith("pixels; (0, 0) is the centre")
    assert written["licenses"][0]["id"] == 1


def test_all_visibilities_survive(tmp_path: Path, trio: Skeleton) -> None:
    flags = np.array([v for v in itertools.product((0, 1, 2), repeat=3) if any(v)])
    points = np.random.default_rng(1).integers(0, 40, (len(flags), 3, 2))
    poses = PoseSet(skeleton=trio, keypoints=points, visibility=flags, image_size=(64, 48))
    write_coco(poses, tmp_path / "v.json")
    back = read_coco(tmp_path / "v.json")
    assert back.repairs == ()
    assert np.array_equal(back.poses.visibility, flags)
    assert np.array_equal(back.poses.keypoints, poses.keypoints, equal_nan=True)


@pytest.mark.parametrize("point", [(0, 0), (63, 47), (0, 47), (31.5, 20)])
def test_one_joint_gets_a_box_with_an_area_inside_the_image(
    point: tuple[float, float], trio: Skeleton
) -> None:
    poses = PoseSet(
        skeleton=trio,
        keypoints=[[point, (0, 0), (0, 0)]],
        visibility=[[2, 0, 0]],
        image_size=(64, 48),
    )
    (entry,) = document(poses)["annotations"]
    x, y, w, h = entry["bbox"]
    assert 0 <= x < x + w <= 64
    assert 0 <= y < y + h <= 48
    assert x <= point[0] <= x + w
    assert y <= point[1] <= y + h
    assert entry["area"] == pytest.approx(w * h, abs=0.01)


def test_boxes_of_the_poses_are_kept_clipped_and_replaced_when_empty(poses: PoseSet) -> None:
    boxes = [[-4, 2, 20, 30], [np.nan, 0, 1, 1], [50, 40, 100, 100]]
    entries = document(replace(poses, boxes=np.array(boxes)))["annotations"]
    assert entries[0]["bbox"] == [0, 2, 16, 30]
    assert entries[1]["bbox"] == document(poses)["annotations"][1]["bbox"]
    assert entries[2]["bbox"] == [50, 40, 14, 8]
    assert entries[2]["area"] == 112


def test_joints_outside_the_image_are_clipped_and_reported(trio: Skeleton) -> None:
    points = [[[-3, 5], [70, 60], [5, 5]]]
    poses = PoseSet.create(trio, points, (64, 48), image_ids=("a.png",))
    written, notes = coco_document(CocoDataset(poses=poses))
    assert written["annotations"][0]["keypoints"] == [0, 5, 2, 63, 47, 2, 5, 5, 2]
    assert len(notes) == 1
    assert "outside the image" in notes[0]
    assert "2 times, first image 'a.png', head" in notes[0]


def test_pose_without_joints_keeps_its_image_only(trio: Skeleton) -> None:
    poses = PoseSet.create(trio, np.full((1, 3, 2), np.nan), (64, 48), image_ids=("a.png",))
    written, notes = coco_document(CocoDataset(poses=poses))
    assert written["annotations"] == []
    assert [image["file_name"] for image in written["images"]] == ["a.png"]
    assert "no labelled joint" in notes[0]


def test_images_without_poses_keep_their_place(tmp_path: Path, poses: PoseSet) -> None:
    images = tuple(
        CocoImage(name=name, width=64, height=48) for name in ("é/zwei Wörter.png", "b/two.png")
    )
    write_coco(CocoDataset(poses=poses, images=images), tmp_path / "c.json")
    back = read_coco(tmp_path / "c.json")
    assert [i.name for i in back.images] == ["é/zwei Wörter.png", "b/two.png", "a/one.png"]
    assert back.poses.image_ids == poses.image_ids
    assert "é/zwei Wörter.png".encode() in (tmp_path / "c.json").read_bytes()


def test_ids_are_kept_and_new_ones_follow(poses: PoseSet) -> None:
    details = (CocoAnnotation(id=7), CocoAnnotation(), CocoAnnotation(id=3))
    images = (CocoImage(name="b/two.png", width=64, height=48, id=9),)
    written = document(poses, annotations=details, images=images)
    assert [entry["id"] for entry in written["annotations"]] == [7, 8, 3]
    assert [entry["image_id"] for entry in written["annotations"]] == [10, 10, 9]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"annotations": (CocoAnnotation(id=1),) * 3}, "doubles"),
        ({"annotations": (CocoAnnotation(id=0),) * 3}, "doubles or numbers below 1"),
        ({"annotations": (CocoAnnotation(),)}, "1 annotations for 3 poses"),
        ({"images": (CocoImage(name="a/one.png", width=5, height=5),)}, "two sizes"),
        ({"images": (CocoImage(name="c.png", width=0, height=5),)}, "positive"),
        ({"images": (CocoImage(name="/c.png", width=5, height=5),)}, "absolute"),
        ({"images": (CocoImage(name="C:\\c.png", width=5, height=5),)}, "absolute"),
        ({"images": (CocoImage(name="c", width=5, height=5),) * 2}, "same name"),
        ({"fields": {"x": float("nan")}}, "JSON"),
    ],
)
def test_writer_refuses_what_breaks_the_format(
    tmp_path: Path, poses: PoseSet, change: dict, message: str
) -> None:
    with pytest.raises(DataFormatError, match=message):
        write_coco(CocoDataset(poses=poses, **change), tmp_path / "c.json")
    assert list(tmp_path.iterdir()) == []


def test_backslashes_become_slashes_with_a_note(tmp_path: Path, poses: PoseSet) -> None:
    renamed = replace(poses, image_ids=("a\\1.png", "a\\1.png", "b.png"))
    notes = write_coco(renamed, tmp_path / "c.json")
    assert "backslashes" in notes[0]
    assert read_coco(tmp_path / "c.json").poses.image_ids == ("a/1.png", "a/1.png", "b.png")


def test_full_disk_and_backup(
    tmp_path: Path, poses: PoseSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.json"
    write_coco(poses, path)
    old = path.read_bytes()
    write_coco(poses[:1], path)
    assert (tmp_path / "c.json.bak").read_bytes() == old
    new = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataFormatError, match="No space left"):
        write_coco(poses, path)
    assert path.read_bytes() == new
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.json", "c.json.bak"]


@pytest.mark.parametrize("count", [1, 5, 17, 68])
def test_skeletons_of_any_size_and_without_edges(tmp_path: Path, count: int) -> None:
    shipped = {17: "coco17", 68: "face68"}
    skeleton = (
        load_skeleton(shipped[count])
        if count in shipped
        else Skeleton(name="dots", joints=tuple(f"p{i}" for i in range(count)), edges=())
    )
    points = np.random.default_rng(0).uniform(0, 99, (4, count, 2)).round(2)
    poses = PoseSet.create(skeleton, points, (100, 100))
    write_coco(poses, tmp_path / "c.json")
    back = read_coco(tmp_path / "c.json")
    assert back.poses.skeleton == skeleton
    assert back.repairs == ()
    assert np.array_equal(back.poses.keypoints, poses.keypoints)


def test_numbers_are_plain(tmp_path: Path, poses: PoseSet) -> None:
    write_coco(replace(poses, keypoints=poses.keypoints + np.float32(0.1)), tmp_path / "c.json")
    text = (tmp_path / "c.json").read_text()
    assert "NaN" not in text
    assert '"keypoints": [10.1, 10.1, 2, 20.35, 30.1, 2, 30.1, 30.85, 1]' in text
    json.loads(text)


SURE = [[0.9, 0.80004, 0.4], [1, 0, 0.5], [0.25, 0.25, 0.25]]


def test_scores_are_written_by_joint_and_as_their_mean(poses: PoseSet) -> None:
    entries = document(replace(poses, confidence=SURE))["annotations"]
    assert [entry["score"] for entry in entries] == [0.7, 0.75, 0.25]
    assert entries[0]["keypoint_scores"] == [0.9, 0.8, 0.4]
    assert entries[1]["keypoint_scores"] == [1, 0, 0.5]
    assert "keypoint_scores" not in entries[2]  # the score says it all
    own = CocoAnnotation(score=0.125)
    entries = document(replace(poses, confidence=SURE), annotations=(own,) * 3)["annotations"]
    assert [entry["score"] for entry in entries] == [0.125] * 3
    assert entries[2]["keypoint_scores"] == [0.25] * 3


def test_scores_come_back_and_keep_the_bytes(tmp_path: Path, poses: PoseSet) -> None:
    first, second = tmp_path / "1.json", tmp_path / "2.json"
    write_coco(replace(poses, confidence=SURE), first)
    back = read_coco(first)
    assert back.poses.confidence is not None
    assert np.allclose(back.poses.confidence, SURE, atol=5e-5)
    assert not any("score" in repair for repair in back.repairs)
    write_coco(back, second)
    assert first.read_bytes() == second.read_bytes()
    assert coco_results(back)[1]["score"] == 0.75


def test_results_list_carries_the_score(poses: PoseSet) -> None:
    details = (CocoAnnotation(score=0.25), CocoAnnotation(), CocoAnnotation())
    results = coco_results(CocoDataset(poses=poses, annotations=details))
    assert [set(entry) for entry in results] == [
        {"image_id", "category_id", "keypoints", "score"}
    ] * 3
    assert [entry["score"] for entry in results] == [0.25, 1, 1]
