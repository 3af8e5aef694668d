"""In the real window: train a detector, kill it once, resume, review, train again, export."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from flexpose.annotation.label import FrameLabel
from flexpose.io.coco_check import check_coco
from flexpose.jobs import has_finished
from flexpose.mannequin import mannequin_frames
from flexpose.runs import RunDir

pytestmark = [pytest.mark.gui, pytest.mark.slow]
WAIT = 600_000  # milliseconds that a child may take on a machine with other work


@pytest.fixture
def film(tmp_path: Path):
    """Two clips of one camera, twelve frames each; the truth by name."""
    sample = mannequin_frames(0, clips_per_action=2, frames_per_clip=12, image_size=96)
    folder, truth = tmp_path / "film", {}
    for row in range(24):
        name = (sample.poses.image_ids or ())[row]
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), sample.image(row)[..., ::-1])
        truth[name] = sample.poses.keypoints[row]
    return folder, truth


@pytest.fixture
def user(open_dock, film):
    """A window on the film, six frames of which are labelled."""
    folder, truth = film
    user = open_dock(folder)
    user.viewer.window.resize(1270, 780)
    labels = {
        name: FrameLabel(points=p, state=np.full(15, 2, np.int8), suggested=np.zeros(15, bool))
        for name, p in list(truth.items())[::4]
    }
    user.dock.session.apply(labels, "label")
    user.qtbot.waitUntil(lambda: not user.dock.detect_step.refused)
    user.dock.detect_step.set_open(True)
    panel = user.dock.detect_panel
    panel.length.setItemData(0, 300)
    panel.length.setCurrentIndex(0)
    panel.form.set_values({"size": 32, "width": 4, "batch_size": 2, "heatmaps": {"puppets": 8}})
    return user


def press(user: Any, button: Any) -> None:
    from qtpy.QtCore import Qt

    user.qtbot.waitUntil(lambda: button.isVisible() and button.isEnabled())
    user.qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def wait_for(user: Any, condition: Any) -> None:
    user.qtbot.waitUntil(condition, timeout=WAIT)


def test_train_killed_resumed_reviewed_trained_again_exported(user, film, tmp_path, monkeypatch):
    dock, panel = user.dock, user.dock.detect_panel
    before = {name: dock.session.label_of(name) for name in film[1]}
    press(user, panel.start)
    wait_for(user, lambda: dock.desk.last is not None and dock.desk.last.step > 20)
    run = dock.desk.request.run
    os.kill(run.process()["pid"], signal.SIGKILL)
    wait_for(user, lambda: dock.desk.state == "idle")
    assert "was killed after step" in panel.training.trouble.sentence.text()
    assert panel.training.resume.isVisible()
    assert dock.detection.detector is None
    assert all(dock.session.label_of(name).equals(label) for name, label in before.items())

    press(user, panel.training.resume)
    wait_for(user, lambda: dock.reviewer.loaded)  # trained, and looked at all frames
    assert has_finished(run)
    assert dock.detection.detector == run.path
    assert dock.review_step.opened
    assert dock.reviewer.total == 18  # all but the labelled ones
    assert dock.session.label.suggested.any()
    kept = {n: label for n, label in before.items() if label.complete}
    assert all(dock.session.label_of(name).equals(label) for name, label in kept.items())

    first = dock.session.name
    truth = film[1][first]
    for joint in range(15):
        dock.session.move_joint(joint, *truth[joint], f"fix {joint}")
    user.key("Enter")  # fixed and accepted
    second = dock.session.name
    assert second != first
    user.key("Enter")  # accepted as it is
    user.key("D")  # rejected
    assert dock.session.label_of(first).verdict == "reviewed"
    assert len(dock.reviewer.queue) == 15

    dock.detect_step.set_open(True)
    panel.start_from.setCurrentText("The detector in use")
    press(user, panel.start)
    wait_for(user, lambda: dock.reviewer.path is not None and "0002" in dock.reviewer.path.name)
    newer = dock.detection.detector
    assert newer is not None
    assert newer != run.path
    config = (newer / "config.yaml").read_text()
    assert str(run.path) in config
    shots = json.loads(
        sorted((dock.session.project.folder / "shots").glob("shots-*"))[-1].read_text()
    )
    assert len(shots["annotations"]) == 8  # six of before, and the two that were reviewed

    assert panel.settings()["steps"] == 300
    assert "start" not in panel.settings()
    from qtpy.QtWidgets import QFileDialog

    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(run.path))
    panel.start_from.activated.emit(panel.start_from.findText("Another detector…"))
    assert panel.settings()["start"] == run.path

    out = tmp_path / "labels.coco.json"
    dock.studio.export_labels(out, "flag", dock.reviewer.unseen)
    assert [f.message for f in check_coco(out) if f.severity == "error"] == []
    said = [a["attributes"]["reviewed"] for a in json.loads(out.read_text())["annotations"]]
    assert said.count(True) == 8
    assert said.count(False) == 16
    assert not RunDir(newer).process_alive()
