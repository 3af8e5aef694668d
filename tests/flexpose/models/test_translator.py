"""Translators: the published size, and poses that stay on the canvas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from flexpose.models.translator import ResnetGenerator, inside, num_blocks


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


def test_only_a_located_generator_tells_places_of_a_black_image_apart():
    black = -torch.ones(1, 1, 32, 32)
    for located in (False, True):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            painted = ResnetGenerator(1, 3, 4, 1, located=located)(black)
        assert (painted.std(dim=(2, 3)) > 1e-3).all() == located
