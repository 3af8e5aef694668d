"""The real clients of COCO files as judges; each is skipped where it is not installed."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from flexpose.errors import DataFormatError, PoseShapeError
from flexpose.io import write_coco
from flexpose.io.coco_clients import installed_clients, run_clients
from flexpose.io.oks import oks, ranked_average_precision
from flexpose.poseset import PoseSet
from flexpose.skeleton import Skeleton, load_skeleton

pytestmark = pytest.mark.skipif(
    not any(map(importlib.util.find_spec, ("pycocotools", "faster_coco_eval", "sleap_io"))),
    reason="no client of COCO files is installed",
)


def people(skeleton: Skeleton, count: int = 6) -> PoseSet:
    random = np.random.default_rng(3)
    visibility = random.integers(0, 3, (count, skeleton.num_joints))
    visibility[:, 0] = 2
    return PoseSet(
        skeleton=skeleton,
        keypoints=random.uniform(0, 199, (count, skeleton.num_joints, 2)),
        visibility=visibility,
        image_size=(200, 200),
        image_ids=tuple(f"été/{i // 2}.png" for i in range(count)),
    )


@pytest.mark.parametrize("name", ["coco17", "body15", "face68", "dot"])
def test_clients_find_nothing_wrong_with_our_files(name: str, tmp_path: Path) -> None:
    dot = Skeleton(name="dot", joints=("tip",), edges=())
    write_coco(people(dot if name == "dot" else load_skeleton(name)), tmp_path / "c.json")
    assert run_clients(tmp_path / "c.json") == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("area", 0), ("num_keypoints", 0), ("bbox", None), ("id", 0), ("keypoints", [1, 2, 2])],
)
def test_clients_find_what_is_wrong(field: str, value: object, tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    write_coco(people(load_skeleton("coco17")), path)
    document = json.loads(path.read_text())
    count = 1 if field in ("id", "keypoints") else None
    for entry in document["annotations"][:count]:
        entry[field] = value
    path.write_text(json.dumps(document))
    if field == "keypoints":
        with pytest.raises(DataFormatError):
            run_clients(path)
        return
    evaluators = {f"client-{name}" for name in installed_clients()} - {"client-sleap-io"}
    assert evaluators <= {finding.code for finding in run_clients(path)}


def test_oks_by_hand() -> None:
    truth = np.array([[[0.0, 0.0], [np.nan, np.nan]]])
    predicted = np.array([[[3.0, 4.0], [1.0, 1.0]]])
    # d = 5, area 100, sigma .25: exp(-25 / (2 * 100 * .25)) = exp(-.5)
    assert oks(predicted, truth, np.array([100.0]), (0.25, 0.25)) == pytest.approx(np.exp(-0.5))
    assert oks(truth, truth, np.array([100.0]), (0.25, 0.25)) == 1
    with pytest.raises(PoseShapeError):
        oks(truth, truth, np.array([0.0]), (0.25, 0.25))
    with pytest.raises(PoseShapeError):
        oks(truth * np.nan, truth * np.nan, np.array([1.0]), (0.25, 0.25))


def test_average_precision_by_hand() -> None:
    assert ranked_average_precision(np.ones(3)) == 1
    assert ranked_average_precision(np.zeros(3)) == 0
    # half of the people found at every threshold: 51 of the 101 recall points
    assert ranked_average_precision(np.array([1.0, 0.0])) == pytest.approx(51 / 101)
