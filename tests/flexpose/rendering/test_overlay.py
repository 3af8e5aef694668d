"""Overlays: sides by colour, joints that are missing or occluded."""

from __future__ import annotations

import numpy as np

from flexpose.rendering.raster import SIDE_COLORS, draw_overlay
from flexpose.skeleton import load_skeleton

LEFT, RIGHT, MIDDLE = SIDE_COLORS["left"], SIDE_COLORS["right"], SIDE_COLORS["middle"]


def test_edges_know_their_side(puppet):
    assert puppet.edge_sides == ("middle", "left", "right", "middle")
    body = load_skeleton("body15")
    for (a, b), side in zip(body.edges, body.edge_sides, strict=True):
        names = body.joints[a] + body.joints[b]
        assert side == ("left" if "left" in names else "right" if "right" in names else "middle")


def test_the_image_itself_is_left_alone(puppet):
    image = np.full((60, 80, 3), 128, dtype=np.uint8)
    points = np.array([[20, 30], [40, 30], [60, 10], [60, 50], [np.nan, np.nan]])
    out = draw_overlay(image, points, puppet)
    assert (image == 128).all()
    assert out.shape == image.shape
    assert tuple(out[30, 30]) == MIDDLE  # on the hip-head limb
    assert tuple(out[20, 50]) == LEFT
    assert tuple(out[40, 50]) == RIGHT
    assert (out[:, 70:] == 128).all()


def test_an_unlabelled_pose_draws_nothing(puppet):
    image = np.zeros((20, 20, 3), dtype=np.uint8)
    assert (draw_overlay(image, np.full((5, 2), np.nan), puppet) == 0).all()


def test_occluded_joints_are_rings(puppet):
    image = np.full((40, 40, 3), 200, dtype=np.uint8)
    points = np.full((5, 2), np.nan)
    points[4] = 20
    seen = draw_overlay(image, points, puppet, [0, 0, 0, 0, 2])
    occluded = draw_overlay(image, points, puppet, [0, 0, 0, 0, 1])
    assert tuple(seen[20, 20]) == (255, 255, 255)
    assert tuple(occluded[20, 20]) == (200, 200, 200)
    assert (occluded != 200).any()
