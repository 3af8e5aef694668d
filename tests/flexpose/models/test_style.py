"""Style: moments move, content stays, and the decoder learns to paint."""

from __future__ import annotations

import pytest
import torch

from flexpose.errors import CheckpointError, MissingDependencyError
from flexpose.models.heatmaps import initialised
from flexpose.models.style import StyleNet, adain, moments


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_features_get_the_moments_of_others():
    content, style = noise(2, 3, 8, 8), noise(2, 3, 6, 6, seed=1) * 3 + 5
    made = adain(content, style)
    for found, wanted in zip(moments(made), moments(style), strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(adain(content, content), content, atol=1e-5, rtol=1e-5)
    by_hand = adain(torch.tensor([[[[0.0, 2.0]]]]), torch.tensor([[[[10.0, 30.0]]]]))
    torch.testing.assert_close(by_hand, torch.tensor([[[[10.0, 30.0]]]]), atol=1e-3, rtol=0)


def trained(steps=40):
    net = StyleNet("own")
    initialised(net, torch.Generator().manual_seed(0))
    dark, light = noise(4, 3, 16, 16) * 0.2 - 0.5, noise(4, 3, 16, 16, seed=1) * 0.2 + 0.5
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(steps):
        loss = net.again(torch.cat([dark, light]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net, dark, light


def test_a_share_of_the_look_comes_over():
    net, dark, light = trained()
    plain, half, whole = (net.restyled(dark, light, share).mean() for share in (0, 0.5, 1))
    assert plain < -0.2
    assert plain < half < whole
    assert whole > 0.2
    assert net.restyled(dark, light, 1).abs().max() <= 1
    before = [p.clone() for p in net.encoder.parameters()]
    net.encoder.requires_grad_(False)
    content, style = net.losses(dark, light)
    (content + style).backward()
    assert all(p.grad is not None for p in net.decoder.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, net.encoder.parameters(), strict=True))


def test_an_encoder_that_knows_pictures_stays_as_it_is():
    with pytest.raises(CheckpointError, match="need weights"):
        StyleNet("vgg19")
    try:
        net = StyleNet("mobilenet")
    except MissingDependencyError as error:
        pytest.skip(str(error))
    before = {k: v.clone() for k, v in net.encoder.state_dict().items()}
    images = noise(2, 3, 32, 32).clamp(-1, 1)
    assert net.restyled(images, images.flip(0), 0.5).shape == images.shape
    content, style = net.losses(images, images.flip(0))
    (content + style).backward()
    after = net.encoder.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(p.requires_grad for p in net.encoder.parameters())
