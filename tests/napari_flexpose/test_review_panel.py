"""Reviewing in the real window, by mouse and keys."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flexpose.annotation.label import UNDECIDED
from flexpose.annotation.review import Agreement
from flexpose.io.coco import write_coco
from flexpose.io.coco_read import read_coco
from flexpose.poseset import PoseSet
from flexpose.skeleton import load_skeleton

pytest.importorskip("qtpy")
from napari_flexpose.review import Preview
from napari_flexpose.widgets.export_panel import LabelsBox
from napari_flexpose.widgets.many_box import preview_words
from napari_flexpose.widgets.review_panel import worth_words

NAMES = tuple(f"{number}.png" for number in range(4))


def true_poses() -> np.ndarray:
    pose = np.array(load_skeleton("body15").neutral_pose)
    low, high = pose.min(axis=0), pose.max(axis=0)
    extent = float((high - low).max())
    one = (pose - low) / extent * 70 + np.array([40, 15])
    return np.stack([one + np.array([2 * number, 0]) for number in range(4)])


@pytest.fixture
def predicted(tmp_path: Path) -> Path:
    """What a detector would write: known poses with noise, and how sure it is."""
    random = np.random.default_rng(0)
    truth = true_poses()
    spread = np.array([1.0, 8.0, 4.0, 2.0])[:, None, None]
    points = truth + random.normal(0, 1, truth.shape) * spread
    confidence = 1 - np.exp(-((7 / spread[..., 0]) ** 2) / 2) * np.ones((4, 15))
    poses = PoseSet.create(
        load_skeleton("body15"),
        np.clip(points, 0, (119, 99)),
        (120, 100),
        image_ids=NAMES,
        confidence=confidence,
    )
    path = tmp_path / "predictions.coco.json"
    write_coco(poses, path)
    return path


@pytest.fixture
def panel(user, predicted):
    dock = user.dock
    dock.review_step.set_open(True)
    dock.review_panel.load(predicted)
    return dock.review_panel


def settle(user) -> None:
    """Lists follow a little later."""
    user.qtbot.waitUntil(lambda: not user.dock.review_panel._rest.isActive())


def frames(panel) -> list[str]:
    items = (panel.queue.topLevelItem(i) for i in range(panel.queue.topLevelItemCount()))
    return [item.text(1) for item in items]


@pytest.mark.gui
def test_without_predictions_the_panel_says_what_to_do(user):
    dock = user.dock
    dock.review_step.set_open(True)
    panel = dock.review_panel
    assert panel.empty.isVisible()
    assert "Train a detector and predict first" in panel.empty.text()
    assert not panel.loaded.isVisible()
    assert panel.load_button.text() == "Load predictions…"
    assert dock.review_step.state == "no predictions yet"
    user.key("K")
    assert "no predictions" in dock.status.text()


@pytest.mark.gui
def test_a_file_is_listed_least_sure_first_and_shown(user, panel):
    assert frames(panel) == ["1.png", "2.png", "3.png", "0.png"]
    assert user.dock.session.name == "1.png"
    assert panel.queue.currentItem().text(1) == "1.png"
    assert not panel.empty.isVisible()
    user.qtbot.waitUntil(lambda: user.dock.review_step.state == "4 of 4 to review")


@pytest.mark.gui
def test_a_file_that_is_none_is_told_in_words(user, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_flexpose.widgets.main.show_error", lambda words: None)
    path = tmp_path / "other.json"
    path.write_text("{}")
    user.dock.review_panel.load(path)
    assert "other.json" in user.dock.status.text()
    assert not user.dock.reviewer.loaded


@pytest.mark.gui
def test_keys_alone_review_all(user, panel):
    session = user.dock.session
    user.key("Enter")
    assert session.label_of("1.png").verdict == "reviewed"
    assert session.name == "2.png"
    user.key("K")
    assert session.name == "3.png"
    user.key("J")
    assert session.name == "2.png"
    user.key("D")
    assert (session.label_of("2.png").state == UNDECIDED).all()
    assert session.name == "3.png"
    settle(user)
    assert frames(panel) == ["3.png", "0.png"]
    user.key("Control+Z")
    settle(user)
    assert "2.png" in frames(panel)


@pytest.mark.gui
def test_a_joint_is_fixed_by_dragging(user, panel):
    session = user.dock.session
    x, y = session.label.points[14].tolist()
    user.drag((x, y), (x + 6, y - 4), (x + 12, y - 8))
    assert not session.label.suggested[14]
    np.testing.assert_allclose(session.label.points[14], (x + 12, y - 8), atol=1)
    user.key("Enter")
    assert session.label_of("1.png").complete


@pytest.mark.gui
def test_buttons_do_what_keys_do(user, panel):
    session = user.dock.session
    for button, name in ((panel.skip, "2.png"), (panel.back, "1.png"), (panel.accept, "2.png")):
        button.click()
        assert session.name == name
    panel.reject.click()
    settle(user)
    assert frames(panel) == ["3.png", "0.png"]
    panel.undo.click()
    settle(user)
    assert len(frames(panel)) == 3
    panel.order.setCurrentIndex(2)
    panel.order.activated.emit(2)
    settle(user)
    assert frames(panel) == ["0.png", "2.png", "3.png"]


@pytest.mark.gui
def test_many_are_previewed_and_accepted_by_keys_in_one_step(user, panel):
    from qtpy.QtCore import Qt

    native = user.canvas.native
    native.setFocus()
    user.key("B")
    many = panel.many
    assert many.isVisible()
    assert not panel.queue.isVisible()
    many.slider.setValue(95)
    assert "2 of 4 waiting frames." in many.words.text()
    assert "of 100 joints lie within 10 % of the person's size" in many.words.text()
    assert [tile.isVisible() for tile in many.tiles[:3]] == [True, True, False]
    user.qtbot.waitUntil(lambda: not many._pump.isActive())
    assert many.tiles[0].icon().pixmap(72, 72).toImage().pixelColor(36, 36).alpha() == 255
    assert many.tiles[0].toolTip() == "3.png"  # the least sure of them first
    many.button.setFocus()
    user.qtbot.keyClick(many.button, Qt.Key.Key_Space)
    assert not many.isVisible()
    assert panel.queue.isVisible()
    assert user.dock.reviewer.unseen == {"0.png", "3.png"}
    user.key("Control+Z")
    assert len(user.dock.reviewer.queue) == 4


@pytest.mark.gui
def test_a_tile_leads_to_its_frame(user, panel):
    panel.toggle.click()
    panel.many.slider.setValue(95)
    panel.many.tiles[1].click()
    assert user.dock.session.name == "0.png"
    panel.toggle.click()
    assert not panel.many.isVisible()


@pytest.mark.gui
def test_when_all_is_reviewed_nothing_is_offered(user, panel):
    panel.toggle.click()
    panel.many.slider.setValue(50)
    panel.many.button.click()
    for _ in range(2):
        user.key("Enter")
    settle(user)
    assert user.dock.reviewer.queue == []
    assert not panel.accept.isEnabled()
    assert not panel.toggle.isEnabled()
    assert "joints stayed within 10 %" in panel.worth.text()
    user.qtbot.waitUntil(lambda: user.dock.review_step.state == "all reviewed")


@pytest.mark.gui
def test_a_suggestion_is_drawn_in_dashes_fainter_where_it_is_less_sure(user, panel):
    layers, session = user.dock.layers, user.dock.session
    edges = len(session.skeleton.edges)
    assert len(layers.edges.data) > 1.5 * edges
    faint, small = layers.points.face_color[5, 3], layers.points.size[5]
    assert faint < 1
    session.show_name("0.png")
    assert layers.points.face_color[5, 3] > faint
    assert layers.points.size[5] > small
    session.accept()
    session.show_name("0.png")
    assert len(layers.edges.data) == edges
    assert (layers.points.face_color[:, 3] == 1).all()


@pytest.mark.gui
def test_the_canvas_says_that_a_joint_is_suggested_and_how_sure_it_is(user, panel):
    text = user.viewer.canvas.overlays.text
    sure = user.dock.reviewer.confidence("1.png")[0]
    assert text.text == f"neck, 1 of 15, suggested, {100 * sure:.0f} % sure"
    user.key("Enter")
    user.dock.session.show_name("1.png")
    assert text.text == "neck, 1 of 15"


@pytest.mark.gui
def test_exports_tell_reviewed_from_unreviewed(user, panel, tmp_path):
    user.key("Enter")
    user.dock.reviewer.accept_above(0.999)
    box = user.dock.export_step.body.findChild(LabelsBox)
    box.unreviewed.setCurrentIndex(1)
    box.export(tmp_path / "all.json")
    data = read_coco(tmp_path / "all.json")
    flags = dict(zip(data.poses.image_ids, data.annotations, strict=True))
    assert {name: a.fields["attributes"]["reviewed"] for name, a in flags.items()} == {
        "0.png": False,
        "1.png": True,
        "2.png": False,
        "3.png": False,
    }


# ---------------------------------------------------------------- words


def test_the_preview_says_what_accepting_means():
    words = preview_words(Preview(("a", "b"), 5, 1, 0.943))
    assert words.startswith("2 of 5 waiting frames. About 94 of 100 joints lie within 10 %")
    assert words.endswith("1 more sure enough, but without a place for every joint.")
    assert preview_words(Preview((), 5, 0, float("nan"))) == "No waiting frame is that sure."


def test_retraining_is_told_on_the_same_frames():
    words = worth_words(Agreement(14, 210, 6.24, 0.82), Agreement(14, 210, 4.1, 0.997))
    assert words == (
        "In the 14 frames that you decided since:\n"
        "Before retraining 82 of 100 joints right, 6.2 % off.\n"
        "After it 99 of 100 joints right, 4.1 % off."
    )
