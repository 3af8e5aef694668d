"""A fixed map of source poses, into which other poses are placed (t-SNE by openTSNE)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexpose.errors import DataFormatError, MissingDependencyError, PoseShapeError
from flexpose.io.base import atomic_open, read_npz

Floats = NDArray[np.float64]

MAX_POINTS = 1000
"""Source poses on a map: more would cost seconds and hide each other."""

PERPLEXITY = 30.0


@dataclass(frozen=True, kw_only=True, eq=False)
class PoseMap:
    """A t-SNE map that never moves; arrays are read-only.

    Attributes
    ----------
    features : float64 (n, D), the source poses on the map, from
        :func:`flexpose.evaluation.distributions.features`
    positions : float64 (n, 2), their places, in the map's own units
    rows : int64 (n,), which of the poses given to :meth:`fit` they are
    seed : seed of sample and map
    """

    features: Floats
    positions: Floats
    rows: NDArray[np.int64]
    seed: int

    def __post_init__(self) -> None:
        for array in (self.features, self.positions, self.rows):
            array.flags.writeable = False

    @staticmethod
    def fit(features: NDArray[np.floating], seed: int = 0) -> PoseMap:
        """Map source poses, at most ``MAX_POINTS`` of them, drawn by ``seed``.

        Takes some seconds for 1000 poses on one thread; the same seed gives the same map.

        Parameters
        ----------
        features : float (N, D)

        Raises
        ------
        PoseShapeError : fewer than ten poses, or values that are not finite.
        MissingDependencyError : openTSNE is not installed.
        """
        tsne = _open_tsne()
        points = _checked(features)
        if len(points) < 10:
            raise PoseShapeError(f"Found {len(points)} poses to map, expected at least 10.")
        rows = np.arange(len(points))
        if len(rows) > MAX_POINTS:
            rows = np.sort(np.random.default_rng(seed).choice(len(rows), MAX_POINTS, replace=False))
        points = points[rows]
        start = tsne.initialization.pca(points, random_state=seed)
        embedding = _embedding(start, _affinities(points, seed), seed)
        # the usual two phases: exaggerated attraction first (van der Maaten & Hinton 2008, 3.4)
        embedding.optimize(n_iter=250, exaggeration=12, momentum=0.5, inplace=True)
        embedding.optimize(n_iter=500, momentum=0.8, inplace=True)
        positions = np.array(embedding, dtype=np.float64)
        # openTSNE moves a map to the middle of its range when it places points: do so for good
        positions -= (positions.max(axis=0) + positions.min(axis=0)) / 2
        return PoseMap(features=points, positions=positions, rows=rows, seed=seed)

    def place(self, features: NDArray[np.floating]) -> Floats:
        """Find places for other poses; the map stays, and they do not influence each other.

        Parameters
        ----------
        features : float (m, D)

        Returns
        -------
        float64 (m, 2)

        Raises
        ------
        PoseShapeError : other dimensions than the map's, or values that are not finite.
        MissingDependencyError : openTSNE is not installed.
        """
        points = _checked(features)
        if points.shape[1] != self.features.shape[1]:
            raise PoseShapeError(
                f"Found poses of {points.shape[1]} numbers, expected {self.features.shape[1]} "
                "as on the map."
            )
        if not len(points):
            return np.empty((0, 2))
        embedding = _embedding(self.positions, self._fitted_affinities, self.seed)
        # k=1 starts a pose at its nearest source pose; the median of 25, openTSNE's own choice,
        # can lie between clusters, where a few poses in a hundred then stay
        return np.array(embedding.transform(points, k=1, perplexity=5), dtype=np.float64)

    @cached_property
    def _fitted_affinities(self) -> Any:
        return _affinities(self.features, self.seed)

    def save(self, path: Path) -> None:
        """Write the map as npz, without pickles."""
        with atomic_open(path) as file:
            np.savez_compressed(
                file,
                features=self.features,
                positions=self.positions,
                rows=self.rows,
                seed=np.int64(self.seed),
            )

    @staticmethod
    def load(path: Path) -> PoseMap:
        """Read a saved map; placing works as on the map that was saved.

        Raises
        ------
        DataFormatError : the file is no saved map.
        """
        fields = read_npz(path, ("features", "positions", "rows", "seed"))
        features, positions, rows = fields["features"], fields["positions"], fields["rows"]
        n = len(features) if features.ndim == 2 else 0
        if not n or positions.shape != (n, 2) or rows.shape != (n,):
            raise DataFormatError(
                path,
                "",
                f"holds features, positions and rows of shapes {features.shape}, "
                f"{positions.shape} and {rows.shape}, expected (n, D), (n, 2) and (n,)",
            )
        return PoseMap(features=features, positions=positions, rows=rows, seed=int(fields["seed"]))


def _checked(features: NDArray[np.floating]) -> Floats:
    points = np.array(features, dtype=np.float64)
    if points.ndim != 2 or not np.isfinite(points).all():
        raise PoseShapeError(
            f"Found features of shape {points.shape}, expected finite numbers (N, D)."
        )
    return points


def _open_tsne() -> Any:
    try:
        import openTSNE
    except ImportError:
        raise MissingDependencyError("openTSNE", "Mapping poses") from None
    return openTSNE


def _affinities(points: Floats, seed: int) -> Any:
    # exact neighbours, so that a map rebuilt from its features places points as before
    return _open_tsne().affinity.PerplexityBasedNN(
        points,
        perplexity=min(PERPLEXITY, (len(points) - 1) / 3),
        method="exact",
        n_jobs=1,
        random_state=seed,
    )


def _embedding(positions: Floats, affinities: Any, seed: int) -> Any:
    # Barnes-Hut: faster than interpolation for so few points
    return _open_tsne().TSNEEmbedding(
        positions.copy(),
        affinities,
        negative_gradient_method="bh",
        n_jobs=1,
        random_state=seed,
    )
