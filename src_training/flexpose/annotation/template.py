"""Poses from a few clicks: a template fitted to them, and contours moved by a few handles.

A template is a whole pose in any unit, such as the neutral pose of a skeleton. It is fitted to
*anchors*: joints, or groups of joints by their mean, of which the annotator has said where they
are. The rest follows by a similarity (shift, turn, scale; anchors are met as well as it can), or by
a thin-plate spline (anchors are met exactly, and the template bends as little as that allows).

A contour is a chain of `Skeleton.contours`. Some of its joints are handles; one that is moved
takes the joints up to the next handles with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexpose.errors import AnnotationError, PoseShapeError
from flexpose.skeleton import Skeleton

Array = NDArray[np.float64]
Kind = Literal["similarity", "thin-plate"]

_FLAT = 1e-6  # less of an extent is none
_NARROW = 0.05  # breadth of points, as a share of their length, below which they are on a line
_FEW = 4  # joints to click of a skeleton that is neither face nor hand


class Anchor(NamedTuple):
    """Where the mean of some joints is to lie.

    Attributes
    ----------
    joints : indices of one joint or more
    point : x and y in the image
    """

    joints: tuple[int, ...]
    point: tuple[float, float]


# ---------------------------------------------------------------- which joints to click

_SIX = range(1, 7)
_CLICKS: tuple[dict[str, tuple[str, ...]], ...] = (
    {
        "middle of the person's right eye": tuple(f"right_eye_{number}" for number in _SIX),
        "middle of the person's left eye": tuple(f"left_eye_{number}" for number in _SIX),
        "tip of the nose": ("nose_bridge_4",),
        "corner of the mouth on the person's right": ("outer_lip_01",),
        "corner of the mouth on the person's left": ("outer_lip_07",),
    },
    {
        "wrist": ("wrist",),
        "tip of the thumb": ("thumb_tip",),
        "base of the index finger": ("index_finger_mcp",),
        "tip of the middle finger": ("middle_finger_tip",),
        "base of the little finger": ("pinky_mcp",),
    },
)


def clicks(skeleton: Skeleton) -> dict[str, tuple[int, ...]]:
    """What to click to place a skeleton's neutral pose: in words, and the joints of the anchor.

    Five places of a face or a hand, of any other skeleton up to four joints that are far apart.
    Empty when it has no neutral pose, or one joint only.
    """
    if not skeleton.neutral_pose or skeleton.num_joints < 2:
        return {}
    at = {joint: index for index, joint in enumerate(skeleton.joints)}
    for known in _CLICKS:
        if all(joint in at for joints in known.values() for joint in joints):
            return {words: tuple(at[joint] for joint in known[words]) for words in known}
    chosen = _far_apart(np.array(skeleton.neutral_pose, dtype=np.float64))
    return {skeleton.joints[joint].replace("_", " "): (joint,) for joint in chosen}


def _far_apart(points: Array) -> list[int]:
    """Indices of a few points, ascending: the outermost, then always the farthest from those."""
    chosen: list[int] = []
    away = np.linalg.norm(points - points.mean(axis=0), axis=1)
    while len(chosen) < _FEW and away.max() > 0:
        chosen.append(int(away.argmax()))
        away = np.linalg.norm(points[:, None] - points[chosen], axis=2).min(axis=1)
    return sorted(chosen)


# ---------------------------------------------------------------- templates


def fit_template(
    template: NDArray[np.floating], anchors: Sequence[Anchor], kind: Kind = "similarity"
) -> Array:
    """A template moved so that its joints lie where the anchors say.

    Parameters
    ----------
    template : float (J, 2), finite, any unit, y down
    anchors : two or more for a similarity, which never mirrors; three or more that do not lie on a
        line for a thin plate

    Returns
    -------
    float64 (J, 2), in the unit of the anchors' points

    Raises
    ------
    PoseShapeError : the template or an anchor holds no finite positions, or names no joint of it.
    AnnotationError : the anchors are too few, or lie so that they determine nothing.
    """
    template = np.asarray(template, dtype=np.float64)
    if template.shape != (max(len(template), 1), 2) or not np.isfinite(template).all():
        raise PoseShapeError(
            f"Found a template of shape {template.shape}, expected finite positions (J, 2)."
        )
    means, points = _means(len(template), anchors), _points(anchors)
    low = template.min(axis=0)
    extent = float(np.ptp(template, axis=0).max()) or 1.0
    unit = (template - low) / extent
    fit = _similar if kind == "similarity" else _thin_plate
    return fit(unit, means, points)


def fit_clicks(template: NDArray[np.floating], anchors: Sequence[Anchor]) -> Array:
    """A template through what was clicked; as `fit_template`, of the kind that suits the clicks.

    Each click is met exactly, by a thin plate, unless the clicks or the joints they are about lie
    about on a line: then the template keeps its shape, as a similarity.
    """
    template = np.asarray(template, dtype=np.float64)
    on_a_line = _narrow(_means(len(template), anchors) @ template) or _narrow(_points(anchors))
    return fit_template(template, anchors, "similarity" if on_a_line else "thin-plate")


def look_mirrored(template: NDArray[np.floating], anchors: Sequence[Anchor]) -> bool:
    """Whether the anchors lie as in a mirror image of the template; not if about on a line."""
    template = np.asarray(template, dtype=np.float64)
    source, target = _means(len(template), anchors) @ template, _points(anchors)
    if _narrow(source) or _narrow(target):
        return False
    turn = (source - source.mean(axis=0)).T @ (target - target.mean(axis=0))
    return bool(np.linalg.det(turn) < 0)


def _narrow(points: Array) -> bool:
    """Whether points are fewer than three, or lie about on a line."""
    if len(points) < 3:
        return True
    length, breadth = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)[:2]
    return bool(breadth <= _NARROW * length)


def _means(num_joints: int, anchors: Sequence[Anchor]) -> Array:
    """Weights (n, J) that make the mean of its joints for each anchor."""
    weights = np.zeros((len(anchors), num_joints))
    for row, anchor in zip(weights, anchors, strict=True):
        if not anchor.joints or not all(0 <= joint < num_joints for joint in anchor.joints):
            raise PoseShapeError(
                f"Found an anchor of the joints {anchor.joints}, expected some of 0 to "
                f"{num_joints - 1}."
            )
        row[list(anchor.joints)] = 1 / len(set(anchor.joints))
    return weights


def _points(anchors: Sequence[Anchor]) -> Array:
    points = np.array([anchor.point for anchor in anchors], dtype=np.float64).reshape(-1, 2)
    if not np.isfinite(points).all():
        raise PoseShapeError("Found an anchor without a finite position.")
    return points


def _similar(template: Array, means: Array, points: Array) -> Array:
    """Least squares in the complex plane: points = turn * template + shift."""
    if len(points) < 2:
        raise _undetermined("two", len(points))
    whole, source = _complex(template), _complex(means @ template)
    target = _complex(points)
    spread = source - source.mean()
    size = float(np.sum(np.abs(spread) ** 2))
    if size < _FLAT**2:
        raise AnnotationError(
            "The anchors are in one place of the template.", "Choose joints that lie apart."
        )
    turn = np.sum(spread.conj() * (target - target.mean())) / size
    if abs(turn) < _FLAT:
        raise AnnotationError(
            "The anchors would shrink the template to a point.", "Click on places that lie apart."
        )
    fitted = turn * (whole - source.mean()) + target.mean()
    return np.stack([fitted.real, fitted.imag], axis=1)


def _complex(points: Array) -> NDArray[np.complex128]:
    return np.asarray(points[:, 0] + 1j * points[:, 1])


def _thin_plate(template: Array, means: Array, points: Array) -> Array:
    """The function of least bending energy whose mean over each anchor's joints is its point.

    With U the kernel between joints and M the means, the function at the joints is
    ``U M' w + [1 x y] a``, where ``M`` of it are the points and ``w`` is free of affine parts.
    """
    count = len(points)
    if count < 3:
        raise _undetermined("three", count)
    sources = means @ template
    if np.linalg.svd(sources - sources.mean(axis=0), compute_uv=False)[1] < _FLAT:
        raise AnnotationError(
            "The anchors lie on one line of the template.", "Choose a joint beside that line too."
        )
    squares = np.sum((template[:, None] - template[None]) ** 2, axis=2)
    bent = squares * np.log(np.where(squares > 0, squares, 1)) @ means.T
    plane = np.concatenate([np.ones((len(template), 1)), template], axis=1)
    corner = means @ plane
    system = np.block([[means @ bent, corner], [corner.T, np.zeros((3, 3))]])
    if np.linalg.matrix_rank(system) < count + 3:
        raise AnnotationError(
            "Two anchors are about the same joints.", "Say only once where a joint is."
        )
    weights = np.linalg.solve(system, np.concatenate([points, np.zeros((3, 2))]))
    return np.asarray(np.concatenate([bent, plane], axis=1) @ weights)


def _undetermined(needed: str, found: int) -> AnnotationError:
    return AnnotationError(
        f"Found {found} anchors, expected {needed} at least.", "Click on more joints."
    )


# ---------------------------------------------------------------- contours


def handles(chain: Sequence[int], count: int | None = None) -> tuple[int, ...]:
    """About ``count`` joints spread evenly over a contour; of an open one both ends.

    Parameters
    ----------
    chain : joints of one of `Skeleton.contours`; closed where the first stands at its end again
    count : None for as many as suit its length: five of a jaw of 17, four of an eye
    """
    closed = chain[0] == chain[-1]
    if count is None:
        root = math.ceil(math.sqrt(len(chain) - 1))
        count = max(root, 4) if closed else root + 1
    last, gaps = len(chain) - 1, max(count, 1) if closed else max(count - 1, 1)
    places = (math.floor(number * last / gaps + 0.5) for number in range(gaps + 1))
    return tuple(dict.fromkeys(chain[place] for place in places))


def all_handles(skeleton: Skeleton) -> tuple[int, ...]:
    """The handles of all contours of a skeleton, and its joints without edges; ascending."""
    lone = set(range(skeleton.num_joints)).difference(*skeleton.edges)
    return tuple(sorted(lone.union(*map(handles, skeleton.contours))))


def handle_move(
    points: NDArray[np.floating], skeleton: Skeleton, joint: int, position: tuple[float, float]
) -> Array:
    """Move one of `all_handles`, and by `spline_move` every contour that it is a handle of.

    Parameters
    ----------
    points : float (J, 2), the whole pose; NaN where a joint has no position, which it keeps
    position : where it is moved to, in the unit of the points

    Returns
    -------
    float64 (J, 2), the whole pose

    Raises
    ------
    AnnotationError : the joint is no handle, or has no position.
    """
    if joint not in all_handles(skeleton) or not np.isfinite(points[joint]).all():
        raise _no_handle(joint)
    moved: Array = np.array(points, dtype=np.float64)
    for chain in skeleton.contours:
        if joint in chain:
            along = list(chain)
            moved[along] = spline_move(points, chain, handles(chain), joint, position)[along]
    moved[joint] = position
    return moved


def spline_move(
    points: NDArray[np.floating],
    chain: Sequence[int],
    held: Sequence[int],
    joint: int,
    position: tuple[float, float],
) -> Array:
    """Move a contour by one of its handles.

    The joints between it and the next handles on both sides are shifted by a share that falls along
    the contour from one to nothing as a cubic Hermite spline, level at both ends; the next handles
    and all beyond stay.

    Parameters
    ----------
    points : float (J, 2), the whole pose; NaN where a joint has no position, which it keeps
    chain : joints of one of `Skeleton.contours`
    held : the handles among them
    joint : the handle that is moved
    position : where it is moved to, in the unit of the points

    Returns
    -------
    float64 (J, 2), the whole pose

    Raises
    ------
    AnnotationError : the joint is no handle of this contour, or has no position.
    """
    moved: Array = np.array(points, dtype=np.float64)
    closed = chain[0] == chain[-1]
    placed = [j for j in chain[: len(chain) - closed] if np.isfinite(moved[j]).all()]
    if joint not in held or joint not in placed:
        raise _no_handle(joint)
    steps = np.linalg.norm(np.diff(moved[[*placed, placed[0]]], axis=0), axis=1)
    if not steps.any():  # all in one place: by number
        steps = np.ones(len(placed))
    along = np.cumsum(steps) - steps
    fixed = [place for place, j in enumerate(placed) if j in held]
    ends = [float(placed[place] == joint) for place in fixed]
    period = float(steps.sum()) if closed else None
    share = np.interp(along, along[fixed], ends, period=period)
    share[fixed] = ends  # also where handles lie in one place
    share = share**2 * (3 - 2 * share)
    moved[placed] += share[:, None] * (np.asarray(position) - moved[joint])
    moved[joint] = position  # without rounding
    return moved


def _no_handle(joint: int) -> AnnotationError:
    return AnnotationError(
        f"Joint {joint} is no handle with a position.",
        "Choose one of the handles, or place the joint first.",
    )
