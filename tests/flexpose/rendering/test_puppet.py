"""Puppets: limbs go where the pose says, the place stays."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from flexpose.mannequin import mannequin_frames
from flexpose.rendering.puppet import Anatomy, Puppet
from flexpose.skeleton import Skeleton, load_skeleton


@pytest.fixture(scope="module")
def sample():
    return mannequin_frames(0, clips_per_action=1, frames_per_clip=6, image_size=96)


@pytest.fixture(scope="module")
def background(sample):
    """The room: the median over frames in which the person stands elsewhere."""
    return np.median([sample.image(i) for i in range(len(sample))], axis=0).astype(np.uint8)


BODY = Anatomy.of(load_skeleton("body15"))


def test_limbs_and_trunk_of_a_body():
    skeleton = load_skeleton("body15")
    names = [tuple(skeleton.joints[j] for j in limb) for limb in BODY.limbs]
    assert ("neck", "head") in names
    assert len(names) == 9
    assert {skeleton.joints[j] for j in BODY.trunk} == {
        "neck", "pelvis", "left_shoulder", "right_shoulder", "left_hip", "right_hip",
    }  # fmt: skip
    assert BODY.raised == tuple("shoulder" in a or "elbow" in a for a, _ in names)
    assert Anatomy.of(load_skeleton("coco17")) is not None
    assert Anatomy.of(load_skeleton("face68")) is None
    assert Anatomy.of(load_skeleton("hand21")) is None


def test_what_is_all_trunk_or_has_a_joint_apart_has_no_anatomy():
    trunk = ("neck", "spine", "pelvis")
    bare = Skeleton(name="bare", joints=trunk, edges=((0, 1), (1, 2)))
    assert Anatomy.of(bare) is None
    tailed = replace(bare, joints=(*trunk, "tail"), edges=((0, 1), (1, 2), (2, 3)), edge_colors=())
    assert Anatomy.of(tailed) is not None
    apart = replace(tailed, joints=(*tailed.joints, "ball"))
    assert Anatomy.of(apart) is None


def test_in_its_own_pose_a_puppet_looks_like_its_picture(sample, background):
    image, pose = sample.image(8), sample.poses.keypoints[8]
    again = Puppet(image, pose, BODY, background).posed(pose, np.random.default_rng(0))
    mask = sample.person_mask(8)
    apart = np.abs(again.astype(int) - image).max(axis=2)
    assert np.median(apart[mask]) <= 3
    assert (apart[mask] > 40).mean() < 0.05


def test_the_person_goes_and_stands_elsewhere(sample, background):
    image, pose = sample.image(8), sample.poses.keypoints[8]
    target = pose + np.array([22.0, 0.0], np.float32)
    moved = Puppet(image, pose, BODY, background).posed(target, np.random.default_rng(0))
    mask = sample.person_mask(8)
    shifted = np.zeros_like(mask)
    shifted[:, 22:] = mask[:, :-22]
    apart = np.abs(moved[:, 22:].astype(int) - image[:, :-22]).max(axis=2)
    assert np.median(apart[shifted[:, 22:]]) <= 4
    left_behind = mask & ~cv2.dilate(shifted.astype(np.uint8), np.ones((9, 9))).astype(bool)
    there = np.abs(moved.astype(int) - background).max(axis=2)
    assert np.median(there[left_behind]) <= 4


def test_a_raised_arm_shows_where_the_pose_has_it(sample, background):
    skeleton = sample.poses.skeleton
    image, pose = sample.image(1), sample.poses.keypoints[1].copy()
    shoulder, elbow, wrist = (skeleton.index(f"left_{j}") for j in ("shoulder", "elbow", "wrist"))
    up = pose.copy()
    up[elbow] = pose[shoulder] + [14, -12]
    up[wrist] = pose[shoulder] + [26, -24]
    puppet = Puppet(image, pose, BODY, background)
    drawn = puppet.posed(up, np.random.default_rng(3))
    middle = (up[elbow] + up[wrist]) / 2
    x, y = np.rint(middle).astype(int)
    assert np.abs(drawn[y, x].astype(int) - background[y, x]).max() > 25


def test_without_a_background_the_place_behind_the_person_is_painted_over(sample):
    image, pose = sample.image(8), sample.poses.keypoints[8]
    puppet = Puppet(image, pose, BODY)
    mask = sample.person_mask(8)
    changed = np.abs(puppet.background.astype(int) - image).max(axis=2) > 12
    assert changed[mask].mean() > 0.6
    far = ~cv2.dilate(mask.astype(np.uint8), np.ones((25, 25))).astype(bool)
    assert not changed[far].any()


def test_a_background_in_which_the_person_stands_still_is_not_trusted(sample):
    image, pose = sample.image(8), sample.poses.keypoints[8]
    puppet = Puppet(image, pose, BODY, image)
    assert np.abs(puppet.background.astype(int) - image).max() > 40


@pytest.mark.parametrize("pose", [np.zeros((15, 2)), np.full((15, 2), -500.0)])
def test_impossible_poses_make_a_picture_all_the_same(sample, pose):
    drawn = Puppet(sample.image(0), sample.poses.keypoints[0], BODY).posed(
        pose, np.random.default_rng(0)
    )
    assert drawn.shape == (96, 96, 3)
    assert drawn.dtype == np.uint8
