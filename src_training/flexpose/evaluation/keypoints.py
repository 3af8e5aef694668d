"""How near predicted keypoints are to true ones, one person an image.

Distances in pixels and shares of the image, PCK with a named reference length, FlexPose's stricter
count of whole images, each plain and with left and right exchanged where that is nearer; over all
poses (micro), per joint, and as the mean of groups (macro). COCO's AP and AR by object keypoint
similarity, and how honest the confidence of predictions is, where they can be had.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from flexpose.errors import ConfigError, PoseShapeError
from flexpose.evaluation.report import markdown_table
from flexpose.evaluation.scores import (
    NEAR,
    CalibrationBin,
    calibration_bins,
    calibration_error,
    mean_confidence,
    oks_figures,
    why_no_oks,
)
from flexpose.poseset import PoseSet

Array = NDArray[np.float64]

Reference = Literal["image", "box", "torso", "head", "inter-ocular", "own"]
"""What PCK's threshold is a share of.

``image`` its longer side; ``box`` the longer side of the person's box; ``torso`` left shoulder to
right hip (FLIC, LSP); ``head`` top to upper neck (PCKh); ``inter-ocular`` the outer corners of the
eyes (300-W); ``own`` the length that came with the data.
"""

REFERENCES: tuple[Reference, ...] = get_args(Reference)
THRESHOLDS = (0.05, 0.1, 0.2)

_ENDS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "torso": (("left_shoulder", "right_hip"),),
    "head": (("head_top", "upper_neck"), ("head_top", "neck")),
    "inter-ocular": (("right_eye_1", "left_eye_4"), ("left_eye", "right_eye")),
}
"""Joints whose distance is a reference, best first."""


@dataclass(frozen=True)
class KeypointReport:
    """Figures of one set of predictions.

    Attributes
    ----------
    counts : ``poses`` that are true, ``predicted`` of them, ``joints`` that are labelled
    overall : all poses together
    groups : the same of each group
    per_joint : the same of each joint
    reference, thresholds : of PCK
    calibration : predicted joints by confidence, in ten bins; empty without confidence
    notes : what was left out, one sentence a kind

    Keys of figures: ``distance_px``, ``distance_percent`` of the image's longer side,
    ``median_px``, ``pck@.05`` and so on, ``whole@.05``: images all of whose joints lie within that
    share of the image's longer side (what FlexPose's PCK seems to count, our inference);
    ``nme_percent``, the mean distance in % of that of the eyes, where that is the reference;
    ``oks_ap``, ``oks_ap50``, ``oks_ap75``, ``oks_ar`` of all poses and of groups. Those
    that end in ``_swapped`` exchange the sides of a prediction where that is nearer. A joint
    without prediction is never near enough, and counts in no distance.
    """

    counts: Mapping[str, int]
    overall: Mapping[str, float]
    groups: Mapping[str, Mapping[str, float]]
    per_joint: Mapping[str, Mapping[str, float]]
    reference: Reference
    thresholds: tuple[float, ...]
    calibration: tuple[CalibrationBin, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def calibration_error(self) -> float:
        """How far confidence is from the share of joints within .1 of the box; NaN without it."""
        return calibration_error(self.calibration)

    @property
    def macro(self) -> dict[str, float]:
        """Means over the groups; of all poses when there are none."""
        if not self.groups:
            return dict(self.overall)
        return {
            key: float(np.mean([group[key] for group in self.groups.values()]))
            for key in self.overall
        }

    def to_json(self) -> str:
        """All figures, for programs; what is not defined is null."""
        data = {
            "counts": dict(self.counts),
            "reference": self.reference,
            "micro": _plain(self.overall),
            "macro": _plain(self.macro),
            "groups": {name: _plain(group) for name, group in self.groups.items()},
            "per_joint": {name: _plain(joint) for name, joint in self.per_joint.items()},
            **_plain({"calibration_error": self.calibration_error}),
            "calibration": [asdict(part) for part in self.calibration],
            "notes": list(self.notes),
        }
        return json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False) + "\n"

    def to_markdown(self) -> str:
        """Two tables, for people: all poses and the mean of groups; and joint by joint."""
        keys = [key for key in self.overall if not key.endswith("_swapped")]
        rows = [["all poses", *_cells(self.overall, keys)]]
        rows.append(["sides exchanged where nearer", *_cells(self.overall, keys, "_swapped")])
        if self.groups:
            rows.append([f"mean of {len(self.groups)} groups", *_cells(self.macro, keys)])
        joints = [key for key in keys if not key.startswith(("whole", "oks"))]
        by_joint = [[name, *_cells(joint, joints)] for name, joint in self.per_joint.items()]
        return (
            f"{self.counts['predicted']} of {self.counts['poses']} poses are predicted; PCK in "
            f"shares of the {self.reference} length.\n\n"
            f"{markdown_table(['', *_titles(keys)], rows)}\n"
            f"{markdown_table(['joint', *_titles(joints)], by_joint)}"
            f"{self._remarks()}"
        )

    def _remarks(self) -> str:
        lines = list(self.notes)
        if self.calibration:
            lines.insert(
                0,
                f"Calibration error {self.calibration_error:.3f}: how far the confidence of a "
                f"joint is from the share of joints within {NEAR:g} of the box.",
            )
        return "".join(f"\n{line}\n" for line in lines)


def score_keypoints(
    predicted: PoseSet,
    truth: PoseSet,
    reference: Reference = "image",
    thresholds: Sequence[float] = THRESHOLDS,
) -> KeypointReport:
    """Compare predictions with the truth about the same images; joints must be the same.

    Raises
    ------
    PoseShapeError : skeletons differ, an image has two people, or no image is common.
    ConfigError : the poses have no such reference length.
    """
    order = matched_rows(predicted, truth)
    points = matched(predicted, truth)
    flipped = points[:, list(truth.skeleton.flip_index)]
    sides = truth.image_size.max(axis=1).astype(np.float64)
    unit = reference_lengths(truth, reference)
    plain, swapped = (_distances(p, truth) for p in (points, flipped))
    nearer = np.nansum(swapped, axis=1) < np.nansum(plain, axis=1)
    best = np.where(nearer[:, None], swapped, plain)
    nearer_points = np.where(nearer[:, None, None], flipped, points)
    both = (plain, best)
    why_not = why_no_oks(truth)
    ranks, areas = mean_confidence(predicted)[order], _areas(truth)
    true_points = truth.keypoints.astype(np.float64)
    sigmas = truth.skeleton.oks_sigmas

    def figures(rows: Any = slice(None), joints: Any = slice(None)) -> dict[str, float]:
        found: dict[str, float] = {}
        for distances, ending in zip(both, ("", "_swapped"), strict=True):
            part = distances[rows][:, joints]
            known = truth.labelled[rows][:, joints]
            scale = (sides[rows], unit[rows])
            values = _figures(part, known, *scale, tuple(thresholds))
            if reference == "inter-ocular":
                values["nme_percent"] = _normalised(part, unit[rows])
            found |= {key + ending: value for key, value in values.items()}
        return found

    def ranked(rows: Any = slice(None)) -> dict[str, float]:
        if why_not:
            return {}
        fixed = (ranks[rows], true_points[rows], areas[rows], sigmas)
        found = oks_figures(points[rows], *fixed)
        swapped = oks_figures(nearer_points[rows], *fixed) if nearer[rows].any() else found
        return found | {f"{key}_swapped": value for key, value in swapped.items()}

    names = truth.skeleton.joints
    groups = np.array(truth.groups or ())
    return KeypointReport(
        counts={
            "poses": len(truth),
            "predicted": int(np.isfinite(points).any(axis=(1, 2)).sum()),
            "joints": int(truth.labelled.sum()),
        },
        overall=figures() | ranked(),
        groups={
            str(name): figures(groups == name) | ranked(groups == name)
            for name in np.unique(groups)
        },
        per_joint={name: figures(joints=[joint]) for joint, name in enumerate(names)},
        reference=reference,
        thresholds=tuple(thresholds),
        calibration=_calibration(predicted, order, plain, truth),
        notes=(why_not,) if why_not else (),
    )


def matched(predicted: PoseSet, truth: PoseSet) -> Array:
    """Predicted positions (N, J, 2) in the truth's order, NaN where an image has no prediction.

    Positions are scaled where the two know the image in different sizes.

    Raises
    ------
    PoseShapeError : skeletons differ, images have no names or two people, or none is common.
    """
    rows = matched_rows(predicted, truth)
    found = rows >= 0
    points = np.full(truth.keypoints.shape, np.nan)
    scale = (truth.image_size[found] / predicted.image_size[rows[found]])[:, None]
    points[found] = (predicted.keypoints[rows[found]] + 0.5) * scale - 0.5
    return points


def matched_rows(predicted: PoseSet, truth: PoseSet) -> NDArray[np.intp]:
    """Rows (N,) of the predictions in the truth's order, -1 where an image has none.

    Raises
    ------
    PoseShapeError : as `matched`.
    """
    if not predicted.skeleton.same_layout(truth.skeleton):
        raise PoseShapeError(
            f"The predictions are of {predicted.skeleton.name}, the truth of "
            f"{truth.skeleton.name}; expected the same joints."
        )
    rows = _rows_of(predicted, "predictions")
    order = _rows_of(truth, "true poses")
    if not rows.keys() & order.keys():
        raise PoseShapeError(
            f"No image of the predictions (first {next(iter(rows), 'none')!r}) is among those of "
            f"the truth (first {next(iter(order), 'none')!r})."
        )
    return np.array([rows.get(name, -1) for name in order], dtype=np.intp)


def reference_lengths(poses: PoseSet, reference: Reference) -> Array:
    """Lengths (N,) in pixels; NaN where the joints that give them are not labelled.

    Raises
    ------
    ConfigError : no pose has such a length.
    """
    if reference == "image":
        lengths = poses.image_size.max(axis=1).astype(np.float64)
    elif reference == "box":
        lengths = box_sides(poses)
    elif reference == "own":
        lengths = np.full(len(poses), np.nan)
        if poses.norm_length is not None:
            lengths = poses.norm_length.astype(np.float64)
    else:
        lengths = _joint_distance(poses, _ENDS[reference])
    if not (lengths > 0).any():
        raise ConfigError(
            f"No pose of {poses.skeleton.name} has the reference length {reference!r}.",
            f"Choose another of {', '.join(REFERENCES)}.",
        )
    return np.where(lengths > 0, lengths, np.nan)


def _joint_distance(poses: PoseSet, choices: Sequence[tuple[str, str]]) -> Array:
    joints = poses.skeleton.joints
    for pair in choices:
        if set(pair) <= set(joints):
            a, b = (poses.keypoints[:, joints.index(name)].astype(np.float64) for name in pair)
            return np.asarray(np.linalg.norm(a - b, axis=1))
    return np.full(len(poses), np.nan)


def box_sides(poses: PoseSet) -> Array:
    """Longer sides (N,) of the boxes, else of the extent of labelled joints; pixels."""
    if poses.boxes is not None:
        return poses.boxes[:, 2:].max(axis=1).astype(np.float64)
    some = poses.labelled.any(axis=1)
    sides = np.full(len(poses), np.nan)
    points = poses.keypoints[some].astype(np.float64)
    sides[some] = (np.nanmax(points, axis=1) - np.nanmin(points, axis=1)).max(axis=1)
    return sides


def _areas(poses: PoseSet) -> Array:
    """Areas (N,) of boxes, else of the extent of labelled joints; 1 square pixel at least."""
    points, mask = poses.keypoints.astype(np.float64), poses.labelled[..., None]
    high, low = np.where(mask, points, -np.inf).max(axis=1), np.where(mask, points, np.inf)
    areas = np.maximum(high - low.min(axis=1), 0).prod(axis=1)
    if poses.boxes is not None:
        boxes = poses.boxes[:, 2:].astype(np.float64).prod(axis=1)
        areas = np.where(boxes > 0, boxes, areas)
    return np.maximum(areas, 1.0)


def _calibration(
    predicted: PoseSet, order: NDArray[np.intp], distances: Array, truth: PoseSet
) -> tuple[CalibrationBin, ...]:
    """Confidence of joints with a distance (N, J) against whether they are near."""
    if predicted.confidence is None:
        return ()
    near = distances <= NEAR * box_sides(truth)[:, None]
    known = np.isfinite(distances)
    return calibration_bins(predicted.confidence[order][known].astype(np.float64), near[known])


def box_errors(points: Array, truth: PoseSet) -> Array:
    """Mean distance (N,) of points (N, J, 2) from the truth in % of the box; NaN without any."""
    distances = _distances(points, truth)
    counts = np.isfinite(distances).sum(axis=1)
    means = np.nansum(distances, axis=1) / np.where(counts > 0, counts, np.nan)
    sides = box_sides(truth)
    return np.asarray(100 * means / np.where(sides > 0, sides, np.nan))


def _rows_of(poses: PoseSet, what: str) -> dict[str, int]:
    """Row of each image's name."""
    if poses.image_ids is None:
        raise PoseShapeError(f"The {what} have no names of images to be matched by.")
    rows = {name: row for row, name in enumerate(poses.image_ids)}
    if len(rows) < len(poses):
        double = next(n for row, n in enumerate(poses.image_ids) if rows[n] != row)
        raise PoseShapeError(f"The {what} have two people in {double}, expected one an image.")
    return rows


def _distances(points: Array, truth: PoseSet) -> Array:
    """Distances (N, J) in pixels; NaN where not labelled or not predicted."""
    return np.asarray(np.linalg.norm(points - truth.keypoints, axis=2))


def _figures(
    distances: Array,
    labelled: NDArray[np.bool_],
    sides: Array,
    unit: Array,
    shares: Sequence[float],
) -> dict[str, float]:
    """Figures of distances (n, j), with lengths (n,) in pixels; NaN without any joint."""
    known = np.isfinite(distances)
    measured = labelled & np.isfinite(unit)[:, None]
    far = np.where(known, distances, np.inf)
    values = {
        "distance_px": _mean(distances[known]),
        "distance_percent": _mean((100 * distances / sides[:, None])[known]),
        "median_px": float(np.median(distances[known])) if known.any() else np.nan,
    }
    for share in shares:
        near = far <= share * unit[:, None]
        values[f"pck@{_short(share)}"] = _mean(near[measured])
    for share in shares:
        near = (far <= share * sides[:, None]) | ~labelled
        values[f"whole@{_short(share)}"] = _mean(np.all(near, axis=1)[labelled.any(axis=1)])
    return values


def _normalised(distances: Array, unit: Array) -> float:
    """Mean of distances (n, j) in % of lengths (n,); without those that are NaN."""
    shares = 100 * distances / unit[:, None]
    return _mean(shares[np.isfinite(shares)])


def _short(share: float) -> str:
    return f"{share:g}".removeprefix("0")


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if values.size else float("nan")


def _plain(figures: Mapping[str, float]) -> dict[str, float | None]:
    return {key: value if np.isfinite(value) else None for key, value in figures.items()}


def _titles(keys: Sequence[str]) -> list[str]:
    words = (
        ("_", " "),
        ("@", " @ "),
        ("pck", "PCK"),
        ("oks ap", "OKS AP"),
        ("oks ar", "OKS AR"),
        ("nme", "NME"),
    )
    titles = list(keys)
    for old, new in words:
        titles = [title.replace(old, new) for title in titles]
    return titles


def _cells(figures: Mapping[str, float], keys: Sequence[str], ending: str = "") -> list[str]:
    values = [figures[key + ending] for key in keys]
    return [f"{v:.3f}" if np.isfinite(v) else "" for v in values]
