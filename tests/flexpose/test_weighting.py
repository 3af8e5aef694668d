"""Energy weights: the fixed point, the distance they lower, and what acceptance reproduces."""

from __future__ import annotations

import pytest
import torch

from flexpose.losses import energy_distance
from flexpose.weighting import EnergyWeights, fit_energy_weights


def cloud(n, seed, mean=0.0, width=6):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed)) * 0.3 + mean


@pytest.fixture(scope="module")
def fitted():
    pool, shots = cloud(400, 1), cloud(12, 2, mean=0.15)
    return pool, shots, fit_energy_weights(pool, shots, 0.1)


def test_weights_are_probabilities_and_lower_the_energy_distance(fitted):
    pool, shots, rule = fitted
    assert rule.weights.min() >= 0
    assert torch.isclose(rule.weights.sum(), torch.tensor(1.0), atol=1e-5)
    before, after = energy_distance(pool, shots), energy_distance(pool, shots, rule.weights)
    assert after < before - 0.02


@pytest.mark.parametrize("entropy", [0.3, 0.1, 0.05])
def test_weights_solve_their_equation(entropy):
    pool, shots = cloud(200, 3), cloud(12, 4, mean=0.1)
    rule = fit_energy_weights(pool, shots, entropy)
    inner = torch.cdist(pool, pool, compute_mode="donot_use_mm_for_euclid_dist")
    potential = 2 * torch.cdist(pool, shots).mean(dim=1) - 2 * inner @ rule.weights
    expected = (-potential / entropy).softmax(dim=0)
    assert torch.allclose(rule.weights, expected, rtol=0.02, atol=1e-6)
    # and the rule says the same of any pose that it says of the pool
    assert torch.allclose(rule.log_weight(pool).softmax(dim=0), rule.weights, rtol=0.02, atol=1e-6)


def test_the_weights_are_the_minimum(fitted):
    pool, shots, rule = fitted
    toward = torch.cdist(pool, shots).mean(dim=1).double()
    inner = torch.cdist(pool, pool, compute_mode="donot_use_mm_for_euclid_dist").double()

    def objective(weights):
        entropy = (weights * (weights * len(pool)).log()).sum()
        return 2 * weights @ toward - weights @ inner @ weights + 0.1 * entropy

    best = objective(rule.weights.double())
    random = torch.Generator().manual_seed(0)
    for scale in (0.05, 0.5):
        noise = torch.randn(400, generator=random) * scale
        other = (rule.weights.log() + noise).softmax(dim=0).double()
        assert objective(other) > best


def test_accepted_fresh_samples_have_the_weighted_statistics(fitted):
    pool, _, rule = fitted
    fresh = cloud(20_000, 5)
    kept = fresh[rule.accept(fresh, torch.Generator().manual_seed(0))]
    assert 200 < len(kept) < len(fresh)
    chance = (rule.log_weight(fresh) - rule.ceiling).clamp(max=0).exp()
    expected = (chance[:, None] * fresh).sum(dim=0) / chance.sum()
    assert torch.allclose(kept.mean(dim=0), expected, atol=0.02)
    # the pool under its weights is a sample of the same distribution
    assert torch.allclose(kept.mean(dim=0), rule.weights @ pool, atol=0.06)
    assert kept.mean() > fresh.mean() + 0.05


def test_acceptance_is_certain_at_the_ceiling_and_repeatable(fitted):
    pool, _, rule = fitted
    best = pool[rule.log_weight(pool) >= rule.ceiling]
    assert 1 <= len(best) <= 3  # the quantile .995 of 400
    assert rule.accept(best, torch.Generator().manual_seed(1)).all()
    a, b = (rule.accept(pool, torch.Generator().manual_seed(2)) for _ in range(2))
    assert torch.equal(a, b)


def test_a_rule_by_hand():
    shots, pool = torch.tensor([[0.0], [0.0]]), torch.tensor([[0.0], [2.0]])
    rule = EnergyWeights(shots, pool, torch.tensor([0.5, 0.5]), entropy_weight=0.5)
    # V(x) = 2 |x| - 2 (|x| + |x - 2|) / 2: -2 at 0 and 2 at 2
    assert torch.allclose(rule.log_weight(pool), torch.tensor([4.0, -4.0]), atol=1e-5)


def test_a_small_entropy_weight_follows_the_shots_more_closely():
    pool, shots = cloud(300, 6), cloud(12, 7, mean=0.2)
    spread = [
        1 / fit_energy_weights(pool, shots, entropy).weights.square().sum()
        for entropy in (1.0, 0.05)
    ]
    assert spread[0] > 2 * spread[1]


def test_tensors_are_enough_to_rebuild_the_rule(fitted):
    pool, _, rule = fitted
    state = rule.state_dict()
    again = EnergyWeights(
        state["shots"],
        state["pool"],
        state["weights"],
        float(state["entropy_weight"]),
        float(state["ceiling"]),
    )
    assert torch.equal(again.log_weight(pool), rule.log_weight(pool))
    assert torch.equal(again.ceiling, rule.ceiling)


def test_a_rule_goes_with_a_generator_that_moves():
    shots, pool = torch.tensor([[0.0], [0.0]]), torch.tensor([[0.0], [2.0]])
    rule = EnergyWeights(shots, pool, torch.tensor([0.5, 0.5]), entropy_weight=0.5, ceiling=4.0)
    moved, random = torch.full((100, 1), 2.0), torch.Generator().manual_seed(3)
    assert not rule.accept(moved, random).any()  # of 3000 one, by hand: exp(-8)
    assert torch.allclose(rule.follow(moved), torch.full((100,), 0.01))
    assert rule.ceiling.item() == pytest.approx(-4.0, abs=1e-5)
    assert rule.accept(moved, random).float().mean() > 0.9
