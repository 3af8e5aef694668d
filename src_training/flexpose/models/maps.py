"""Maps of joints as Gaussians: drawn about keypoints, compared, and read by their peaks."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

SIGMA = 2.0
"""Cells: spread of the Gaussians that SimpleBaseline and RegDA learn."""


class Reading(NamedTuple):
    """Keypoints (n, J, 2) in unit space, and how much probability (n, J) lies near each."""

    keypoints: Tensor
    mass: Tensor


def read_peaks(maps: Tensor, stride: int) -> Reading:
    """Peaks of maps (n, J, h, w), a quarter of a cell towards the higher neighbour (Xiao 2018).

    ``mass`` is the peak's height, cut to [0, 1].
    """
    h, w = maps.shape[2:]
    cells, flat = peak_cells(maps), maps.flatten(2)
    at = cells[..., 1] * w + cells[..., 0]
    shifts = []
    for axis, (count, step) in enumerate(((w, 1), (h, w))):
        inside = (cells[..., axis] > 0) & (cells[..., axis] < count - 1)
        around = torch.stack([at - step, at + step], dim=2) * inside[..., None]
        before, after = flat.gather(2, around).unbind(2)
        shifts.append((after - before).sign() * inside / 4)
    found = cells_to_unit(cells + torch.stack(shifts, dim=2), (w, h), stride)
    return Reading(found, flat.amax(dim=2).clamp(0, 1))


def peak_cells(maps: Tensor) -> Tensor:
    """Column and row (n, J, 2) of the highest cell of maps (n, J, h, w)."""
    w = maps.shape[3]
    peak = maps.flatten(2).argmax(dim=2)
    return torch.stack([peak % w, peak // w], dim=2)


def mse_loss(maps: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Half the mean squared difference of maps (n, J, h, w), joints weighted by (n, J)."""
    return ((maps - target).square().mean(dim=(2, 3)) / 2 * weights).mean()


def kl_loss(maps: Tensor, target: Tensor, weights: Tensor, floor: float = 0.0) -> Tensor:
    """Kullback-Leibler divergence of softmax maps from normalised Gaussians (Jiang 2021).

    Parameters
    ----------
    maps, target : (n, J, h, w); an empty target does not count
    weights : (n, J)
    floor : added to each cell of the target
    """
    wanted = target.flatten(2) + floor
    wanted = wanted / wanted.sum(dim=2, keepdim=True).clamp_min(1e-12)
    logs = maps.flatten(2).log_softmax(dim=2)
    return (F.kl_div(logs, wanted, reduction="none").sum(dim=2) * weights).mean()


def gaussians_at(keypoints: Tensor, size: tuple[int, int], stride: int) -> Tensor:
    """Gaussians (n, J, h, w) about keypoints (n, J, 2) in unit space; none for unknown joints.

    ``size`` is (w, h) in cells.
    """
    known = within(keypoints)
    points = torch.where(known[..., None], keypoints, torch.zeros_like(keypoints))
    return gaussians(unit_to_cells(points, size, stride), size) * known[..., None, None]


def gaussians(cells: Tensor, size: tuple[int, int]) -> Tensor:
    """Gaussians (n, J, h, w) of peak 1 about (n, J, 2) cells x, y, cut off at three sigma."""
    across, down = (
        torch.where(away.abs() <= 3 * SIGMA, torch.exp(-0.5 * (away / SIGMA).square()), 0.0)
        for away in (
            torch.arange(count, device=cells.device) - cells[..., axis, None]
            for axis, count in enumerate(size)
        )
    )
    return down[..., None] * across[:, :, None]


def within(keypoints: Tensor) -> Tensor:
    """Which keypoints (n, J, 2) are known and inside the crop, (n, J)."""
    return keypoints.isfinite().all(dim=2) & (keypoints.abs() <= 1).all(dim=2)


def cells_to_unit(cells: Tensor, size: tuple[int, int], stride: int) -> Tensor:
    """Positions (n, J, 2) in cells of maps of ``size`` (w, h) to unit space."""
    pixels = cells.new_tensor(size, dtype=torch.float32) * stride
    return (cells * stride + (stride - 1) / 2) / (pixels - 1) * 2 - 1


def unit_to_cells(points: Tensor, size: tuple[int, int], stride: int) -> Tensor:
    """Unit space (n, J, 2) to cells of maps of ``size`` (w, h)."""
    pixels = points.new_tensor(size) * stride
    return ((points + 1) / 2 * (pixels - 1) - (stride - 1) / 2) / stride
