"""SimpleBaseline (Xiao 2018): a ResNet, three deconvolutions, and one map a joint at stride 4."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from flexpose.models.backbones import IMAGENET_MEAN, IMAGENET_STD, ResNet

_CHANNELS = 256
_SPREAD = 0.001  # standard deviation of first weights


class SimpleBaseline(nn.Module):
    """Crops (n, 3, s, s) in [-1, 1] to maps (n, J, s / 4, s / 4).

    Parameters
    ----------
    kind : resnet18, resnet50 or resnet101
    weights : of the ResNet, see `ResNet`
    head_layers : see `map_head`
    """

    stride, channels = 4, _CHANNELS
    mean: Tensor
    std: Tensor

    def __init__(
        self, num_joints: int, kind: str, weights: Path | None = None, head_layers: int = 1
    ) -> None:
        super().__init__()
        self.encoder = ResNet(kind, weights)
        layers: list[nn.Module] = []
        for inputs in (self.encoder.channels, _CHANNELS, _CHANNELS):
            layers += [
                nn.ConvTranspose2d(inputs, _CHANNELS, 4, 2, 1, bias=False),
                nn.BatchNorm2d(_CHANNELS),
                nn.ReLU(inplace=True),
            ]
        self.up = nn.Sequential(*layers)
        self.out = map_head(_CHANNELS, num_joints, head_layers)
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def features(self, images: Tensor) -> Tensor:
        """What the head reads, (n, 256, s / 4, s / 4)."""
        x: Tensor = self.up(self.encoder(((images + 1) / 2 - self.mean) / self.std))
        return x

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.out(self.features(images))
        return maps


def map_head(channels: int, num_joints: int, layers: int = 1) -> nn.Module:
    """A 1x1 convolution to one map a joint; of two ``layers``, as RegDA's, a 3x3 goes before it."""
    last = nn.Conv2d(channels, num_joints, 1)
    if layers == 1:
        return last
    before = nn.Conv2d(channels, channels, 3, 1, 1)
    return nn.Sequential(before, nn.BatchNorm2d(channels), nn.ReLU(), last)


def slight(network: nn.Module, random: torch.Generator) -> None:
    """Draw the weights of convolutions anew from N(0, .001), as SimpleBaseline does."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, std=_SPREAD, generator=random)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
