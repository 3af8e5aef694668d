"""StyleGAN over skeleton images, in its two forms, and its discriminator. Plain PyTorch.

``modulation="adain"`` is StyleGAN (Karras 2019), the paper's: a style holds a scale and a shift
for each channel. ``modulation="demod"`` is StyleGAN2: a style scales a convolution's inputs.
Layers count from 1, coarsest first, toRGB not counted: 3 is the first 8x8 style
under ``adain`` and the second 8x8 convolution under ``demod``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from flexpose.models.generator import MappingNetwork, PoseOutput, StyleLayer, per_layer
from flexpose.models.keypoint_generator import KeypointGenerator, TaughtMapping
from flexpose.models.layers import SLOPE, EqualConv, EqualLinear, blur, leaky, minibatch_std

Modulation = Literal["adain", "demod"]


def channels_at(resolution: int, base: int, most: int) -> int:
    """Feature channels at a resolution: ``base / resolution``, at most ``most``."""
    return min(base // resolution, most)


class Noise(nn.Module):
    """Adds noise with a learned strength: one a channel (StyleGAN) or one in all (StyleGAN2)."""

    fixed: Tensor

    def __init__(self, channels: int, resolution: int) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.zeros(channels))
        constant = torch.randn(
            (1, 1, resolution, resolution), generator=torch.Generator().manual_seed(resolution)
        )
        self.register_buffer("fixed", constant)

    def forward(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """Fresh noise where a generator is given, the fixed pattern where it is None."""
        noise = self.fixed
        if generator is not None:
            n, _, h, w = x.shape
            noise = torch.randn((n, 1, h, w), generator=generator, device=generator.device)
        scaled = self.strength.view(1, -1, 1, 1) * noise.to(x)
        # adding maps in another memory order takes several times as long
        return x + scaled.contiguous(memory_format=torch.channels_last)


class AdaINLayer(nn.Module):
    """StyleGAN layer: convolve, bias, noise, leaky ReLU, then restyle the normalised features.

    NVlabs/stylegan@1e0d5c7:training/networks_stylegan.py (layer_epilogue) with two changes: the
    affine's "+1" lives in the bias of A here, so that tau sees it, and the bias goes before an up
    layer's blur, as in rosinality/style-based-gan-pytorch@07fa60b:model.py; only the outermost
    pixels see the difference.
    """

    def __init__(self, in_ch: int, out_ch: int, resolution: int, first: bool, up: bool) -> None:
        super().__init__()
        self.weight = None if first else nn.Parameter(torch.randn(out_ch, in_ch, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_ch))
        self.noise = Noise(out_ch, resolution)
        self.gain = 1 / math.sqrt(in_ch * 9)
        self.up = up
        self.style_dim = 2 * out_ch

    def forward(self, x: Tensor, style: Tensor, noise: torch.Generator | None) -> Tensor:
        if self.weight is None:
            x = x + self.bias.view(1, -1, 1, 1)
        elif self.up:
            x = up_conv(x, self.weight * self.gain, self.bias)
        else:
            x = F.conv2d(x, self.weight * self.gain, self.bias, padding=1)
        x = F.leaky_relu(self.noise(x, noise), SLOPE, inplace=True)
        scale, shift = (s[..., None, None] for s in style.chunk(2, dim=1))
        return restyle(x, scale, shift)

    def make_affine(self, w_dim: int) -> EqualLinear:
        affine = EqualLinear(w_dim, self.style_dim, bias_init=1.0)
        with torch.no_grad():
            affine.bias[self.style_dim // 2 :] = 0  # shifts start at nothing
        return affine


def restyle(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """AdaIN: each feature map of x (n, c, h, w) with mean ``shift`` and deviation ``scale``.

    Both are (n, c, 1, 1).
    """
    out: Tensor = _Restyle.apply(x, scale, shift)  # type: ignore[no-untyped-call]
    return out


class _Restyle(torch.autograd.Function):
    """Forward and backward as one product and one sum over the maps each, and two means.

    Memory traffic decides here: composed of torch's own operations, a training step of the
    generator passes over its maps more than twice as often.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        mean = x.mean(dim=(2, 3), keepdim=True)
        square = x.square().mean(dim=(2, 3), keepdim=True)
        inverse = torch.rsqrt((square - mean.square()).clamp_min(0) + 1e-8)
        ctx.save_for_backward(x, mean, inverse, scale)
        factor = scale * inverse
        return torch.addcmul(shift - mean * factor, x, factor)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, mean, inverse, scale = ctx.saved_tensors
        count = x.shape[2] * x.shape[3]
        grad_shift = grad.sum(dim=(2, 3), keepdim=True)
        # sum of grad times the normalised x
        grad_scale = ((grad * x).sum(dim=(2, 3), keepdim=True) - mean * grad_shift) * inverse
        factor = scale * inverse
        along = -factor * inverse * grad_scale / count
        constant = -factor * grad_shift / count - along * mean
        grad_x = torch.addcmul(constant, x, along).addcmul_(grad, factor)
        return grad_x, grad_scale, grad_shift


class DemodLayer(nn.Module):
    """StyleGAN2 layer: modulated and demodulated convolution, noise, bias, leaky ReLU.

    Scales inputs before and outputs after one shared convolution, which equals modulating the
    weights of each sample (NVlabs/stylegan2-ada-pytorch@d72cc7d:training/networks.py) and is
    much faster without grouped convolutions.
    """

    def __init__(self, in_ch: int, out_ch: int, resolution: int, first: bool, up: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_ch, in_ch, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_ch))
        self.noise = Noise(1, resolution)
        self.gain = 1 / math.sqrt(in_ch * 9)
        self.up = up
        self.style_dim = in_ch

    def forward(self, x: Tensor, style: Tensor, noise: torch.Generator | None) -> Tensor:
        weight = self.weight * self.gain
        demod = torch.rsqrt(F.linear(style.square(), weight.square().sum(dim=(2, 3))) + 1e-8)
        x = x * style[..., None, None].to(x.dtype)
        x = up_conv_filtered(x, weight) if self.up else F.conv2d(x, weight, padding=1)
        x = self.noise(x * demod[..., None, None].to(x.dtype), noise)
        return leaky(x + self.bias.view(1, -1, 1, 1))

    def make_affine(self, w_dim: int) -> EqualLinear:
        return EqualLinear(w_dim, self.style_dim, bias_init=1.0)


def up_conv(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Nearest doubling, 3x3 convolution, bias, [1, 2, 1] blur (StyleGAN), at low-resolution cost.

    Doubling then convolving equals one transposed convolution with the kernel summed over its
    four shifts; that needs 16 products a low-resolution pixel where the plain order needs 36.
    """
    padded = F.pad(weight, (1, 1, 1, 1))
    wide = padded[..., 1:, 1:] + padded[..., :-1, 1:] + padded[..., 1:, :-1] + padded[..., :-1, :-1]
    flipped = wide.flip(2, 3).transpose(0, 1)
    return blur(F.conv_transpose2d(x, flipped, bias, stride=2, padding=1))


def up_conv_filtered(x: Tensor, weight: Tensor) -> Tensor:
    """StyleGAN2's up-convolution: transposed 3x3 convolution, then the [1, 3, 3, 1] filter."""
    x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
    return fir(x, pad=(1, 1), gain=4.0)


def fir(x: Tensor, pad: tuple[int, int], gain: float) -> Tensor:
    """Separable [1, 3, 3, 1] filter (StyleGAN2), with ``gain`` in all."""
    channels = x.shape[1]
    taps = x.new_tensor([1.0, 3.0, 3.0, 1.0]) * (math.sqrt(gain) / 8)
    row = taps.view(1, 1, 1, 4).expand(channels, 1, 1, 4)
    x = F.pad(x, (*pad, *pad))
    return F.conv2d(F.conv2d(x, row, groups=channels), row.transpose(2, 3), groups=channels)


def double(image: Tensor) -> Tensor:
    """Skip-path doubling of an image: zeros in between, then the [1, 3, 3, 1] filter."""
    n, c, h, w = image.shape
    spread = image.new_zeros(n, c, h, 2, w, 2)
    spread[:, :, :, 0, :, 0] = image
    return fir(spread.view(n, c, 2 * h, 2 * w), pad=(2, 1), gain=4.0)


class ToImage(nn.Module):
    """1x1 convolution to image channels; scaled by its own style under ``demod``."""

    def __init__(self, in_ch: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, in_ch, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.gain = 1 / math.sqrt(in_ch)

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        if style is not None:
            x = x * style[..., None, None].to(x.dtype)
        return F.conv2d(x, self.weight * self.gain, self.bias)


class StyleGenerator(nn.Module):
    """g = phi . A . f over skeleton images.

    Parameters
    ----------
    size : canvas in pixels, a power of two from 8
    channels : 3 or 1
    modulation : ``adain`` or ``demod``
    channel_base, channel_max : features at resolution r: min(base / r, max)
    teacher : keypoint generator whose poses this one draws; its z_dim must be the same
    """

    def __init__(
        self,
        size: int,
        channels: int = 3,
        modulation: Modulation = "adain",
        z_dim: int = 64,
        w_dim: int = 64,
        mapping_depth: int = 4,
        channel_base: int = 1024,
        channel_max: int = 64,
        teacher: KeypointGenerator | None = None,
    ) -> None:
        super().__init__()
        kind = AdaINLayer if modulation == "adain" else DemodLayer
        self.size, self.z_dim, self.modulation = size, z_dim, modulation
        self.mapping: MappingNetwork | TaughtMapping
        if teacher is None:
            self.mapping = MappingNetwork(z_dim, w_dim, mapping_depth, lr_mult=0.01)
        else:
            self.mapping = TaughtMapping(teacher, w_dim, mapping_depth)
        width = channels_at(4, channel_base, channel_max)
        self.const = nn.Parameter(
            torch.ones(width, 4, 4) if modulation == "adain" else torch.randn(width, 4, 4)
        )
        convs: list[AdaINLayer | DemodLayer] = [kind(width, width, 4, first=True, up=False)]
        if modulation == "adain":
            convs.append(kind(width, width, 4, first=False, up=False))
        resolutions, names = [4] * len(convs), ["4x4 const", "4x4 conv"][-len(convs) :]
        to_image, image_channels = [width], []
        resolution = 4
        while resolution < size:
            resolution *= 2
            out = channels_at(resolution, channel_base, channel_max)
            convs += [
                kind(width, out, resolution, first=False, up=True),
                kind(out, out, resolution, first=False, up=False),
            ]
            resolutions += [resolution] * 2
            names += [f"{resolution}x{resolution} up", f"{resolution}x{resolution} conv"]
            width = out
            to_image.append(width)
        self.synthesis = nn.ModuleList(convs)
        self.style_affine = nn.ModuleList(conv.make_affine(w_dim) for conv in convs)
        if modulation == "adain":
            to_image = to_image[-1:]
        image_channels = to_image
        self.to_image = nn.ModuleList(ToImage(width, channels) for width in image_channels)
        self.image_affine = nn.ModuleList(
            EqualLinear(w_dim, width, bias_init=1.0)
            for width in (image_channels if modulation == "demod" else [])
        )
        self.layers = tuple(
            StyleLayer(i + 1, name, res, conv.style_dim)
            for i, (name, res, conv) in enumerate(zip(names, resolutions, convs, strict=True))
        )

    @property
    def w_mean(self) -> Tensor:
        return self.mapping.w_mean

    def codes(self, w: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
        """A: a style for each layer, then those of toRGB, from w (n, w_dim) or one w a layer."""
        each = per_layer(w, len(self.layers))
        styles = [affine(x) for affine, x in zip(self.style_affine, each, strict=True)]
        # toRGB shares the w of the finest layer that it reads
        images = [
            affine(each[min(2 * i, len(each) - 1)]) for i, affine in enumerate(self.image_affine)
        ]
        return (*styles, *images)

    def synthesize(
        self, codes: Sequence[Tensor], noise: torch.Generator | None = None
    ) -> PoseOutput:
        """phi: styles to skeleton images (n, c, size, size); fixed noise unless a source is given.

        Values are not clipped: a trained generator stays close to [-1, 1].
        """
        x = self.const.expand(codes[0].shape[0], -1, -1, -1)
        x = x.contiguous(memory_format=torch.channels_last)
        if self.modulation == "adain":
            for layer, code in zip(self.synthesis, codes, strict=True):
                x = layer(x, code, noise)
            return PoseOutput(images=self.to_image[0](x))
        styles, image_styles = codes[: len(self.layers)], codes[len(self.layers) :]
        image: Tensor | None = None
        for i, (layer, code) in enumerate(zip(self.synthesis, styles, strict=True)):
            x = layer(x, code, noise)
            if i % 2 == 0:
                new = self.to_image[i // 2](x, image_styles[i // 2])
                image = new if image is None else double(image) + new
        return PoseOutput(images=image)


class ImageDiscriminator(nn.Module):
    """Residual D (StyleGAN2) with minibatch deviation; input (n, c, size, size) in [-1, 1]."""

    def __init__(
        self, size: int, channels: int = 3, channel_base: int = 1024, channel_max: int = 64
    ) -> None:
        super().__init__()
        width = channels_at(size, channel_base, channel_max)
        self.from_image = EqualConv(channels, width, 1)
        blocks = []
        resolution = size
        while resolution > 4:
            resolution //= 2
            out = channels_at(resolution, channel_base, channel_max)
            blocks.append(ResidualDown(width, out))
            width = out
        self.blocks = nn.ModuleList(blocks)
        self.conv = EqualConv(width + 1, width, 3)
        self.fc = EqualLinear(width * 16, width)
        self.head = EqualLinear(width, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Realness logits (n, 1)."""
        x = leaky(self.from_image(images.contiguous(memory_format=torch.channels_last)))
        for block in self.blocks:
            x = block(x)
        x = leaky(self.conv(minibatch_std(x)))
        return self.head(leaky(self.fc(x.flatten(1))))


class ResidualDown(nn.Module):
    """Two convolutions and a skip, halving the resolution."""

    def __init__(self, in_ch: int, out_ch: int) -> None:
        super().__init__()
        self.conv = EqualConv(in_ch, in_ch, 3)
        self.down = EqualConv(in_ch, out_ch, 3, down=True)
        self.skip = EqualConv(in_ch, out_ch, 1)

    def forward(self, x: Tensor) -> Tensor:
        skip = self.skip(F.avg_pool2d(x, 2))
        return (leaky(self.down(leaky(self.conv(x)))) + skip) / GAIN_OF_SUM


GAIN_OF_SUM = math.sqrt(2)  # two branches of equal variance
