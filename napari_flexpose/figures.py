"""What an adaptation's figures mean, in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist, pdist

COLLAPSED = 0.5
"""Variety below which generated poses hardly differ; the engine warns at the same value."""


@dataclass(frozen=True)
class AdaptFigures:
    """How good an adapted model is.

    Attributes
    ----------
    distance : energy distance of its poses to the shots
    before : that of the source poses; None when the run had no map
    variety : spread of its poses against that of the shots
    kept : share of drawn poses that is kept
    recall : how many shots have an adapted pose nearby, and how many shots there are; None when
        the run had no map
    """

    distance: float
    before: float | None
    variety: float
    kept: float
    recall: tuple[int, int] | None = None

    @staticmethod
    def of(
        metrics: Mapping[str, float],
        before: float | None = None,
        recall: tuple[int, int] | None = None,
    ) -> AdaptFigures:
        """From the engine's metrics by name, and what the map told."""
        return AdaptFigures(
            metrics["energy_distance"],
            before,
            metrics["spread_ratio"],
            metrics["kept_share"],
            recall,
        )

    @property
    def collapsed(self) -> bool:
        """Whether the poses hardly differ from each other any more."""
        return self.variety < COLLAPSED

    @property
    def words(self) -> tuple[str, ...]:
        """One sentence a figure."""
        # the estimate has no bias, so it falls below zero when nothing tells the sets apart
        distance = f"Distance to your poses: {max(self.distance, 0):.2f}"
        if self.before is not None:
            distance += f", before {max(self.before, 0):.2f}"
        words = [f"{distance} (0 is best)."]
        words.append(f"Variety: {self.variety:.1f} times that of your poses.")
        if self.recall is not None:
            reached, of = self.recall
            words.append(f"Reach: {reached} of your {of} poses have a new one nearby.")
        words.append(f"Kept: {self.kept:.0%} of what is drawn, the rest is too far from yours.")
        return tuple(words)

    @property
    def warning(self) -> str:
        """What speaks against using the model, in one sentence; empty when nothing does."""
        if self.collapsed:
            return (
                "The new poses hardly differ from each other. Keep the old model, or label poses "
                "that differ more and adapt again."
            )
        if self.before is not None and self.distance > self.before:
            return "The new poses are further from yours than before. Keep the old model."
        if self.recall is not None and 2 * self.recall[0] < self.recall[1]:
            return "Most of your poses have no new one nearby. Adapt with more steps."
        return ""


def energy_distance(made: NDArray[np.floating], shots: NDArray[np.floating]) -> float:
    """Energy distance of two samples (n, d) and (m, d), the engine's estimate without bias.

    Pairs of a pose with itself are left out, so it may fall below zero.
    """
    between = cdist(made, shots).mean()
    return float(2 * between - pdist(made).mean() - pdist(shots).mean())


def reached_shots(made: NDArray[np.floating], shots: NDArray[np.floating]) -> int:
    """How many of the shots (m, d) have a made pose (n, d) no further than their nearest shot."""
    between = cdist(shots, shots)
    np.fill_diagonal(between, np.inf)
    return int((cdist(shots, made).min(axis=1) <= between.min(axis=1)).sum())
