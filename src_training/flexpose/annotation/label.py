"""FrameLabel: what an annotator said about one frame, and the edits that change it.

Every edit is a function from a label to a new label; nothing here knows files, frames or windows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from flexpose.errors import PoseShapeError
from flexpose.skeleton import Skeleton

UNDECIDED, ABSENT, OCCLUDED, VISIBLE = -1, 0, 1, 2
"""States of a joint; all but the first are COCO's visibility."""

Verdict = Literal["", "reviewed", "rejected", "no pose"]
"""What was decided about a whole frame; empty: nothing yet."""

Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameLabel:
    """The pose of one frame. Arrays are read-only.

    Attributes
    ----------
    points : float32 (J, 2), x and y in image pixels, (0, 0) the centre of the top-left pixel; NaN
        where a joint is undecided or absent
    state : int8 (J,), `UNDECIDED`, `ABSENT`, `OCCLUDED` or `VISIBLE`
    suggested : bool (J,), positions that nobody has looked at yet: copied, placed or predicted
    verdict : what was decided about the frame
    reason : why it was rejected, in the annotator's words
    as_is : findings that the annotator has accepted, see `findings.marks`; of this pose only, so
        the edits of a pose below forget them
    """

    points: Array
    state: NDArray[np.int8]
    suggested: NDArray[np.bool_]
    verdict: Verdict = ""
    reason: str = ""
    as_is: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        points = np.array(self.points, dtype=np.float32)
        state = np.array(self.state, dtype=np.int8)
        suggested = np.array(self.suggested, dtype=bool)
        count = len(state)
        if points.shape != (count, 2) or state.ndim != 1 or suggested.shape != (count,):
            raise PoseShapeError(
                f"Found points {points.shape}, state {state.shape}, suggested {suggested.shape}; "
                "expected (J, 2), (J,), (J,)."
            )
        if ((state < UNDECIDED) | (state > VISIBLE)).any():
            raise PoseShapeError("A joint is in a state other than -1, 0, 1 and 2.")
        placed = state > ABSENT
        if not np.isfinite(points[placed]).all():
            raise PoseShapeError("A joint that is visible or occluded has no position.")
        points[~placed] = np.nan
        suggested &= placed
        for name, array in (("points", points), ("state", state), ("suggested", suggested)):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @staticmethod
    def empty(num_joints: int) -> FrameLabel:
        """A label in which nothing is decided."""
        return FrameLabel(
            points=np.full((num_joints, 2), np.nan, np.float32),
            state=np.full(num_joints, UNDECIDED, np.int8),
            suggested=np.zeros(num_joints, bool),
        )

    @property
    def placed(self) -> NDArray[np.bool_]:
        """Bool (J,): joints with a position."""
        return self.state > ABSENT

    @property
    def decided(self) -> NDArray[np.bool_]:
        """Bool (J,): joints about which the annotator has decided; suggestions do not count."""
        return (self.state != UNDECIDED) & ~self.suggested

    @property
    def complete(self) -> bool:
        """Whether no joint is left to decide and at least one has a position."""
        return bool(self.decided.all() and self.placed.any())

    @property
    def untouched(self) -> bool:
        """Whether nothing at all has been said about the frame."""
        return not self.verdict and bool((self.state == UNDECIDED).all())

    def equals(self, other: FrameLabel) -> bool:
        """Whether both say the same."""
        return (
            np.array_equal(self.points, other.points, equal_nan=True)
            and np.array_equal(self.state, other.state)
            and np.array_equal(self.suggested, other.suggested)
            and (self.verdict, self.reason) == (other.verdict, other.reason)
            and self.as_is == other.as_is
        )


def next_undecided(label: FrameLabel, after: int) -> int | None:
    """The first undecided joint from ``after`` + 1 on, wrapping around, or None."""
    count = len(label.state)
    for step in range(1, count + 1):
        joint = (after + step) % count
        if label.state[joint] == UNDECIDED:
            return joint
    return None


# ---------------------------------------------------------------- one joint


def place(label: FrameLabel, joint: int, x: float, y: float) -> FrameLabel:
    """Put a joint at (x, y); an occluded one stays occluded, any other becomes visible."""
    state = OCCLUDED if label.state[joint] == OCCLUDED else VISIBLE
    return _with_joint(label, joint, (x, y), state)


def toggle_occluded(label: FrameLabel, joint: int) -> FrameLabel:
    """Exchange visible and occluded; a joint without a position is left as it is."""
    if not label.placed[joint]:
        return label
    state = VISIBLE if label.state[joint] == OCCLUDED else OCCLUDED
    x, y = label.points[joint]
    return _with_joint(label, joint, (float(x), float(y)), state)


def mark_absent(label: FrameLabel, joint: int) -> FrameLabel:
    """Say that a joint is not in the image."""
    return _with_joint(label, joint, (np.nan, np.nan), ABSENT)


def clear_joint(label: FrameLabel, joint: int) -> FrameLabel:
    """Make a joint undecided again."""
    return _with_joint(label, joint, (np.nan, np.nan), UNDECIDED)


def _with_joint(
    label: FrameLabel, joint: int, point: tuple[float, float], state: int
) -> FrameLabel:
    points, states, suggested = label.points.copy(), label.state.copy(), label.suggested.copy()
    points[joint], states[joint], suggested[joint] = point, state, False
    return _with_pose(label, points, states, suggested)


def _with_pose(
    label: FrameLabel,
    points: NDArray[np.floating],
    state: NDArray[np.int8],
    suggested: NDArray[np.bool_],
) -> FrameLabel:
    """The label with another pose, of which no finding was accepted yet."""
    new = replace(label, points=points, state=state, suggested=suggested)
    return new if new.equals(label) else replace(new, as_is=())


# ---------------------------------------------------------------- the whole pose


def moved(label: FrameLabel, dx: float, dy: float) -> FrameLabel:
    """Shift all joints by (dx, dy) pixels."""
    return _moved_points(label, label.points + np.array([dx, dy], np.float32))


def rotated(label: FrameLabel, degrees: float) -> FrameLabel:
    """Turn the pose clockwise on the screen about the middle of its box."""
    angle = np.deg2rad(degrees)
    cos, sin = np.cos(angle), np.sin(angle)
    centre = _centre(label)
    turn = np.array([[cos, -sin], [sin, cos]])
    return _moved_points(label, (label.points - centre) @ turn.T + centre)


def scaled(label: FrameLabel, factor: float) -> FrameLabel:
    """Enlarge the pose about the middle of its box."""
    centre = _centre(label)
    return _moved_points(label, (label.points - centre) * factor + centre)


def mirrored(label: FrameLabel, flip_index: Sequence[int]) -> FrameLabel:
    """Mirror the pose about the vertical through its middle, and exchange left and right.

    Both together, so that a left arm stays a left arm (``flip_index`` is the skeleton's).
    """
    points = label.points.copy()
    points[:, 0] = 2 * _centre(label)[0] - points[:, 0]
    return swapped(_moved_points(label, points), flip_index)


def swapped(label: FrameLabel, flip_index: Sequence[int]) -> FrameLabel:
    """Exchange the names of left and right joints; no point moves."""
    order = list(flip_index)
    return _with_pose(label, label.points[order], label.state[order], label.suggested[order])


def sided_like(label: FrameLabel, other: FrameLabel, flip_index: Sequence[int]) -> FrameLabel:
    """The label, left and right exchanged where that brings it nearer to another pose.

    Distances count between joints that both have; where there are none, nothing is exchanged.
    """
    exchanged = swapped(label, flip_index)
    kept, turned = (_distance(pose, other) for pose in (label, exchanged))
    return exchanged if turned < kept else label


def _distance(a: FrameLabel, b: FrameLabel) -> float:
    """Mean distance in pixels of the joints that both poses have; 0 without any."""
    both = a.placed & b.placed
    gaps = np.linalg.norm(a.points[both] - b.points[both], axis=1)
    return float(gaps.mean()) if both.any() else 0.0


def _moved_points(label: FrameLabel, points: NDArray[np.floating]) -> FrameLabel:
    # suggestions stay suggestions: moving the whole says nothing about a single joint
    return _with_pose(label, points, label.state, label.suggested)


def _centre(label: FrameLabel) -> NDArray[np.float64]:
    """Middle (2,) of the box around the joints that have a position; 0 without any."""
    points = label.points[label.placed].astype(np.float64)
    if not len(points):
        return np.zeros(2)
    return (points.min(axis=0) + points.max(axis=0)) / 2


# ---------------------------------------------------------------- many joints at once


def suggestion(
    label: FrameLabel, points: NDArray[np.floating], state: NDArray[np.int8]
) -> FrameLabel:
    """Fill the undecided joints with suggested positions; decided joints stay.

    Parameters
    ----------
    points : float (J, 2), image pixels; NaN leaves a joint undecided
    state : int8 (J,), the state that a suggested joint takes; only joints that are visible or
        occluded are suggested
    """
    # what is absent is for the annotator to say
    free = (label.state == UNDECIDED) & np.isfinite(points).all(axis=1) & (state > ABSENT)
    both = free[:, None]
    return _with_pose(
        label,
        np.where(both, points, label.points),
        np.where(free, state, label.state),
        label.suggested | free,
    )


def accepted(label: FrameLabel, joint: int | None = None) -> FrameLabel:
    """Take the suggestion of a joint as decided, or all of them."""
    left = np.zeros_like(label.suggested)
    if joint is not None:
        left = label.suggested & (np.arange(len(left)) != joint)
    return _with_pose(label, label.points, label.state, left)


def without_suggestions(label: FrameLabel) -> FrameLabel:
    """Make the joints undecided that are only suggested."""
    state = np.where(label.suggested, UNDECIDED, label.state).astype(np.int8)
    return _with_pose(label, label.points, state, np.zeros_like(label.suggested))


def left_as_is(label: FrameLabel, findings: Iterable[str]) -> FrameLabel:
    """Accept findings about this pose; they come back when the pose changes."""
    return replace(label, as_is=tuple(sorted({*label.as_is, *findings})))


def judged(label: FrameLabel, verdict: Verdict, reason: str = "") -> FrameLabel:
    """Say what becomes of the frame as a whole."""
    return replace(label, verdict=verdict, reason=reason)


def fitted(pose: NDArray[np.floating], box: tuple[float, float, float, float]) -> Array:
    """A pose (J, 2) of any units, moved and scaled evenly so that its box fits into ``box``.

    ``box`` is x, y, width, height in image pixels; NaN joints stay NaN.
    """
    low, high = np.nanmin(pose, axis=0), np.nanmax(pose, axis=0)
    x, y, width, height = box
    spread = np.maximum(high - low, 1e-6)
    factor = min(width / spread[0], height / spread[1])
    middle = np.array([x + width / 2, y + height / 2])
    return ((pose - (low + high) / 2) * factor + middle).astype(np.float32)


def migrated(label: FrameLabel, old: Skeleton, new: Skeleton) -> FrameLabel:
    """The label in another skeleton: joints of the same name keep what was said about them."""
    result = FrameLabel.empty(new.num_joints)
    points, state = result.points.copy(), result.state.copy()
    suggested = result.suggested.copy()
    for i, name in enumerate(new.joints):
        if name in old.joints:
            j = old.joints.index(name)
            points[i], state[i], suggested[i] = label.points[j], label.state[j], label.suggested[j]
    return replace(label, points=points, state=state, suggested=suggested)
