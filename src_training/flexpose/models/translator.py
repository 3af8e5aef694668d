"""CycleGAN's generators between skeleton images and pictures, and a trained one for use.

Zhu 2017, section 7.1: c7s1, two halvings, residual blocks, two doublings, c7s1; instance norm and
reflected borders throughout. Doublings interpolate before a convolution: transposed ones leave
checkerboards, and repeated pixels a lattice of four pixels for long.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from flexpose.checkpoint import load_checkpoint
from flexpose.models.prior import checkpoint_path, frozen, load_weights
from flexpose.rendering.soft import Renderer
from flexpose.rendering.style import DrawingStyle
from flexpose.skeleton import Skeleton


class ResnetGenerator(nn.Module):
    """Images of one kind to images of another, of the same size.

    Parameters
    ----------
    in_ch, out_ch : channels of both kinds
    width : channels at full resolution
    blocks : residual blocks at a quarter of it
    """

    def __init__(self, in_ch: int, out_ch: int, width: int = 64, blocks: int = 6) -> None:
        super().__init__()
        layers = _layer(in_ch, width, kernel=7)
        for c in (width, 2 * width):
            layers += _layer(c, 2 * c, stride=2)
        layers += [_Residual(4 * width) for _ in range(blocks)]
        for c in (2 * width, width):
            layers += [nn.Upsample(scale_factor=2, mode="bilinear"), *_layer(2 * c, c)]
        layers += [_conv(width, out_ch, kernel=7), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """(n, in_ch, h, w) to (n, out_ch, h, w), both in [-1, 1]; h and w divide by 4."""
        out: Tensor = self.layers(images)
        return out


class Painter(nn.Module):
    """Skeleton images, and what pictures of them shall look like, to pictures.

    Looks are a frame of the person, and the place without. The network says how much of the place
    each pixel keeps, and paints the rest.

    Parameters
    ----------
    channels : of skeleton images
    width, blocks : of `ResnetGenerator`
    looks : whether there are any
    """

    def __init__(self, channels: int, width: int, blocks: int, *, looks: bool) -> None:
        super().__init__()
        self.looks = looks
        ours = ResnetGenerator(channels + 6, 4, width, blocks)
        self.network = ours if looks else ResnetGenerator(channels, 3, width, blocks)

    def forward(self, skeletons: Tensor, looks: Tensor) -> Tensor:
        """Pictures (n, 3, h, w) of images (n, channels, h, w); ``looks`` (n, 6, h, w) or empty."""
        if not self.looks:
            pictures: Tensor = self.network(skeletons)
            return pictures
        out = self.network(torch.cat([skeletons, looks], dim=1))
        return torch.lerp(out[:, :3], looks[:, 3:], (1 - out[:, 3:]) / 2)


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_layer(channels, channels), _conv(channels, channels), _norm(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.layers(x)
        return out


@dataclass(frozen=True)
class Translator:
    """What is left of a training for use: poses to pictures.

    Attributes
    ----------
    network : skeleton images to pictures
    render : draws poses as it knows them
    places : float (p, 3), where people stood in some frames, see `flexpose.training.clips`; (0, 3)
        when that is not known
    looks : float (p, 6, h, w) in [-1, 1], the crops of these frames, and without the people in
        them; (0, 6, h, w) when none are wanted
    """

    network: Painter
    render: Renderer
    places: Tensor
    looks: Tensor

    @property
    def skeleton(self) -> Skeleton:
        """Whose poses are drawn."""
        return self.render.skeleton

    @property
    def size(self) -> int:
        """Pictures in pixels."""
        return self.render.style.size

    def any_frames(self, count: int, random: torch.Generator) -> Tensor:
        """Random rows (count,) of the frames whose places and looks are known."""
        known = max(len(self.places), len(self.looks), 1)
        return torch.randint(known, (count,), generator=random)

    @torch.no_grad()
    def __call__(self, poses: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Skeleton images (n, c, h, w) of placed poses, and pictures (n, 3, h, w) like frames."""
        drawn = self.render(poses)
        looks = self.looks[frames] if len(self.looks) else self.looks
        return drawn, self.network(drawn, looks.to(drawn))


def load_translator(name: str | Path, device: torch.device | str = "cpu") -> Translator:
    """Load a trained translator: a run's or checkpoint's folder.

    Raises
    ------
    UnknownNameError, CheckpointError : it is not there, or not usable.
    """
    found = load_checkpoint(checkpoint_path(name), kind="translator")
    skeleton = Skeleton.from_dict(found.meta.skeleton, found.path)
    style, config = DrawingStyle.from_dict(found.meta.style), found.meta.config
    network = picture_network(style, int(config["width"]), config["blocks"], looks=config["looks"])
    load_weights(network, found.tensors, "picture_ema.", found.path)
    frozen(network, device)
    places, looks = found.tensors["places"], found.tensors["looks"].float() / 127.5 - 1
    return Translator(network, Renderer(skeleton, style, device), places, looks)


def inside(poses: Tensor) -> Tensor:
    """Unit poses (n, J, 2) moved, and where they are too large scaled, into the canvas.

    A joint beyond it would be drawn nowhere, and could not be written as a keypoint.
    """
    low, high = poses.amin(dim=1, keepdim=True), poses.amax(dim=1, keepdim=True)
    middle, scale = (low + high) / 2, (2 / (high - low).amax(dim=2, keepdim=True)).clamp(max=1)
    room = (1 - (high - low) / 2 * scale).clamp_min(0)
    return (poses - middle) * scale + middle.clamp(-room, room)


def picture_network(style: DrawingStyle, width: int, blocks: int | None, *, looks: bool) -> Painter:
    """Skeleton images of a style to pictures of their size."""
    return Painter(style.channels, width, num_blocks(blocks, style.size), looks=looks)


def skeleton_network(style: DrawingStyle, width: int, blocks: int | None) -> ResnetGenerator:
    """Pictures to skeleton images of a style."""
    return ResnetGenerator(3, style.channels, width, num_blocks(blocks, style.size))


def num_blocks(given: int | None, size: int) -> int:
    """Residual blocks for pictures of ``size`` pixels, unless they are given."""
    return given or (6 if size < 256 else 9)


def _layer(in_ch: int, out_ch: int, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    return [_conv(in_ch, out_ch, kernel, stride), _norm(out_ch), nn.ReLU()]


def _conv(in_ch: int, out_ch: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_ch, out_ch, kernel, stride, kernel // 2, padding_mode="reflect")


def _norm(channels: int) -> nn.Module:
    return nn.InstanceNorm2d(channels)
