"""PoseSet: single-person 2-D poses that share one skeleton."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexpose.errors import PoseShapeError, SkeletonMismatchError
from flexpose.skeleton import Skeleton

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class PoseSet:
    """N poses, one row a person. Arrays are checked once and read-only from then on.

    Attributes
    ----------
    skeleton : Skeleton with J joints
    keypoints : float32 (N, J, 2), x and y in image pixels, (0, 0) the centre of the top-left
        pixel; NaN where visibility is 0
    visibility : int8 (N, J); 0 not labelled, 1 labelled but occluded, 2 visible (COCO)
    image_size : int32 (N, 2), width and height in pixels of the image the keypoints live in
    confidence : float32 (N, J) from 0 to 1, how likely each joint of a prediction lies where it is
        said to, 0 where visibility is 0; or None
    boxes : float32 (N, 4) x, y, width, height in image pixels, or None
    norm_length : float32 (N,) pixels, the reference of normalised errors (head size, inter-ocular
        distance, torso), or None
    image_ids : N names of the images (usually relative paths), or None; several people in one
        image are rows with the same name
    groups : N names of what belongs together (clip, activity, subject), or None; splits keep
        groups whole
    source : where the poses come from and what was done to them, oldest first
    """

    skeleton: Skeleton
    keypoints: FloatArray
    visibility: NDArray[np.int8]
    image_size: NDArray[np.int32]
    confidence: FloatArray | None = None
    boxes: FloatArray | None = None
    norm_length: FloatArray | None = None
    image_ids: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None
    source: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        keypoints, visibility = _checked_joints(self)
        n = len(keypoints)
        image_size = np.array(self.image_size, dtype=np.int32)
        if image_size.shape not in ((2,), (n, 2)):
            raise PoseShapeError(
                f"Found image_size of shape {image_size.shape}, expected (2,) or ({n}, 2)."
            )
        image_size = np.broadcast_to(image_size, (n, 2)).copy()
        set_field(self, "keypoints", _frozen(keypoints))
        set_field(self, "visibility", _frozen(visibility))
        set_field(self, "image_size", _frozen(image_size))
        shapes = {"confidence": visibility.shape, "boxes": (n, 4), "norm_length": (n,)}
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value is not None:
                value = np.array(value, dtype=np.float32)
                if value.shape != shape:
                    raise PoseShapeError(f"Found {name} of shape {value.shape}, expected {shape}.")
                if name == "confidence":
                    value = _checked_confidence(value, visibility, self.skeleton.joints)
                set_field(self, name, _frozen(value))
        for name in ("image_ids", "groups"):
            value = getattr(self, name)
            if value is not None:
                if len(value) != n:
                    raise PoseShapeError(f"Found {len(value)} {name} for {n} poses.")
                set_field(self, name, tuple(str(v) for v in value))

    @staticmethod
    def create(
        skeleton: Skeleton,
        keypoints: Any,
        image_size: Any,
        visibility: Any = None,
        **fields: Any,
    ) -> PoseSet:
        """Build from keypoints alone: joints with finite positions count as visible.

        Parameters
        ----------
        keypoints : array-like (N, J, 2), pixels; NaN where a joint is not labelled
        image_size : (width, height) of all images, or (N, 2)
        """
        points = np.asarray(keypoints, dtype=np.float32)
        if visibility is None:
            visibility = np.where(np.isfinite(points).all(axis=-1), 2, 0).astype(np.int8)
        return PoseSet(
            skeleton=skeleton,
            keypoints=points,
            visibility=visibility,
            image_size=image_size,
            **fields,
        )

    def __len__(self) -> int:
        return len(self.keypoints)

    def __getitem__(self, index: Any) -> PoseSet:
        """Rows by mask, index array or slice; always a PoseSet."""
        rows = np.arange(len(self))[index]
        rows = np.atleast_1d(rows)
        return replace(
            self,
            keypoints=self.keypoints[rows],
            visibility=self.visibility[rows],
            image_size=self.image_size[rows],
            confidence=None if self.confidence is None else self.confidence[rows],
            boxes=None if self.boxes is None else self.boxes[rows],
            norm_length=None if self.norm_length is None else self.norm_length[rows],
            image_ids=_take(self.image_ids, rows),
            groups=_take(self.groups, rows),
        )

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Bool (N, J): which joints have a position."""
        return self.visibility > 0

    @property
    def complete(self) -> NDArray[np.bool_]:
        """Bool (N,): which poses have a position for every joint."""
        return np.asarray(self.labelled.all(axis=1))

    def spread_rows(self, count: int, random: np.random.Generator) -> NDArray[np.intp]:
        """Rows of ``count`` different poses (all, if there are fewer), evenly over the groups.

        Without groups every pose is a group of its own. Rows come in ascending order.
        """
        groups = np.array(self.groups if self.groups is not None else range(len(self)))
        queues = [random.permutation(np.flatnonzero(groups == g)) for g in np.unique(groups)]
        turns = [
            (turn, place, row)
            for place, queue in zip(random.permutation(len(queues)).tolist(), queues, strict=True)
            for turn, row in enumerate(queue.tolist())
        ]
        return np.sort(np.array([row for _, _, row in sorted(turns)[:count]], dtype=np.intp))

    def with_note(self, note: str) -> PoseSet:
        """The same poses with one more line of provenance."""
        return replace(self, source=(*self.source, note))

    @staticmethod
    def concat(sets: Sequence[PoseSet]) -> PoseSet:
        """Join sets of one skeleton; optional fields survive where all sets have them.

        Raises
        ------
        SkeletonMismatchError : the sets have different joints.
        """
        if not sets:
            raise PoseShapeError("Found no pose sets to join, expected at least one.")
        first = sets[0]
        for other in sets[1:]:
            if not first.skeleton.same_layout(other.skeleton):
                raise SkeletonMismatchError(
                    f"Cannot join poses of {first.skeleton.name} and {other.skeleton.name}.",
                    "Map one of them to the skeleton of the other first.",
                )

        def arrays(name: str) -> Any:
            values = [getattr(s, name) for s in sets]
            return None if any(v is None for v in values) else np.concatenate(values)

        def names(name: str) -> tuple[str, ...] | None:
            values = [getattr(s, name) for s in sets]
            return None if any(v is None for v in values) else tuple(x for v in values for x in v)

        return PoseSet(
            skeleton=first.skeleton,
            keypoints=arrays("keypoints"),
            visibility=arrays("visibility"),
            image_size=arrays("image_size"),
            confidence=arrays("confidence"),
            boxes=arrays("boxes"),
            norm_length=arrays("norm_length"),
            image_ids=names("image_ids"),
            groups=names("groups"),
            source=tuple(dict.fromkeys(line for s in sets for line in s.source)),
        )


def _checked_joints(poses: PoseSet) -> tuple[FloatArray, NDArray[np.int8]]:
    """Copies of keypoints, NaN where not labelled, and visibility."""
    keypoints = np.array(poses.keypoints, dtype=np.float32)
    visibility = np.array(poses.visibility, dtype=np.int8)
    joints = poses.skeleton.joints
    if keypoints.ndim != 3 or keypoints.shape[1:] != (len(joints), 2):
        raise PoseShapeError(
            f"Found keypoints of shape {keypoints.shape}, expected (N, {len(joints)}, 2) for the "
            f"skeleton {poses.skeleton.name}."
        )
    if visibility.shape != keypoints.shape[:2]:
        raise PoseShapeError(
            f"Found visibility of shape {visibility.shape}, expected {keypoints.shape[:2]}."
        )
    if visibility.size and not np.isin(visibility, (0, 1, 2)).all():
        raise PoseShapeError("Visibility holds values other than 0, 1 and 2.")
    keypoints[visibility == 0] = np.nan
    bad = ~np.isfinite(keypoints).all(axis=2) & (visibility > 0)
    if bad.any():
        row, joint = np.argwhere(bad)[0]
        raise PoseShapeError(
            f"Pose {row}, joint {joints[joint]} is labelled but its position is not a finite "
            "number."
        )
    return keypoints, visibility


def _checked_confidence(
    confidence: FloatArray, visibility: NDArray[np.int8], joints: Sequence[str]
) -> FloatArray:
    """Confidence, 0 where not labelled."""
    confidence = np.where(visibility > 0, confidence, np.float32(0))
    bad = ~((confidence >= 0) & (confidence <= 1))
    if bad.any():
        row, joint = np.argwhere(bad)[0]
        raise PoseShapeError(
            f"Pose {row}, joint {joints[joint]} has the confidence {confidence[row, joint]:g}, "
            "expected a number from 0 to 1."
        )
    return confidence


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array


def _take(names: tuple[str, ...] | None, rows: Iterable[int]) -> tuple[str, ...] | None:
    return None if names is None else tuple(names[i] for i in rows)
