"""Maps of joints: where their peaks are, what lies near, and what the loss wants."""

from __future__ import annotations

import pytest
import torch

from flexpose.errors import MissingDependencyError
from flexpose.models.heatmaps import (
    HeatmapNet,
    heatmap_loss,
    initialised,
    new_network,
    read_both_ways,
    read_maps,
)


def perfect(points, cells=16):
    """Log-probabilities of Gaussians of one cell about points (n, J, 2)."""
    pixels = (torch.arange(cells) * 2 + 0.5) / (2 * cells - 1) * 2 - 1
    spread = 2 / cells
    x, y = (-0.5 * ((pixels - points[..., axis, None]) / spread).square() for axis in (0, 1))
    return y[..., None] + x[:, :, None]


def test_peaks_are_found_to_a_fraction_of_a_cell():
    points = torch.rand(3, 4, 2, generator=torch.Generator().manual_seed(0)) * 1.2 - 0.6
    maps = perfect(points).flatten(2).softmax(dim=2).view(3, 4, 16, 16)
    found = read_maps(maps, 0.5)
    assert (found.keypoints - points).abs().max() < 0.3 * 2 / 16  # a third of a cell
    assert (found.mass > 0.95).all()


def test_mass_is_what_lies_near_the_peak():
    maps = torch.zeros(1, 1, 16, 16)
    maps[0, 0, 4, 4], maps[0, 0, 12, 12] = 0.7, 0.3
    found = read_maps(maps, 0.2)
    assert found.mass.item() == pytest.approx(0.7)
    assert found.keypoints[0, 0].tolist() == pytest.approx([-0.4516, -0.4516], abs=1e-3)


def test_the_loss_is_least_at_the_truth_and_unknown_joints_do_not_count():
    points = torch.tensor([[[0.1, -0.3], [float("nan"), 0.0], [1.4, 0.0]]])
    weights = torch.ones(1, 3)
    right = perfect(torch.nan_to_num(points)).requires_grad_()
    loss = heatmap_loss(right, points, weights)
    loss.backward()
    assert right.grad is not None
    assert right.grad[0, 1:].abs().max() == 0
    wrong = perfect(torch.nan_to_num(points) + 0.4)
    assert loss.item() + 0.5 < heatmap_loss(wrong, points, weights).item()
    assert heatmap_loss(wrong, points, torch.zeros(1, 3)).item() == 0


def test_mirrored_pictures_are_read_alike():
    net = HeatmapNet(4, 4).eval()
    initialised(net, torch.Generator().manual_seed(0))
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    flip = [1, 0, 2, 3]
    plain = read_both_ways(net, images, flip)
    turned = read_both_ways(net, images.flip(3), flip)
    expected = turned.keypoints[:, flip] * torch.tensor([-1.0, 1.0])
    torch.testing.assert_close(plain.keypoints, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("backbone", ["none", "mobilenet"])
def test_maps_have_half_the_crops_side_with_either_encoder(backbone):
    net = new_network(5, 4, backbone, load=False)
    assert net(torch.zeros(2, 3, 64, 64)).shape == (2, 5, 32, 32)


def test_an_encoder_from_imagenet_comes_with_its_weights():
    try:
        a, b = (new_network(5, 4, "mobilenet").encoder.state_dict() for _ in range(2))
    except MissingDependencyError as error:
        pytest.skip(str(error))
    assert all(torch.equal(a[key], b[key]) for key in a)
    fresh = new_network(5, 4, "mobilenet", load=False).encoder.state_dict()
    assert not torch.equal(a["stages.0.0.0.weight"], fresh["stages.0.0.0.weight"])
