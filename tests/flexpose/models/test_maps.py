"""Maps of Gaussians: where they stand, how they are read, and what losses want of them."""

from __future__ import annotations

import math

import pytest
import torch

from flexpose.models.heatmaps import map_loss
from flexpose.models.maps import (
    cells_to_unit,
    gaussians,
    gaussians_at,
    kl_loss,
    mse_loss,
    read_peaks,
    unit_to_cells,
)


@pytest.mark.parametrize("stride", [2, 4])
def test_gaussians_stand_where_the_keypoints_are_and_peaks_give_them_back(stride):
    points = torch.rand(4, 3, 2, generator=torch.Generator().manual_seed(0)) * 1.2 - 0.6
    maps = gaussians_at(points, (16, 16), stride)
    found = read_peaks(maps, stride)
    assert (found.keypoints - points).abs().max() <= 0.26 * 2 / 16
    assert (found.mass > 0.9).all()
    unit = cells_to_unit(unit_to_cells(points, (16, 16), stride), (16, 16), stride)
    torch.testing.assert_close(unit, points, atol=1e-6, rtol=0)


def test_a_gaussian_by_hand():
    maps = gaussians(torch.tensor([[[3.0, 5.0]]]), (12, 14))[0, 0]
    assert maps.shape == (14, 12)
    assert maps[5, 3] == 1
    assert maps[5, 5].item() == pytest.approx(math.exp(-0.5))
    assert maps[11, 3] > 0 == maps[12, 3]  # cut off beyond six cells
    unknown = torch.tensor([[[float("nan"), 0.0], [1.2, 0.0], [0.0, 0.0]]])
    assert (gaussians_at(unknown, (8, 8), 2).amax(dim=(2, 3)) > 0).tolist() == [
        [False, False, True]
    ]


def test_a_peak_is_moved_a_quarter_towards_its_higher_neighbour():
    maps = torch.zeros(1, 2, 8, 8)
    maps[0, 0, 4, 3], maps[0, 0, 4, 4], maps[0, 0, 3, 3] = 0.8, 0.5, 0.2
    maps[0, 1, 0, 7] = 1.5  # at the border there is nothing to compare with
    found = read_peaks(maps, 4)
    wanted = cells_to_unit(torch.tensor([[[3.25, 3.75], [7.0, 0.0]]]), (8, 8), 4)
    torch.testing.assert_close(found.keypoints, wanted)
    assert found.mass.tolist() == [[pytest.approx(0.8), 1.0]]


def test_losses_by_hand_and_unknown_joints_do_not_count():
    target = torch.zeros(1, 2, 2, 2)
    target[0, 0, 0, 0] = 1.0
    maps = torch.tensor([[[[0.5, 0], [0, 0]], [[0, 0], [0, 2.0]]]])
    weights = torch.tensor([[1.0, 0.0]])
    assert mse_loss(maps, target, weights).item() == pytest.approx(0.25 / 4 / 2 / 2)
    flat = torch.zeros(1, 2, 2, 2)
    assert kl_loss(flat, target, torch.ones(1, 2)).item() == pytest.approx(math.log(4) / 2)
    points = torch.tensor([[[0.2, 0.1], [float("nan"), 0.0]]])
    for kind in ("entropy", "mse", "kl"):
        maps = torch.randn(
            1, 2, 8, 8, generator=torch.Generator().manual_seed(0), requires_grad=True
        )
        map_loss(kind, maps, points, torch.ones(1, 2), 2).backward()
        assert maps.grad[0, 1].abs().max() == 0 < maps.grad[0, 0].abs().max()
    best = 8 * gaussians_at(points, (8, 8), 2)
    assert map_loss("kl", best, points, torch.ones(1, 2), 2) < map_loss(
        "kl", best.flip(3), points, torch.ones(1, 2), 2
    )
