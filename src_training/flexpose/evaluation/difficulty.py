"""Bins of difficulty: what they hold, and how well detectors do in each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexpose.evaluation.eval_pose import eval_pose
from flexpose.evaluation.figures import box_figure, heat_figure, pose_sheet
from flexpose.evaluation.keypoints import matched
from flexpose.evaluation.report import markdown_table, write_report
from flexpose.geometry import boxes_to_crops, tight_boxes
from flexpose.poseset import PoseSet
from flexpose.skeleton import Skeleton

_LIMBS = tuple(
    f"{side}_{joint}"
    for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    for side in ("left", "right")
)
_NEAR = 0.05  # of a crop's side
_PAIRS = 200  # pairs of poses of two bins whose likeness is taken
_SHOWN = 16


def report(
    poses: NDArray[np.floating],
    scores: NDArray[np.floating],
    bins: NDArray[np.intp],
    skeleton: Skeleton,
    folder: Path,
    random: np.random.Generator,
) -> None:
    """Write ``report.md`` and ``.json``, a box plot, a map of likeness, and four sheets of poses.

    Parameters
    ----------
    poses : float (N, J, 2), normalised
    scores, bins : (N,)
    """
    count = int(bins.max()) + 1
    spread = [variation(poses[bins == number]) for number in range(count)]
    alike = likeness(poses, bins, skeleton, random)
    box_figure(spread, folder / "bins.png", x_label="bin", y_label="distance from the bin's mean")
    heat_figure(alike, folder / "likeness.png", label="EvalPose, centred", axis="bin")
    # the poster shows bins 1, 9, 17 and 25 of 25
    for number in sorted({round(share * (count - 1)) for share in (0, 1 / 3, 2 / 3, 1)}):
        rows = np.flatnonzero(bins == number)
        some = random.choice(rows, size=min(_SHOWN, len(rows)), replace=False)
        pose_sheet(poses[some], skeleton, folder / f"bin-{number + 1:02d}.png")
    lines = [
        [str(number + 1), f"{scores[bins == number].mean():.4f}", f"{part.mean():.3f}"]
        for number, part in enumerate(spread)
    ]
    table = markdown_table(["bin", "mean score", "mean distance from the bin's mean"], lines)
    data = {
        "poses": len(poses),
        "scores": [float(scores[bins == number].mean()) for number in range(count)],
        "variation": [float(part.mean()) for part in spread],
        "likeness": alike.round(4).tolist(),
    }
    text = f"# Poses by difficulty\n\n{len(poses)} poses in {count} bins, the easiest first.\n\n"
    write_report(folder / "report", data, text + table)


def variation(poses: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean distance a joint (n,) of each pose (n, J, 2) from the mean of all."""
    apart = np.linalg.norm(poses - poses.mean(axis=0), axis=2)
    return np.asarray(apart.mean(axis=1), dtype=np.float64)


def likeness(
    poses: NDArray[np.floating],
    bins: NDArray[np.intp],
    skeleton: Skeleton,
    random: np.random.Generator,
) -> NDArray[np.float64]:
    """Mean centred EvalPose (bins, bins) of random pairs from two bins; symmetric."""
    count = int(bins.max()) + 1
    members = [np.flatnonzero(bins == number) for number in range(count)]
    alike = np.zeros((count, count))
    for one in range(count):
        for other in range(one, count):
            first, second = (random.choice(members[n], size=_PAIRS) for n in (one, other))
            values = eval_pose(poses[first], poses[second], skeleton, centred=True)
            alike[one, other] = alike[other, one] = values.mean()
    return alike


def transfer_figures(
    found: PoseSet, truth: PoseSet, bins: NDArray[np.intp] | None = None
) -> dict[str, float]:
    """How well poses are found, as domain adaptation counts it; over all, and in each bin.

    Parameters
    ----------
    found : one prediction an image; an image without one has no joint that is near
    truth : with the boxes that were cropped, else those of the joints
    bins : int (N,), difficulty of the true poses, 0 the easiest

    Returns
    -------
    ``pck_crop``: the share of joints within .05 of the crop's side, mean over shoulders, elbows,
    wrists, hips, knees and ankles where the skeleton has them all, else over all joints (RegDA and
    UDAPE, without their rounding to cells); ``eval_pose``: the mean centred EvalPose; and both as
    ``pck_crop/1``, ``eval_pose/1`` and so on for each bin, from 1 on

    Raises
    ------
    PoseShapeError : skeletons or images do not fit each other.
    """
    points = matched(found, truth)
    boxes = truth.boxes if truth.boxes is not None else tight_boxes(truth.keypoints)
    sides = boxes_to_crops(boxes)[:, 2]
    distance = np.linalg.norm(points - truth.keypoints, axis=2)
    near = np.where(np.isfinite(distance), distance, np.inf) <= _NEAR * sides[:, None]
    joints = truth.skeleton.joints
    whole = set(_LIMBS) <= set(joints)
    counted = [joints.index(name) for name in (_LIMBS if whole else joints)]
    near, labelled = near[:, counted], truth.labelled[:, counted]
    alike = eval_pose(points, truth.keypoints, truth.skeleton, centred=True, undefined=0.0)

    def figures(rows: NDArray[np.bool_], ending: str) -> dict[str, float]:
        some = labelled[rows]
        known = some.any(axis=0)
        shares = (near[rows] & some).sum(axis=0)[known] / some.sum(axis=0)[known]
        return {
            f"pck_crop{ending}": float(shares.mean()),
            f"eval_pose{ending}": float(alike[rows].mean()),
        }

    values = figures(np.ones(len(truth), dtype=bool), "")
    for number in range(0 if bins is None else int(bins.max()) + 1):
        values |= figures(np.asarray(bins == number), f"/{number + 1}")
    return values
