from __future__ import annotations

import numpy as np

from flexpose.annotation.label import (
    VISIBLE,
    FrameLabel,
    mark_absent,
    place,
    suggestion,
    toggle_occluded,
)
from napari_flexpose.convert import (
    STATE_COLOURS,
    box_vectors,
    crowding,
    dashed,
    edge_vectors,
    joint_sides,
    joint_states,
    shown_joints,
    to_rows_columns,
    to_xy,
)


def test_rows_and_columns_and_back():
    points = np.random.default_rng(0).normal(size=(4, 3, 2)).astype(np.float32)
    np.testing.assert_array_equal(to_xy(to_rows_columns(points)), points)


def test_x_becomes_the_column():
    np.testing.assert_array_equal(to_rows_columns(np.array([[3.0, 7.0]])), [[7, 3]])


def test_joints_without_a_position_stay_out(puppet):
    label = place(FrameLabel.empty(5), 1, 3, 7)
    label = mark_absent(place(label, 4, 5, 5), 2)
    assert shown_joints(label).tolist() == [1, 4]


def test_edges_need_both_ends(puppet):
    label = place(place(FrameLabel.empty(5), 0, 1, 2), 1, 4, 6)
    vectors, drawn = edge_vectors(label, puppet.edges)
    assert drawn.tolist() == [0]
    np.testing.assert_array_equal(vectors, [[[2, 1], [4, 3]]])
    assert edge_vectors(label, ())[0].shape == (0, 2, 2)


def test_states_have_names(puppet):
    label = toggle_occluded(place(place(FrameLabel.empty(5), 0, 1, 2), 1, 4, 6), 1)
    state = np.full(5, VISIBLE, np.int8)
    label = suggestion(label, np.ones((5, 2), np.float32), state)
    assert joint_states(label) == ("visible", "occluded", *["suggested"] * 3)
    assert set(joint_states(label)) == set(STATE_COLOURS)


def test_points_are_as_close_as_a_quarter_of_them():
    line = np.array([(0, 0), (1, 0), (3, 0), (6, 0), (10, 0)])
    assert crowding(line) == 1  # nearest neighbours are 1, 1, 2, 3 and 4 away
    assert crowding(line[:1]) == float("inf")


def test_a_box_has_four_sides():
    sides = box_vectors((3, 7), (5, 4))
    np.testing.assert_array_equal(
        sides, [[[7, 3], [0, 2]], [[7, 5], [-3, 0]], [[4, 5], [0, -2]], [[4, 3], [3, 0]]]
    )


def test_sides_are_those_of_the_pairs(puppet):
    assert joint_sides(puppet) == ("middle", "middle", "left", "right", "middle")


def test_dashes_begin_and_end_every_line_with_gaps_as_long():
    lines = np.array([[(0, 0), (0, 10)], [(5, 5), (1, 0)]], np.float32)
    dashes, owner = dashed(lines, 2.0)
    assert owner.tolist() == [0, 0, 0, 1]  # a short line is one dash
    np.testing.assert_allclose(dashes[:3, 0], [(0, 0), (0, 4), (0, 8)], atol=1e-5)
    np.testing.assert_allclose(dashes[:3, 1], [(0, 2)] * 3, atol=1e-5)
    np.testing.assert_array_equal(dashes[3], lines[1])
