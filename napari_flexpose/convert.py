"""Poses to napari's arrays and back: the only place where (x, y) becomes (row, column)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flexpose.annotation.label import OCCLUDED, FrameLabel
from flexpose.skeleton import Skeleton

SIDE_COLOURS = {"left": "#56B4E9", "right": "#E69F00", "middle": "#FFFFFF"}
"""Okabe and Ito's blue and orange, told apart in all common kinds of colour vision."""

STATE_COLOURS = {"visible": "#009E73", "occluded": "#CC79A7", "suggested": "#F0E442"}
"""Their green, purple and yellow."""

BOX_COLOUR = "#D55E00"
"""Their vermilion, which shows on dark and on bright images."""


def to_rows_columns(points: NDArray[np.floating]) -> NDArray[np.float32]:
    """(..., 2) x, y to row, column; the origin is the same pixel centre."""
    return np.ascontiguousarray(points[..., ::-1], dtype=np.float32)


def to_xy(points: NDArray[np.floating]) -> NDArray[np.float32]:
    """(..., 2) row, column to x, y."""
    return np.ascontiguousarray(points[..., ::-1], dtype=np.float32)


def shown_joints(label: FrameLabel) -> NDArray[np.intp]:
    """Joints that a points layer shows, ascending: those with a position.

    A single NaN would spoil the layer's extent, so the others stay out.
    """
    return np.flatnonzero(label.placed)


def crowding(points: NDArray[np.floating]) -> float:
    """How close points (n, 2) are: a quarter of them have a neighbour that is nearer than this.

    Infinite for fewer than two points.
    """
    if len(points) < 2:
        return float("inf")
    gaps = np.linalg.norm(points[:, None] - points, axis=2)
    np.fill_diagonal(gaps, np.inf)
    return float(np.quantile(gaps.min(axis=1), 0.25))


def joint_sides(skeleton: Skeleton) -> tuple[str, ...]:
    """``left``, ``right`` or ``middle`` of each joint: the subject's own sides."""
    sides = ["middle"] * skeleton.num_joints
    for left, right in skeleton.symmetric_pairs:
        sides[left], sides[right] = "left", "right"
    return tuple(sides)


def joint_states(label: FrameLabel) -> tuple[str, ...]:
    """A name in `STATE_COLOURS` for each joint; it means nothing for joints without a position."""
    return tuple(
        "suggested" if suggested else "occluded" if state == OCCLUDED else "visible"
        for state, suggested in zip(label.state.tolist(), label.suggested.tolist(), strict=True)
    )


def box_vectors(a: tuple[float, float], b: tuple[float, float]) -> NDArray[np.float32]:
    """The sides of the box with opposite corners ``a`` and ``b`` (x, y), as ``edge_vectors``."""
    corners = to_rows_columns(np.array([a, (b[0], a[1]), b, (a[0], b[1])]))
    return np.stack([corners, np.roll(corners, -1, axis=0) - corners], axis=1)


def edge_vectors(
    label: FrameLabel, edges: Sequence[tuple[int, int]]
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Edges between joints that have a position.

    Returns
    -------
    float32 (E', 2, 2) start and projection in rows and columns, as a vectors layer takes them, and
    (E',) the numbers of these edges
    """
    if not edges:
        return np.zeros((0, 2, 2), np.float32), np.zeros(0, np.intp)
    ends = np.array(edges)
    drawn = np.flatnonzero(label.placed[ends].all(axis=1))
    start = to_rows_columns(label.points[ends[drawn, 0]])
    end = to_rows_columns(label.points[ends[drawn, 1]])
    return np.stack([start, end - start], axis=1), drawn


def dashed(
    vectors: NDArray[np.floating], length: float
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Vectors (E, 2, 2) as dashes of about this length, with gaps as long between them.

    Returns
    -------
    float32 (D, 2, 2) the dashes, and (D,) the vector that each belongs to; a dash begins and ends
    every vector
    """
    sizes = np.linalg.norm(vectors[:, 1], axis=1)
    counts = np.maximum(np.round((sizes / max(length, 1e-6) + 1) / 2), 1).astype(np.intp)
    owner = np.repeat(np.arange(len(vectors)), counts)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    share = 1 / (2 * counts[owner] - 1)  # of a vector that a dash takes
    whole = vectors[owner, 1]
    start = vectors[owner, 0] + whole * (2 * place * share)[:, None]
    return np.stack([start, whole * share[:, None]], axis=1).astype(np.float32), owner
