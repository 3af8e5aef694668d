"""How far one set of poses is from another.

The measures compare sets of feature vectors, poses of 2J numbers made by :func:`features`: each
pose in its own box, so that place and size do not count. Lengths are in unit space, where the
longer side of every pose's box is 1.7. Only :func:`compare` needs to be known to get them all.

Sets are always given as generated first, real (the reference) second. Everything is float64;
distance matrices are built in blocks, so memory stays bounded for any number of poses.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from flexpose.errors import PoseShapeError, SkeletonMismatchError
from flexpose.evaluation.eval_pose import bone_length_stats, joint_angle_stats
from flexpose.evaluation.report import Column, markdown_table
from flexpose.geometry import normalised
from flexpose.poseset import PoseSet

Floats = NDArray[np.float64]

BLOCK = 4_000_000
"""Entries of a distance matrix held at a time (32 MB)."""

MEDIAN_ROWS = 2000
"""Rows of the reference that the median heuristic looks at."""


def features(poses: PoseSet | NDArray[np.floating]) -> Floats:
    """Poses as vectors, each centred in its box and scaled (:func:`flexpose.geometry.normalised`).

    Parameters
    ----------
    poses : complete poses, or float (N, J, 2) of any space

    Returns
    -------
    float64 (N, 2J): x and y of each joint in unit space

    Raises
    ------
    PoseShapeError : wrong shape, a joint without position, or a pose with all joints on one spot.
    """
    keypoints = poses.keypoints if isinstance(poses, PoseSet) else np.asarray(poses)
    if keypoints.ndim != 3 or keypoints.shape[2] != 2:
        raise PoseShapeError(f"Found poses of shape {keypoints.shape}, expected (N, J, 2).")
    incomplete = ~np.isfinite(keypoints).all(axis=(1, 2))
    if incomplete.any():
        raise PoseShapeError(
            f"{int(incomplete.sum())} of {len(keypoints)} poses lack joints, the first is pose "
            f"{int(np.argmax(incomplete))}; distributions are of complete poses only.",
            "Leave them out first, as in poses[poses.complete].",
        )
    flat = ~(np.ptp(keypoints, axis=1) > 0).any(axis=1)
    if flat.any():
        raise PoseShapeError(
            f"Pose {int(np.argmax(flat))} has all its joints on one spot, so it has no shape."
        )
    return normalised(keypoints).reshape(len(keypoints), 2 * keypoints.shape[1]).astype(np.float64)


def energy_distance(gen: Floats, real: Floats) -> float:
    """Energy distance 2 E|x-y| - E|x-x'| - E|y-y'| with Euclidean norms (Székely & Rizzo 2013).

    The V-statistic: means run over all pairs, a point with itself included. So it is the distance
    between the two empirical distributions, never negative, 0 for equal sets, and for two samples
    of one distribution E|x-x'| (1/N + 1/M) on average: compare values at equal set sizes only.
    In one dimension it is the square of ``scipy.stats.energy_distance``.

    Parameters
    ----------
    gen, real : float64 (N, D), (M, D)

    Raises
    ------
    PoseShapeError : a set is empty, or the sets differ in dimension.
    """
    x, y = _pair(gen, real, at_least=1)
    between, within_x, within_y = _mean_norm(x, y), _mean_norm(x, x), _mean_norm(y, y)
    return max(2 * between - within_x - within_y, 0.0)


def mmd(
    gen: Floats,
    real: Floats,
    bandwidths: Sequence[float] | Literal["median"] = "median",
    *,
    seed: int = 0,
) -> float:
    """Maximum mean discrepancy with the kernel exp(-|x-y|² / (2 s²)) (Gretton et al. 2012).

    The square root of the unbiased estimate of MMD², which is clipped at 0 first: two samples of
    one distribution give a negative estimate every other time.

    Parameters
    ----------
    gen, real : float64 (N, D), (M, D), at least two rows each
    bandwidths : values of s over which the kernel is averaged; ``median`` takes one, the median
        distance between two different rows of ``real`` (of ``MEDIAN_ROWS`` rows, if it has more)
    seed : chooses those rows

    Raises
    ------
    PoseShapeError : a set has fewer than two rows, or the bandwidth is not positive.
    """
    x, y = _pair(gen, real, at_least=2)
    widths = [_median_distance(y, seed)] if isinstance(bandwidths, str) else list(bandwidths)
    if not widths or min(widths) <= 0:
        raise PoseShapeError(
            f"Found the kernel bandwidths {widths}, expected positive ones.",
            "The median distance is 0 when most reference poses are equal.",
        )

    def mean_kernel(a: Floats, b: Floats, *, same: bool) -> float:
        total = 0.0
        for _, squares in _blocks(a, b):
            for width in widths:
                scaled = squares if len(widths) == 1 else squares.copy()
                scaled *= -0.5 / width**2
                total += float(np.exp(scaled, out=scaled).sum())
        total /= len(widths)
        # a row's kernel with itself is 1
        return (total - len(a)) / (len(a) * (len(a) - 1)) if same else total / (len(a) * len(b))

    within = mean_kernel(x, x, same=True) + mean_kernel(y, y, same=True)
    return float(np.sqrt(max(within - 2 * mean_kernel(x, y, same=False), 0.0)))


def frechet_distance(gen: Floats, real: Floats) -> float:
    """Fréchet distance of the Gaussians fitted to two sets (Heusel et al. 2017, "FID").

    |m_x - m_y|² + tr(C_x + C_y - 2 (C_x^½ C_y C_x^½)^½), a squared length. The trace of the last
    root is the sum of the singular values of C_x^½ C_y^½, which needs no inverse, so sets with
    fewer rows than dimensions are fine.

    Raises
    ------
    PoseShapeError : a set has fewer than two rows.
    """
    x, y = _pair(gen, real, at_least=2)
    root_x, root_y = _covariance_root(x), _covariance_root(y)
    shift = float(((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum())
    shared = float(np.linalg.svd(root_x @ root_y, compute_uv=False).sum())
    return max(shift + float((root_x**2).sum() + (root_y**2).sum()) - 2 * shared, 0.0)


def precision_recall(
    gen: Floats, real: Floats, k: int = 5, *, seed: int = 0
) -> tuple[float, float]:
    """Improved precision and recall (Kynkäänniemi et al. 2019, eq. 1 and 2).

    A set's manifold is the union of balls around its points, each reaching to the point's k-th
    nearest neighbour in the set, boundary included. Precision is the share of generated points in
    the real manifold, recall that of real points in the generated one. Radii shrink with the
    number of points, so the larger set is first cut to the size of the smaller, by ``seed``.

    Raises
    ------
    PoseShapeError : a set has fewer than k + 1 rows.
    """
    x, y = _equal_sizes(*_pair(gen, real, at_least=k + 1, k=k), seed)
    reach_x, reach_y = _squared_reach(x, k), _squared_reach(y, k)
    in_real, in_gen = np.zeros(len(x), dtype=bool), np.zeros(len(y), dtype=bool)
    for rows, squares in _blocks(x, y):
        in_real[rows] = (squares <= reach_y).any(axis=1)
        in_gen |= (squares <= reach_x[rows, None]).any(axis=0)
    return float(in_real.mean()), float(in_gen.mean())


def density_coverage(
    gen: Floats, real: Floats, k: int = 5, *, seed: int = 0
) -> tuple[float, float]:
    """Density and coverage (Naeem et al. 2020), from the real points' k-NN balls.

    Density is the mean number of real balls that hold a generated point, divided by k: about 1
    for samples of one distribution, more for samples crowded where real points are dense. (A set
    against itself gives 1 + 1/k, as every ball holds its centre.) Coverage is the share of real
    balls that hold a generated point. The larger set is first cut to the size of the smaller.

    Raises
    ------
    PoseShapeError : a set has fewer than k + 1 rows.
    """
    x, y = _equal_sizes(*_pair(gen, real, at_least=k + 1, k=k), seed)
    reach = _squared_reach(y, k)
    hits = np.zeros(len(y), dtype=np.int64)
    for _, squares in _blocks(x, y):
        hits += (squares <= reach).sum(axis=0)
    return float(hits.sum() / (k * len(x))), float((hits > 0).mean())


def spread_ratio(gen: Floats, real: Floats) -> float:
    """Square root of tr cov(gen) / tr cov(real): 1 is ideal, below .5 a collapse.

    Raises
    ------
    PoseShapeError : a set has fewer than two rows, or all real rows are equal.
    """
    x, y = _pair(gen, real, at_least=2)
    reference = float(y.var(axis=0, ddof=1).sum())
    if reference <= 0:
        raise PoseShapeError("All reference poses are equal, so there is no spread to compare to.")
    return float(np.sqrt(x.var(axis=0, ddof=1).sum() / reference))


COLUMNS = (
    Column("energy_distance", "energy", "low", 4),
    Column("mmd", "MMD", "low"),
    Column("frechet_distance", "Fréchet", "low", 4),
    Column("precision", "precision", "high"),
    Column("recall", "recall", "high"),
    Column("density", "density", "one"),
    Column("coverage", "coverage", "high"),
    Column("spread_ratio", "spread", "one"),
    Column("bone_length_error", "bone length error", "low", 4),
    Column("joint_angle_error", "joint angle error", "low", 2),
)
"""The measures of a report, for :func:`flexpose.evaluation.report.summary_table`."""


@dataclass(frozen=True, kw_only=True)
class DistributionReport:
    """All measures between generated and real poses.

    Attributes
    ----------
    energy_distance, mmd, frechet_distance, precision, recall, density, coverage, spread_ratio :
        by the functions of these names
    bone_length_error : mean over bones of the absolute difference of mean lengths, in shares of
        the box's longer side; None for a skeleton without bones
    joint_angle_error : mean over angles of their Wasserstein distance, degrees; None for one
        without two bones that meet
    bone_lengths, joint_angles : the two before, bone by bone and angle by angle
    skeleton : its name
    num_gen, num_real : poses given
    used_gen, used_real : poses compared; the k-NN measures (precision, recall, density,
        coverage) use the smaller of the two numbers from both
    k, seed : neighbours of the k-NN measures; seed of the subsampling
    gen_source, real_source : provenance of the poses
    """

    energy_distance: float
    mmd: float
    frechet_distance: float
    precision: float
    recall: float
    density: float
    coverage: float
    spread_ratio: float
    bone_length_error: float | None
    joint_angle_error: float | None
    bone_lengths: Mapping[str, Mapping[str, float]]
    joint_angles: Mapping[str, float]
    skeleton: str
    num_gen: int
    num_real: int
    used_gen: int
    used_real: int
    k: int
    seed: int
    gen_source: tuple[str, ...]
    real_source: tuple[str, ...]

    def metrics(self) -> dict[str, float]:
        """Return the measures that the skeleton has, by name and in the order of the tables."""
        values = {column.key: getattr(self, column.key) for column in COLUMNS}
        return {key: value for key, value in values.items() if value is not None}

    def to_json(self) -> str:
        """All fields as a JSON object."""
        return json.dumps(asdict(self), indent=2, allow_nan=False, ensure_ascii=False) + "\n"

    def to_markdown(self) -> str:
        """Tables of the measures, the bones and the angles, with the counts."""
        values = self.metrics()
        numbers = [
            [c.title, f"{values[c.key]:.{c.digits}f}", "0" if c.best == "low" else "1"]
            for c in COLUMNS
            if c.key in values
        ]
        bones = [
            [name, *(f"{s[key]:.3f}" for key in ("gen_mean", "gen_std", "real_mean", "real_std"))]
            for name, s in self.bone_lengths.items()
        ]
        angles = [[name, f"{value:.1f}"] for name, value in self.joint_angles.items()]
        knn = min(self.used_gen, self.used_real)
        gen_source, real_source = "; ".join(self.gen_source), "; ".join(self.real_source)
        return "\n".join(
            (
                f"# Pose distributions ({self.skeleton})\n",
                f"- Generated: {self.used_gen} of {self.num_gen} poses. {gen_source}",
                f"- Real: {self.used_real} of {self.num_real} poses. {real_source}",
                f"- Nearest neighbours: k = {self.k}, {knn} poses of each set; seed {self.seed}.\n",
                markdown_table(["measure", "value", "ideal"], numbers),
                "Bone lengths, in shares of the box's longer side:\n",
                markdown_table(["bone", "generated", "sd", "real", "sd"], bones),
                "Joint angles, Wasserstein distance in degrees:\n",
                markdown_table(["angle", "distance"], angles),
            )
        )


def compare(
    gen: PoseSet, real: PoseSet, *, max_samples: int = 5000, seed: int = 0, k: int = 5
) -> DistributionReport:
    """All measures between generated poses and real ones, which are best poses held out.

    Parameters
    ----------
    gen, real : complete poses of one skeleton, more than ``k`` each
    max_samples : larger sets are cut to this many poses, drawn without replacement by ``seed``
    k : neighbours of precision, recall, density and coverage

    Raises
    ------
    SkeletonMismatchError : the sets have different joints.
    PoseShapeError : a pose is incomplete or has no extent, or a set has too few poses.
    """
    if not gen.skeleton.same_layout(real.skeleton):
        raise SkeletonMismatchError(
            f"Cannot compare poses of {gen.skeleton.name} and {real.skeleton.name}.",
            "Map one of them to the skeleton of the other first.",
        )
    rng = np.random.default_rng(seed)
    x_all, y_all = features(gen), features(real)
    rows_x = _draw(len(x_all), max_samples, rng)
    rows_y = _draw(len(y_all), max_samples, rng)
    x, y = x_all[rows_x], y_all[rows_y]
    precision, recall = precision_recall(x, y, k, seed=seed)
    density, coverage = density_coverage(x, y, k, seed=seed)
    poses_x, poses_y, skeleton = gen.keypoints[rows_x], real.keypoints[rows_y], real.skeleton
    bones = bone_length_stats(poses_x, poses_y, skeleton)
    angles = joint_angle_stats(poses_x, poses_y, skeleton)
    return DistributionReport(
        energy_distance=energy_distance(x, y),
        mmd=mmd(x, y, seed=seed),
        frechet_distance=frechet_distance(x, y),
        precision=precision,
        recall=recall,
        density=density,
        coverage=coverage,
        spread_ratio=spread_ratio(x, y),
        bone_length_error=_mean_of([abs(s["difference"]) for s in bones.values()]),
        joint_angle_error=_mean_of(list(angles.values())),
        bone_lengths=bones,
        joint_angles=angles,
        skeleton=skeleton.name,
        num_gen=len(gen),
        num_real=len(real),
        used_gen=len(x),
        used_real=len(y),
        k=k,
        seed=seed,
        gen_source=gen.source,
        real_source=real.source,
    )


def _mean_of(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _pair(
    gen: Floats, real: Floats, *, at_least: int, k: int | None = None
) -> tuple[Floats, Floats]:
    """Both sets as float64, checked, about a common origin (the distances round less there)."""
    sets = []
    for name, values in (("generated", gen), ("real", real)):
        array = np.asarray(values, dtype=np.float64)
        if array.ndim != 2:
            raise PoseShapeError(f"Found {name} features of shape {array.shape}, expected (N, D).")
        if len(array) < at_least:
            why = "" if k is None else f" for {k} nearest neighbours"
            raise PoseShapeError(
                f"Found {len(array)} {name} poses, expected at least {at_least}{why}."
            )
        if not np.isfinite(array).all():
            raise PoseShapeError(f"The {name} features hold values that are not finite numbers.")
        sets.append(array)
    if sets[0].shape[1] != sets[1].shape[1]:
        raise PoseShapeError(
            f"Found features of {sets[0].shape[1]} and {sets[1].shape[1]} numbers a pose, "
            "expected equally many."
        )
    origin = sets[1].mean(axis=0)
    return sets[0] - origin, sets[1] - origin


def _draw(count: int, at_most: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Row numbers in order: all, or ``at_most`` of them drawn without replacement."""
    if count <= at_most:
        return np.arange(count)
    return np.sort(rng.choice(count, at_most, replace=False))


def _equal_sizes(x: Floats, y: Floats, seed: int) -> tuple[Floats, Floats]:
    size, rng = min(len(x), len(y)), np.random.default_rng(seed)
    return x[_draw(len(x), size, rng)], y[_draw(len(y), size, rng)]


def _blocks(x: Floats, y: Floats) -> Iterator[tuple[slice, Floats]]:
    """Squared distances (rows of x, all of y), ``BLOCK`` entries at a time."""
    step = max(BLOCK // len(y), 1)
    norms_x, norms_y = (x**2).sum(axis=1), (y**2).sum(axis=1)
    for start in range(0, len(x), step):
        rows = slice(start, start + step)
        squares = x[rows] @ y.T
        squares *= -2
        squares += norms_x[rows, None]
        squares += norms_y
        yield rows, np.maximum(squares, 0, out=squares)


def _mean_norm(x: Floats, y: Floats) -> float:
    total = sum(float(np.sqrt(squares, out=squares).sum()) for _, squares in _blocks(x, y))
    return total / (len(x) * len(y))


def _median_distance(y: Floats, seed: int) -> float:
    y = y[_draw(len(y), MEDIAN_ROWS, np.random.default_rng(seed))]
    squares = np.concatenate([s for _, s in _blocks(y, y)])
    return float(np.median(np.sqrt(squares[np.triu_indices(len(y), 1)])))


def _squared_reach(x: Floats, k: int) -> Floats:
    """Squared distance of each row to its k-th nearest other row, for balls with their boundary."""
    # entry 0 of a sorted row is the row itself
    reach = [np.partition(squares, k, axis=1)[:, k] for _, squares in _blocks(x, x)]
    # the matrix product rounds: without some room a point would miss the boundary it defines
    return np.concatenate(reach) * (1 + 1e-9) + 1e-12


def _covariance_root(x: Floats) -> Floats:
    """Symmetric root of the sample covariance; rounding below zero counts as zero."""
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(x, rowvar=False)))
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)
