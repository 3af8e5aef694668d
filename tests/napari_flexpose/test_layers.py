"""What the layers show; no mouse and no keys."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from napari.components.overlays import TextOverlay

from flexpose.skeleton import load_skeleton

pytestmark = pytest.mark.gui
BUDGET = 15_000
"""Calls of functions for a change of a label: 10,400 as measured, about 9 ms. Time itself depends
on what else a machine does."""


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


def test_sides_are_drawn_anew_for_a_skeleton_with_as_many_joints(open_dock, images, puppet):
    user = open_dock(images, puppet)
    session, points = user.dock.session, user.dock.layers.points
    for place in ((60, 60), (60, 20), (30, 40), (90, 40), (60, 80)):
        session.click(*place)
    before = points.face_color.copy()
    session.change_skeleton(replace(puppet, symmetric_pairs=((3, 2),)))
    np.testing.assert_array_equal(points.face_color[[2, 3]], before[[3, 2]])
    session.undo()
    np.testing.assert_array_equal(points.face_color, before)


def test_zoom_stays_when_the_skeleton_changes(user, puppet):
    user.wheel(60, 50, 3)
    zoom = user.viewer.scene.camera.zoom
    user.dock.session.change_skeleton(puppet)
    user.dock.session.next_frame()
    assert user.viewer.scene.camera.zoom == zoom


def test_no_layer_of_ours_can_be_moved(user):
    for layer in (user.dock.layers.image, user.dock.layers.edges, user.dock.layers.points):
        layer.mode = "transform"
        assert layer.mode == "pan_zoom"
    assert "Click to place" in user.dock.status.text()


def test_layers_that_come_back_are_fitted_again(user):
    user.viewer.layers.clear()
    user.dock.session.show_frame(0)
    zoom = user.viewer.scene.camera.zoom
    user.viewer.fit_to_view(layers=[user.dock.layers.image])
    assert user.viewer.scene.camera.zoom == pytest.approx(zoom)


def test_nothing_is_labelled_from_aslant(user):
    user.label_all()
    user.dock.session.clear_joint()
    before = user.dock.session.label
    user.viewer.dims.ndisplay = 3
    user.click(100, 30)
    assert user.dock.session.label.equals(before)
    user.viewer.dims.ndisplay = 2
    user.click(100, 30)
    assert user.dock.session.label.complete


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


def test_changing_a_label_is_little_work(open_dock, images):
    user = open_dock(images, load_skeleton("coco17"))
    session = user.dock.session
    session.place_template()
    user.dock.layers._on_label()
    calls = 0

    def count(_frame, event, _argument):
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        user.dock.layers._on_label()
    finally:
        sys.setprofile(None)
    assert 0 < calls < BUDGET


def test_closing_takes_layers_and_keys_away(user):
    own = TextOverlay()  # as napari makes it
    points = user.dock.layers.points
    text = user.viewer.canvas.overlays.text
    assert text.font_size == 11
    user.dock.layers.close()
    assert (text.text, text.font_size) == (own.text, own.font_size)
    assert not user.viewer.layers
    assert not points.keymap
    assert not points.mouse_drag_callbacks
    assert not user.viewer.canvas.overlays.text.visible
    user.dock.session.click(10, 10)  # without anybody to show it


def test_the_whole_image_stays_whole_in_another_window_until_the_user_zooms(user):
    camera, window = user.viewer.scene.camera, user.viewer.window._qt_window
    before = camera.zoom
    window.resize(window.width() + 150, window.height() + 250)
    user.qtbot.waitUntil(lambda: camera.zoom > before * 1.05)
    camera.zoom = 0.5
    canvas = user.viewer.canvas.size
    window.resize(window.width() - 150, window.height() - 250)
    user.qtbot.waitUntil(lambda: user.viewer.canvas.size != canvas)
    user.qtbot.wait(50)
    assert camera.zoom == 0.5


def test_the_status_bar_says_what_our_layer_does(user):
    user.dock.layers.points.mode = "add"
    assert "place a joint" in user.dock.layers.points.help
    assert "place a joint" in user.viewer.help
