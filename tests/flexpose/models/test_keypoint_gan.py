"""KeypointGAN's networks: the published sizes, and what comes out of them."""

from __future__ import annotations

import pytest
import torch

from flexpose.models.keypoint_gan import (
    Encoder,
    Reconstructor,
    SkeletonPainter,
    SkeletonReader,
    TrainedReader,
    marginal_argmax,
)
from flexpose.models.patches import PatchDiscriminator, initialised


def millions(network):
    return sum(p.numel() for p in network.parameters()) / 1e6


def test_sizes_are_the_published_ones():
    # tomasjakab/keypointgan@541b769:models/networks.py, counted: 1.24, 1.18, 2.34 and 2.76 million
    assert millions(Encoder(3, 256)) == pytest.approx(1.24, abs=0.01)
    assert millions(SkeletonReader(32)) == pytest.approx(1.18, abs=0.01)
    decoder = Reconstructor()
    encoders = millions(decoder.pose) + millions(decoder.appearance)
    assert millions(decoder) - encoders == pytest.approx(2.34, abs=0.01)
    assert millions(PatchDiscriminator(scales=1)) == pytest.approx(2.76, abs=0.01)
    assert millions(PatchDiscriminator()) == pytest.approx(3 * 2.76, abs=0.02)


@pytest.mark.parametrize(("size", "channels", "scales"), [(128, 1, 3), (32, 3, 1)])
def test_images_become_skeletons_and_images_again(size, channels, scales):
    images = torch.randn(2, 3, size, size)
    skeletons = SkeletonPainter(channels, 4)(images)
    assert skeletons.shape == (2, channels, size, size)
    assert Reconstructor(channels, 4)(skeletons, images).shape == images.shape
    for reader in (SkeletonReader(5, channels, 4), TrainedReader(5, channels, 4)):
        assert reader(skeletons).shape == (2, 5, 2)
    sides = [s.shape[-1] for s in PatchDiscriminator(channels, 4, scales)(skeletons)]
    assert sides == [14, 6, 2][-scales:]


def test_positions_are_means_of_marginals():
    maps = torch.zeros(1, 2, 5, 9)
    maps[0, 0, 1, 6] = 1000.0  # its column is a ninth, its row a fifth of that when averaged
    maps[0, 1] += 7.0  # flat: the middle
    x, y = marginal_argmax(maps)[0].unbind(1)
    torch.testing.assert_close(x, torch.tensor([0.5, 0.0]))
    torch.testing.assert_close(y, torch.tensor([-0.5, 0.0]))


def test_weights_begin_small_and_repeatably():
    networks = [initialised(SkeletonPainter(1, 8), torch.Generator().manual_seed(3)) for _ in "ab"]
    first, second = (torch.cat([p.flatten() for p in n.out.parameters()]) for n in networks)
    assert torch.equal(first, second)
    assert networks[0].first[0][0].weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert (networks[0].out.bias == 0).all()
