"""Gamma: what Eq. 5 compares instead of pixels.

Thin distant limbs share no pixels, so every extractor ends in blurred, low-resolution copies of
the image itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from flexpose.errors import ConfigError
from flexpose.models.backbones import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    mobilenet_v2_stages,
    vgg_stages,
)
from flexpose.models.regressor import PoseRegressor


class FeatureExtractor(Protocol):
    """Images (n, 3, h, w) in [-1, 1] to feature maps, finest first; differentiable."""

    def __call__(self, images: Tensor) -> list[Tensor]: ...


class PixelFeatures:
    """The images themselves and a blur pyramid: knows nothing, needs nothing."""

    def __call__(self, images: Tensor) -> list[Tensor]:
        return [images, *blur_pyramid(images)]


class BetaFeatures:
    """The regressor's own feature maps and a blur pyramid: knows skeletons, needs no download."""

    def __init__(self, regressor: PoseRegressor) -> None:
        self.regressor = regressor

    def __call__(self, images: Tensor) -> list[Tensor]:
        return self.regressor.features(images) + blur_pyramid(images)


class BackboneFeatures:
    """Stages of an ImageNet network, on its own normalisation, and a blur pyramid.

    Parameters
    ----------
    stages : the network cut at the layers to compare
    min_side : smaller images are enlarged to it
    """

    def __init__(self, stages: torch.nn.ModuleList, min_side: int) -> None:
        self.stages = stages.eval().requires_grad_(False)
        self.min_side = min_side
        self.mean = torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1)
        self.std = torch.tensor(IMAGENET_STD).view(1, 3, 1, 1)

    def __call__(self, images: Tensor) -> list[Tensor]:
        x = images
        if x.shape[-1] < self.min_side:
            x = F.interpolate(x, (self.min_side,) * 2, mode="bilinear", align_corners=False)
        x = ((x.expand(-1, 3, -1, -1) + 1) / 2 - self.mean.to(x)) / self.std.to(x)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps + blur_pyramid(images)


def blur_pyramid(images: Tensor, levels: int = 3) -> list[Tensor]:
    """Copies of the images at a half, a quarter, ... of the resolution."""
    out = []
    for _ in range(levels):
        images = F.avg_pool2d(images, 2)
        out.append(images)
    return out


def feature_extractor(
    kind: str, regressor: PoseRegressor | None, weights: Path | None, device: torch.device
) -> FeatureExtractor:
    """The extractor of a config.

    Raises
    ------
    ConfigError : it needs a regressor or weights that are not given.
    """
    if kind == "pixels":
        return PixelFeatures()
    if kind == "beta":
        if regressor is None:
            raise ConfigError("The features 'beta' need a regressor, and none is given.")
        return BetaFeatures(regressor)
    if kind == "mobilenet":
        return BackboneFeatures(mobilenet_v2_stages(weights).to(device), min_side=64)
    if kind in ("vgg16", "vgg19"):
        return BackboneFeatures(vgg_stages(kind, weights).to(device), min_side=128)
    raise ConfigError(f"No features are known as {kind!r}.")


class NormalisedDistance:
    """Sum over feature maps of their mean squared difference, each relative to its running mean.

    Without it the widest layer would outweigh all others (KeypointGAN's mu = .99). The sum stays
    near 1 however near the maps come; ``latest`` are the differences themselves.
    """

    def __init__(self) -> None:
        self.means: list[Tensor] | None = None
        self.latest: list[Tensor] = []

    def __call__(self, made: list[Tensor], wanted: list[Tensor]) -> Tensor:
        parts = [F.mse_loss(a, b) for a, b in zip(made, wanted, strict=True)]
        now = [part.detach().clamp_min(1e-8) for part in parts]
        if self.means is None:
            self.means = now
        self.means = [0.99 * old + 0.01 * new for old, new in zip(self.means, now, strict=True)]
        self.latest = now
        return torch.stack([p / m for p, m in zip(parts, self.means, strict=True)]).mean()
