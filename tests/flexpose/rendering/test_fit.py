"""Alpha turned round: its gradient, its equations, and what fitting makes of poses."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from flexpose.rendering.fit import PoseFit
from flexpose.rendering.soft import Renderer
from flexpose.rendering.style import DrawingStyle
from flexpose.skeleton import Skeleton


def random_poses(n, seed=0, joints=5):
    random = np.random.default_rng(seed)
    return torch.from_numpy(random.uniform(-0.8, 0.8, (n, joints, 2)).astype(np.float32))


@pytest.mark.parametrize("channels", [1, 3])
def test_normal_equations_are_those_of_autograd(channels):
    # limbs that share no joint: where they do, ties count twice
    apart = Skeleton(name="apart", joints=tuple("abcde"), edges=((0, 1), (4, 2)))
    render = Renderer(apart, DrawingStyle(32, channels=channels))
    fit = PoseFit(render)
    poses, wanted = random_poses(3), render(random_poses(3, seed=1))[:, :, ::2, ::2]
    matrix, vector, error = fit._normal_equations(poses, (wanted + 1) / 2)

    def drawn(pose):
        return ((render(pose[None])[0] + 1) / 2)[:, ::2, ::2]

    for row, pose in enumerate(poses):
        jacobian = torch.autograd.functional.jacobian(drawn, pose).reshape(-1, 10)
        residual = ((wanted[row] + 1) / 2 - drawn(pose)).flatten()
        torch.testing.assert_close(matrix[row], jacobian.T @ jacobian, rtol=1e-3, atol=1e-2)
        torch.testing.assert_close(vector[row], jacobian.T @ residual, rtol=1e-3, atol=1e-2)
        assert error[row].item() == pytest.approx(residual.square().mean().item(), rel=1e-4)


def test_each_step_takes_most_of_what_is_wrong(puppet):
    render = Renderer(puppet, DrawingStyle(64))
    wanted = random_poses(50)
    start = wanted + 0.02 * torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1))
    fit, images = PoseFit(render), render(wanted)
    distances = [
        (poses - wanted).norm(dim=2).median().item()
        for poses in (start, *(fit(start, images, steps)[0] for steps in (1, 2, 3)))
    ]
    assert all(after < before / 3 for before, after in pairwise(distances))


def test_the_error_tells_drawings_from_other_images(puppet):
    render = Renderer(puppet, DrawingStyle(64))
    poses = random_poses(8)
    images = render(poses)
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(0)) - 0.5
    _, clean = PoseFit(render)(poses, images)
    _, dirty = PoseFit(render)(poses, images + noise)
    assert clean.max() < 1e-8
    # uniform noise of width 1; fitting it takes some away
    assert dirty.mean().item() == pytest.approx(1 / 12, rel=0.05)


def test_a_joint_without_a_trace_stays_where_it_was():
    # both limbs lie on one line, the white one over the red one
    pair = Skeleton(
        name="pair",
        joints=("a", "b", "c", "d"),
        edges=((0, 1), (2, 3)),
        edge_colors=((255, 255, 255), (128, 0, 0)),
    )
    render = Renderer(pair, DrawingStyle(64))
    poses = torch.tensor([[[-0.5, 0.0], [0.5, 0.0], [-0.2, 0.0], [0.2, 0.0]]])
    start = poses.clone()
    start[0, 0, 1] += 0.02
    fitted, _ = PoseFit(render)(start, render(poses))
    assert torch.allclose(fitted[0, :2], poses[0, :2], atol=2e-3)
    assert torch.equal(fitted[0, 2:], poses[0, 2:])


def test_wild_starts_move_no_farther_than_the_line_glows(puppet):
    render = Renderer(puppet, DrawingStyle(32))
    start = random_poses(20, seed=2)
    fitted, _ = PoseFit(render)(start, render(random_poses(20, seed=3)), steps=1)
    assert (fitted - start).abs().max() <= 0.1 + 1e-6
