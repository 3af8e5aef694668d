"""Labelling 68 points of a face in the real window, by mouse and keys."""

from __future__ import annotations

import numpy as np
import pytest

from flexpose.annotation.template import clicks
from flexpose.skeleton import load_skeleton
from napari_flexpose.layers import JOINT_PIXELS, LEAST_PIXELS

pytestmark = pytest.mark.gui
FACE = load_skeleton("face68")
FACE_AT = np.array(FACE.neutral_pose) * 0.4 + (60, 40)
NEAR = 0.6  # image pixels; the canvas has whole pixels only


def prompt(user) -> str:
    return user.viewer.canvas.overlays.text.text


def pull(user, point, down: float) -> None:
    """Drag from a point downwards, in two moves."""
    x, y = point.tolist()
    user.drag((x, y), (x, y + down / 2), (x, y + down))


def test_a_face_is_placed_by_five_clicks_and_its_jaw_is_dragged(open_dock, images):
    user = open_dock(images, FACE)
    dock, panel, layers = user.dock, user.dock.label_panel, user.dock.layers
    session = dock.session
    places = [FACE_AT[list(joints)].mean(axis=0) for joints in clicks(FACE).values()]
    user.key("Shift+T")
    assert panel.by_clicks.isChecked()
    assert prompt(user) == "Click the middle of the person's right eye, 1 of 5"
    user.click(*places[0])
    user.click(5, 5)
    assert panel.undo.toolTip() == "Undo: click on the middle of the person's left eye (Ctrl+Z)"
    user.key("Escape")
    np.testing.assert_allclose(layers.points.data, [places[0][::-1]], atol=NEAR)
    assert set(layers.points.symbol) == {"cross"}
    for place in places[1:]:
        user.click(*place)
    assert not panel.by_clicks.isChecked()
    assert prompt(user) == "jaw 01, 1 of 68, suggested"
    assert len(layers.points.data) == 68
    np.testing.assert_allclose(session.label.points, FACE_AT, atol=4 * NEAR)

    panel.contours.click()
    assert panel.contours.isChecked()
    size, handles = layers.points.size, session.placing.handles
    assert size[handles].min() > size[~handles].max()
    before = session.label
    chin, beside = before.points[8], before.points[6]  # the second is no handle: the view moves
    pull(user, chin, 8)
    moved = session.label.points - before.points
    np.testing.assert_allclose(moved[8], (0, 8), atol=NEAR)
    assert 1 < moved[7, 1] < 8
    assert (moved[[4, 12]] == 0).all()
    user.key("Control+Z")
    assert session.label.equals(before)
    pull(user, beside, 8)
    assert session.label.equals(before)
    user.key("Shift+C")
    pull(user, beside, 8)
    assert np.flatnonzero(session.label.decided).tolist() == [6]


def test_joints_of_a_face_are_small_where_they_would_cover_each_other(user):
    session, layers, camera = user.dock.session, user.dock.layers, user.viewer.scene.camera
    panel = user.dock.label_panel
    assert not panel.contours.isVisible()
    panel.by_clicks.click()
    panel.by_clicks.click()
    assert not panel.by_clicks.isChecked()
    session.change_skeleton(FACE)
    assert panel.contours.isVisible()
    session.place_template((20, 10, 80, 80))
    session.take_suggestions()
    session.select_joint(0)
    panel.by_clicks.click()  # refused: every joint has a place
    assert not panel.by_clicks.isChecked()
    sizes = []
    for zoom in (1, 2, 60):
        camera.zoom = zoom
        sizes.append(layers.points.size[1] * zoom)
    assert sizes[0] == LEAST_PIXELS
    assert LEAST_PIXELS < sizes[1] < JOINT_PIXELS
    assert sizes[2] == JOINT_PIXELS
