"""Templates fitted to a few clicks, and contours moved by handles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from flexpose.annotation.template import (
    Anchor,
    all_handles,
    clicks,
    fit_clicks,
    fit_template,
    handle_move,
    handles,
    look_mirrored,
    spline_move,
)
from flexpose.errors import AnnotationError, PoseShapeError
from flexpose.skeleton import Skeleton, load_skeleton

relaxed = settings(deadline=None, max_examples=60)
FACE = load_skeleton("face68")
TEMPLATED = [load_skeleton(name) for name in ("face68", "wflw98", "hand21")]
SQUARE = np.array([[0.0, 0], [10, 0], [10, 10], [0, 10]])
KINDS = ("similarity", "thin-plate")


def moved(points, turn=0.0, scale=1.0, shift=(0.0, 0.0)):
    cos, sin = np.cos(turn), np.sin(turn)
    return scale * np.asarray(points) @ np.array([[cos, sin], [-sin, cos]]) + shift


def anchors_on(pose, groups):
    return [Anchor(tuple(group), tuple(pose[list(group)].mean(axis=0))) for group in groups]


similarities = st.fixed_dictionaries(
    {
        "turn": st.floats(-np.pi, np.pi),
        "scale": st.floats(0.1, 20),
        "shift": st.tuples(st.floats(-1000, 1000), st.floats(-1000, 1000)),
    }
)
small = st.tuples(st.floats(-20, 20), st.floats(-20, 20))


# ---------------------------------------------------------------- templates


def test_a_similarity_by_hand():
    # a quarter turn, twice as large: (x, y) to (50 - 2 y, 7 + 2 x)
    anchors = [Anchor((0,), (50, 7)), Anchor((1,), (50, 27))]
    expected = [[50, 7], [50, 27], [30, 27], [30, 7]]
    np.testing.assert_allclose(fit_template(SQUARE, anchors), expected, atol=1e-9)


def test_a_similarity_does_what_it_can_about_clicks_that_contradict():
    # corners at x 0 and 10 clicked 12 apart: the mean of the errors is nothing, the scale 1.2
    anchors = [Anchor((0, 3), (4, 5)), Anchor((1, 2), (16, 5))]
    fitted = fit_template(SQUARE, anchors)
    np.testing.assert_allclose(fitted, [[4, -1], [16, -1], [16, 11], [4, 11]], atol=1e-9)
    wider = [*anchors, Anchor((0, 1, 2, 3), (10, 8))]  # the middle three pixels lower
    np.testing.assert_allclose(fit_template(SQUARE, wider), fitted + np.array([0, 1]), atol=1e-9)


def test_a_thin_plate_bends_between_its_anchors_only():
    line = np.stack([np.linspace(0, 40, 9), np.zeros(9)], axis=1)
    template = np.concatenate([line, [[20, 30]]])
    anchors = [Anchor((j,), tuple(template[j])) for j in (0, 8, 9)]
    straight = fit_template(template, anchors, "thin-plate")
    np.testing.assert_allclose(straight, template, atol=1e-9)
    bent = fit_template(template, [*anchors, Anchor((4,), (20, -6))], "thin-plate")
    np.testing.assert_allclose(bent[4], [20, -6], atol=1e-9)
    np.testing.assert_allclose(
        bent[:, 0], template[:, 0], atol=1e-9
    )  # what is lifted does not slide
    np.testing.assert_allclose(bent[:9, 1], bent[8::-1, 1], atol=1e-9)
    assert (np.diff(bent[:5, 1]) < 0).all()


@relaxed
@given(similarities, st.sampled_from(TEMPLATED), st.sampled_from(KINDS))
def test_clicks_on_a_moved_template_give_the_moved_template(how, skeleton, kind):
    target = moved(skeleton.neutral_pose, **how)
    anchors = anchors_on(target, clicks(skeleton).values())
    np.testing.assert_allclose(
        fit_template(skeleton.neutral_pose, anchors, kind), target, atol=1e-6 * how["scale"] * 100
    )


@relaxed
@given(similarities, st.lists(small, min_size=5, max_size=5), st.sampled_from(KINDS))
def test_moving_the_clicks_moves_the_result(how, errors, kind):
    pose = np.array(FACE.neutral_pose)
    anchors = anchors_on(pose, clicks(FACE).values())
    off = [
        Anchor(a.joints, tuple(np.add(a.point, e))) for a, e in zip(anchors, errors, strict=True)
    ]
    there = [Anchor(a.joints, tuple(moved(a.point, **how))) for a in off]
    np.testing.assert_allclose(
        fit_template(pose, there, kind),
        moved(fit_template(pose, off, kind), **how),
        atol=1e-5 * how["scale"] + 1e-6,
    )


@relaxed
@given(similarities, st.lists(small, min_size=5, max_size=5), st.sampled_from(KINDS))
def test_the_unit_of_the_template_does_not_matter(how, errors, kind):
    pose = np.array(FACE.neutral_pose)
    anchors = anchors_on(pose, clicks(FACE).values())
    off = [
        Anchor(a.joints, tuple(np.add(a.point, e))) for a, e in zip(anchors, errors, strict=True)
    ]
    np.testing.assert_allclose(
        fit_template(moved(pose, **how), off, kind), fit_template(pose, off, kind), atol=1e-5
    )


@relaxed
@given(st.data())
def test_a_thin_plate_meets_its_anchors(data):
    skeleton = data.draw(st.sampled_from(TEMPLATED))
    pose = np.array(skeleton.neutral_pose)
    joint = st.integers(0, len(pose) - 1)
    groups = data.draw(
        st.lists(st.lists(joint, min_size=1, max_size=4, unique=True), min_size=3, max_size=9)
    )
    rows = np.zeros((len(groups), len(pose)))
    for row, group in zip(rows, groups, strict=True):
        row[group] = 1 / len(group)
    means = rows @ pose
    assume(np.linalg.matrix_rank(rows, tol=0.05) == len(groups))
    assume(np.linalg.svd(means - means.mean(axis=0), compute_uv=False)[1] > 5)
    anchors = [
        Anchor(tuple(group), tuple(np.add(mean, data.draw(small))))
        for group, mean in zip(groups, means, strict=True)
    ]
    fitted = fit_template(pose, anchors, "thin-plate")
    np.testing.assert_allclose(rows @ fitted, [a.point for a in anchors], atol=1e-6)


@pytest.mark.parametrize(
    ("anchors", "kind", "problem"),
    [
        ([], "similarity", "Found 0 anchors, expected two"),
        ([Anchor((0,), (1, 1))], "similarity", "Found 1 anchors, expected two"),
        ([Anchor((0,), (1, 1)), Anchor((0,), (5, 5))], "similarity", "in one place"),
        ([Anchor((0, 2), (1, 1)), Anchor((1, 3), (5, 5))], "similarity", "in one place"),
        ([Anchor((0,), (1, 1)), Anchor((1,), (1, 1))], "similarity", "to a point"),
        ([Anchor((0,), (1, 1)), Anchor((1,), (5, 5))], "thin-plate", "expected three"),
        ([Anchor((j,), (j, j * j)) for j in ((0), (2), (4))], "thin-plate", "one line"),
        (
            [*(Anchor((j,), (j, j * j)) for j in range(3)), Anchor((1,), (9, 9))],
            "thin-plate",
            "about the same joints",
        ),
        (
            [*(Anchor((j,), (j, j * j)) for j in range(3)), Anchor((0, 1), (9, 9))],
            "thin-plate",
            "about the same joints",
        ),
    ],
)
def test_anchors_that_determine_nothing_are_refused(anchors, kind, problem):
    with pytest.raises(AnnotationError, match=problem):
        fit_template(np.concatenate([SQUARE, [[5, 5]]])[[0, 1, 2, 3, 4]], anchors, kind)


@pytest.mark.parametrize(
    ("template", "anchor"),
    [
        (SQUARE, Anchor((4,), (1, 1))),
        (SQUARE, Anchor((-1,), (1, 1))),
        (SQUARE, Anchor((), (1, 1))),
        (SQUARE, Anchor((0,), (np.nan, 1))),
        (SQUARE * np.nan, Anchor((0,), (1, 1))),
        (SQUARE.ravel(), Anchor((0,), (1, 1))),
        (SQUARE[:0], Anchor((0,), (1, 1))),
    ],
)
def test_what_is_no_position_is_refused(template, anchor):
    with pytest.raises(PoseShapeError):
        fit_template(template, [Anchor((1,), (2, 2)), anchor])


def test_clicks_go_through_what_was_clicked():
    pose = np.array(FACE.neutral_pose)
    anchors = anchors_on(pose, clicks(FACE).values())
    off = [a._replace(point=(a.point[0] + 3 * n, a.point[1])) for n, a in enumerate(anchors)]
    fitted = fit_clicks(pose, off)
    np.testing.assert_allclose([fitted[list(a.joints)].mean(axis=0) for a in off], points_of(off))
    np.testing.assert_array_equal(fitted, fit_template(pose, off, "thin-plate"))


def points_of(anchors):
    return [anchor.point for anchor in anchors]


@pytest.mark.parametrize(
    "clicked",
    [
        {0: (0, 0), 1: (5, 5)},  # only two
        {0: (0, 0), 1: (10, 0), 2: (20, 0.5)},  # about on a line
        {0: (0, 0), 4: (10, 0), 2: (0, 10)},  # of joints on a line
    ],
)
def test_clicks_on_a_line_leave_the_template_its_shape(clicked):
    template = np.concatenate([SQUARE, [[5, 5]]])
    fitted = fit_clicks(template, [Anchor((j,), point) for j, point in clicked.items()])
    sides = np.linalg.norm(np.diff(fitted[[0, 1, 2, 3, 0]], axis=0), axis=1)
    np.testing.assert_allclose(sides, sides[0])
    assert sides[0] > 1


def test_a_hand_of_the_other_side_is_a_mirror_image():
    hand = load_skeleton("hand21")
    other = np.array(hand.neutral_pose) * (-1, 1)
    anchors = anchors_on(other, clicks(hand).values())
    np.testing.assert_allclose(fit_clicks(hand.neutral_pose, anchors), other, atol=1e-6)
    assert look_mirrored(hand.neutral_pose, anchors)
    assert not look_mirrored(other, anchors)


def test_what_lies_on_a_line_looks_like_itself():
    anchors = [Anchor((0,), (0, 0)), Anchor((1,), (10, 0)), Anchor((3,), (20, 0))]
    assert not look_mirrored(SQUARE, anchors)


def test_clicks_are_known_for_faces_and_hands_by_their_joints():
    five = clicks(FACE)
    assert five["middle of the person's left eye"] == (42, 43, 44, 45, 46, 47)
    corners = [joints for words, joints in five.items() if "corner" in words]
    assert [FACE.joints[joint] for (joint,) in corners] == ["outer_lip_01", "outer_lip_07"]
    assert list(clicks(load_skeleton("wflw98"))) == list(five)
    assert clicks(load_skeleton("hand21"))["wrist"] == (0,)


def test_of_other_skeletons_a_few_joints_are_clicked_that_are_far_apart():
    animal = load_skeleton("animal17")
    assert list(clicks(animal)) == [
        "right eye",
        "root of tail",
        "right front paw",
        "right back paw",
    ]
    # the corners, in their order, whatever lies between
    middle = [(5.0, 5.0), (4.0, 5.0), (5.0, 6.0)]
    pose = (*middle, *((float(x), float(y)) for x, y in SQUARE))
    assert list(clicks(named(pose)).values()) == [(3,), (4,), (5,), (6,)]
    assert list(clicks(named(((1, 1), (9, 9), (1, 1)))).values()) == [(0,), (1,)]


@pytest.mark.parametrize("pose", [(), ((1.0, 2.0),)])
def test_without_a_pose_of_some_joints_there_is_nothing_to_click(pose):
    assert clicks(named(pose)) == {}


def named(pose):
    joints = tuple(f"joint_{number}" for number in range(max(len(pose), 1)))
    return Skeleton(name="own", joints=joints, edges=(), neutral_pose=pose)


# ---------------------------------------------------------------- contours

RULER = np.stack([10.0 * np.arange(9), np.zeros(9)], axis=1)
OPEN = tuple(range(9))
RING = np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], axis=1) * 50
CLOSED = (*range(8), 0)


@pytest.mark.parametrize(
    ("chain", "count", "expected"),
    [
        (OPEN, 3, (0, 4, 8)),
        (OPEN, 5, (0, 2, 4, 6, 8)),
        (OPEN, 1, (0, 8)),
        (OPEN, 99, OPEN),
        (CLOSED, 4, (0, 2, 4, 6)),
        (CLOSED, 1, (0,)),
        (CLOSED, 99, tuple(range(8))),
        ((*CLOSED[:7], 0), 4, (0, 2, 4, 5)),
        ((5, 7), 3, (5, 7)),
        (OPEN, None, (0, 3, 5, 8)),
        (CLOSED, None, (0, 2, 4, 6)),
        (tuple(range(17)), None, (0, 4, 8, 12, 16)),
        ((3, 9), None, (3, 9)),
    ],
)
def test_handles_are_spread_over_a_contour(chain, count, expected):
    assert handles(chain, count) == expected


def test_a_move_by_hand():
    pulled = spline_move(RULER, OPEN, (0, 4, 8), 4, (40, 12))
    # 1 - 3 u^2 + 2 u^3 at quarters of the way to the next handle
    share = [0, 5 / 32, 1 / 2, 27 / 32, 1, 27 / 32, 1 / 2, 5 / 32, 0]
    np.testing.assert_allclose(pulled[:, 1], 12 * np.array(share), atol=1e-12)
    np.testing.assert_array_equal(pulled[:, 0], RULER[:, 0])


def test_shares_go_by_the_length_along_the_contour():
    uneven = np.array([[0.0, 0], [1, 0], [2, 0], [10, 0]])
    pulled = spline_move(uneven, (0, 1, 2, 3), (0, 3), 3, (10, 5))
    np.testing.assert_allclose(pulled[:, 1], [0, 5 * 0.028, 5 * 0.104, 5], atol=1e-12)


def test_a_closed_contour_is_moved_across_its_beginning():
    pulled = spline_move(RING, CLOSED, (0, 2, 4, 6), 0, (60, 0))
    np.testing.assert_allclose(pulled[[1, 7], 0], RING[[1, 7], 0] + 5, atol=1e-9)
    np.testing.assert_array_equal(pulled[2:7], RING[2:7])


def test_joints_without_a_position_keep_none():
    points = RULER.copy()
    points[[2, 8]] = np.nan
    pulled = spline_move(points, OPEN, (0, 4, 8), 4, (40, 12))
    assert np.isnan(pulled[[2, 8]]).all()
    assert pulled[7, 1] == 12  # no handle holds this end
    assert 0 < pulled[1, 1] < pulled[3, 1] < 12


def test_joints_in_one_place_can_be_pulled_apart():
    pulled = spline_move(np.zeros((9, 2)), OPEN, (0, 4, 8), 8, (0, 10))
    np.testing.assert_allclose(pulled[4:, 1], [0, 25 / 16, 5, 135 / 16, 10])
    np.testing.assert_array_equal(pulled[:4], np.zeros((4, 2)))


@pytest.mark.parametrize(("joint", "missing"), [(3, 0), (4, 4), (20, 0)])
def test_only_a_placed_handle_of_the_contour_can_be_moved(joint, missing):
    points = RULER.copy()
    points[missing] = np.nan
    with pytest.raises(AnnotationError, match="is no handle"):
        spline_move(points, OPEN, (0, 4, 8), joint, (1, 1))


FORK = Skeleton(
    name="fork",
    joints=tuple("abcdefghijk"),
    edges=((0, 1), (1, 2), (2, 3), (3, 4), (0, 5), (5, 6), (6, 7), (7, 8), (0, 9)),
)
"""Two long branches and a short one from the first joint, and a joint without edges."""
FORK_AT = np.array([(0, 10 * n) for n in range(5)] + [(10 * n, 0) for n in range(1, 7)])


def test_all_handles_are_those_of_the_contours_and_what_has_none():
    assert all_handles(FORK) == (0, 2, 4, 6, 8, 9, 10)
    assert len(all_handles(FACE)) == 33


def test_a_handle_takes_all_its_contours_along():
    pulled = handle_move(FORK_AT, FORK, 0, (8, 4))
    np.testing.assert_allclose(pulled[[0, 1, 5]], [(8, 4), (4, 12), (14, 2)])
    others = [2, 3, 4, 6, 7, 8, 9, 10]
    np.testing.assert_array_equal(pulled[others], FORK_AT[others])


def test_a_joint_without_edges_goes_alone():
    pulled = handle_move(FORK_AT, FORK, 10, (3, 3))
    np.testing.assert_array_equal(pulled[10], (3, 3))
    np.testing.assert_array_equal(pulled[:10], FORK_AT[:10])


def test_what_is_no_handle_or_not_placed_cannot_be_moved():
    pose = FORK_AT.astype(np.float64)
    pose[4] = np.nan
    for joint in (1, 4):
        with pytest.raises(AnnotationError, match="is no handle"):
            handle_move(pose, FORK, joint, (3, 3))


@st.composite
def contours(draw):
    """A pose of a shipped skeleton, one of its contours, its handles and one of them."""
    skeleton = draw(st.sampled_from(TEMPLATED))
    chain = draw(st.sampled_from(skeleton.contours))
    held = handles(chain, draw(st.integers(1, 8)))
    jitter = draw(st.integers(0, 2**32 - 1))
    pose = np.array(skeleton.neutral_pose)
    pose = pose + np.random.default_rng(jitter).uniform(-3, 3, pose.shape)
    return pose, chain, held, draw(st.sampled_from(held))


@relaxed
@given(contours())
def test_a_handle_moved_by_nothing_changes_nothing(case):
    pose, chain, held, joint = case
    same = spline_move(pose, chain, held, joint, tuple(pose[joint]))
    np.testing.assert_array_equal(same, pose)


@relaxed
@given(contours(), small)
def test_a_handle_goes_where_it_is_moved_and_what_is_far_stays(case, shift):
    pose, chain, held, joint = case
    position = tuple(pose[joint] + shift)
    after = spline_move(pose, chain, held, joint, position)
    assert tuple(after[joint]) == position
    others = [j for j in range(len(pose)) if j not in chain or (j in held and j != joint)]
    np.testing.assert_array_equal(after[others], pose[others])
    # no joint goes further than the handle
    assert np.linalg.norm(after - pose, axis=1).max() <= np.linalg.norm(shift) + 1e-9
    if len(held) > 2 and chain[0] != chain[-1]:
        place = chain.index(joint)
        before = [chain.index(h) for h in held if chain.index(h) < place]
        behind = [chain.index(h) for h in held if chain.index(h) > place]
        far = [*chain[: max(before, default=0)], *chain[min(behind, default=len(chain)) :]]
        np.testing.assert_array_equal(after[far], pose[far])


def test_a_skeleton_of_the_users_own_has_contours_to_edit():
    tail = Skeleton(name="tail", joints=tuple("abcde"), edges=((0, 1), (1, 2), (2, 3), (3, 4)))
    (chain,) = tail.contours
    pulled = spline_move(RULER[:5], chain, handles(chain, 2), 4, (40, 8))
    np.testing.assert_allclose(pulled[:, 1], [0, 8 * 5 / 32, 4, 8 * 27 / 32, 8])
