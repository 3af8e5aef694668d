"""PCK and EvalPose as domain adaptation counts them, on poses made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from flexpose.evaluation.difficulty import transfer_figures
from flexpose.geometry import FILL
from flexpose.poseset import PoseSet
from flexpose.skeleton import load_skeleton

BODY = load_skeleton("body15")
SIDE = 100 * FILL  # of the box; the crop is 100 pixels wide


def truth(count: int = 4) -> PoseSet:
    points = np.random.default_rng(0).uniform(0, SIDE, (count, 15, 2))
    names = tuple(str(number) for number in range(count))
    boxes = np.tile([0, 0, SIDE, SIDE], (count, 1))
    return PoseSet.create(BODY, points, (200, 200), image_ids=names, boxes=boxes)


def moved(poses: PoseSet, shifts: dict[tuple[int, str], float]) -> PoseSet:
    points = poses.keypoints.copy()
    for (row, joint), pixels in shifts.items():
        points[row, BODY.index(joint), 0] += pixels
    return PoseSet.create(BODY, points, (200, 200), image_ids=poses.image_ids)


def test_limbs_within_a_twentieth_of_the_crop_count_and_heads_do_not() -> None:
    shifts = {
        (0, "left_wrist"): 4.9,
        (1, "left_wrist"): 5.1,
        (2, "right_knee"): 40,
        (3, "head"): 40,
    }
    figures = transfer_figures(moved(truth(), shifts), truth())
    assert figures["pck_crop"] == pytest.approx((10 + 2 * 0.75) / 12)
    assert figures["eval_pose"] < 1
    assert transfer_figures(truth(), truth()) == {"pck_crop": 1.0, "eval_pose": pytest.approx(1.0)}


def test_bins_are_told_apart() -> None:
    shifts = {(0, joint): 50.0 for joint in BODY.joints}
    bins = np.array([1, 0, 0, 1])
    figures = transfer_figures(moved(truth(), shifts), truth(), bins)
    assert figures["pck_crop/1"] == 1
    assert figures["pck_crop/2"] == figures["pck_crop"] * 2 - 1 == 0.5
    # moved as a whole, a pose keeps its angles
    assert figures["eval_pose/2"] == pytest.approx(1.0)


def test_images_without_prediction_and_poses_in_one_place_count_as_missed() -> None:
    true = truth()
    found = moved(true, {})[:3]
    points = found.keypoints.copy()
    points[0] = 7.0
    found = PoseSet.create(BODY, points, (200, 200), image_ids=found.image_ids)
    figures = transfer_figures(found, true, np.array([0, 1, 1, 2]))
    assert figures["pck_crop/3"] == figures["eval_pose/1"] == figures["eval_pose/3"] == 0
    assert figures["pck_crop/2"] == 1


def test_joints_that_are_not_labelled_count_nowhere_and_hands_count_whole() -> None:
    hand = load_skeleton("hand21")
    points = np.random.default_rng(0).uniform(0, 85, (2, 21, 2))
    points[:, 20] = np.nan
    points[0, 4] = np.nan
    true = PoseSet.create(hand, points, (200, 200), image_ids=("a", "b"))
    other = np.nan_to_num(points)
    other[1, 4] += 90
    found = PoseSet.create(hand, other, (200, 200), image_ids=("a", "b"))
    assert transfer_figures(found, true)["pck_crop"] == pytest.approx(19 / 20)
