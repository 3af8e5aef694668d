"""What every pose generator offers: style codes by layer, and what phi makes of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from flexpose.models.layers import EqualLinear, leaky, pixel_norm


@dataclass(frozen=True)
class StyleLayer:
    """One style layer.

    Attributes
    ----------
    index : from 1, coarsest first, toRGB not counted (the paper's l)
    name : where it acts
    resolution : feature map size in pixels; 1 for keypoint generators
    style_dim : length of its style code
    """

    index: int
    name: str
    resolution: int
    style_dim: int


@dataclass(frozen=True)
class PoseOutput:
    """What a generator made: skeleton images, keypoints, or both.

    Attributes
    ----------
    images : float (n, c, h, w) in [-1, 1], or None
    keypoints : float (n, J, 2) in unit space, or None
    """

    images: Tensor | None = None
    keypoints: Tensor | None = None

    @property
    def seen(self) -> Tensor:
        """What a discriminator looks at: images where there are any, else keypoints."""
        made = self.images if self.images is not None else self.keypoints
        assert made is not None
        return made


@runtime_checkable
class PoseGenerator(Protocol):
    """g = phi . A . f of the paper: mapping, style affine, synthesis.

    ``codes(w)`` gives one (n, style_dim) code for each entry of ``layers``, then whatever further
    codes ``synthesize`` needs (toRGB), which adaptation leaves alone.
    """

    z_dim: int
    layers: tuple[StyleLayer, ...]

    @property
    def w_mean(self) -> Tensor: ...
    def mapping(self, z: Tensor) -> Tensor: ...
    def codes(self, w: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]: ...
    def synthesize(
        self, codes: Sequence[Tensor], noise: torch.Generator | None = None
    ) -> PoseOutput: ...


class MappingNetwork(nn.Module):
    """f: z -> w, leaky-ReLU layers on a normalised z, with a running mean of w for truncation."""

    w_mean: Tensor

    def __init__(self, z_dim: int, w_dim: int, depth: int, lr_mult: float) -> None:
        super().__init__()
        dims = [z_dim] + [w_dim] * depth
        self.fc = nn.ModuleList(
            EqualLinear(a, b, lr_mult=lr_mult) for a, b in itertools.pairwise(dims)
        )
        self.register_buffer("w_mean", torch.zeros(w_dim))

    def forward(self, z: Tensor) -> Tensor:
        w = pixel_norm(z)
        for layer in self.fc:
            w = leaky(layer(w))
        return w

    @torch.no_grad()
    def track(self, w: Tensor, beta: float = 0.995) -> None:
        """Move the running mean towards this batch (StyleGAN's w_avg, beta .995)."""
        self.w_mean.lerp_(w.detach().mean(dim=0).to(self.w_mean.dtype), 1 - beta)


def styles(generator: PoseGenerator, z: Tensor, truncation: float = 1.0) -> tuple[Tensor, ...]:
    """A(f(z)), with w pulled towards its mean when ``truncation`` is below 1."""
    w = generator.mapping(z)
    if truncation != 1.0:
        w = generator.w_mean + truncation * (w - generator.w_mean)
    return generator.codes(w)


def per_layer(w: Tensor | Sequence[Tensor], count: int) -> list[Tensor]:
    """One w for each style: the same for all, or as given (style mixing)."""
    return [w] * count if isinstance(w, Tensor) else list(w)
