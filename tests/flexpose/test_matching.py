"""Optimal pairs: a planted permutation is found."""

from __future__ import annotations

import torch

from flexpose.matching import optimal_pairs


def poses(n, seed=0):
    return torch.randn(n, 5, 2, generator=torch.Generator().manual_seed(seed))


def test_a_planted_permutation_is_found():
    made = poses(20)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    wanted = made[order] + 0.01 * poses(20, 2)
    rows, columns = optimal_pairs(made, wanted, shape_only=False)
    assert torch.equal(order[columns], rows)


def test_shapes_meet_whatever_their_place_and_size():
    made = poses(20)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    scale = torch.rand(20, 1, 1, generator=torch.Generator().manual_seed(2)) + 0.2
    wanted = made[order] * scale + torch.tensor([3.0, -2.0])
    rows, columns = optimal_pairs(made, wanted, shape_only=True)
    assert torch.equal(order[columns], rows)


def test_of_a_larger_pool_the_best_are_taken_and_each_once():
    made, wanted = poses(30), poses(30)[[4, 17, 8]]
    rows, columns = optimal_pairs(made, wanted, shape_only=False)
    assert dict(zip(columns.tolist(), rows.tolist(), strict=True)) == {0: 4, 1: 17, 2: 8}
    rows, columns = optimal_pairs(wanted, made, shape_only=False)
    assert rows.tolist() == [0, 1, 2]
    assert columns.tolist() == [4, 17, 8]


def test_the_total_cost_is_least():
    # nearest neighbours would pair both with 0; the best total pairs 1 with the far one
    made, wanted = (
        torch.tensor([[[0.0, 0.0]], [[1.0, 0.0]]]),
        torch.tensor([[[0.4, 0]], [[-3.0, 0]]]),
    )
    rows, columns = optimal_pairs(made, wanted, shape_only=False)
    assert (rows.tolist(), columns.tolist()) == ([0, 1], [1, 0])
