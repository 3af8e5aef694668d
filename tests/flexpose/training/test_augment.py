"""Varied pictures: keypoints follow, and the same seed gives the same pictures."""

from __future__ import annotations

import pytest
import torch

from flexpose.models.maps import cells_to_unit, gaussians_at, peak_cells, read_peaks
from flexpose.rendering.soft import Renderer
from flexpose.rendering.style import DrawingStyle
from flexpose.skeleton import load_skeleton
from flexpose.training.augment import (
    bent,
    covered,
    inverse,
    mapped,
    mirrored,
    moved,
    projected,
    random_affine,
    random_field,
    random_perspective,
    tinted,
    unwarped,
    varied,
    warped,
)

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


def dots(points, size=65):
    """Pictures (n, J, size, size) of a small bright spot a keypoint (n, J, 2)."""
    at = torch.linspace(-1, 1, size)
    x, y = ((at - points[..., axis, None]).square() for axis in (0, 1))
    return torch.exp(-(y[..., None] + x[:, :, None]) / 0.06**2)


def spots(pictures):
    """Where they are brightest, (n, J, 2) in unit space."""
    return cells_to_unit(peak_cells(pictures), (pictures.shape[3], pictures.shape[2]), 1)


WARPS = {
    "affine": (warped, lambda n, random: random_affine(n, random, 0.6, 0.4, (0.7, 1.2), 0.1)),
    "perspective": (projected, random_perspective),
    "elastic": (bent, random_field),
}


@pytest.mark.parametrize("kind", WARPS)
@pytest.mark.parametrize("seed", range(3))
def test_warps_move_keypoints_with_the_pixels(kind, seed):
    apply, draw = WARPS[kind]
    random = torch.Generator().manual_seed(seed)
    points = torch.rand(8, 3, 2, generator=random) - 0.5
    numbers = draw(8, random)
    pictures, moved_to = apply(dots(points), points, numbers)
    assert (moved_to - points).norm(dim=2).mean() > 0.03
    assert moved_to.abs().max() < 1
    assert (spots(pictures) - moved_to).abs().max() < 1.6 * 2 / 64  # pixels
    unknown = torch.full((8, 1, 2), float("nan"))
    assert apply(dots(points), unknown, numbers)[1].isnan().all()


def test_affine_maps_are_undone():
    affine = random_affine(5, torch.Generator().manual_seed(0), 3.1, 0.5, (0.6, 1.3), 0.2)
    points = torch.rand(5, 4, 2, generator=torch.Generator().manual_seed(1)) * 2 - 1
    torch.testing.assert_close(mapped(mapped(points, affine), inverse(affine)), points)
    torch.testing.assert_close(mapped(mapped(points, inverse(affine)), affine), points)


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_maps_of_a_warped_picture_are_taken_back_to_the_plain_one(stride):
    size = 64
    cells = (size // stride,) * 2
    random = torch.Generator().manual_seed(0)
    points = (torch.rand(6, 4, 2, generator=random) - 0.5) * 0.8
    affine = random_affine(6, random, 1.0, 0.3, (0.8, 1.2), 0.1)
    seen = gaussians_at(mapped(points, affine), cells, stride)  # what a perfect network gives
    back = unwarped(seen, affine, size)
    assert (read_peaks(back, stride).keypoints - points).abs().max() < 0.6 * 2 / cells[0]
    same = torch.eye(2, 3).expand(6, 2, 3)
    torch.testing.assert_close(unwarped(seen, same, size), seen, atol=1e-5, rtol=0)


def test_taking_maps_back_lets_gradients_through_and_leaves_nothing_outside():
    maps = torch.ones(1, 1, 8, 8, requires_grad=True)
    smaller = torch.tensor([[[2.0, 0, 0], [0, 2.0, 0]]])  # the view shows the middle half
    back = unwarped(maps, smaller, 16)
    assert back[0, 0, 0, 0] == 0
    assert back[0, 0, 3, 3] == 1
    back.sum().backward()
    assert maps.grad.sum().item() == pytest.approx(back.sum().item())
