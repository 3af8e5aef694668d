"""The whole way in the real window: label by hand, adapt, generate, export, close, open again."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from flexpose.annotation.label import FrameLabel
from flexpose.annotation.project import AnnotationProject
from flexpose.errors import DeviceMemoryError, FlexPoseError
from flexpose.events import JobCancelled, JobStarted, StepCompleted
from flexpose.io.coco_check import check_coco
from flexpose.io.coco_clients import run_clients
from flexpose.io.coco_read import read_coco
from flexpose.jobs import follow_run
from flexpose.mannequin import mannequin_frames
from flexpose.runs import RunDir
from napari_flexpose import runners

pytestmark = pytest.mark.gui
NEAR = 0.5  # image pixels; the canvas has whole pixels only
STEPS = 6


@dataclass
class Film:
    """A folder of twelve images, and where their joints truly are."""

    folder: Path
    truth: dict[str, np.ndarray]


@pytest.fixture
def film(tmp_path: Path) -> Film:
    """Twelve frames of all actions; in some, joints lie on one spot of the screen."""
    sample = mannequin_frames(0, clips_per_action=1, frames_per_clip=4, image_size=160)
    keypoints = sample.poses.keypoints
    rows = np.linspace(0, len(keypoints) - 1, 12).round().astype(int)
    folder, truth = tmp_path / "film", {}
    folder.mkdir()
    for number, row in enumerate(rows.tolist()):
        name = f"{number:02d}.png"
        cv2.imwrite(str(folder / name), sample.image(row)[..., ::-1])
        truth[name] = keypoints[row]
    return Film(folder, truth)


def adapt_panel(user: Any) -> Any:
    from napari_flexpose.widgets.adapt_panel import AdaptPanel

    return user.dock.findChild(AdaptPanel)


def press(user: Any, button: Any) -> None:
    """Click a button with the mouse, where the user could."""
    from qtpy.QtCore import Qt

    assert button.isVisible()
    assert button.isEnabled()
    user.qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def wait_for_layout(user: Any) -> None:
    """Until the picture stays where it is: the window and panels that open make room slowly."""
    native, seen = user.canvas.native, [(0, 0)]
    while len(set(seen[-5:])) > 1 or len(seen) < 5:
        user.qtbot.wait(100)
        seen.append((native.width(), native.height()))


def label_by_hand(user: Any, film: Film) -> None:
    """Fifteen clicks a frame, one key between frames."""
    for number, places in enumerate(film.truth.values()):
        for x, y in places.tolist():
            user.click(x, y)
        user.key("Enter" if number % 2 else "PageDown")


def label_at_once(user: Any, film: Film) -> None:
    """The same labels without the clicks, for tests of what comes later."""
    labels = {
        name: FrameLabel(points=places, state=np.full(15, 2, np.int8), suggested=np.zeros(15, bool))
        for name, places in film.truth.items()
    }
    user.dock.session.apply(labels, "label")
    user.qtbot.waitUntil(lambda: adapt_panel(user).start.isEnabled())


def assert_labels(session: Any, film: Film) -> None:
    for name, places in film.truth.items():
        label = session.label_of(name)
        assert label.complete, name
        np.testing.assert_allclose(label.points, places, atol=NEAR)


def assert_opens_everywhere(path: Path, poses: int, images: Path | None = None) -> None:
    """What ``flexpose-train validate`` finds in a file: nothing."""
    assert [f.message for f in check_coco(path, images) if f.severity == "error"] == []
    assert run_clients(path) == []
    assert len(read_coco(path).poses) == poses


@pytest.mark.slow
def test_from_clicks_to_files_and_back(open_dock, film, tmp_path, monkeypatch):
    from qtpy.QtWidgets import QFileDialog

    from napari_flexpose.widgets.export_panel import ExportPanel

    user = open_dock()
    user.viewer.window.resize(1270, 780)  # so large that no two joints lie below one press
    dock, qtbot = user.dock, user.qtbot
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *a: str(film.folder))
    dock.project_panel._ask_folder()
    wait_for_layout(user)
    label_by_hand(user, film)
    assert_labels(dock.session, film)

    qtbot.waitUntil(lambda: dock.adapt_step.state == "ready")
    press(user, dock.adapt_step.header)
    panel = adapt_panel(user)
    panel.form.fields["steps",].set_value(STEPS)
    press(user, panel.start)
    assert dock.desk.state == "running"
    qtbot.waitUntil(lambda: dock.desk.state == "idle", timeout=600_000)
    assert panel.job.trouble.sentence.text() == ""
    pane = dock.preview
    assert pane.isVisible()
    assert pane.rows.preview.step == STEPS + 1
    assert pane.map.plot.isVisible()
    assert len(pane.map.dots["shots"].getData()[0]) == 12
    assert "Distance to your poses" in panel.result.figures.text()
    press(user, panel.result.use)
    model = dock.studio.model
    assert model is not None

    press(user, dock.export_step.header)
    export = dock.findChild(ExportPanel)
    generated, labels = tmp_path / "poses.json", tmp_path / "labels.json"
    export.poses.count.setValue(200)
    export.poses.target.setText(str(generated))
    press(user, export.poses.button)
    qtbot.waitUntil(lambda: dock.desk.state == "idle", timeout=600_000)
    assert "200 poses written" in export.poses.words.text()
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *a: (str(labels), ""))
    press(user, export.labels.button)
    assert "12 poses written" in export.labels.words.text()
    user.viewer.close()

    again = open_dock()
    assert again.dock.project_panel.open_project(dock_folder(film))
    assert_labels(again.dock.session, film)
    assert again.dock.studio.model == model
    assert_opens_everywhere(generated, 200)
    assert_opens_everywhere(labels, 12, film.folder)
    np.testing.assert_allclose(
        read_coco(labels).poses.keypoints, list(film.truth.values()), atol=NEAR + 0.01
    )


def dock_folder(film: Film) -> Path:
    return film.folder.with_name("film.flexpose")


@pytest.mark.slow
def test_closing_the_window_ends_a_running_adaptation(open_dock, film):
    from qtpy.QtCore import QThreadPool

    from flexpose.checkpoint import latest_checkpoint, load_checkpoint

    user = open_dock(film.folder)
    label_at_once(user, film)
    dock, qtbot = user.dock, user.qtbot
    dock.adapt_step.set_open(True)
    panel = adapt_panel(user)
    panel.form.fields["steps",].set_value(100_000)
    threads = set(threading.enumerate())
    press(user, panel.start)
    seen: list[object] = []
    dock.desk.happened.connect(seen.append)
    qtbot.waitUntil(lambda: any(isinstance(e, StepCompleted) for e in seen), timeout=600_000)
    run = dock.desk.request.run
    began = time.monotonic()
    user.viewer.close()
    assert time.monotonic() - began < 20  # a step, under load; the training would take hours
    assert dock.desk.state == "idle"
    assert isinstance(dock.desk.ended, JobCancelled)
    assert QThreadPool.globalInstance().activeThreadCount() == 0
    left = set(threading.enumerate()) - threads
    assert all(thread.name.startswith("Dummy") for thread in left)  # of Qt's pool, which idles

    events = list(follow_run(RunDir.open(run.path)))
    assert isinstance(events[-1], JobCancelled)
    found = load_checkpoint(latest_checkpoint(run.checkpoints), kind="adapted")
    assert found.meta.step == events[-1].step
    assert not list(run.path.rglob("*.partial"))
    project = AnnotationProject.open(dock_folder(film))
    assert (project.read_only, project.recovered) == ("", None)
    assert len(project.names_with_labels) == 12
    project.close()


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (FlexPoseError("The shots are gone.", "Look for them."), "The shots are gone."),
        (ValueError("bad luck"), "Something unforeseen ended the job (ValueError: bad luck)."),
        (DeviceMemoryError("The device ran out of memory."), "The device ran out of memory."),
    ],
)
def test_a_job_that_fails_leaves_one_sentence_and_an_idle_dock(
    open_dock, film, monkeypatch, error, sentence
):
    def job(config: Any, run: Any, cancel: Any) -> Iterator[Any]:
        yield JobStarted("adapt", 9, run.path)
        raise error

    user = open_dock(film.folder)
    label_at_once(user, film)
    monkeypatch.setattr(runners, "resolve", lambda target: job)
    monkeypatch.setattr(runners, "gentle", contextlib.nullcontext)  # no torch for this
    dock = user.dock
    dock.adapt_step.set_open(True)
    panel = adapt_panel(user)
    press(user, panel.start)
    user.qtbot.waitUntil(lambda: dock.desk.state == "idle", timeout=120_000)
    assert panel.job.trouble.sentence.text().startswith(sentence)
    assert panel.job.trouble.sentence.isVisible()
    assert not panel.job.running.isVisible()
    assert panel.start.isEnabled()
    assert panel.retry.isVisible() == isinstance(error, DeviceMemoryError)
    assert dock.adapt_step.state == "ready"
