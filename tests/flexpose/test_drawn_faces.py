"""Drawn faces: landmarks where the picture has them, the same whenever they are asked for."""

from __future__ import annotations

import numpy as np

from flexpose.frames import open_frames
from flexpose.io.base import read_poses
from flexpose.mannequin.faces import face_frames


def test_a_seed_gives_the_same_faces_and_another_others():
    one, same, other = (face_frames(seed, people=2, frames=3) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.poses.keypoints, same.poses.keypoints)
    np.testing.assert_array_equal(one.image(4), same.image(4))
    assert not np.array_equal(one.poses.keypoints, other.poses.keypoints)


def test_landmarks_lie_on_what_they_name():
    sample = face_frames(3, people=4, frames=2, image_size=256, turns_deg=5)
    names = sample.poses.skeleton.joints
    for row in range(len(sample)):
        image, points = sample.image(row).astype(int), sample.poses.keypoints[row]
        assert sample.poses.visibility[row].min() == 2
        lips = [i for i, name in enumerate(names) if name.startswith("outer_lip")]
        x, y = np.rint(points[names.index("outer_lip_09")] - (0, 3)).astype(int)
        nose = points[names.index("nose_base_3")]
        across, down = np.rint(nose + np.array([0, 8])).astype(int)
        assert np.abs(image[y, x] - image[down, across]).sum() > 40  # a lip, not skin
        eye = [i for i, name in enumerate(names) if name.startswith("left_eye")]
        assert points[eye, 0].mean() > points[lips, 0].mean()  # the person's own left


def test_who_looks_aside_does_so_in_the_landmarks():
    ahead, aside = (face_frames(0, people=6, yaw_deg=yaw, turns_deg=5).poses for yaw in (0, 35))
    nose, jaw = ahead.skeleton.index("nose_bridge_4"), [0, 16]

    def shift(poses):
        side = poses.keypoints[:, jaw, 0]
        return ((poses.keypoints[:, nose, 0] - side.mean(axis=1)) / np.ptp(side, axis=1)).mean()

    assert abs(shift(ahead)) < 0.1
    assert shift(aside) > 0.25


def test_they_are_written_as_pictures_with_a_coco_file(tmp_path):
    sample = face_frames(0, people=2, frames=2, image_size=64)
    path = sample.write(tmp_path)
    again = read_poses(path)
    np.testing.assert_allclose(again.keypoints, sample.poses.keypoints, atol=0.01)
    assert again.image_ids == sample.poses.image_ids
    np.testing.assert_array_equal(open_frames(tmp_path).read(3), sample.image(3))
