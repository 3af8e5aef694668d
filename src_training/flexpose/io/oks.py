"""Object keypoint similarity (OKS), COCO's measure of how near two poses are, in numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flexpose.errors import PoseShapeError

THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""OKS above which COCO counts a pose as found (cocodataset.org, keypoints evaluation)."""


def oks(
    predicted: NDArray[np.floating],
    truth: NDArray[np.floating],
    areas: NDArray[np.floating],
    sigmas: Sequence[float],
) -> NDArray[np.float64]:
    """OKS of pairs of poses: the mean over labelled joints of exp(-d^2 / (2 area (2 sigma)^2)).

    Parameters
    ----------
    predicted : float (N, J, 2), pixels
    truth : float (N, J, 2), pixels; NaN where not labelled
    areas : float (N,), square pixels, above 0
    sigmas : J constants of the skeleton

    Returns
    -------
    float64 (N,) from 0 to 1; a labelled joint that is NaN in ``predicted`` counts 0

    Raises
    ------
    PoseShapeError : shapes differ, an area is not positive, or a pose has no labelled joint.
    """
    n, j = truth.shape[:2]
    if predicted.shape != (n, j, 2) or truth.shape != (n, j, 2) or len(sigmas) != j:
        raise PoseShapeError(
            f"Found predictions of shape {predicted.shape}, truth of shape {truth.shape} and "
            f"{len(sigmas)} sigmas, expected (N, J, 2) twice and J sigmas."
        )
    if np.shape(areas) != (n,) or not (np.asarray(areas) > 0).all():
        raise PoseShapeError(f"OKS needs {n} areas above 0.")
    labelled = np.asarray(np.isfinite(truth).all(axis=2))
    if not labelled.any(axis=1).all():
        raise PoseShapeError("OKS is not defined for a pose without labelled joints.")
    squared = np.sum((predicted.astype(np.float64) - truth) ** 2, axis=2)
    variances = (2 * np.asarray(sigmas, dtype=np.float64)) ** 2
    exponent = squared / (2 * np.asarray(areas, dtype=np.float64)[:, None] * variances)
    similarity = np.nan_to_num(np.exp(-exponent)) * labelled
    return np.asarray(similarity.sum(axis=1) / labelled.sum(axis=1))


def ranked_average_precision(similarities: NDArray[np.floating]) -> float:
    """COCO's AP of one prediction a person and image, ranked by their own OKS (N,).

    All matches then stand before all misses, so precision is 1 up to the share of people found,
    and COCO's 101 points of recall count the points up to that share.
    """
    levels = np.arange(101) / 100
    found = [float((similarities >= threshold).mean()) for threshold in THRESHOLDS]
    return float(np.mean([(levels <= share + 1e-12).mean() if share else 0.0 for share in found]))
