"""Pictures of people as they might also have been taken; keypoints follow."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

_TURN, _SCALE, _SHIFT = 0.4, (0.75, 1.3), 0.15  # radians, factor, halves of the crop
_HOLES = (0.1, 0.3)  # sides of what is covered, shares of the crop
_CORNERS = 0.25  # how far a perspective moves the corners of a crop, halves of it
_WAVES, _WAVE = 5, 0.06  # points a side of an elastic field, and their standard deviation
_ROUNDS = 12  # of following a keypoint through an elastic field; each brings it 4 times nearer


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
    n = len(images)
    angle, scale = uniform(random, -_TURN, _TURN, n), uniform(random, *_SCALE, n)
    shift = uniform(random, -_SHIFT, _SHIFT, n, 2)
    cos, sin = angle.cos() * scale, angle.sin() * scale
    turn = torch.stack([cos, -sin, sin, cos], dim=1).view(n, 2, 2)
    return warped(images, keypoints, torch.cat([turn, shift[..., None]], dim=2))


def random_affine(
    n: int,
    random: torch.Generator,
    turn: float,
    shear: float,
    scale: tuple[float, float],
    shift: float,
) -> Tensor:
    """Affine maps (n, 2, 3) of unit space: turned, sheared, scaled and shifted at random.

    Parameters
    ----------
    turn, shear : radians, either way
    scale : least and most factor
    shift : halves of the crop, either way
    """
    angle = uniform(random, -turn, turn, n)
    slant = uniform(random, -shear, shear, n, 2).tan()
    factor, offset = uniform(random, *scale, n), uniform(random, -shift, shift, n, 2, 1)
    cos, sin, one = angle.cos(), angle.sin(), torch.ones(n)
    rotation = torch.stack([cos, -sin, sin, cos], dim=1).view(n, 2, 2)
    slanted = torch.stack([one, slant[:, 0], slant[:, 1], one], dim=1).view(n, 2, 2)
    return torch.cat([rotation @ slanted * factor[:, None, None], offset], dim=2)


def warped(images: Tensor, keypoints: Tensor, affine: Tensor) -> tuple[Tensor, Tensor]:
    """Pictures (n, c, h, w) and keypoints (n, J, 2) under affine maps (n, 2, 3) of unit space."""
    affine = affine.to(images.device)
    grid = F.affine_grid(inverse(affine), list(images.shape), align_corners=True)
    out = F.grid_sample(images, grid, padding_mode="reflection", align_corners=True)
    return out, mapped(keypoints, affine)


def mapped(points: Tensor, affine: Tensor) -> Tensor:
    """Points (n, J, 2) under affine maps (n, 2, 3)."""
    return points @ affine[:, :, :2].transpose(1, 2) + affine[:, None, :, 2]


def inverse(affine: Tensor) -> Tensor:
    """The affine maps (n, 2, 3) that undo others."""
    back = torch.linalg.inv(affine[:, :, :2])
    return torch.cat([back, -(back @ affine[:, :, 2:])], dim=2)


def unwarped(maps: Tensor, affine: Tensor, size: int) -> Tensor:
    """Maps (n, J, h, w) of pictures that were `warped`, as of the plain pictures; differentiable.

    Cells from outside the warped picture are 0. Cells do not lie on the outer pixels' centres, so
    the maps of unit space are expressed between the picture's edges, where every stride agrees.

    Parameters
    ----------
    size : pixels of the pictures' side
    """
    affine = affine.to(maps)
    between = torch.cat([affine[:, :, :2], affine[:, :, 2:] * (size - 1) / size], dim=2)
    grid = F.affine_grid(between, list(maps.shape), align_corners=False)
    return F.grid_sample(maps, grid, align_corners=False)


def random_perspective(n: int, random: torch.Generator) -> Tensor:
    """Homographies (n, 3, 3) of unit space that move the crop's corners at random."""
    corners = torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])
    to = corners + uniform(random, -_CORNERS, _CORNERS, n, 4, 2)
    x, y = corners.expand(n, 4, 2).unbind(2)
    zero, one = torch.zeros(n, 4), torch.ones(n, 4)
    rows_x = torch.stack([x, y, one, zero, zero, zero, -to[..., 0] * x, -to[..., 0] * y], dim=2)
    rows_y = torch.stack([zero, zero, zero, x, y, one, -to[..., 1] * x, -to[..., 1] * y], dim=2)
    system = torch.cat([rows_x, rows_y], dim=1)
    numbers = torch.linalg.solve(system, torch.cat([to[..., 0], to[..., 1]], dim=1))
    return torch.cat([numbers, torch.ones(n, 1)], dim=1).view(n, 3, 3)


def projected(images: Tensor, keypoints: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Pictures and keypoints under homographies (n, 3, 3) of unit space."""
    matrix = matrix.to(images.device)
    grid = _through(_grid(images), torch.linalg.inv(matrix))
    return _sampled(images, grid), _through(keypoints, matrix)


def random_field(n: int, random: torch.Generator) -> Tensor:
    """Elastic displacements (n, 2, g, g) at points spread over the crop, in unit space."""
    return torch.randn(n, 2, _WAVES, _WAVES, generator=random).clamp(-2, 2) * _WAVE


def bent(images: Tensor, keypoints: Tensor, field: Tensor) -> tuple[Tensor, Tensor]:
    """Pictures and keypoints under an elastic field, between whose points it is linear.

    A pixel shows what lies at its place plus the displacement there; a keypoint goes to where that
    is the keypoint, which is found by following the field back.
    """
    field = field.to(images.device)
    grid = _grid(images)
    points = keypoints
    for _ in range(_ROUNDS):
        points = keypoints - _displacement(field, points)
    return _sampled(images, grid + _displacement(field, grid)), points


def _displacement(field: Tensor, points: Tensor) -> Tensor:
    at = torch.nan_to_num(points)[:, :, None]
    found = F.grid_sample(field, at, padding_mode="border", align_corners=True)
    return found[..., 0].transpose(1, 2)


def _grid(images: Tensor) -> Tensor:
    """Centres of the pixels (n, h * w, 2) in unit space."""
    n, _, h, w = images.shape
    same = torch.eye(2, 3, device=images.device).expand(n, 2, 3)
    return F.affine_grid(same, [n, 1, h, w], align_corners=True).flatten(1, 2)


def _sampled(images: Tensor, grid: Tensor) -> Tensor:
    n, _, h, w = images.shape
    at = grid.view(n, h, w, 2)
    return F.grid_sample(images, at, padding_mode="reflection", align_corners=True)


def _through(points: Tensor, matrix: Tensor) -> Tensor:
    out = points @ matrix[:, :, :2].transpose(1, 2) + matrix[:, None, :, 2]
    return out[..., :2] / out[..., 2:]


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
