"""Pictures that follow their keypoints to another pose."""

from __future__ import annotations

import cv2
import numpy as np

from flexpose.rendering.bent import BentPicture

POSE = np.array([[20, 20], [44, 20], [44, 44], [20, 44], [32, 32]], np.float32)


def dotted(pose):
    """White discs at keypoints on grey, uint8 (64, 64, 3)."""
    image = np.full((64, 64, 3), 90, np.uint8)
    for x, y in pose.tolist():
        cv2.circle(image, (round(x), round(y)), 3, (255, 255, 255), -1)
    return image


def test_in_its_own_pose_a_picture_is_as_it_was():
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(BentPicture(image, POSE).posed(POSE), image)


def test_what_is_at_the_keypoints_moves_with_them():
    moved = POSE + np.array([[-6, -4], [5, 0], [3, 6], [-2, 3], [4, -3]], np.float32)
    bent = BentPicture(dotted(POSE), POSE).posed(moved)
    for x, y in moved.tolist():
        assert bent[round(y), round(x)].min() > 240
    assert bent[2, 2].tolist() == [90, 90, 90]


def test_what_is_between_keypoints_is_bent_linearly():
    image = np.zeros((64, 64, 3), np.uint8)
    image[:] = np.arange(64, dtype=np.uint8)[None, :, None] * 4
    wide = np.array([[12, 20], [52, 20], [52, 44], [12, 44], [32, 32]], np.float32)
    row = BentPicture(image, POSE).posed(wide)[32, :, 0].astype(float)
    # between 12 and 52 the picture shows what was between 20 and 44
    np.testing.assert_allclose(row[22], 4 * (20 + 24 * 10 / 40), atol=3)
    np.testing.assert_allclose(row[42], 4 * (20 + 24 * 30 / 40), atol=3)


def test_poses_that_fold_or_leave_the_picture_give_pictures_all_the_same():
    for pose in (POSE[::-1], POSE * 0 + 30, POSE + 60):
        bent = BentPicture(dotted(POSE), POSE).posed(pose)
        assert bent.shape == (64, 64, 3)
        assert bent.dtype == np.uint8
