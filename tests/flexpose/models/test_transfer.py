"""Tau: the source at first, gradients in U alone, and what it amounts to."""

from __future__ import annotations

import copy

import pytest
import torch

from flexpose.errors import ConfigError
from flexpose.models.generator import PoseGenerator, styles
from flexpose.models.keypoint_generator import KeypointGenerator
from flexpose.models.stylegan import StyleGenerator
from flexpose.models.transfer import TransferFunction, TransferredGenerator


def source(kind):
    torch.manual_seed(0)
    if kind == "keypoints":
        return KeypointGenerator(5, z_dim=6, w_dim=8, width=16, depth=4, mapping_depth=2)
    return StyleGenerator(16, 3, kind, 6, 8, 2, channel_base=64, channel_max=8)


def made(generator, n=3):
    z = torch.randn(n, 6, generator=torch.Generator().manual_seed(1))
    output = generator.synthesize(styles(generator, z))
    return output.images if output.images is not None else output.keypoints


every_kind = pytest.mark.parametrize("kind", ["keypoints", "adain", "demod"])


@every_kind
@pytest.mark.parametrize("layers", [[3], [1, 3], [1, 2, 3, 4]])
@pytest.mark.parametrize("bias", [False, True])
def test_a_new_transfer_reproduces_the_source_exactly(kind, layers, bias):
    generator = source(kind)
    adapted = TransferredGenerator(generator, TransferFunction(generator.layers, layers, bias))
    assert isinstance(adapted, PoseGenerator)
    assert torch.equal(made(adapted), made(generator))
    assert adapted.transfer.distance_from_identity() == 0


@every_kind
def test_only_the_chosen_matrices_learn(kind):
    generator = source(kind).requires_grad_(False)
    transfer = TransferFunction(generator.layers, [3, 1])
    made(TransferredGenerator(generator, transfer)).square().sum().backward()
    assert set(transfer.U) == {"1", "3"}
    for name, matrix in transfer.U.items():
        dim = generator.layers[int(name) - 1].style_dim
        assert matrix.shape == (dim, dim)
        assert matrix.grad.abs().sum() > 0
    assert all(p.grad is None for p in generator.parameters())


@every_kind
def test_other_codes_pass_untouched(kind):
    generator = source(kind)
    transfer = TransferFunction(generator.layers, [3])
    with torch.no_grad():
        transfer.U["3"].normal_()
    codes = styles(generator, torch.randn(2, 6))
    after = transfer(codes)
    assert len(after) == len(codes)
    for i, (a, b) in enumerate(zip(codes, after, strict=True)):
        assert torch.equal(a, b) == (i != 2)
    assert torch.allclose(after[2], torch.stack([transfer.U["3"] @ c for c in codes[2]]), atol=1e-5)


@every_kind
def test_tau_equals_a_merged_affine(kind):
    """U (A w + b) + s is an affine map of its own: tau can be merged into A."""
    generator = source(kind)
    transfer = TransferFunction(generator.layers, [2, 3], bias=True)
    with torch.no_grad():
        for parameter in transfer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    merged = copy.deepcopy(generator)
    with torch.no_grad():
        for name, matrix in transfer.U.items():
            affine = merged.style_affine[int(name) - 1]
            affine.weight.copy_(matrix @ affine.weight)
            affine.bias.copy_(matrix @ affine.bias + transfer.shift[name])
    assert torch.allclose(made(TransferredGenerator(generator, transfer)), made(merged), atol=1e-4)


@pytest.mark.parametrize("index", [0, 5, -1])
def test_an_unknown_layer_is_refused(index):
    with pytest.raises(ConfigError, match=f"Layer {index} was chosen.*layers 1 to 4"):
        TransferFunction(source("keypoints").layers, [1, index])


def test_no_layer_is_refused():
    with pytest.raises(ConfigError, match="No layer"):
        TransferFunction(source("keypoints").layers, [])


def test_distance_from_identity_by_hand():
    transfer = TransferFunction(source("keypoints").layers, [1, 3, 3])
    with torch.no_grad():
        transfer.U["1"][0, 1] = 3.0
        transfer.U["3"][2, 2] = -1.0
    assert transfer.distance_from_identity() == 9 + 4


def test_truncation_acts_before_tau():
    generator = source("keypoints")
    generator.mapping.track(torch.randn(64, 8), beta=0.0)
    transfer = TransferFunction(generator.layers, [1])
    with torch.no_grad():
        transfer.U["1"].mul_(2)
    adapted = TransferredGenerator(generator, transfer)
    mean = styles(adapted, torch.randn(2, 6), 0.0)
    assert torch.allclose(mean[0], 2 * generator.codes(generator.w_mean[None])[0].expand(2, -1))
