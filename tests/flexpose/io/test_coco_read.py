from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from flexpose.errors import DataFormatError, SkeletonMismatchError
from flexpose.io import CocoDataset, read_coco, read_poses, write_coco
from flexpose.io.coco import coco_document
from flexpose.poseset import PoseSet
from flexpose.skeleton import load_skeleton

Edit = Callable[[dict[str, Any]], object]


@pytest.fixture
def clean(poses: PoseSet) -> dict[str, Any]:
    return json.loads(json.dumps(coco_document(CocoDataset(poses=poses))[0]))


def read(document: Any, folder: Path, **options: Any) -> CocoDataset:
    path = folder / "file.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return read_coco(path, **options)


def each(key: str, **values: Any) -> Edit:
    return lambda d: [entry.update(values) for entry in d[key]]


def without(key: str, *names: str) -> Edit:
    return lambda d: [entry.pop(name) for entry in d[key] for name in names]


REPAIRS: list[tuple[Edit, str]] = [
    (lambda d: [a.update(id=i) for i, a in enumerate(d["annotations"])], "annotation ids"),
    (lambda d: [a.update(id=f"n{i}") for i, a in enumerate(d["annotations"])], "annotation ids"),
    (without("annotations", "id"), "annotation ids"),
    (without("annotations", "category_id"), "category_id"),
    (without("annotations", "num_keypoints"), "num_keypoints"),
    (each("annotations", num_keypoints=9), "num_keypoints"),
    (without("annotations", "area"), "area"),
    (each("annotations", area=0), "area"),
    (without("annotations", "iscrowd"), "iscrowd"),
    (without("annotations", "segmentation"), "segmentation"),
    (without("annotations", "bbox"), "bbox"),
    (each("annotations", bbox=[1, 1, 0, 0]), "bbox"),
    (each("annotations", bbox=[1, 1, 5, float("nan")]), "bbox"),
    (lambda d: d.pop("info"), "info"),
    (lambda d: d.pop("licenses"), "licenses"),
    (
        lambda d: [
            a["keypoints"].__setitem__(2, float(a["keypoints"][2])) for a in d["annotations"]
        ],
        "decimal point",
    ),
    (
        lambda d: [e.update(file_name=e["file_name"].replace("/", "\\")) for e in d["images"]],
        "backslashes",
    ),
    (
        lambda d: (
            [c.update(id=0) for c in d["categories"]]
            + [a.update(category_id=0) for a in d["annotations"]]
        ),
        "category id",
    ),
    (lambda d: d["annotations"][1]["keypoints"].__setitem__(slice(3, 5), [7, 7]), "v is 0"),
]


@pytest.mark.parametrize(("edit", "word"), REPAIRS)
def test_repairs_are_reported_and_the_poses_are_the_same(
    edit: Edit, word: str, clean: dict[str, Any], poses: PoseSet, tmp_path: Path
) -> None:
    edit(clean)
    data = read(clean, tmp_path)
    assert any(word in repair for repair in data.repairs), data.repairs
    assert np.array_equal(data.poses.keypoints, poses.keypoints, equal_nan=True)
    assert np.array_equal(data.poses.visibility, poses.visibility)
    assert data.poses.image_ids == poses.image_ids
    write_coco(data, tmp_path / "again.json")
    mended = read_coco(tmp_path / "again.json")
    assert not any(word in repair for repair in mended.repairs)


def test_image_ids_as_text_are_numbered(clean: dict[str, Any], tmp_path: Path) -> None:
    for entry in clean["images"]:
        entry["id"] = f"img{entry['id']}"
    for entry in clean["annotations"]:
        entry["image_id"] = f"img{entry['image_id']}"
    data = read(clean, tmp_path)
    assert [image.id for image in data.images] == [1, 2]
    assert data.poses.image_ids == ("a/one.png", "a/one.png", "b/two.png")
    assert any("image ids" in repair for repair in data.repairs)


def test_nan_is_read_as_not_labelled(clean: dict[str, Any], tmp_path: Path) -> None:
    clean["annotations"][0]["keypoints"][0] = float("nan")
    data = read(clean, tmp_path)
    assert data.poses.visibility[0].tolist() == [0, 2, 1]
    assert any("image 1, annotation 1, head" in repair for repair in data.repairs)


def test_image_size_comes_from_the_file_or_from_the_labels(
    clean: dict[str, Any], tmp_path: Path
) -> None:
    for entry in clean["images"]:
        del entry["width"], entry["height"]
    guessed = read(clean, tmp_path)
    assert guessed.poses.image_size.tolist() == [[62, 43], [62, 43], [64, 48]]
    assert "the smallest" in " ".join(guessed.repairs)
    for entry in clean["images"]:
        file = tmp_path / entry["file_name"]
        file.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(file), np.zeros((60, 80, 3), np.uint8))
    seen = read(clean, tmp_path, image_root=tmp_path)
    assert seen.poses.image_size.tolist() == [[80, 60]] * 3
    assert "read from the file" in " ".join(seen.repairs)


def test_category_without_joint_names_gets_numbers(clean: dict[str, Any], tmp_path: Path) -> None:
    (category,) = clean["categories"]
    del category["keypoints"], category["flexpose"]
    category["skeleton"] = []
    data = read(clean, tmp_path)
    assert data.poses.skeleton.joints == ("joint_1", "joint_2", "joint_3")
    assert any("joint_1" in repair for repair in data.repairs)


def test_edges_from_0_are_recognised(clean: dict[str, Any], tmp_path: Path) -> None:
    clean["categories"][0]["skeleton"] = [[0, 1], [0, 2]]
    data = read(clean, tmp_path)
    assert data.poses.skeleton.edges == ((0, 1), (0, 2))
    assert any("count from 0" in repair for repair in data.repairs)


def test_several_people_in_an_image_are_kept_and_said(
    clean: dict[str, Any], tmp_path: Path
) -> None:
    data = read(clean, tmp_path)
    assert len(data.poses) == 3
    assert data.repairs == ("image 1, annotation 2: several poses in one image; all kept",)


def test_annotation_without_joints_is_left_out_and_its_image_kept(
    clean: dict[str, Any], tmp_path: Path
) -> None:
    clean["annotations"][2]["keypoints"] = [0] * 9
    data = read(clean, tmp_path)
    assert len(data.poses) == 2
    assert len(data.images) == 2
    assert any("left out" in repair for repair in data.repairs)


def test_shipped_skeleton_is_recognised_by_its_joint_names(tmp_path: Path) -> None:
    coco17 = load_skeleton("coco17")
    poses = PoseSet.create(coco17, np.full((1, 17, 2), 5.0), (9, 9))
    clean = json.loads(json.dumps(coco_document(CocoDataset(poses=poses))[0]))
    (category,) = clean["categories"]
    del category["flexpose"]
    category["skeleton"] = [[16, 14], [14, 12]]
    data = read(clean, tmp_path)
    assert data.poses.skeleton == coco17
    assert any("edges replaced" in repair for repair in data.repairs)
    shuffled = copy.deepcopy(clean)
    shuffled["categories"][0]["keypoints"] = list(coco17.joints[::-1])
    other = read(shuffled, tmp_path).poses.skeleton
    assert other.joints == coco17.joints[::-1]
    assert other.symmetric_pairs[0] == (
        other.index("left_ankle"),
        other.index("right_ankle"),
    )


def test_joints_are_matched_by_name_with_a_wanted_skeleton(tmp_path: Path) -> None:
    coco17 = load_skeleton("coco17")
    points = np.random.default_rng(0).uniform(0, 90, (1, 17, 2))
    write_coco(PoseSet.create(coco17, points, (100, 100)), tmp_path / "c.json")
    body = read_coco(tmp_path / "c.json", skeleton=load_skeleton("body15")).poses
    left = body.skeleton.index("left_wrist")
    assert np.allclose(body.keypoints[0, left], points[0, coco17.index("left_wrist")], atol=0.01)
    with pytest.raises(SkeletonMismatchError):
        read_coco(tmp_path / "c.json", skeleton=load_skeleton("face68"))


def test_a_score_alone_is_that_of_every_labelled_joint(
    clean: dict[str, Any], tmp_path: Path
) -> None:
    each("annotations", score=0.5)(clean)
    data = read(clean, tmp_path)
    assert data.poses.confidence is not None
    assert data.poses.confidence.tolist() == [[0.5] * 3, [0.5, 0, 0.5], [0.5] * 3]
    del clean["annotations"][0]["score"]
    data = read(clean, tmp_path)
    assert data.poses.confidence is None
    assert [detail.score for detail in data.annotations] == [None, 0.5, 0.5]


@pytest.mark.parametrize("scores", [[0.5] * 2, [0.5, 0.5, 1.5], [0.5, 0.5, None], "x"])
def test_scores_that_do_not_fit_are_kept_but_not_used(
    scores: object, clean: dict[str, Any], tmp_path: Path
) -> None:
    each("annotations", score=0.5, keypoint_scores=[0.25, 0.5, 0.75])(clean)
    clean["annotations"][2]["keypoint_scores"] = scores
    data = read(clean, tmp_path)
    assert data.poses.confidence is None
    assert any("image 2, annotation 3: scores that are not" in line for line in data.repairs)
    written = coco_document(data)[0]["annotations"]
    assert [entry["keypoint_scores"] for entry in written] == [[0.25, 0.5, 0.75]] * 2 + [scores]


REFUSALS: list[tuple[Edit, str]] = [
    (lambda d: d["annotations"][0]["keypoints"].pop(), "image 1, annotation 1: found 8 keypoint"),
    (lambda d: d["annotations"][0].pop("keypoints"), "no keypoint values"),
    (lambda d: d["annotations"][0]["keypoints"].__setitem__(0, "x"), "no number"),
    (lambda d: d["annotations"][0]["keypoints"].__setitem__(2, 3), "head: found the visibility 3"),
    (lambda d: d["annotations"][0].update(image_id=77), "image 77, annotation 1: unknown image_id"),
    (lambda d: d["annotations"][0].update(category_id=5), "unknown category_id 5"),
    (each("annotations", id=4), "annotation 4: found this annotation id twice"),
    (each("images", id=1), "image 1: found this image id twice"),
    (each("images", file_name="same.png"), "file name twice"),
    (without("images", "file_name"), "file_name"),
    (without("images", "id"), "no id"),
    (lambda d: d.pop("images"), "images"),
    (lambda d: d.update(annotations={}), "annotations"),
    (lambda d: d.update(images=[3]), "no JSON object"),
    (
        lambda d: (
            d["categories"].append({"id": 2, "name": "b", "keypoints": ["x"]})
            or d["annotations"][0].update(category_id=2)
        ),
        "Name the category",
    ),
    (lambda d: d["categories"][0].update(keypoints=["a", "a", "b"]), "same name"),
    (lambda d: d["categories"][0].update(keypoints=[1, 2, 3]), "joint names"),
    (lambda d: d["categories"][0].update(skeleton=[[1, 9]]), "edge"),
    (lambda d: d["categories"][0].update(skeleton=[[0, 3]]), "joints 0 and 3"),
    (lambda d: d["categories"][0]["flexpose"].update(symmetric_pairs=5), "expected a list"),
    (lambda d: d["annotations"][0].update(score="high"), "score"),
]


@pytest.mark.parametrize(("edit", "message"), REFUSALS)
def test_refusals_name_the_place(
    edit: Edit, message: str, clean: dict[str, Any], tmp_path: Path
) -> None:
    edit(clean)
    with pytest.raises(DataFormatError, match=message):
        read(clean, tmp_path)


@pytest.mark.parametrize("content", ["[]", "{", '"text"', "", "[" * 100_000])
def test_other_json_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text(content)
    with pytest.raises(DataFormatError):
        read_coco(path)


def test_category_is_chosen_by_name(clean: dict[str, Any], tmp_path: Path) -> None:
    clean["categories"].append({"id": 2, "name": "other", "keypoints": ["x"]})
    clean["annotations"][0].update(category_id=2, keypoints=[1, 1, 2])
    assert len(read(clean, tmp_path, category="puppet").poses) == 2
    other = read(clean, tmp_path, category="other")
    assert other.poses.skeleton.joints == ("x",)
    assert any("another category" in repair for repair in other.repairs)


def test_unknown_fields_survive_a_read_and_a_write(clean: dict[str, Any], tmp_path: Path) -> None:
    clean["videos"] = [{"id": 1}]
    clean["images"][0]["license"] = 1
    clean["categories"][0].update(color="#fff", supercategory="toy")
    clean["categories"][0]["flexpose"]["template"] = [1, 2]
    clean["annotations"][0].update(
        attributes={"hard": True}, iscrowd=1, segmentation=[[1, 1, 2, 2, 3, 1]], area=12.5
    )
    clean["annotations"][0]["flexpose"]["note"] = "ask"
    write_coco(read(clean, tmp_path), tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text()) == clean


def test_byte_order_mark_is_no_obstacle(clean: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "bom.json"
    path.write_text(json.dumps(clean), encoding="utf-8-sig")
    assert len(read_poses(path)) == 3
