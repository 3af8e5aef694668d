"""What is shown of a running job, and how to end it; shared by all panels that start jobs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from psygnal import SignalInstance
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QGridLayout,
    QLabel,
    QPlainTextEdit,
    QProgressBar,
    QSizePolicy,
    QToolButton,
    QWidget,
)

from flexpose.errors import FlexPoseError
from flexpose.events import (
    JobCancelled,
    JobEvent,
    JobFailed,
    JobStarted,
    PhaseChanged,
    StepCompleted,
    WarningRaised,
)
from napari_flexpose.desk import JobDesk
from napari_flexpose.widgets.parts import action_button, column, quiet_label, row
from napari_flexpose.words import time_left


class JobBar(QWidget):
    """Progress of the desk's job while it is of one command, and how the last one ended.

    A training whose process died can be gone on with here.

    Parameters
    ----------
    command : whose jobs are shown
    steps : what a step is called, such as ``step`` or ``pose``
    """

    def __init__(
        self, desk: JobDesk, command: str, steps: str = "Step", parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._desk, self._command, self._steps = desk, command, steps
        self._offering = False
        self.title = quiet_label()
        self.phase = quiet_label()
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(8)
        self.progress = quiet_label()
        self.stop = action_button(
            "Stop early (keep)",
            "End after this step and keep what there is.",
            lambda: desk.cancel(keep=True),
        )
        self.cancel = action_button(
            "Cancel", "End after this step. What was in use stays in use.", desk.cancel
        )
        self.running = QWidget()
        box = column(self.running)
        for widget in (self.title, self.phase, self.bar, self.progress):
            box.addWidget(widget)
        box.addLayout(row(self.stop, self.cancel))
        self.trouble = Trouble()
        self.resume = action_button(
            "Resume", "Go on from the last checkpoint.", self._resume, primary=True
        )
        self.dismiss = action_button(
            "Leave it", "Ask no more. What it has saved stays in its folder.", self._dismiss
        )
        self.offer = QWidget()
        column(self.offer).addLayout(row(self.resume, self.dismiss))
        self.notes = quiet_label()
        self.notes.setObjectName("notice")
        outer = column(self)
        outer.addWidget(self.running)
        outer.addWidget(self.notes)
        outer.addWidget(self.trouble)
        outer.addWidget(self.offer)
        while_alive(self, desk.state_changed, self._on_state)
        while_alive(self, desk.happened, self._on_event)
        while_alive(self, desk.interrupted_changed, self._show_offer)
        self.notes.hide()
        self._on_state(desk.state)

    @property
    def mine(self) -> bool:
        """Whether the desk's job, running or ended, is of this bar's command."""
        return self._desk.request is not None and self._desk.request.command == self._command

    def _on_state(self, state: str) -> None:
        self.running.setVisible(state != "idle" and self.mine)
        self.stop.setEnabled(state == "running")
        self.cancel.setEnabled(state in ("running", "stopping"))
        self._show_offer()
        if not self.mine:
            return
        if state == "running":
            self._begin()
        elif state == "stopping":
            self.phase.setText("Stopping… The result so far is kept.")
        elif state == "cancelling":
            self.phase.setText("Cancelling…")

    def _begin(self) -> None:
        request = self._desk.request
        assert request is not None
        self.title.setText(f"{request.run.path.name}. Goes on if napari closes.")
        self.title.setVisible(request.outlives)
        self.phase.setText("Starting…")
        self.progress.setText("")
        self.bar.setRange(0, 0)
        self.notes.setText("")
        self.notes.hide()
        self.trouble.clear()

    def _show_offer(self) -> None:
        """Say what was interrupted, and offer to go on with it when nothing else runs."""
        found = self._desk.interrupted.get(self._command)
        if found is not None and not self._offering:
            told = found[1]
            self.trouble.show_error(str(told.error), told.details)
        elif found is None and self._offering:
            self.trouble.clear()
        self._offering = found is not None
        self.offer.setVisible(self._offering)
        self.resume.setEnabled(not self._desk.busy)

    def _resume(self) -> None:
        run, _ = self._desk.interrupted[self._command]
        try:
            self._desk.resume(run)
        except FlexPoseError as error:
            self.trouble.show_error(str(error))

    def _dismiss(self) -> None:
        run, _ = self._desk.interrupted[self._command]
        self._desk.dismiss(run)

    def _on_event(self, event: JobEvent) -> None:
        if not self.mine:
            return
        going = self._desk.state == "running"
        if isinstance(event, PhaseChanged) and going:
            self.phase.setText(f"{event.name[:1].upper()}{event.name[1:]}…")
            self.bar.setRange(0, event.total_steps or 0)
        elif isinstance(event, JobStarted):
            self.bar.setRange(0, event.total_steps or 0)
            if going:
                self.phase.setText("Running…")
        elif isinstance(event, StepCompleted):
            self._show_step(event)
        elif isinstance(event, WarningRaised):
            self._note(f"{event.message} {event.suggestion}".strip())
        elif isinstance(event, JobFailed):
            self.trouble.show_error(str(event.error), event.details)
        elif isinstance(event, JobCancelled):
            self._note("Cancelled. What was in use before still is.")

    def _show_step(self, event: StepCompleted) -> None:
        self.bar.setValue(event.step)
        of = "" if event.total_steps is None else f" of {event.total_steps:,}"
        words = f"{self._steps} {event.step:,}{of}"
        if event.seconds_left is not None and event.step != event.total_steps:
            words += f", {time_left(event.seconds_left)}"
        self.progress.setText(words)

    def _note(self, sentence: str) -> None:
        text = self.notes.text()
        self.notes.setText(f"{text}\n{sentence}" if text else sentence)
        self.notes.show()


class Trouble(QWidget):
    """One sentence that says what went wrong, with the details behind a button."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.sentence = quiet_label()
        self.sentence.setObjectName("notice")
        self.toggle = action_button("Details", "Show what a developer would ask for.", lambda: None)
        self.toggle.setCheckable(True)
        self.toggle.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        self.details = QPlainTextEdit()
        self.details.setReadOnly(True)
        self.details.setFixedHeight(140)
        self.details.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.toggle.toggled.connect(self.details.setVisible)
        outer = column(self)
        for widget in (self.sentence, self.toggle, self.details):
            outer.addWidget(widget)
        self.clear()

    def show_error(self, sentence: str, details: str = "") -> None:
        """Show what went wrong."""
        self.sentence.setText(sentence)
        self.details.setPlainText(details)
        self.toggle.setChecked(False)
        self.toggle.setVisible(bool(details))
        self.details.hide()
        self.show()

    def clear(self) -> None:
        """Nothing is wrong."""
        self.sentence.setText("")
        self.details.hide()
        self.hide()


def copy_button(desk: JobDesk) -> QToolButton:
    """Copies the command line of the last job."""

    def copy() -> None:
        clipboard = QApplication.clipboard()
        if clipboard is not None:
            clipboard.setText(desk.command_line())
        button.setText("Copied")

    tip = "Copy the line that does the same in a terminal."
    button = action_button("Copy command", tip, copy)
    return button


def device_box() -> QComboBox:
    """Where to compute. Names only: the job says whether a device is there."""
    box = narrow_box("Device")
    for words, name in (
        ("Automatic", "auto"),
        ("Processor (cpu)", "cpu"),
        ("NVIDIA graphics card (cuda)", "cuda"),
        ("Apple graphics (mps)", "mps"),
    ):
        box.addItem(words, name)
    box.setToolTip("Automatic takes a graphics card if there is one, else the processor.")
    return box


def crop_box() -> QComboBox:
    """Where the person is in a frame, as `FramesConfig` knows it."""
    box = narrow_box("Where the person is")
    for words, crop in (("What moves (camera at rest)", "motion"), ("The whole image", "whole")):
        box.addItem(words, crop)
    box.setToolTip(
        "What moves: one person before a background that stands still.\n"
        "The whole image: for images without order, or a camera that moves."
    )
    return box


def narrow_box(name: str) -> QComboBox:
    """A choice that is content with little room; a dock is narrow."""
    box = QComboBox()
    box.setAccessibleName(name)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(10)
    return box


def labelled(*rows: tuple[str, QWidget]) -> QGridLayout:
    """Widgets below each other with a word before each."""
    grid = QGridLayout()
    grid.setColumnStretch(1, 1)
    for line, (words, widget) in enumerate(rows):
        label = QLabel(words)
        label.setBuddy(widget)
        grid.addWidget(label, line, 0)
        grid.addWidget(widget, line, 1)
    return grid


def while_alive(widget: QWidget, signal: SignalInstance, slot: Callable[..., Any]) -> None:
    """Connect a signal for as long as the widget lives: a deleted one must not be called."""

    def disconnect() -> None:
        # when all of a window is collected at once, the signal may have gone before the widget
        with contextlib.suppress(AttributeError):
            signal.disconnect(slot, missing_ok=True)

    signal.connect(slot)
    widget.destroyed.connect(disconnect)
