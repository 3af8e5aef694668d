"""KeypointGAN's networks: images to skeleton images and back; their judge is in `patches`.

Those of tomasjakab/keypointgan@541b769:models/networks.py, which reads keypoints off any image
whose skeleton image a reader understands (Jakab 2020, section 3); but Phi's decoder is narrower
where it joins the encoder's maps: half of the channels go in the 1x1 convolution already.
``width`` 32 are the published sizes, smaller ones are for CPUs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flexpose.models.regressor import PoseRegressor

Norm = Callable[[int], nn.Module]
_BATCH: Norm = nn.BatchNorm2d
_INSTANCE: Norm = nn.InstanceNorm2d  # without learned scale and shift, as published
_HALVINGS = 3  # from the canvas to the coarsest maps


class Encoder(nn.Module):
    """Full resolution, then three halvings with twice the channels each.

    Parameters
    ----------
    in_ch, out_ch : channels of the input, and of the last 1x1 convolution
    width : channels at full resolution
    """

    def __init__(self, in_ch: int, out_ch: int, width: int = 32, norm: Norm = _BATCH) -> None:
        super().__init__()
        layers = [_block(in_ch, width, norm, kernel=7), _block(width, width, norm)]
        self.stages = nn.ModuleList([nn.Sequential(*layers)])
        for level in range(_HALVINGS):
            c = width << level
            self.stages.append(_pair(c, 2 * c, norm, stride=2))
        self.out = nn.Conv2d(width << _HALVINGS, out_ch, 1)

    def maps(self, images: Tensor) -> list[Tensor]:
        """Feature maps from the full resolution to an eighth; the last one through ``out``."""
        x, maps = images.contiguous(memory_format=torch.channels_last), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return [*maps[:-1], self.out(x)]

    def forward(self, images: Tensor) -> Tensor:
        """(n, c, h, w) to (n, out_ch, h / 8, w / 8)."""
        return self.maps(images)[-1]


class SkeletonPainter(nn.Module):
    """Phi: what skeleton image does a photograph show? A U-Net without output activation.

    Parameters
    ----------
    channels : of the skeleton images: 1, or 3 where bones have colours, which tell left and right
    """

    def __init__(self, channels: int = 1, width: int = 32) -> None:
        super().__init__()
        self.encoder = Encoder(3, width << _HALVINGS, width)
        self.joins, self.levels = nn.ModuleList(), nn.ModuleList()
        c = width << _HALVINGS
        self.first = _pair(c, c)
        for level in reversed(range(_HALVINGS)):
            skip = width << level
            self.joins.append(nn.Conv2d(c + skip, skip, 1))
            self.levels.append(_pair(skip, skip) if level else _block(skip, skip, _BATCH))
            c = skip
        self.out = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Photographs (n, 3, h, w) in [-1, 1] to skeleton images (n, channels, h, w) near it."""
        *skips, x = self.encoder.maps(images)
        x = self.first(x)
        for join, level, skip in zip(self.joins, self.levels, reversed(skips), strict=True):
            x = level(join(torch.cat([_double(x), skip], dim=1)))
        return self.out(x)


class Reconstructor(nn.Module):
    """Psi: the photograph again, from its skeleton image and another frame's appearance."""

    def __init__(self, channels: int = 1, width: int = 32) -> None:
        super().__init__()
        c = width << _HALVINGS
        self.pose = Encoder(channels, c, width)
        self.appearance = Encoder(3, c, width)
        self.levels = nn.ModuleList([_pair(2 * c, c)])
        for _ in range(_HALVINGS - 1):
            c //= 2
            self.levels.append(_pair(2 * c, c))
        self.last = _block(c, c // 2, _BATCH)
        self.out = nn.Conv2d(c // 2, 3, 3, padding=1)

    def forward(self, skeletons: Tensor, others: Tensor) -> Tensor:
        """(n, channels, h, w) and photographs (n, 3, h, w) of the same clip to (n, 3, h, w)."""
        x = torch.cat([self.pose(skeletons), self.appearance(others)], dim=1)
        for level in self.levels:
            x = _double(level(x))
        return self.out(self.last(x))


class SkeletonReader(nn.Module):
    """Beta of KeypointGAN: soft-argmax of marginals on a map of an eighth of the canvas."""

    def __init__(self, num_joints: int, channels: int = 1, width: int = 32) -> None:
        super().__init__()
        self.encoder = Encoder(channels, num_joints, width, _INSTANCE)

    def forward(self, skeletons: Tensor) -> Tensor:
        """Skeleton images (n, channels, h, w) to keypoints (n, J, 2) in unit space."""
        return marginal_argmax(self.encoder(skeletons))


class TrainedReader(nn.Module):
    """Beta of ``train-regressor`` in the place of KeypointGAN's: it can read from the first step.

    Parameters
    ----------
    width : of the regressor
    """

    def __init__(self, num_joints: int, channels: int, width: int) -> None:
        super().__init__()
        self.regressor = PoseRegressor(num_joints, channels, width)

    def forward(self, skeletons: Tensor) -> Tensor:
        """Skeleton images (n, channels, h, w) to keypoints (n, J, 2) in unit space."""
        keypoints: Tensor = self.regressor(skeletons)[0]
        return keypoints


def marginal_argmax(maps: Tensor) -> Tensor:
    """Positions (n, J, 2) from maps (n, J, h, w): the mean of a softmax over each axis.

    The other axis is averaged first; no temperature (models/utils.py, get_coord).
    """
    h, w = maps.shape[2:]
    x, y = (torch.linspace(-1, 1, cells, device=maps.device, dtype=maps.dtype) for cells in (w, h))
    px = (maps.mean(dim=2).softmax(dim=2) * x).sum(dim=2)
    py = (maps.mean(dim=3).softmax(dim=2) * y).sum(dim=2)
    return torch.stack([px, py], dim=2)


def _pair(in_ch: int, out_ch: int, norm: Norm = _BATCH, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(_block(in_ch, out_ch, norm, stride=stride), _block(out_ch, out_ch, norm))


def _block(in_ch: int, out_ch: int, norm: Norm, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    bias = norm is not _BATCH  # batch norm has its own
    conv = nn.Conv2d(in_ch, out_ch, kernel, stride, kernel // 2, bias=bias)
    return nn.Sequential(conv, norm(out_ch), nn.ReLU())


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
