"""Beta: positions and confidences from score maps."""

from __future__ import annotations

import pytest
import torch

from flexpose.geometry import canvas_to_unit
from flexpose.models.regressor import PoseRegressor, soft_argmax


def test_a_single_peak_is_read_exactly():
    scores = torch.full((1, 2, 8, 8), -1e4)
    scores[0, 0, 2, 5] = scores[0, 1, 7, 0] = 0.0
    keypoints, confidence = soft_argmax(scores)
    # a cell covers two pixels of a 16 px canvas; the middle of cell 5 is between pixels 10 and 11
    pixels = torch.tensor([[10.5, 4.5], [0.5, 14.5]])
    expected = torch.from_numpy(canvas_to_unit(pixels.numpy(), 16))
    assert torch.allclose(keypoints[0], expected, atol=1e-6)
    assert torch.allclose(confidence, torch.ones(1, 2))


def test_cells_are_centred_on_the_canvas():
    keypoints, confidence = soft_argmax(torch.zeros(1, 1, 6, 8))
    assert torch.allclose(keypoints, torch.zeros(1, 1, 2), atol=1e-6)
    # of an even spread, the cells within three cells of the middle: 6 of 8 and 6 of 6
    assert torch.allclose(confidence, torch.tensor([[36 / 48]]))


def test_two_peaks_give_their_middle_and_little_confidence():
    scores = torch.full((1, 1, 8, 8), -50.0)
    scores[0, 0, 4, 0] = scores[0, 0, 4, 7] = 0.0
    keypoints, confidence = soft_argmax(scores)
    assert keypoints[0, 0, 0].abs() < 1e-6
    assert confidence.item() < 1e-6


def test_confidences_are_shares():
    random = torch.Generator().manual_seed(0)
    scores = 5 * torch.randn(20, 4, 8, 8, generator=random)
    keypoints, confidence = soft_argmax(scores)
    assert (confidence > 0).all()
    assert (confidence <= 1 + 1e-6).all()
    assert (keypoints.abs() < 1).all()


def test_gradients_agree_with_differences():
    scores = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0)).double()
    scores.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda s: soft_argmax(s)[0], scores)


@pytest.mark.parametrize(("size", "channels"), [(16, 1), (32, 3), (64, 3)])
def test_shapes(size, channels):
    model = PoseRegressor(5, channels, width=4)
    images = torch.rand(2, channels, size, size) * 2 - 1
    keypoints, confidence = model(images)
    assert (keypoints.shape, confidence.shape) == ((2, 5, 2), (2, 5))
    assert model.scores(images).shape == (2, 5, size // 2, size // 2)
    sides = [feature.shape[2] for feature in model.features(images)]
    assert sides == [size // 2, size // 4, size // 8, size // 16]


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    model = PoseRegressor(5, 3, width=4)
    keypoints, _ = model(torch.rand(2, 3, 32, 32) * 2 - 1)
    (keypoints * torch.randn(2, 5, 2)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all(), name
        if name != "score.bias":  # a constant on a score map leaves its softmax as it is
            assert parameter.grad.abs().sum() > 0, name


def test_an_image_is_read_alike_in_any_batch():
    torch.manual_seed(0)
    model = PoseRegressor(5, 3, width=4)
    images = torch.rand(3, 3, 32, 32) * 2 - 1
    batch, _ = model(images)
    single, _ = model(images[1:2])
    assert torch.allclose(batch[1:2], single, atol=1e-5)
