"""Labelling in the real window, by mouse and keys."""

from __future__ import annotations

import numpy as np
import pytest

from flexpose.annotation.label import ABSENT, OCCLUDED, UNDECIDED, VISIBLE

pytestmark = pytest.mark.gui
NEAR = 0.5  # image pixels; the canvas has whole pixels only


def state(user) -> list[int]:
    return user.dock.session.label.state.tolist()


def points(user) -> np.ndarray:
    return user.dock.session.label.points


def test_clicks_alone_label_all_joints_where_the_mouse_is(user):
    places = user.label_all()
    label = user.dock.session.label
    assert label.complete
    np.testing.assert_allclose(label.points, places, atol=NEAR)
    user.click(100, 30)  # nothing is undecided any more
    assert user.dock.session.label.equals(label)


def test_a_joint_can_be_clicked_onto_another(user):
    session = user.dock.session
    for _ in range(2):
        user.click(60, 50)
    assert session.label.placed.sum() == 2
    assert session.joint == 2
    # with nothing left to place here, a click on a joint chooses it
    session.select_joint(1)
    user.click(60, 50)
    assert session.label.placed.sum() == 2


def test_keys_say_occluded_and_absent(user):
    user.click(30, 30)
    user.key("O")  # the joint just placed
    user.key("X")  # the current one
    assert state(user)[:3] == [OCCLUDED, ABSENT, UNDECIDED]
    assert user.dock.session.joint == 2
    assert user.dock.layers.points.symbol.tolist() == ["ring"]
    user.key("Delete")  # nothing said about the third: the second
    assert state(user)[:2] == [OCCLUDED, UNDECIDED]


def test_undo_and_redo_follow_the_frames(user):
    user.click(30, 30)
    user.key("Right")
    user.click(40, 40)
    user.key("Control+Z")
    assert state(user)[0] == UNDECIDED
    user.key("Control+Z")
    session = user.dock.session
    assert session.frame == 0
    assert state(user)[0] == UNDECIDED
    user.key("Control+Shift+Z")
    user.key("Control+Shift+Z")
    assert session.frame == 1
    np.testing.assert_allclose(points(user)[0], (40, 40), atol=NEAR)


def test_a_drag_moves_one_joint_and_is_one_undo_step(user):
    user.label_all()
    before = points(user)
    user.drag((20, 20), (25, 60), (30, 70))
    np.testing.assert_allclose(points(user)[0], (30, 70), atol=NEAR)
    np.testing.assert_array_equal(points(user)[1:], before[1:])
    user.key("Control+Z")
    np.testing.assert_array_equal(points(user), before)


def test_shift_and_drag_move_the_whole_pose(user):
    user.label_all()
    before = points(user)
    user.drag((20, 20), (24, 22), (28, 26), shift=True)
    moved = points(user) - before
    np.testing.assert_allclose(moved, np.tile((8, 6), (15, 1)), atol=2 * NEAR)
    user.key("Control+Z")
    np.testing.assert_array_equal(points(user), before)


def hold(user, *stops, keys=None) -> None:
    """Press the mouse at the first stop and move over the others, without a release."""
    from qtpy.QtCore import Qt

    keys = keys or Qt.KeyboardModifier.NoModifier
    native, pixels = user.canvas.native, [user.pixel(*stop) for stop in stops]
    user.qtbot.mouseMove(native, pixels[0])
    user.qtbot.mousePress(native, Qt.MouseButton.LeftButton, keys, pixels[0])
    for pixel in pixels[1:]:
        user.qtbot.wait(15)  # quicker moves are dropped
        user._move(native, pixel, keys)


def release(user, x, y) -> None:
    from qtpy.QtCore import Qt

    nothing = Qt.KeyboardModifier.NoModifier
    left, pixel = Qt.MouseButton.LeftButton, user.pixel(x, y)
    user.qtbot.mouseRelease(user.canvas.native, left, nothing, pixel)


def control():
    from qtpy.QtCore import Qt

    return Qt.KeyboardModifier.ControlModifier


def test_escape_takes_a_drag_back(user):
    user.label_all()
    before, words = user.dock.session.label, user.dock.session.undo_words
    hold(user, (20, 20), (25, 60), (30, 70))
    assert points(user)[0, 1] > 50
    user.key("Escape")
    assert user.dock.session.label.equals(before)
    centre = user.viewer.scene.camera.center
    release(user, 60, 80)  # neither moves the joint again nor the view
    assert user.dock.session.label.equals(before)
    assert user.viewer.scene.camera.center == centre
    assert (user.dock.session.undo_words, user.dock.session.redo_words) == (words, "")
    user.drag((20, 20), (25, 60), (30, 70))  # the next drag is one again
    np.testing.assert_allclose(points(user)[0], (30, 70), atol=NEAR)


def test_escape_without_a_drag_goes_back_to_what_is_to_do(user):
    user.click(30, 30)
    user.dock.session.select_joint(9)
    user.key("Escape")
    assert user.dock.session.joint == 1


def test_a_drag_ends_when_another_frame_comes(user):
    user.label_all()
    user.key("Right")
    user.key("C")
    before = user.dock.session.label
    user.key("Left")
    hold(user, (20, 20), (25, 30))
    user.key("Right")
    release(user, 60, 80)
    assert user.dock.session.label.equals(before)


def test_ctrl_and_drag_place_the_template_into_a_box(user):
    centre = user.viewer.scene.camera.center
    hold(user, (30, 20), (50, 60), (70, 90), keys=control())
    edges = user.dock.layers.edges
    assert len(edges.data) == 4  # the box, while it is drawn
    np.testing.assert_allclose(edges.data[0], [[20, 30], [0, 40]], atol=2 * NEAR)
    release(user, 70, 90)
    label = user.dock.session.label
    assert label.suggested.all()
    assert (label.points >= (29, 19)).all() and (label.points <= (71, 91)).all()
    assert np.ptp(label.points, axis=0).max() > 35
    assert len(edges.data) > 2 * len(user.dock.session.skeleton.edges)  # dashes
    assert user.viewer.scene.camera.center == centre
    user.key("Control+Z")
    assert set(state(user)) == {UNDECIDED}


def test_escape_drops_a_box(user):
    hold(user, (30, 20), (50, 60), keys=control())
    user.key("Escape")
    assert len(user.dock.layers.edges.data) == 0
    release(user, 70, 90)
    assert set(state(user)) == {UNDECIDED}


def test_suggestions_are_taken_by_key(user):
    user.key("T")
    user.key("Shift+G")
    assert user.dock.session.label.suggested.tolist() == [False] + [True] * 14
    assert user.dock.session.joint == 1
    user.key("G")
    assert user.dock.session.label.complete
    assert user.dock.session.frame == 0


def test_colours_tell_sides_or_states(user):
    user.click(60, 20)
    user.key("O")
    user.key("T")
    layer = user.dock.layers.points
    by_side = layer.face_color.copy()
    user.key("E")
    occluded, suggested = layer.face_color[0], layer.face_color[1]
    np.testing.assert_allclose(occluded, [0.8, 0.475, 0.655, 1], atol=0.01)  # purple
    np.testing.assert_allclose(suggested, [0.941, 0.894, 0.259, 0.625], atol=0.01)  # yellow
    user.key("G")
    np.testing.assert_allclose(layer.face_color[1], [0, 0.62, 0.451, 1], atol=0.01)  # green
    user.key("Control+Z")
    user.key("E")
    np.testing.assert_array_equal(layer.face_color, by_side)


def test_what_is_in_memory_only_is_told_as_an_error(user, monkeypatch):
    import os

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    user.click(30, 30)
    with monkeypatch.context() as broken:
        broken.setattr(os, "replace", full_disk)
        user.key("Control+Shift+S")
    assert user.dock.status.property("serious")
    assert "No space" in user.dock.status.text()
    assert user.dock.session.project.unsaved


def test_a_finding_can_be_accepted_as_is(user, qtbot):
    user.label_all()
    user.dock.session.move_joint(1, *points(user)[0].tolist(), "drag")
    panel = user.dock.label_panel
    assert panel.findings_words.text() == "No findings"
    assert not panel.as_is.isVisible()
    panel.check()
    assert not panel.as_is.isVisible()
    panel.findings.itemClicked.emit(panel.findings.topLevelItem(0), 0)
    panel.check()  # as after saving: it stays chosen
    assert panel.as_is.isVisible()
    assert not panel.fix.isVisible()
    panel.as_is.click()
    qtbot.waitUntil(lambda: panel.findings_words.text() == "No findings")
    assert not panel.as_is.isVisible()
    user.key("Control+Z")
    qtbot.waitUntil(lambda: panel.findings_words.text() == "1 finding")


def test_the_template_button_tells_of_the_box(user):
    from qtpy.QtWidgets import QToolButton

    (button,) = [b for b in user.dock.findChildren(QToolButton) if b.text() == "Template"]
    assert "(T)" in button.toolTip()
    assert "Ctrl+drag" in button.toolTip()


def test_dragging_the_background_pans_and_labels_nothing(user):
    centre = user.viewer.scene.camera.center
    user.drag((60, 50), (70, 60), (80, 70))
    assert user.viewer.scene.camera.center != centre
    assert set(state(user)) == {UNDECIDED}


def test_zoom_stays_when_the_list_changes(user):
    user.wheel(60, 50, 3)
    zoomed = user.viewer.scene.camera.zoom
    user.dock.session.toggle_in_list()
    user.key("Right")
    assert user.viewer.scene.camera.zoom == zoomed


def test_zoom_stays_from_frame_to_frame(user):
    zoom = user.viewer.scene.camera.zoom
    user.wheel(60, 50, 3)
    zoomed = user.viewer.scene.camera.zoom
    assert zoomed > zoom
    user.key("Right")
    assert user.dock.session.frame == 1
    assert user.viewer.scene.camera.zoom == zoomed


def test_joints_keep_their_size_on_the_screen(user):
    user.label_all()
    layer, camera = user.dock.layers.points, user.viewer.scene.camera
    before = layer.size * camera.zoom
    user.wheel(60, 50, 3)
    np.testing.assert_allclose(layer.size * camera.zoom, before, rtol=1e-5)


def test_template_is_suggested_until_accepted(user):
    user.key("T")
    label = user.dock.session.label
    assert label.suggested.all()
    assert set(user.dock.layers.points.features["status"]) == {"suggested"}
    np.testing.assert_allclose(user.dock.layers.points.face_color[:, 3], 0.625)
    user.key("Enter")
    label = user.dock.session.label_of("0.png")
    assert label.verdict == "reviewed"
    assert not label.suggested.any()
    assert user.dock.session.frame == 1


def test_mirror_and_swap(user):
    user.label_all()
    flip = list(user.dock.session.skeleton.flip_index)
    before = points(user)
    user.key("W")
    np.testing.assert_array_equal(points(user), before[flip])
    user.key("W")
    user.key("M")
    axis = before[:, 0].min() + before[:, 0].max()
    np.testing.assert_allclose(points(user)[flip, 0], axis - before[:, 0], atol=1e-3)
    user.key("M")
    np.testing.assert_allclose(points(user), before, atol=1e-3)


def test_copying_suggests_the_pose_labelled_last(user):
    user.label_all()
    labelled = points(user)
    user.key("Right")
    user.key("C")
    label = user.dock.session.label
    np.testing.assert_array_equal(label.points, labelled)
    assert label.suggested.all()
    assert not label.complete


def test_accepting_goes_to_the_next_frame_of_the_list(user):
    user.dock.session.set_work(["0.png", "2.png"])
    user.label_all()
    user.key("Enter")
    assert user.dock.session.frame == 2
    assert user.dock.session.progress() == (1, 2)


def test_holding_h_hides_the_skeleton(user):
    user.label_all()
    layers = user.dock.layers
    user.key("H", hold=True)
    assert (layers.points.opacity, layers.edges.opacity) == (0.0, 0.0)
    user.release("H")
    assert layers.points.opacity == 1.0
    assert layers.edges.opacity > 0.5


def test_keys_of_napari_that_would_harm_do_nothing(user):
    user.label_all()
    before = user.dock.session.label
    layer = user.dock.layers.points
    layer.selected_data = {0, 1}
    for key in ("1", "5"):
        user.key(key)
    assert len(layer.data) == 15
    assert layer.mode == "pan_zoom"
    layer.mode = "add"
    assert layer.mode == "pan_zoom"
    assert user.dock.session.label.equals(before)


def test_keys_act_on_our_layer_only(user):
    user.click(30, 30)
    user.viewer.layers.selection.active = user.dock.layers.image
    user.key("X")
    assert state(user)[1] == UNDECIDED


def test_current_joint_is_named_on_the_canvas(user):
    text = user.viewer.canvas.overlays.text
    assert (text.visible, text.box) == (True, True)
    assert text.text == "neck, 1 of 15"
    user.key("Down")
    assert text.text == "head, 2 of 15"


def test_labels_are_there_when_opened_again(user, open_dock, images):
    user.label_all()
    user.click(40, 50)
    user.key("Control+Shift+S")
    label = user.dock.session.label
    user.dock.shut_down()
    again = open_dock(images)
    assert again.dock.session.label.equals(label)
    assert len(again.dock.layers.points.data) == 15


def test_the_sample_opens_with_the_keys_on_our_layer(open_dock, qtbot, tmp_path, monkeypatch):
    from napari_flexpose import _sample_data
    from napari_flexpose.widgets import project_panel

    monkeypatch.setattr(_sample_data, "FRAMES_PER_CLIP", 1)
    monkeypatch.setattr(_sample_data, "IMAGE_SIZE", 64)
    folder = _sample_data.sample_folder(tmp_path)
    assert list(tmp_path.iterdir()) == [folder]
    for module in (_sample_data, project_panel):
        monkeypatch.setattr(module, "sample_folder", lambda: folder)
    user = open_dock()
    viewer, dock = user.viewer, user.dock
    monkeypatch.setattr("napari.current_viewer", lambda: viewer)
    window = type(viewer.window)
    monkeypatch.setattr(window, "add_plugin_dock_widget", lambda *names: (None, dock))
    [(pixels, shown, kind)] = _sample_data.open_mannequin()
    assert kind == "image"
    viewer.add_image(pixels, **shown)  # as napari does
    assert viewer.layers.selection.active is not dock.layers.points
    qtbot.waitUntil(lambda: viewer.layers.selection.active is dock.layers.points)
    assert len(dock.session.frames.names) == 8


def test_two_windows_share_nothing(user, open_dock, tmp_path):
    other = open_dock()
    user.click(30, 30)
    assert other.dock.session.project is None
    assert not other.viewer.layers
    assert state(user)[0] == VISIBLE


def test_deleting_our_layers_loses_no_label(user):
    user.label_all()
    user.viewer.layers.remove(user.dock.layers.points)
    assert not user.viewer.layers
    assert user.dock.session.label.complete
    user.dock.session.next_frame()
    user.dock.session.previous_frame()
    assert len(user.dock.layers.points.data) == 15


def test_an_unreadable_image_is_told_and_stops_nothing(user, images):
    (images / "1.png").write_bytes(b"no image")
    user.key("Right")
    assert "1.png" in user.dock.status.text()
    user.click(60, 50)
    assert state(user)[0] == UNDECIDED
    user.key("Right")
    assert user.dock.session.frame == 2
