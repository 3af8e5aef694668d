"""Adapters with a discriminator, which starts as the prior's and is shown T*."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from flexpose.configs.baselines import AdafmConfig, AdversarialConfig, CdcConfig, FreezedConfig
from flexpose.losses import discriminator_loss, generator_loss, r1_penalty
from flexpose.models.keypoint_generator import KeypointDiscriminator
from flexpose.models.prior import AnyDiscriminator, with_prefix
from flexpose.rendering.soft import Renderer
from flexpose.sampling import generate, keypoints
from flexpose.training.adapters.base import Setting, filters, trained


class Finetuned:
    """All of G and D go on learning (Wang 2018, TGAN): the plain way."""

    def __init__(self, setting: Setting) -> None:
        config = setting.config.adapter
        assert isinstance(config, AdversarialConfig)
        self.setting, self.config = setting, config
        self.gamma = setting.r1_gamma if config.r1_gamma is None else config.r1_gamma
        self.draws = setting.prior.regressor is not None
        self.render = Renderer(setting.prior.skeleton, setting.prior.style, setting.device)
        setting.generator.requires_grad_(True)
        setting.judge.requires_grad_(True)
        self.attach()
        self.learning = trained(setting.judge)
        self.optimizer = torch.optim.Adam(self.learning, config.lr, (0.0, 0.99))

    def attach(self) -> None:
        """Freeze and insert; nothing here."""

    def groups(self) -> list[dict[str, Any]]:
        learning = trained(self.setting.generator)
        return [{"params": learning, "lr": self.config.lr, "betas": (0.0, 0.99)}]

    def losses(self, step: int, random: torch.Generator) -> Mapping[str, Tensor]:
        setting = self.setting
        judged = self._judge(step, random)
        for p in self.learning:
            p.requires_grad_(False)
        z = self._latents(random)
        made = generate(setting.generator, z).seen
        losses = {"generator": generator_loss(setting.judge(made)), **self.more(z, made)}
        for p in self.learning:
            p.requires_grad_(True)
        return losses | {"discriminator": judged}

    def more(self, z: Tensor, made: Tensor) -> dict[str, Tensor]:
        """Further weighted losses of the generator, which made ``made`` at latents ``z``."""
        return {}

    def _judge(self, step: int, random: torch.Generator) -> Tensor:
        """A step of the discriminator; its loss, detached."""
        setting, config = self.setting, self.config
        rows = torch.randint(len(setting.wanted), (setting.config.batch_size,), generator=random)
        real = setting.wanted[rows.to(setting.device)]
        if self.draws:
            real = self.render(real)
        with torch.no_grad():
            fake = generate(setting.generator, self._latents(random)).seen
        loss = discriminator_loss(setting.judge(real), setting.judge(fake))
        total = loss
        if self.gamma and step % config.r1_every == 0:
            penalty = r1_penalty(setting.judge, real)
            total = loss + self.gamma * config.r1_every * penalty
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        self.optimizer.step()
        return loss.detach()

    def _latents(self, random: torch.Generator) -> Tensor:
        setting = self.setting
        count = setting.config.batch_size
        return torch.randn(count, setting.generator.z_dim, generator=random).to(setting.device)

    def state(self) -> dict[str, Any]:
        return {
            "judge": with_prefix("", self.setting.judge),
            "judge_adam": self.optimizer.state_dict(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.setting.judge.load_state_dict(state["judge"])
        self.optimizer.load_state_dict(state["judge_adam"])


class FreezeD(Finetuned):
    """The discriminator's layers next to its input stay as they are (Mo 2020)."""

    def attach(self) -> None:
        assert isinstance(self.config, FreezedConfig)
        freeze_early(self.setting.judge, self.config.frozen)


class AdaFM(Finetuned):
    """Each kernel of phi gets a scale and a shift: W -> gamma W + beta (Zhao 2020).

    phi's filters carry what all poses share, the mapping says which pose; so of the generator only
    the kernels' modulation learns, and the mapping. The discriminator's early layers are kept.
    """

    def attach(self) -> None:
        assert isinstance(self.config, AdafmConfig)
        generator = self.setting.generator.requires_grad_(False)
        generator.mapping.requires_grad_(True)
        for layer in filters(generator):
            assert isinstance(layer.weight, Tensor)
            kernels = KernelScale(layer.weight.shape).to(self.setting.device)
            parametrize.register_parametrization(layer, "weight", kernels)
        freeze_early(self.setting.judge, self.config.frozen)


class KernelScale(nn.Module):
    """gamma W + beta with one of each for every pair of an output and an input channel."""

    def __init__(self, shape: torch.Size) -> None:
        super().__init__()
        kernels = (*shape[:2], *[1] * (len(shape) - 2))
        self.scale = nn.Parameter(torch.ones(kernels))
        self.shift = nn.Parameter(torch.zeros(kernels))

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.scale + self.shift


class Consistent(Finetuned):
    """Samples keep their likeness to each other (Ojha 2021, CDC): compared on keypoints.

    utkarshojha/few-shot-gan-adaptation@main:train.py: for each sample a softmax over its cosine
    similarities to the others of the batch, the adapted one's pulled to the source's. Its second
    part, a discriminator of patches for latents away from a few anchors, is left out: a pose has
    no patches.
    """

    def more(self, z: Tensor, made: Tensor) -> dict[str, Tensor]:
        assert isinstance(self.config, CdcConfig)
        prior = self.setting.prior
        with torch.no_grad():
            before = likeness(keypoints(prior.generator, prior, z))
        now = keypoints(self.setting.generator, prior, z) if self.draws else made
        apart = F.kl_div(likeness(now), before, log_target=True, reduction="batchmean")
        return {"consistency": self.config.consistency_weight * apart}


def likeness(poses: Tensor) -> Tensor:
    """Log-softmax (n, n - 1) of each pose's cosine similarities to the others, of (n, J, 2)."""
    flat = F.normalize(poses.flatten(1), dim=1)
    others = ~torch.eye(len(flat), dtype=torch.bool, device=flat.device)
    return (flat @ flat.T)[others].view(len(flat), -1).log_softmax(dim=1)


def freeze_early(judge: AnyDiscriminator, share: float) -> None:
    """Stop this share of a discriminator's layers, from its input on, from learning."""
    if isinstance(judge, KeypointDiscriminator):
        stages: list[nn.Module] = [*judge.fc, *judge.head]
    else:
        stages = [judge.from_image, *judge.blocks, judge.conv, judge.fc, judge.head]
    for stage in stages[: round(share * len(stages))]:
        stage.requires_grad_(False)


ADAPTERS = {"finetune": Finetuned, "freezed": FreezeD, "adafm": AdaFM, "cdc": Consistent}
