"""The dock: makes what one window needs, shows the steps of the work, and cleans up."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
from napari.settings import get_plugin_settings
from napari.utils.notifications import show_error
from qtpy.QtCore import QEvent, QObject, QSize, Qt, QTimer
from qtpy.QtWidgets import QFrame, QLabel, QMainWindow, QScrollArea, QWidget

from flexpose.errors import FlexPoseError
from napari_flexpose.desk import JobDesk
from napari_flexpose.layers import PoseLayers
from napari_flexpose.review import Reviewer
from napari_flexpose.session import FlexPoseSession
from napari_flexpose.thread_runner import ThreadRunner
from napari_flexpose.widgets.help import HelpDialog
from napari_flexpose.widgets.label_panel import LabelPanel
from napari_flexpose.widgets.parts import Step, attempt, column, quiet_label, row, style
from napari_flexpose.widgets.project_panel import ProjectPanel
from napari_flexpose.widgets.review_panel import ReviewPanel

if TYPE_CHECKING:
    from napari_flexpose.detection import Detection
    from napari_flexpose.studio import Studio
    from napari_flexpose.widgets.preview import PreviewPane

TICK = 5000
"""Milliseconds between two looks at what is to be saved."""
LOOK_AGAIN = 300
"""Milliseconds of rest after an edit until the later steps are asked whether they can begin."""
WIDTH = 350
"""Pixels that a step has at least; more where its words need more."""
OPEN_FIRST = "Open images first."


class FlexPoseDock(QWidget):
    """The plugin's widget in one viewer; nothing of it is shared with another viewer.

    Attributes
    ----------
    session, reviewer, desk, layers : the parts of the window, for scripts and tests
    studio, detection : what can be made of labels; None until something is open
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        settings = self._settings = plugin_settings()
        self.session = FlexPoseSession(autosave_seconds=float(settings["autosave_seconds"]))
        self.reviewer = Reviewer(self.session)
        self.desk = JobDesk(ThreadRunner())
        self.studio: Studio | None = None
        self.detection: Detection | None = None
        self.layers = PoseLayers(napari_viewer, self.session, self.reviewer, self.show_help)
        self.preview: PreviewPane | None = None
        self._help: HelpDialog | None = None
        self._closing = self._closed = False
        self._window: QObject | None = None
        self._saving_failed = False

        self.project_panel = ProjectPanel(self.session)
        self.label_panel = LabelPanel(
            self.session, self.layers, suggestions=int(settings["num_suggestions"])
        )
        self.review_panel = ReviewPanel(self.session, self.reviewer)
        self.project_step = Step("Project", self.project_panel)
        self.label_step = Step("Label", self.label_panel)
        self.adapt_step = Step("Adapt", QWidget())
        self.detect_step = Step("Detect", QWidget())
        self.review_step = Step("Review", self.review_panel)
        self.export_step = Step("Generate and export", QWidget())
        self.steps = (
            self.project_step,
            self.label_step,
            self.adapt_step,
            self.detect_step,
            self.review_step,
            self.export_step,
        )
        self._tall = (self.label_step, self.review_step)
        self._lay_out()
        self._connect()
        self.project_step.set_open(True)
        self._show_states()

    # ------------------------------------------------------------ layout

    def _lay_out(self) -> None:
        inside = QWidget()
        steps = column(inside)
        for step in self.steps:
            steps.addWidget(step)
            step.toggled.connect(lambda opened, step=step: self._on_toggled(step, opened))
        self._steps = steps
        steps.addStretch()
        area = TallArea(inside)
        self.status = quiet_label()
        self.status.setObjectName("said")
        self.saved = QLabel()
        self.saved.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignTop)
        outer = column(self, margin=6)
        outer.addWidget(area, 1)
        outer.addLayout(row(self.status, self.saved, stretch=(1, 0)))
        self._restyle()

    def _on_toggled(self, step: Step, opened: bool) -> None:
        """One step is open at a time; labelling and reviewing take all the room that there is."""
        for index, other in enumerate(self.steps):
            if opened and other is not step:
                other.set_open(False)
            self._steps.setStretch(index, int(other in self._tall and other.opened))
        room = any(other.opened for other in self._tall)
        self._steps.setStretch(len(self.steps), int(not room))
        if step is self.review_step:
            self.reviewer.set_active(opened)

    def _restyle(self, event: Any = None) -> None:
        self.setStyleSheet(style(self.viewer.theme))

    # ------------------------------------------------------------ what happens

    def _connect(self) -> None:
        session = self.session
        self._tick = QTimer(self)
        self._tick.setInterval(TICK)
        self._tick.timeout.connect(self._on_tick)
        self._tick.start()
        self._look = QTimer(self)
        self._look.setSingleShot(True)
        self._look.setInterval(LOOK_AGAIN)
        self._look.timeout.connect(self._show_states)
        self._slots: tuple[tuple[Any, Callable[..., None]], ...] = (
            (session.said, self._on_said),
            (session.failed, self._on_failed),
            (session.project_changed, self._on_project),
            (session.label_changed, self._look_again),
            (session.saved_changed, self._on_saved),
            (self.reviewer.changed, self._look_again),
            (self.reviewer.many_asked, self._open_review),
            (self.desk.state_changed, self._on_desk),
        )
        for signal, slot in self._slots:
            signal.connect(slot)
        self.viewer.events.theme.connect(self._restyle)

    def _on_said(self, words: str) -> None:
        self._say(words, serious=False)

    def _on_failed(self, words: str) -> None:
        self._say(words, serious=True)
        show_error(words)

    def _say(self, words: str, *, serious: bool) -> None:
        self.status.setText(words)
        self.status.setProperty("serious", serious)
        look = self.status.style()
        if look is not None:
            look.polish(self.status)

    def _on_project(self) -> None:
        self._say("", serious=False)
        if self.session.project is not None and self.studio is None:
            self._equip()
        self._show_states()
        if self.session.project is not None and not self.session.recovered:
            self.label_step.set_open(True)
        self._on_saved()

    def _equip(self) -> None:
        """Make the later steps, when there is something to work on: they take long to import."""
        from napari_flexpose.detection import Detection
        from napari_flexpose.studio import Studio
        from napari_flexpose.widgets.adapt_panel import AdaptPanel
        from napari_flexpose.widgets.detect_panel import DetectPanel
        from napari_flexpose.widgets.export_panel import ExportPanel
        from napari_flexpose.widgets.preview import PreviewPane

        self.studio = Studio(self.session, self.desk)
        self.studio.model_changed.connect(self._look_again)
        adapt = AdaptPanel(self.session, self.studio, self.desk)
        export = ExportPanel(self.session, self.studio, self.desk, lambda: self.reviewer.unseen)
        self.detection = Detection(self.session, self.studio, self.desk)
        self.detection.changed.connect(self._look_again)
        self.detection.predicted.connect(self._review)
        self.detect_panel = DetectPanel(self.detection, self.desk, lambda: self.reviewer.unseen)
        column(self.adapt_step.body).addWidget(adapt)
        column(self.detect_step.body).addWidget(self.detect_panel)
        column(self.export_step.body).addWidget(export)
        for box in (adapt.device, self.detect_panel.device, export.poses.device):
            box.setCurrentIndex(max(box.findData(self._settings["device"]), 0))
        self.preview = PreviewPane(self.session, self.studio, self.desk)
        self._dock_preview(self.preview).hide()  # now: later it would stall the start of a job

    def _on_desk(self, state: str) -> None:
        request = self.desk.request
        if state == "running" and request is not None and request.command == "adapt":
            self._show_preview()
        self._show_states()

    def _dock_preview(self, pane: PreviewPane) -> QWidget:
        """Put the pane below the picture."""
        window = self.viewer.window
        return window.add_dock_widget(pane, name="FlexPose preview", area="bottom")

    def _show_preview(self) -> None:
        """The pane comes with an adaptation and stays until it is closed."""

        def show() -> None:
            if self.preview is None:
                return
            place = self.preview.parentWidget() or self._dock_preview(self.preview)
            self._give_corner(Qt.DockWidgetArea.RightDockWidgetArea)
            place.show()

        QTimer.singleShot(60, show)  # in a turn of its own: the click's answer is painted before

    def _give_corner(self, area: Qt.DockWidgetArea) -> None:
        """Say who has the corner below us: we do while the preview is there."""
        window = self._window
        if isinstance(window, QMainWindow):
            window.setCorner(Qt.Corner.BottomRightCorner, area)

    def _on_tick(self) -> None:
        """Save when it is time; a failure is told once, until it works again."""
        try:
            self.session.autosave()
            self._saving_failed = False
        except FlexPoseError as error:
            if not self._saving_failed:
                self.session.failed.emit(str(error))
            self._saving_failed = True
        self._on_saved()

    def _on_saved(self) -> None:
        self.saved.setText(saved_words(self.session))

    def _review(self, path: Path) -> None:
        """Enter what a detector has just found, and open the step in which it is looked at."""
        if attempt(self.session, self.reviewer.load, path):
            self._open_review()

    def _open_review(self) -> None:
        self.review_step.set_open(True)

    def _look_again(self, *_: object) -> None:
        self._look.start()

    def _show_states(self) -> None:
        """What the headers say, and which steps can be used."""
        session, studio = self.session, self.studio
        if session.project is None or studio is None:
            self.project_step.show_state("nothing open")
            for step in self.steps[1:]:
                step.show_state("", OPEN_FIRST)
            return
        done, of = session.progress()
        self.project_step.show_state(session.project.folder.stem)
        self.label_step.show_state(f"{done} of {of} labelled" if of else "no list yet")
        try:
            refused = studio.readiness()
        except FlexPoseError as error:  # an image of a labelled frame is missing
            refused = str(error)
        request = self.desk.request if self.desk.state != "idle" else None
        ours = ("adapt", "train-translator", "translate")
        adapting = request is not None and request.command in ours
        # never closed: a prior can be learned before anything is labelled
        self.adapt_step.show_state(self.desk.state if adapting else adapt_words(studio, refused))
        if self.detection is not None:
            detecting, problem = self.detection.working, self.detection.readiness()
            self.detect_step.show_state(
                self.desk.state if detecting else detect_words(self.detection, problem),
                "" if detecting or self.detection.detector is not None else problem,
            )
        self.review_step.show_state(review_words(self.reviewer))
        plain = "with the plain prior" if studio.source else "labels only"
        self.export_step.show_state("with your model" if studio.model is not None else plain)

    def show_help(self) -> None:
        """Show the cheat sheet, beside the window."""
        if self._help is None:
            self._help = HelpDialog(self)
        self._help.show()
        self._help.raise_()

    # ------------------------------------------------------------ the end

    def event(self, event: QEvent | None) -> bool:
        """Follow the window that we are in, and end when napari lets us go."""
        if event is not None and event.type() == QEvent.Type.ParentChange:
            if self.parent() is None and self._window is not None:
                self.shut_down()
        elif event is not None and event.type() == QEvent.Type.Show and self._window is None:
            self._window = window = self.window()
            if window is not None:
                window.installEventFilter(self)
        return super().event(event)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Tell the closing of napari's window from its hiding; a refused one ends nothing."""
        if event is not None and watched is self._window:
            if event.type() == QEvent.Type.Close:
                self._closing = True
            elif event.type() == QEvent.Type.Hide and self._closing:
                self.shut_down()
        return False

    def shut_down(self) -> None:
        """Cancel jobs, save, take keys and layers away, stop timers. Once."""
        if self._closed:
            return
        self._closed = True
        self._tick.stop()
        if self._window is not None:
            self._window.removeEventFilter(self)
        self.desk.close()
        self.label_panel.close_panel()
        self.project_panel.close_panel()
        self.review_panel.close_panel()
        self.layers.close()
        attempt(self.session, self.session.close)
        for signal, slot in self._slots:
            signal.disconnect(slot)
        self._look.stop()  # closing the project may have started it once more
        self.viewer.events.theme.disconnect(self._restyle)
        if self._help is not None:
            self._help.close()
        self._remove_preview()
        self._window = None

    def _remove_preview(self) -> None:
        if self.preview is None:
            return
        preview, self.preview = self.preview, None
        self._give_corner(Qt.DockWidgetArea.BottomDockWidgetArea)
        with contextlib.suppress(LookupError):  # the user has closed it
            self.viewer.window.remove_dock_widget(preview)
        preview.deleteLater()


class TallArea(QScrollArea):
    """Scrolls what is too tall, and is never narrower than what is in it."""

    def __init__(self, inside: QWidget) -> None:
        super().__init__()
        self.setWidget(inside)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)

    def minimumSizeHint(self) -> QSize:
        """As wide as the contents and the bar beside them."""
        inside, bar = self.widget(), self.verticalScrollBar()
        assert inside is not None and bar is not None
        wide = max(inside.minimumSizeHint().width(), WIDTH) + bar.sizeHint().width()
        return QSize(wide, super().minimumSizeHint().height())

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Pass on that the contents want another size."""
        if event is not None and event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return super().eventFilter(watched, event)


def saved_words(session: FlexPoseSession) -> str:
    """When the labels were saved, in words."""
    project = session.project
    if project is None:
        return ""
    if project.read_only:
        return "view only"
    if not project.unsaved:
        return "saved"
    return f"saved {session.seconds_since_saving:.0f} s ago"


def adapt_words(studio: Studio, refused: str) -> str:
    """How far the adaptation is, for its header."""
    if studio.shelf.learning:
        return "learning a prior"
    if studio.shelf.missing and studio.model is None:
        return "needs a prior"
    if refused:
        return "not yet"
    if studio.candidate is not None:
        return "new model to look at"
    return "model in use" if studio.model is not None else "ready"


def review_words(reviewer: Reviewer) -> str:
    """How far the review is, for its header."""
    if not reviewer.loaded:
        return "no predictions yet"
    waiting = len(reviewer.queue)
    return f"{waiting} of {reviewer.total} to review" if waiting else "all reviewed"


DEFAULTS: dict[str, dict[str, Any]] = {
    "labelling": {"autosave_seconds": 30, "num_suggestions": 12},
    "jobs": {"device": "auto"},
}
"""The pages of napari's preferences, as the manifest has them."""


def detect_words(detection: Detection, refused: str) -> str:
    """What the step's header says: what is in use, or what is missing."""
    if detection.detector is not None:
        return detection.detector.name
    return "label more first" if refused else "ready"


def plugin_settings() -> dict[str, Any]:
    """What the user chose in napari's preferences."""
    found = get_plugin_settings().get("napari-flexpose")
    return {
        key: getattr(getattr(found, page, None), key, value)
        for page, entries in DEFAULTS.items()
        for key, value in entries.items()
    }
