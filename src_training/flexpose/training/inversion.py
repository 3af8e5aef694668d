"""Shots as style codes of a prior, and mixtures between them: mixup that stays a person.

The convex combination of two poses is often no pose. Between their codes the generator still draws
people, whose limbs keep their lengths. An idea of ours, on inversion as of StyleGAN's W+ space.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from flexpose.models.prior import Prior
from flexpose.sampling import keypoints

_TRIED = 4000  # latents that each shot's start is chosen from
_PULL = 1e-3  # weight of staying near the start, beside squared distances of joints


def invert(
    prior: Prior, shots: Tensor, random: torch.Generator, steps: int = 300, lr: float = 0.03
) -> Tensor:
    """One w a shot and layer, (M, L, w_dim), at which g_s comes near the shots.

    Parameters
    ----------
    shots : float (M, J, 2), unit space, box-normalised, on the prior's device
    """
    generator = prior.generator
    with torch.no_grad():
        z = torch.randn(_TRIED, generator.z_dim, generator=random).to(shots.device)
        made = torch.cat([keypoints(generator, prior, part) for part in z.split(256)])
        nearest = torch.cdist(shots.flatten(1), made.flatten(1)).argmin(dim=1)
        start = generator.mapping(z[nearest])[:, None].repeat(1, len(generator.layers), 1)
    codes = start.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([codes], lr)
    for _ in range(steps):
        apart = (poses_at(prior, codes.unbind(1)) - shots).square().sum(dim=(1, 2)).mean()
        loss = apart + _PULL * (codes - start).square().sum(dim=(1, 2)).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return codes.detach()


@torch.no_grad()
def latent_mixup(prior: Prior, codes: Tensor, count: int, random: torch.Generator) -> Tensor:
    """Poses (count, J, 2) at uniform mixtures of two shots' codes (M, L, w_dim), M >= 2."""
    shots = len(codes)
    first = torch.randint(shots, (count,), generator=random)
    second = (first + torch.randint(1, shots, (count,), generator=random)) % shots
    share = torch.rand(count, 1, 1, generator=random).to(codes.device)
    mixed = share * codes[first] + (1 - share) * codes[second]
    return torch.cat([poses_at(prior, part.unbind(1)) for part in mixed.split(256)])


def poses_at(prior: Prior, each: Sequence[Tensor]) -> Tensor:
    """Unit poses (n, J, 2) of the prior at one w a layer."""
    output = prior.generator.synthesize(prior.generator.codes(list(each)))
    return output.keypoints if output.keypoints is not None else prior.read(output)[0]
