"""Findings: each check fires on a minimal case and is silent on clean labels."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexpose.annotation.findings import find, marks, swap_order
from flexpose.annotation.label import (
    ABSENT,
    OCCLUDED,
    UNDECIDED,
    VISIBLE,
    FrameLabel,
    accepted,
    judged,
    left_as_is,
    place,
    suggestion,
    swapped,
    toggle_occluded,
)
from flexpose.errors import PoseShapeError
from flexpose.io import read_poses
from flexpose.skeleton import Skeleton, load_skeleton

BODY, COCO = load_skeleton("body15"), load_skeleton("coco17")
SIZE = (500, 300)
ARM = ("shoulder", "elbow", "wrist")


def label_of(points, state=None, **fields):
    points = np.asarray(points, dtype=np.float32)
    state = np.full(len(points), VISIBLE, np.int8) if state is None else np.asarray(state)
    return FrameLabel(points=points, state=state, suggested=np.zeros(len(points), bool), **fields)


def neutral(skeleton, turn=1.0):
    """The neutral pose inside the image; ``turn`` -1 shows the back, 0 the side."""
    points = np.array(skeleton.neutral_pose)
    return points * [turn, 1] + [200, 60]


def video(skeleton, count=12, turn=1.0, seed=0):
    """Frames in which every joint moves a little."""
    random = np.random.default_rng(seed)
    pose = neutral(skeleton, turn)
    return {
        f"{n:03d}.png": label_of(random.normal(pose, 1.5) + np.array([2 * n, 0]))
        for n in range(count)
    }


def found_in(labels, skeleton=BODY, size=SIZE):
    return find(labels, skeleton, lambda frame: size)


def codes(labels, skeleton=BODY):
    return [(f.frame, f.code) for f in found_in(labels, skeleton)]


def words(joints, skeleton=BODY):
    return {skeleton.joints[joint] for joint in joints}


def lefts(skeleton, parts):
    return [skeleton.index(f"left_{part}") for part in parts]


def moved(label, skeleton, joint, by):
    points = label.points.copy()
    points[skeleton.index(joint)] += by
    return replace(label, points=points)


# ---------------------------------------------------------------- clean labels


@pytest.mark.parametrize("name", ["body15", "coco17", "hand21", "animal17", "face68"])
def test_clean_videos_are_without_findings(name):
    skeleton = load_skeleton(name)
    assert codes(video(skeleton), skeleton) == []


def test_no_labels_and_frames_without_a_word_are_without_findings():
    assert find({}, BODY, lambda frame: SIZE) == []
    assert find({"a.png": FrameLabel.empty(15)}, BODY, lambda frame: None) == []


@pytest.mark.parametrize("verdict", ["rejected", "no pose"])
def test_frames_that_are_set_aside_are_not_judged(verdict):
    label = place(FrameLabel.empty(15), 0, -99, -99)
    assert codes({"a.png": replace(label, verdict=verdict)}) == []
    assert codes({"a.png": label}) != []


# ---------------------------------------------------------------- one frame


def test_undecided_joints_are_a_hint_until_the_frame_is_reviewed():
    label = place(place(FrameLabel.empty(5), 0, 10, 10), 1, 50, 50)
    dots = Skeleton(name="dots", joints=("a", "b", "left_knee", "d", "e"), edges=())
    (one,) = found_in({"a.png": label}, dots)
    assert (one.code, one.severity, one.joints) == ("undecided", "hint", (2, 3, 4))
    assert one.message == "Left knee, d and e are still undecided."
    (one,) = found_in({"a.png": replace(label, verdict="reviewed")}, dots)
    assert one.severity == "warning"


def test_many_joints_are_counted_not_listed():
    (one,) = found_in({"a.png": place(FrameLabel.empty(15), 0, 10, 10)})
    assert one.message == "Head, pelvis, left shoulder and 11 more joints are still undecided."


def test_suggestions_can_be_accepted():
    copied = suggestion(FrameLabel.empty(15), neutral(BODY), np.full(15, VISIBLE, np.int8))
    (one,) = found_in({"a.png": copied})
    assert (one.code, one.severity, one.fix) == ("suggestion", "hint", "accept")
    assert one.message == "The whole pose is suggested, and nobody has looked at it yet."
    touched = copied
    for joint in range(14):
        touched = place(touched, joint, *copied.points[joint].tolist())
    (one,) = found_in({"a.png": touched})
    assert one.message == "Right ankle is suggested, and nobody has looked at it yet."
    assert one.joints == (14,)
    assert codes({"a.png": accepted(touched)}) == []


@pytest.mark.parametrize(
    ("x", "y", "inside"),
    [(-0.5, 0, True), (-0.6, 0, False), (499.5, 299.5, True), (499.6, 0, False), (0, 300, False)],
)
def test_the_image_ends_half_a_pixel_beyond_its_outer_centres(x, y, inside):
    points = neutral(BODY)
    points[0] = x, y
    (*found,) = found_in({"a.png": label_of(points)})
    assert [f.code for f in found] == ([] if inside else ["outside"])


def test_a_joint_outside_is_an_error_if_visible_and_a_hint_if_occluded():
    label = moved(label_of(neutral(BODY)), BODY, "left_wrist", [0, 400])
    (one,) = found_in({"a.png": label})
    assert (one.severity, one.message) == ("error", "Left wrist is outside the image.")
    (one,) = found_in({"a.png": toggle_occluded(label, BODY.index("left_wrist"))})
    assert one.severity == "hint"


def test_joints_on_one_spot_are_named_together():
    label = moved(label_of(neutral(BODY)), BODY, "left_wrist", [0, 0])
    points = label.points.copy()
    points[BODY.index("left_wrist")] = points[BODY.index("left_hip")]
    points[BODY.index("right_knee")] = points[BODY.index("left_hip")] + 0.1
    (one,) = found_in({"a.png": replace(label, points=points)})
    assert (one.code, one.severity) == ("same-spot", "warning")
    assert one.message == "Left wrist, left hip and right knee are on one spot."


def test_a_joint_may_hide_behind_another():
    points = neutral(BODY)
    hip = BODY.index("left_hip")
    points[hip] = points[BODY.index("right_hip")]
    assert codes({"a.png": label_of(points)}) == [("a.png", "same-spot")]
    assert codes({"a.png": toggle_occluded(label_of(points), hip)}) == []


def test_joints_that_often_coincide_are_no_finding():
    points = neutral(BODY)
    points[BODY.index("left_wrist")] = points[BODY.index("right_wrist")]
    labels = {f"{n}.png": label_of(points + n) for n in range(2)}
    assert [code for _, code in codes(labels)] == ["same-spot", "same-spot"]
    labels |= {f"{n}.png": label_of(points + n) for n in range(2, 9)}
    assert codes(labels) == []


def test_all_joints_in_one_point_are_found():
    (one,) = found_in({"a.png": label_of(np.full((15, 2), 50.0))})
    assert one.code == "same-spot"
    assert len(one.joints) == 15


def test_a_pose_of_occluded_joints_only_is_a_hint():
    label = label_of(neutral(BODY), np.full(15, OCCLUDED, np.int8))
    (one,) = found_in({"a.png": label})
    assert (one.code, one.severity) == ("all-occluded", "hint")
    assert codes({"a.png": toggle_occluded(label, 3)}) == []


def test_a_label_without_a_position_is_found_once_nothing_is_left_to_decide():
    absent = label_of(np.full((15, 2), np.nan), np.full(15, ABSENT, np.int8))
    (one,) = found_in({"a.png": absent})
    assert (one.code, one.severity) == ("no-position", "warning")
    assert codes({"a.png": replace(absent, verdict="no pose")}) == []
    reviewed = replace(FrameLabel.empty(15), verdict="reviewed")
    assert codes({"a.png": reviewed}) == [("a.png", "no-position")]
    state = np.full(15, ABSENT, np.int8)
    state[3] = UNDECIDED
    assert codes({"a.png": replace(absent, state=state)}) == [("a.png", "undecided")]


@pytest.mark.parametrize("verdict", ["", "rejected", "no pose"])
def test_a_missing_image_is_an_error_whatever_the_verdict(verdict):
    labels = {"a.png": label_of(neutral(BODY), verdict=verdict), "b.png": FrameLabel.empty(15)}
    (one,) = find(labels, BODY, lambda frame: None)
    assert (one.frame, one.code, one.severity) == ("a.png", "image-missing", "error")


# ---------------------------------------------------------------- swapped sides


@pytest.mark.parametrize("turn", [1.0, -1.0], ids=["front", "back"])
@pytest.mark.parametrize("parts", [ARM, ("hip", "knee", "ankle"), ("knee", "ankle")], ids=str)
@pytest.mark.parametrize("skeleton", [BODY, COCO], ids=["body15", "coco17"])
def test_a_limb_with_swapped_sides_is_found_and_mended(skeleton, parts, turn):
    labels = video(skeleton, turn=turn)
    right = labels["005.png"]
    labels["005.png"] = swapped(right, swap_order(skeleton, lefts(skeleton, parts)))
    (one,) = found_in(labels, skeleton)
    assert (one.frame, one.code, one.severity, one.fix) == ("005.png", "swap", "warning", "swap")
    assert words(one.joints, skeleton) == {f"{s}_{p}" for s in ("left", "right") for p in parts}
    mended = swapped(labels["005.png"], swap_order(skeleton, one.joints))
    assert mended.equals(right)
    assert codes(labels | {"005.png": mended}, skeleton) == []


def test_the_message_names_the_joints():
    labels = video(BODY)
    labels["005.png"] = swapped(labels["005.png"], swap_order(BODY, lefts(BODY, ARM[1:])))
    (one,) = found_in(labels)
    assert one.message == (
        "Left elbow and left wrist may be swapped with right elbow and right wrist."
    )


def test_a_whole_pose_with_swapped_sides_is_found_among_almost_equal_ones():
    labels = video(BODY)
    labels["005.png"] = swapped(labels["005.png"], BODY.flip_index)
    (one,) = found_in(labels)
    assert one.message == "Left and right may be swapped in the whole pose."
    mended = swapped(labels["005.png"], swap_order(BODY, one.joints))
    assert codes(labels | {"005.png": mended}) == []


def differing(skeleton, count, turn, seed):
    """Poses of different people: limbs point anywhere."""
    random = np.random.default_rng(seed)
    limbs = ("elbow", "wrist", "knee", "ankle")
    spread = np.where([joint.endswith(limbs) for joint in skeleton.joints], 12, 1)
    pose = neutral(skeleton, turn)
    for n in range(count):
        points = random.normal(pose, spread[:, None]) * random.uniform(0.6, 1.2)
        yield f"{seed}-{n:02d}.png", label_of(points)


def test_a_person_seen_from_behind_is_no_swap():
    labels = dict(differing(BODY, 30, 1.0, 0)) | dict(differing(BODY, 1, -1.0, 1))
    assert [code for _, code in codes(labels) if code == "swap"] == []


def test_a_person_seen_from_the_side_is_no_swap():
    labels = video(BODY) | {"side.png": label_of(neutral(BODY, 0.05))}
    assert [code for _, code in codes(labels) if code == "swap"] == []


def faces_and_backs():
    """People from the front and from behind; eyes show only from the front."""
    labels = dict(differing(COCO, 30, 1.0, 0))
    for frame, label in differing(COCO, 10, -1.0, 1):
        state = label.state.copy()
        state[[COCO.index("left_eye"), COCO.index("right_eye"), COCO.index("nose")]] = ABSENT
        labels[frame] = replace(label, state=state)
    return labels


def swaps_in(labels, skeleton):
    return [f.frame for f in found_in(labels, skeleton) if f.code == "swap"]


def test_an_order_that_no_view_changes_tells_a_whole_swap():
    labels = faces_and_backs()
    assert swaps_in(labels, COCO) == []
    labels["0-07.png"] = swapped(labels["0-07.png"], COCO.flip_index)
    assert swaps_in(labels, COCO) == ["0-07.png"]


def test_a_person_upside_down_is_no_swap():
    labels = faces_and_backs()
    points = labels["0-07.png"].points
    labels["0-07.png"] = replace(labels["0-07.png"], points=2 * points.mean(axis=0) - points)
    assert swaps_in(labels, COCO) == []


def test_suggestions_are_no_evidence():
    labels = video(BODY)
    wrong = swapped(labels["005.png"], swap_order(BODY, lefts(BODY, ARM)))
    labels["005.png"] = suggestion(FrameLabel.empty(15), wrong.points, wrong.state)
    assert codes(labels) == [("005.png", "suggestion")]


# ---------------------------------------------------------------- bone lengths


def test_a_joint_far_off_is_found_with_its_neighbours():
    labels = video(BODY, count=5)
    labels["002.png"] = moved(labels["002.png"], BODY, "left_elbow", [60, -10])
    (one,) = found_in(labels)
    assert (one.frame, one.code, one.severity) == ("002.png", "bone-length", "warning")
    assert one.message == "Left elbow is unusually far from left shoulder and left wrist."
    assert one.joints[0] == BODY.index("left_elbow")


def test_of_a_single_bone_the_outer_end_is_named_first():
    labels = video(BODY)
    labels["002.png"] = moved(labels["002.png"], BODY, "left_ankle", [60, 60])
    (one,) = found_in(labels)
    assert one.message == "Left ankle is unusually far from left knee."


def test_four_frames_are_too_few_to_tell():
    labels = video(BODY, count=4)
    labels["002.png"] = moved(labels["002.png"], BODY, "left_elbow", [60, -10])
    assert codes(labels) == []


def test_size_and_foreshortening_are_no_finding():
    labels = video(BODY)
    labels["002.png"] = replace(labels["002.png"], points=labels["002.png"].points * 0.3)
    labels["004.png"] = moved(labels["004.png"], BODY, "left_wrist", [-8, -22])  # at the camera
    assert codes(labels) == []


def test_left_and_right_bones_share_what_is_usual():
    one_sided = video(BODY, count=6)
    for frame, label in list(one_sided.items())[:5]:
        state = label.state.copy()
        state[lefts(BODY, ARM[1:])] = ABSENT
        one_sided[frame] = replace(label, state=state)
    assert codes(one_sided) == []
    one_sided["005.png"] = moved(one_sided["005.png"], BODY, "left_wrist", [60, 60])
    assert codes(one_sided) == [("005.png", "bone-length")]


# ---------------------------------------------------------------- the list


def test_frames_keep_their_order_and_the_gravest_comes_first():
    late = place(FrameLabel.empty(15), 2, -50, 10)
    labels = {"z.png": late, "a.png": late, **video(BODY)}
    assert codes(labels) == [
        ("z.png", "outside"),
        ("z.png", "undecided"),
        ("a.png", "outside"),
        ("a.png", "undecided"),
    ]


def test_a_label_of_another_skeleton_is_refused():
    with pytest.raises(PoseShapeError, match=r"a\.png has 17 joints, expected the 15 of body15"):
        find({"a.png": FrameLabel.empty(17)}, BODY, lambda frame: SIZE)


def test_swap_order_is_its_own_inverse_and_leaves_the_rest():
    order = swap_order(BODY, [BODY.index("left_wrist"), BODY.index("right_wrist")])
    assert [order[joint] for joint in order] == list(range(15))
    assert {joint for joint in range(15) if order[joint] != joint} == {
        BODY.index("left_wrist"),
        BODY.index("right_wrist"),
    }


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_labels_are_checked_without_being_changed(data):
    coordinate = st.one_of(st.floats(-50, 450, width=32), st.sampled_from([0.0, 100.0]))
    labels = {}
    for n in range(data.draw(st.integers(0, 8))):
        points = data.draw(st.lists(st.tuples(coordinate, coordinate), min_size=17, max_size=17))
        state = data.draw(st.lists(st.sampled_from([-1, 0, 1, 2]), min_size=17, max_size=17))
        label = label_of(points, np.array(state, np.int8))
        suggested = np.array(data.draw(st.lists(st.booleans(), min_size=17, max_size=17)))
        labels[f"{n}.png"] = replace(label, suggested=suggested)
    before = {frame: replace(label) for frame, label in labels.items()}
    first = found_in(labels, COCO)
    assert first == found_in(labels, COCO)
    assert all(labels[frame].equals(label) for frame, label in before.items())
    for one in first:
        assert one.message[0].isupper()
        assert one.message.endswith(".")
        assert set(one.joints) <= set(range(17))


# ---------------------------------------------------------------- real labels


@pytest.mark.data
@pytest.mark.parametrize(
    "name", ["jhmdb/jhmdb_joints.npz", "coco2017_keypoints/coco_keypoints_val2017.npz"]
)
def test_real_labels_give_few_false_alarms(name):
    folder = Path(os.environ.get("FLEXPOSE_DATA", Path(__file__).parents[4] / "shared" / "data"))
    if not (folder / name).exists():
        pytest.skip(f"{name} is not in {folder}; set FLEXPOSE_DATA to the datasets")
    poses = read_poses(folder / name)
    poses = poses[poses.labelled.sum(axis=1) >= 8]
    poses = poses[np.random.default_rng(0).permutation(len(poses))[:600]]
    labels = {
        str(n): label_of(points, visibility)  # not labelled: absent
        for n, (points, visibility) in enumerate(
            zip(poses.keypoints, poses.visibility, strict=True)
        )
    }
    found = found_in(labels, poses.skeleton, (10**6, 10**6))
    share = {
        code: len({f.frame for f in found if f.code == code}) / len(labels)
        for code in ("swap", "bone-length", "same-spot")
    }
    assert share["swap"] < 0.01
    assert share["bone-length"] < 0.03
    assert share["same-spot"] < 0.01


# ---------------------------------------------------------------- accepted as they are


def test_what_was_accepted_is_told_no_more_until_the_pose_changes():
    labels = video(BODY)
    frame = "003.png"
    labels[frame] = moved(labels[frame], BODY, "left_ankle", (0, 900))
    said = [f for f in found_in(labels) if f.frame == frame]
    assert {f.code for f in said} == {"bone-length", "outside"}
    for finding in said:
        assert found_in(labels)  # one after the other
        labels[frame] = left_as_is(labels[frame], marks(finding, BODY))
    assert found_in(labels) == []
    labels[frame] = judged(labels[frame], "reviewed")
    assert found_in(labels) == []
    labels[frame] = place(labels[frame], BODY.index("left_ankle"), 200, 901)
    assert {f.code for f in found_in(labels)} == {"bone-length", "outside"}


def test_a_finding_with_one_more_joint_is_told_again():
    label = replace(video(BODY)["003.png"], as_is=("outside head", "image-missing"))
    label = moved(moved(label, BODY, "head", (900, 0)), BODY, "neck", (900, 0))
    (outside,) = [f for f in found_in({"a.png": label}) if f.code == "outside"]
    assert words(outside.joints) == {"head", "neck"}
    label = replace(label, as_is=marks(outside, BODY))
    fewer = moved(label, BODY, "head", (-900, 0))  # keeps what was accepted
    assert "outside" not in [code for _, code in codes({"a.png": fewer})]


def test_a_finding_about_the_whole_frame_goes_by_its_check():
    label = video(BODY)["003.png"]
    (missing,) = found_in({"a.png": label}, size=None)
    assert marks(missing, BODY) == ("image-missing",)
    assert found_in({"a.png": left_as_is(label, marks(missing, BODY))}, size=None) == []
