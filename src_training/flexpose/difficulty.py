"""Poses by difficulty: bins of a score, and how training draws from them (Dua 2023, poster).

A Pose VAE learns what is usual; what it cannot give back well is rare or complicated. Its error
orders poses, equal shares of them make bins, and a sampler says how often each bin is drawn from at
which point of a training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from flexpose.errors import FlexPoseError

BINS = 25
"""As the poster's figures show."""

BinSampler = Callable[[float, int], NDArray[np.float64]]


def quantile_bins(scores: NDArray[np.floating], count: int = BINS) -> NDArray[np.intp]:
    """Bin of each score, 0 the easiest, as many poses in each as can be; ties keep their order.

    Parameters
    ----------
    scores : float (N,), larger is harder
    count : bins, at most N

    Raises
    ------
    FlexPoseError : fewer poses than bins, or a score that is no number.
    """
    if len(scores) < count:
        raise FlexPoseError(f"Found {len(scores)} poses for {count} bins.", "Ask for fewer bins.")
    if not np.isfinite(scores).all():
        raise FlexPoseError("Found a score that is not a number.")
    bins = np.empty(len(scores), dtype=np.intp)
    bins[np.argsort(scores, kind="stable")] = np.arange(len(scores)) * count // len(scores)
    return bins


def uniform(progress: float, bins: int) -> NDArray[np.float64]:
    """Every bin alike, all the time."""
    return np.full(bins, 1 / bins)


def curriculum(progress: float, bins: int) -> NDArray[np.float64]:
    """From easy to hard: the bins opened so far alike, one more every 1 / bins of the training.

    Our reading of the poster's VAE-CL, which it does not spell out.
    """
    opened = min(int(progress * bins) + 1, bins)
    weights = np.zeros(bins)
    weights[:opened] = 1 / opened
    return weights


def hard_mining(progress: float, bins: int) -> NDArray[np.float64]:
    """Harder bins more often, in proportion to their number, all the time.

    Our reading of the poster's VAE-HM, which it does not spell out.
    """
    number = np.arange(1, bins + 1, dtype=np.float64)
    return number / number.sum()


BIN_SAMPLERS: Mapping[str, BinSampler] = {
    "uniform": uniform,
    "cl": curriculum,
    "hm": hard_mining,
}
"""By the names that configs use."""


class BinnedRows:
    """Draws rows of a set by the bins that they are in.

    Parameters
    ----------
    bins : int (N,), each row's bin; every bin from 0 on has a row
    sampler : gives the bins' probabilities at a share of the training
    """

    def __init__(self, bins: NDArray[np.intp], sampler: BinSampler) -> None:
        self.sampler, self.count = sampler, int(bins.max()) + 1
        self.rows = [np.flatnonzero(bins == number) for number in range(self.count)]

    @staticmethod
    def of(scores: NDArray[np.floating], count: int, sampling: str) -> BinnedRows:
        """Rows in as many bins of their scores, drawn as the sampling of a config says."""
        return BinnedRows(quantile_bins(scores, count), BIN_SAMPLERS[sampling])

    def draw(self, size: int, progress: float, random: np.random.Generator) -> NDArray[np.intp]:
        """Rows (size,), with replacement; ``progress`` is the share of the training, 0 to 1."""
        weights = self.sampler(progress, self.count)
        chosen = random.choice(self.count, size=size, p=weights)
        return np.array([random.choice(self.rows[number]) for number in chosen], dtype=np.intp)
