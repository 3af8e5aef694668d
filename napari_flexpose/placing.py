"""Many joints at once: a template placed by a few clicks, contours moved by their handles.

While the places of a template are asked for, clicks go here and no label changes; the last one
places it, as one undo step. While contours are moved, only their handles can be dragged.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from flexpose.annotation import label as edits
from flexpose.annotation.label import FrameLabel
from flexpose.annotation.template import (
    Anchor,
    all_handles,
    clicks,
    fit_clicks,
    handle_move,
    look_mirrored,
)
from flexpose.skeleton import Skeleton

if TYPE_CHECKING:
    from napari_flexpose.session import FlexPoseSession

Position = tuple[float, float]
"""x and y in image pixels."""

SHORTEST = 5
"""Joints of a contour, at least, for its skeleton to have contours worth moving."""
MIRRORED = "The face looks mirrored. Press W if left and right are exchanged."


class Placing:
    """What clicks and drags mean beyond single joints; one a session.

    Attributes
    ----------
    contours : whether drags move contours
    """

    changed = Signal()
    """Another place is to be clicked, or none any more; contours are moved, or no longer."""

    def __init__(self, session: FlexPoseSession) -> None:
        self._session = session
        self._places: dict[str, tuple[int, ...]] = {}
        self._answers: tuple[Position | None, ...] = ()  # where each is; None: cannot be seen
        self.contours = False
        session.project_changed.connect(self._on_project)
        session.frame_changed.connect(self.leave)

    def _on_project(self) -> None:
        self.contours = self.contours and self.has_contours
        self.leave()
        self.changed.emit()

    # ------------------------------------------------------------ a template by clicks

    @property
    def active(self) -> bool:
        """Whether places are asked for."""
        return bool(self._places)

    @property
    def points(self) -> tuple[Position, ...]:
        """The places clicked so far."""
        return tuple(point for point in self._answers if point is not None)

    @property
    def prompt(self) -> str:
        """What to click next; empty when nothing is asked for."""
        if not self._places:
            return ""
        number = len(self._answers)
        return f"Click the {[*self._places][number]}, {number + 1} of {len(self._places)}"

    @property
    def undo_words(self) -> str:
        """What `take_back` would take back; empty when nothing is asked for."""
        if not self._answers:
            return "placing by clicks" if self._places else ""
        what = "passing over" if self._answers[-1] is None else "click on"
        return f"{what} the {[*self._places][len(self._answers) - 1]}"

    def place_by_clicks(self) -> None:
        """Ask for the places of the template, one after the other; called again, stop asking."""
        session = self._session
        if self.active:
            self.leave()
            return
        free, places = edits.without_suggestions(session.label), clicks(session.skeleton)
        refused = template_refused(session.skeleton, free)
        if refused or not places:
            session.said.emit(refused or "Click the joint itself.")
            return
        self._places = places
        session.said.emit("X skips a hidden place, Escape takes one back.")
        self.changed.emit()

    def click(self, x: float, y: float) -> None:
        """Say where the next place is, in image pixels; after the last one the template is placed.

        Raises
        ------
        AnnotationError : no template goes through the clicks; the last one was not taken.
        """
        self._answer((x, y))

    def skip(self) -> None:
        """Pass over the next place, which cannot be seen; otherwise as `click`."""
        self._answer(None)

    def _answer(self, point: Position | None) -> None:
        answers = (*self._answers, point)
        if len(answers) < len(self._places):
            self._answers = answers
            self.changed.emit()
            return
        told = zip(self._places.values(), answers, strict=True)
        self._place([Anchor(joints, at) for joints, at in told if at is not None])

    def _place(self, anchors: list[Anchor]) -> None:
        """Suggest the template in place of what was suggested before; decided joints stay."""
        session = self._session
        template = np.array(session.skeleton.neutral_pose)
        pose = fit_clicks(template, anchors)
        label = with_template(edits.without_suggestions(session.label), pose)
        self.leave()
        session.apply({session.name: label}, "place template by clicks")
        mirrored = session.skeleton.category == "face" and look_mirrored(template, anchors)
        session.said.emit(MIRRORED if mirrored else "Drag what is off, then press Enter.")

    def take_back(self) -> bool:
        """Take the last click back, or stop asking when there is none.

        Returns
        -------
        whether places were asked for
        """
        if not self.active:
            return False
        if self._answers:
            self._answers = self._answers[:-1]
            self.changed.emit()
        else:
            self.leave()
        return True

    def leave(self) -> None:
        """Stop asking for places."""
        if self.active:
            self._places, self._answers = {}, ()
            self._session.said.emit("")
            self.changed.emit()

    # ------------------------------------------------------------ contours

    @property
    def has_contours(self) -> bool:
        """Whether the skeleton has contours that are long enough."""
        if self._session.project is None:
            return False
        return any(len(chain) >= SHORTEST for chain in self._session.skeleton.contours)

    @property
    def handles(self) -> NDArray[np.bool_]:
        """Bool (J,): joints that can be dragged; all, unless contours are moved."""
        mask = np.full(self._session.skeleton.num_joints, not self.contours)
        if self.contours:
            mask[list(all_handles(self._session.skeleton))] = True
        return mask

    def toggle_contours(self) -> None:
        """Let drags move contours by their handles, or single joints."""
        if not self.has_contours:
            name = self._session.skeleton.name
            self._session.said.emit(f"The skeleton {name} has no contours to move.")
            return
        self.contours = not self.contours
        self._session.said.emit(
            "Drag a large point: its neighbours follow."
            if self.contours
            else "Each point is dragged by itself."
        )
        self.changed.emit()

    def move_handle(self, before: FrameLabel, joint: int, x: float, y: float, gesture: str) -> None:
        """Move a handle to (x, y), and the contours that it is on with it.

        The handle is decided by that; what follows it stays suggested if it was.

        Parameters
        ----------
        before : the label when the drag began, on which every move is based
        gesture : calls with the same one make one undo step
        """
        session = self._session
        x, y = session.inside(x, y)
        points = handle_move(before.points, session.skeleton, joint, (x, y))
        label = replace(edits.place(before, joint, x, y), points=points.astype(np.float32))
        session.apply({session.name: label}, f"move {session.joint_words(joint)}", gesture)


# ---------------------------------------------------------------- templates


def template_refused(skeleton: Skeleton, label: FrameLabel) -> str:
    """Why no template can be placed in a label; empty when one can."""
    if not skeleton.neutral_pose:
        return f"The skeleton {skeleton.name} has no template. Click its joints."
    if not (label.state == edits.UNDECIDED).any():
        return "Every joint has a place already, or is not in the image."
    return ""


def with_template(label: FrameLabel, points: NDArray[np.floating]) -> FrameLabel:
    """The label with its undecided joints suggested at ``points`` (J, 2)."""
    return edits.suggestion(label, points, np.full(len(points), edits.VISIBLE, np.int8))
