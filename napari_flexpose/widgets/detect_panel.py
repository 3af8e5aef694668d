"""Train a detector on the labelled frames, watch it, and have it look at all the others."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QFileDialog, QWidget

from flexpose.configs.detector import DetectorConfig
from flexpose.errors import FlexPoseError
from flexpose.events import JobEvent, StepCompleted
from napari_flexpose.desk import JobDesk
from napari_flexpose.detection import HELD_FROM, PREDICT, TRAIN, Detection
from napari_flexpose.widgets.config_form import ConfigForm, Fold
from napari_flexpose.widgets.job_bar import (
    JobBar,
    copy_button,
    crop_box,
    device_box,
    labelled,
    narrow_box,
    while_alive,
)
from napari_flexpose.widgets.parts import PictureStrip, action_button, column, quiet_label, row
from napari_flexpose.widgets.plots import LossPlot
from napari_flexpose.words import counted, percent

_ASKED_ABOVE = (
    "frames", "shots", "model", "poses", "num_poses", "validation", "start", "steps", "device",
    "threads", "seed", "method", "gan", "preview_every", "evaluate_every", "checkpoint_every",
)  # fmt: skip
_LENGTHS = (("Quick look", 600), ("Usual", 3000), ("Thorough", 8000))
_OTHER = "other"
_CURVE = 66
"""Pixels of the loss curve's height: pictures and curve fit a window of 800 together."""


class DetectPanel(QWidget):
    """Where the person is, how long to train, one button; then progress with pictures.

    Parameters
    ----------
    unseen : frames that were accepted without a look
    """

    def __init__(
        self,
        detection: Detection,
        desk: JobDesk,
        unseen: Callable[[], Collection[str]],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._detection, self._desk, self._unseen = detection, desk, unseen
        self.setup = QWidget()
        self.crop = crop_box()
        self.length = narrow_box("How long")
        self.device = device_box()
        self.start_from = narrow_box("What the training starts from")
        self.start_from.setToolTip(
            "The detector in use: quicker; start anew when the footage has changed.\n"
            "Another one: of a project like this, or weights that train-meta learned for this."
        )
        self.form = ConfigForm(DetectorConfig, skip=_ASKED_ABOVE)
        self.advanced = Fold("Advanced", self.form)
        self.start = action_button(
            "Train detector",
            "Learn from your labelled frames, then suggest poses on all others.",
            self._start,
            primary=True,
        )
        self.start.setMinimumHeight(34)
        self.ready = quiet_label()
        self.training = JobBar(desk, TRAIN)
        self.predicting = JobBar(desk, PREDICT, "Frames, each seen twice:")
        self.predicting.stop.hide()  # some of the predictions are of no use
        self.pictures = PictureStrip("What the detector finds in some of your frames.")
        self.figures = quiet_label()
        self.loss = LossPlot()
        self.loss.plot.setFixedHeight(_CURVE)
        self.in_use = quiet_label()
        self.predict = action_button(
            "Suggest poses again", "Let the detector in use look at all frames.", self._predict
        )
        self.copy = copy_button(desk)
        self._offered: Path | None = None  # the detector in use, as the choice has it
        self._other: Path | None = None
        self._fill()
        self._arrange()
        self._connect()
        self._look()

    def settings(self) -> dict[str, Any]:
        """What is set here, for `Detection.train`."""
        start = self.start_from.currentData()
        return {
            **self.form.values(),
            "frames": {"crop": self.crop.currentData()},
            "steps": self.length.currentData(),
            "device": self.device.currentData(),
            **({} if start is None else {"start": start}),
        }

    # ------------------------------------------------------------ building

    def _fill(self) -> None:
        for words, steps in _LENGTHS:
            self.length.addItem(f"{words} ({steps:,} steps)", steps)
        self.length.setCurrentIndex(1)
        self._fill_starts(None)

    def _arrange(self) -> None:
        setup = column(self.setup)
        setup.addLayout(
            labelled(
                ("Person", self.crop),
                ("Train", self.length),
                ("Start", self.start_from),
                ("Device", self.device),
            )
        )
        for widget in (self.advanced, self.start, self.ready):
            setup.addWidget(widget)
        outer = column(self)
        for part in (self.setup, self.training, self.predicting, self.in_use):
            outer.addWidget(part)
        outer.addLayout(row(self.predict, self.copy))
        for part in (self.pictures, self.figures, self.loss):
            outer.addWidget(part)
        outer.addStretch(1)

    def _connect(self) -> None:
        for box in (self.crop, self.length, self.device):
            box.currentIndexChanged.connect(self._look)
        self.start_from.activated.connect(self._on_start_from)
        self.form.changed.connect(self._look)
        detection = self._detection
        while_alive(self, detection.changed, self._look)
        while_alive(self, detection.session.project_changed, self._look)
        while_alive(self, detection.session.label_changed, self._on_label)
        while_alive(self, detection.studio.model_changed, self._look)
        while_alive(self, self._desk.state_changed, self._on_state)
        while_alive(self, self._desk.happened, self._on_event)
        while_alive(self, self._desk.interrupted_changed, self._look)

    # ------------------------------------------------------------ acting

    def _start(self) -> None:
        problem = self.form.check()
        if problem:
            self.advanced.set_open(True)
            self.training.trouble.show_error(problem)
            return
        try:
            self._detection.train(self.settings(), self._unseen())
        except FlexPoseError as error:
            self.training.trouble.show_error(str(error))

    def _on_start_from(self, index: int) -> None:
        """Choose another detector, when that is asked for."""
        if self.start_from.itemData(index) == _OTHER:
            project = self._detection.session.project
            near = "" if project is None else str(project.folder.parent)
            found = QFileDialog.getExistingDirectory(self, "Folder of a training", near)
            self._other = Path(found) if found else self._other
            self._fill_starts(self._other)
        self._look()

    def _fill_starts(self, chosen: Path | None) -> None:
        """Offer what a training can start from."""
        known: dict[Path | None, str] = {None: "Nothing learned before"}
        if self._detection.detector is not None:
            known[self._detection.detector] = "The detector in use"
        if self._other is not None:
            known.setdefault(self._other, self._other.name)
        self.start_from.clear()
        for path, words in known.items():
            self.start_from.addItem(words, path)
        self.start_from.addItem("Another detector…", _OTHER)
        self.start_from.setCurrentIndex([*known].index(chosen) if chosen in known else 0)

    def _predict(self) -> None:
        try:
            self._detection.predict(self.crop.currentData())
        except FlexPoseError as error:
            self.predicting.trouble.show_error(str(error))

    # ------------------------------------------------------------ mirroring

    def showEvent(self, event: object) -> None:
        """Follow what was labelled meanwhile."""
        self._look()

    def _on_label(self) -> None:
        if self.isVisible():  # counting frames at each move of a joint would make dragging slow
            self._look()

    def _on_event(self, event: JobEvent) -> None:
        if isinstance(event, StepCompleted) and self.training.mine:
            self.loss.add(event.step, event.losses, event.total_steps)
            self.loss.show()

    def _on_state(self, state: str) -> None:
        if state == "running" and self.training.mine:
            self.loss.clear()
            self.predicting.notes.hide()  # of another detector
            if PREDICT not in self._desk.interrupted:
                self.predicting.trouble.clear()
        self._look()

    def _look(self) -> None:
        detection, running = self._detection, self._detection.working
        mine = self.training.mine or self.predicting.mine
        problem = detection.readiness() or self._desk.busy
        self.start.setEnabled(not problem)
        self.ready.setText(problem or self._ready_words())
        # what was interrupted is decided first: gone on with, or left
        self.setup.setVisible(not running and TRAIN not in self._desk.interrupted)
        detector = detection.detector
        if detector != self._offered:
            chosen = self.start_from.currentData()
            self._offered = detector
            self._fill_starts(chosen if chosen == self._other else None)
        idle_with_one = detector is not None and not running
        self.in_use.setText("" if detector is None else f"Detector in use: {detector.name}.")
        self.in_use.setVisible(idle_with_one)
        self.predict.setVisible(idle_with_one)
        self.predict.setEnabled(not self._desk.busy)
        self.pictures.show_pictures(detection.preview if mine else None)
        self.figures.setText(_figure_words(detection.figures) if mine else "")
        self.figures.setVisible(bool(self.figures.text()))
        self.loss.setVisible(running and self.training.mine and bool(self.loss.steps))
        self.copy.setVisible(mine and not running)
        self.copy.setText("Copy command")

    def _ready_words(self) -> str:
        count = self._detection.studio.num_shots - len(self._unseen())
        words = f"{counted(count, 'complete frame')} to learn from"
        words += ", every fifth of them to measure by. " if count >= HELD_FROM else ". "
        return words + self._detection.estimate(self.settings())


def _figure_words(figures: Any) -> str:
    near = figures.get("pck@.1")
    if near is None:
        return ""
    return f"{percent(near)} of held-out joints lie within a tenth of the crop."
