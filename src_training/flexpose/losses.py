"""Losses: tensors in, one scalar out. Weights are multiplied where a sum is written."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Non-saturating logistic loss of D on logits (Goodfellow 2014, as used by StyleGAN)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def generator_loss(fake: Tensor) -> Tensor:
    """Non-saturating logistic loss of G on D's logits."""
    return F.softplus(-fake).mean()


def r1_penalty(discriminator: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """Half the mean squared gradient norm of D at real samples (Mescheder 2018)."""
    real = real.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
    return gradient.square().flatten(1).sum(dim=1).mean() / 2


def energy_distance(x: Tensor, y: Tensor, x_weights: Tensor | None = None) -> Tensor:
    """Energy distance of two samples: 2 E|x - y| - E|x - x'| - E|y - y'| (Szekely and Rizzo 2013).

    Parameters
    ----------
    x : (n, d), differentiable
    y : (m, d), m >= 2; its inner term leaves out the zero diagonal, so a small m is not favoured
    x_weights : (n,) probabilities; uniform when None
    """
    n, m = len(x), len(y)
    cross = torch.cdist(x, y)
    inner = pairwise(x)
    target = torch.cdist(y, y).sum() / (m * (m - 1))
    if x_weights is None:
        return 2 * cross.mean() - inner.sum() / (n * (n - 1)) - target
    within = x_weights @ inner @ x_weights / (1 - x_weights.square().sum()).clamp_min(1e-6)
    return 2 * (x_weights @ cross.mean(dim=1)) - within - target


def pairwise(x: Tensor) -> Tensor:
    """Euclidean distances (n, n) with a zero diagonal and finite gradients there."""
    square = (x[:, None] - x[None]).square().sum(dim=2) if x.shape[1] <= 4 else _squared(x)
    square = square.clamp_min(1e-10)  # equal rows, and what rounding leaves of them
    eye = torch.eye(len(x), dtype=torch.bool, device=x.device)
    return torch.sqrt(torch.where(eye, torch.ones_like(square), square)).masked_fill(eye, 0.0)


def _squared(x: Tensor) -> Tensor:
    """Squared distances by the product formula; rounding may leave some below zero."""
    norm = x.square().sum(dim=1)
    return norm[:, None] + norm[None] - 2 * x @ x.T


def pyramid_l2(x: Tensor, y: Tensor, levels: int = 3) -> Tensor:
    """Sum of mean squared differences of images (n, c, h, w) at ``levels`` halved resolutions.

    Coarse levels let limbs that do not overlap yet pull on each other.
    """
    total = F.mse_loss(x, y)
    for _ in range(levels - 1):
        x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        total = total + F.mse_loss(x, y)
    return total
