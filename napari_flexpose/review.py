"""Reviewer: predictions of a detector as suggestions, looked at one by one. No Qt, no napari.

What was said about a round of predictions stands in ``review.json`` beside the project's runs; the
suggestions themselves are labels of the project, so that its journal and undo hold for them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal
from pydantic import BaseModel, ConfigDict, ValidationError

from flexpose.annotation import label as edits
from flexpose.annotation.label import UNDECIDED, FrameLabel
from flexpose.annotation.project import AnnotationProject
from flexpose.annotation.review import Agreement, Order, ReviewQueue, agreement, compared
from flexpose.errors import AnnotationError, DataFormatError, FlexPoseError
from flexpose.io.base import atomic_write_text, read_poses, read_text
from flexpose.mapping import map_poses
from flexpose.poseset import PoseSet
from napari_flexpose.session import FlexPoseSession, is_done
from napari_flexpose.words import counted

NOTES = "review.json"
ROUNDS = 2
"""Rounds that are remembered: the one in use, and the one before to compare it with."""


class _Round(BaseModel):
    """One file of predictions.

    Attributes
    ----------
    file : its path; below the project's folder relative to it
    known : frames that were decided before it came, in alphabetical order
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    file: str
    known: tuple[str, ...]


class _Notes(BaseModel):
    """What the labels do not say, by frame name; a mark says which label it was said about.

    Attributes
    ----------
    rounds : the last ones, the newest last
    rejected : suggestions that were removed in this round, as they were before
    unseen : labels that were accepted together with others, as they became
    """

    model_config = ConfigDict(extra="forbid")
    version: Literal[1] = 1
    rounds: list[_Round] = []
    rejected: dict[str, str] = {}
    unseen: dict[str, str] = {}


@dataclass(frozen=True)
class Preview:
    """What accepting all suggestions above a threshold would take.

    Attributes
    ----------
    names : the frames, the least sure first
    of : how many are waiting
    incomplete : sure enough, but with a joint about which nothing is said; left out
    accuracy : expected share of joints that are right; NaN without any
    """

    names: tuple[str, ...]
    of: int
    incomplete: int
    accuracy: float


class Reviewer:
    """The predictions in use, the frames that wait, and what can be done about them.

    Attributes
    ----------
    order : what comes first
    active : somebody reviews: a verdict leads to the next suggestion, not down the work list
    path : the predictions in use; None without any
    trouble : a sentence why those of an earlier session are not there; empty when they are
    """

    changed = Signal()
    """Other predictions, another order, or another frame's fate."""
    many_asked = Signal()
    """Somebody wants to see what accepting many would take."""

    def __init__(self, session: FlexPoseSession) -> None:
        self.session = session
        self.order: Order = "least sure"
        self.active = False
        self.path: Path | None = None
        self.trouble = ""
        self._queue: ReviewQueue | None = None
        self._before: ReviewQueue | None = None
        self._ordered: list[str] = []
        self._notes = _Notes()
        self._project: AnnotationProject | None = None
        session.onward = self._go_on
        session.project_changed.connect(self._on_project)
        session.label_changed.connect(self._on_label)
        self._on_project()

    # ------------------------------------------------------------ predictions

    def load(self, path: Path) -> None:
        """Enter the predictions of a file as suggestions, as one undo step, and show the first.

        Decided joints stay, and so do frames that are complete or have a verdict; what was only
        suggested before is replaced.

        Raises
        ------
        FlexPoseError : the file cannot be read, has other joints, or speaks of other images; or
            nothing can be changed. Then nothing is.
        """
        path = Path(path).absolute()
        queue = self._read(path)
        self._check_sizes(queue.poses)
        names = [*queue.rows]
        known = {name for name in names if is_done(self.session.label_of(name))}
        labels = {name: self._suggested(queue, name) for name in names if name not in known}
        self.session.apply(labels, f"enter {counted(len(labels), 'suggestion')}")
        earlier = [entry for entry in self._notes.rounds if self._place_of(entry) != path]
        current = _Round(file=self._relative(path), known=tuple(sorted(known)))
        self._notes.rounds = [*earlier, current][-ROUNDS:]
        self._notes.rejected = {}
        self._write()
        self._take(path, queue)
        if labels:
            self.first()
        self.session.said.emit(_entered_words(len(labels), len(known)))

    def _suggested(self, queue: ReviewQueue, name: str) -> FrameLabel:
        row = queue.rows[name]
        label = edits.without_suggestions(self.session.label_of(name))
        return edits.suggestion(label, queue.poses.keypoints[row], queue.poses.visibility[row])

    def _read(self, path: Path) -> ReviewQueue:
        """Predictions for our frames, in our skeleton and in the order of the frames."""
        frames = self.session.opened_frames()
        poses = map_poses(read_poses(path, image_root=frames.root), self.session.skeleton)
        rows = ReviewQueue(poses).rows
        ours = [row for name in frames.names if (row := rows.get(name)) is not None]
        if not ours:
            raise AnnotationError(
                f"None of the {counted(len(rows), 'image')} in {path.name} is open here: it has "
                f"{next(iter(rows), 'no image')}, here is {frames.names[0]}.",
                "Predict on the images of this project.",
            )
        return ReviewQueue(poses[np.array(ours)])

    def _check_sizes(self, poses: PoseSet) -> None:
        frames, names = self.session.opened_frames(), poses.image_ids or ()
        for name, found in zip(names, poses.image_size.tolist(), strict=True):
            try:
                expected = frames.size(self.session.number_of(name))
            except DataFormatError:  # the picture itself says so when it is shown
                continue
            if tuple(found) != expected:
                raise AnnotationError(
                    f"The predictions know {name} with {found[0]} x {found[1]} pixels, the image "
                    f"has {expected[0]} x {expected[1]}.",
                    "Predict on the images as they are.",
                )

    def _take(self, path: Path | None, queue: ReviewQueue | None) -> None:
        self.path, self._queue, self._before, self.trouble = path, queue, None, ""
        self._sort()
        self.changed.emit()

    def set_order(self, order: Order) -> None:
        """Say what comes first, and go there."""
        self.order = order
        self._sort()
        self.first()
        self.changed.emit()

    def _sort(self) -> None:
        """Put all frames of the round into order: with undo each of them can come back."""
        self._ordered = []
        if self._queue is None:
            return
        known = {*self._notes.rounds[-1].known}
        names = [name for name in self._queue.rows if name not in known]
        project = self.session.opened_project()
        decided = [project.label(name) for name in project.names_with_labels]
        poses = [np.where(u.decided[:, None], u.points, np.nan) for u in decided if u.complete]
        shape = (-1, self.session.skeleton.num_joints, 2)
        labelled = np.array(poses, np.float32).reshape(shape)
        self._ordered = self._queue.ordered(names, self.order, labelled)

    # ------------------------------------------------------------ what waits

    @property
    def loaded(self) -> bool:
        """Whether there are predictions."""
        return self._queue is not None

    @property
    def total(self) -> int:
        """How many frames got a suggestion in this round."""
        return len(self._ordered)

    @property
    def queue(self) -> list[str]:
        """Frames that wait to be looked at, in order."""
        return [name for name in self._ordered if self._waits(name)]

    @property
    def unseen(self) -> frozenset[str]:
        """Frames that were accepted with others and that nobody has looked at since."""
        label_of = self.session.label_of
        marks = self._notes.unseen
        return frozenset(name for name, mark in marks.items() if _mark(label_of(name)) == mark)

    @property
    def knows_confidence(self) -> bool:
        """Whether the predictions say how sure they are."""
        return self._queue is not None and self._queue.sure is not None

    def sure(self, name: str) -> float | None:
        """Confidence of a frame; None where it is not known."""
        if self._queue is None or self._queue.sure is None or name not in self._queue.rows:
            return None
        return float(self._queue.sure[self._queue.rows[name]])

    def confidence(self, name: str) -> NDArray[np.float32] | None:
        """Confidence of the joints of a frame, float32 (J,); None where it is not known.

        NaN for a joint that is decided, or no longer where it was predicted; exchanged sides
        keep theirs.
        """
        if self._queue is None or name not in self._queue.rows:
            return None
        poses, row = self._queue.poses, self._queue.rows[name]
        if poses.confidence is None:
            return None
        label, confidence = self.session.label_of(name), np.full(len(poses.confidence[row]), np.nan)
        for order in (slice(None), list(poses.skeleton.flip_index)):  # as found, sides exchanged
            there = label.suggested & (label.points == poses.keypoints[row][order]).all(axis=1)
            confidence[there] = poses.confidence[row][order][there]
        return confidence.astype(np.float32)

    def doubts(self, name: str, count: int = 1) -> list[tuple[str, float]]:
        """The suggested joints that are least sure, with their confidence."""
        confidence = self.confidence(name)
        if confidence is None:
            return []
        joints = np.flatnonzero(np.isfinite(confidence))
        least = joints[np.argsort(confidence[joints], kind="stable")][:count]
        names = self.session.skeleton.joints
        return [(names[joint].replace("_", " "), float(confidence[joint])) for joint in least]

    def _waits(self, name: str) -> bool:
        label = self.session.label_of(name)
        open_still = bool(label.suggested.any()) and not label.verdict
        return open_still and name not in self._notes.rejected

    # ------------------------------------------------------------ walking and deciding

    def first(self) -> None:
        """Go to the suggestion that comes first."""
        queue = self.queue
        if queue:
            self.session.show_name(queue[0])

    def following(self) -> None:
        """Leave the frame as it is and go to the next suggestion; after the last to the first."""
        self._go(self._ordered, "No further suggestion waits.")

    def preceding(self) -> None:
        """Go back to the suggestion before."""
        self._go(self._ordered[::-1], "No other suggestion waits.")

    def _go(self, order: list[str], nothing: str) -> None:
        if not self.loaded:
            self.session.said.emit("There are no predictions to review yet.")
            return
        here = order.index(self.session.name) + 1 if self.session.name in order else 0
        around = (n for n in [*order[here:], *order[:here]] if n != self.session.name)
        following = next((name for name in around if self._waits(name)), None)
        if following is None:
            self.session.said.emit(nothing)
        else:
            self.session.show_name(following)

    def remove_suggestion(self) -> None:
        """Reject what is suggested; the frame does not come back in this round. Go on."""
        session, name, label = self.session, self.session.name, self.session.label
        if not label.suggested.any():
            session.said.emit("Nothing is suggested here.")
            return
        session.apply({name: edits.without_suggestions(label)}, "reject suggestion")
        self._notes.rejected[name] = _mark(label)
        self._write()
        self.following()
        self.changed.emit()

    def preview(self, threshold: float) -> Preview:
        """What ``accept_above`` would take."""
        waiting = self.queue
        if self._queue is None:
            return Preview((), 0, 0, float("nan"))
        label_of = self.session.label_of
        full = [name for name in waiting if (label_of(name).state != UNDECIDED).all()]
        names = self._queue.above(threshold, full)
        sure = len(self._queue.above(threshold, waiting))
        accuracy = self._queue.expected_accuracy(names)
        return Preview(tuple(names), len(waiting), sure - len(names), accuracy)

    def carry_sides(self) -> None:
        """Give the clip's suggestions the sides of the pose that is shown, as one undo step.

        From frame to frame, both ways, left and right are exchanged where that brings a suggestion
        nearer to the pose before it. What is decided stays, and leads on.
        """
        session = self.session
        if not session.label.placed.any():
            session.said.emit("Nothing is labelled here whose sides could be carried on.")
            return
        names, here = session.opened_frames().names, session.frame
        sided = self._sided(names[here + 1 :]) | self._sided(names[:here][::-1])
        if not sided:
            session.said.emit("The clip's suggestions have these sides already.")
            return
        words = f"exchange left and right of {counted(len(sided), 'suggestion')}"
        session.apply(sided, words)
        self.changed.emit()
        session.said.emit(f"Left and right exchanged in {counted(len(sided), 'frame')}.")

    def _sided(self, onward: Sequence[str]) -> dict[str, FrameLabel]:
        """Suggestions whose sides have to change, walking away from the frame that is shown."""
        session, before, sided = self.session, self.session.label, {}
        clip = _clip(session.name)
        for name in itertools.takewhile(lambda name: _clip(name) == clip, onward):
            label = session.label_of(name)
            if self._waits(name) and label.suggested.sum() == label.placed.sum():
                turned = edits.sided_like(label, before, session.skeleton.flip_index)
                if turned is not label:
                    sided[name] = label = turned
            if label.placed.any():
                before = label
        return sided

    def ask_for_many(self) -> None:
        """Ask for the preview of accepting many."""
        self.many_asked.emit()

    def accept_above(self, threshold: float) -> None:
        """Accept all suggestions of frames that are at least so sure, as one undo step.

        Nobody has looked at them, which is remembered: they say nothing about the detector.
        """
        session, names = self.session, self.preview(threshold).names
        if not names:
            session.said.emit("No suggestion is that sure.")
            return
        labels = {n: edits.judged(edits.accepted(session.label_of(n)), "reviewed") for n in names}
        session.apply(labels, f"accept {counted(len(names), 'suggestion')}")
        self._notes.unseen |= {name: _mark(label) for name, label in labels.items()}
        self._write()
        if session.name in labels:
            self.following()
        self.changed.emit()
        session.said.emit(f"{counted(len(names), 'suggestion')} accepted. One undo takes it back.")

    def set_active(self, active: bool) -> None:
        """Begin to review, with the frame that comes first, or stop."""
        self.active = active
        if active and self.loaded and self.session.name not in self.queue:
            self.first()

    def _go_on(self) -> None:
        """After a verdict, which a person has given on the frame that is shown."""
        self._saw(self.session.name)
        if self.active and self.loaded:
            self.following()
            self.changed.emit()
        else:
            self.session.next_in_list()

    def _saw(self, name: str) -> None:
        if self._notes.unseen.pop(name, None) is not None:
            self._write()

    # ------------------------------------------------------------ what it was worth

    def agreement(self) -> tuple[Agreement | None, Agreement] | None:
        """The predictions before these, and these, against what people have decided since.

        The first is None in the first round. Frames count that were not decided when these
        predictions came, so that nothing was trained with them, and that a person has looked at.
        None as long as there is no such frame.
        """
        if self._queue is None:
            return None
        unseen = self.unseen
        names = {n for n in self._ordered if n not in unseen}
        names = {n for n in names if self.session.label_of(n).complete}
        sizes = dict(zip(self._queue.rows, map(tuple, self._queue.poses.image_size), strict=True))
        labels = self.session.opened_project().shots(image_sizes=sizes, frames=names)
        before = self._round_before()
        if before is not None:
            pair = compared(before.poses, self._queue.poses, labels)
            if pair[0].frames:
                return pair
        now = agreement(self._queue.poses, labels)
        return (None, now) if now.frames else None

    def _round_before(self) -> ReviewQueue | None:
        """The predictions before these, None when there are none or their file has gone."""
        if self._before is None and len(self._notes.rounds) > 1:
            try:
                self._before = self._read(self._place_of(self._notes.rounds[-2]))
            except FlexPoseError:
                return None
        return self._before

    # ------------------------------------------------------------ parts

    def _on_project(self) -> None:
        """Another project, whose predictions are read again; or another skeleton or work list."""
        project = self.session.project
        same = self._queue is None or (
            project is not None and self._queue.poses.skeleton == project.skeleton
        )
        if project is self._project and same:
            return
        self._project, self._notes = project, _Notes()
        self._take(None, None)
        if project is None:
            return
        try:
            self._notes = self._read_notes()
            if self._notes.rounds:
                path = self._place_of(self._notes.rounds[-1])
                self._take(path, self._read(path))
        except FlexPoseError as error:
            self.trouble = f"The predictions in use cannot be read: {error}"
            self.changed.emit()

    def _on_label(self) -> None:
        """Forget that a suggestion was rejected, when that was undone."""
        session = self.session
        if session.project is None or not self._notes.rejected:
            return
        if self._notes.rejected.get(session.name) == _mark(session.label):
            del self._notes.rejected[session.name]
            self._write()

    @property
    def _notes_file(self) -> Path:
        return self.session.opened_project().folder / "runs" / NOTES

    def _read_notes(self) -> _Notes:
        path = self._notes_file
        if not path.is_file():
            return _Notes()
        try:
            return _Notes.model_validate_json(read_text(path))
        except ValidationError as error:
            problem = f"is damaged or of another version ({error.errors()[0]['msg']})"
            raise DataFormatError(path, "", problem) from error

    def _write(self) -> None:
        if self.session.opened_project().read_only:
            return
        path = self._notes_file
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataFormatError(path, "", f"cannot be written ({error.strerror})") from error
        atomic_write_text(path, f"{self._notes.model_dump_json(indent=1)}\n", backup=True)

    def _relative(self, path: Path) -> str:
        folder = self.session.opened_project().folder
        inside = path.is_relative_to(folder)
        return (path.relative_to(folder) if inside else path).as_posix()

    def _place_of(self, entry: _Round) -> Path:
        return self.session.opened_project().folder / entry.file


def _clip(name: str) -> str:
    """Folder or video of a frame."""
    return name.rpartition("/")[0]


def _mark(label: FrameLabel) -> str:
    """Tells whether a label is still the same."""
    parts: Iterable[bytes] = (
        label.points.tobytes(),
        label.state.tobytes(),
        label.suggested.tobytes(),
        label.verdict.encode(),
    )
    return blake2b(b"".join(parts), digest_size=8).hexdigest()


def _entered_words(entered: int, known: int) -> str:
    if not entered:
        return "Every frame of these predictions is decided already."
    rest = f" {counted(known, 'decided frame')} left alone." if known else ""
    return f"{counted(entered, 'suggestion')} to review.{rest}"
