"""Judges of patches, in the manner of pix2pix; for KeypointGAN and the translator.

Layer for layer those of tomasjakab/keypointgan@541b769:models/networks.py, which at one scale are
CycleGAN's too (Zhu 2017, "70x70 PatchGAN").
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PatchDiscriminator(nn.Module):
    """Judges patches of images at one, a half and a quarter of the resolution.

    Parameters
    ----------
    channels : of the images
    width : channels of the first layer, at half the resolution
    scales : KeypointGAN has 3 for 128 px, CycleGAN one; the smallest image must keep 32 px
    """

    def __init__(self, channels: int = 1, width: int = 64, scales: int = 3) -> None:
        super().__init__()
        self.scales = nn.ModuleList(_patches(channels, width) for _ in range(scales))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Scores of patches of (n, channels, h, w), one map a scale; 1 means real (LSGAN)."""
        scores, x = [], images
        for number, scale in enumerate(self.scales):
            if number:
                x = F.interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=False)
            scores.append(scale(x.contiguous(memory_format=torch.channels_last)))
        return scores


def lsgan(scores: list[Tensor], wanted: float) -> Tensor:
    """Mean squared distance of scores to what they ought to be, averaged over scales."""
    return torch.stack([(s - wanted).square().mean() for s in scores]).mean()


def initialised(network: nn.Module, random: torch.Generator) -> nn.Module:
    """The network with convolutions drawn from N(0, .02) and no biases, as published."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, 0.0, 0.02, generator=random)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network


def _patches(channels: int, width: int) -> nn.Sequential:
    conv = partial(nn.Conv2d, kernel_size=4, padding=1)
    layers: list[nn.Module] = [conv(channels, width, stride=2), nn.LeakyReLU(0.2)]
    for level, stride in enumerate((2, 2, 1)):
        c = width << level
        layers += [conv(c, 2 * c, stride=stride), nn.InstanceNorm2d(2 * c), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, conv(8 * width, 1, stride=1))
