"""A small network from a person's crop to one probability map a joint.

In the manner of SimpleBaseline (Xiao 2018: strided convolutions, then upsampling, one map a joint),
with additive skips instead of deconvolutions, so that it learns on CPUs; SimpleBaseline itself is
another choice. Maps are probabilities, or with the loss ``mse`` Gaussians whose peaks are read.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flexpose.geometry import FILL
from flexpose.models.backbones import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    MOBILENET_CHANNELS,
    mobilenet_v2_stages,
)
from flexpose.models.maps import (
    Reading,
    gaussians_at,
    kl_loss,
    mse_loss,
    peak_cells,
    read_peaks,
    within,
)
from flexpose.models.simple_baseline import SimpleBaseline, map_head, slight

NEAR = 2 * 0.1 * FILL
"""A tenth of a person whose box fills its crop as usual, in unit space."""

_WINDOW = 2  # cells around the peak that say where it is exactly


class HeatmapNet(nn.Module):
    """Crops (n, 3, s, s) in [-1, 1] to scores (n, J, s / 2, s / 2).

    Parameters
    ----------
    width : channels at full resolution; 16 learns on CPUs
    encoder : maps of the crop at strides 2, 4, 8, ...; a plain one when not given
    head_layers : see `map_head`
    """

    stride = 2

    def __init__(
        self,
        num_joints: int,
        width: int = 16,
        encoder: Encoder | None = None,
        head_layers: int = 1,
    ) -> None:
        super().__init__()
        self.encoder = PlainEncoder(width) if encoder is None else encoder
        found = self.encoder.channels
        sizes = [2 * width, 4 * width, 8 * width, 8 * width][: len(found)]
        self.enter = nn.ModuleList(
            nn.Identity() if a == b else nn.Conv2d(a, b, 1)
            for a, b in zip(found, sizes, strict=True)
        )
        self.narrow = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in itertools.pairwise(sizes))
        self.up = nn.ModuleList(_block(size, size) for size in sizes[:-1])
        self.channels = sizes[0]
        self.out = map_head(sizes[0], num_joints, head_layers)

    def features(self, images: Tensor) -> Tensor:
        """What the head reads, (n, channels, s / 2, s / 2)."""
        found = self.encoder(images.contiguous(memory_format=torch.channels_last))
        maps = [enter(x) for enter, x in zip(self.enter, found, strict=True)]
        x = maps.pop()
        for narrow, up in zip(reversed(self.narrow), reversed(self.up), strict=True):
            # narrowed before it is enlarged, which is four times cheaper
            x = up(F.interpolate(narrow(x), scale_factor=2.0) + maps.pop())
        return x

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.out(self.features(images))
        return scores


class Encoder(nn.Module):
    """Crops to maps at strides 2, 4, 8, ..., with so many ``channels``."""

    channels: tuple[int, ...]


class PlainEncoder(Encoder):
    """Two convolutions a resolution, learned from nothing."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.channels = (2 * width, 4 * width, 8 * width, 8 * width)
        stem = nn.Sequential(_block(3, 2 * width, 5, 2), _block(2 * width, 2 * width))
        self.stages = nn.ModuleList([stem])
        for a, b in itertools.pairwise(self.channels):
            self.stages.append(nn.Sequential(_block(a, b, 3, 2), _block(b, b)))

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = [images]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps[1:]


class MobileNetEncoder(Encoder):
    """MobileNetV2 as ImageNet taught it, on the crop at twice its size.

    Parameters
    ----------
    weights : torchvision's state dict, see `mobilenet_v2_stages`
    load : False where a checkpoint brings the weights
    """

    mean: Tensor
    std: Tensor

    def __init__(self, weights: Path | None = None, *, load: bool = True) -> None:
        super().__init__()
        self.channels = MOBILENET_CHANNELS[1:]
        self.stages = mobilenet_v2_stages(weights, load=load)
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        x = F.interpolate(images, scale_factor=2.0, mode="bilinear", align_corners=False)
        x = ((x + 1) / 2 - self.mean) / self.std
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps[1:]


def read_maps(probabilities: Tensor, radius: float, stride: int = HeatmapNet.stride) -> Reading:
    """Where the peaks of maps (n, J, h, w) are, to a fraction of a cell.

    Parameters
    ----------
    probabilities : each map sums to 1
    radius : unit space; ``mass`` is the probability of lying within it
    stride : crop pixels a cell
    """
    h, w = probabilities.shape[2:]
    column, row = peak_cells(probabilities).unbind(2)
    grid_y, grid_x = (_cells(count, stride, probabilities) for count in (h, w))
    near_y = (torch.arange(h, device=row.device) - row[..., None]).abs() <= _WINDOW
    near_x = (torch.arange(w, device=row.device) - column[..., None]).abs() <= _WINDOW
    window = probabilities * near_y[..., None] * near_x[:, :, None]
    window = window / window.sum(dim=(2, 3), keepdim=True).clamp_min(1e-12)
    x, y = (window.sum(dim=2) * grid_x).sum(dim=2), (window.sum(dim=3) * grid_y).sum(dim=2)
    distance = torch.hypot(
        grid_x[None, None, None] - x[..., None, None],
        grid_y[None, None, :, None] - y[..., None, None],
    )
    mass = (probabilities * (distance <= radius)).sum(dim=(2, 3))
    return Reading(torch.stack([x, y], dim=2), mass)


@torch.no_grad()
def read_both_ways(
    network: nn.Module, images: Tensor, flip_index: Sequence[int], peaked: bool = False
) -> Reading:
    """Read images (n, 3, s, s) and their mirrored copies: the mean of both maps.

    ``peaked`` says that the network learned Gaussians, with the loss ``mse``.
    """
    both = network(torch.cat([images, images.flip(3)]))
    stride = images.shape[3] // both.shape[3]
    maps = both if peaked else both.flatten(2).softmax(dim=2).view_as(both)
    plain, turned = maps.chunk(2)
    mean = (plain + turned.flip(3)[:, list(flip_index)]) / 2
    return read_peaks(mean, stride) if peaked else read_maps(mean, NEAR, stride)


def map_loss(kind: str, maps: Tensor, keypoints: Tensor, weights: Tensor, stride: int) -> Tensor:
    """The loss of a config: ``entropy``, ``mse`` or ``kl``; see `heatmap_loss` for the rest.

    The last two are means over all joints, where those that do not count are 0 (Xiao 2018).
    """
    if kind == "entropy":
        return heatmap_loss(maps, keypoints, weights, stride)
    target = gaussians_at(keypoints, (maps.shape[3], maps.shape[2]), stride)
    return (mse_loss if kind == "mse" else kl_loss)(maps, target, weights * within(keypoints))


def heatmap_loss(
    scores: Tensor, keypoints: Tensor, weights: Tensor, stride: int = HeatmapNet.stride
) -> Tensor:
    """Cross-entropy to a Gaussian of one cell about each joint, plus the L1 distance of the means.

    Parameters
    ----------
    scores : (n, J, h, w)
    keypoints : (n, J, 2), unit space; NaN unknown
    weights : (n, J); joints that are unknown or outside the crop do not count
    stride : crop pixels a cell
    """
    h, w = scores.shape[2:]
    known = within(keypoints)
    points = torch.where(known[..., None], keypoints, torch.zeros_like(keypoints))
    grid_x, grid_y = _cells(w, stride, scores), _cells(h, stride, scores)
    across, down = (
        torch.exp(-0.5 * ((grid - points[..., axis, None]) / (2 / cells)).square())
        for axis, (grid, cells) in enumerate(((grid_x, w), (grid_y, h)))
    )
    target = down[..., None] * across[:, :, None]
    target = target / target.sum(dim=(2, 3), keepdim=True)
    logs = scores.flatten(2).log_softmax(dim=2).view_as(scores)
    entropy = -(target * logs).sum(dim=(2, 3))
    chances = logs.exp()
    means = torch.stack(
        [(chances.sum(dim=2) * grid_x).sum(dim=2), (chances.sum(dim=3) * grid_y).sum(dim=2)], dim=2
    )
    total = entropy + (means - points).abs().sum(dim=2) / 2
    counted = weights * known
    return (total * counted).sum() / counted.sum().clamp_min(1e-6)


PoseNet = HeatmapNet | SimpleBaseline


def new_network(
    num_joints: int,
    width: int,
    backbone: str,
    weights: Path | None = None,
    *,
    load: bool = True,
    head_layers: int = 1,
) -> PoseNet:
    """The network of a config: ``none`` (a plain encoder), ``mobilenet``, or a SimpleBaseline.

    ``load`` is False where a checkpoint brings the weights.
    """
    if backbone.startswith("resnet"):
        return SimpleBaseline(num_joints, backbone, weights if load else None, head_layers)
    encoder = MobileNetEncoder(weights, load=load) if backbone == "mobilenet" else None
    return HeatmapNet(num_joints, width, encoder, head_layers)


def begin(network: PoseNet, random: torch.Generator, learned: bool) -> None:
    """Draw the first weights, but for an encoder that has ``learned`` already."""
    for name, part in network.named_children():
        if not (learned and name == "encoder"):
            initialised(part, random)
    if isinstance(network, SimpleBaseline):
        slight(network.up, random)
        slight(network.out, random)


def initialised(network: nn.Module, random: torch.Generator) -> None:
    """Draw the weights anew, as He 2015 for ReLUs."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=random)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _cells(count: int, stride: int, like: Tensor) -> Tensor:
    """Centres of cells in unit space: -1 and 1 are those of the crop's outer pixels."""
    pixels = count * stride
    middle = torch.arange(count, device=like.device, dtype=like.dtype) * stride + (stride - 1) / 2
    return middle / (pixels - 1) * 2 - 1


def _block(in_ch: int, out_ch: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(in_ch, out_ch, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_ch), nn.ReLU(inplace=True))
