"""Eq. 5: tau under pairs of latents and target poses, the paper's (index) or transport's (ot)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flexpose.compute import generator_for
from flexpose.configs.adaptation import PairsConfig
from flexpose.geometry import normalised
from flexpose.losses import energy_distance
from flexpose.matching import optimal_pairs
from flexpose.mixup import pose_mixup
from flexpose.models.features import NormalisedDistance, feature_extractor
from flexpose.models.generator import PoseGenerator
from flexpose.models.prior import Prior, load_fitting_regressor
from flexpose.rendering.soft import Renderer
from flexpose.sampling import generate, keypoints

_PAIRS, _MIXUP = 1 << 41, (1 << 41) + 1  # random streams beside the steps


class PairedLoss:
    """Sum over pairs of ||Gamma(g_t(z)) - Gamma(alpha(t))||^2 (FlexPose, Eq. 5 and 7).

    Parameters
    ----------
    matching : index or ot
    regressor : beta's name, for drawings of a keypoint prior; the shipped one when None
    generator : g_t
    shots : float (M, J, 2), unit space, box-normalised: T
    """

    def __init__(
        self,
        part: PairsConfig,
        matching: str,
        regressor: str | None,
        seed: int,
        prior: Prior,
        generator: PoseGenerator,
        shots: Tensor,
        device: torch.device,
    ) -> None:
        self.part, self.matching, self.seed = part, matching, seed
        self.prior, self.generator, self.shots = prior, generator, shots
        poses = shots.cpu().numpy()
        if self.part.num_mixups:
            rng = np.random.default_rng([self.seed, _MIXUP])
            poses = normalised(pose_mixup(poses, self.part.num_mixups, rng))
        self.wanted = torch.from_numpy(poses).to(device)
        count = len(poses) if self.matching == "index" else self.part.pool_size
        random = generator_for(self.seed, _PAIRS)
        self.latents = torch.randn(count, generator.z_dim, generator=random).to(device)
        self.rows = self.columns = torch.arange(min(count, len(poses)))
        self.render = Renderer(prior.skeleton, prior.style, device)
        self.distance = NormalisedDistance()
        self.first: list[Tensor] | None = None
        if self.part.features != "keypoints":
            beta = prior.regressor
            if beta is None and self.part.features == "beta":
                beta = load_fitting_regressor(regressor, prior.skeleton, prior.style, device)
            weights = self.part.feature_weights
            self.gamma = feature_extractor(self.part.features, beta, weights, device)

    def __call__(self, step: int) -> dict[str, Tensor]:
        """Losses of step ``step`` (from 1): ``pairs``, and ``energy`` where it has a weight.

        Beside them ``pairs_left``, detached: what is left of the first step's distances.
        """
        part = self.part
        if self.matching == "ot" and (step - 1) % part.rematch_every == 0:
            self._rematch(shape_only=step == 1)
        random = generator_for(self.seed, step)
        at = torch.randint(len(self.rows), (part.batch_size,), generator=random)
        wanted = self.wanted[self.columns[at]]
        z = self.latents[self.rows[at]]
        output = generate(self.generator, z)
        made = output.keypoints
        if made is None and (part.features == "keypoints" or part.energy_weight):
            made, _ = self.prior.read(output)
        losses: dict[str, Tensor] = {}
        if part.features == "keypoints":
            assert made is not None
            losses["pairs"] = (made - wanted).square().sum(dim=(1, 2)).mean()
            now = [losses["pairs"].detach()]
        else:
            images = output.images
            if images is None:
                assert made is not None
                images = self.render(made)
            with torch.no_grad():
                target = self.gamma(self.render(wanted))
            losses["pairs"] = self.distance(self.gamma(images), target)
            now = self.distance.latest
        self.first = self.first or now
        left = [n / f for n, f in zip(now, self.first, strict=True)]
        losses["pairs_left"] = torch.stack(left).mean()
        if part.energy_weight:
            assert made is not None
            losses["energy"] = energy_distance(made.flatten(1), self.shots.flatten(1))
        return losses

    @torch.no_grad()
    def _rematch(self, shape_only: bool) -> None:
        made = [keypoints(self.generator, self.prior, z) for z in self.latents.split(128)]
        self.rows, self.columns = optimal_pairs(torch.cat(made), self.wanted, shape_only)

    def state(self) -> dict[str, Any]:
        """What resuming needs: the pairs, and what distances are measured by."""
        return {
            "rows": self.rows,
            "columns": self.columns,
            "means": self.distance.means,
            "first": self.first,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        self.rows, self.columns = state["rows"], state["columns"]
        self.distance.means, self.first = state["means"], state["first"]
