"""Alpha in torch and in numpy: values by hand, agreement, gradients, missing joints."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from flexpose.errors import ConfigError, PoseShapeError
from flexpose.rendering.raster import skeleton_images
from flexpose.rendering.soft import Renderer
from flexpose.rendering.style import DrawingStyle
from flexpose.skeleton import Skeleton

STICK = Skeleton(name="stick", joints=("a", "b"), edges=((0, 1),), edge_colors=((255, 0, 102),))


def random_poses(n=4, seed=0, reach=0.9):
    random = np.random.default_rng(seed)
    return random.uniform(-reach, reach, (n, 5, 2)).astype(np.float32)


def as_bytes(images):
    """Float images in [-1, 1] as 0..255 floats, channels last."""
    return ((images + 1) * 127.5).permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize(
    ("size", "sigma"), [(16, 0.3), (32, 0.25), (33, 0.1), (64, 0.25), (128, 0.2)]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_numpy_and_torch_draw_the_same(size, sigma, channels, puppet):
    style = DrawingStyle(size, sigma, channels)
    poses = random_poses(reach=1.2)  # some limbs leave the canvas
    soft = as_bytes(Renderer(puppet, style)(torch.from_numpy(poses)))
    crisp = skeleton_images(poses, puppet, style)
    assert crisp.shape == (4, size, size, channels)
    assert crisp.dtype == np.uint8
    # half a level of rounding, half a level where the numpy window ends, a little of float32
    assert np.abs(soft - crisp).max() <= 1.02


def test_brightness_by_hand():
    # 33 pixels are 1/16 apart; the limb lies on row 16, from column 8 to column 24
    style = DrawingStyle(33, 0.4, 3)
    pose = torch.tensor([[[-0.5, 0.0], [0.5, 0.0]]])
    image = (Renderer(STICK, style)(pose)[0] + 1) / 2

    def glow(distance):
        return math.exp(-math.sqrt(distance**2 + 1e-6) / 0.16)

    for column, row, distance in [
        (16, 16, 0),  # on the limb
        (8, 16, 0),  # at its end
        (16, 18, 2 / 16),  # beside it
        (12, 11, 5 / 16),
        (4, 16, 4 / 16),  # beyond its end
        (5, 12, 5 / 16),  # 3 and 4 from the end
    ]:
        assert image[0, row, column].item() == pytest.approx(glow(distance), rel=1e-4)
        assert image[1, row, column].item() == 0  # a channel that the colour lacks
        assert image[2, row, column].item() == pytest.approx(0.4 * glow(distance), rel=1e-4)
    crisp = skeleton_images(pose.numpy(), STICK, style)[0]
    assert crisp[18, 16].tolist() == [round(255 * glow(2 / 16)), 0, round(102 * glow(2 / 16))]
    white = Renderer(STICK, DrawingStyle(33, 0.4, 1))(pose)
    assert white.shape == (1, 1, 33, 33)
    assert torch.allclose((white[0, 0] + 1) / 2, image[0])


def test_limbs_combine_by_maximum():
    cross = Skeleton(name="x", joints=("a", "b", "c", "d"), edges=((0, 1), (2, 3)))
    style = DrawingStyle(33, 0.4, 1)
    poses = torch.tensor([[[-0.5, 0.0], [0.5, 0.0], [0.0, -0.5], [0.0, 0.5]]])
    both = Renderer(cross, style)(poses)
    one = [Renderer(STICK, style)(poses[:, k : k + 2]) for k in (0, 2)]
    assert torch.equal(both, torch.maximum(*one))


def test_gradients_agree_with_differences(puppet):
    # few pixels, so that none lies where the nearest limb changes
    render = Renderer(puppet, DrawingStyle(16, 0.5, 3))
    poses = torch.from_numpy(random_poses(1, seed=3)).double().requires_grad_(True)
    assert torch.autograd.gradcheck(render, poses, eps=1e-7, atol=1e-5)


def test_a_limb_is_pulled_towards_its_target(puppet):
    render = Renderer(puppet, DrawingStyle(32))
    target = torch.from_numpy(random_poses(1))
    poses = (target + 0.05).requires_grad_(True)
    (render(poses) - render(target)).square().sum().backward()
    moved = poses.detach() - 1e-3 * poses.grad / poses.grad.norm()
    before, after = ((render(p) - render(target)).square().sum() for p in (poses, moved))
    assert after < before


def test_a_batch_is_drawn_like_single_poses(puppet):
    style, poses = DrawingStyle(32), torch.from_numpy(random_poses(5))
    render = Renderer(puppet, style)
    batch = render(poses)
    assert torch.equal(batch, torch.cat([render(pose[None]) for pose in poses]))
    crisp = skeleton_images(poses.numpy(), puppet, style)
    single = [skeleton_images(pose[None].numpy(), puppet, style) for pose in poses]
    np.testing.assert_array_equal(crisp, np.concatenate(single))
    assert render(poses[:0]).shape == (0, 3, 32, 32)
    assert skeleton_images(poses[:0].numpy(), puppet, style).shape == (0, 32, 32, 3)


@pytest.mark.parametrize("missing", [(1,), (2,), (0, 4), (0, 1, 2, 3, 4)])
def test_limbs_with_a_missing_end_are_left_out(missing, puppet):
    style = DrawingStyle(32)
    poses = random_poses(2)
    poses[:, list(missing)] = np.nan
    kept = [e for e in range(len(puppet.edges)) if not set(puppet.edges[e]) & set(missing)]
    rest = Skeleton(
        name="rest",
        joints=puppet.joints,
        edges=tuple(puppet.edges[e] for e in kept),
        edge_colors=tuple(puppet.edge_colors[e] for e in kept),
    )
    whole = np.nan_to_num(poses)
    expected = np.zeros((2, 32, 32, 3), dtype=np.uint8)
    if kept:
        expected = skeleton_images(whole, rest, style)
    np.testing.assert_array_equal(skeleton_images(poses, puppet, style), expected)
    leaf = torch.from_numpy(poses).requires_grad_(True)
    soft = Renderer(puppet, style)(leaf)
    assert np.abs(as_bytes(soft.detach()) - expected).max() <= 1.02
    soft.square().sum().backward()
    assert leaf.grad.isfinite().all()
    assert (leaf.grad[:, list(missing)] == 0).all()


def test_each_bone_shows_in_a_colour_of_its_own(puppet):
    style = DrawingStyle(64, 0.15)
    pose = np.array([[[0, 0.3], [0, -0.3], [-0.8, -0.8], [0.8, -0.8], [0, 0.9]]], dtype=np.float32)
    image = skeleton_images(pose, puppet, style)[0].astype(int)
    seen = []
    for (a, b), color in zip(puppet.edges, puppet.edge_colors, strict=True):
        x, y = np.rint((pose[0, a] + pose[0, b] + 2) / 4 * 63).astype(int)
        near = image[y, x]
        hue = near / near.max()
        np.testing.assert_allclose(hue, np.array(color) / max(color), atol=0.1)
        seen.append(tuple(np.rint(hue * 9).astype(int)))
    assert len(set(seen)) == len(puppet.edges)


def test_without_edges_the_canvas_stays_black():
    dots = Skeleton(name="dots", joints=("a", "b"), edges=())
    images = Renderer(dots, DrawingStyle(16))(torch.zeros(3, 2, 2))
    assert torch.equal(images, torch.full((3, 3, 16, 16), -1.0))


def test_poses_of_another_skeleton_are_refused(puppet):
    with pytest.raises(PoseShapeError, match=r"\(2, 4, 2\), expected \(n, 5, 2\)"):
        Renderer(puppet, DrawingStyle(32))(torch.zeros(2, 4, 2))


@pytest.mark.parametrize("bad", [{"size": 8}, {"sigma": 0.0}, {"sigma": -1.0}, {"channels": 2}])
def test_an_impossible_style_is_refused(bad):
    with pytest.raises(ConfigError, match="is not possible"):
        DrawingStyle(**bad)


def test_styles_are_plain_data_and_have_defaults_by_size():
    for size, sigma in [(32, 0.25), (64, 0.25), (128, 0.2), (256, 0.2)]:
        style = DrawingStyle.for_size(size)
        assert (style.size, style.sigma, style.channels) == (size, sigma, 3)
        assert DrawingStyle.from_dict(style.to_dict()) == style
