"""Pose-mixup: convex combinations of different shots."""

from __future__ import annotations

import numpy as np
import pytest

from flexpose.errors import FlexPoseError
from flexpose.mixup import pose_mixup


class Fixed:
    """A random source with chosen draws: first 1, one further on, lam .25."""

    def integers(self, low, high=None, size=None):
        return np.ones(size, dtype=int)

    def random(self, shape):
        return np.full(shape, 0.25)


def test_a_case_by_hand():
    shots = np.array([[[0.0, 0.0]], [[4.0, 8.0]], [[8.0, 0.0]]])
    out = pose_mixup(shots, 2, Fixed())  # .25 of shot 1 and .75 of shot 2
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, [[[7, 2]], [[7, 2]]])


def test_a_shot_is_never_mixed_with_itself():
    shots = np.eye(4)[:, None]  # the weights can be read off the result
    out = pose_mixup(shots, 2000, np.random.default_rng(0))[:, 0]
    np.testing.assert_allclose(out.sum(axis=1), 1, rtol=1e-6)
    assert ((out > 0).sum(axis=1) == 2).all()
    pairs = {tuple(np.flatnonzero(row)) for row in out}
    assert len(pairs) == 6  # all of them occur
    lam = out.max(axis=1)
    assert abs(lam.mean() - 0.75) < 0.02  # the larger of lam and 1 - lam, lam uniform


def test_two_shots_are_enough_and_one_is_not():
    out = pose_mixup(np.array([[[0.0, 0.0]], [[1.0, 2.0]]]), 50, np.random.default_rng(0))
    np.testing.assert_allclose(out[..., 1], 2 * out[..., 0], rtol=1e-6)
    with pytest.raises(FlexPoseError, match="Found 1 shot, expected at least 2"):
        pose_mixup(np.zeros((1, 3, 2)), 5, np.random.default_rng(0))


def test_the_same_seed_gives_the_same_poses():
    shots = np.random.default_rng(1).normal(size=(5, 3, 2))
    a, b = (pose_mixup(shots, 20, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(a, b)
