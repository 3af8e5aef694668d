"""Scores of predicted keypoints: values by hand, missing ones, swapped sides, groups."""

from __future__ import annotations

import json
from typing import get_args

import numpy as np
import pytest

from flexpose.cli.tools import ScoreConfig
from flexpose.errors import ConfigError, PoseShapeError
from flexpose.evaluation.keypoints import (
    REFERENCES,
    THRESHOLDS,
    matched,
    reference_lengths,
    score_keypoints,
)
from flexpose.poseset import PoseSet
from flexpose.skeleton import Skeleton, load_skeleton

PAIR = Skeleton(
    name="pair",
    joints=("nose", "left_hand", "right_hand"),
    edges=((0, 1), (0, 2)),
    symmetric_pairs=((1, 2),),
)


def poses(points, names, size=(100, 50), **fields):
    return PoseSet.create(PAIR, points, size, image_ids=tuple(names), **fields)


TRUTH = poses(
    [[[50, 10], [60, 20], [40, 20]], [[50, 10], [60, 20], [np.nan, np.nan]]],
    ["a", "b"],
    groups=("walk", "run"),
)


def test_figures_by_hand():
    predicted = poses([[[50, 10], [60, 26], [40, 30]], [[53, 14], [60, 20], [0, 0]]], ["a", "b"])
    report = score_keypoints(predicted, TRUTH)
    # distances 0, 6, 10 and 5, 0 pixels; the image's longer side is 100
    assert report.counts == {"poses": 2, "predicted": 2, "joints": 5}
    assert report.overall["distance_px"] == pytest.approx(4.2)
    assert report.overall["distance_percent"] == pytest.approx(4.2)
    assert report.overall["median_px"] == 5
    assert report.overall["pck@.05"] == pytest.approx(3 / 5)
    assert report.overall["pck@.1"] == 1
    assert report.overall["whole@.05"] == 0.5
    assert report.groups["run"]["distance_px"] == pytest.approx(2.5)
    assert report.macro["distance_px"] == pytest.approx((16 / 3 + 2.5) / 2)
    assert report.per_joint["left_hand"]["distance_px"] == 3
    assert report.per_joint["right_hand"]["pck@.05"] == 0


def test_joints_without_prediction_are_wrong_and_have_no_distance():
    predicted = poses([[[50, 10], [60, 20], [np.nan, np.nan]]], ["a"])
    report = score_keypoints(predicted, TRUTH)
    assert report.counts["predicted"] == 1
    assert report.overall["distance_px"] == 0
    assert report.overall["pck@.2"] == pytest.approx(2 / 5)
    assert report.overall["whole@.2"] == 0


def test_exchanged_sides_are_forgiven_in_figures_of_their_own():
    predicted = poses([[[50, 10], [40, 20], [60, 20]], [[50, 10], [60, 20], [40, 20]]], ["a", "b"])
    report = score_keypoints(predicted, TRUTH)
    assert report.overall["distance_px"] == pytest.approx(40 / 5)
    assert report.overall["distance_px_swapped"] == 0
    assert report.overall["whole@.05_swapped"] == 1


def test_images_are_matched_by_name_and_scaled():
    predicted = poses([[[100.5, 20.5]] * 3, [[120.5, 40.5]] * 3], ["b", "a"], size=(200, 100))
    found = matched(predicted, TRUTH)
    np.testing.assert_allclose(found[0], [[60, 20]] * 3)
    np.testing.assert_allclose(found[1], [[50, 10]] * 3)


@pytest.mark.parametrize(("reference", "expected"), [("box", 20.0), ("image", 100.0), ("own", 7.0)])
def test_reference_lengths(reference, expected):
    truth = poses(TRUTH.keypoints, ["a", "b"], norm_length=[7.0, 7.0])
    assert reference_lengths(truth, reference)[0] == expected


def test_torso_and_head_come_from_joints():
    mpii = load_skeleton("mpii16")
    points = np.zeros((1, 16, 2))
    points[0, mpii.joints.index("right_hip")] = (30, 40)
    points[0, mpii.joints.index("head_top")] = (0, -9)
    truth = PoseSet.create(mpii, points, (100, 100), image_ids=("a",))
    assert reference_lengths(truth, "torso")[0] == 50
    assert reference_lengths(truth, "head")[0] == 9
    report = score_keypoints(truth, truth, "head", (0.5,))
    assert report.overall["pck@.5"] == 1


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ConfigError, match="has the reference length 'torso'"):
        score_keypoints(TRUTH, TRUTH, "torso")
    with pytest.raises(PoseShapeError, match="No image of the predictions"):
        score_keypoints(poses(TRUTH.keypoints, ["x", "y"]), TRUTH)
    with pytest.raises(PoseShapeError, match="two people in a"):
        score_keypoints(poses(TRUTH.keypoints, ["a", "a"]), TRUTH)
    other = PoseSet.create(load_skeleton("coco17"), np.zeros((1, 17, 2)), (9, 9), image_ids=("a",))
    with pytest.raises(PoseShapeError, match="the truth of pair"):
        score_keypoints(other, TRUTH)


def test_the_command_offers_every_reference():
    assert get_args(ScoreConfig.model_fields["reference"].annotation) == REFERENCES
    assert ScoreConfig.model_fields["thresholds"].default == THRESHOLDS


def test_reports_are_for_people_and_programs():
    report = score_keypoints(poses(TRUTH.keypoints[:1], ["a"]), TRUTH[:1])
    data = json.loads(report.to_json())
    assert data["micro"]["pck@.05"] == 1
    text = report.to_markdown()
    assert "1 of 1 poses are predicted" in text
    assert "| left_hand |" in text
