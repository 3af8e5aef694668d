"""FlexPoseSession: everything a user can do, without Qt and without napari.

Widgets call its methods and mirror its signals; they hold no logic. One session belongs to one
viewer and is handed down; nothing is global.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from flexpose.annotation import label as edits
from flexpose.annotation.findings import Finding, find, marks, swap_order
from flexpose.annotation.history import Change
from flexpose.annotation.label import FrameLabel
from flexpose.annotation.project import SUFFIX, AnnotationProject
from flexpose.errors import AnnotationError, DataFormatError, FlexPoseError
from flexpose.frames import FrameSource, open_frames
from flexpose.skeleton import Skeleton
from flexpose.suggestion import Suggestion
from napari_flexpose.placing import Placing, template_refused, with_template

Mode = Literal["sequential", "quick", "loop"]
"""Where a click goes next: the next undecided joint, simply the next one, or the next frame."""

MODES: tuple[Mode, ...] = get_args(Mode)
TEMPLATE_SHARE = 0.7
"""Height of a template on an image on which nothing was labelled before."""
LEAST_BOX = 4.0
"""Image pixels; a drawn box that is narrower was hardly meant to hold a pose."""


class ImagesMovedError(AnnotationError):
    """A project's images are not where they were; `FlexPoseSession.open` can be told where."""


class FlexPoseSession:
    """The state of one window and the actions on it.

    Every action on labels is one undo step, is in the journal when the method returns, and tells
    what it did through a signal. Errors that a user can meet are `FlexPoseError`.

    Parameters
    ----------
    clock : seconds, for saving in intervals
    autosave_seconds : longest time between two rewritings of the project file; the journal holds
        every edit at once

    Attributes
    ----------
    onward : where a verdict leads; down the work list, unless somebody reviews suggestions
    placing : a template placed by clicks, contours moved by handles
    """

    project_changed = Signal()
    """Another project, or none, or another skeleton or work list."""
    frame_changed = Signal(int)
    """The frame that is shown, as an index into ``frames``."""
    label_changed = Signal()
    """The label of the frame that is shown, or its verdict."""
    joint_changed = Signal(int)
    mode_changed = Signal(str)
    saved_changed = Signal()
    """Saved, or something to save."""
    said = Signal(str)
    """A sentence for the status line, such as what was undone."""
    failed = Signal(str)
    """A sentence that must not be overlooked, such as that saving failed."""

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, autosave_seconds: float = 30.0
    ) -> None:
        self._clock, self.autosave_seconds = clock, max(autosave_seconds, 5.0)
        self.project: AnnotationProject | None = None
        self.frames: FrameSource | None = None
        self.frame = 0
        self.joint = 0
        self.mode: Mode = "sequential"
        self.work: list[str] = []
        self.reasons: dict[str, str] = {}
        self._index: dict[str, int] = {}
        self._copied: FrameLabel | None = None
        self.recovered = ""
        self._edited: list[str] = []  # frames, latest last
        self._saved_at = self._clock()
        self.onward: Callable[[], None] = self.next_in_list
        self.placing = Placing(self)

    # ------------------------------------------------------------ opening and closing

    def create(self, images: Path, skeleton: Skeleton, folder: Path | None = None) -> None:
        """Begin a project on a folder of images, a video or a COCO file.

        The project's folder is ``<images>.flexpose`` beside them unless another is named, with the
        whole name of a video or file. When it is there already, it is opened instead.

        Raises
        ------
        FlexPoseError : there are no images, or the folder cannot be written.
        """
        folder = folder or project_folder(images)
        if folder.exists():
            self.open(folder)
            return
        frames = open_frames(images)
        self._save_before_leaving()
        self._adopt(AnnotationProject.create(folder, skeleton, images), frames)

    def open(self, folder: Path, images: Path | None = None) -> None:
        """Open a project that was begun before.

        Parameters
        ----------
        images : where the images are now, if they have moved

        Raises
        ------
        ImagesMovedError : the images are not where they were.
        FlexPoseError : it is no project, or there are no images.
        """
        if self.project is not None and self.project.folder == folder.resolve():
            return
        self._save_before_leaving()
        project = AnnotationProject.open(folder)
        try:
            if images is None and not project.images.exists():
                raise ImagesMovedError(
                    f"The images are no longer at {project.images}.", "Show where they are now."
                )
            frames = open_frames(images or project.images)
            if images is not None:
                project.relocate(images)
        except FlexPoseError:
            project.close(save=False)  # or recovered edits could no longer be discarded
            raise
        self._adopt(project, frames)

    def _save_before_leaving(self) -> None:
        """Save what is open, so that letting it go for another cannot fail half-way."""
        if self.project is not None and self.project.unsaved and not self.project.read_only:
            self.save()

    def _adopt(self, project: AnnotationProject, frames: FrameSource) -> None:
        self.close()
        self.project, self.frames = project, frames
        self._index = {name: i for i, name in enumerate(frames.names)}
        self.work = [name for name in project.work if name in self._index]
        self._edited, self._copied, self.reasons = [], None, {}
        self.recovered = "" if project.recovered is None else project.recovered.words
        self.frame = self.joint = 0
        self._saved_at = self._clock()
        self.project_changed.emit()
        self.show_frame(self._index.get(self.work[0], 0) if self.work else 0)

    def close(self) -> None:
        """Save and let the project go; without one nothing happens.

        Raises
        ------
        DataFormatError : saving failed; the project is still open, with all its labels.
        """
        if self.project is None:
            return
        self.project.close()
        self.project, self.frames = None, None
        self.work, self._index, self.reasons, self.recovered = [], {}, {}, ""
        self.project_changed.emit()

    def keep_recovered(self) -> None:
        """Keep the edits that an earlier session had not saved."""
        self.recovered = ""
        self.save()
        self.project_changed.emit()

    def discard_recovered(self) -> None:
        """Go back to what was saved last; one redo brings the recovered edits back."""
        self.recovered = ""
        self.placing.leave()
        self.undo()
        self.project_changed.emit()

    def save(self) -> None:
        """Rewrite the project file now."""
        project = self.opened_project()
        project.save()
        self._saved_at = self._clock()
        self._tell_change()

    @property
    def seconds_since_saving(self) -> float:
        """Seconds since the project file was written or opened."""
        return self._clock() - self._saved_at

    def autosave(self) -> None:
        """Save when there is something to save and the interval is over; called by a timer."""
        if self.project is None or not self.project.unsaved or self.project.read_only:
            return
        if self.seconds_since_saving >= self.autosave_seconds:
            self.save()

    def change_skeleton(self, skeleton: Skeleton, *, drop: bool = False) -> None:
        """Use another skeleton; joints of the same name keep their labels.

        Raises
        ------
        AnnotationError : labelled joints would be lost and ``drop`` is not set.
        """
        if self.opened_project().change_skeleton(skeleton, drop=drop) is not None:
            self._show_skeleton()
            self._tell_change()

    # ------------------------------------------------------------ what is shown

    @property
    def skeleton(self) -> Skeleton:
        """The project's skeleton."""
        return self.opened_project().skeleton

    @property
    def name(self) -> str:
        """Name of the frame that is shown."""
        return self.opened_frames().names[self.frame]

    @property
    def label(self) -> FrameLabel:
        """Label of the frame that is shown."""
        return self.opened_project().label(self.name)

    @property
    def image_size(self) -> tuple[int, int] | None:
        """Width and height in pixels of the image that is shown; None when it cannot be read."""
        return self._size_of(self.name)

    @property
    def missing(self) -> list[str]:
        """Frames that have labels but no image any more; their labels are kept."""
        if self.project is None:
            return []
        return [name for name in self.project.names_with_labels if name not in self._index]

    def label_of(self, name: str) -> FrameLabel:
        """Label of a frame by its name."""
        return self.opened_project().label(name)

    def number_of(self, name: str) -> int:
        """Index of a frame in ``frames``."""
        return self._index[name]

    def findings(self) -> list[Finding]:
        """What looks wrong in the labels, frame by frame."""
        project = self.opened_project()
        labels = {name: project.label(name) for name in project.names_with_labels}
        return find(labels, project.skeleton, self._size_of) if labels else []

    def show_finding(self, finding: Finding) -> None:
        """Go to the frame of a finding and make its first joint the current one."""
        if finding.frame not in self._index:
            self.said.emit(f"The image of {finding.frame} is missing.")
            return
        if finding.frame != self.name:
            self.show_name(finding.frame)
        if finding.joints:
            self.select_joint(finding.joints[0])

    def fix(self, finding: Finding) -> None:
        """Make the edit that would mend a finding, as one undo step."""
        label = self.label_of(finding.frame)
        if finding.fix == "swap":
            order = swap_order(self.skeleton, finding.joints)
            self.apply({finding.frame: edits.swapped(label, order)}, "exchange left and right")
        elif finding.fix == "accept":
            self.apply({finding.frame: edits.accepted(label)}, "accept suggested joints")

    def accept_as_is(self, finding: Finding) -> None:
        """Call a finding right; it comes back only when the pose of its frame has changed."""
        label = edits.left_as_is(self.label_of(finding.frame), marks(finding, self.skeleton))
        self.apply({finding.frame: label}, "accept finding as is")

    def show_frame(self, index: int) -> None:
        """Go to a frame; indices beyond the ends mean the ends."""
        frames = self.opened_frames()
        self.said.emit("")  # what was said concerned the frame before
        self.frame = min(max(index, 0), len(frames.names) - 1)
        if self.mode == "sequential":
            first = edits.next_undecided(self.label, -1)
            self._set_joint(self.joint if first is None else first)
        self.frame_changed.emit(self.frame)
        self.label_changed.emit()

    def show_name(self, name: str) -> None:
        """Go to a frame by its name."""
        self.show_frame(self._index[name])

    def next_frame(self) -> None:
        """Go to the next frame."""
        self.show_frame(self.frame + 1)

    def previous_frame(self) -> None:
        """Go to the previous frame."""
        self.show_frame(self.frame - 1)

    def next_in_list(self) -> None:
        """Go to the next frame of the work list, from wherever we are."""
        later = [i for i in self._work_indices() if i > self.frame] or self._work_indices()[-1:]
        self.show_frame(later[0] if later else self.frame + 1)

    def previous_in_list(self) -> None:
        """Go to the previous frame of the work list, from wherever we are."""
        before = [i for i in self._work_indices() if i < self.frame] or self._work_indices()[:1]
        self.show_frame(before[-1] if before else self.frame - 1)

    def first_in_list(self) -> None:
        """Go to the first frame of the work list."""
        self.show_frame((self._work_indices() or [0])[0])

    def last_in_list(self) -> None:
        """Go to the last frame of the work list."""
        self.show_frame((self._work_indices() or [len(self.opened_frames().names) - 1])[-1])

    def next_incomplete(self) -> None:
        """Go to the next frame that is still to be labelled."""
        self._to_incomplete(forward=True)

    def previous_incomplete(self) -> None:
        """Go to the previous frame that is still to be labelled."""
        self._to_incomplete(forward=False)

    def last_edited(self) -> None:
        """Go to the frame edited last; again, to the one before."""
        others = [name for name in self._edited if name != self.name]
        if others:
            self.show_name(others[-1])

    def _to_incomplete(self, forward: bool) -> None:
        indices = self._work_indices() or list(range(len(self.opened_frames().names)))
        project, names = self.opened_project(), self.opened_frames().names
        open_ones = [i for i in indices if not is_done(project.label(names[i]))]
        if not open_ones:
            self.said.emit("Every frame of the list is labelled.")
            return
        if forward:
            self.show_frame(next((i for i in open_ones if i > self.frame), open_ones[0]))
        else:
            before = [i for i in open_ones if i < self.frame]
            self.show_frame(before[-1] if before else open_ones[-1])

    def _work_indices(self) -> list[int]:
        return sorted(self._index[name] for name in self.work)

    def set_work(self, names: list[str]) -> None:
        """Make these frames the list of what is to be labelled."""
        self.opened_project().set_work(names)
        self.work = [name for name in names if name in self._index]
        self.project_changed.emit()
        self._tell_change()

    def add_suggestions(self, suggestions: Sequence[Suggestion]) -> None:
        """Put suggested frames on the work list, after what is there, and go to the first."""
        new = [s for s in suggestions if s.name in self._index and s.name not in self.work]
        if not new:
            self.said.emit("No further frame differs enough to be worth a label.")
            return
        self.reasons.update({s.name: s.reason for s in new})
        self.set_work(sorted([*self.work, *(s.name for s in new)], key=self.number_of))
        self.next_incomplete()
        self.said.emit(f"{len(new)} frames added to the list.")

    def toggle_in_list(self) -> None:
        """Add the frame to the work list, or take it out."""
        names = list(self.work)
        if self.name in names:
            names.remove(self.name)
        else:
            names.append(self.name)
        self.set_work(sorted(names, key=self._index.__getitem__))

    def progress(self) -> tuple[int, int]:
        """Frames of the work list that are done, and its length."""
        project = self.opened_project()
        return sum(is_done(project.label(name)) for name in self.work), len(self.work)

    # ------------------------------------------------------------ joints

    def select_joint(self, joint: int) -> None:
        """Make a joint the current one."""
        self._set_joint(joint % self.skeleton.num_joints)

    def next_joint(self) -> None:
        """Make the next joint the current one."""
        self.select_joint(self.joint + 1)

    def previous_joint(self) -> None:
        """Make the previous joint the current one."""
        self.select_joint(self.joint - 1)

    def next_mode(self) -> None:
        """Change where a click goes next."""
        self.set_mode(MODES[(MODES.index(self.mode) + 1) % len(MODES)])

    def set_mode(self, mode: Mode) -> None:
        """Say where a click goes next."""
        self.mode = mode
        self.mode_changed.emit(mode)

    def click(self, x: float, y: float) -> None:
        """Place the current joint at (x, y) image pixels and advance as the mode says.

        While the places of a template are asked for, it says where the next one is. In sequential
        mode a click on a frame in which nothing is undecided changes nothing: moving a joint by
        accident is worse than one more key.
        """
        if self.placing.active:
            self.placing.click(*self.inside(x, y))
            return
        if self.mode == "sequential" and edits.next_undecided(self.label, -1) is None:
            self.said.emit("Every joint is decided. Drag one to move it, or press Enter.")
            return
        x, y = self.inside(x, y)
        label = edits.place(self.label, self.joint, x, y)
        self._edit(label, f"place {self.joint_words(self.joint)}")
        self._advance()

    def mark_absent(self) -> None:
        """Say that the current joint is not in the image, and advance.

        While the places of a template are asked for, it passes over the next one.
        """
        if self.placing.active:
            self.placing.skip()
            return
        label = edits.mark_absent(self.label, self.joint)
        self._edit(label, f"{self.joint_words(self.joint)} not in the image")
        self._advance()

    def toggle_occluded(self) -> None:
        """Exchange visible and occluded; of the current joint, or of the one just placed."""
        joint = self.joint
        if not self.label.placed[joint]:
            joint = self._placed_before(joint)
        label = edits.toggle_occluded(self.label, joint)
        words = "occluded" if label.state[joint] == edits.OCCLUDED else "visible"
        self._edit(label, f"{self.joint_words(joint)} {words}")

    def clear_joint(self) -> None:
        """Make the current joint undecided; when it is, the one before it becomes current first.

        While the places of a template are asked for, it takes the last click back.
        """
        if self.placing.take_back():
            return
        if self.label.state[self.joint] == edits.UNDECIDED:
            self.select_joint(self._decided_before(self.joint))
        label = edits.clear_joint(self.label, self.joint)
        self._edit(label, f"{self.joint_words(self.joint)} undecided")

    def move_joint(self, joint: int, x: float, y: float, gesture: str) -> None:
        """Move a joint to (x, y); calls with the same ``gesture`` make one undo step."""
        x, y = self.inside(x, y)
        words = f"move {self.joint_words(joint)}"
        self._edit(edits.place(self.label, joint, x, y), words, gesture)

    def _advance(self) -> None:
        if self.mode == "loop":
            if self.frame + 1 < len(self.opened_frames().names):
                self.show_frame(self.frame + 1)
            return
        following: int | None = self.joint + 1
        if self.mode == "sequential":
            following = edits.next_undecided(self.label, self.joint)
        if following is not None:
            self.select_joint(following)
        elif is_done(self.label):
            done, of = self.progress()
            self.said.emit(f"Frame complete, {done} of {of}." if of else "Frame complete.")

    def _placed_before(self, joint: int) -> int:
        placed = self.label.placed
        count = len(placed)
        return next((j for s in range(1, count + 1) if placed[j := (joint - s) % count]), joint)

    def _decided_before(self, joint: int) -> int:
        state = self.label.state
        count = len(state)
        order = ((joint - s) % count for s in range(1, count + 1))
        return next((j for j in order if state[j] != edits.UNDECIDED), joint)

    def take_suggestion(self) -> None:
        """Take the suggestion of the current joint, and make the next suggested one current.

        When the current joint is not suggested, nothing is taken: nobody has looked at the next.
        """
        if not self.label.suggested.any():
            self.said.emit("Nothing is suggested here.")
            return
        words = f"take suggested {self.joint_words(self.joint)}"
        self._edit(edits.accepted(self.label, self.joint), words)
        following = _next(self.label.suggested, self.joint)
        if following is not None:
            self.select_joint(following)

    def take_suggestions(self) -> None:
        """Take all suggestions of the frame as they are, without a verdict on the frame."""
        if not self.label.suggested.any():
            self.said.emit("Nothing is suggested here.")
            return
        self._edit(edits.accepted(self.label), "take suggestions")

    def take_back(self, label: FrameLabel, gesture: str) -> None:
        """Give the frame the label that it had before a gesture; nothing remains to be undone."""
        self._edit(label, "take back", gesture)

    def back_to_undecided(self) -> None:
        """Let go of a joint that was chosen by hand: the first undecided one becomes current."""
        first = edits.next_undecided(self.label, -1)
        if first is not None:
            self.select_joint(first)

    # ------------------------------------------------------------ whole poses

    def place_template(self, box: tuple[float, float, float, float] | None = None) -> None:
        """Fill the undecided joints with the skeleton's neutral pose, to be dragged or accepted.

        It goes into ``box`` (x, y, width, height in image pixels), and replaces what was only
        suggested before; without a box to where the pose labelled last was, else into the middle
        of the image.
        """
        self.placing.leave()
        label = self.label if box is None else edits.without_suggestions(self.label)
        refused = template_refused(self.skeleton, label)
        if refused:
            self.said.emit(refused)
            return
        neutral = np.array(self.skeleton.neutral_pose, np.float32)
        points = edits.fitted(neutral, box or self._likely_box())
        self._edit(with_template(label, points), "place template")

    def place_template_between(self, a: tuple[float, float], b: tuple[float, float]) -> None:
        """Place the template into the box with these corners, as far as it is in the image."""
        corners = np.array([self.inside(*a), self.inside(*b)])
        (x, y), (width, height) = corners.min(axis=0).tolist(), np.ptp(corners, axis=0).tolist()
        if min(width, height) < LEAST_BOX:
            self.said.emit("Draw a larger box for the template.")
            return
        self.place_template((x, y, width, height))

    def copy_last_pose(self) -> None:
        """Fill the undecided joints with the pose labelled last, to be dragged or accepted."""
        label = self._last_pose()
        if label is None:
            self.said.emit("No other frame has a pose to copy yet.")
            return
        self._edit(edits.suggestion(self.label, label.points, label.state), "copy last pose")

    def copy_pose(self) -> None:
        """Remember this pose for pasting."""
        self._copied = self.label
        self.said.emit("Pose copied.")

    def paste_pose(self) -> None:
        """Fill the undecided joints with the remembered pose, to be dragged or accepted."""
        if self._copied is None:
            self.said.emit("No pose was copied yet.")
            return
        copied = self._copied
        self._edit(edits.suggestion(self.label, copied.points, copied.state), "paste pose")

    def mirror(self) -> None:
        """Mirror the pose about its middle; left joints stay left."""
        self._edit(edits.mirrored(self.label, self.skeleton.flip_index), "mirror")

    def swap_sides(self) -> None:
        """Exchange the names of left and right joints."""
        self._edit(edits.swapped(self.label, self.skeleton.flip_index), "exchange left and right")

    def rotate(self, degrees: float) -> None:
        """Turn the pose about its middle, clockwise on the screen."""
        self._edit(edits.rotated(self.label, degrees), "turn pose")

    def scale(self, factor: float) -> None:
        """Enlarge the pose about its middle."""
        self._edit(edits.scaled(self.label, factor), "scale pose")

    def nudge(self, dx: float = 0.0, dy: float = 0.0) -> None:
        """Move the whole pose by some pixels."""
        self._edit(edits.moved(self.label, dx, dy), "move pose")

    def move_pose(self, dx: float, dy: float, gesture: str) -> None:
        """Move the whole pose; calls with the same ``gesture`` make one undo step."""
        self._edit(edits.moved(self.label, dx, dy), "move pose", gesture)

    def clear_pose(self) -> None:
        """Make all joints of the frame undecided."""
        self._edit(FrameLabel.empty(self.skeleton.num_joints), "clear pose")

    # ------------------------------------------------------------ verdicts

    def accept(self) -> None:
        """Take all suggestions as they are, call the frame reviewed, go to the next in the list."""
        label = edits.accepted(self.label)
        if not label.placed.any():
            self.said.emit("Nothing is labelled here. Press I if the frame has no pose.")
            return
        left = int((label.state == edits.UNDECIDED).sum())
        if left:
            self.said.emit(f"{left} joints are undecided. Click them, or press X for each absent.")
            return
        self._edit(edits.judged(label, "reviewed"), "accept frame")
        self.onward()

    def reject(self, reason: str = "") -> None:
        """Leave the frame out, with a reason if one is given, and go to the next in the list."""
        self._edit(edits.judged(self.label, "rejected", reason), "reject frame")
        self.onward()

    def no_pose(self) -> None:
        """Say that nobody is to be seen here, and go to the next in the list."""
        empty = FrameLabel.empty(self.skeleton.num_joints)
        self._edit(edits.judged(empty, "no pose"), "no pose here")
        self.onward()

    # ------------------------------------------------------------ history

    def undo(self) -> None:
        """Take the last change back, and show the frame that it was made on.

        While the places of a template are asked for, it takes the last click back.
        """
        if self.placing.take_back():
            return
        change = self.opened_project().undo()
        self._travelled(change, "Undone", "Nothing to undo.")

    def redo(self) -> None:
        """Make the change again that was taken back last."""
        change = self.opened_project().redo()
        self._travelled(change, "Done again", "Nothing to do again.")

    @property
    def undo_words(self) -> str:
        """What `undo` would take back; empty when there is nothing."""
        if self.placing.active:
            return self.placing.undo_words
        return "" if self.project is None else self.project.undo_words

    @property
    def redo_words(self) -> str:
        """What `redo` would make again; empty when there is nothing."""
        return "" if self.project is None else self.project.redo_words

    def _travelled(self, change: Change | None, done: str, nothing: str) -> None:
        """Show what undo or redo has changed."""
        if change is None:
            self.said.emit(nothing)
            return
        frames = [name for name in change.frames if name in self._index]
        if change.skeletons is not None:  # concerns every frame, also the one that is shown
            self._show_skeleton()
        elif frames and self.name not in frames:
            self.show_name(frames[0])
        else:
            self.label_changed.emit()
        self.said.emit(f"{done}: {change.words}.")
        self._tell_change()

    def _show_skeleton(self) -> None:
        """Show another skeleton, on the same frame."""
        self.joint = min(self.joint, self.skeleton.num_joints - 1)
        self.project_changed.emit()
        self.show_frame(self.frame)

    def _tell_change(self) -> None:
        """After every change: there is something to save, perhaps more urgently than usual."""
        trouble = self.opened_project().trouble
        if trouble:
            self.failed.emit(trouble)
        self.saved_changed.emit()

    # ------------------------------------------------------------ parts

    def _edit(self, label: FrameLabel, words: str, gesture: str | None = None) -> None:
        """Change the label of the frame that is shown; an edit without effect leaves no trace."""
        if label.equals(self.label):
            return
        name = self.name
        self.apply({name: label}, words, gesture)

    def apply(
        self, labels: Mapping[str, FrameLabel], words: str, gesture: str | None = None
    ) -> None:
        """Change labels of any frames as one undo step."""
        project = self.opened_project()
        if project.edit(labels, words, gesture) is None:
            return
        self._edited = [*(name for name in self._edited if name not in labels), *labels]
        if self.name in labels:
            self.label_changed.emit()
        self._tell_change()

    def inside(self, x: float, y: float) -> tuple[float, float]:
        """The nearest position within the image that is shown."""
        width, height = self.opened_frames().size(self.frame)
        return min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)

    def _size_of(self, name: str) -> tuple[int, int] | None:
        if name not in self._index:
            return None
        try:
            return self.opened_frames().size(self._index[name])
        except DataFormatError:
            return None

    def _likely_box(self) -> tuple[float, float, float, float]:
        label = self._last_pose()
        if label is not None and label.placed.sum() > 1:
            points = label.points[label.placed]
            low, high = points.min(axis=0), points.max(axis=0)
            (x, y), (wide, tall) = low.tolist(), (high - low).tolist()
            return (x, y, wide, tall)
        width, height = self.opened_frames().size(self.frame)
        tall, wide = TEMPLATE_SHARE * height, TEMPLATE_SHARE * width
        return ((width - wide) / 2, (height - tall) / 2, wide, tall)

    def _last_pose(self) -> FrameLabel | None:
        """The label edited last, of another frame, that has a pose; else the nearest frame's."""
        project = self.opened_project()
        names = [n for n in self._edited if n != self.name]
        known = [n for n in project.names_with_labels if n in self._index and n != self.name]
        known.sort(key=lambda n: -abs(self._index[n] - self.frame))
        for name in reversed(known + names):
            label = project.label(name)
            if label.placed.any():
                return label
        return None

    def joint_words(self, joint: int) -> str:
        """A joint's name in words."""
        return self.skeleton.joints[joint].replace("_", " ")

    def _set_joint(self, joint: int) -> None:
        self.joint = joint
        self.joint_changed.emit(joint)

    def opened_project(self) -> AnnotationProject:
        """The open project.

        Raises
        ------
        FlexPoseError : there is none.
        """
        if self.project is None:
            raise FlexPoseError("No project is open.", "Open a folder, a video or a project first.")
        return self.project

    def opened_frames(self) -> FrameSource:
        """Its frames; raises the same."""
        if self.frames is None:
            raise FlexPoseError("No images are open.", "Open a folder, a video or a project first.")
        return self.frames


def is_done(label: FrameLabel) -> bool:
    """Whether a frame needs no more work: complete, or judged."""
    return label.complete or bool(label.verdict)


def _next(mask: NDArray[np.bool_], after: int) -> int | None:
    """The first joint from ``after`` + 1 on that is set, wrapping around, or None."""
    found = np.flatnonzero(np.roll(mask, -(after + 1)))
    return (int(found[0]) + after + 1) % len(mask) if len(found) else None


def project_folder(images: Path) -> Path:
    """Where the labels of a folder of images, a video or a COCO file go: beside it."""
    images = Path(images).absolute()
    return images.with_name(f"{images.name}{SUFFIX}")
