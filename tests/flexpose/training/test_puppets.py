"""Pictures of the shots' people in other poses: who takes which pose, and where it stands."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from flexpose.geometry import image_to_unit, mirrored_unit, normalised
from flexpose.mannequin import mannequin_frames
from flexpose.mannequin.faces import face_frames
from flexpose.skeleton import load_skeleton
from flexpose.training.clips import Labels
from flexpose.training.puppets import make_puppets

BODY = load_skeleton("body15")
FLIP = list(BODY.flip_index)


@pytest.fixture(scope="module")
def shots():
    """Three frames, whole, as crops of 64 px; their pictures."""
    sample = mannequin_frames(0, clips_per_action=1, frames_per_clip=2, image_size=64)
    rows = [0, 6, 10]
    crop = np.tile(np.array([[0, 0, 63]], np.float32), (3, 1))
    keypoints = torch.from_numpy(image_to_unit(sample.poses.keypoints[rows], crop))
    return Labels(torch.arange(3), keypoints), np.stack([sample.image(row) for row in rows])


def made(shots, poses, count=20, **changes):
    labels, images = shots
    values = {"nearness": 0.1, "seed": 0, **changes}
    return make_puppets(labels, images, images, poses, BODY, count, **values)


def test_puppets_stand_where_the_shots_do_in_poses_that_were_asked_for(shots):
    labels, _ = shots
    own = normalised(labels.keypoints.numpy())
    puppets = made(shots, own)
    assert puppets.images.shape == (20, 3, 64, 64)
    assert puppets.images.dtype == torch.uint8
    low, high = labels.keypoints.amin(dim=1), labels.keypoints.amax(dim=1)
    sizes = (high - low).amax(dim=1)
    for pose in puppets.keypoints:
        size = (pose.amax(dim=0) - pose.amin(dim=0)).max()
        assert (sizes - size).abs().min() < 1e-3
        back = normalised(pose[None].numpy())
        both = np.concatenate([own, mirrored_unit(own, FLIP)])
        assert np.abs(both - back).max(axis=(1, 2)).min() < 1e-3


def test_the_same_seed_makes_the_same_puppets(shots):
    poses = normalised(shots[0].keypoints.numpy())
    assert torch.equal(made(shots, poses).images, made(shots, poses).images)
    assert not torch.equal(made(shots, poses).images, made(shots, poses, seed=1).images)


def test_poses_from_behind_are_left_to_shots_from_behind(shots):
    own = normalised(shots[0].keypoints.numpy())
    left, right = BODY.index("left_shoulder"), BODY.index("right_shoulder")
    front = own[np.abs(own[:, left, 0] - own[:, right, 0]) > 0.2][:1]
    assert len(front)
    behind = front[:, FLIP]  # left and right change places
    one = Labels(shots[0].rows[:1], torch.from_numpy(front))
    pictures = shots[1][:1]
    nothing = make_puppets(one, pictures, pictures, behind, BODY, 5, 0.1, 0)
    assert len(nothing.images) == 0
    mixed = make_puppets(one, pictures, pictures, np.concatenate([front, behind]), BODY, 9, 0.1, 0)
    facing = (mixed.keypoints[:, left, 0] - mixed.keypoints[:, right, 0]).sign()
    assert facing.unique().tolist() == [np.sign(front[0, left, 0] - front[0, right, 0])]


def test_without_poses_or_a_complete_shot_there_are_none(shots):
    poses = normalised(shots[0].keypoints.numpy())
    assert len(made(shots, poses, count=0).images) == 0
    assert len(made(shots, poses[:0]).images) == 0
    holes = shots[0].keypoints.clone()
    holes[:, 4] = float("nan")
    assert len(made((Labels(torch.arange(3), holes), shots[1]), poses).images) == 0


def test_faces_are_bent_as_a_whole():
    sample = face_frames(0, people=3, frames=2, image_size=64)
    crop = np.tile(np.array([[0, 0, 63]], np.float32), (6, 1))
    labels = Labels(torch.arange(6), torch.from_numpy(image_to_unit(sample.poses.keypoints, crop)))
    images = np.stack([sample.image(row) for row in range(6)])
    own = normalised(sample.poses.keypoints)
    poses = normalised(face_frames(1, people=3, frames=2, image_size=64).poses.keypoints)
    made = make_puppets(labels, images, images, poses, sample.poses.skeleton, 12, 0.1, 0)
    assert made.images.shape == (12, 3, 64, 64)
    back = normalised(made.keypoints.numpy())
    both = np.concatenate([poses, mirrored_unit(poses, list(sample.poses.skeleton.flip_index))])
    assert np.abs(back[:, None] - both).max(axis=(2, 3)).min(axis=1).max() < 1e-3
    assert np.abs(back[:, None] - own).max(axis=(2, 3)).min() > 0.01
