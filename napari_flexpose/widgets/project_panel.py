"""The step *Project*: what is labelled, and with which skeleton."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QMessageBox,
    QWidget,
)

from flexpose.errors import FlexPoseError
from flexpose.frames.base import VIDEO_SUFFIXES
from flexpose.skeleton import Skeleton, load_skeleton, skeleton_names
from napari_flexpose._sample_data import sample_folder
from napari_flexpose.session import FlexPoseSession, ImagesMovedError
from napari_flexpose.widgets.parts import (
    SkeletonView,
    action_button,
    attempt,
    column,
    quiet_label,
    row,
)
from napari_flexpose.widgets.skeleton_editor import SkeletonEditor

DEFAULT_SKELETON = "body15"
_NAMED = 3  # names of missing images that are listed


class ProjectPanel(QWidget):
    """Opens images, videos and projects; shows and changes the skeleton."""

    def __init__(self, session: FlexPoseSession) -> None:
        super().__init__()
        self.session = session
        self._own: dict[str, Skeleton] = {}
        self._editor: SkeletonEditor | None = None
        layout = column(self)
        layout.addLayout(
            row(
                action_button("Open folder…", "Label a folder of images", self._ask_folder),
                action_button("Open video…", "Label frames of a video", self._ask_video),
            )
        )
        layout.addLayout(
            row(
                action_button("Open project…", "Go on with a project", self._ask_project),
                action_button(
                    "Sample data", "Open small images of a moving mannequin", self.open_sample
                ),
            )
        )
        self.opened = quiet_label()
        layout.addWidget(self.opened)
        self.notes = quiet_label()
        self.notes.setObjectName("notice")
        layout.addWidget(self.notes)
        self.recovered, self.recovered_words = self._recovered_bar()
        layout.addWidget(self.recovered)
        layout.addLayout(self._skeleton_row())
        layout.addStretch()
        session.project_changed.connect(self.refresh)
        self.refresh()

    def close_panel(self) -> None:
        """Let go of the session."""
        self.session.project_changed.disconnect(self.refresh)
        if self._editor is not None:
            self._editor.close()

    # ------------------------------------------------------------ opening

    def open_images(self, path: Path) -> bool:
        """Begin a project on a folder or video, or open the one that is there; whether it went."""
        return self._waiting(self.session.create, path, self.chosen_skeleton())

    def open_project(self, folder: Path) -> bool:
        """Open a project; when its images have moved, ask where they are."""
        try:
            self.session.open(folder)
        except ImagesMovedError as error:
            self.session.said.emit(str(error))
            images = QFileDialog.getExistingDirectory(self, "Where are the images now?")
            return bool(images) and self._waiting(self.session.open, folder, Path(images))
        except FlexPoseError as error:
            self.session.failed.emit(str(error))
            return False
        return True

    def open_sample(self) -> bool:
        """Open the sample images; they are drawn at the first time."""
        QApplication.setOverrideCursor(Qt.CursorShape.WaitCursor)
        try:
            folder = sample_folder()
        except FlexPoseError as error:
            self.session.failed.emit(str(error))
            return False
        finally:
            QApplication.restoreOverrideCursor()
        return self.open_images(folder)

    def _waiting(self, action: Callable[..., None], *values: object) -> bool:
        QApplication.setOverrideCursor(Qt.CursorShape.WaitCursor)
        try:
            return attempt(self.session, action, *values)
        finally:
            QApplication.restoreOverrideCursor()

    def _ask_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Open a folder of images")
        if folder.endswith(".flexpose"):
            self.open_project(Path(folder))
        elif folder:
            self.open_images(Path(folder))

    def _ask_video(self) -> None:
        endings = " ".join(f"*{suffix}" for suffix in VIDEO_SUFFIXES)
        name, _ = QFileDialog.getOpenFileName(self, "Open a video", "", f"Videos ({endings})")
        if name:
            self.open_images(Path(name))

    def _ask_project(self) -> None:
        folder = QFileDialog.getExistingDirectory(
            self, "Open a project, a folder whose name ends in .flexpose"
        )
        if folder:
            self.open_project(Path(folder))

    # ------------------------------------------------------------ skeleton

    def chosen_skeleton(self) -> Skeleton:
        """The skeleton that the box shows."""
        name = self.skeletons.currentText()
        return self._own[name] if name in self._own else load_skeleton(name)

    def use_skeleton(self, skeleton: Skeleton) -> None:
        """Label with this skeleton; asks before labels are dropped. Undo brings them back."""
        if skeleton.name not in skeleton_names():
            self._own[skeleton.name] = skeleton
        project = self.session.project
        if project is None:
            self._list_skeletons(skeleton.name)
            return
        lost = project.lost_joints(skeleton)
        if lost and not self._may_drop(skeleton, lost):
            self._list_skeletons(project.skeleton.name)
            return
        attempt(self.session, lambda: self.session.change_skeleton(skeleton, drop=bool(lost)))
        self.refresh()

    def _may_drop(self, skeleton: Skeleton, lost: dict[str, int]) -> bool:
        joints = ", ".join(joint.replace("_", " ") for joint in lost)
        answer = QMessageBox.question(
            self,
            "Change the skeleton",
            f"{skeleton.name} lacks joints that are labelled: {joints}. "
            "Drop their labels? Undo brings them back.",
        )
        return answer == QMessageBox.StandardButton.Yes

    def _edit_skeleton(self) -> None:
        folder = None if self.session.project is None else self.session.project.folder
        self._editor = SkeletonEditor(self.chosen_skeleton(), folder, self)
        self._editor.finished_with.connect(self.use_skeleton)
        self._editor.show()

    def _on_chosen(self) -> None:
        self.use_skeleton(self.chosen_skeleton())

    def _list_skeletons(self, chosen: str) -> None:
        self.skeletons.blockSignals(True)
        self.skeletons.clear()
        self.skeletons.addItems(sorted({*skeleton_names(), *self._own}))
        self.skeletons.setCurrentText(chosen)
        self.skeletons.blockSignals(False)
        skeleton = self.chosen_skeleton()
        self.view.show_skeleton(skeleton)
        pairs, edges = len(skeleton.symmetric_pairs), len(skeleton.edges)
        self.facts.setText(f"{skeleton.num_joints} joints, {edges} edges, {pairs} pairs")

    # ------------------------------------------------------------ parts

    def refresh(self) -> None:
        """Show the session's project again."""
        session, project = self.session, self.session.project
        self.notes.setVisible(False)
        self.recovered.setVisible(bool(session.recovered))
        self.recovered_words.setText(session.recovered)
        if project is None or session.frames is None:
            self.opened.setText("Nothing is copied: labels go into a folder beside the images.")
            self._list_skeletons(self.skeletons.currentText() or DEFAULT_SKELETON)
            return
        self.opened.setText(f"{session.frames.description}\nLabels: {project.folder.name}")
        self.opened.setToolTip(str(project.folder))
        name = project.skeleton.name
        if name not in skeleton_names() or project.skeleton != load_skeleton(name):
            self._own[name] = project.skeleton
        self._list_skeletons(project.skeleton.name)
        notes = [*session.frames.notes, *_missing(session.missing)]
        if project.read_only:
            notes.insert(0, project.read_only)
        self.notes.setText("\n".join(notes))
        self.notes.setVisible(bool(notes))

    def _recovered_bar(self) -> tuple[QFrame, QLabel]:
        bar = QFrame()
        bar.setObjectName("notice")
        layout = column(bar, margin=4)
        words = quiet_label()
        layout.addWidget(words)
        session = self.session
        layout.addLayout(
            row(
                action_button(
                    "Keep",
                    "Keep the recovered edits",
                    lambda: attempt(session, session.keep_recovered),
                ),
                action_button(
                    "Discard",
                    "Go back to what was saved; redo brings the edits back",
                    lambda: attempt(session, session.discard_recovered),
                ),
            )
        )
        return bar, words

    def _skeleton_row(self) -> QHBoxLayout:
        self.view = SkeletonView(112)
        self.view.setFixedSize(112, 112)
        self.skeletons = QComboBox()
        self.skeletons.setAccessibleName("Skeleton")
        self.skeletons.setToolTip("The joints that are labelled, and how they connect")
        self.skeletons.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.skeletons.activated.connect(lambda _: self._on_chosen())
        self.facts = quiet_label()
        right = QWidget()
        layout = column(right)
        layout.addWidget(QLabel("Skeleton"))
        layout.addWidget(self.skeletons)
        layout.addWidget(self.facts)
        layout.addWidget(
            action_button("Edit…", "Add, remove, place and connect joints", self._edit_skeleton)
        )
        layout.addStretch()
        beside = row(self.view, right, stretch=(0, 1))
        beside.setAlignment(self.view, Qt.AlignmentFlag.AlignTop)
        return beside


def _missing(names: list[str]) -> list[str]:
    """A sentence on labelled frames without an image."""
    if not names:
        return []
    listed = ", ".join(names[:_NAMED]) + (" and others" if len(names) > _NAMED else "")
    what = "image is" if len(names) == 1 else "images are"
    return [f"{len(names)} labelled {what} missing: {listed}. The labels are kept."]
