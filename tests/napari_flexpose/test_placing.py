"""A template placed by a few clicks and contours moved by handles, without a window."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flexpose.annotation import label as edits
from flexpose.annotation.label import OCCLUDED, UNDECIDED, VISIBLE
from flexpose.annotation.template import clicks
from flexpose.errors import AnnotationError
from flexpose.skeleton import Skeleton, load_skeleton

FACE = load_skeleton("face68")
FACE_AT = np.array(FACE.neutral_pose) * 0.4 + (60, 40)  # in images of 120 x 100 pixels


@pytest.fixture
def face(session):
    """The session on faces."""
    session.change_skeleton(FACE)
    return session


def places(pose, skeleton=FACE):
    """What an annotator clicks who sees this pose."""
    return [tuple(pose[list(joints)].mean(axis=0)) for joints in clicks(skeleton).values()]


def click(session, *points):
    for point in points:
        session.click(*point)


def told(session):
    said = []
    session.said.connect(said.append)
    return said


# ---------------------------------------------------------------- a template by clicks


def test_five_clicks_place_a_face_in_one_step(face):
    asked = []
    face.placing.changed.connect(lambda: asked.append(face.placing.prompt))
    face.placing.place_by_clicks()
    click(face, *places(FACE_AT))
    assert asked == [
        "Click the middle of the person's right eye, 1 of 5",
        "Click the middle of the person's left eye, 2 of 5",
        "Click the tip of the nose, 3 of 5",
        "Click the corner of the mouth on the person's right, 4 of 5",
        "Click the corner of the mouth on the person's left, 5 of 5",
        "",
    ]
    np.testing.assert_allclose(face.label.points, FACE_AT, atol=1e-3)
    assert face.label.suggested.all()
    assert face.undo_words == "place template by clicks"
    face.undo()
    assert face.label.untouched


def test_the_face_goes_through_clicks_that_suit_no_template(face):
    wanted = [(40, 40), (75, 35), (60, 55), (50, 70), (75, 72)]
    face.placing.place_by_clicks()
    click(face, *wanted)
    np.testing.assert_allclose(places(face.label.points), wanted, atol=1e-3)


def test_undo_takes_clicks_back_then_leaves_then_undoes_labels(face):
    face.click(5, 5)
    placing = face.placing
    placing.place_by_clicks()
    click(face, (40, 40), (70, 40))
    assert face.undo_words == "click on the middle of the person's left eye"
    face.undo()
    assert placing.points == ((40, 40),)
    assert placing.prompt.endswith("left eye, 2 of 5")
    face.undo()
    assert (placing.active, face.undo_words) == (True, "placing by clicks")
    face.undo()
    assert not placing.active
    assert face.label.placed.sum() == 1
    face.undo()
    assert face.label.untouched


def test_what_is_hidden_is_passed_over(face):
    face.placing.place_by_clicks()
    for number, place in enumerate(places(FACE_AT)):
        if number in (1, 4):  # the left side of a profile
            face.mark_absent()
        else:
            face.click(*place)
    np.testing.assert_allclose(face.label.points, FACE_AT, atol=1e-3)


def test_passing_over_is_taken_back_as_a_click_is(face):
    face.placing.place_by_clicks()
    face.mark_absent()
    assert face.undo_words == "passing over the middle of the person's right eye"
    face.clear_joint()
    assert face.placing.prompt.endswith("1 of 5")
    assert face.label.untouched


def test_what_is_decided_stays_and_what_was_suggested_is_replaced(face):
    face.click(3, 3)
    face.mark_absent()
    face.place_template((10, 10, 30, 30))
    face.placing.place_by_clicks()
    click(face, *places(FACE_AT))
    np.testing.assert_array_equal(face.label.points[0], (3, 3))
    assert np.isnan(face.label.points[1]).all()
    np.testing.assert_allclose(face.label.points[2:], FACE_AT[2:], atol=1e-3)


def test_clicks_that_say_too_little_are_refused_and_can_be_mended(face):
    placing = face.placing
    placing.place_by_clicks()
    click(face, *[(50, 50)] * 4)
    with pytest.raises(AnnotationError, match="to a point"):
        face.click(50, 50)
    assert placing.prompt.endswith("5 of 5")
    assert face.label.untouched
    for _ in range(3):
        face.undo()
    for _ in range(3):
        face.mark_absent()
    with pytest.raises(AnnotationError, match="Found 1 anchors"):
        face.mark_absent()
    face.click(70, 50)
    assert face.label.suggested.all()


@pytest.mark.parametrize(
    "act",
    [
        lambda session: session.next_frame(),
        lambda session: session.place_template(),
        lambda session: session.change_skeleton(load_skeleton("hand21")),
        lambda session: session.placing.place_by_clicks(),
        lambda session: session.close(),
    ],
    ids=["frame", "template", "skeleton", "again", "close"],
)
def test_places_are_no_longer_asked_for_when_something_else_begins(face, act):
    face.placing.place_by_clicks()
    face.click(40, 40)
    act(face)
    assert not face.placing.active
    assert face.placing.points == ()


def test_without_anything_to_fill_or_a_template_nothing_is_asked(session):
    said = told(session)
    session.placing.place_by_clicks()
    assert "no template" in said[-1]
    session.change_skeleton(FACE)
    session.apply({session.name: decided(FACE_AT)}, "label")
    session.placing.place_by_clicks()
    assert "Every joint" in said[-1]
    assert not session.placing.active


def test_one_joint_needs_no_template(session):
    said = told(session)
    session.change_skeleton(Skeleton(name="one", joints=("tip",), edges=(), neutral_pose=((1, 1),)))
    session.placing.place_by_clicks()
    assert "Click the joint" in said[-1]
    assert not session.placing.active


def decided(points):
    count = len(points)
    state, suggested = np.full(count, VISIBLE, np.int8), np.zeros(count, bool)
    return edits.FrameLabel(points=points, state=state, suggested=suggested)


def test_a_skeleton_of_the_users_own_is_placed_by_its_joints(session, puppet):
    pose = ((0.0, 0.0), (0.0, -5.0), (-4.0, -4.0), (4.0, -4.0), (0.0, 6.0))
    own = replace(puppet, neutral_pose=pose)
    session.change_skeleton(own)
    session.placing.place_by_clicks()
    assert session.placing.prompt == "Click the hip, 1 of 4"
    there = np.array(pose) * (-5, 5) + (60, 50)  # seen from behind
    click(session, *places(there, own))
    np.testing.assert_allclose(session.label.points, there, atol=1e-3)


@pytest.mark.parametrize(("side", "hint"), [(1, "Enter"), (-1, "Press W")])
def test_a_face_with_its_sides_exchanged_is_told(face, side, hint):
    said = told(face)
    face.placing.place_by_clicks()
    click(face, *places((FACE_AT - (60, 0)) * (side, 1) + (60, 0)))
    assert hint in said[-1]


# ---------------------------------------------------------------- contours

JAW = range(17)


@pytest.fixture
def contours(face):
    """A face that is labelled, all but one joint, and contours to be moved."""
    label = edits.toggle_occluded(edits.clear_joint(decided(FACE_AT), 2), 5)
    face.apply({face.name: label}, "label")
    face.placing.toggle_contours()
    return face


def test_a_handle_takes_its_neighbours_along(contours):
    before = contours.label
    x, y = FACE_AT[4]
    contours.placing.move_handle(before, 4, x - 8, y, "drag")
    after = contours.label
    shift = (before.points - after.points)[:, 0]
    assert shift[4] == pytest.approx(8, abs=1e-4)
    assert 0 < shift[7] < shift[6] < shift[5] < 8
    np.testing.assert_array_equal(after.points[8:], before.points[8:])
    np.testing.assert_array_equal(after.state, before.state)
    assert (after.state[2], after.state[5]) == (UNDECIDED, OCCLUDED)


def test_a_drag_of_a_handle_is_one_step_whatever_way_it_takes(contours):
    before = contours.label
    for x in (70, 20, 55.5):
        contours.placing.move_handle(before, 8, x, 80, "drag")
    zigzag = contours.label
    assert contours.undo_words == "move jaw 09"
    contours.undo()
    assert contours.label.equals(before)
    contours.placing.move_handle(before, 8, 55.5, 80, "straight")
    assert contours.label.equals(zigzag)


def test_only_the_handle_itself_is_decided_by_a_drag(face):
    face.placing.place_by_clicks()
    click(face, *places(FACE_AT))
    face.placing.toggle_contours()
    face.placing.move_handle(face.label, 8, 60, 90, "drag")
    assert np.flatnonzero(~face.label.suggested).tolist() == [8]
    assert face.label.points[7, 1] > FACE_AT[7, 1] + 1


def test_handles_stay_inside_the_image(contours):
    contours.placing.move_handle(contours.label, 8, 60, 500, "drag")
    np.testing.assert_array_equal(contours.label.points[8], (60, 99))


def test_a_handful_of_each_contour_can_be_dragged(contours):
    assert np.flatnonzero(contours.placing.handles[JAW]).tolist() == [0, 4, 8, 12, 16]
    contours.placing.toggle_contours()
    assert contours.placing.handles.all()


def test_contours_are_for_skeletons_that_have_them(contours, body):
    contours.next_frame()
    assert contours.placing.contours
    contours.change_skeleton(body, drop=True)
    assert not contours.placing.contours
    said = told(contours)
    contours.placing.toggle_contours()
    assert "no contours" in said[-1]
    assert not contours.placing.contours
