"""Building blocks of the generators: equalised layers, modulation, filtered resampling."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.2
GAIN = math.sqrt(2)  # keeps the variance through a leaky ReLU


def leaky(x: Tensor) -> Tensor:
    """Leaky ReLU of slope .2 with the variance-preserving gain."""
    return F.leaky_relu(x, SLOPE) * GAIN


def pixel_norm(z: Tensor) -> Tensor:
    """Scale each row of (n, d) to unit mean square."""
    return z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + 1e-8)


class EqualLinear(nn.Module):
    """Linear layer whose weight is scaled at run time (equalised learning rate).

    StyleGAN section "mapping network" (NVlabs/stylegan@1e0d5c7:training/networks_stylegan.py).

    Parameters
    ----------
    bias_init : initial bias; 1 for scales, so that a layer starts by changing nothing
    lr_mult : slows the layer's learning by this factor (StyleGAN's mapping uses .01)
    """

    def __init__(
        self, in_dim: int, out_dim: int, bias_init: float = 0.0, lr_mult: float = 1.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_dim, in_dim) / lr_mult)
        self.bias = nn.Parameter(torch.full((out_dim,), bias_init / lr_mult))
        self.gain = lr_mult / math.sqrt(in_dim)
        self.lr_mult = lr_mult

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.gain, self.bias * self.lr_mult)


class EqualConv(nn.Module):
    """Convolution with equalised learning rate; ``down`` filters and halves the resolution."""

    def __init__(self, in_ch: int, out_ch: int, kernel: int, down: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_ch, in_ch, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_ch))
        self.gain = 1 / math.sqrt(in_ch * kernel * kernel)
        self.down = down

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * self.gain
        if self.down:
            x = blur(x)
            return F.conv2d(x, weight, self.bias, stride=2, padding=weight.shape[-1] // 2)
        return F.conv2d(x, weight, self.bias, padding=weight.shape[-1] // 2)


def blur(x: Tensor) -> Tensor:
    """[1, 2, 1] filter both ways (StyleGAN), same size, zero beyond the border.

    So small a kernel is quicker in one piece than as two passes.
    """
    channels = x.shape[1]
    row = x.new_tensor([0.25, 0.5, 0.25])
    kernel = torch.outer(row, row).expand(channels, 1, 3, 3)
    return F.conv2d(x, kernel, padding=1, groups=channels)


def minibatch_std(x: Tensor, group: int = 4) -> Tensor:
    """Append one feature: the mean standard deviation within groups of the batch.

    Works on (n, d) and (n, c, h, w); lets a discriminator see a lack of variety.
    """
    n = x.shape[0]
    size = group if n % group == 0 else n
    grouped = x.reshape(size, n // size, -1)
    deviation = (grouped.var(dim=0, unbiased=False) + 1e-8).sqrt().mean(dim=1)
    column = deviation.repeat(size).view(n, 1, *([1] * (x.ndim - 2)))
    return torch.cat([x, column.expand(n, 1, *x.shape[2:])], dim=1)
