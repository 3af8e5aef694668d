from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexpose.annotation.review import (
    LOOKAHEAD,
    ORDERS,
    ReviewQueue,
    agreement,
    compared,
    farthest_first,
)
from flexpose.errors import AnnotationError
from flexpose.poseset import PoseSet
from flexpose.skeleton import Skeleton

LINE = Skeleton(name="line", joints=("a", "b", "c"), edges=((0, 1), (1, 2)))
NONE = np.zeros((0, 3, 2), np.float32)
SHARES = st.floats(0, 1, width=32)


def poses(points, confidence=None, names=None) -> PoseSet:
    names = names or tuple(f"{i}.png" for i in range(len(points)))
    return PoseSet.create(LINE, points, (200, 200), image_ids=names, confidence=confidence)


def bent(angle: float, size: float = 50.0, at: float = 100.0) -> np.ndarray:
    """Three joints, the last bone of them turned by an angle."""
    turn = (np.cos(angle), np.sin(angle))
    return np.array([(0, 0), (1, 0), (1 + turn[0], turn[1])]) * size + at


def queue_of(confidence) -> ReviewQueue:
    return ReviewQueue(poses([bent(0.1 * i) for i in range(len(confidence))], confidence))


def test_a_frame_is_as_sure_as_its_joints_are_in_the_mean():
    points = np.stack([bent(0.0), bent(1.0)]).astype(np.float32)
    points[1, 2] = np.nan
    queue = ReviewQueue(poses(points, [[0.9, 0.6, 0.3], [0.8, 0.4, 0.0]]))
    np.testing.assert_allclose(queue.sure, [0.6, 0.6], atol=1e-6)  # of those that are predicted


def test_the_least_sure_frame_comes_first():
    queue = queue_of([[0.9] * 3, [0.2] * 3, [0.5] * 3])
    names = ["0.png", "1.png", "2.png"]
    assert queue.ordered(names, "least sure", NONE) == ["1.png", "2.png", "0.png"]
    assert queue.ordered(names[1:], "in order", NONE) == ["1.png", "2.png"]


def test_without_confidence_frames_stay_in_order_and_none_is_sure():
    queue = ReviewQueue(poses([bent(0.0), bent(1.0)]))
    assert queue.ordered(["1.png", "0.png"], "least sure", NONE) == ["1.png", "0.png"]
    assert queue.above(0.0, ["0.png"]) == []
    assert np.isnan(queue.expected_accuracy(["0.png"]))


def test_what_is_sure_enough_comes_worst_first_with_its_expected_accuracy():
    queue = queue_of([[0.9, 0.9, 0.9], [0.2, 0.2, 0.2], [0.9, 0.8, 0.7]])
    names = queue.above(0.75, ["0.png", "1.png", "2.png"])
    assert names == ["2.png", "0.png"]
    assert queue.expected_accuracy(names) == pytest.approx(5.1 / 6)
    assert queue.above(0.75, ["1.png"]) == []


@given(st.lists(st.tuples(SHARES, SHARES, SHARES), min_size=1, max_size=8), SHARES)
def test_a_higher_threshold_takes_fewer_frames_and_never_a_less_sure_one(confidence, threshold):
    queue = queue_of(confidence)
    names = list(queue.poses.image_ids)
    taken, more = queue.above(threshold, names), queue.above(threshold / 2, names)
    assert set(taken) <= set(more)
    assert more[len(more) - len(taken) :] == taken
    if taken:
        assert queue.expected_accuracy(taken) >= threshold - 1e-6


@given(st.lists(st.floats(0, 3), min_size=1, max_size=7), st.sampled_from(ORDERS))
def test_every_order_has_every_frame_once(angles, order):
    queue = ReviewQueue(poses([bent(a) for a in angles], np.full((len(angles), 3), 0.5)))
    names = list(queue.poses.image_ids)
    assert sorted(queue.ordered(names, order, NONE)) == sorted(names)


def test_the_most_different_pose_comes_first():
    some = np.array([bent(0.0), bent(0.1), bent(1.5), bent(3.0)], np.float32)
    assert farthest_first(some, some[:1])[:2] == [3, 2]
    # without known poses the most typical one is the first, then the farthest from it
    assert farthest_first(some, NONE)[0] in (1, 2)


def test_place_and_size_are_no_difference():
    known = np.array([bent(0.0)], np.float32)
    moved = np.array([bent(0.0, size=10, at=5), bent(0.3)], np.float32)
    assert farthest_first(moved, known) == [1, 0]


def test_a_pose_of_one_point_is_like_no_other():
    some = np.array([bent(0.0), np.full((3, 2), 7.0), bent(2.0)], np.float32)
    assert farthest_first(some, some[:1])[0] == 1
    assert sorted(farthest_first(some, NONE)) == [0, 1, 2]


def test_many_frames_all_come():
    count = LOOKAHEAD + 20
    some = np.array([bent(3 * i / count) for i in range(count)], np.float32)
    assert sorted(farthest_first(some, NONE)) == list(range(count))


def test_predictions_name_their_frames_once():
    with pytest.raises(AnnotationError, match=r"several poses in 0\.png"):
        ReviewQueue(poses([bent(0.0), bent(1.0)], names=("0.png", "0.png")))
    with pytest.raises(AnnotationError, match="which frame"):
        ReviewQueue(PoseSet.create(LINE, [bent(0.0)], (9, 9)))


def test_agreement_by_hand():
    truth = np.array([[(0, 0), (100, 0), (100, 50)]], np.float32)  # the longer side is 100
    guess = truth + np.array([[(5, 0), (0, 10), (0, 21)]], np.float32)
    found = agreement(poses(guess), poses(truth))
    assert (found.frames, found.joints) == (1, 3)
    assert found.distance_percent == pytest.approx(12.0)
    assert found.pck == pytest.approx(2 / 3)


def test_joints_that_are_not_labelled_do_not_count_and_those_not_predicted_are_wrong():
    truth = np.array([[(0, 0), (100, 0), (np.nan, np.nan)]], np.float32)
    guess = np.array([[(0, 0), (np.nan, np.nan), (50, 50)]], np.float32)
    found = agreement(poses(guess), poses(truth))
    assert (found.joints, found.distance_percent, found.pck) == (2, 0.0, 0.5)


def test_nothing_to_compare_is_no_number():
    found = agreement(poses([bent(0.0)], names=("x",)), poses([bent(0.0)]))
    assert found.frames == 0
    assert np.isnan(found.pck)


def test_rounds_are_compared_on_the_same_frames():
    truth = poses([bent(0.0), bent(1.0), bent(2.0)])
    before = poses([bent(0.0) + 8, bent(1.0) + 8], names=("0.png", "1.png"))
    after = poses([bent(1.0), bent(2.0)], names=("1.png", "2.png"))
    first, second = compared(before, after, truth)
    assert first.frames == second.frames == 1
    assert first.distance_percent > second.distance_percent == 0
