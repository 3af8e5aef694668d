"""Reviewing predictions: which first, what accepting many would mean, how near they were.

A prediction is one pose a frame with a confidence for each joint: the calibrated probability that
it lies within `REACH` of the person's box of the truth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from flexpose.errors import AnnotationError
from flexpose.geometry import boxes_to_crops, image_to_unit, tight_boxes
from flexpose.poseset import PoseSet

Order = Literal["least sure", "most different", "in order"]
"""What comes first: what the detector doubts, what nothing like it was labelled, or the first."""

ORDERS: tuple[Order, ...] = get_args(Order)
REACH = 0.1
"""Share of the longer side of a person's box within which a joint counts as right."""
LOOKAHEAD = 500
"""Frames whose order by difference is exact; those after them come by what is left of it."""

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ReviewQueue:
    """The predictions of one round, by the names of their frames.

    Attributes
    ----------
    poses : N predictions, one a frame, in image pixels

    Raises
    ------
    AnnotationError : the predictions name no frames, or two of them the same.
    """

    poses: PoseSet

    def __post_init__(self) -> None:
        names = self.poses.image_ids
        if names is None:
            raise AnnotationError(
                "The predictions do not say which frame each pose belongs to.",
                "Use a format that names the images, such as COCO.",
            )
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise AnnotationError(
                f"Found several poses in {twice[0]}, expected one a frame.",
                "Keep the best pose of each frame.",
            )

    @cached_property
    def rows(self) -> dict[str, int]:
        """Row of each frame by its name."""
        return {name: row for row, name in enumerate(self.poses.image_ids or ())}

    @cached_property
    def sure(self) -> Array | None:
        """Confidence of each frame, the mean over its joints, float32 (N,); None if not known."""
        confidence = self.poses.confidence
        if confidence is None:
            return None
        count = np.maximum(self.poses.labelled.sum(axis=1), 1)
        total = np.where(self.poses.labelled, confidence, 0).sum(axis=1)
        return np.asarray(total / count, dtype=np.float32)

    def ordered(self, names: Sequence[str], order: Order, known: Array) -> list[str]:
        """Put frames into the order in which to look at them.

        Parameters
        ----------
        names : frames, in the order of the images; stays so among equals, and for "least sure"
            where the predictions have no confidence
        known : float32 (M, J, 2), image pixels, poses that are labelled already; NaN where not

        Returns
        -------
        the same names
        """
        rows = self._rows(names)
        if order == "least sure" and self.sure is not None:
            picked = np.argsort(self.sure[rows], kind="stable").tolist()
        elif order == "most different":
            picked = farthest_first(self.poses.keypoints[rows], known)
        else:
            return list(names)
        return [names[place] for place in picked]

    def above(self, threshold: float, names: Sequence[str]) -> list[str]:
        """Frames that are at least so sure, the least sure first; none without confidence."""
        if self.sure is None:
            return []
        rows = self._rows(names)
        order = np.argsort(self.sure[rows], kind="stable")
        return [names[place] for place in order if self.sure[rows[place]] >= threshold]

    def expected_accuracy(self, names: Iterable[str]) -> float:
        """Share of the joints of these frames that will be right; NaN when not known."""
        rows = self._rows(names)
        confidence = self.poses.confidence
        if confidence is None or not len(rows):
            return float("nan")
        return _mean(confidence[rows][self.poses.labelled[rows]])

    def _rows(self, names: Iterable[str]) -> NDArray[np.intp]:
        return np.array([self.rows[name] for name in names], dtype=np.intp)


def farthest_first(poses: Array, known: Array) -> list[int]:
    """Rows of poses, each time the one that differs most from the known and those before it.

    Place and size in the image do not count. Without known poses the most typical one comes first;
    a pose without extent is like no other.

    Parameters
    ----------
    poses, known : float32 (N, J, 2) and (M, J, 2), any space; NaN where not labelled
    """
    if not len(poses):
        return []
    vectors, others = _shapes(poses), _shapes(known)
    nearest = np.full(len(poses), np.inf)
    for other in others:
        nearest = np.minimum(nearest, _differences(vectors, other))
    picks: list[int] = []
    left = np.ones(len(poses), dtype=bool)
    while left.any() and len(picks) < LOOKAHEAD:
        if picks or len(others):
            row = int(np.argmax(np.where(left, nearest, -1.0)))
        else:
            row = int(np.argmin(_differences(vectors, _mean_shape(vectors))))
        picks.append(row)
        left[row] = False
        nearest = np.minimum(nearest, _differences(vectors, vectors[row]))
    rest = np.flatnonzero(left)
    return picks + rest[np.argsort(-nearest[rest], kind="stable")].tolist()


def _shapes(poses: Array) -> Array:
    """Poses without their place and size, as in `geometry.normalised`; all NaN without extent."""
    shapes = np.full(poses.shape, np.nan, dtype=np.float32)
    some = np.isfinite(poses).any(axis=(1, 2))
    boxes = tight_boxes(poses[some])
    extended = boxes[:, 2:].max(axis=1, initial=0) > 0
    rows = np.flatnonzero(some)[extended]
    shapes[rows] = image_to_unit(poses[rows], boxes_to_crops(boxes[extended], min_side=0))
    return shapes


def _differences(shapes: Array, one: Array) -> NDArray[np.float64]:
    """Root mean square distance (N,) of the joints that both have; infinite without any."""
    squared = ((shapes - one) ** 2).sum(axis=2)
    both = np.isfinite(squared)
    count = both.sum(axis=1)
    total = np.where(both, squared, 0).sum(axis=1, dtype=np.float64)
    return np.where(count > 0, np.sqrt(total / np.maximum(count, 1)), np.inf)


def _mean_shape(shapes: Array) -> Array:
    known = np.isfinite(shapes)
    total = np.where(known, shapes, 0).sum(axis=0)
    count = known.sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


# ---------------------------------------------------------------- what they were worth


@dataclass(frozen=True)
class Agreement:
    """How near predictions were to labels.

    Attributes
    ----------
    frames, joints : how many of them were compared
    distance_percent : mean distance, in percent of the longer side of the person's box; of the
        joints that were predicted
    pck : share of the joints within `REACH` of it; one that was not predicted is not
    """

    frames: int
    joints: int
    distance_percent: float
    pck: float


def agreement(predictions: PoseSet, labels: PoseSet) -> Agreement:
    """Compare predictions with labels of the same frames, in the same skeleton and pixels.

    Frames without a prediction do not count, nor do joints that are not labelled or labels of one
    point only. NaN where nothing is left.
    """
    rows = ReviewQueue(predictions).rows
    pairs = [(rows[n], i) for i, n in enumerate(labels.image_ids or ()) if n in rows]
    found = np.array(pairs, dtype=np.intp).reshape(-1, 2)
    truth = labels.keypoints[found[:, 1]].astype(np.float64)
    sides = _longer_sides(truth)
    truth, found, sides = truth[sides > 0], found[sides > 0], sides[sides > 0]
    distances = np.linalg.norm(predictions.keypoints[found[:, 0]] - truth, axis=2) / sides[:, None]
    wanted = np.isfinite(truth).all(axis=2)
    predicted = np.isfinite(distances)
    return Agreement(
        frames=len(found),
        joints=int(wanted.sum()),
        distance_percent=100 * _mean(distances[predicted]),
        pck=_mean(np.where(predicted, distances, np.inf)[wanted] <= REACH),
    )


def compared(before: PoseSet, after: PoseSet, labels: PoseSet) -> tuple[Agreement, Agreement]:
    """Agreement of two rounds of predictions with the labels of the frames that both predict."""
    both = set(before.image_ids or ()) & set(after.image_ids or ())
    common = labels[np.array([name in both for name in labels.image_ids or ()], dtype=bool)]
    return agreement(before, common), agreement(after, common)


def _longer_sides(keypoints: NDArray[np.float64]) -> NDArray[np.float64]:
    sides = np.zeros(len(keypoints))
    some = np.isfinite(keypoints).any(axis=(1, 2))
    sides[some] = tight_boxes(keypoints[some])[:, 2:].max(axis=1)
    return sides


def _mean(values: NDArray[np.floating] | NDArray[np.bool_]) -> float:
    return float(values.mean()) if values.size else float("nan")
