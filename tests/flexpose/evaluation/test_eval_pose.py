import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from flexpose.errors import PoseShapeError
from flexpose.evaluation.eval_pose import (
    angle_triplets,
    bone_length_stats,
    bone_lengths,
    eval_pose,
    joint_angle_stats,
    joint_angles,
    triplet_names,
)
from flexpose.skeleton import Skeleton, load_skeleton, skeleton_names

BODY = load_skeleton("body15")
ARM = Skeleton(
    name="arm", joints=("shoulder", "elbow", "wrist", "tip"), edges=((0, 1), (1, 2), (2, 3))
)


def figures(count, seed=0):
    return np.random.default_rng(seed).uniform(0, 200, (count, BODY.num_joints, 2))


def test_triplets_are_bones_that_meet_and_do_not_only_join_left_to_right():
    names = triplet_names(BODY)
    assert len(names) == 15
    assert "left_shoulder-left_elbow-left_wrist" in names
    assert "left_shoulder-neck-right_shoulder" not in names


@pytest.mark.parametrize("name", skeleton_names())
def test_triplets_are_the_same_on_both_sides(name):
    skeleton = load_skeleton(name)
    flip = skeleton.flip_index
    triplets = {(frozenset((a, c)), b) for a, b, c in angle_triplets(skeleton)}
    assert triplets == {(frozenset(flip[i] for i in ends), flip[b]) for ends, b in triplets}


def test_angles_by_hand():
    # stretched shoulder-elbow-wrist, right angle at the wrist
    pose = np.array([[[0.0, 0.0], [10, 0], [30, 0], [30, 5]]])
    np.testing.assert_allclose(joint_angles(pose, ARM), [[180, 90]])
    folded = np.array([[[0.0, 0.0], [10, 0], [0, 0], [10, 10]]])
    np.testing.assert_allclose(joint_angles(folded, ARM), [[0, 45]])


def test_angles_are_missing_where_a_joint_or_a_bone_is():
    pose = np.array(
        [[[0.0, 0.0], [10, 0], [np.nan, np.nan], [3, 3]], [[0, 0], [5, 0], [5, 0], [9, 9]]]
    )
    assert np.isnan(joint_angles(pose, ARM)).all()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    turn=st.floats(-np.pi, np.pi),
    scale=st.floats(0.05, 50),
    shift=st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)),
    mirror=st.booleans(),
    centred=st.booleans(),
)
def test_eval_pose_ignores_place_size_rotation_and_mirroring(
    seed, turn, scale, shift, mirror, centred
):
    poses, others = figures(3, seed), figures(3, seed + 1)
    bones = poses[:, [a for a, _ in BODY.edges]] - poses[:, [b for _, b in BODY.edges]]
    assume(np.linalg.norm(bones, axis=2).min() > 1e-2)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    moved = scale * (poses * [-1 if mirror else 1, 1]) @ matrix.T + shift
    expected = eval_pose(poses, others, BODY, centred=centred)
    np.testing.assert_allclose(eval_pose(moved, others, BODY, centred=centred), expected, atol=1e-6)
    np.testing.assert_allclose(eval_pose(others, moved, BODY, centred=centred), expected, atol=1e-6)


def test_eval_pose_is_the_cosine_and_centred_the_correlation_of_the_angles():
    poses, others = figures(4, 1), figures(4, 2)
    a, b = joint_angles(poses, BODY), joint_angles(others, BODY)
    cosine = [p @ q / np.linalg.norm(p) / np.linalg.norm(q) for p, q in zip(a, b, strict=True)]
    correlation = [np.corrcoef(p, q)[0, 1] for p, q in zip(a, b, strict=True)]
    np.testing.assert_allclose(eval_pose(poses, others, BODY), cosine)
    np.testing.assert_allclose(eval_pose(poses, others, BODY, centred=True), correlation)


@pytest.mark.parametrize("centred", [False, True])
def test_a_pose_is_most_like_itself(centred):
    poses = figures(5)
    np.testing.assert_allclose(eval_pose(poses, poses, BODY, centred=centred), 1)


def test_eval_pose_compares_the_angles_both_poses_have():
    poses, others = figures(1, 1), figures(1, 2)
    partial = poses.copy()
    partial[0, BODY.index("left_wrist")] = np.nan
    keep = [i for i, n in enumerate(triplet_names(BODY)) if "left_wrist" not in n]
    a, b = joint_angles(poses, BODY)[0, keep], joint_angles(others, BODY)[0, keep]
    for centred, expected in (
        (False, a @ b / np.linalg.norm(a) / np.linalg.norm(b)),
        (True, np.corrcoef(a, b)[0, 1]),
    ):
        for pair in ((partial, others), (others, partial)):
            assert eval_pose(*pair, BODY, centred=centred)[0] == pytest.approx(expected)


def test_eval_pose_refuses_what_it_cannot_compare():
    poses = figures(2)
    with pytest.raises(PoseShapeError, match="expected equal ones"):
        eval_pose(poses, poses[:1], BODY)
    with pytest.raises(PoseShapeError, match=r"expected \(N, 15, 2\)"):
        eval_pose(poses[:, :5], poses[:, :5], BODY)
    empty = np.full_like(poses, np.nan)
    with pytest.raises(
        PoseShapeError, match="Row 0 holds two poses that share fewer than two joint angles"
    ):
        eval_pose(poses, empty, BODY)
    square = np.array([[[0.0, 0.0], [1, 0], [1, 1], [0, 1]]])
    with pytest.raises(PoseShapeError, match="all equal"):
        eval_pose(square, square, ARM, centred=True)
    found = np.stack([poses[0], empty[0], np.full_like(poses[0], 3)])
    true = np.stack([poses[0], poses[1], poses[1]])
    scores = eval_pose(found, true, BODY, centred=True, undefined=-0.5)
    np.testing.assert_allclose(scores, [1, -0.5, -0.5])


def test_bone_lengths_are_shares_of_the_longer_side():
    pose = np.array([[[10.0, 5.0], [20, 5], [50, 5], [50, 15]]])
    np.testing.assert_allclose(bone_lengths(pose, ARM), [[0.25, 0.75, 0.25]], rtol=1e-6)
    np.testing.assert_allclose(bone_lengths(pose * 7 - 3, ARM), [[0.25, 0.75, 0.25]], rtol=1e-6)
    with pytest.raises(PoseShapeError, match="Row 0 has all its joints on one spot"):
        bone_lengths(pose * 0, ARM)


def test_bone_length_stats_by_hand():
    real = np.array([[[0.0, 0.0], [10, 0], [40, 0], [40, 10]]])
    gen = np.array([[[0.0, 0.0], [20, 0], [40, 0], [40, 10]], [[0, 0], [30, 0], [40, 0], [40, 10]]])
    stats = bone_length_stats(gen, real, ARM)["shoulder-elbow"]
    assert stats["gen_mean"] == pytest.approx(0.625)
    assert stats["gen_std"] == pytest.approx(0.125)
    assert stats["real_mean"] == pytest.approx(0.25)
    assert stats["difference"] == pytest.approx(0.375)


def test_joint_angle_stats_are_wasserstein_distances_in_degrees():
    # the wrist bends from 180 to 90 degrees, the elbow stays
    straight = np.array([[[0.0, 0.0], [10, 0], [20, 0], [30, 0]]] * 3)
    bent = straight.copy()
    bent[:, 3] = [20, 10]
    stats = joint_angle_stats(bent, straight, ARM)
    assert stats["shoulder-elbow-wrist"] == pytest.approx(0, abs=1e-9)
    assert stats["elbow-wrist-tip"] == pytest.approx(90)
    x, y = figures(20, 1), figures(30, 2)
    expected = scipy.stats.wasserstein_distance(
        joint_angles(x, BODY)[:, 0], joint_angles(y, BODY)[:, 0]
    )
    assert joint_angle_stats(x, y, BODY)[triplet_names(BODY)[0]] == pytest.approx(expected)


def test_joint_angle_stats_refuse_an_angle_that_no_pose_has():
    folded = np.zeros((2, 4, 2))
    folded[:, 3] = 1
    with pytest.raises(PoseShapeError, match="defined in no pose"):
        joint_angle_stats(folded, folded, ARM)
