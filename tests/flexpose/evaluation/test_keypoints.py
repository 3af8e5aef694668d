"""Scores of predicted keypoints: values by hand, missing ones, swapped sides, groups."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
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
from flexpose.evaluation.scores import calibration_bins, calibration_error
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


RATED = replace(PAIR, oks_sigmas=(0.05, 0.1, 0.1))


def rated(points, names, **fields):
    return PoseSet.create(RATED, points, (100, 100), image_ids=tuple(names), **fields)


FOUR = rated(
    np.tile([[50, 10], [60, 20], [40, 20]], (4, 1, 1)), "abcd", boxes=[[30, 0, 40, 40]] * 4
)

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


def faces(skeleton, *eyes):
    """Faces whose joints are all at (0, 0) but for the outer corner of the left eye."""
    points = np.zeros((len(eyes), skeleton.num_joints, 2))
    points[:, skeleton.index("left_eye_4")] = eyes
    return PoseSet.create(skeleton, points, (200, 200), image_ids=tuple("abc"[: len(eyes)]))


@pytest.mark.parametrize("name", ["face68", "wflw98"])
def test_faces_are_measured_by_the_distance_of_their_eyes(name):
    skeleton = load_skeleton(name)
    truth = faces(skeleton, (30, 40), (60, 80))
    assert reference_lengths(truth, "inter-ocular").tolist() == [50, 100]
    assert truth.skeleton.index("left_eye_4") == {"face68": 45, "wflw98": 72}[name]
    predicted = replace(truth, keypoints=truth.keypoints + np.array([[[3, 4]], [[0, 6]]]))
    report = score_keypoints(predicted, truth, "inter-ocular", (0.08, 0.1))
    # all joints 5 of 50 and 6 of 100 pixels off
    assert report.overall["nme_percent"] == pytest.approx((10 + 6) / 2)
    assert report.overall["pck@.08"] == 0.5
    assert report.overall["pck@.1"] == 1
    assert report.per_joint["jaw_01"]["nme_percent"] == pytest.approx(8)
    assert report.overall["distance_percent"] == pytest.approx((2.5 + 3) / 2)
    assert "NME percent" in report.to_markdown()
    assert "nme_percent" not in score_keypoints(predicted, truth, "box").overall


def test_faces_without_both_eyes_count_in_no_normalised_error():
    truth = faces(load_skeleton("face68"), (30, 40), (np.nan, np.nan))
    predicted = replace(truth, keypoints=truth.keypoints + np.array([0, 5]))
    report = score_keypoints(predicted, truth, "inter-ocular")
    assert report.overall["nme_percent"] == pytest.approx(10)


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


def test_perfect_predictions_have_the_full_oks_precision():
    pytest.importorskip("faster_coco_eval")
    report = score_keypoints(FOUR, FOUR)
    for key in ("oks_ap", "oks_ap50", "oks_ap75", "oks_ar", "oks_ap_swapped"):
        assert report.overall[key] == pytest.approx(1)
    assert report.notes == ()


@pytest.mark.parametrize("scale", [1, 500])
def test_oks_precision_of_a_known_offset(scale, capsys):
    pytest.importorskip("faster_coco_eval")
    # OKS = exp(-d^2 / (2 area (2 sigma)^2)) = exp(-d^2 / 128) with every sigma .1, the area 1600
    skeleton = replace(RATED, oks_sigmas=(0.1,) * 3)
    sizes = np.array([100, 100]) * scale
    truth = replace(
        FOUR,
        skeleton=skeleton,
        keypoints=FOUR.keypoints * scale,
        boxes=FOUR.boxes * scale,
        image_size=sizes,
    )
    # similarities 1, .778, .522 and .105: reach ten, six, one and none of the levels .5 to .95
    moved = np.array([0, 5.67, 9.12, 17])[:, None, None] * [1, 0] * scale
    surest_first = np.linspace(0.9, 0.6, 4)[:, None].repeat(3, axis=1)
    predicted = replace(truth, keypoints=truth.keypoints + moved, confidence=surest_first)
    found = score_keypoints(predicted, truth).overall
    assert found["oks_ar"] == pytest.approx((10 + 6 + 1) / 40)
    # precision is 1 up to the share found: 25, 50 or 75 of COCO's recall levels .00 to 1.00, and 0
    assert found["oks_ap50"] == pytest.approx(76 / 101)
    assert found["oks_ap75"] == pytest.approx(51 / 101)
    assert found["oks_ap"] == pytest.approx((76 + 5 * 51 + 4 * 26) / 1010)
    assert capsys.readouterr().out == ""


def test_oks_precision_counts_missing_poses_and_ranks_by_confidence():
    pytest.importorskip("faster_coco_eval")
    found = score_keypoints(FOUR[:1], FOUR).overall
    assert (found["oks_ar"], found["oks_ap"]) == pytest.approx((0.25, 26 / 101))
    far = FOUR.keypoints + np.array([0, 90, 90, 90])[:, None, None]
    for sure, ap in (([0.9, 0.1, 0.1, 0.1], 26 / 101), ([0.1, 0.9, 0.9, 0.9], 26 / 101 / 4)):
        confidence = np.repeat(np.array(sure)[:, None], 3, axis=1)
        predicted = replace(FOUR, keypoints=far, confidence=confidence)
        assert score_keypoints(predicted, FOUR).overall["oks_ap"] == pytest.approx(ap)


def test_oks_precision_is_given_for_groups_too():
    pytest.importorskip("faster_coco_eval")
    report = score_keypoints(FOUR[:3], replace(FOUR, groups=("x", "x", "y", "y")))
    assert [report.groups[name]["oks_ar"] for name in "xy"] == [1, 0.5]
    assert report.macro["oks_ar"] == 0.75
    assert "OKS AP50" in report.to_markdown()


def test_oks_precision_left_out_is_said(monkeypatch):
    report = score_keypoints(TRUTH, TRUTH)
    assert "the skeleton pair has no OKS sigmas" in report.to_markdown()
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    report = score_keypoints(FOUR, FOUR)
    assert "oks_ap" not in report.overall
    assert "'faster-coco-eval' is not installed" in json.loads(report.to_json())["notes"][0]


def test_calibration_error_by_hand():
    sure = np.array([0.2, 0.9, 0.8, 0.3])
    bins = calibration_bins(sure, np.array([False, True, False, False]), 2)
    assert [part.count for part in bins] == [2, 2]
    assert [part.confidence for part in bins] == pytest.approx([0.25, 0.85])
    assert [part.found for part in bins] == [0, 0.5]
    assert calibration_error(bins) == pytest.approx((2 * 0.25 + 2 * 0.35) / 4)
    assert np.isnan(calibration_error(()))


def test_confidence_is_compared_with_what_is_within_a_tenth_of_the_box():
    moved = FOUR.keypoints + np.array([3.9, 4.1, 0, 0])[:, None, None] * [1, 0]  # the box has 40
    confidence = np.repeat([[0.75], [0.5], [1], [1]], 3, axis=1)
    report = score_keypoints(replace(FOUR, keypoints=moved, confidence=confidence)[:3], FOUR)
    data = json.loads(report.to_json())
    assert sum(part["count"] for part in data["calibration"]) == 9
    assert data["calibration_error"] == pytest.approx((3 * 0.5 + 3 * 0.25) / 9)
    assert "Calibration error 0.250" in report.to_markdown()
    plain = json.loads(score_keypoints(FOUR, FOUR).to_json())
    assert (plain["calibration_error"], plain["calibration"]) == (None, [])
