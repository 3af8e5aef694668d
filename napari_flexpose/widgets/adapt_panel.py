"""Adapt a prior to the labelled poses, watch it, and decide whether to use what came of it."""

from __future__ import annotations

from typing import Any, cast

from qtpy.QtCore import QSignalBlocker, Qt, QTimer
from qtpy.QtGui import QStandardItemModel
from qtpy.QtWidgets import QWidget

from flexpose.configs.adaptation import AdaptConfig
from flexpose.errors import FlexPoseError
from flexpose.events import JobEvent, JobFinished, StepCompleted
from napari_flexpose.desk import JobDesk
from napari_flexpose.priors import PriorChoice
from napari_flexpose.session import FlexPoseSession
from napari_flexpose.studio import Studio
from napari_flexpose.widgets.config_form import ConfigForm, Fold
from napari_flexpose.widgets.job_bar import (
    JobBar,
    Trouble,
    copy_button,
    device_box,
    labelled,
    narrow_box,
    while_alive,
)
from napari_flexpose.widgets.learn_box import LearnBox, LearningView
from napari_flexpose.widgets.parts import action_button, column, quiet_label, row
from napari_flexpose.widgets.pictures_box import PicturesBox
from napari_flexpose.widgets.plots import LossPlot
from napari_flexpose.words import counted

_LOOK_AGAIN = 300  # milliseconds after an edit until labels are counted and time is estimated


class AdaptPanel(QWidget):
    """Prior, preset, device, one button; then progress; then the verdict."""

    def __init__(
        self,
        session: FlexPoseSession,
        studio: Studio,
        desk: JobDesk,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._studio, self._desk = session, studio, desk
        self.setup = QWidget()
        self.prior = narrow_box("Prior")
        self.about = quiet_label()
        self.preset = narrow_box("Preset")
        self.device = device_box()
        self.form = ConfigForm(AdaptConfig, skip=("prior", "shots", "device", "map"))
        self.advanced = Fold("Advanced", self.form)
        self.reset = action_button(
            "Back to the preset", "Forget the changes made below Advanced.", self._on_preset
        )
        self.start = action_button(
            "Adapt", "Bend the prior towards your labelled poses.", self._start, primary=True
        )
        self.start.setMinimumHeight(34)
        self.ready = quiet_label()
        self.learn = LearnBox(session, studio.shelf, desk, self.device.currentData)
        self.learning = LearningView(studio.shelf, desk)
        self.job = JobBar(desk, "adapt")
        self.loss = LossPlot()
        self.retry = action_button(
            "Retry with half the batch", "Needs half the memory; takes as long.", self._retry
        )
        self.result = ResultBox(studio)
        self.pictures = PicturesBox(session, studio, desk, self.device.currentData)
        self.copy = copy_button(desk)
        self._fill()
        self._arrange()
        self._connect()
        self._list_priors()
        self._on_form()
        self._on_state(desk.state)

    def settings(self) -> dict[str, Any]:
        """What is set here, for `Studio.adapt`."""
        chosen: PriorChoice | None = self.prior.currentData()
        return {
            **self.form.values(),
            "prior": "" if chosen is None else chosen.card.name,
            "device": self.device.currentData(),
        }

    # ------------------------------------------------------------ building

    def _fill(self) -> None:
        self.prior.setPlaceholderText("None fits your skeleton")
        for name, values in self._studio.presets().items():
            self.preset.addItem(name, values)
        self.preset.setToolTip(
            "default: what came nearest in our measurements.\npaper: FlexPose as published."
        )

    def _list_priors(self) -> None:
        """List what there is; what was chosen stays chosen as long as it fits."""
        chosen = self.settings()["prior"]
        with QSignalBlocker(self.prior):
            self.prior.clear()
            for number, choice in enumerate(self._studio.shelf.choices):
                self.prior.addItem(choice.words, choice)
                self.prior.setItemData(number, choice.details, Qt.ItemDataRole.ToolTipRole)
                item = cast(QStandardItemModel, self.prior.model()).item(number)
                assert item is not None
                item.setEnabled(choice.fits)
            self._choose_prior(chosen)
        self._on_prior()

    def _choose_prior(self, name: str) -> None:
        """Choose a prior by name, or the first where there is none such or it does not fit."""
        fitting = [choice.card.name for choice in self._studio.shelf.choices if choice.fits]
        first = 0 if fitting else -1
        self.prior.setCurrentIndex(fitting.index(name) if name in fitting else first)

    def _arrange(self) -> None:
        choices = labelled(
            ("Prior", self.prior),
            ("", self.about),
            ("", self.learn),
            ("Preset", self.preset),
            ("Device", self.device),
        )
        self.form.add_below(self.reset)
        setup = column(self.setup)
        setup.addLayout(choices)
        for widget in (self.advanced, self.start, self.ready):
            setup.addWidget(widget)
        outer = column(self)
        below: tuple[QWidget, ...] = (self.job, self.result, self.loss, self.retry)
        below = (*below, self.pictures, self.copy)
        for part in (self.learning, self.setup, *below):
            outer.addWidget(part)
        outer.addStretch(1)

    def _connect(self) -> None:
        self.prior.currentIndexChanged.connect(self._on_prior)
        self.preset.currentIndexChanged.connect(self._on_preset)
        self.device.currentIndexChanged.connect(self._look_later)
        self.form.changed.connect(self._on_form)
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(_LOOK_AGAIN)
        self._later.timeout.connect(self._look)
        while_alive(self, self._session.project_changed, self._look)
        while_alive(self, self._session.label_changed, self._look_later)
        while_alive(self, self._desk.state_changed, self._on_state)
        while_alive(self, self._desk.happened, self._on_event)
        while_alive(self, self._studio.model_changed, self._look)
        while_alive(self, self._studio.shelf.changed, self._list_priors)
        self.pictures.fold.header.toggled.connect(self._look)

    # ------------------------------------------------------------ acting

    def _start(self) -> None:
        problem = self.form.check()
        if problem:
            self.advanced.set_open(True)
            self.job.trouble.show_error(problem)
            return
        try:
            self._studio.adapt(self.settings())
        except FlexPoseError as error:
            self.job.trouble.show_error(str(error))

    def _retry(self) -> None:
        try:
            self._desk.retry_smaller()
        except FlexPoseError as error:
            self.job.trouble.show_error(str(error))

    # ------------------------------------------------------------ mirroring

    def _on_prior(self) -> None:
        choice: PriorChoice | None = self.prior.currentData()
        details, words = "", f"{self._studio.shelf.missing} Learn one from poses of this skeleton."
        if choice is not None:
            details = choice.details
            kind = "Draws images, slower" if choice.card.draws else "Makes keypoints, quick"
            joints = counted(choice.skeleton.num_joints, "joint")
            words = f"{kind}. Skeleton {choice.skeleton.name}, {joints}."
        self.about.setText(words)
        self.about.setObjectName("quiet" if choice is not None else "notice")
        look = self.about.style()
        if look is not None:
            look.polish(self.about)
        for widget in (self.about, self.prior):
            widget.setToolTip(details)
        self._look_later()

    def _on_preset(self) -> None:
        values = dict(self.preset.currentData())
        self._choose_prior(str(values.pop("prior", "")))
        self.form.set_values(values)

    def _on_form(self) -> None:
        count = self.form.num_changed
        self.advanced.setText(f"Advanced, {count} changed" if count else "Advanced")
        self._look_later()

    def _on_event(self, event: JobEvent) -> None:
        if isinstance(event, StepCompleted) and self.job.mine:
            self.loss.add(event.step, event.losses, event.total_steps)
            self.loss.show()
        elif isinstance(event, JobFinished) and self.learning.job.mine:
            assert self._desk.request is not None
            self._choose_prior(str(self._desk.request.run.path))

    def _on_state(self, state: str) -> None:
        if state == "running" and self.job.mine:
            self.loss.clear()
        half = self._desk.smaller_batch if state == "idle" else None
        self.retry.setVisible(half is not None)
        self.retry.setText(f"Retry with half the batch ({half})")
        self.copy.setVisible(self.job.mine or self.learning.job.mine or self.pictures.mine)
        self.copy.setText("Copy command")
        self._look()

    def _look_later(self) -> None:
        self._later.start()

    def _look(self) -> None:
        running = self.job.mine and self._desk.state != "idle"
        judging = self._studio.candidate is not None
        problem = self._studio.readiness() or self._desk.busy
        if not problem and self._studio.shelf.missing:
            problem = "A prior is needed first."
        self.start.setEnabled(not problem)
        if not problem:
            problem = f"{counted(self._studio.num_shots, 'complete frame')} to adapt to. "
            problem += self._studio.estimate(self.settings())
        self.ready.setText(problem)
        # one thing at a time
        adapting = running or judging or self._studio.shelf.learning
        self.pictures.setVisible(self._studio.model is not None and not adapting)
        painting = self._studio.model is not None and self.pictures.opened
        self.setup.setVisible(not (adapting or painting))
        self.loss.setVisible((running or judging) and bool(self.loss.steps))
        self.result.show_state(running=running)


class ResultBox(QWidget):
    """What an adaptation came to, in words, and the choice whether to use it."""

    def __init__(self, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._studio = studio
        self.figures = quiet_label()
        self.warning = quiet_label()
        self.warning.setObjectName("notice")
        self.use = action_button(
            "Use this model", "Generate from the new model from now on.", self._use, primary=True
        )
        self.keep = action_button(
            "Keep the old one",
            "Go on with what is in use. The new model stays in its run folder.",
            studio.drop_candidate,
        )
        self.choice = QWidget()
        column(self.choice).addLayout(row(self.use, self.keep))
        self.in_use = quiet_label()
        self.trouble = Trouble()
        outer = column(self)
        for widget in (self.figures, self.warning, self.choice, self.trouble, self.in_use):
            outer.addWidget(widget)

    def show_state(self, *, running: bool) -> None:
        """Mirror the studio."""
        figures, asked = self._studio.figures, self._studio.candidate is not None
        shown = figures is not None and asked and not running
        self.figures.setVisible(shown)
        self.warning.setVisible(shown and bool(figures and figures.warning))
        if figures is not None:
            self.figures.setText("\n".join(figures.words))
            self.warning.setText(figures.warning)
        self.choice.setVisible(asked and not running)
        self.in_use.setVisible(not running and bool(self._studio.source))
        self.in_use.setText(f"In use: {self._studio.source_words}.")

    def _use(self) -> None:
        self.trouble.clear()
        try:
            self._studio.use_candidate()
        except FlexPoseError as error:
            self.trouble.show_error(str(error))
