"""Translators: the published size, and poses that stay on the canvas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from flexpose.models.translator import (
    ResnetGenerator,
    inside,
    num_blocks,
    picture_network,
)
from flexpose.rendering.style import DrawingStyle


def test_the_size_is_the_published_one():
    # nine blocks of 64 channels, 3 to 3: 11.378 million, as CycleGAN's own code prints
    network = ResnetGenerator(3, 3, 64, num_blocks(None, 256))
    assert sum(p.numel() for p in network.parameters()) == 11378179
    assert (num_blocks(None, 128), num_blocks(2, 256)) == (6, 2)


@pytest.mark.parametrize(("size", "channels"), [(32, 1), (64, 3)])
def test_images_keep_their_size_and_range(size, channels):
    images = torch.randn(2, channels, size, size)
    painted = ResnetGenerator(channels, 3, 4, 1)(images)
    assert painted.shape == (2, 3, size, size)
    assert painted.abs().max() <= 1


def test_poses_are_moved_and_shrunk_onto_the_canvas_by_hand():
    poses = torch.tensor(
        [
            [[-0.5, 0.0], [0.5, 0.25]],  # inside: as it is
            [[0.5, 0.0], [1.5, 0.5]],  # too far right by a half
            [[-2.0, 1.0], [2.0, 2.0]],  # twice too large, about (0, 1.5), and then too low
        ]
    )
    wanted = [[[-0.5, 0], [0.5, 0.25]], [[0, 0], [1, 0.5]], [[-1, 0.5], [1, 1]]]
    torch.testing.assert_close(inside(poses), torch.tensor(wanted))


@given(arrays(np.float32, (3, 4, 2), elements=st.floats(-4, 4, width=16)))
def test_every_pose_lands_on_the_canvas_and_keeps_its_shape(values):
    poses = torch.from_numpy(values)
    poses[:, 0] = poses[:, 1] + 0.25  # with an extent
    moved = inside(poses)
    assert moved.abs().max() <= 1 + 1e-5
    a, b = (p - p.mean(dim=1, keepdim=True) for p in (poses, moved))
    scale = b.flatten(1).norm(dim=1) / a.flatten(1).norm(dim=1)
    torch.testing.assert_close(b, a * scale[:, None, None], atol=1e-4, rtol=1e-4)
    assert (scale <= 1 + 1e-4).all()


def test_looks_are_shown_to_what_paints_pictures():
    style = DrawingStyle(32, channels=1)
    skeletons, looks = torch.rand(2, 1, 32, 32), torch.rand(2, 6, 32, 32)
    for with_looks in (True, False):
        network = picture_network(style, 4, 1, looks=with_looks)
        one, other = (network(skeletons, x if with_looks else x[:0]) for x in (looks, -looks))
        assert one.shape == (2, 3, 32, 32)
        assert torch.equal(one, other) != with_looks


@pytest.mark.parametrize("kept", [0.0, 0.25, 1.0])
def test_a_picture_is_the_place_as_far_as_it_is_kept(kept):
    painter = picture_network(DrawingStyle(32, channels=1), 4, 1, looks=True)
    out = torch.full((2, 4, 32, 32), -0.5)
    out[:, 3] = 1 - 2 * kept  # what the network says of keeping, in [-1, 1]
    painter.network.forward = lambda images: out
    looks = torch.zeros(2, 6, 32, 32)
    looks[:, 3:] = 0.5  # the place
    made = painter(torch.zeros(2, 1, 32, 32), looks)
    torch.testing.assert_close(made, torch.full((2, 3, 32, 32), kept * 0.5 - (1 - kept) * 0.5))
