"""Files: the labelled poses, and any number of generated ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QFileDialog,
    QGroupBox,
    QLineEdit,
    QMessageBox,
    QSizePolicy,
    QSpinBox,
    QWidget,
)

from flexpose.errors import FlexPoseError
from flexpose.events import JobEvent, JobFinished, MetricsReady
from napari_flexpose.desk import JobDesk
from napari_flexpose.session import FlexPoseSession
from napari_flexpose.studio import Studio, Unreviewed
from napari_flexpose.widgets.job_bar import (
    JobBar,
    copy_button,
    device_box,
    labelled,
    narrow_box,
    while_alive,
)
from napari_flexpose.widgets.parts import action_button, column, quiet_label, row

_LABEL_FORMATS = (
    ("COCO keypoints (.json)", ".json", "With cvat_labels.json beside it, for CVAT."),
    ("YOLO-pose (folder)", "", "Images, labels and data.yaml in a new folder."),
    ("SLEAP (.slp)", ".slp", "Needs the package sleap-io."),
    ("FlexPose (.npz)", ".npz", "Everything that is known of the poses, without loss."),
)
_UNREVIEWED: tuple[tuple[str, Unreviewed, str], ...] = (
    ("Labels only", "leave out", "What is only suggested stays here."),
    (
        "Labels and unreviewed suggestions, flagged",
        "flag",
        "Each annotation says whether it was reviewed: attributes.reviewed.",
    ),
    ("Two files", "two files", "Suggestions go to a second file beside the labels."),
)
_POSE_FORMATS = (
    ("COCO keypoints (.json)", ".json", False),
    ("Zarr with skeleton images (.zarr)", ".zarr", True),
    ("FlexPose (.npz)", ".npz", False),
)


class ExportPanel(QWidget):
    """Two boxes: labels as they are, and generated poses.

    Parameters
    ----------
    unseen : gives the frames that were accepted without a look
    """

    def __init__(
        self,
        session: FlexPoseSession,
        studio: Studio,
        desk: JobDesk,
        unseen: Callable[[], Collection[str]] = frozenset,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.labels = LabelsBox(session, studio, unseen)
        self.poses = PosesBox(session, studio, desk)
        outer = column(self)
        outer.addWidget(self.labels)
        outer.addWidget(self.poses)
        outer.addStretch(1)


class LabelsBox(QGroupBox):
    """Write the labelled poses in a format of the user's choice."""

    def __init__(
        self, session: FlexPoseSession, studio: Studio, unseen: Callable[[], Collection[str]]
    ) -> None:
        super().__init__("Labels")
        self._session, self._studio, self._unseen = session, studio, unseen
        self._left: Iterator[tuple[int, int]] | None = None
        self.format = narrow_box("Format of the labels")
        for words, ending, note in _LABEL_FORMATS:
            self.format.addItem(words, ending)
            self.format.setItemData(self.format.count() - 1, note, 3)
        self.unreviewed = narrow_box("What is written")
        for words, choice, note in _UNREVIEWED:
            self.unreviewed.addItem(words, choice)
            self.unreviewed.setItemData(self.unreviewed.count() - 1, note, 3)
        self.format.currentIndexChanged.connect(self._on_format)
        self.button = action_button(
            "Export labels…", "Write the complete frames to a file.", self._choose
        )
        self.words = quiet_label()
        outer = column(self, margin=8)
        outer.addLayout(labelled(("Format", self.format), ("Write", self.unreviewed)))
        outer.addWidget(self.button)
        outer.addWidget(self.words)
        self._pump = QTimer(self)
        self._pump.timeout.connect(self._write_one)
        self.words.hide()
        while_alive(self, session.project_changed, self._on_project)
        self._on_project()

    def export(self, path: Path) -> None:
        """Write to a file, or for YOLO a new folder; what came of it is shown in words."""
        try:
            if self.format.currentData():
                choice = self.unreviewed.currentData()
                notes = self._studio.export_labels(path, choice, self._unseen())
                self._say("\n".join(notes))
                return
            self._left, self._target = self._studio.export_yolo(path), path
            self.button.setEnabled(False)
            self._pump.start(0)
        except FlexPoseError as error:
            self._say(str(error))

    def _write_one(self) -> None:
        """One image a turn of the event loop, so that the window goes on."""
        assert self._left is not None
        try:
            number, of = next(self._left)
            self._say(f"Writing image {number} of {of}…")
            return
        except StopIteration:
            self._say(f"Written to {self._target}. Train with its data.yaml.")
        except FlexPoseError as error:
            self._say(str(error))
        self._pump.stop()
        self._left = None
        self.button.setEnabled(True)

    def _choose(self) -> None:
        ending = self.format.currentData()
        start = self._start_folder() / (f"labels{ending}" if ending else "labels-yolo")
        title = "Export labels"
        pattern = f"Files (*{ending})" if ending else "Folder (*)"
        path, _ = QFileDialog.getSaveFileName(self, title, str(start), pattern)
        if path:
            self.export(_with_ending(path, ending))

    def _on_format(self) -> None:
        """Only COCO files can say what was reviewed."""
        coco = self.format.currentData() == ".json"
        self.unreviewed.setEnabled(coco)
        if not coco:
            self.unreviewed.setCurrentIndex(0)

    def _start_folder(self) -> Path:
        project = self._session.project
        return Path.cwd() if project is None else project.folder.parent

    def _on_project(self) -> None:
        self.button.setEnabled(self._session.project is not None)
        self.words.hide()

    def _say(self, words: str) -> None:
        self.words.setText(words)
        self.words.show()


class PosesBox(QGroupBox):
    """Draw poses from the model in use into a file."""

    def __init__(self, session: FlexPoseSession, studio: Studio, desk: JobDesk) -> None:
        super().__init__("Generate")
        self._session, self._studio, self._desk = session, studio, desk
        self.source = quiet_label()
        self.count = QSpinBox()
        self.count.setRange(1, 10_000_000)
        self.count.setValue(2000)
        self.count.setSingleStep(1000)
        self.count.setGroupSeparatorShown(True)
        self.count.setAccessibleName("Number of poses")
        self.format = narrow_box("Format of the poses")
        for words, ending, _ in _POSE_FORMATS:
            self.format.addItem(words, ending)
        self.format.currentIndexChanged.connect(self._on_format)
        self.target = QLineEdit()
        self.target.setPlaceholderText("Where to write them")
        self.target.setAccessibleName("File")
        self.browse = action_button("…", "Choose a place and a name", self._browse)
        self.browse.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        self.device = device_box()
        self.time = quiet_label()
        self.button = action_button(
            "Generate", "Draw the poses and write them.", self._start, primary=True
        )
        self.button.setMinimumHeight(34)
        self.job = JobBar(desk, "sample", "Pose")
        self.words = quiet_label()
        self.copy = copy_button(desk)
        self._arrange()
        self._checked: MetricsReady | None = None
        self._drawn = 0
        for changed in (self.count.valueChanged, self.device.currentIndexChanged):
            changed.connect(self._look)
        while_alive(self, session.project_changed, self._on_project)
        while_alive(self, studio.model_changed, self._look)
        while_alive(self, desk.happened, self._on_event)
        while_alive(self, desk.state_changed, self._on_state)
        self._on_project()
        self._on_state(desk.state)

    def settings(self) -> dict[str, Any]:
        """What is set here, for `Studio.generate`."""
        return {
            "n": self.count.value(),
            "out": self.path,
            "images": _POSE_FORMATS[self.format.currentIndex()][2],
            "device": self.device.currentData(),
        }

    @property
    def path(self) -> Path:
        """The file, with the ending of its format."""
        return _with_ending(self.target.text().strip(), self.format.currentData())

    def _arrange(self) -> None:
        place = QWidget()
        place.setLayout(row(self.target, self.browse, stretch=(1, 0)))
        outer = column(self, margin=8)
        outer.addWidget(self.source)
        outer.addLayout(
            labelled(
                ("Poses", self.count),
                ("Format", self.format),
                ("File", place),
                ("Device", self.device),
            )
        )
        for widget in (self.button, self.time, self.job, self.words, self.copy):
            outer.addWidget(widget)

    # ------------------------------------------------------------ acting

    def _start(self) -> None:
        self.job.trouble.clear()
        if not self.target.text().strip():
            self.job.trouble.show_error("Name the file that the poses go to.")
            return
        settings = self.settings()
        if self.path.exists():
            if not may_replace(self, self.path):
                return
            settings["overwrite"] = True
        try:
            self._studio.generate(settings)
        except FlexPoseError as error:
            self.job.trouble.show_error(str(error))

    def _browse(self) -> None:
        ending = self.format.currentData()
        path, _ = QFileDialog.getSaveFileName(
            self,
            "Generated poses",
            self.target.text(),
            f"Files (*{ending})",
            options=QFileDialog.Option.DontConfirmOverwrite,  # asked when generating starts
        )
        if path:
            self.target.setText(str(_with_ending(path, ending)))

    # ------------------------------------------------------------ mirroring

    def _on_event(self, event: JobEvent) -> None:
        if not self.job.mine:
            return
        if isinstance(event, MetricsReady) and event.split == "sample":
            self._drawn, self._checked = event.step, None
        elif isinstance(event, MetricsReady) and event.split == "check":
            self._checked = event
        elif isinstance(event, JobFinished):
            self._show_end(event)

    def _show_end(self, event: JobFinished) -> None:
        words = [f"{self._drawn:,} poses written to {event.result}."]
        if self._checked is not None:
            errors, warnings = (int(self._checked.metrics[k]) for k in ("errors", "warnings"))
            words.append(
                "The check found nothing wrong."
                if errors + warnings == 0
                else f"The check found {errors} errors and {warnings} warnings."
            )
        self.words.setText(" ".join(words))
        self.words.show()

    def _on_state(self, state: str) -> None:
        if state == "running":
            self.words.hide()
        self.copy.setVisible(self.job.mine)
        self.copy.setText("Copy command")
        self._look()

    def _look(self) -> None:
        source, missing = self._studio.source, self._studio.shelf.missing
        words = f"From {self._studio.source_words}." if source else f"{missing} Learn one in Adapt."
        self.source.setText(words)
        ready = self._session.project is not None and bool(source) and not self._desk.busy
        self.button.setEnabled(ready)
        self.time.setVisible(ready)
        if ready:
            self.time.setText(self._studio.estimate_poses(self.settings()))

    def _on_format(self) -> None:
        self._look()
        if self.target.text().strip():
            self.target.setText(str(self.path))

    def _on_project(self) -> None:
        project = self._session.project
        if project is not None:
            self.target.setText(str(project.folder.parent / f"poses{self.format.currentData()}"))
        self.words.hide()
        self._look()


def may_replace(parent: QWidget, path: Path) -> bool:
    """Ask whether a file that is there may go."""
    answer = QMessageBox.question(
        parent, "Replace the file?", f"{path} exists already. Replace it with the new poses?"
    )
    return answer == QMessageBox.StandardButton.Yes


def _with_ending(path: str, ending: str) -> Path:
    """The path, with the format's ending in the place of that of another format."""
    found = Path(path)
    if not ending or found.suffix.lower() == ending:
        return found
    known = {".json", ".zarr", ".slp", ".npz"}
    return found.with_suffix(ending) if found.suffix in known else Path(f"{path}{ending}")
