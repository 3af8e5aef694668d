"""Adapters that are told which poses to make: LoRA and AdaGAN."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from flexpose.compute import generator_for
from flexpose.configs.baselines import AdaganConfig, LoraConfig
from flexpose.losses import energy_distance
from flexpose.models.features import NormalisedDistance, feature_extractor
from flexpose.rendering.soft import Renderer
from flexpose.sampling import chosen_layers, generate, keypoints
from flexpose.training.adapters.base import Setting, affine_of, trained
from flexpose.training.pairs import PairedLoss

_NEAREST, _TRIED = 1 << 42, 2000  # random stream beside the steps; latents tried for each shot


class LowRank(nn.Module):
    """W + (alpha / r) B A, from W on (microsoft/LoRA@c4593f0:loralib/layers.py)."""

    def __init__(self, shape: torch.Size, rank: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.down = nn.Parameter(torch.empty(rank, shape[1]))
        self.up = nn.Parameter(torch.zeros(shape[0], rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.scale * self.up @ self.down


class OnCodes(nn.Module):
    """(I + (alpha / r) B A) applied to what a linear layer gives: to its weight or its bias."""

    def __init__(self, size: int, rank: int, scale: float) -> None:
        super().__init__()
        self.change = LowRank(torch.Size((size, size)), rank, scale)

    def forward(self, value: Tensor) -> Tensor:
        return self.change(torch.eye(len(value), device=value.device)) @ value


class Lora:
    """A low-rank change of A at chosen layers, with its bias learned too, or of the style codes.

    With frozen biases the mean style could not move beyond B A w, so A's are learned.
    """

    def __init__(self, setting: Setting) -> None:
        config = setting.config.adapter
        assert isinstance(config, LoraConfig)
        self.setting, self.config = setting, config
        generator = setting.generator.requires_grad_(False)
        scale = config.alpha / config.rank
        for index in chosen_layers(setting.prior.generator, config.layers):
            affine = affine_of(generator, index)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(setting.config.seed + index)
                if config.where == "affine":
                    change: nn.Module = LowRank(affine.weight.shape, config.rank, scale)
                    affine.bias.requires_grad_(True)
                else:
                    change = OnCodes(len(affine.bias), config.rank, scale)
                    parametrize.register_parametrization(affine, "bias", change)
            parametrize.register_parametrization(affine, "weight", change)
        generator.to(setting.device)  # with what was put in
        self.pairs = None
        if config.matching != "energy":
            self.pairs = PairedLoss(
                config.pairs,
                config.matching,
                setting.config.regressor,
                setting.config.seed,
                setting.prior,
                generator,
                setting.shots,
                setting.device,
            )

    def groups(self) -> list[dict[str, Any]]:
        return [{"params": trained(self.setting.generator), "lr": self.config.lr}]

    def losses(self, step: int, random: torch.Generator) -> Mapping[str, Tensor]:
        setting = self.setting
        if self.pairs is not None:
            losses = self.pairs(step)
            if "energy" in losses:
                losses["energy"] = self.config.pairs.energy_weight * losses["energy"]
            return losses
        z = torch.randn(setting.config.batch_size, setting.generator.z_dim, generator=random)
        made = keypoints(setting.generator, setting.prior, z.to(setting.device))
        return {"energy": energy_distance(made.flatten(1), setting.shots.flatten(1))}

    def state(self) -> dict[str, Any]:
        return {} if self.pairs is None else self.pairs.state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        if self.pairs is not None:
            self.pairs.load_state(state)


class Scaled(nn.Module):
    """Each output of a linear layer scaled and shifted: its weight, or its bias."""

    def __init__(self, scale: nn.Parameter, shift: nn.Parameter | None) -> None:
        super().__init__()
        self.scale, self.shift = scale, shift

    def forward(self, value: Tensor) -> Tensor:
        scaled = value * self.scale.view(-1, *[1] * (value.ndim - 1))
        return scaled if self.shift is None else scaled + self.shift


class Adagan:
    """Scales and shifts of all style codes, and a latent for each shot (Noguchi 2019, BSA).

    nogu-atsu/small-dataset-image-generation and sangwoomo/FreezeD's StyleGAN form of it: L1 and a
    feature distance, each over its own value, and a two-way nearest-neighbour distance of the
    latents to Gaussian draws. Latents start where the source comes nearest to their shot: zeros,
    as published, vanish in the normalisation of z.
    """

    def __init__(self, setting: Setting) -> None:
        config = setting.config.adapter
        assert isinstance(config, AdaganConfig)
        self.setting, self.config = setting, config
        generator = setting.generator.requires_grad_(False)
        self.scales, self.shifts = nn.ParameterList(), nn.ParameterList()
        for layer in setting.prior.generator.layers:
            affine, size = affine_of(generator, layer.index), layer.style_dim
            scale = nn.Parameter(torch.ones(size, device=setting.device))
            shift = nn.Parameter(torch.zeros(size, device=setting.device))
            parametrize.register_parametrization(affine, "weight", Scaled(scale, None))
            parametrize.register_parametrization(affine, "bias", Scaled(scale, shift))
            self.scales.append(scale)
            self.shifts.append(shift)
        self.latents = nn.Parameter(self._nearest())
        self.render = Renderer(setting.prior.skeleton, setting.prior.style, setting.device)
        self.distance = NormalisedDistance()
        self.gamma = None
        if (beta := setting.prior.regressor) is not None:
            self.gamma = feature_extractor(
                config.features, beta, config.feature_weights, setting.device
            )

    @torch.no_grad()
    def _nearest(self) -> Tensor:
        """Latents (M, z_dim) at which the source makes about the poses of the shots."""
        setting = self.setting
        random = generator_for(setting.config.seed, _NEAREST)
        z = torch.randn(_TRIED, setting.generator.z_dim, generator=random).to(setting.device)
        made = torch.cat(
            [keypoints(setting.prior.generator, setting.prior, part) for part in z.split(128)]
        )
        apart = torch.cdist(setting.shots.flatten(1), made.flatten(1))
        return z[apart.argmin(dim=1)].clone()

    def groups(self) -> list[dict[str, Any]]:
        return [
            {"params": trained(self.setting.generator), "lr": self.config.lr},
            {"params": [self.latents], "lr": self.config.latent_lr},
        ]

    def losses(self, step: int, random: torch.Generator) -> Mapping[str, Tensor]:
        setting, config = self.setting, self.config
        count = min(setting.config.batch_size, len(setting.shots))
        rows = torch.randperm(len(setting.shots), generator=random)[:count].to(setting.device)
        noise = torch.randn(count, self.latents.shape[1], generator=random).to(setting.device)
        output = generate(setting.generator, self.latents[rows] + config.latent_noise * noise)
        wanted = setting.shots[rows]
        if output.images is not None:
            wanted = self.render(wanted)
        made = output.seen
        apart = (made - wanted).abs().mean()
        losses = {"apart": apart / apart.detach().clamp_min(1e-8)}
        if self.gamma is not None:
            features = self.distance(self.gamma(made), self.gamma(wanted))
            losses["features"] = (
                config.feature_weight * features / features.detach().clamp_min(1e-8)
            )
        gaussian = torch.randn(10 * count, noise.shape[1], generator=random).to(setting.device)
        between = torch.cdist(self.latents[rows], gaussian)
        nearest = between.amin(dim=1).mean() + between.amin(dim=0).mean()
        losses["latents"] = config.gaussian_weight * nearest
        change = [(scale - 1).square().mean() for scale in self.scales]
        change += [shift.square().mean() for shift in self.shifts]
        losses["change"] = config.change_weight * torch.stack(change).sum()
        return losses

    def state(self) -> dict[str, Any]:
        return {"means": self.distance.means}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.distance.means = state["means"]


ADAPTERS = {"lora": Lora, "adagan": Adagan}
