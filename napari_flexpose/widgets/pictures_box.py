"""Pictures from poses: learn to paint them, look at some, export many."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QFileDialog, QLineEdit, QSpinBox, QWidget

from flexpose.errors import FlexPoseError
from napari_flexpose.desk import JobDesk
from napari_flexpose.pictures import LEARN, PAINT, PosePictures
from napari_flexpose.session import FlexPoseSession
from napari_flexpose.studio import Studio
from napari_flexpose.widgets.config_form import Fold
from napari_flexpose.widgets.export_panel import may_replace
from napari_flexpose.widgets.job_bar import JobBar, Trouble, crop_box, labelled, while_alive
from napari_flexpose.widgets.parts import PictureStrip, action_button, column, quiet_label, row

_USUAL = 500
_WHAT = (
    "Paints people like those of your frames in the poses of your model: small pictures, whose "
    "joints are known exactly. They are synthetic, and their file says so."
)


class PicturesBox(QWidget):
    """A fold: what is learned and for how long; then pairs of pose and picture, and the export.

    Parameters
    ----------
    device : gives the name of the device that is chosen
    """

    def __init__(
        self,
        session: FlexPoseSession,
        studio: Studio,
        desk: JobDesk,
        device: Callable[[], str],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._studio, self._desk, self._device = session, studio, desk, device
        self.pictures = PosePictures(studio)
        self.crop = crop_box()
        self.ready = quiet_label()
        self.learn = action_button(
            "Learn to paint",
            "Begin. It goes on if napari closes, and you can go on labelling.",
            self._learn,
            primary=True,
        )
        self.drop = action_button("Not now", "Go on with what was learned.", self._look)
        self.setup = QWidget()
        self.learning = JobBar(desk, LEARN)
        self.painting = JobBar(desk, PAINT, "Picture")
        self.trouble = Trouble()
        self.sheet = PictureStrip(
            "Poses, frames that say what their pictures look like, and the pictures so far.",
            columns=1,
        )
        self.pairs = PictureStrip("Poses, and the pictures painted of them.", columns=2)
        self.others = action_button(
            "Show others", "Paint some other poses.", lambda: self._attempt(self.pictures.show_some)
        )
        self.anew = action_button(
            "Learn anew…", "When there are more labels, or another model.", self._on_anew
        )
        self.count = QSpinBox()
        self.target = QLineEdit()
        self.browse = action_button("Browse…", "Choose a place for the folder.", self._browse)
        self.export = action_button(
            "Export pictures",
            "Write pictures of new poses and a COCO file with their joints into the folder.",
            self._export,
            primary=True,
        )
        self.result = QWidget()
        self.outcome = quiet_label()
        self._arrange()
        self._connect()
        self._on_project()

    # ------------------------------------------------------------ building

    def _arrange(self) -> None:
        self.count.setRange(1, 100_000)
        self.count.setValue(_USUAL)
        self.count.setGroupSeparatorShown(True)
        self.count.setAccessibleName("Number of pictures")
        self.target.setAccessibleName("Folder of the pictures")
        setup = column(self.setup)
        setup.addLayout(labelled(("Person", self.crop)))
        setup.addLayout(row(self.learn, self.drop))
        setup.addWidget(self.ready)
        place = QWidget()
        place.setLayout(row(self.target, self.browse, stretch=(1, 0)))
        result = column(self.result)
        result.addWidget(self.pairs)
        result.addLayout(row(self.others, self.anew))
        result.addLayout(labelled(("Pictures", self.count), ("Folder", place)))
        result.addWidget(self.export)
        body = QWidget()
        inside = column(body)
        for part in (
            quiet_label(_WHAT), self.result, self.setup, self.learning, self.painting,
            self.trouble, self.outcome, self.sheet,
        ):  # fmt: skip
            inside.addWidget(part)
        self.fold = Fold("Pictures from poses…", body)
        column(self).addWidget(self.fold)

    def _connect(self) -> None:
        self.fold.header.toggled.connect(self._look)
        while_alive(self, self._session.project_changed, self._on_project)
        while_alive(self, self._studio.model_changed, self._look)
        while_alive(self, self._desk.state_changed, self._on_state)
        while_alive(self, self._desk.interrupted_changed, self._look)
        while_alive(self, self.pictures.changed, self._look)

    @property
    def opened(self) -> bool:
        """Whether somebody looks at it."""
        return self.fold.header.isChecked()

    @property
    def mine(self) -> bool:
        """Whether the desk's job, running or ended, is one of ours."""
        return self.learning.mine or self.painting.mine

    # ------------------------------------------------------------ acting

    def _learn(self) -> None:
        self._attempt(lambda device: self.pictures.learn(self.crop.currentData(), device))

    def _export(self) -> None:
        words = self.target.text().strip()
        if not words:
            self.trouble.show_error("Name the folder that the pictures go to.")
            return
        out, count = Path(words), self.count.value()
        replaced = out.exists()
        if replaced and not may_replace(self, out):
            return
        self._attempt(lambda device: self.pictures.export(out, count, device, overwrite=replaced))

    def _attempt(self, action: Callable[[str], Any]) -> None:
        self.trouble.clear()
        try:
            action(self._device())
        except FlexPoseError as error:
            self.trouble.show_error(str(error))

    def _browse(self) -> None:
        found = QFileDialog.getExistingDirectory(self, "Where the folder goes", self.target.text())
        if found:
            self.target.setText(str(Path(found) / "pictures"))

    def _on_anew(self) -> None:
        self.result.hide()
        self.setup.show()

    # ------------------------------------------------------------ mirroring

    def showEvent(self, event: Any) -> None:
        """Follow what was labelled meanwhile."""
        self._look()

    def _on_project(self) -> None:
        project = self._session.project
        if project is not None:
            self.target.setText(str(project.folder.parent / "pictures"))
        self.trouble.clear()
        self._look()

    def _on_state(self, state: str) -> None:
        if state == "running":
            self.trouble.clear()
            if self.mine:
                self.fold.set_open(True)
        self._look()

    def _look(self, *_: object) -> None:
        pictures, busy = self.pictures, self._desk.busy
        working, painter = pictures.working, pictures.painter
        interrupted = LEARN in self._desk.interrupted
        problem = pictures.readiness() or busy
        if self._session.project is not None:
            self.ready.setText(problem or pictures.teachers)
        self.learn.setEnabled(not problem)
        self.drop.setVisible(painter is not None)
        self.setup.setVisible(painter is None and not working and not interrupted)
        self.result.setVisible(painter is not None and working != LEARN)
        self.pairs.show_pictures(pictures.pairs)
        self.sheet.show_pictures(pictures.preview if working == LEARN else None)
        for button in (self.others, self.anew, self.export):
            button.setEnabled(not busy)
        self.outcome.setText(pictures.outcome)
        self.outcome.setVisible(bool(pictures.outcome) and not working)
