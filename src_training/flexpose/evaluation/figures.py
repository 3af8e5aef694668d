"""Figures to disk: sheets of poses, bone lengths, maps, training curves.

Matplotlib is imported by the first figure drawn and used without pyplot, so no figure touches a
window or a global setting. Files appear under their name only when complete.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flexpose.errors import MissingDependencyError, PoseShapeError
from flexpose.evaluation.eval_pose import bone_lengths
from flexpose.io.base import atomic_open
from flexpose.skeleton import Skeleton

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEFT, RIGHT, MIDLINE = "#56B4E9", "#E69F00", "#FFFFFF"
"""Colours of the sides on a dark ground, apart for colour-blind eyes too (Okabe & Ito 2008)."""

BACKGROUND, INK, FAINT = "#111111", "#EEEEEE", "#555555"

SERIES = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#D55E00", "#0072B2")
"""Colours of series, Okabe & Ito's without black."""


def pose_sheet(
    poses: NDArray[np.floating],
    skeleton: Skeleton,
    path: Path,
    *,
    columns: int = 8,
    titles: Sequence[str] | None = None,
) -> Path:
    """Draw poses side by side on a dark ground, the person's left blue and right orange.

    Parameters
    ----------
    poses : float (N, J, 2), unit space; bones at a joint that is NaN are left out
    path : image file; the suffix names the format (png, pdf, svg)
    titles : one a pose, small above it

    Raises
    ------
    PoseShapeError : no poses, a wrong shape, or another number of titles.
    """
    poses = np.asarray(poses, dtype=np.float64)
    if poses.ndim != 3 or poses.shape[1:] != (skeleton.num_joints, 2) or not len(poses):
        raise PoseShapeError(
            f"Found poses of shape {poses.shape}, expected (N, {skeleton.num_joints}, 2) "
            f"with N of at least 1 for the skeleton {skeleton.name}."
        )
    if titles is not None and len(titles) != len(poses):
        raise PoseShapeError(f"Found {len(titles)} titles for {len(poses)} poses.")
    columns = min(columns, len(poses))
    number = np.arange(len(poses))
    cell = np.array([2.0, 2.0 if titles is None else 2.3])
    offsets = np.stack([number % columns, number // columns], axis=1) * cell
    size = np.array([columns, number[-1] // columns + 1]) * cell
    figure = _figure(*(0.625 * size))
    axes: Axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(-1, size[0] - 1)
    axes.set_ylim(size[1] + 1 - cell[1], 1 - cell[1])
    _draw_limbs(axes, poses + offsets[:, None], skeleton)
    for title, (x, y) in zip(titles or (), offsets, strict=titles is not None):
        axes.text(x, y - 1.1, title, color=INK, fontsize=7, ha="center", va="center")
    return _save(figure, path)


def _draw_limbs(axes: Axes, points: NDArray[np.float64], skeleton: Skeleton) -> None:
    from matplotlib.collections import LineCollection

    edges = np.array(skeleton.edges, dtype=np.intp).reshape(-1, 2)
    by_side = {"left": LEFT, "right": RIGHT, "middle": MIDLINE}
    colors = np.array([by_side[side] for side in skeleton.edge_sides])
    width = 3.4 if skeleton.num_joints <= 32 else 1.4
    # trunk first, then side by side; outlines in the ground's colour keep crossing limbs apart
    for color in (MIDLINE, RIGHT, LEFT):
        lines = points[:, edges[colors == color]].reshape(-1, 2, 2)
        lines = lines[np.isfinite(lines).all(axis=(1, 2))]
        for stroke, extra in ((BACKGROUND, 1.8), (color, 0.0)):
            axes.add_collection(
                LineCollection(
                    list(lines), colors=stroke, linewidths=width + extra, capstyle="round"
                )
            )


def bone_length_figure(
    sets: Mapping[str, NDArray[np.floating]], skeleton: Skeleton, path: Path
) -> Path:
    """Compare bone lengths of pose sets: median, middle half and 5th to 95th percentile.

    Parameters
    ----------
    sets : legend name to poses, float (N, J, 2) of any space; lengths are in shares of the longer
        side of each pose's box
    """
    names = [f"{skeleton.joints[a]}-{skeleton.joints[b]}" for a, b in skeleton.edges]
    height = 0.11 * len(names) * (len(sets) + 0.8) + 1.2
    figure = _figure(7.0, height)
    axes = _axes(figure)
    rows = np.arange(len(names)) * 1.0
    step = 0.7 / max(len(sets), 1)
    for i, (name, poses) in enumerate(sets.items()):
        quantiles = np.nanpercentile(bone_lengths(poses, skeleton), (5, 25, 50, 75, 95), axis=0)
        low, first, middle, third, high = quantiles
        y = rows + (i - (len(sets) - 1) / 2) * step
        color = SERIES[i % len(SERIES)]
        axes.hlines(y, low, high, colors=color, linewidth=1.2, alpha=0.7)
        axes.hlines(y, first, third, colors=color, linewidth=4.5)
        axes.plot(middle, y, "o", color=INK, markersize=3.2, markeredgecolor=BACKGROUND)
        axes.plot([], [], color=color, linewidth=4.5, label=name)
    axes.set_yticks(rows, [name.replace("_", " ") for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel("length / longer side of the box")
    axes.grid(axis="x", color=FAINT, linewidth=0.4)
    _legend(figure)
    return _save(figure, path)


def map_figure(
    source: NDArray[np.floating],
    target: NDArray[np.floating],
    adapted: NDArray[np.floating],
    path: Path,
    *,
    labels: tuple[str, str, str] = ("source", "target", "adapted"),
) -> Path:
    """Draw a map of poses: source small and grey, adapted coloured, target large on top.

    Parameters
    ----------
    source, target, adapted : float (n, 2) map positions; a set may be empty
    """
    figure = _figure(6.0, 6.0)
    axes = _axes(figure)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    styles: tuple[tuple[Any, str, dict[str, Any]], ...] = (
        (source, labels[0], {"s": 9, "color": "#8A8A8A", "alpha": 0.55, "linewidths": 0}),
        (adapted, labels[2], {"s": 16, "color": LEFT, "alpha": 0.8, "linewidths": 0}),
        (
            target,
            labels[1],
            {"s": 90, "color": RIGHT, "marker": "*", "edgecolors": BACKGROUND, "linewidths": 0.7},
        ),
    )
    for points, label, style in styles:
        xy = np.asarray(points, dtype=np.float64).reshape(-1, 2)
        if len(xy):
            axes.scatter(xy[:, 0], xy[:, 1], label=label, **style)
    axes.set_aspect("equal", adjustable="datalim")
    _legend(figure)
    return _save(figure, path)


def curve_figure(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]],
    path: Path,
    *,
    title: str = "",
    y_label: str = "",
    log: bool = False,
) -> Path:
    """Draw curves over training steps.

    Parameters
    ----------
    curves : legend name to (steps, values), 1-D of equal length
    log : logarithmic vertical axis
    """
    figure = _figure(7.0, 4.2)
    axes = _axes(figure)
    for i, (name, (steps, values)) in enumerate(curves.items()):
        # colour and dashes change together: neither carries the meaning alone
        axes.plot(
            np.asarray(steps),
            np.asarray(values),
            color=SERIES[i % len(SERIES)],
            linestyle=("-", "--", "-.", ":")[i % 4],
            linewidth=1.8,
            label=name,
        )
    axes.set_xlabel("step")
    axes.set_ylabel(y_label)
    axes.set_title(title, color=INK, fontsize=11)
    axes.set_yscale("log" if log else "linear")
    axes.margins(x=0.02)
    axes.grid(color=FAINT, linewidth=0.4)
    _legend(figure)
    return _save(figure, path)


def _figure(width: float, height: float) -> Figure:
    """Make an empty dark figure of a size in inches.

    Raises
    ------
    MissingDependencyError : matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependencyError("matplotlib", "Drawing figures") from None
    return Figure(figsize=(width, height), facecolor=BACKGROUND)


def _axes(figure: Figure) -> Axes:
    figure.set_layout_engine("constrained")
    axes: Axes = figure.add_subplot(facecolor=BACKGROUND)
    axes.tick_params(which="both", colors=INK, labelsize=8, length=0)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(FAINT)
    return axes


def _legend(figure: Figure) -> None:
    """Put the legend above the axes, where it covers no data."""
    figure.legend(
        loc="outside upper center",
        ncols=4,
        facecolor=BACKGROUND,
        edgecolor=BACKGROUND,
        labelcolor=INK,
        fontsize=8,
    )


def _save(figure: Figure, path: Path) -> Path:
    with atomic_open(path) as file:
        figure.savefig(file, format=path.suffix.lstrip(".") or "png", dpi=160)
    return path
