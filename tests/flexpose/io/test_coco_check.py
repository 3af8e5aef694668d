from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from flexpose.errors import DataFormatError
from flexpose.io import CocoDataset
from flexpose.io.coco import coco_document
from flexpose.io.coco_check import check_coco
from flexpose.poseset import PoseSet

Edit = Callable[[dict[str, Any]], object]


@pytest.fixture
def clean(poses: PoseSet) -> dict[str, Any]:
    return json.loads(json.dumps(coco_document(CocoDataset(poses=poses))[0]))


def first(key: str, **values: Any) -> Edit:
    return lambda d: d[key][0].update(values)


def lacking(key: str, name: str) -> Edit:
    return lambda d: d[key][0].pop(name)


def joint(index: int, value: Any) -> Edit:
    return lambda d: d["annotations"][0]["keypoints"].__setitem__(index, value)


RULES: list[tuple[Edit, str]] = [
    (lambda d: d.pop("info"), "info-missing"),
    (lambda d: d.pop("licenses"), "licenses-missing"),
    (lambda d: d.pop("annotations"), "missing"),
    (lacking("annotations", "num_keypoints"), "num-keypoints"),
    (first("annotations", num_keypoints=2), "num-keypoints"),
    (lacking("annotations", "area"), "area"),
    (first("annotations", area=0), "area"),
    (first("annotations", area=5), "area-box"),
    (lacking("annotations", "bbox"), "bbox-missing"),
    (first("annotations", bbox=[1, 1, 0, 0], area=0), "bbox-empty"),
    (first("annotations", bbox=[1, 1, 99, 99]), "bbox-outside"),
    (first("annotations", bbox=[1, 1, 2, 2]), "bbox-joints"),
    (lacking("annotations", "iscrowd"), "iscrowd-missing"),
    (first("annotations", iscrowd=1), "iscrowd"),
    (lacking("annotations", "segmentation"), "segmentation-missing"),
    (first("annotations", score="high"), "score"),
    (first("annotations", score=1.5), "score-range"),
    (first("annotations", keypoint_scores=[1, 1]), "keypoint-scores-length"),
    (first("annotations", keypoint_scores=[1, 1, -0.5]), "keypoint-scores"),
    (lacking("annotations", "id"), "annotation-id-missing"),
    (first("annotations", id=0), "annotation-id"),
    (first("annotations", id="1"), "annotation-id"),
    (first("annotations", id=2), "annotation-id-twice"),
    (first("annotations", image_id=9), "image-unknown"),
    (first("annotations", category_id=9), "category-unknown"),
    (first("annotations", keypoints=[1, 2, 2]), "keypoints-length"),
    (first("annotations", keypoints=[0] * 9, num_keypoints=0), "no-joints"),
    (first("annotations", score="high"), "score"),
    (first("annotations", flexpose={"source": "guess"}), "provenance"),
    (joint(0, float("nan")), "keypoint-number"),
    (joint(0, None), "keypoint-number"),
    (joint(0, 99), "joint-outside"),
    (joint(0, 10.123), "decimals"),
    (joint(2, 3), "visibility"),
    (joint(2, 2.0), "visibility-float"),
    (joint(2, 0), "position-unlabelled"),
    (first("categories", id=0), "category-id"),
    (lacking("categories", "supercategory"), "category-name"),
    (lacking("categories", "keypoints"), "joints-missing"),
    (first("categories", keypoints=["a", "a", "b"]), "joint-twice"),
    (lacking("categories", "skeleton"), "edges-missing"),
    (first("categories", skeleton=[[0, 1]]), "edge-from-0"),
    (first("categories", skeleton=[[1, 9]]), "edge"),
    (lambda d: d["categories"].append({"id": 2, "name": "ball"}), "category-count"),
    (first("images", id="1"), "image-id"),
    (first("images", id=2), "image-id-twice"),
    (lacking("images", "file_name"), "file-name-missing"),
    (lacking("images", "width"), "image-size-missing"),
    (first("images", file_name="a\\one.png"), "backslash"),
    (first("images", file_name="/one.png"), "file-name-path"),
    (first("images", file_name="../one.png"), "file-name-path"),
    (first("images", file_name="b/two.png"), "file-name-twice"),
    (first("images", file_name="b/two.jpg"), "stem-twice"),
]


@pytest.mark.parametrize(("edit", "code"), RULES)
def test_each_rule_is_seen_and_says_what_to_do(
    edit: Edit, code: str, clean: dict[str, Any]
) -> None:
    edit(clean)
    found = [finding for finding in check_coco(clean) if finding.code == code]
    assert found
    assert all(finding.message and finding.remedy for finding in found)


def test_a_file_of_ours_has_no_findings(clean: dict[str, Any], tmp_path: Path) -> None:
    assert check_coco(clean) == []
    path = tmp_path / "c.json"
    path.write_text(json.dumps(clean))
    assert check_coco(path) == []


def test_findings_name_image_annotation_and_joint(clean: dict[str, Any]) -> None:
    clean["annotations"][2]["keypoints"][3] = -5
    (finding,) = [f for f in check_coco(clean) if f.code == "joint-outside"]
    assert (finding.image, finding.annotation, finding.joint) == ("b/two.png", "3", "left_hand")


def test_images_are_compared_with_their_files(clean: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    cv2.imwrite(str(tmp_path / "a" / "one.png"), np.zeros((48, 60, 3), np.uint8))
    codes = {finding.code: finding for finding in check_coco(clean, tmp_path)}
    assert set(codes) == {"image-size", "image-file"}
    assert codes["image-size"].message == "the file is 60 x 48, not 64 x 48"
    assert codes["image-file"].image == "b/two.png"


@pytest.mark.parametrize("content", [b"[1]", b"{", b"\xff"])
def test_what_is_no_document_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_bytes(content)
    with pytest.raises(DataFormatError):
        check_coco(path)
