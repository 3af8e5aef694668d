"""Coordinate spaces: round trips, mirroring, normalised boxes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from flexpose import geometry
from flexpose.errors import PoseShapeError
from flexpose.geometry import (
    FILL,
    boxes_to_crops,
    canvas_poses,
    canvas_to_unit,
    image_to_unit,
    mirrored_image,
    mirrored_unit,
    normalised,
    tight_boxes,
    unit_to_canvas,
    unit_to_image,
)

few = settings(max_examples=40, deadline=None)
unit = arrays(np.float32, (2, 5, 2), elements=st.floats(-1.5, 1.5, width=32))


@few
@given(poses=unit, corner=st.floats(-500, 500), side=st.floats(1, 1000))
def test_unit_to_image_and_back(poses, corner, side):
    crops = np.array([[corner, -corner, side]] * 2, dtype=np.float32)
    back = image_to_unit(unit_to_image(poses, crops), crops)
    np.testing.assert_allclose(back, poses, atol=1e-5 * (1 + abs(corner) / side * 100))


@few
@given(poses=unit, size=st.integers(16, 512))
def test_unit_to_canvas_and_back(poses, size):
    np.testing.assert_allclose(canvas_to_unit(unit_to_canvas(poses, size), size), poses, atol=1e-5)


def test_unit_ends_are_the_centres_of_the_first_and_last_pixel():
    corners = np.array([[[-1, -1], [1, 1], [0, 0]]])
    np.testing.assert_allclose(unit_to_canvas(corners, 64)[0], [[0, 0], [63, 63], [31.5, 31.5]])


def test_a_crop_puts_the_longer_side_of_a_box_in_its_middle():
    crop = boxes_to_crops(np.array([[10.0, 20.0, 85.0, 40.0]]))
    np.testing.assert_allclose(crop, [[2.5, -10, 100]], atol=1e-4)
    ends = image_to_unit(np.array([[[10, 20], [95, 60]]]), crop)
    np.testing.assert_allclose(ends[0], [[-0.85, -0.4], [0.85, 0.4]], atol=1e-5)


def test_a_box_without_extent_has_a_crop():
    assert boxes_to_crops(np.array([[5.0, 5.0, 0.0, 0.0]])).tolist() == [[4.5, 4.5, 1.0]]


@few
@given(seed=st.integers(0, 99), scale=st.floats(0.01, 100), x=st.floats(-1e3, 1e3))
def test_normalised_poses_do_not_depend_on_place_and_scale(seed, scale, x):
    poses = np.random.default_rng(seed).normal(0, 30, (3, 5, 2))
    own = normalised(poses)
    box = tight_boxes(own)
    np.testing.assert_allclose(box[:, 2:].max(axis=1), 2 * FILL, rtol=1e-5)
    np.testing.assert_allclose(box[:, :2] + box[:, 2:] / 2, 0, atol=1e-5)
    moved = normalised(poses * scale + [x, -x])
    # float32 crops: a pose of s pixels at a distance x loses about x / s of its seven digits
    np.testing.assert_allclose(moved, own, atol=1e-5 + 1e-6 * abs(x) / (30 * scale))
    np.testing.assert_allclose(normalised(own), own, atol=1e-6)


@few
@given(poses=unit, width=st.integers(1, 4000))
def test_mirroring_twice_changes_nothing(poses, width):
    flip = (0, 1, 3, 2, 4)
    assert (mirrored_unit(mirrored_unit(poses, flip), flip) == poses).all()
    image = unit_to_canvas(poses, 100)
    twice = mirrored_image(mirrored_image(image, width, flip), width, flip)
    np.testing.assert_allclose(twice, image, atol=1e-3)


def test_mirroring_exchanges_names_and_sides():
    image = np.array([[[0, 5], [63, 6], [10, 7]]])
    out = mirrored_image(image, np.array([64]), (0, 2, 1))
    assert out.tolist() == [[[63, 5], [53, 7], [0, 6]]]
    out = mirrored_unit(np.array([[[-1, 5], [1, 6], [0.5, 7]]]), (0, 2, 1))
    assert out.tolist() == [[[1, 5], [-0.5, 7], [-1, 6]]]


def test_mirrored_image_and_mirrored_unit_agree(puppet):
    poses = np.random.default_rng(0).uniform(-1, 1, (4, 5, 2)).astype(np.float32)
    a = canvas_to_unit(mirrored_image(unit_to_canvas(poses, 64), 64, puppet.flip_index), 64)
    np.testing.assert_allclose(a, mirrored_unit(poses, puppet.flip_index), atol=1e-6)


def test_tight_boxes_leave_out_what_is_not_labelled():
    poses = np.array([[[1, 2], [np.nan, np.nan], [4, 8]]])
    assert tight_boxes(poses).tolist() == [[1, 2, 3, 6]]
    with pytest.raises(PoseShapeError, match="Pose 1 has no labelled joint"):
        tight_boxes(np.stack([poses[0], np.full((3, 2), np.nan)]))
    assert tight_boxes(np.zeros((0, 3, 2))).shape == (0, 4)


def test_normalised_refuses_a_pose_without_extent():
    with pytest.raises(PoseShapeError, match="Pose 1 has no extent"):
        normalised(np.stack([np.eye(3, 2), np.full((3, 2), 7.0)]))


def test_canvas_poses_are_visible_poses_of_a_square_image(puppet):
    poses = canvas_poses(np.zeros((2, 5, 2)), puppet, 33, ["one"])
    assert (poses.keypoints == 16).all()
    assert poses.image_size.tolist() == [[33, 33]] * 2
    assert poses.source == ("one",)
    assert poses.complete.all()


def test_every_function_between_spaces_has_its_inverse():
    names = [name for name in vars(geometry) if "_to_" in name and name != "boxes_to_crops"]
    for name in names:
        a, b = name.split("_to_")
        assert f"{b}_to_{a}" in names
