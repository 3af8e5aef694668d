"""The keypoint generator: boxes, style codes, its discriminator."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from flexpose.geometry import FILL, normalised
from flexpose.models.generator import PoseGenerator, styles
from flexpose.models.keypoint_generator import (
    KeypointDiscriminator,
    KeypointGenerator,
    ModulatedLinear,
    TaughtMapping,
    box_normalised,
)


def tiny():
    torch.manual_seed(0)
    return KeypointGenerator(5, z_dim=6, w_dim=8, width=16, depth=4, mapping_depth=2)


def latents(n=7, seed=0):
    return torch.randn(n, 6, generator=torch.Generator().manual_seed(seed))


def test_poses_are_box_normalised():
    poses = tiny().synthesize(styles(tiny(), latents())).keypoints
    assert poses.shape == (7, 5, 2)
    low, high = poses.amin(dim=1), poses.amax(dim=1)
    assert torch.allclose((high - low).amax(dim=1), torch.full((7,), 2 * FILL), atol=1e-5)
    assert torch.allclose(low + high, torch.zeros(7, 2), atol=1e-5)


def test_box_normalising_agrees_with_numpy_and_is_differentiable():
    poses = torch.randn(4, 5, 2, generator=torch.Generator().manual_seed(0)).double() * 30 + 7
    np.testing.assert_allclose(box_normalised(poses).numpy(), normalised(poses.numpy()), atol=1e-6)
    assert torch.autograd.gradcheck(box_normalised, poses.requires_grad_(True))
    point = torch.zeros(1, 5, 2, requires_grad=True)
    box_normalised(point).sum().backward()
    assert point.grad.isfinite().all()


def test_it_offers_the_interface_of_every_generator():
    generator = tiny()
    assert isinstance(generator, PoseGenerator)
    assert [layer.index for layer in generator.layers] == [1, 2, 3, 4]
    assert {(layer.resolution, layer.style_dim) for layer in generator.layers} == {(1, 16)}
    codes = styles(generator, latents())
    assert [code.shape for code in codes] == [(7, 16)] * 4
    assert generator.synthesize(codes).images is None


def test_each_layer_can_have_a_w_of_its_own():
    generator = tiny()
    w, other = generator.mapping(latents()), generator.mapping(latents(seed=1))
    plain, mixed = generator.codes(w), generator.codes([w, w, other, other])
    assert [torch.equal(a, b) for a, b in zip(plain, mixed, strict=True)] == [
        True,
        True,
        False,
        False,
    ]


def test_noise_sources_and_batches_make_no_difference():
    generator = tiny()
    codes = styles(generator, latents())
    poses = generator.synthesize(codes).keypoints
    assert torch.equal(poses, generator.synthesize(codes, torch.Generator()).keypoints)
    first = generator.synthesize([code[:1] for code in codes]).keypoints
    assert torch.allclose(first, poses[:1], atol=1e-5)


def test_a_modulated_layer_equals_modulating_the_weights_of_each_sample():
    torch.manual_seed(0)
    layer = ModulatedLinear(4, 6, demodulate=True).double()
    with torch.no_grad():
        layer.bias.normal_()
    x, style = torch.randn(3, 4).double(), torch.randn(3, 4).double()
    for k in range(3):
        weight = layer.weight / 2 * style[k]
        weight = weight / (weight.square().sum(dim=1, keepdim=True) + 1e-8).sqrt()
        assert torch.allclose(layer(x, style)[k], weight @ x[k] + layer.bias)
    plain = ModulatedLinear(4, 6, demodulate=False).double()
    assert torch.allclose(plain(x, style), (x * style) @ (plain.weight / 2).T)


def test_gradients_reach_every_parameter(puppet):
    generator, disc = tiny(), KeypointDiscriminator(puppet, width=16)
    disc(generator.synthesize(styles(generator, latents(8))).keypoints).sum().backward()
    for model in (generator, disc):
        for name, parameter in model.named_parameters():
            # a shift of all joints alike is lost in the box, and a logit's bias sees only the sum
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("n", [1, 4, 6, 8])
def test_the_discriminator_gives_one_logit_a_pose(n, puppet):
    disc = KeypointDiscriminator(puppet, width=16)
    assert disc(torch.randn(n, 5, 2)).shape == (n, 1)


def test_the_discriminator_sees_bones(puppet):
    torch.manual_seed(0)
    disc = KeypointDiscriminator(puppet, width=16)
    with torch.no_grad():  # blind it to positions: only bones are left, which a shift keeps
        disc.fc[0].weight[:, :10] = 0
    poses = torch.randn(4, 5, 2)
    assert torch.allclose(disc(poses), disc(poses + 3), atol=1e-4)
    assert not torch.allclose(disc(poses), disc(poses * 2), atol=1e-2)


def test_the_discriminator_notices_a_lack_of_variety(puppet):
    torch.manual_seed(0)
    disc = KeypointDiscriminator(puppet, width=16)
    pose = torch.randn(1, 5, 2)
    alone = disc(pose.expand(4, -1, -1))
    among = disc(torch.cat([pose, torch.randn(3, 5, 2)]))
    assert not torch.allclose(alone[0], among[0])


def test_a_taught_mapping_sees_the_teachers_pose_and_leaves_it_alone():
    torch.manual_seed(0)
    teacher = tiny()
    mapping = TaughtMapping(teacher, w_dim=8, depth=2)
    z = latents()
    expected = teacher.synthesize(styles(teacher, z)).keypoints
    assert torch.equal(mapping.pose(z), expected)
    w = mapping(z)
    assert w.shape == (7, 8)
    w.sum().backward()
    for name, parameter in mapping.named_parameters():
        assert (parameter.grad is None) == name.startswith("teacher."), name
    mapping.track(torch.ones(3, 8))
    assert torch.allclose(mapping.w_mean, torch.full((8,), 0.005))
