"""Edits of one label: what they change, what they leave alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexpose.annotation import label as edits
from flexpose.annotation.label import ABSENT, OCCLUDED, UNDECIDED, VISIBLE, FrameLabel
from flexpose.errors import PoseShapeError
from flexpose.skeleton import Skeleton

NAN = float("nan")
FLIP = (0, 2, 1)
relaxed = settings(deadline=None)


def label(points, state, suggested=None, **fields):
    suggested = [False] * len(state) if suggested is None else suggested
    return FrameLabel(points=points, state=state, suggested=suggested, **fields)


@pytest.fixture
def bent():
    """A visible, an occluded and an absent joint."""
    return label([[10, 20], [30, 60], [NAN, NAN]], [VISIBLE, OCCLUDED, ABSENT])


@st.composite
def labels(draw, joints=3):
    coordinate = st.floats(-1000, 1000, width=32)
    state = draw(st.lists(st.sampled_from([-1, 0, 1, 2]), min_size=joints, max_size=joints))
    points = draw(st.lists(st.tuples(coordinate, coordinate), min_size=joints, max_size=joints))
    suggested = draw(st.lists(st.booleans(), min_size=joints, max_size=joints))
    verdict = draw(st.sampled_from(["", "reviewed", "rejected", "no pose"]))
    return label(points, state, suggested, verdict=verdict)


# ---------------------------------------------------------------- the label itself


def test_an_empty_label_says_nothing():
    empty = FrameLabel.empty(3)
    assert empty.untouched and not empty.complete
    assert empty.state.tolist() == [UNDECIDED] * 3 and np.isnan(empty.points).all()


def test_only_placed_joints_have_a_position_or_are_suggested():
    found = label([[1, 2], [3, 4], [5, 6]], [UNDECIDED, ABSENT, VISIBLE], [True, True, True])
    assert np.isnan(found.points[:2]).all() and found.points[2].tolist() == [5, 6]
    assert found.suggested.tolist() == [False, False, True]


def test_arrays_are_copies_that_nobody_can_change():
    points = np.zeros((1, 2), np.float32)
    made = label(points, [VISIBLE])
    points[0] = 9
    assert made.points.tolist() == [[0, 0]]
    with pytest.raises(ValueError, match="read-only"):
        made.points[0] = 1


@pytest.mark.parametrize(
    ("points", "state", "suggested", "told"),
    [
        ([[0, 0]], [2, 2], [False, False], r"points \(1, 2\)"),
        ([[0, 0]], [2], [False, False], r"suggested \(2,\)"),
        ([[0, NAN]], [1], [False], "no position"),
        ([[0, float("inf")]], [2], [False], "no position"),
        ([[0, 0]], [3], [False], "state other than"),
    ],
)
def test_what_makes_no_label_is_refused(points, state, suggested, told):
    with pytest.raises(PoseShapeError, match=told):
        label(points, state, suggested)


def test_a_frame_is_complete_when_all_is_decided_and_something_is_there(bent):
    assert bent.complete
    assert not edits.clear_joint(bent, 2).complete
    assert not label(bent.points, bent.state, [True, False, False]).complete
    assert not label([[NAN, NAN]], [ABSENT]).complete


def test_a_verdict_counts_as_touched(bent):
    judged = edits.judged(FrameLabel.empty(3), "rejected", "blurred")
    assert not judged.untouched and judged.reason == "blurred"
    assert not judged.equals(FrameLabel.empty(3))


@relaxed
@given(labels(), labels())
def test_equal_labels_say_the_same(one, other):
    same = label(one.points, one.state, one.suggested, verdict=one.verdict, reason=one.reason)
    assert one.equals(same) and same.equals(one)
    assert one.equals(other) == other.equals(one)


def test_labels_of_other_sizes_differ():
    assert not FrameLabel.empty(2).equals(FrameLabel.empty(3))


def test_the_next_undecided_joint_is_looked_for_from_the_next_one_on():
    half = label([[0, 0], [NAN] * 2, [0, 0], [NAN] * 2], [VISIBLE, UNDECIDED, VISIBLE, UNDECIDED])
    assert [edits.next_undecided(half, after) for after in (-1, 0, 1, 2, 3)] == [1, 1, 3, 3, 1]
    assert edits.next_undecided(label([[0, 0]], [VISIBLE]), 0) is None
    assert edits.next_undecided(FrameLabel.empty(1), 0) == 0


# ---------------------------------------------------------------- one joint


@relaxed
@given(labels(), st.integers(0, 2))
def test_an_edit_of_one_joint_leaves_the_others_and_the_verdict(before, joint):
    others = [i for i in range(3) if i != joint]
    for after in (
        edits.place(before, joint, 1.5, -2),
        edits.toggle_occluded(before, joint),
        edits.mark_absent(before, joint),
        edits.clear_joint(before, joint),
    ):
        np.testing.assert_array_equal(after.points[others], before.points[others])
        np.testing.assert_array_equal(after.state[others], before.state[others])
        np.testing.assert_array_equal(after.suggested[others], before.suggested[others])
        assert after.verdict == before.verdict and not after.suggested[joint]


def test_a_placed_joint_is_visible_unless_it_was_occluded(bent):
    assert edits.place(bent, 2, 5, 6).state.tolist() == [VISIBLE, OCCLUDED, VISIBLE]
    moved = edits.place(bent, 1, 5, 6)
    assert moved.state[1] == OCCLUDED and moved.points[1].tolist() == [5, 6]


def test_occluded_goes_on_and_off_where_there_is_a_position(bent):
    once = edits.toggle_occluded(bent, 0)
    assert once.state[0] == OCCLUDED and once.points[0].tolist() == [10, 20]
    assert edits.toggle_occluded(once, 0).equals(bent)
    assert edits.toggle_occluded(bent, 2) is bent


def test_a_joint_can_be_absent_or_undecided_again(bent):
    assert edits.mark_absent(bent, 0).state[0] == ABSENT
    cleared = edits.clear_joint(bent, 0)
    assert cleared.state[0] == UNDECIDED and np.isnan(cleared.points[0]).all()


def test_moving_a_suggested_joint_decides_it():
    offered = label([[1, 1]], [VISIBLE], [True])
    assert not offered.decided.any()
    assert edits.place(offered, 0, 2, 2).decided.all()


# ---------------------------------------------------------------- the whole pose


def test_a_moved_pose_is_shifted(bent):
    assert edits.moved(bent, 1, -2).points[:2].tolist() == [[11, 18], [31, 58]]


def test_a_quarter_turn_is_clockwise_on_the_screen(bent):
    # about (20, 40); (10, 20) lies 10 to the left and 20 above, so it goes to the upper right
    turned = edits.rotated(bent, 90)
    np.testing.assert_allclose(turned.points[:2], [[40, 30], [0, 50]], atol=1e-5)


def test_a_scaled_pose_keeps_its_middle(bent):
    np.testing.assert_allclose(edits.scaled(bent, 2).points[:2], [[0, 0], [40, 80]])


def test_a_mirrored_pose_exchanges_left_and_right():
    pose = label(
        [[0, 0], [10, 5], [NAN, NAN]], [VISIBLE, OCCLUDED, UNDECIDED], [False, True, False]
    )
    mirrored = edits.mirrored(pose, FLIP)
    assert mirrored.state.tolist() == [VISIBLE, UNDECIDED, OCCLUDED]
    assert mirrored.points[[0, 2]].tolist() == [[10, 0], [0, 5]]
    assert mirrored.suggested.tolist() == [False, False, True]


@relaxed
@given(labels())
def test_mirroring_and_swapping_twice_change_nothing(before):
    assert edits.swapped(edits.swapped(before, FLIP), FLIP).equals(before)
    twice = edits.mirrored(edits.mirrored(before, FLIP), FLIP)
    np.testing.assert_allclose(twice.points, before.points, atol=1e-3)
    np.testing.assert_array_equal(twice.state, before.state)


def test_sides_are_those_of_a_pose_nearby():
    before = label([[0, 0], [10, 0], [20, 0]], [VISIBLE] * 3)
    exchanged = label([[0, 1], [19, 1], [11, 1]], [VISIBLE, OCCLUDED, VISIBLE], [True] * 3)
    assert edits.sided_like(exchanged, before, FLIP).state.tolist() == [VISIBLE, VISIBLE, OCCLUDED]
    agreeing = edits.sided_like(before, edits.moved(before, 30, 0), FLIP)
    assert agreeing is before
    assert edits.sided_like(before, FrameLabel.empty(3), FLIP) is before


@relaxed
@given(labels())
def test_moves_of_the_whole_keep_states_and_suggestions(before):
    for after in (
        edits.moved(before, 3, 4),
        edits.rotated(before, 33),
        edits.scaled(before, 0.5),
    ):
        np.testing.assert_array_equal(after.state, before.state)
        np.testing.assert_array_equal(after.suggested, before.suggested)


@pytest.mark.parametrize("edit", [lambda p: edits.rotated(p, 90), lambda p: edits.scaled(p, 2)])
def test_a_label_without_positions_can_be_turned_and_scaled(edit):
    assert edit(FrameLabel.empty(3)).untouched


# ---------------------------------------------------------------- many joints at once


def test_suggestions_fill_undecided_joints_only(bent):
    undecided = edits.clear_joint(bent, 0)
    filled = edits.suggestion(undecided, np.full((3, 2), 7.0), np.array([OCCLUDED] * 3, np.int8))
    assert filled.state.tolist() == [OCCLUDED, OCCLUDED, ABSENT]
    assert filled.points[:2].tolist() == [[7, 7], [30, 60]]
    assert filled.suggested.tolist() == [True, False, False]
    assert not filled.complete and edits.accepted(filled).complete


@pytest.mark.parametrize(
    ("point", "state"), [((NAN, 1), VISIBLE), ((1, 1), ABSENT), ((1, 1), UNDECIDED)]
)
def test_without_position_or_state_nothing_is_suggested_or_decided(point, state):
    empty = FrameLabel.empty(1)
    assert edits.suggestion(empty, np.array([point]), np.array([state], np.int8)).equals(empty)


def test_a_template_fits_into_a_box_with_its_proportions():
    pose = np.array([[0, 0], [1, 2], [NAN, NAN]])
    # the height decides: 2 units become 40 pixels, so the width takes 20 of the 100
    fitted = edits.fitted(pose, (100, 10, 100, 40))
    np.testing.assert_allclose(fitted[:2], [[140, 10], [160, 50]])
    assert np.isnan(fitted[2]).all()


def test_a_template_of_one_point_goes_to_the_middle():
    fitted = edits.fitted(np.array([[5.0, 5.0]]), (0, 0, 10, 20))
    np.testing.assert_allclose(fitted, [[5, 10]])


def test_labels_go_to_another_skeleton_by_name(bent):
    old = Skeleton(name="old", joints=("a", "b", "c"), edges=())
    new = Skeleton(name="new", joints=("c", "d", "a"), edges=())
    before = edits.judged(bent, "reviewed")
    after = edits.migrated(before, old, new)
    assert after.state.tolist() == [ABSENT, UNDECIDED, VISIBLE]
    assert after.points[2].tolist() == [10, 20] and after.verdict == "reviewed"
    assert edits.migrated(before, old, old).equals(before)


# ---------------------------------------------------------------- findings accepted as they are


@pytest.mark.parametrize(
    "edit",
    [
        lambda one: edits.place(one, 0, 1, 1),
        lambda one: edits.toggle_occluded(one, 1),
        lambda one: edits.mark_absent(one, 0),
        lambda one: edits.clear_joint(one, 2),
        lambda one: edits.moved(one, 1, 0),
        lambda one: edits.rotated(one, 5),
        lambda one: edits.swapped(one, FLIP),
    ],
)
def test_findings_accepted_of_a_pose_are_open_again_for_another(bent, edit):
    kept = edits.left_as_is(bent, ["swap left_wing"])
    assert edit(kept).as_is == ()


def test_findings_accepted_stay_with_their_pose(bent):
    kept = edits.left_as_is(edits.left_as_is(bent, ["swap b", "swap a"]), ["swap a", "outside"])
    assert kept.as_is == ("outside", "swap a", "swap b")
    assert not kept.equals(bent)
    assert edits.judged(kept, "reviewed").as_is == kept.as_is
    assert edits.mark_absent(kept, 2).equals(kept)  # as it was


# ---------------------------------------------------------------- some of the suggestions


def test_one_suggestion_can_be_taken_and_the_others_dropped():
    found = label([[1, 2], [3, 4], [5, 6]], [VISIBLE] * 3, [False, True, True])
    one = edits.accepted(found, 1)
    assert one.suggested.tolist() == [False, False, True]
    assert edits.accepted(found, 0).equals(found)
    left = edits.without_suggestions(one)
    assert left.state.tolist() == [VISIBLE, VISIBLE, UNDECIDED]
    assert left.points[:2].tolist() == [[1, 2], [3, 4]] and np.isnan(left.points[2]).all()
