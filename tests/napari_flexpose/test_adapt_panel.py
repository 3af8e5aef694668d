from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from held_runner import HeldRunner

from flexpose.annotation.label import FrameLabel
from flexpose.errors import DeviceMemoryError, FlexPoseError
from flexpose.events import (
    JobCancelled,
    JobFailed,
    JobFinished,
    JobStarted,
    MetricsReady,
    PhaseChanged,
    StepCompleted,
)

pytest.importorskip("qtpy")
from napari_flexpose.desk import JobDesk
from napari_flexpose.session import FlexPoseSession
from napari_flexpose.studio import Studio
from napari_flexpose.widgets.adapt_panel import AdaptPanel

METRICS = {"energy_distance": 0.09, "spread_ratio": 1.1, "kept_share": 0.4}


@pytest.fixture
def runner() -> HeldRunner:
    return HeldRunner()


@pytest.fixture
def panel(images: Path, body, runner: HeldRunner, qtbot):
    session = FlexPoseSession()
    session.create(images, body)
    points = np.array(body.neutral_pose, np.float32)
    for shift, name in enumerate(session.frames.names):
        label = FrameLabel(
            points=points + np.float32(shift) * np.arange(15, dtype=np.float32)[:, None],
            state=np.full(15, 2, np.int8),
            suggested=np.zeros(15, bool),
        )
        session.apply({name: label}, "label")
    desk = JobDesk(runner)
    panel = AdaptPanel(session, Studio(session, desk), desk)
    qtbot.addWidget(panel)
    panel.show()
    yield panel
    session.close()


def test_one_click_starts_an_adaptation_with_the_chosen_settings(panel, runner):
    panel.device.setCurrentIndex(panel.device.findData("cpu"))
    panel.form.fields["steps",].set_value(7)
    panel.start.click()
    config = runner.request.config
    assert (config.prior, config.device, config.steps) == ("body15", "cpu", 7)


def test_progress_is_told_in_words_and_the_settings_make_room(panel, runner):
    panel.start.click()
    assert panel.job.running.isVisible()
    assert not panel.setup.isVisible()
    runner.tell(PhaseChanged("loading the prior"))
    assert panel.job.phase.text() == "Loading the prior…"
    runner.tell(JobStarted("adapt", 161, None))
    runner.tell(StepCompleted(40, 161, {"energy": 0.2}, None, 92.0))
    assert panel.job.progress.text() == "Step 40 of 161, about 2 min left"
    assert panel.job.bar.value() == 40
    assert panel.loss.values == [0.2]


def test_cancelling_is_answered_at_once_and_ends_with_the_job(panel, runner):
    panel.start.click()
    panel.job.cancel.click()
    assert panel.job.phase.text() == "Cancelling…"
    assert not panel.job.cancel.isEnabled()
    runner.tell(StepCompleted(1, 9, {}, None, 3.0))
    assert panel.job.phase.text() == "Cancelling…"
    runner.tell(JobCancelled(1))
    assert panel.setup.isVisible()
    assert "Cancelled" in panel.job.notes.text()


def test_stopping_early_is_answered_at_once_and_can_be_cancelled(panel, runner):
    panel.start.click()
    panel.job.stop.click()
    assert "kept" in panel.job.phase.text()
    assert not panel.job.stop.isEnabled()
    assert panel.job.cancel.isEnabled()


def test_a_finished_model_is_described_and_used_on_request(panel, runner):
    panel.start.click()
    runner.tell(MetricsReady(161, METRICS, "val"))
    runner.tell(JobFinished(runner.request.run.path))
    assert "Distance to your poses: 0.09 (0 is best)." in panel.result.figures.text()
    assert not panel.result.warning.isVisible()
    panel.result.use.click()
    assert panel._studio.model == runner.request.run.path
    assert panel.setup.isVisible()
    assert "adapt-0001" in panel.result.in_use.text()


def test_the_old_model_can_be_kept(panel, runner):
    panel.start.click()
    runner.tell(MetricsReady(161, METRICS, "val"))
    runner.tell(JobFinished(runner.request.run.path))
    panel.result.keep.click()
    assert panel._studio.model is None
    assert not panel.result.choice.isVisible()


def test_a_collapsed_model_comes_with_a_warning(panel, runner):
    panel.start.click()
    runner.tell(MetricsReady(161, {**METRICS, "spread_ratio": 0.2}, "val"))
    runner.tell(JobFinished(runner.request.run.path))
    assert panel.result.warning.isVisible()
    assert "hardly differ" in panel.result.warning.text()


def test_a_failure_is_one_sentence_with_the_details_behind_a_button(panel, runner):
    panel.start.click()
    runner.tell(JobFailed(FlexPoseError("It broke.", "Mend it."), "Traceback ..."))
    trouble = panel.job.trouble
    assert trouble.sentence.text() == "It broke. Mend it."
    assert not trouble.details.isVisible()
    trouble.toggle.click()
    assert trouble.details.isVisible()
    assert panel.start.isEnabled()
    panel.start.click()
    assert not trouble.isVisible()


def test_out_of_memory_offers_half_the_batch(panel, runner):
    panel.start.click()
    assert not panel.retry.isVisible()
    runner.tell(JobFailed(DeviceMemoryError("The device ran out of memory.")))
    assert panel.retry.isVisible()
    assert panel.retry.text() == "Retry with half the batch (256)"
    panel.retry.click()
    assert runner.request.config.batch_size == 256
    assert not panel.retry.isVisible()


def test_a_wrong_setting_is_told_before_anything_starts(panel, runner):
    panel.form.fields["transfer", "layers"].set_value("x")
    panel.start.click()
    assert not hasattr(runner, "request")
    assert panel.job.trouble.sentence.text().startswith("Layers: ")
    assert panel.form.isVisible()


def test_the_time_is_told_before_the_start_and_follows_the_settings(panel, qtbot):
    assert panel.ready.text().startswith("4 complete frames to adapt to. Takes a few seconds on")
    panel.prior.setCurrentText("body15-image")
    qtbot.waitUntil(lambda: "about 1 min" in panel.ready.text())
    panel.form.fields["steps",].set_value(1600)
    qtbot.waitUntil(lambda: "about 10 min" in panel.ready.text())


def test_a_preset_fills_the_form_and_chooses_its_prior(panel):
    panel.preset.setCurrentText("paper")
    assert panel.prior.currentText() == "body15-image"
    assert panel.settings()["transfer"]["matching"] == "index"
    panel.preset.setCurrentText("default")
    assert panel.settings() == {"prior": "body15", "device": "auto"}


def test_the_command_is_copied(panel, runner, qtbot):
    from qtpy.QtWidgets import QApplication

    panel.start.click()
    panel.copy.click()
    assert QApplication.clipboard().text() == panel._desk.command_line()


def test_a_deleted_panel_is_not_told_any_more(panel, runner, qtbot):
    from qtpy.QtWidgets import QWidget

    holder = QWidget()
    other = AdaptPanel(panel._session, panel._studio, panel._desk, holder)
    before = len(panel._desk.happened)
    holder.deleteLater()
    qtbot.waitUntil(lambda: len(panel._desk.happened) < before)
    del other
    panel.start.click()  # raises if the deleted widget were called
