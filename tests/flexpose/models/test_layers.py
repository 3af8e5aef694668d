"""Building blocks against slow references and values by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from flexpose.models.generator import MappingNetwork
from flexpose.models.layers import (
    EqualConv,
    EqualLinear,
    blur,
    leaky,
    minibatch_std,
    pixel_norm,
)


def test_pixel_norm_gives_rows_of_unit_mean_square():
    z = torch.tensor([[3.0, 4.0], [0.1, 0.0]])
    out = pixel_norm(z)
    assert torch.allclose(out.square().mean(dim=1), torch.ones(2), atol=1e-5)
    assert torch.allclose(out[0], torch.tensor([3.0, 4.0]) / math.sqrt(12.5))


def test_leaky_keeps_the_second_moment():
    x = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    # E[leaky^2] = 2 (1 + .04) / 2
    assert leaky(x).square().mean().item() == pytest.approx(1.04, rel=0.02)


@pytest.mark.parametrize("lr_mult", [1.0, 0.01])
def test_the_learning_rate_multiplier_does_not_change_the_start(lr_mult):
    torch.manual_seed(0)
    layer = EqualLinear(50, 400, bias_init=1.0, lr_mult=lr_mult)
    out = layer(torch.randn(500, 50))
    assert out.mean().item() == pytest.approx(1, abs=0.05)
    assert out.var().item() == pytest.approx(1, rel=0.1)
    assert layer.bias[0].item() == pytest.approx(1 / lr_mult)


def test_equal_linear_by_hand():
    layer = EqualLinear(4, 1)
    with torch.no_grad():
        layer.weight.fill_(1.0)
        layer.bias.fill_(0.5)
    assert layer(torch.full((1, 4), 3.0)).item() == pytest.approx(4 * 3 / 2 + 0.5)


def test_blur_by_hand():
    x = torch.zeros(1, 2, 5, 5)
    x[0, 0, 2, 2] = 16.0
    x[0, 1, 0, 0] = 16.0
    out = blur(x)
    assert out[0, 0, 1:4, 1:4].tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
    assert out[0, 1, :2, :2].tolist() == [[4, 2], [2, 1]]
    assert out[0, 0].sum() == 16


def test_a_strided_convolution_filters_first():
    torch.manual_seed(0)
    layer = EqualConv(3, 4, 3, down=True)
    x = torch.randn(2, 3, 8, 8)
    weight = layer.weight / math.sqrt(27)
    expected = F.conv2d(blur(x), weight, layer.bias, padding=1)[:, :, ::2, ::2]
    assert torch.allclose(layer(x), expected, atol=1e-6)


def test_minibatch_std_by_hand():
    x = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 4.0], [2.0, 4.0]])
    out = minibatch_std(x)
    assert out.shape == (4, 3)
    assert torch.equal(out[:, :2], x)
    assert torch.allclose(out[:, 2], torch.full((4,), 1.5))  # deviations 1 and 2


def test_minibatch_std_compares_within_groups_of_four():
    # rows k and k + 2 and k + 4 and k + 6 are a group: the even rows are equal, the odd ones vary
    x = torch.tensor([5.0, 0, 5, 2, 5, 0, 5, 2])[:, None]
    assert torch.allclose(minibatch_std(x)[:, 1], torch.tensor([1e-4, 1.0] * 4), atol=1e-4)
    assert torch.allclose(minibatch_std(x[:6])[:, 1], x[:6].std(unbiased=False).expand(6))


def test_minibatch_std_of_images_adds_a_plane():
    x = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    out = minibatch_std(x)
    assert out.shape == (4, 4, 2, 2)
    expected = (x.var(dim=0, unbiased=False) + 1e-8).sqrt().mean()
    assert torch.allclose(out[:, 3], expected.expand(4, 2, 2))


def test_the_mapping_tracks_the_mean_of_w():
    mapping = MappingNetwork(4, 8, 2, lr_mult=0.01)
    w = torch.ones(5, 8)
    mapping.track(w)
    assert torch.allclose(mapping.w_mean, torch.full((8,), 0.005))
    for _ in range(2000):
        mapping.track(w)
    assert torch.allclose(mapping.w_mean, torch.ones(8), atol=1e-3)
    assert not mapping.w_mean.requires_grad
    z = torch.randn(3, 4)
    assert torch.allclose(mapping(z), mapping(7 * z), atol=1e-4)  # z counts by its direction
