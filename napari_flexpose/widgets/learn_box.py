"""Learn a prior from a file of poses: ask for it, say what is in it, show how it goes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QPainter, QPaintEvent
from qtpy.QtWidgets import QApplication, QFileDialog, QSizePolicy, QWidget

from flexpose.errors import FlexPoseError
from flexpose.events import PreviewReady
from flexpose.geometry import canvas_to_unit
from flexpose.skeleton import Skeleton
from napari_flexpose.desk import JobDesk
from napari_flexpose.priors import LEARN, FoundPoses, PriorShelf
from napari_flexpose.session import FlexPoseSession
from napari_flexpose.widgets.drawing import draw_pose
from napari_flexpose.widgets.job_bar import JobBar, Trouble, while_alive
from napari_flexpose.widgets.parts import action_button, column, quiet_label, row

_FILES = "Poses (*.json *.npz);;All files (*)"


class LearnBox(QWidget):
    """One button; then what the chosen file holds, and whether to learn from it.

    Parameters
    ----------
    device : gives the name of the device that is chosen
    """

    def __init__(
        self,
        session: FlexPoseSession,
        shelf: PriorShelf,
        desk: JobDesk,
        device: Callable[[], str],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._shelf, self._desk, self._device = session, shelf, desk, device
        self._found: FoundPoses | None = None
        self.choose = action_button(
            "Learn a prior from poses…",
            "A prior of your own, from a file of poses with the joints of your skeleton: of any "
            "images, with or without them.",
            self._choose,
        )
        self.words = quiet_label()
        self.warning = quiet_label()
        self.warning.setObjectName("notice")
        self.begin = action_button(
            "Learn",
            "Begin. It goes on if napari closes, and you can go on labelling.",
            self._begin,
            primary=True,
        )
        self.drop = action_button("Not now", "Forget the file.", self._forget)
        self.answers = QWidget()
        self.answers.setLayout(row(self.begin, self.drop))
        self.trouble = Trouble()
        outer = column(self)
        shown: tuple[QWidget, ...] = (self.choose, self.trouble, self.words, self.warning)
        for part in (*shown, self.answers):
            outer.addWidget(part)
        while_alive(self, shelf.changed, self._look)
        while_alive(self, desk.state_changed, self._look)
        self._look()

    def examine(self, path: Path) -> None:
        """Read a file, and say what is in it or why nothing can be learned from it."""
        self._found = None
        self.trouble.clear()
        QApplication.setOverrideCursor(Qt.CursorShape.WaitCursor)
        try:
            self._found = self._shelf.examine(path)
        except FlexPoseError as error:
            self.trouble.show_error(str(error))
        finally:
            QApplication.restoreOverrideCursor()
        self._look()

    # ------------------------------------------------------------ parts

    def _choose(self) -> None:
        start = str(self._session.opened_project().folder.parent)
        path, _ = QFileDialog.getOpenFileName(self, "Poses to learn from", start, _FILES)
        if path:
            self.examine(Path(path))

    def _begin(self) -> None:
        assert self._found is not None
        try:
            self._shelf.learn(self._found, self._device())
        except FlexPoseError as error:
            self.trouble.show_error(str(error))
            return
        self._forget()

    def _forget(self) -> None:
        self._found = None
        self.trouble.clear()
        self._look()

    def _look(self, *_: object) -> None:
        project, found = self._session.project, self._found
        if found is not None and (project is None or found.skeleton != project.skeleton):
            found = self._found = None  # it is of another skeleton
        self.choose.setProperty("primary", bool(self._shelf.missing))
        look = self.choose.style()
        if look is not None:
            look.polish(self.choose)
        self.choose.setVisible(found is None)
        self.words.setText("" if found is None else found.words)
        self.warning.setText("" if found is None else found.warning)
        for label in (self.words, self.warning):
            label.setVisible(bool(label.text()))
        self.answers.setVisible(found is not None)
        self.begin.setEnabled(not self._desk.busy)


class LearningView(QWidget):
    """How the learning of a prior goes: progress and its poses; then what came of it."""

    def __init__(self, shelf: PriorShelf, desk: JobDesk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._shelf, self._desk = shelf, desk
        self.job = JobBar(desk, LEARN)
        self.outcome = quiet_label()
        self.after = quiet_label()
        self.poses = PoseStrip()
        outer = column(self)
        for widget in (self.job, self.outcome, self.after, self.poses):
            outer.addWidget(widget)
        while_alive(self, shelf.progressed, self._look)
        while_alive(self, shelf.changed, self._look)
        while_alive(self, desk.state_changed, self._look)
        self._look()

    def _look(self, *_: object) -> None:
        learning, preview = self._shelf.learning, self._shelf.preview
        self.outcome.setText(self._shelf.outcome)
        self.outcome.setVisible(self.job.mine and not learning and bool(self._shelf.outcome))
        for widget in (self.after, self.poses):
            widget.setVisible(learning and preview is not None)
        if preview is not None:
            self.after.setText(f"What it makes after step {preview[0].step:,}:")
            self.poses.show_poses(*preview)


class PoseStrip(QWidget):
    """Some poses in two rows, as wide as there is room."""

    _COLUMNS, _ROWS, _GAP = 6, 2, 3.0

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._preview: PreviewReady | None = None
        self._skeleton: Skeleton | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Poses of the prior")

    def show_poses(self, preview: PreviewReady, skeleton: Skeleton) -> None:
        """Show the keypoints of a preview."""
        self._preview, self._skeleton = preview, skeleton
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(280, round(280 / self._COLUMNS * self._ROWS))

    def resizeEvent(self, event: object) -> None:
        """Keep tiles square."""
        self.setFixedHeight(round(self.width() / self._COLUMNS * self._ROWS))

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw as many poses as there are tiles."""
        if self._preview is None or self._preview.keypoints is None or self._skeleton is None:
            return
        painter = QPainter(self)
        side = self.width() / self._COLUMNS
        unit = canvas_to_unit(self._preview.keypoints, self._preview.images.shape[1])
        for number, pose in enumerate(unit[: self._COLUMNS * self._ROWS]):
            line, place = divmod(number, self._COLUMNS)
            tile = QRectF(place * side, line * side, side - self._GAP, side - self._GAP)
            draw_pose(painter, tile, pose, self._skeleton)
        painter.end()
