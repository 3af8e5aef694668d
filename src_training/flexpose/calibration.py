"""How sure a detector may be: from what it shows to the probability that a joint is found.

Two things are seen without labels: how much of the detector's own belief lies near the joint
(`mass`), and how far the joint is from where its neighbours in time say (`drift`). A logistic
function of both says how likely the joint lies within a tenth of the person's box; held-out labels
fit it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

Array = NDArray[np.floating]

_EDGE = 1e-4  # belief is kept so far from 0 and 1, where its logit ends
_TRUST = 4.0  # pull of the present coefficients: that of about sixteen undecided joints


class Calibration(NamedTuple):
    """Coefficients of the logistic function.

    Attributes
    ----------
    offset : constant
    slope : of the logit of the belief
    drift : of the distance to the neighbours' median, in tenths of the person; cut at 5
    """

    offset: float
    slope: float
    drift: float

    def probability(self, mass: Array, drift: Array) -> NDArray[np.float32]:
        """Chance that a joint lies within a tenth of the person's box of the truth.

        Parameters
        ----------
        mass : any shape, in [0, 1]
        drift : the same shape, 0 or more
        """
        score = _features(mass, drift) @ np.array(self)
        return np.asarray(expit(score), np.float32)

    def fitted(self, mass: Array, drift: Array, found: NDArray[np.bool_]) -> Calibration:
        """Coefficients for joints (n,) of which it is known whether they were found.

        Maximum likelihood with a pull towards the present ones, so that a few joints, or joints
        that were all found, move it little.
        """
        x, y = _features(mass, drift), found.astype(np.float64)
        start = np.array(self)

        def loss(theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            score, away = x @ theta, theta - start
            cost = np.logaddexp(0, score).sum() - y @ score + _TRUST / 2 * away @ away
            return cost, x.T @ (expit(score) - y) + _TRUST * away

        theta = minimize(loss, start, jac=True, method="BFGS").x
        return Calibration(*(float(value) for value in theta))


def drift_of(points: Array, clip: NDArray[np.integer], unit: float) -> NDArray[np.float32]:
    """How far each joint (N, J) is from the mean of the frames before and after it.

    Parameters
    ----------
    points : (N, J, 2), frames in order
    clip : (N,), which clip each is of; the first and last of a clip have one neighbour, a single
        frame none and so no drift
    unit : what a drift of 1 is, in the units of the points
    """
    n = len(points)
    total, count = np.zeros_like(points, dtype=np.float64), np.zeros(n)
    for step in (-1, 1):
        rows = np.arange(n)[max(0, -step) : n - max(0, step)]
        rows = rows[clip[rows] == clip[rows + step]]
        total[rows] += points[rows + step]
        count[rows] += 1
    mean = total / np.maximum(count, 1)[:, None, None]
    drift = np.linalg.norm(points - mean, axis=2) / unit
    return np.where(count[:, None] > 0, drift, 0).astype(np.float32)


def _features(mass: Array, drift: Array) -> NDArray[np.float64]:
    belief = np.clip(np.asarray(mass, np.float64), _EDGE, 1 - _EDGE)
    logit = np.log(belief / (1 - belief))
    return np.stack([np.ones_like(logit), logit, np.minimum(drift, 5.0)], axis=-1)
