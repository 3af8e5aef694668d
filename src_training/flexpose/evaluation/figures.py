"""Figures to disk: sheets of poses and of overlays, bone lengths, maps, curves, calibration.

Matplotlib is imported by the first figure drawn and used without pyplot, so no figure touches a
window or a global setting. Files appear under their name only when complete.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flexpose.errors import MissingDependencyError, PoseShapeError
from flexpose.evaluation.eval_pose import bone_lengths
from flexpose.evaluation.keypoints import box_errors, matched, matched_rows
from flexpose.evaluation.scores import NEAR, CalibrationBin, mean_confidence
from flexpose.frames.crops import cut
from flexpose.io.base import atomic_open
from flexpose.poseset import PoseSet
from flexpose.rendering.raster import draw_overlay
from flexpose.skeleton import Skeleton

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEFT, RIGHT, MIDLINE = "#56B4E9", "#E69F00", "#FFFFFF"
"""Colours of the sides on a dark ground, apart for colour-blind eyes too (Okabe & Ito 2008)."""

BACKGROUND, INK, DIM, FAINT = "#111111", "#EEEEEE", "#A8A8A8", "#555555"

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


_SIDE, _GUTTER = 1.9, 0.08  # inches of a crop and between two
_CELL = 304  # pixels of a crop, at the 160 dots an inch that figures are saved with
_MARGIN = 1.5  # side of a crop in longer sides of what is drawn: room for head and feet
_GROUND = (17, 17, 17)


@dataclass(frozen=True)
class _Tile:
    """A pose of the overlay sheet: positions (J, 2) in pixels of its image, and its title."""

    name: str
    predicted: NDArray[np.float64]
    truth: NDArray[np.float64]
    size: NDArray[np.int32]
    title: str


def overlay_sheet(
    frames_read: Callable[[str], NDArray[np.uint8]],
    predicted: PoseSet,
    truth: PoseSet | None,
    path: Path,
    *,
    rows: tuple[int, int, int] = (4, 8, 4),
    columns: int = 4,
) -> Path:
    """Draw predictions on crops of their frames, the true pose thin under them: best to worst.

    Poses come in the order of their mean distance from the truth; without truth in the order of
    their confidence, or as they stand.

    Parameters
    ----------
    frames_read : gives the frame of a name, uint8 (H, W, 3) RGB
    predicted, truth : poses with names of images, one person an image
    rows : how many of the best, of the middle half and of the worst

    Raises
    ------
    PoseShapeError : no pose to draw, or predictions and truth do not go together.
    """
    sections = _sections(predicted, truth, rows)
    titled = truth is not None or predicted.confidence is not None
    gap, head, foot = 0.4 if titled else 0.22, 0.24, 0.6 if titled else 0.4
    lines = [-(-len(tiles) // columns) for _, tiles in sections]
    width = columns * (_SIDE + _GUTTER) + _GUTTER
    height = sum(lines) * (_SIDE + gap) + len(sections) * head + foot
    figure = _figure(width, height)
    top = height
    for (heading, tiles), count in zip(sections, lines, strict=True):
        top -= head
        figure.text(_GUTTER / width, top / height, heading, color=INK, fontsize=9, weight="bold")
        for number, tile in enumerate(tiles):
            x = _GUTTER + number % columns * (_SIDE + _GUTTER)
            y = top - (number // columns + 1) * (_SIDE + gap)
            axes = figure.add_axes((x / width, y / height, _SIDE / width, _SIDE / height))
            axes.set_axis_off()
            axes.imshow(_overlay(frames_read(tile.name), tile, predicted.skeleton))
            figure.text(x / width, (y + _SIDE + 0.16) / height, tile.title, color=INK, fontsize=7.5)
            name = _short_name(tile.name)
            figure.text(x / width, (y + _SIDE + 0.04) / height, name, color=DIM, fontsize=5.5)
        top -= count * (_SIDE + gap)
    names = ["predicted, the person's left", "right", "middle"]
    told = []
    if truth is not None:
        names.append("true pose")
        told.append("Numbers are mean distances of joints in % of the longer side of the box.")
    if predicted.confidence is not None:
        told.append("Confidence is the mean over the joints.")
    _sheet_caption(figure, names, " ".join(told))
    return _save(figure, path)


def _sections(
    predicted: PoseSet, truth: PoseSet | None, rows: tuple[int, int, int]
) -> list[tuple[str, list[_Tile]]]:
    """Tiles of the overlay sheet under their headings, best first."""
    sure = mean_confidence(predicted)
    if truth is None:
        named, points = predicted, predicted.keypoints.astype(np.float64)
        true, key = np.full_like(points, np.nan), -sure
        headings = ("Surest", "Typical", "Least sure")
    else:
        named, points = truth, matched(predicted, truth)
        true, key = truth.keypoints.astype(np.float64), box_errors(points, truth)
        sure = sure[matched_rows(predicted, truth)]
        headings = ("Best", "Typical", "Worst")
    if named.image_ids is None:
        raise PoseShapeError("The predictions have no names of images.")
    drawn = np.isfinite(points).any(axis=(1, 2)) & np.isfinite(key)
    if not drawn.any():
        raise PoseShapeError("Found no prediction to draw.")
    tiles = []
    for row in np.argsort(np.where(drawn, key, np.inf), kind="stable")[: drawn.sum()].tolist():
        title = [] if truth is None else [f"{key[row]:.1f} %"]
        title += [] if predicted.confidence is None else [f"confidence {sure[row]:.2f}"]
        name, size = named.image_ids[row], named.image_size[row]
        tiles.append(_Tile(name, points[row], true[row], size, "   ".join(title)))
    if truth is None and predicted.confidence is None:
        return [("Predictions", _spread(tiles, sum(rows)))]
    parts = zip(headings, _picked(tiles, rows), strict=True)
    return [(heading, part) for heading, part in parts if part]


def _picked(tiles: list[_Tile], rows: tuple[int, int, int]) -> list[list[_Tile]]:
    """The first, some evenly from the middle half of what is between, and the last."""
    best, middle, worst = rows
    if len(tiles) <= sum(rows):
        best, worst = (min(count, len(tiles) // 4) for count in (best, worst))
    between = tiles[best : len(tiles) - worst]
    margin = min(len(between) // 4, max(len(between) - middle, 0) // 2)
    half = between[margin : len(between) - margin]
    return [tiles[:best], _spread(half, middle), tiles[len(tiles) - worst :]]


def _spread(tiles: list[_Tile], count: int) -> list[_Tile]:
    """So many of them, evenly."""
    count = min(count, len(tiles))
    return [tiles[i] for i in np.linspace(0, len(tiles) - 1, count).round().astype(int)]


def _overlay(frame: NDArray[np.uint8], tile: _Tile, skeleton: Skeleton) -> NDArray[np.uint8]:
    """A square crop around both poses, the prediction over the truth; uint8 (h, w, 3)."""
    import cv2

    size = np.array(frame.shape[1::-1])
    points, truth = ((pose + 0.5) * size / tile.size - 0.5 for pose in (tile.predicted, tile.truth))
    both = np.concatenate([points, truth])
    low, high = np.nanmin(both, axis=0), np.nanmax(both, axis=0)
    side = float(np.clip(_MARGIN * (high - low).max(), 16, max(size.max() - 1, 16)))
    corner = (low + high - side) / 2
    room = size - 1 - side  # stay within the frame where it is large enough
    corner = np.where(room >= 0, np.clip(corner, 0, np.maximum(room, 0)), room / 2)
    pixels = 2 * _CELL  # drawn large and shrunk, so that joints are round
    on_crop = (pixels - 1) / side
    crop = cut(frame, np.array([*corner, side]), pixels)
    x, y = (np.arange(pixels) / on_crop + start for start in corner)
    crop[np.abs(y - (size[1] - 1) / 2) > size[1] / 2] = _GROUND
    crop[:, np.abs(x - (size[0] - 1) / 2) > size[0] / 2] = _GROUND
    _draw_thin(crop, (truth - corner) * on_crop, skeleton)
    crop = draw_overlay(crop, (points - corner) * on_crop, skeleton, thickness=4)
    return np.asarray(cv2.resize(crop, (_CELL, _CELL), interpolation=cv2.INTER_AREA), np.uint8)


def _draw_thin(image: NDArray[np.uint8], points: NDArray[np.float64], skeleton: Skeleton) -> None:
    """Draw one pose into the image as thin lines on a dark outline, without joints."""
    import cv2

    fixed = np.rint(np.nan_to_num(points) * 16).astype(int)
    for ink, width in ((_GROUND, 5), ((255, 255, 255), 2)):
        for a, b in skeleton.edges:
            if np.isfinite(points[[a, b]]).all():
                start, end = tuple(fixed[a].tolist()), tuple(fixed[b].tolist())
                cv2.line(image, start, end, ink, width, cv2.LINE_AA, 4)


def _short_name(name: str, longest: int = 34) -> str:
    return name if len(name) <= longest else f"...{name[-longest:]}"


def _sheet_caption(figure: Figure, names: Sequence[str], text: str) -> None:
    """A row at the foot that says what each line is, and what the titles mean."""
    from matplotlib.lines import Line2D

    width, height = figure.get_size_inches()
    looks = ((LEFT, 2.6), (RIGHT, 2.6), (MIDLINE, 2.6), (MIDLINE, 0.9))
    lines = [Line2D([], [], color=color, linewidth=width) for color, width in looks[: len(names)]]
    figure.legend(
        lines,
        names,
        loc="lower left",
        bbox_to_anchor=(_GUTTER / width, (0.3 if text else 0.1) / height),
        ncols=len(names),
        frameon=False,
        borderpad=0,
        borderaxespad=0,
        labelcolor=INK,
        fontsize=7,
        handlelength=1.4,
        columnspacing=1.4,
    )
    figure.text(_GUTTER / width, 0.1 / height, text, color=DIM, fontsize=7)


def reliability_figure(bins: Sequence[CalibrationBin], path: Path) -> Path:
    """Draw the share of joints found against their confidence; the diagonal is honest."""
    figure = _figure(3.6, 3.6)
    axes = _axes(figure)
    axes.plot([0, 1], [0, 1], color=DIM, linestyle="--", linewidth=1, label="honest")
    axes.plot(
        [part.confidence for part in bins],
        [part.found for part in bins],
        "o-",
        color=LEFT,
        linewidth=1.8,
        markersize=5,
        label=f"{sum(part.count for part in bins)} joints in {len(bins)} bins",
    )
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_aspect("equal")
    axes.set_xlabel("confidence")
    axes.set_ylabel(f"share of joints within {NEAR:g} of the box")
    axes.grid(color=FAINT, linewidth=0.4)
    _legend(figure)
    return _save(figure, path)


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
    x_label: str = "step",
    y_label: str = "",
    log: bool = False,
) -> Path:
    """Draw curves over training steps, or over something else.

    Parameters
    ----------
    curves : legend name to (places, values), 1-D of equal length
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
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.set_title(title, color=INK, fontsize=11)
    axes.set_yscale("log" if log else "linear")
    axes.margins(x=0.02)
    axes.grid(color=FAINT, linewidth=0.4)
    _legend(figure)
    return _save(figure, path)


def box_figure(
    values: Sequence[NDArray[np.floating]], path: Path, *, x_label: str = "", y_label: str = ""
) -> Path:
    """Boxes of values, one a set, numbered from 1: middle half, median, 5th to 95th percentile."""
    figure = _figure(7.0, 4.2)
    axes = _axes(figure)
    axes.boxplot(
        [np.asarray(part) for part in values],
        whis=(5, 95),
        showfliers=False,
        patch_artist=True,
        boxprops={"facecolor": LEFT, "edgecolor": LEFT, "alpha": 0.75},
        medianprops={"color": INK, "linewidth": 1.4},
        whiskerprops={"color": DIM},
        capprops={"color": DIM},
    )
    # every second number, so that they stay apart
    numbers = range(1, len(values) + 1)
    axes.set_xticks(numbers, [str(n) if n % 2 or len(values) < 15 else "" for n in numbers])
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(axis="y", color=FAINT, linewidth=0.4)
    return _save(figure, path)


def heat_figure(
    values: NDArray[np.floating], path: Path, *, label: str = "", axis: str = ""
) -> Path:
    """A square table of values as colours, light is high; rows and columns numbered from 1."""
    figure = _figure(5.6, 4.8)
    axes = _axes(figure)
    size = len(values)
    picture = axes.imshow(
        np.asarray(values), cmap="cividis", extent=(0.5, size + 0.5, size + 0.5, 0.5)
    )
    bar = figure.colorbar(picture, ax=axes, shrink=0.85)
    bar.set_label(label, color=INK)
    bar.ax.tick_params(colors=INK, labelsize=8, length=0)
    bar.outline.set_visible(False)
    axes.set_xlabel(axis)
    axes.set_ylabel(axis)
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
    """Put the legend above the axes, where it covers no data; long names in fewer columns."""
    (axes,) = figure.axes
    longest = max((len(name) for name in axes.get_legend_handles_labels()[1]), default=0)
    wide = 0.4 + 0.07 * longest  # inches of an entry in this size of letters
    figure.legend(
        loc="outside upper center",
        ncols=max(1, min(4, int(figure.get_figwidth() / wide))),
        facecolor=BACKGROUND,
        edgecolor=BACKGROUND,
        labelcolor=INK,
        fontsize=8,
    )


def _save(figure: Figure, path: Path) -> Path:
    with atomic_open(path) as file:
        figure.savefig(file, format=path.suffix.lstrip(".") or "png", dpi=160)
    return path
