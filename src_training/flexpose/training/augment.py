"""Pictures of people as they might also have been taken; keypoints follow."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

_TURN, _SCALE, _SHIFT = 0.4, (0.75, 1.3), 0.15  # radians, factor, halves of the crop
_HOLES = (0.1, 0.3)  # sides of what is covered, shares of the crop


def varied(
    images: Tensor, keypoints: Tensor, flip_index: Sequence[int], random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Mirrored, turned, scaled, shifted, tinted, noisy and partly covered.

    Parameters
    ----------
    images : (n, 3, h, w) in [-1, 1]
    keypoints : (n, J, 2), unit space; NaN stays
    flip_index : the skeleton's, for mirrored pictures
    random : on the CPU, so that a run does the same on every device
    """
    images, keypoints = mirrored_at_random(images, keypoints, flip_index, random)
    images, keypoints = moved(images, keypoints, random)
    return covered(tinted(images, random), random), keypoints


def mirrored_at_random(
    images: Tensor, keypoints: Tensor, flip_index: Sequence[int], random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Half of the pictures mirrored; left joints stay left."""
    chosen = (torch.rand(len(images), generator=random) < 0.5).to(images.device)
    images = torch.where(chosen[:, None, None, None], images.flip(3), images)
    return images, torch.where(chosen[:, None, None], mirrored(keypoints, flip_index), keypoints)


def mirrored(keypoints: Tensor, flip_index: Sequence[int]) -> Tensor:
    """Keypoints (n, J, 2) of the mirrored picture."""
    return keypoints[:, list(flip_index)] * keypoints.new_tensor([-1.0, 1.0])


def moved(images: Tensor, keypoints: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Each picture under a random similarity."""
    n, device = len(images), images.device
    angle = uniform(random, -_TURN, _TURN, n).to(device)
    scale = uniform(random, *_SCALE, n).to(device)
    shift = uniform(random, -_SHIFT, _SHIFT, n, 2).to(device)
    cos, sin = angle.cos() * scale, angle.sin() * scale
    forward = torch.stack([cos, -sin, sin, cos], dim=1).view(n, 2, 2)
    points = keypoints @ forward.transpose(1, 2) + shift[:, None]
    back = torch.linalg.inv(forward)
    theta = torch.cat([back, -(back @ shift[:, :, None])], dim=2)
    grid = F.affine_grid(theta, list(images.shape), align_corners=True)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=True), points


def tinted(images: Tensor, random: torch.Generator) -> Tensor:
    """Other light, other colours, and the noise of a worse camera."""
    n, device = len(images), images.device
    gain = uniform(random, 0.7, 1.3, n, 3, 1, 1) * uniform(random, 0.8, 1.2, n, 1, 1, 1)
    noise = torch.randn(images.shape, generator=random) * uniform(random, 0, 0.08, n, 1, 1, 1)
    out = images * gain.to(device) + uniform(random, -0.25, 0.25, n, 3, 1, 1).to(device)
    return out + noise.to(device)


def covered(images: Tensor, random: torch.Generator) -> Tensor:
    """A square of one colour over half of the pictures: what is hidden has to be inferred."""
    n, size = len(images), images.shape[-1]
    side = uniform(random, *_HOLES, n, 1) * size
    corner = uniform(random, 0, 1, n, 2) * (size - side)
    side = side * (torch.rand(n, 1, generator=random) < 0.5)
    colour = uniform(random, -1, 1, n, 3, 1, 1).to(images.device)
    at = torch.arange(size)
    rows, columns = (
        (at >= corner[:, axis, None]) & (at < corner[:, axis, None] + side) for axis in (1, 0)
    )
    hole = (rows[:, None, :, None] & columns[:, None, None, :]).to(images.device)
    return torch.where(hole, colour, images)


def uniform(random: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    """Uniform numbers on the CPU."""
    return torch.rand(*shape, generator=random) * (high - low) + low
