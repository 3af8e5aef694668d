"""Energy-weighted sampling: generated poses are kept in proportion to how the shots ask for them.

Weights w over a pool x of generated poses minimise the energy distance of the weighted pool to
the shots t plus ``entropy_weight`` * KL(w, uniform). At the minimum

    w_i  ~  exp(-V(x_i) / entropy_weight),
    V(x) = 2 mean_m |x - t_m| - 2 sum_j w_j |x - x_j|,

so V is defined for any pose, not only for the pool: fresh samples are accepted with probability
proportional to exp(-V / entropy_weight), and any number of different poses can be drawn.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flexpose.losses import pairwise

CEILING_QUANTILE = 0.995
"""Of the log-weights of generated poses: those above it are always accepted, which bounds the share
of rejected samples."""


class EnergyWeights(nn.Module):
    """The acceptance rule. Poses are rows of flattened unit keypoints.

    Parameters
    ----------
    shots : (M, d)
    pool : (N, d) generated poses
    weights : (N,) probabilities over the pool
    entropy_weight : temperature of the rule
    ceiling : log-weight at which the acceptance probability reaches one
    """

    def __init__(
        self,
        shots: Tensor,
        pool: Tensor,
        weights: Tensor,
        entropy_weight: float,
        ceiling: float = 0.0,
    ) -> None:
        super().__init__()
        self.register_buffer("shots", shots)
        self.register_buffer("pool", pool)
        self.register_buffer("weights", weights)
        self.register_buffer("ceiling", torch.tensor(ceiling))
        self.register_buffer("entropy_weight", torch.tensor(entropy_weight))

    shots: Tensor
    pool: Tensor
    weights: Tensor
    ceiling: Tensor
    entropy_weight: Tensor

    def log_weight(self, poses: Tensor) -> Tensor:
        """Unnormalised log-weight -V / entropy_weight (n,) of poses (n, d)."""
        toward = torch.cdist(poses, self.shots).mean(dim=1)
        away = torch.cdist(poses, self.pool) @ self.weights
        return -2 * (toward - away) / self.entropy_weight

    def share_of(self, poses: Tensor) -> Tensor:
        """Weights (n,) of poses (n, d), summing to one."""
        return self.log_weight(poses).softmax(dim=0)

    def follow(self, poses: Tensor) -> Tensor:
        """Weights (n,) as `share_of`, of what a generator makes that has changed since the fit.

        The ceiling goes with it; else next to nothing that it makes now might be accepted.
        """
        log_weight = self.log_weight(poses)
        self.ceiling.copy_(log_weight.quantile(CEILING_QUANTILE))
        return log_weight.softmax(dim=0)

    def accept(self, poses: Tensor, random: torch.Generator) -> Tensor:
        """Bool (n,): which poses to keep; independent draws."""
        chance = (self.log_weight(poses) - self.ceiling).exp()
        return torch.rand(len(poses), generator=random).to(poses.device) < chance


def fit_energy_weights(
    pool: Tensor,
    shots: Tensor,
    entropy_weight: float,
    iterations: int = 300,
) -> EnergyWeights:
    """Find the weights by a damped fixed point of the equation above.

    Parameters
    ----------
    pool : (N, d) generated poses; shots : (M, d)
    """
    toward = torch.cdist(pool, shots).mean(dim=1)
    inner = pairwise(pool)
    log_w = torch.zeros(len(pool), device=pool.device)
    for _ in range(iterations):
        potential = 2 * (toward - inner @ log_w.softmax(dim=0))
        target = -potential / entropy_weight
        # a tenth of the way each time: full steps swing between two states at low temperatures
        log_w = 0.9 * log_w + 0.1 * (target - target.max())
    rule = EnergyWeights(shots, pool, log_w.softmax(dim=0), entropy_weight)
    rule.follow(pool)
    return rule
