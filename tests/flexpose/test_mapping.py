"""Joints of one skeleton from another: by name, never by position."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexpose.errors import SkeletonMismatchError
from flexpose.mapping import find_mapping, map_poses
from flexpose.poseset import PoseSet
from flexpose.skeleton import Skeleton, load_skeleton


def coco_poses(n=3):
    coco = load_skeleton("coco17")
    points = np.random.default_rng(1).uniform(0, 100, (n, 17, 2))
    return PoseSet.create(coco, points, (100, 100))


def shuffled(poses, order):
    """The same poses in a skeleton whose joints stand in another order."""
    old = poses.skeleton
    skeleton = Skeleton(
        name="shuffled",
        joints=tuple(old.joints[i] for i in order),
        edges=(),
        derived=old.derived,
    )
    keypoints, visibility = poses.keypoints[:, order], poses.visibility[:, order]
    return replace(poses, skeleton=skeleton, keypoints=keypoints, visibility=visibility)


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(17)))
def test_the_order_of_the_joints_does_not_matter(order):
    poses, target = coco_poses(), load_skeleton("body15")
    a, b = map_poses(poses, target), map_poses(shuffled(poses, list(order)), target)
    np.testing.assert_array_equal(a.keypoints, b.keypoints)
    np.testing.assert_array_equal(a.visibility, b.visibility)


def test_derived_joints_are_means_of_their_parts():
    poses, target = coco_poses(), load_skeleton("body15")
    mapped = map_poses(poses, target)

    def joint(s, name):
        return s.keypoints[:, s.skeleton.index(name)]

    for name in ("left_wrist", "right_ankle"):
        np.testing.assert_array_equal(joint(mapped, name), joint(poses, name))
    np.testing.assert_array_equal(joint(mapped, "head"), joint(poses, "nose"))
    for name, part in (("neck", "shoulder"), ("pelvis", "hip")):
        middle = (joint(poses, f"left_{part}") + joint(poses, f"right_{part}")) / 2
        np.testing.assert_allclose(joint(mapped, name), middle, rtol=1e-6)
    assert mapped.skeleton is target
    assert "coco17 -> body15" in mapped.source[-1]
    assert "neck: mean of left_shoulder and right_shoulder" in mapped.source[-1]


def test_a_derived_joint_is_as_visible_as_its_least_visible_part():
    poses, target = coco_poses(), load_skeleton("body15")
    visibility = poses.visibility.copy()
    left, right = (poses.skeleton.index(f"{side}_shoulder") for side in ("left", "right"))
    visibility[0, left], visibility[1, left], visibility[1, right] = 0, 1, 2
    mapped = map_poses(replace(poses, visibility=visibility), target)
    neck = target.index("neck")
    assert mapped.visibility[:, neck].tolist() == [0, 1, 2]
    assert np.isnan(mapped.keypoints[0, neck]).all()


def test_a_derived_joint_is_as_sure_as_the_least_sure_of_its_parts():
    poses, target = coco_poses(1), load_skeleton("body15")
    sure = np.linspace(0.1, 0.9, 17, dtype=np.float32)[None]
    mapped = map_poses(replace(poses, confidence=sure), target).confidence[0]
    at = poses.skeleton.index
    assert mapped[target.index("right_knee")] == sure[0, at("right_knee")]
    both = sure[0, [at("left_shoulder"), at("right_shoulder")]]
    assert mapped[target.index("neck")] == both.min() < both.max()
    assert map_poses(poses, target).confidence is None


def test_a_joint_of_the_same_name_goes_before_a_stand_in():
    target = Skeleton(name="t", joints=("neck",), edges=(), derived={"neck": (("a", "b"),)})
    source = Skeleton(name="s", joints=("a", "b", "neck"), edges=())
    assert find_mapping(source, target).parts == ((2,),)
    without = Skeleton(name="s", joints=("b", "a"), edges=())
    assert find_mapping(without, target).parts == ((1, 0),)
    half = Skeleton(name="s", joints=("a",), edges=())
    assert find_mapping(half, target).missing == ("neck",)


def test_missing_joints_are_named_or_left_unlabelled():
    body, coco = load_skeleton("body15"), load_skeleton("coco17")
    poses = PoseSet.create(body, np.ones((2, 15, 2)), (9, 9))
    with pytest.raises(SkeletonMismatchError, match=r"lack the joints .*left_eye.* of coco17"):
        map_poses(poses, coco)
    mapped = map_poses(poses, coco, allow_missing=True)
    assert (mapped.visibility[:, coco.index("left_eye")] == 0).all()
    assert (mapped.visibility[:, coco.index("left_knee")] == 2).all()
    assert "left_eye: not available" in mapped.source[-1]


def test_the_same_joints_pass_unchanged():
    poses = coco_poses()
    mapped = map_poses(poses, load_skeleton("coco17"))
    np.testing.assert_array_equal(mapped.keypoints, poses.keypoints)
    assert mapped.source == poses.source


@pytest.mark.parametrize("name", ["coco17", "mpii16", "h36m17", "lsp14", "penn13", "jhmdb15"])
def test_every_body_skeleton_gives_the_body_of_the_shipped_prior(name):
    assert find_mapping(load_skeleton(name), load_skeleton("body15")).missing == ()
