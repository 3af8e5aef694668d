"""The keypoint-space generator and its discriminator: f -> A -> phi on coordinates, no pixels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flexpose.geometry import FILL
from flexpose.models.generator import MappingNetwork, PoseOutput, StyleLayer, per_layer
from flexpose.models.layers import EqualLinear, leaky, minibatch_std
from flexpose.skeleton import Skeleton


class ModulatedLinear(nn.Module):
    """Linear layer whose inputs are scaled by a style, with demodulation (StyleGAN2's, in 0-D)."""

    def __init__(self, in_dim: int, out_dim: int, demodulate: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_dim, in_dim))
        self.bias = nn.Parameter(torch.zeros(out_dim))
        self.gain = 1 / math.sqrt(in_dim)
        self.demodulate = demodulate

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        weight = self.weight * self.gain
        y = F.linear(x * style, weight)
        if self.demodulate:
            y = y * torch.rsqrt(F.linear(style.square(), weight.square()) + 1e-8)
        return y + self.bias


class KeypointGenerator(nn.Module):
    """g in keypoint space: modulated linear layers whose output alpha can draw; needs no beta.

    Parameters
    ----------
    num_joints : J
    z_dim, w_dim, width, depth, mapping_depth : sizes; the shipped prior is 192 wide
    """

    def __init__(
        self,
        num_joints: int,
        z_dim: int = 32,
        w_dim: int = 64,
        width: int = 128,
        depth: int = 6,
        mapping_depth: int = 4,
    ) -> None:
        super().__init__()
        self.num_joints = num_joints
        self.z_dim = z_dim
        self.mapping = MappingNetwork(z_dim, w_dim, mapping_depth, lr_mult=0.01)
        self.const = nn.Parameter(torch.randn(width))
        self.style_affine = nn.ModuleList(
            EqualLinear(w_dim, width, bias_init=1.0) for _ in range(depth)
        )
        self.synthesis = nn.ModuleList(
            ModulatedLinear(width, width if i + 1 < depth else 2 * num_joints, i + 1 < depth)
            for i in range(depth)
        )
        self.layers = tuple(StyleLayer(i + 1, f"linear{i + 1}", 1, width) for i in range(depth))

    @property
    def w_mean(self) -> Tensor:
        return self.mapping.w_mean

    def codes(self, w: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
        """A: one style (n, width) a layer from w (n, w_dim), or from one w a layer."""
        each = per_layer(w, len(self.layers))
        return tuple(affine(x) for affine, x in zip(self.style_affine, each, strict=True))

    def synthesize(
        self, codes: Sequence[Tensor], noise: torch.Generator | None = None
    ) -> PoseOutput:
        """phi: style codes to box-normalised keypoints (n, J, 2), unit space; no noise inputs."""
        x = self.const.expand(codes[0].shape[0], -1)
        for layer, code in zip(self.synthesis, codes, strict=True):
            x = layer(x, code)
            if layer.demodulate:
                x = leaky(x)
        return PoseOutput(keypoints=box_normalised(x.view(-1, self.num_joints, 2)))


def box_normalised(keypoints: Tensor, fill: float = FILL) -> Tensor:
    """Poses (n, J, 2), box-centred and scaled as `geometry.normalised`, differentiable.

    Training poses are normalised, so a generator need not learn where the box lies.
    """
    low, high = keypoints.amin(dim=1, keepdim=True), keypoints.amax(dim=1, keepdim=True)
    side = (high - low).amax(dim=2, keepdim=True).clamp_min(1e-4)
    return (keypoints - (low + high) / 2) * (2 * fill / side)


class TaughtMapping(nn.Module):
    """f for an image generator with a teacher: z -> pose of a frozen keypoint generator -> w.

    A latent's pose is a folded function of z that takes a GAN long to learn, and it is known
    already; what is left to learn is how to draw it.
    """

    w_mean: Tensor

    def __init__(self, teacher: KeypointGenerator, w_dim: int, depth: int) -> None:
        super().__init__()
        self.teacher = teacher.requires_grad_(False)
        dims = [2 * teacher.num_joints] + [w_dim] * depth
        self.fc = nn.ModuleList(EqualLinear(a, b) for a, b in itertools.pairwise(dims))
        self.register_buffer("w_mean", torch.zeros(w_dim))

    def pose(self, z: Tensor) -> Tensor:
        """The teacher's keypoints (n, J, 2) at latents z, unit space."""
        keypoints = self.teacher.synthesize(self.teacher.codes(self.teacher.mapping(z))).keypoints
        assert keypoints is not None
        return keypoints

    def forward(self, z: Tensor) -> Tensor:
        w = self.pose(z).flatten(1)
        for layer in self.fc:
            w = leaky(layer(w))
        return w

    @torch.no_grad()
    def track(self, w: Tensor, beta: float = 0.995) -> None:
        """Move the running mean towards this batch, as `MappingNetwork` does."""
        self.w_mean.lerp_(w.detach().mean(dim=0), 1 - beta)


class KeypointDiscriminator(nn.Module):
    """D on joints and bone vectors, so that limb lengths and directions count by themselves."""

    def __init__(self, skeleton: Skeleton, width: int = 256) -> None:
        super().__init__()
        edges = torch.tensor(skeleton.edges, dtype=torch.long).reshape(-1, 2)
        self.register_buffer("edges", edges, persistent=False)
        self.fc = nn.ModuleList(
            [
                EqualLinear(2 * (skeleton.num_joints + len(edges)), width),
                EqualLinear(width, width),
                EqualLinear(width, width),
            ]
        )
        self.head = nn.ModuleList([EqualLinear(width + 1, width), EqualLinear(width, 1)])

    edges: Tensor

    def forward(self, keypoints: Tensor) -> Tensor:
        """Realness logits (n, 1) of keypoints (n, J, 2) in unit space."""
        bones = keypoints[:, self.edges[:, 1]] - keypoints[:, self.edges[:, 0]]
        # bones are shorter than positions; the factor brings them to a like scale
        x = torch.cat([keypoints.flatten(1), 3 * bones.flatten(1)], dim=1)
        for layer in self.fc:
            x = leaky(layer(x))
        x = leaky(self.head[0](minibatch_std(x)))
        return self.head[1](x)
