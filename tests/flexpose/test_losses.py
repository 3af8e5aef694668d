"""Losses: values by hand, other implementations, gradients in float64."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from flexpose.losses import (
    discriminator_loss,
    energy_distance,
    generator_loss,
    pairwise,
    pyramid_l2,
    r1_penalty,
)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_adversarial_losses_by_hand():
    zero = torch.zeros(3, 1)
    log2 = torch.log(torch.tensor(2.0))
    assert torch.isclose(generator_loss(zero), log2)
    assert torch.isclose(discriminator_loss(zero, zero), 2 * log2)
    logits = torch.tensor([1.0, -2.0])
    expected = torch.log1p(torch.exp(-logits)).mean()
    assert torch.isclose(generator_loss(logits), expected)
    assert torch.isclose(discriminator_loss(logits, -logits), 2 * expected)


def test_r1_of_a_linear_discriminator_is_half_its_squared_slope():
    slope = torch.tensor([3.0, -4.0], requires_grad=True)
    penalty = r1_penalty(lambda x: x @ slope, torch.randn(5, 2))
    assert torch.isclose(penalty, torch.tensor(12.5))
    penalty.backward()
    assert torch.allclose(slope.grad, slope)


def test_r1_of_a_quadratic_discriminator():
    real = normal(6, 2, 3)
    penalty = r1_penalty(lambda x: x.square().flatten(1).sum(dim=1), real)
    expected = (2 * real).square().flatten(1).sum(dim=1).mean() / 2
    assert torch.isclose(penalty, expected)


@pytest.mark.parametrize(("n", "m"), [(7, 5), (40, 30)])
def test_energy_distance_in_one_dimension_is_scipys_without_the_diagonals(n, m):
    x, y = normal(n, 1), normal(m, 1, seed=1) + 0.5
    within = 0.0  # scipy divides by n^2 where the unbiased mean divides by n(n - 1)
    for sample, size in ((x, n), (y, m)):
        total = (sample - sample.T).abs().sum()
        within += total / (size * (size - 1)) - total / size**2
    biased = stats.energy_distance(x[:, 0].numpy(), y[:, 0].numpy()) ** 2
    assert torch.isclose(energy_distance(x, y), biased - within, atol=1e-6)


def test_uniform_weights_change_nothing():
    x, y = normal(9, 6), normal(5, 6, seed=1)
    weights = torch.full((9,), 1 / 9, dtype=torch.float64)
    assert torch.isclose(energy_distance(x, y, weights), energy_distance(x, y), atol=1e-9)


def test_weighting_a_sample_equals_repeating_it():
    x, y = normal(4, 6), normal(5, 6, seed=1)
    times = torch.tensor([1, 3, 2, 4])
    weights = times / times.sum().double()
    many = x.repeat_interleave(times, dim=0)
    inner = weights @ torch.cdist(x, x) @ weights
    # repeats count as pairs at distance 0 there, while a weight makes no pairs with itself
    more = inner / (1 - weights.square().sum()) - inner / (1 - 1 / len(many))
    expected = energy_distance(many, y) - more
    assert torch.isclose(energy_distance(x, y, weights), expected, atol=2e-5)


def test_energy_distance_is_unbiased_where_the_distributions_agree():
    values = [
        energy_distance(normal(20, 2, seed=i), normal(8, 2, seed=1000 + i)) for i in range(400)
    ]
    values = torch.stack(values)
    assert abs(values.mean()) < 3 * values.std() / 20


def test_gradients_agree_with_differences():
    x, y, w = normal(5, 6), normal(4, 6, seed=1), normal(5, seed=2)
    x.requires_grad_(True)
    w.requires_grad_(True)
    check = torch.autograd.gradcheck
    assert check(lambda a: energy_distance(a, y), x)
    assert check(lambda a, b: energy_distance(a, y, b.softmax(dim=0)), (x, w))
    assert check(pairwise, x)
    assert check(pairwise, normal(5, 2).requires_grad_(True))
    image = normal(1, 2, 8, 8).requires_grad_(True)
    assert check(lambda a: pyramid_l2(a, torch.zeros_like(a)), image)
    assert check(discriminator_loss, (x, w))
    assert check(generator_loss, w)
    assert check(lambda a: r1_penalty(lambda b: (b @ a.T).tanh().sum(dim=1), y), x)


@pytest.mark.parametrize("width", [1, 4, 5, 30])
def test_pairwise_equals_cdist(width):
    x = normal(12, width)
    expected = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
    assert torch.allclose(pairwise(x), expected, atol=1e-7)


@pytest.mark.parametrize("width", [1, 2, 30])
def test_equal_rows_have_finite_gradients(width):
    x = normal(3, width).float().repeat(2, 1).requires_grad_(True)
    pairwise(x).sum().backward()
    assert x.grad.isfinite().all()
    x.grad = None
    energy_distance(x, x.detach()[:3]).backward()
    assert x.grad.isfinite().all()


def test_pyramid_by_hand():
    x = torch.zeros(1, 1, 4, 4)
    x[..., 0, 0] = 4.0
    # 16/16 at full size, (4/4)^2/4 at half, (4/16)^2 at a quarter
    assert torch.isclose(pyramid_l2(x, torch.zeros_like(x)), torch.tensor(1 + 0.25 + 0.0625))
    assert torch.isclose(pyramid_l2(x, torch.zeros_like(x), levels=1), torch.tensor(1.0))


def test_coarse_levels_let_limbs_that_do_not_touch_pull_on_each_other():
    def bar(column):
        image = torch.zeros(1, 1, 8, 8)
        image[..., column] = 1
        return image

    near, far = (pyramid_l2(bar(0), bar(column)) for column in (1, 6))
    assert near < far
