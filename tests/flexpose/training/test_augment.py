"""Varied pictures: keypoints follow, and the same seed gives the same pictures."""

from __future__ import annotations

import pytest
import torch

from flexpose.rendering.soft import Renderer
from flexpose.rendering.style import DrawingStyle
from flexpose.skeleton import load_skeleton
from flexpose.training.augment import covered, mirrored, moved, tinted, varied

SKELETON = load_skeleton("body15")
RENDER = Renderer(SKELETON, DrawingStyle(64, channels=3))


@pytest.fixture
def drawn():
    poses = torch.rand(6, 15, 2, generator=torch.Generator().manual_seed(0)) - 0.5
    return RENDER(poses), poses


def overlap(images, poses):
    """Share of a pose's drawing that is bright in the images; the median over poses."""
    bright, expected = images.amax(dim=1) > 0.0, RENDER(poses).amax(dim=1) > 0.0
    return ((bright & expected).sum((1, 2)) / expected.sum((1, 2)).clamp_min(1)).median().item()


def test_moved_keypoints_stay_on_what_they_mark(drawn):
    images, points = moved(*drawn, torch.Generator().manual_seed(1))
    astray, _ = moved(*drawn, torch.Generator().manual_seed(2))
    assert overlap(images, points) > 0.75
    assert overlap(astray, points) < overlap(images, points) - 0.2


def test_mirrored_poses_exchange_their_sides(drawn):
    images, poses = drawn
    turned = mirrored(poses, SKELETON.flip_index)
    assert overlap(images.flip(3), turned) > 0.95
    left, right = SKELETON.index("left_knee"), SKELETON.index("right_knee")
    torch.testing.assert_close(turned[:, left, 0], -poses[:, right, 0])
    torch.testing.assert_close(mirrored(turned, SKELETON.flip_index), poses)


def test_tints_and_holes_leave_keypoints_alone_and_change_pictures(drawn):
    images, _ = drawn
    assert (tinted(images, torch.Generator().manual_seed(0)) - images).abs().mean() > 0.02
    holes = covered(images, torch.Generator().manual_seed(0)) != images
    share = holes.any(dim=1).float().mean(dim=(1, 2))
    assert ((share == 0) | ((share > 0.005) & (share < 0.1))).all()
    assert (share == 0).any()
    assert (share > 0).any()


def test_the_same_seed_varies_alike_and_unknown_joints_stay_unknown(drawn):
    images, poses = drawn
    poses[0, 3] = float("nan")
    a = varied(images, poses, SKELETON.flip_index, torch.Generator().manual_seed(5))
    b = varied(images, poses, SKELETON.flip_index, torch.Generator().manual_seed(5))
    assert torch.equal(a[0], b[0])
    assert torch.equal(a[1].isnan(), b[1].isnan())
    assert a[1].isnan().sum() == 2
