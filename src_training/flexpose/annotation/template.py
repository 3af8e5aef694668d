"""Poses from a few clicks: a template fitted to them, and contours moved by a few handles.

A template is a whole pose in any unit, such as the neutral pose of a skeleton. It is fitted to
*anchors*: joints, or groups of joints by their mean, of which the annotator has said where they
are. The rest follows by a similarity (shift, turn, scale; anchors are met as well as it can), or by
a thin-plate spline (anchors are met exactly, and the template bends as little as that allows).

A contour is a chain of `Skeleton.contours`. Some of its joints are handles; one that is moved
takes the joints up to the next handles with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexpose.errors import AnnotationError, PoseShapeError
from flexpose.skeleton import Skeleton

Array = NDArray[np.float64]
Kind = Literal["similarity", "thin-plate"]

_FLAT = 1e-6  # less of an extent is none


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
        "right eye": tuple(f"right_eye_{number}" for number in _SIX),
        "left eye": tuple(f"left_eye_{number}" for number in _SIX),
        "tip of the nose": ("nose_bridge_4",),
        "right corner of the mouth": ("outer_lip_01",),
        "left corner of the mouth": ("outer_lip_07",),
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
    """What to click to place a template of a skeleton: in words, and the joints of the anchor.

    Empty for a skeleton with other joints than those of faces and hands: any of its joints will do.
    """
    at = {joint: index for index, joint in enumerate(skeleton.joints)}
    for known in _CLICKS:
        if all(joint in at for joints in known.values() for joint in joints):
            return {words: tuple(at[joint] for joint in known[words]) for words in known}
    return {}


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


def handles(chain: Sequence[int], count: int) -> tuple[int, ...]:
    """About ``count`` joints spread evenly over a contour; of an open one both ends.

    Parameters
    ----------
    chain : joints of one of `Skeleton.contours`; closed where the first stands at its end again
    """
    closed = chain[0] == chain[-1]
    places = np.linspace(0, len(chain) - 1, max(count, 2 - closed) + closed)
    spread = dict.fromkeys(chain[round(float(place))] for place in places)
    return tuple(spread)


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
        raise AnnotationError(
            f"Joint {joint} is no handle with a position on this contour.",
            "Choose one of its handles, or place the joint first.",
        )
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
