"""Fitting tau: Eq. 5 under one of three matchings, with its regularisers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flexpose.compute import generator_for
from flexpose.configs.adaptation import AdaptConfig
from flexpose.errors import FlexPoseError
from flexpose.geometry import normalised
from flexpose.losses import energy_distance
from flexpose.matching import optimal_pairs
from flexpose.mixup import pose_mixup
from flexpose.models.features import NormalisedDistance, feature_extractor
from flexpose.models.prior import Prior, load_regressor
from flexpose.models.transfer import TransferFunction, TransferredGenerator
from flexpose.rendering.soft import Renderer
from flexpose.sampling import chosen_layers, generate, keypoints

_PAIRS, _MIXUP, _HELD_OUT = ((1 << 41) + i for i in range(3))  # random streams beside the steps
_CHECK_EVERY = 25  # steps between looks at the held-out shots


class TauFit:
    """tau, its optimiser and the pairs it learns from.

    Parameters
    ----------
    shots : float (M, J, 2), unit space, box-normalised, on ``device``
    """

    def __init__(
        self, config: AdaptConfig, prior: Prior, shots: Tensor, device: torch.device
    ) -> None:
        self.part, self.seed, self.prior, self.device = config.transfer, config.seed, prior, device
        part = self.part
        chosen = chosen_layers(prior.generator, part.layers)
        self.transfer = TransferFunction(prior.generator.layers, chosen, part.bias).to(device)
        self.optimizer = torch.optim.Adam(self.transfer.parameters(), part.lr)
        self.generator = TransferredGenerator(prior.generator, self.transfer)
        self.fitted = shots[: len(shots) - part.hold_out]
        self.held_out = shots[len(self.fitted) :]
        if len(self.fitted) < 2:
            raise FlexPoseError(
                f"With {part.hold_out} of {len(shots)} shots held out fewer than 2 are left to "
                "adapt to.",
                "Hold out fewer, or label more.",
            )
        self.best_value = float("inf")
        self.best = {k: v.detach().clone() for k, v in self.transfer.state_dict().items()}
        if part.matching != "energy":
            self._prepare_pairs(config)

    def _prepare_pairs(self, config: AdaptConfig) -> None:
        """T*, the latents that meet it, and Gamma."""
        part, prior = self.part, self.prior
        poses = self.fitted.cpu().numpy()
        if part.num_mixups:
            random = np.random.default_rng([self.seed, _MIXUP])
            poses = normalised(pose_mixup(poses, part.num_mixups, random))
        self.wanted = torch.from_numpy(poses).to(self.device)
        count = len(poses) if part.matching == "index" else part.pool_size
        random = generator_for(self.seed, _PAIRS)
        self.latents = torch.randn(count, prior.generator.z_dim, generator=random).to(self.device)
        self.rows = self.columns = torch.arange(min(count, len(poses)))
        self.render = Renderer(prior.skeleton, prior.style, self.device)
        self.distance = NormalisedDistance()
        if part.features != "keypoints":
            beta = prior.regressor
            if beta is None and part.features == "beta":
                name = config.regressor or f"{prior.skeleton.name}-regressor"
                beta = load_regressor(name, self.device)[0]
            self.gamma = feature_extractor(part.features, beta, part.feature_weights, self.device)

    def step(self, step: int) -> Mapping[str, Tensor]:
        """Optimisation step ``step`` (from 1)."""
        part = self.part
        random = generator_for(self.seed, step)
        losses: dict[str, Tensor] = {}
        if part.matching == "energy":
            z = torch.randn(part.batch_size, self.generator.z_dim, generator=random)
            made = keypoints(self.generator, self.prior, z.to(self.device))
            losses["energy"] = energy_distance(made.flatten(1), self.fitted.flatten(1))
            loss = losses["energy"]
        else:
            losses["pairs"], made = self._paired_loss(step, random)
            loss = losses["pairs"]
            if part.energy_weight:
                losses["energy"] = energy_distance(made.flatten(1), self.fitted.flatten(1))
                loss = loss + part.energy_weight * losses["energy"]
        if part.identity_weight:
            losses["identity"] = self.transfer.distance_from_identity()
            loss = loss + part.identity_weight * losses["identity"]
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        if part.hold_out and (step % _CHECK_EVERY == 0 or step == part.steps):
            self._remember_best()
            if step == part.steps:
                self.transfer.load_state_dict(self.best)
        return {name: value.detach() for name, value in losses.items()}

    def _paired_loss(self, step: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Eq. 5 over some pairs, and the keypoints generated for them."""
        part = self.part
        if part.matching == "ot" and (step - 1) % part.rematch_every == 0:
            with torch.no_grad():
                made = [keypoints(self.generator, self.prior, z) for z in self.latents.split(128)]
            self.rows, self.columns = optimal_pairs(
                torch.cat(made), self.wanted, shape_only=step == 1
            )
        at = torch.randint(len(self.rows), (part.batch_size,), generator=random)
        wanted = self.wanted[self.columns[at]]
        output = generate(self.generator, self.latents[self.rows[at]])
        made = output.keypoints
        if made is None and (part.features == "keypoints" or part.energy_weight):
            assert self.prior.regressor is not None and output.images is not None
            made = self.prior.regressor(output.images)[0]
        if part.features == "keypoints":
            assert made is not None
            return (made - wanted).square().sum(dim=(1, 2)).mean(), made
        images = output.images if output.images is not None else self.render(output.keypoints)
        with torch.no_grad():
            target = self.gamma(self.render(wanted))
        return self.distance(self.gamma(images), target), made if made is not None else wanted

    @torch.no_grad()
    def _remember_best(self) -> None:
        """Keep the tau that came nearest to the held-out shots."""
        z = torch.randn(256, self.generator.z_dim, generator=generator_for(self.seed, _HELD_OUT))
        made = keypoints(self.generator, self.prior, z.to(self.device)).flatten(1)
        attraction = torch.cdist(made, self.held_out.flatten(1)).mean()
        variety = torch.cdist(made, made).sum() / (len(made) * (len(made) - 1))
        value = float(2 * attraction - variety)
        if value < self.best_value:
            self.best_value = value
            self.best = {k: v.detach().clone() for k, v in self.transfer.state_dict().items()}

    def train_state(self) -> dict[str, Any]:
        """What resuming needs beside tau itself."""
        state: dict[str, Any] = {
            "optimizer": self.optimizer.state_dict(),
            "best": self.best,
            "best_value": self.best_value,
        }
        if self.part.matching != "energy":
            state |= {"pairs": [self.rows, self.columns], "means": self.distance.means}
        return state

    def load_train_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `train_state` gave."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.best, self.best_value = state["best"], state["best_value"]
        if self.part.matching != "energy":
            self.rows, self.columns = state["pairs"]
            self.distance.means = state["means"]
