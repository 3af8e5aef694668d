from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from held_runner import HeldRunner

from flexpose.annotation.label import FrameLabel
from flexpose.events import (
    JobCancelled,
    JobFinished,
    MetricsReady,
    StepCompleted,
    event_to_json,
)

pytest.importorskip("qtpy")
from napari_flexpose.desk import JobDesk
from napari_flexpose.session import FlexPoseSession
from napari_flexpose.studio import Studio
from napari_flexpose.widgets import export_panel
from napari_flexpose.widgets.export_panel import ExportPanel


@pytest.fixture
def runner() -> HeldRunner:
    return HeldRunner()


@pytest.fixture
def panel(images: Path, body, runner: HeldRunner, qtbot):
    session = FlexPoseSession()
    session.create(images, body)
    label = FrameLabel(
        points=np.array(body.neutral_pose, np.float32),
        state=np.full(15, 2, np.int8),
        suggested=np.zeros(15, bool),
    )
    session.apply(dict.fromkeys(session.frames.names[:2], label), "label")
    desk = JobDesk(runner)
    panel = ExportPanel(session, Studio(session, desk), desk)
    qtbot.addWidget(panel)
    panel.show()
    yield panel
    session.close()


def test_labels_are_exported_and_the_outcome_is_told(panel, tmp_path):
    panel.labels.export(tmp_path / "labels.json")
    assert "2 poses written to labels.json." in panel.labels.words.text()
    assert (tmp_path / "cvat_labels.json").is_file()


def test_only_coco_files_can_hold_suggestions(panel):
    box = panel.labels
    box.unreviewed.setCurrentIndex(1)
    box.format.setCurrentIndex(box.format.findData(".slp"))
    assert not box.unreviewed.isEnabled()
    assert box.unreviewed.currentText() == "Labels only"
    box.format.setCurrentIndex(0)
    assert box.unreviewed.isEnabled()


def test_a_place_that_cannot_be_written_is_told_in_words(panel, tmp_path):
    panel.labels.export(tmp_path / "missing" / "labels.json")
    assert "cannot be written" in panel.labels.words.text()


def test_yolo_is_written_image_by_image(panel, tmp_path, qtbot):
    panel.labels.format.setCurrentIndex(panel.labels.format.findData(""))
    panel.labels.export(tmp_path / "yolo")
    assert not panel.labels.button.isEnabled()
    qtbot.waitUntil(panel.labels.button.isEnabled)
    assert len(list((tmp_path / "yolo" / "images").rglob("*.png"))) == 2
    panel.labels.export(tmp_path / "yolo")
    qtbot.waitUntil(panel.labels.button.isEnabled)
    assert "not an empty folder" in panel.labels.words.text()


def test_generating_asks_for_what_is_set(panel, runner, tmp_path):
    panel.poses.count.setValue(500)
    panel.poses.format.setCurrentIndex(panel.poses.format.findData(".zarr"))
    panel.poses.target.setText(str(tmp_path / "poses"))
    panel.poses.button.click()
    config = runner.request.config
    assert (config.n, config.images, config.model) == (500, True, "body15")
    assert config.out == tmp_path / "poses.zarr"


def test_an_existing_file_is_replaced_only_after_asking(panel, runner, tmp_path, monkeypatch):
    target = tmp_path / "poses.json"
    target.write_text("mine", encoding="utf-8")
    panel.poses.target.setText(str(target))
    monkeypatch.setattr(export_panel, "may_replace", lambda parent, path: False)
    panel.poses.button.click()
    assert not hasattr(runner, "request")
    monkeypatch.setattr(export_panel, "may_replace", lambda parent, path: True)
    panel.poses.button.click()
    assert runner.request.config.overwrite


def test_the_end_is_told_with_number_and_check(panel, runner, tmp_path):
    panel.poses.target.setText(str(tmp_path / "poses.json"))
    panel.poses.button.click()
    assert panel.poses.job.running.isVisible()
    assert not panel.poses.button.isEnabled()
    runner.tell(StepCompleted(1000, 2000, {}, None, 1.0))
    assert panel.poses.job.progress.text() == "Pose 1,000 of 2,000, a few seconds left"
    runner.tell(MetricsReady(2000, {"poses_per_second": 9.0}, "sample"))
    runner.tell(MetricsReady(0, {"errors": 0, "warnings": 0}, "check"))
    runner.tell(JobFinished(tmp_path / "poses.json"))
    words = panel.poses.words.text()
    assert words.startswith("2,000 poses written to")
    assert words.endswith("The check found nothing wrong.")
    assert panel.poses.button.isEnabled()


def test_no_file_named_is_told_in_words(panel, runner):
    panel.poses.target.setText("")
    panel.poses.button.click()
    assert "Name the file" in panel.poses.job.trouble.sentence.text()
    assert not hasattr(runner, "request")


def test_the_ending_follows_the_format(panel):
    panel.poses.target.setText("/somewhere/poses.json")
    panel.poses.format.setCurrentIndex(panel.poses.format.findData(".zarr"))
    assert panel.poses.target.text() == str(Path("/somewhere/poses.zarr"))


def test_the_time_is_told_before_the_start_and_grows_with_the_number(panel, runner, tmp_path):
    assert panel.poses.time.text().startswith("Takes at least a few seconds on two processor cores")
    panel.poses.count.setValue(10_000_000)
    assert "at least about 2 min" in panel.poses.time.text()
    panel.poses.format.setCurrentIndex(panel.poses.format.findData(".zarr"))
    assert panel.poses.time.text() == ""  # drawing images was not measured


def test_earlier_runs_say_how_long_generating_takes(panel, runner, tmp_path):
    panel.poses.target.setText(str(tmp_path / "poses.json"))
    panel.poses.button.click()
    run = runner.request.run
    run.begin(runner.request.config)
    events = [MetricsReady(2000, {"poses_per_second": 50.0}, "sample"), JobFinished("poses.json")]
    lines = [event_to_json(event, run.path) for event in events]
    run.events_file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    runner.tell(events[-1])
    assert panel.poses.time.text() == "Takes about 40 s on this computer, as it did before."
    panel.poses.device.setCurrentIndex(panel.poses.device.findData("cpu"))
    assert "two processor cores" in panel.poses.time.text()


def test_generating_can_be_cancelled_and_says_so(panel, runner, tmp_path):
    panel.poses.target.setText(str(tmp_path / "poses.json"))
    panel.poses.button.click()
    panel.poses.job.cancel.click()
    assert runner.request.cancel.cancelled
    assert panel.poses.job.phase.text() == "Cancelling…"
    runner.tell(JobCancelled(1000))
    assert "Cancelled" in panel.poses.job.notes.text()
    assert panel.poses.button.isEnabled()
    assert not panel.poses.words.isVisible()


def test_labels_are_exported_for_sleap_from_the_panel(panel, tmp_path):
    sleap_io = pytest.importorskip("sleap_io")
    panel.labels.format.setCurrentIndex(panel.labels.format.findData(".slp"))
    panel.labels.export(tmp_path / "labels.slp")
    assert "2 poses written to labels.slp." in panel.labels.words.text()
    assert len(sleap_io.load_slp(str(tmp_path / "labels.slp"))) == 2


def test_without_sleap_io_the_panel_says_what_to_install(panel, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sleap_io", None)
    panel.labels.format.setCurrentIndex(panel.labels.format.findData(".slp"))
    panel.labels.export(tmp_path / "labels.slp")
    assert "pip install" in panel.labels.words.text()
    assert not (tmp_path / "labels.slp").exists()
