"""The dock: steps, sections, messages, opening and closing."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from held_runner import HeldRunner
from qtpy.QtCore import Qt

import napari_flexpose.widgets.project_panel as project_panel
from flexpose.annotation.project import AnnotationProject
from flexpose.configs.adaptation import AdaptConfig
from flexpose.errors import FlexPoseError
from flexpose.events import JobFinished
from flexpose.skeleton import load_skeleton
from napari_flexpose.keymap import SHORTCUTS
from napari_flexpose.widgets.help import HelpDialog
from napari_flexpose.widgets.label_panel import joint_hint
from napari_flexpose.widgets.skeleton_editor import SkeletonDraft, SkeletonEditor

pytestmark = pytest.mark.gui


def texts(view, place: int) -> list[str]:
    return [view.topLevelItem(i).text(place) for i in range(view.topLevelItemCount())]


def test_before_anything_is_open_the_steps_say_what_to_do(open_dock):
    dock = open_dock().dock
    assert [step.opened for step in dock.steps] == [True, *[False] * 5]
    assert dock.project_step.state == "nothing open"
    assert {step.refused for step in dock.steps[1:]} == {"Open images first."}


def test_headers_say_how_far_the_work_is(user, qtbot):
    dock = user.dock
    assert dock.label_step.opened
    assert dock.project_step.state == "walk"
    dock.session.set_work(["0.png", "1.png"])
    user.label_all()
    qtbot.waitUntil(lambda: dock.label_step.state == "1 of 2 labelled")
    assert dock.adapt_step.state == "not yet"  # at least two frames
    dock.session.next_frame()
    user.label_all()
    qtbot.waitUntil(lambda: dock.adapt_step.state == "ready")


def test_one_step_is_open_at_a_time(user):
    user.dock.adapt_step.set_open(True)
    assert [step.opened for step in user.dock.steps] == [False, False, True, *[False] * 3]


def test_the_label_panel_mirrors_the_session(user, qtbot):
    dock = user.dock
    panel, session = dock.label_panel, dock.session
    session.set_work(["0.png", "2.png"])
    user.click(30, 30)
    user.key("O")
    user.key("X")
    assert texts(panel.joints, 0)[:3] == ["○ occluded", "✕ not in image", "· undecided"]
    assert texts(panel.joints, 1)[3] == "left shoulder"
    assert texts(panel.joints, 2)[3] == "L"
    assert panel.joints.currentItem() is panel.joints.topLevelItem(2)
    assert texts(panel.frames, 0) == ["◐ in progress", "· to do"]
    assert panel.status.text() == "◐ in progress, 2 of 15"
    session.show_frame(2)
    assert (panel.slider.value(), panel.number.value()) == (2, 3)
    assert panel.name.words == "2.png"
    assert panel.progress_words.text() == "0 of 2 labelled"


def test_the_panel_moves_the_session(user, qtbot):
    panel, session = user.dock.label_panel, user.dock.session
    panel.slider.setValue(2)
    assert session.frame == 2
    panel.number.setValue(2)
    assert session.frame == 1
    panel.listing.click()
    assert session.work == ["1.png"]
    assert panel.listing.text() == "Remove frame"
    panel.joints.itemClicked.emit(panel.joints.topLevelItem(7), 0)
    assert session.joint == 7
    panel.mode.activated.emit(2)
    assert session.mode == "loop"


def test_undo_and_redo_buttons_say_what_they_would_do(user):
    panel = user.dock.label_panel
    assert not panel.undo.isEnabled()
    user.click(30, 30)
    assert panel.undo.toolTip() == "Undo: place neck (Ctrl+Z)"
    panel.undo.click()
    assert not panel.undo.isEnabled()
    assert panel.redo.toolTip() == "Redo: place neck (Ctrl+Shift+Z)"


def test_every_action_of_the_keymap_has_a_button(user):
    from qtpy.QtWidgets import QToolButton

    words = " ".join(
        f"{button.toolTip()} {' '.join(a.text() for a in button.menu().actions())}"
        if button.menu()
        else button.toolTip()
        for button in user.dock.findChildren(QToolButton)
    )
    by_widget = {"next_mode", "undo", "redo"}  # a box, and what they would do
    missing = [s.words for s in SHORTCUTS if s.words not in words and s.action not in by_widget]
    assert missing == []


def test_clicking_a_button_leaves_the_keys_with_the_picture(user, qtbot):
    from qtpy.QtWidgets import QToolButton

    user.viewer.layers.selection.active = user.dock.layers.image
    panel = user.dock.label_panel
    template = next(b for b in panel.findChildren(QToolButton) if b.text() == "Template")
    qtbot.mouseClick(template, Qt.MouseButton.LeftButton)
    assert user.dock.session.label.suggested.all()
    assert not template.hasFocus()
    assert user.viewer.layers.selection.active is user.dock.layers.points


def test_suggestions_are_looked_for_in_the_background(user, qtbot):
    panel = user.dock.label_panel
    panel.suggestions = 2
    panel.suggest_button.click()
    assert panel.suggest_button.text() == "Cancel"
    qtbot.waitUntil(lambda: len(user.dock.session.work) == 2, timeout=120_000)
    qtbot.waitUntil(lambda: panel.suggest_button.text() == "Suggest frames")
    assert all(texts(panel.frames, 2))


def test_findings_lead_to_their_joint(user, qtbot):
    panel, session = user.dock.label_panel, user.dock.session
    places = user.label_all()
    session.move_joint(3, *places[1], "drag")
    session.show_frame(2)
    panel.check()
    assert panel.findings_words.text() == "1 finding"
    panel.findings.itemClicked.emit(panel.findings.topLevelItem(0), 0)
    assert session.frame == 0
    assert session.joint in (1, 3)


def test_the_preview_comes_with_an_adaptation_and_comes_back_when_it_was_closed(user, qtbot):
    dock = user.dock
    dock.desk._runner = HeldRunner()
    assert not dock.preview.isVisible()
    for _ in range(2):
        dock.desk.start("adapt", AdaptConfig(shots=Path("shots.json")), dock.studio.runs)
        qtbot.waitUntil(dock.preview.isVisible)
        dock.desk._runner.tell(JobFinished())
        assert dock.preview.isVisible()
        user.viewer.window.remove_dock_widget(dock.preview)  # as its own button does
        assert not dock.preview.isVisible()


def test_errors_become_one_sentence(user, qtbot, monkeypatch):
    told: list[str] = []
    monkeypatch.setattr("napari_flexpose.widgets.main.show_error", told.append)

    def fail() -> None:
        raise FlexPoseError("The disk is full.", "Make room.")

    monkeypatch.setattr(user.dock.session.project, "save", fail)
    user.dock.session.autosave_seconds = 0.0
    user.click(30, 30)
    user.dock._on_tick()
    user.dock._on_tick()  # not told again
    assert told == ["The disk is full. Make room."]
    assert user.dock.status.text() == told[0]
    monkeypatch.undo()


def test_a_wrong_folder_is_told_and_leaves_what_is_open(user, tmp_path, monkeypatch):
    told: list[str] = []
    monkeypatch.setattr("napari_flexpose.widgets.main.show_error", told.append)
    (tmp_path / "empty").mkdir()
    assert not user.dock.project_panel.open_images(tmp_path / "empty")
    assert len(told) == 1
    assert user.dock.session.name == "0.png"


def test_missing_images_are_named(user, images):
    user.label_all()
    folder = user.dock.session.project.folder
    user.dock.session.close()
    (images / "0.png").unlink()
    assert user.dock.project_panel.open_project(folder)
    assert "1 labelled image is missing: 0.png" in user.dock.project_panel.notes.text()


def test_a_second_window_says_that_it_can_only_look(user, open_dock):
    other = open_dock()
    assert other.dock.project_panel.open_project(user.dock.session.project.folder)
    assert "another window" in other.dock.project_panel.notes.text()
    assert other.dock.saved.text() == "view only"
    other.click(30, 30)
    assert "another window" in other.dock.status.text()


def test_another_skeleton_asks_before_labels_are_dropped(user, puppet, monkeypatch):
    from qtpy.QtWidgets import QMessageBox

    user.label_all()
    answers = [QMessageBox.StandardButton.No, QMessageBox.StandardButton.Yes]
    monkeypatch.setattr(QMessageBox, "question", lambda *a: answers.pop(0))
    panel = user.dock.project_panel
    panel.use_skeleton(puppet)
    assert user.dock.session.skeleton.name == panel.skeletons.currentText() == "body15"
    panel.use_skeleton(puppet)
    assert user.dock.session.skeleton.name == panel.skeletons.currentText() == "puppet"
    assert user.dock.label_panel.joints.topLevelItemCount() == 5
    user.dock.session.undo()
    assert user.dock.session.label.complete


def test_sample_data_open_in_the_dock(open_dock, tmp_path, monkeypatch):
    from napari_flexpose import _sample_data

    monkeypatch.setattr(_sample_data, "FRAMES_PER_CLIP", 1)
    monkeypatch.setattr(_sample_data, "IMAGE_SIZE", 64)
    folder = _sample_data.sample_folder(tmp_path)
    written = (folder / "march_0" / "000.png").stat().st_mtime_ns
    assert _sample_data.sample_folder(tmp_path) == folder
    assert (folder / "march_0" / "000.png").stat().st_mtime_ns == written
    monkeypatch.setattr(project_panel, "sample_folder", lambda: folder)
    dock = open_dock().dock
    dock.project_panel.open_sample()
    assert len(dock.session.frames.names) == 8
    assert dock.label_step.opened


def test_closing_the_dock_saves_and_leaves_nothing(user, images):
    user.label_all()
    folder = user.dock.session.project.folder
    user.viewer.window.remove_dock_widget(user.dock)
    assert not user.viewer.layers
    assert not user.dock._tick.isActive()
    project = AnnotationProject.open(folder)
    assert (project.read_only, project.recovered) == ("", None)
    assert project.label("0.png").complete
    project.close()


def test_closing_napari_saves(user):
    user.label_all()
    folder = user.dock.session.project.folder
    user.viewer.close()
    project = AnnotationProject.open(folder)
    assert (project.read_only, project.recovered) == ("", None)
    assert project.label("0.png").complete
    project.close()


OPENING = """
import sys, time
start = time.thread_time()
import napari
viewer = napari.Viewer(show=True)
application = napari.qt.get_qapp()
application.processEvents()
before, start = time.thread_time() - start, time.thread_time()
from napari_flexpose.widgets.main import FlexPoseDock
dock = FlexPoseDock(viewer)
viewer.window.add_dock_widget(dock)
application.processEvents()
took = time.thread_time() - start
assert dock.isVisible()
from pathlib import Path
from flexpose.skeleton import load_skeleton
dock.session.create(Path(sys.argv[1]), load_skeleton("body15"))
dock.session.click(10, 10)
assert "torch" not in sys.modules, "torch was imported"
assert took < before / 2, f"the dock took {took:.2f} s, napari {before:.2f} s"
viewer.close()
"""


@pytest.mark.slow
def test_opening_is_quick_and_imports_no_torch(images: Path):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(OPENING), str(images)],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_cheat_sheet_shows_every_key(qtbot):
    from qtpy.QtWidgets import QLabel

    dialog = HelpDialog()
    qtbot.addWidget(dialog)
    shown = {label.text() for label in dialog.findChildren(QLabel)}
    assert {"Ctrl+Shift+Z", "Delete or Backspace", "Shift+drag"} <= shown


def test_hints_tell_whose_left_it_is():
    body = load_skeleton("body15")
    hint = joint_hint(body, body.index("left_elbow"), "left")
    assert "own left" in hint
    assert "left shoulder and left wrist" in hint


# ---------------------------------------------------------------- skeleton editor


def test_drafts_keep_their_edges_when_joints_move(puppet):
    draft = SkeletonDraft.of(puppet)
    assert draft.move(0, 1) == 1
    assert draft.joints[:2] == ["head", "hip"]
    assert draft.edges == [(1, 0), (0, 2), (0, 3), (1, 4)]
    draft.remove(0)
    assert draft.joints == ["hip", "left_hand", "right_hand", "tail"]
    assert draft.edges == [(0, 3)]
    assert draft.pairs == ((1, 2),)


def test_a_skeleton_is_drawn_by_clicks(qtbot, tmp_path):
    editor = SkeletonEditor(load_skeleton("body15"))
    qtbot.addWidget(editor)
    editor.draft = SkeletonDraft(name="arm")
    for name in ("left_hand", "right_hand"):
        editor.draft.joints[editor.draft.add()] = name
    editor._fill(0)
    editor.press(0.2, 0.5)
    editor.press(0.8, 0.5)
    editor.connecting.setChecked(True)
    editor.press(0.21, 0.5)
    editor.press(0.8, 0.49)
    editor.save(tmp_path / "arm.yaml")
    found = load_skeleton(tmp_path / "arm.yaml")
    assert found.joints == ("left_hand", "right_hand")
    assert (found.edges, found.symmetric_pairs) == (((0, 1),), ((0, 1),))
    np.testing.assert_allclose(found.neutral_pose, [[0.2, 0.5], [0.8, 0.5]])
    editor.press(0.2, 0.5)
    editor.press(0.8, 0.5)  # parted again
    assert editor.draft.edges == []


def test_a_wrong_skeleton_is_refused_with_its_reason(qtbot):
    editor = SkeletonEditor(load_skeleton("body15"))
    qtbot.addWidget(editor)
    used = []
    editor.finished_with.connect(used.append)
    editor.draft.joints[1] = editor.draft.joints[0]
    editor.use()
    assert "same name" in editor.problem.text()
    editor.draft.joints[1] = "crown"
    editor.use()
    assert used[0].joints[1] == "crown"
