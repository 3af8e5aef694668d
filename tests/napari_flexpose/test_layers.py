"""What the layers show; no mouse and no keys."""

from __future__ import annotations

import time

import numpy as np
import pytest

from flexpose.skeleton import load_skeleton

pytestmark = pytest.mark.gui
BUDGET = 0.015
"""Seconds of this thread for a change of a label."""


def test_states_have_shapes_and_sides_have_colours(open_dock, images, puppet):
    user = open_dock(images, puppet)
    session, layers = user.dock.session, user.dock.layers
    for place in ((60, 60), (60, 20), (30, 40), (90, 40)):
        session.click(*place)
    session.toggle_occluded()  # the right hand
    points = layers.points
    np.testing.assert_array_equal(points.data, [[60, 60], [20, 60], [40, 30], [40, 90]])
    assert points.symbol.tolist() == ["disc", "disc", "disc", "ring"]
    assert points.features["joint"].tolist() == ["hip", "head", "left_hand", "right_hand"]
    assert points.features["visibility"].tolist() == [2, 2, 2, 1]
    blue, orange = points.face_color[2], points.face_color[3]
    assert blue[2] > blue[0]
    assert orange[0] > orange[2]
    assert layers.edges.data.shape == (3, 2, 2)
    assert "tail, 5 of 5" in user.viewer.canvas.overlays.text.text


def test_an_empty_frame_shows_nothing_and_the_next_one_all(user):
    user.dock.session.place_template()
    user.dock.session.next_frame()
    assert len(user.dock.layers.points.data) == len(user.dock.layers.edges.data) == 0
    user.dock.session.previous_frame()
    assert len(user.dock.layers.points.data) == 15


def test_images_of_other_sizes_are_fitted(user, images):
    import cv2

    cv2.imwrite(str(images / "2.png"), np.zeros((400, 500, 3), np.uint8))
    zoom = user.viewer.scene.camera.zoom
    user.dock.session.show_frame(2)
    assert user.dock.layers.image.data.shape == (400, 500, 3)
    assert user.viewer.scene.camera.zoom < zoom / 3


def test_fitting_to_the_pose_and_back(user):
    whole = user.viewer.scene.camera.zoom
    user.dock.session.place_template((50, 40, 20, 20))
    user.dock.layers.fit_to_pose()
    assert user.viewer.scene.camera.zoom > 2 * whole
    centre = user.viewer.scene.camera.center[-2:]
    np.testing.assert_allclose(centre, (50, 60), atol=0.5)


def test_changing_a_label_is_quick(open_dock, images):
    user = open_dock(images, load_skeleton("coco17"))
    session = user.dock.session
    session.place_template()
    took = []
    for _ in range(15):
        start = time.thread_time()
        user.dock.layers._on_label()
        took.append(time.thread_time() - start)
    assert np.median(took) < BUDGET


def test_closing_takes_layers_and_keys_away(user):
    points = user.dock.layers.points
    user.dock.layers.close()
    assert not user.viewer.layers
    assert not points.keymap
    assert not points.mouse_drag_callbacks
    assert not user.viewer.canvas.overlays.text.visible
    user.dock.session.click(10, 10)  # without anybody to show it
