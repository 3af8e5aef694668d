"""Pose-mixup: convex combinations of different shots."""

from __future__ import annotations

import numpy as np
import pytest

from flexpose.errors import FlexPoseError
from flexpose.mixup import angle_mixup, pose_mixup
from flexpose.skeleton import bone_tree, load_skeleton


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


# ---------------------------------------------------------------- between angles


BODY = load_skeleton("body15")


def bones(poses):
    tree = bone_tree(BODY)
    return np.stack([poses[:, b] - poses[:, a] for a, b in tree], axis=1)


def test_a_limb_that_turns_keeps_its_length():
    straight = np.random.default_rng(0).normal(size=(1, BODY.num_joints, 2))
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])  # by a quarter
    shots = np.concatenate([straight, straight @ turn.T])
    lengths = np.linalg.norm(bones(straight), axis=2)
    mixed = angle_mixup(shots, 200, np.random.default_rng(1), BODY)
    assert mixed.shape == (200, BODY.num_joints, 2)
    assert mixed.dtype == np.float32
    np.testing.assert_allclose(
        np.linalg.norm(bones(mixed), axis=2), np.tile(lengths, (200, 1)), rtol=1e-4
    )
    plain = pose_mixup(shots, 200, np.random.default_rng(1))
    assert (np.linalg.norm(bones(plain), axis=2) < lengths * 0.999).mean() > 0.9


def test_halfway_between_two_directions_by_hand():
    shots = np.zeros((2, BODY.num_joints, 2))
    parent, child = bone_tree(BODY)[0]
    shots[0, child], shots[1, child] = (2, 0), (0, 4)
    half = angle_mixup(shots, 1, Halfway(), BODY)[0]
    np.testing.assert_allclose(half[parent], 0, atol=1e-7)
    np.testing.assert_allclose(half[child], 3 * np.sqrt(0.5) * np.ones(2), rtol=1e-6)


def test_bones_turn_the_shorter_way_round():
    shots = np.zeros((2, BODY.num_joints, 2))
    _, child = bone_tree(BODY)[0]
    for row, degrees in enumerate((170.0, -170.0)):
        shots[row, child] = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    half = angle_mixup(shots, 1, Halfway(), BODY)[0]
    np.testing.assert_allclose(half[child], [-1, 0], atol=1e-6)


class Halfway(Fixed):
    """The same pair, in equal shares."""

    def random(self, shape):
        return np.full(shape, 0.5)
