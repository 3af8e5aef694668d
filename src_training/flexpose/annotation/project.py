"""AnnotationProject: the labels of one set of images, in a folder beside them.

::

    walk.flexpose/
        project.json          skeleton, place of the images, labels; one frame a line
        project.json.bak      the same as of the save before
        journal.jsonl         the changes since then, one a line
        lock                  held by the window that may write

A change is on the disk when the method that makes it returns. The folder can be moved together with
the images.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Literal

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from flexpose.annotation.history import Change, Edit, History
from flexpose.annotation.journal import JOURNAL, Journal, Update, apply, journal_line
from flexpose.annotation.label import UNDECIDED, FrameLabel, migrated
from flexpose.annotation.recovery import Contents, Recovered, read_contents
from flexpose.annotation.store import (
    BACKUP,
    PROJECT,
    ProjectState,
    now,
    sync_folder,
    write_project,
)
from flexpose.errors import AnnotationError, DataFormatError, PoseShapeError
from flexpose.poseset import PoseSet
from flexpose.skeleton import Skeleton

SUFFIX = ".flexpose"
"""How the name of a project's folder ends."""

DAMAGED = "project.json.damaged"
"""Where an unreadable ``project.json`` goes when the backup and the journal replace it."""

LOCK = "lock"

FrameStatus = Literal["to do", "in progress", "complete", "reviewed", "rejected", "no pose"]


class AnnotationProject:
    """Labels by frame name, with undo; ``create`` and ``open`` make one.

    Attributes
    ----------
    folder : the project's folder, absolute
    read_only : a sentence why nothing can be changed; empty when it can
    recovered : what an earlier session left unsaved, None when nothing; one ``undo`` discards it
    trouble : a sentence why the newest changes are in memory only; empty when they are on the disk
    """

    def __init__(self, folder: Path, contents: Contents, lock: FileLock, read_only: str) -> None:
        self.folder = folder
        self.read_only = read_only
        self.recovered: Recovered | None = None
        self.trouble = ""
        self._lock = lock
        self._state = contents.state
        self._saved_number = contents.saved.number
        self._unsaved = False
        self._history = History()
        self._journal = Journal(folder / JOURNAL, contents.journal)
        if not read_only:
            self._recover(contents)

    # ------------------------------------------------------------ opening and closing

    @staticmethod
    def create(folder: Path | str, skeleton: Skeleton, images: Path | str) -> AnnotationProject:
        """Make a project without labels.

        Parameters
        ----------
        folder : to be made, its name ending in ``.flexpose``; best beside the images
        images : a folder of images, a video or a COCO file; kept as a relative path

        Raises
        ------
        AnnotationError : the name is another, the folder holds a project, or cannot be made.
        DataFormatError : the project cannot be written.
        """
        folder = Path(folder).resolve()
        if folder.suffix != SUFFIX:
            raise AnnotationError(f"{folder} does not end in {SUFFIX}, as a project's folder must.")
        if any((folder / name).exists() for name in (PROJECT, BACKUP, JOURNAL)):
            raise AnnotationError(
                f"{folder} already holds a project.", "Open it, or choose another name."
            )
        time = now()
        state = ProjectState(
            skeleton=skeleton, images=_relative(images, folder), created=time, saved=time
        )
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AnnotationError(
                f"{folder} cannot be made ({error.strerror or error})."
            ) from error
        for _ in range(2):  # the second time makes the backup
            write_project(folder, state)
        sync_folder(folder)
        return AnnotationProject.open(folder)

    @staticmethod
    def open(folder: Path | str) -> AnnotationProject:
        """Open a project, with what an earlier session had not saved.

        Raises
        ------
        AnnotationError : there is no such project.
        DataFormatError : a file is damaged or of a newer version; no file is changed.
        """
        folder = Path(folder).resolve()
        if not folder.is_dir():
            raise AnnotationError(f"The folder {folder} does not exist.")
        if not any((folder / name).exists() for name in (PROJECT, BACKUP)):
            raise AnnotationError(f"{folder} holds no {PROJECT}, so it is not a project.")
        lock = FileLock(folder / LOCK, thread_local=False)
        read_only = _acquire(lock, folder)
        try:
            return AnnotationProject(folder, read_contents(folder), lock, read_only)
        except BaseException:
            lock.release()
            raise

    def save(self) -> None:
        """Write ``project.json``, if anything has changed.

        Raises
        ------
        AnnotationError : the project is open for viewing only.
        DataFormatError : the file cannot be written; nothing is lost, and saving can be repeated.
        """
        self._require_writable()
        if not self._unsaved:
            return
        saved = replace(self._state, saved=now())
        write_project(self.folder, saved)
        try:
            self._journal.forget(self._saved_number)
        except DataFormatError:  # it may lack changes, so the backup must not need it
            write_project(self.folder, saved)
        sync_folder(self.folder)
        self._state = saved
        self._saved_number = saved.number
        self._unsaved = False
        self.trouble = ""

    def close(self, *, save: bool = True) -> None:
        """Let others write; nothing can be changed after that.

        Parameters
        ----------
        save : save first; else what is not saved stays in the journal, for the next to recover

        Raises
        ------
        DataFormatError : saving failed; the project is still open.
        """
        if save and not self.read_only:
            self.save()
        self.read_only = self.read_only or "This project is closed."
        self._lock.release()

    # ------------------------------------------------------------ looking

    @property
    def skeleton(self) -> Skeleton:
        """Names the joints of all labels."""
        return self._state.skeleton

    @property
    def images(self) -> Path:
        """The folder of images, video or COCO file, absolute; it may have gone."""
        return Path(os.path.normpath(self.folder / self._state.images))

    @property
    def created(self) -> datetime:
        """When the project was made."""
        return self._state.created

    @property
    def saved(self) -> datetime:
        """When ``project.json`` was written last."""
        return self._state.saved

    @property
    def unsaved(self) -> bool:
        """Whether ``project.json`` lacks a change; the journal has it."""
        return self._unsaved

    @property
    def work(self) -> tuple[str, ...]:
        """Names of the frames that are to be labelled."""
        return self._state.work

    @property
    def names_with_labels(self) -> tuple[str, ...]:
        """Frames about which anything is known, in alphabetical order."""
        return tuple(sorted(self._state.labels))

    def label(self, frame: str) -> FrameLabel:
        """What is known about a frame; an empty label when nothing is."""
        found = self._state.labels.get(frame)
        return FrameLabel.empty(self.skeleton.num_joints) if found is None else found

    def counts(self) -> dict[FrameStatus, int]:
        """Number of frames by status; those to do are not known here."""
        return dict(Counter(frame_status(label) for label in self._state.labels.values()))

    def shots(
        self,
        *,
        image_sizes: Mapping[str, tuple[int, int]],
        complete_only: bool = True,
        frames: Collection[str] | None = None,
    ) -> PoseSet:
        """The labelled poses, ordered by frame name, which is the image id.

        Suggested joints count as not labelled. Rejected frames and those without a pose are left
        out.

        Parameters
        ----------
        image_sizes : width and height in pixels by frame name
        complete_only : leave out frames with an undecided joint; else one labelled joint is enough
        frames : only these, where given

        Raises
        ------
        AnnotationError : the image size of a frame is not given.
        """
        usable = {
            frame: label
            for frame, label in sorted(self._state.labels.items())
            if (frames is None or frame in frames)
            and label.verdict in ("", "reviewed")
            and (label.complete or (not complete_only and (label.decided & label.placed).any()))
        }
        seen = [np.where(label.decided & label.placed, label.state, 0) for label in usable.values()]
        return self._poses(usable, seen, image_sizes, f"labels of {self.folder.name}")

    def suggestions(self, *, image_sizes: Mapping[str, tuple[int, int]]) -> PoseSet:
        """Poses that wait for a person: of frames without a verdict, a joint of which is suggested.

        Joints of them that are decided count too. Ordered and refused as `shots` are.
        """
        waiting = {
            frame: label
            for frame, label in sorted(self._state.labels.items())
            if label.suggested.any() and not label.verdict
        }
        seen = [np.where(label.placed, label.state, 0) for label in waiting.values()]
        return self._poses(waiting, seen, image_sizes, f"suggestions of {self.folder.name}")

    def _poses(
        self,
        labels: Mapping[str, FrameLabel],
        seen: Sequence[NDArray[np.integer]],
        image_sizes: Mapping[str, tuple[int, int]],
        source: str,
    ) -> PoseSet:
        """Poses of labels, with the visibility ``seen``."""
        missing = [frame for frame in labels if frame not in image_sizes]
        if missing:
            raise AnnotationError(
                f"Image sizes are not known for {len(missing)} frames, such as {missing[0]}.",
                "Find the missing images, or reject their frames.",
            )
        joints = self.skeleton.num_joints
        points = np.array([label.points for label in labels.values()], np.float32)
        return PoseSet(
            skeleton=self.skeleton,
            keypoints=points.reshape(-1, joints, 2),
            visibility=np.array(seen).reshape(-1, joints).astype(np.int8),
            image_size=np.array([image_sizes[f] for f in labels], np.int32).reshape(-1, 2),
            image_ids=tuple(labels),
            source=(source,),
        )

    # ------------------------------------------------------------ changing

    def edit(
        self, changes: Mapping[str, FrameLabel], words: str, gesture: Hashable = None
    ) -> Change | None:
        """Give frames new labels, as one entry of the history.

        Parameters
        ----------
        changes : new labels by frame name
        words : what is done, as in "place left_elbow"
        gesture : consecutive edits with the same value, such as the moves of a drag, become one
            entry; None joins nothing

        Returns
        -------
        what has changed, None when nothing has; ``trouble`` says whether it is on the disk

        Raises
        ------
        AnnotationError : the project is open for viewing only.
        PoseShapeError : a label has another number of joints than the skeleton.
        """
        self._require_writable()
        for frame, label in changes.items():
            if len(label.state) != self.skeleton.num_joints:
                raise PoseShapeError(
                    f"Found {len(label.state)} joints in the label of {frame}, expected "
                    f"{self.skeleton.num_joints}."
                )
        edits = tuple(Edit(frame=f, before=self.label(f), after=new) for f, new in changes.items())
        edits = tuple(edit for edit in edits if not edit.before.equals(edit.after))
        if not edits:
            return None
        change = Change(words=words, edits=edits)
        self._change(change, continued=self._history.record(change, gesture))
        return change

    def undo(self) -> Change | None:
        """Take the last change back; what it was, or None when there is none.

        Raises
        ------
        AnnotationError : the project is open for viewing only.
        """
        self._require_writable()
        change = self._history.undo()
        if change is not None:
            self._change(change.reversed())
        return change

    def redo(self) -> Change | None:
        """Make the change again that was undone last; what it is, or None when there is none.

        Raises
        ------
        AnnotationError : the project is open for viewing only.
        """
        self._require_writable()
        change = self._history.redo()
        if change is not None:
            self._change(change)
        return change

    @property
    def undo_words(self) -> str:
        """What ``undo`` would take back, in words; empty when there is nothing."""
        return self._history.undo_words

    @property
    def redo_words(self) -> str:
        """What ``redo`` would make again, in words; empty when there is nothing."""
        return self._history.redo_words

    def lost_joints(self, new: Skeleton) -> dict[str, int]:
        """Joints that ``new`` lacks, with the number of frames that say anything about them."""
        said = [label.state != UNDECIDED for label in self._state.labels.values()]
        counts = np.sum(said, axis=0, dtype=int) if said else np.zeros(self.skeleton.num_joints)
        return {
            joint: int(count)
            for joint, count in zip(self.skeleton.joints, counts, strict=True)
            if count and joint not in new.joints
        }

    def change_skeleton(self, new: Skeleton, *, drop: bool = False) -> Change | None:
        """Take another skeleton; joints of the same name keep their labels. One undo takes it back.

        Parameters
        ----------
        drop : go on even if labelled joints are lost

        Raises
        ------
        AnnotationError : labelled joints would be lost, or the project is open for viewing only.
        """
        self._require_writable()
        old = self.skeleton
        if new == old:
            return None
        lost = self.lost_joints(new)
        if lost and not drop:
            listed = ", ".join(f"{joint} (in {count} frames)" for joint, count in lost.items())
            raise AnnotationError(
                f"The skeleton {new.name} lacks joints that are labelled: {listed}.",
                "Drop these labels, or keep the joints.",
            )
        edits = tuple(
            Edit(frame=frame, before=label, after=migrated(label, old, new))
            for frame, label in self._state.labels.items()
        )
        change = Change(words=f"skeleton {new.name}", edits=edits, skeletons=(old, new))
        self._history.record(change)
        self._change(change)
        return change

    def set_work(self, names: Sequence[str]) -> None:
        """Make these frames the list of what is to be labelled; no entry of the history.

        Raises
        ------
        AnnotationError : the project is open for viewing only.
        """
        self._require_writable()
        self._make(Update(work=tuple(names)), "work list")

    def relocate(self, images: Path | str) -> None:
        """Say where the images are now; no entry of the history.

        Raises
        ------
        AnnotationError : the project is open for viewing only.
        """
        self._require_writable()
        self._make(Update(images=_relative(images, self.folder)), "images moved")

    def _change(self, change: Change, continued: bool = False) -> None:
        labels = {edit.frame: edit.after for edit in change.edits}
        skeleton = None if change.skeletons is None else change.skeletons[1]
        self._make(Update(labels=labels, skeleton=skeleton), change.words, continued)

    def _make(self, update: Update, words: str, continued: bool = False) -> None:
        line = journal_line(self._state, update, words, continued)
        apply(self._state, line, update)
        self._unsaved = True
        try:
            self._journal.append(line)
            self.trouble = ""
        except DataFormatError as error:
            self.trouble = (
                f"The newest changes are in memory only: {error.message} Writing is tried again "
                "with the next change and with the next save."
            )

    def _require_writable(self) -> None:
        if self.read_only:
            raise AnnotationError(f"Nothing was changed: {self.read_only}")

    def _recover(self, contents: Contents) -> None:
        for leftover in self.folder.glob(".*.tmp"):  # of a session that was cut off while saving
            leftover.unlink(missing_ok=True)
        if contents.damaged and (self.folder / PROJECT).exists():
            os.replace(self.folder / PROJECT, self.folder / DAMAGED)  # or it would be the backup
        if contents.replayed:
            count = sum(not line.continued for line in contents.replayed)
            last = contents.replayed[-1].made
            self.recovered = Recovered(edits=count, last=last, from_backup=contents.damaged)
            self._unsaved = True
            self._history.record(contents.difference("recovered edits"))


def frame_status(label: FrameLabel) -> FrameStatus:
    """The status of a frame, from its label alone."""
    if label.verdict:
        return label.verdict
    if label.complete:
        return "complete"
    return "to do" if label.untouched else "in progress"


def _acquire(lock: FileLock, folder: Path) -> str:
    """Take the lock; why the project is for viewing only, or an empty text."""
    if not os.access(folder, os.W_OK):
        return f"{folder} cannot be written, so the project is open for viewing only."
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return "The project is open in another window, so it can only be viewed in this one."
    except OSError as error:
        reason = error.strerror or error
        return f"{lock.lock_file} cannot be written ({reason}), so the project is for viewing only."
    return ""


def _relative(images: Path | str, folder: Path) -> str:
    images = Path(images).absolute()
    images = images.parent.resolve() / images.name  # a link beside the project stays a link
    try:
        return Path(os.path.relpath(images, folder)).as_posix()
    except ValueError:  # on another drive of Windows
        return images.as_posix()
