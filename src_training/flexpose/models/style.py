"""Style transfer by AdaIN (Huang 2017): the content of one picture in the look of another.

An encoder that stays as it is, its deepest features given the mean and deviation of another
picture's, and a decoder that learns to paint such features.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flexpose.models.backbones import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    MOBILENET_CHANNELS,
    mobilenet_v2_stages,
    vgg_stages,
)

_OWN, _VGG = (16, 32, 64), (64, 128, 256, 512)  # channels of the encoders' maps
_EPSILON = 1e-5


class StyleNet(nn.Module):
    """Encoder, AdaIN and decoder.

    Parameters
    ----------
    kind : vgg19, mobilenet, or own, an encoder that learns by giving pictures back
    weights : of the encoder; see `vgg_stages` and `mobilenet_v2_stages`
    """

    mean: Tensor
    std: Tensor

    def __init__(self, kind: str, weights: Path | None = None) -> None:
        super().__init__()
        self.kind = kind
        channels = {"vgg19": _VGG, "mobilenet": MOBILENET_CHANNELS[:3], "own": _OWN}[kind]
        if kind == "vgg19":
            stages = vgg_stages(kind, weights)
        elif kind == "mobilenet":
            stages = mobilenet_v2_stages(weights)[:3]
        else:
            strides = (1, *[2] * (len(_OWN) - 1))
            stages = nn.ModuleList(
                nn.Sequential(_conv(a, b, stride), nn.ReLU())
                for (a, b), stride in zip(itertools.pairwise((3, *_OWN)), strides, strict=True)
            )
        # batch statistics of an encoder that knows pictures stay what they are
        self.encoder = stages if kind == "own" else stages.eval().requires_grad_(False)
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise(reversed(channels)):
            layers += [_conv(a, b), nn.ReLU(), nn.Upsample(scale_factor=2), _conv(b, b), nn.ReLU()]
        self.decoder = nn.Sequential(*layers, _conv(channels[0], 3))
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def encode(self, images: Tensor) -> list[Tensor]:
        """Features of pictures (n, 3, s, s) in [-1, 1], finest first."""
        x = images
        if self.kind == "mobilenet":  # its first map has half the side of what it sees
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        if self.kind != "own":
            x = ((x + 1) / 2 - self.mean) / self.std
        maps = []
        for stage in self.encoder:
            x = stage(x)
            maps.append(x)
        return maps

    def again(self, images: Tensor) -> Tensor:
        """Mean squared difference of pictures and what the decoder gives back of them."""
        return F.mse_loss(self.decoder(self.encode(images)[-1]), images)

    def losses(self, content: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
        """Of content and of style, for the decoder: deepest features, and moments of all."""
        with torch.no_grad():
            look = self.encode(style)
            wanted = adain(self.encode(content)[-1], look[-1])
        made = self.encode(self.decoder(wanted))
        parts = [
            F.mse_loss(a, b)
            for one, other in zip(made, look, strict=True)
            for a, b in zip(moments(one), moments(other), strict=True)
        ]
        return F.mse_loss(made[-1], wanted), torch.stack(parts).sum()

    @torch.no_grad()
    def restyled(self, content: Tensor, style: Tensor, share: float) -> Tensor:
        """Pictures with a share of the look of others, in [-1, 1]."""
        plain = self.encode(content)[-1]
        mixed = (1 - share) * plain + share * adain(plain, self.encode(style)[-1])
        painted: Tensor = self.decoder(mixed).clamp(-1, 1)
        return painted


def adain(content: Tensor, style: Tensor) -> Tensor:
    """Features (n, c, h, w) with each channel's mean and deviation from other ones."""
    mean, deviation = moments(content)
    other_mean, other_deviation = moments(style)
    return (content - mean) / deviation * other_deviation + other_mean


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation (n, c, 1, 1) of each channel."""
    variance, mean = torch.var_mean(features, dim=(2, 3), keepdim=True)
    return mean, (variance + _EPSILON).sqrt()


def _conv(in_ch: int, out_ch: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_ch, out_ch, 3, stride, 1, padding_mode="reflect")
