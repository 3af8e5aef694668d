"""How well predictions are ranked and how honest their confidence is: OKS AP, calibration."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexpose.io.coco_clients import oks_statistics
from flexpose.poseset import PoseSet

Array = NDArray[np.float64]

OKS_FIGURES = ("oks_ap", "oks_ap50", "oks_ap75", "oks_ar")
NEAR = 0.1
"""Share of the longer side of a person's box within which calibration counts a joint as found."""

_SIDE, _FAR = 100.0, 3e4


@dataclass(frozen=True)
class CalibrationBin:
    """Joints of about the same confidence.

    Attributes
    ----------
    count : how many
    confidence : their mean confidence
    found : the share of them within `NEAR` of the box
    """

    count: int
    confidence: float
    found: float


def mean_confidence(poses: PoseSet) -> Array:
    """Mean confidence (N,) of the labelled joints of each pose; 1 without confidence."""
    if poses.confidence is None:
        return np.ones(len(poses))
    counts = np.maximum(poses.labelled.sum(axis=1), 1)
    return np.asarray(poses.confidence.sum(axis=1, dtype=np.float64) / counts)


def why_no_oks(truth: PoseSet) -> str:
    """One sentence on why OKS AP cannot be had for these poses; empty where it can."""
    if not truth.skeleton.oks_sigmas:
        return f"OKS AP is left out: the skeleton {truth.skeleton.name} has no OKS sigmas."
    if importlib.util.find_spec("faster_coco_eval") is None:
        return (
            "OKS AP is left out: the package 'faster-coco-eval' is not installed. "
            "Install it with: pip install faster-coco-eval"
        )
    return ""


def oks_figures(
    points: Array, scores: Array, truth: Array, areas: Array, sigmas: Sequence[float]
) -> dict[str, float]:
    """COCO's average precision and recall of predictions, one person an image.

    Parameters
    ----------
    points : float (n, J, 2), pixels; NaN where not predicted
    scores : float (n,), by which predictions are ranked
    truth : float (n, J, 2), pixels; NaN where not labelled
    areas : float (n,), square pixels, above 0

    Returns
    -------
    the keys `OKS_FIGURES`; NaN where no joint is labelled
    """
    known = np.asarray(np.isfinite(truth).all(axis=2))
    rows = np.flatnonzero(known.any(axis=1))
    if not len(rows):
        return dict.fromkeys(OKS_FIGURES, np.nan)
    # OKS knows no scale; evaluators leave out people beyond the sizes of usual images
    unit = (_SIDE / np.sqrt(areas))[:, None, None]
    images, annotations, results = [], [], []
    for number, row in enumerate(rows.tolist(), start=1):
        place = {"image_id": number, "category_id": 1}
        images.append({"id": number, "file_name": f"{number}.png", "width": 1, "height": 1})
        annotations.append(
            {
                **place,
                "id": number,
                "keypoints": _triples(np.nan_to_num(truth[row] * unit[row]), known[row]),
                "num_keypoints": int(known[row].sum()),
                "bbox": [0, 0, _SIDE, _SIDE],
                "area": _SIDE**2,
                "iscrowd": 0,
            }
        )
        if np.isfinite(points[row]).any():
            far = np.clip(np.nan_to_num(points[row] * unit[row], nan=-_FAR), -_FAR, _FAR)
            keypoints = _triples(far, np.ones(len(far), dtype=bool))
            results.append({**place, "keypoints": keypoints, "score": float(scores[row])})
    if not results:
        return dict.fromkeys(OKS_FIGURES, 0.0)
    document = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person"}],
    }
    found = oks_statistics(document, results, sigmas)
    return dict(zip(OKS_FIGURES, (found[0], found[1], found[2], found[5]), strict=True))


def _triples(points: Array, labelled: NDArray[np.bool_]) -> list[float]:
    """Keypoints as COCO lists them, visible where labelled."""
    return np.column_stack([points * labelled[:, None], 2 * labelled]).ravel().tolist()


def calibration_bins(
    confidence: NDArray[np.floating], found: NDArray[np.bool_], count: int = 10
) -> tuple[CalibrationBin, ...]:
    """Joints (n,) in order of confidence, cut into ``count`` parts of equal size (1 at most)."""
    order = np.argsort(confidence, kind="stable")
    return tuple(
        CalibrationBin(len(part), float(confidence[part].mean()), float(found[part].mean()))
        for part in np.array_split(order, count)
        if len(part)
    )


def calibration_error(bins: Sequence[CalibrationBin]) -> float:
    """Mean distance between confidence and share found, weighted by the joints in each bin."""
    total = sum(part.count for part in bins)
    if not total:
        return float("nan")
    return sum(part.count * abs(part.confidence - part.found) for part in bins) / total
