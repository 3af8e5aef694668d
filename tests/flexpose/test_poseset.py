"""PoseSet: checked once, read-only from then on."""

from __future__ import annotations

import numpy as np
import pytest

from flexpose.errors import PoseShapeError, SkeletonMismatchError
from flexpose.poseset import PoseSet
from flexpose.skeleton import Skeleton


def full(puppet, n=3, **changes):
    fields = {
        "skeleton": puppet,
        "keypoints": np.arange(n * 10).reshape(n, 5, 2),
        "visibility": np.full((n, 5), 2),
        "image_size": (64, 48),
        "confidence": np.arange(n * 5).reshape(n, 5) / 128,
        "boxes": np.arange(n * 4).reshape(n, 4),
        "norm_length": np.arange(n),
        "image_ids": tuple(f"{i}.png" for i in range(n)),
        "groups": tuple("ab"[i % 2] for i in range(n)),
        "source": ("made by hand",),
    }
    return PoseSet(**{**fields, **changes})


def test_arrays_have_their_types_and_cannot_be_changed(puppet):
    poses = full(puppet)
    kinds = {
        "keypoints": ((3, 5, 2), np.float32),
        "visibility": ((3, 5), np.int8),
        "image_size": ((3, 2), np.int32),
        "confidence": ((3, 5), np.float32),
        "boxes": ((3, 4), np.float32),
        "norm_length": ((3,), np.float32),
    }
    for name, (shape, dtype) in kinds.items():
        array = getattr(poses, name)
        assert (array.shape, array.dtype) == (shape, dtype)
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    with pytest.raises(AttributeError):
        poses.keypoints = None


def test_the_callers_arrays_are_left_alone(puppet):
    keypoints = np.zeros((1, 5, 2), dtype=np.float32)
    visibility = np.array([[0, 1, 2, 2, 2]], dtype=np.int8)
    poses = PoseSet(
        skeleton=puppet, keypoints=keypoints, visibility=visibility, image_size=[[9, 9]]
    )
    keypoints += 1
    visibility += 1
    assert poses.keypoints[0, 1, 0] == 0
    assert poses.visibility[0].tolist() == [0, 1, 2, 2, 2]


def test_joints_that_are_not_labelled_have_no_position(puppet):
    poses = full(puppet, visibility=[[0, 1, 2, 2, 2]] * 3)
    assert np.isnan(poses.keypoints[:, 0]).all()
    assert np.isfinite(poses.keypoints[:, 1:]).all()
    assert poses.labelled[0].tolist() == [False, True, True, True, True]
    assert (poses.confidence[:, 0] == 0).all()
    assert (poses.confidence[:, 1:] == full(puppet).confidence[:, 1:]).all()
    assert not poses.complete.any()
    assert full(puppet).complete.all()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"keypoints": np.zeros((3, 4, 2))}, r"\(3, 4, 2\), expected \(N, 5, 2\)"),
        ({"keypoints": np.zeros((3, 5))}, r"shape \(3, 5\)"),
        ({"visibility": np.zeros((2, 5))}, r"visibility of shape \(2, 5\)"),
        ({"visibility": np.full((3, 5), 3)}, "other than 0, 1 and 2"),
        ({"keypoints": np.full((3, 5, 2), np.nan)}, "Pose 0, joint hip is labelled"),
        ({"keypoints": np.full((3, 5, 2), np.inf)}, "not a finite number"),
        ({"image_size": (64, 48, 3)}, "image_size of shape"),
        ({"image_size": np.ones((2, 2))}, "image_size of shape"),
        ({"confidence": np.zeros((3, 4))}, r"confidence of shape \(3, 4\), expected \(3, 5\)"),
        ({"confidence": np.full((3, 5), 1.5)}, "Pose 0, joint hip has the confidence 1.5"),
        ({"confidence": np.full((3, 5), -1)}, "from 0 to 1"),
        ({"confidence": np.full((3, 5), np.nan)}, "confidence nan"),
        ({"boxes": np.zeros((3, 3))}, r"boxes of shape \(3, 3\)"),
        ({"norm_length": np.zeros(2)}, "norm_length"),
        ({"image_ids": ("a", "b")}, "2 image_ids for 3 poses"),
        ({"groups": ()}, "0 groups for 3 poses"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_what_does_not_fit_is_refused(change, problem, puppet):
    with pytest.raises(PoseShapeError, match=problem):
        full(puppet, **change)


@pytest.mark.parametrize(
    ("index", "rows"),
    [
        (slice(1, None), [1, 2, 3]),
        (np.array([True, False, True, False]), [0, 2]),
        ([3, 0, 3], [3, 0, 3]),
        (2, [2]),
        (-1, [3]),
        (slice(0, 0), []),
        (np.zeros(4, dtype=bool), []),
    ],
    ids=str,
)
def test_any_index_gives_a_set_of_those_rows(index, rows, puppet):
    poses = full(puppet, 4)
    part = poses[index]
    assert len(part) == len(rows)
    arrays = ("keypoints", "visibility", "image_size", "confidence", "boxes", "norm_length")
    for name in arrays:
        np.testing.assert_array_equal(getattr(part, name), getattr(poses, name)[rows])
    assert part.image_ids == tuple(poses.image_ids[i] for i in rows)
    assert part.groups == tuple(poses.groups[i] for i in rows)
    assert part.source == poses.source


def test_joining_keeps_optional_fields_that_all_sets_have(puppet):
    a, b = full(puppet, 2), full(puppet, 3, groups=None, source=("b", "made by hand"))
    both = PoseSet.concat([a, b])
    np.testing.assert_array_equal(both.keypoints, np.concatenate([a.keypoints, b.keypoints]))
    assert both.image_ids == a.image_ids + b.image_ids
    assert both.groups is None
    assert len(both.boxes) == 5
    np.testing.assert_array_equal(both.confidence, np.concatenate([a.confidence, b.confidence]))
    assert PoseSet.concat([a, full(puppet, confidence=None)]).confidence is None
    assert both.source == ("made by hand", "b")


def test_joining_needs_sets_of_one_skeleton(puppet):
    other = Skeleton(name="other", joints=puppet.joints[::-1], edges=())
    with pytest.raises(SkeletonMismatchError, match="puppet and other"):
        PoseSet.concat([full(puppet), full(other)])
    with pytest.raises(PoseShapeError, match="no pose sets"):
        PoseSet.concat([])


def test_create_takes_finite_joints_as_visible(puppet):
    points = np.ones((2, 5, 2))
    points[1, 3, 0] = np.nan
    poses = PoseSet.create(puppet, points, (10, 20))
    assert poses.visibility.tolist() == [[2] * 5, [2, 2, 2, 0, 2]]
    assert np.isnan(poses.keypoints[1, 3]).all()
    assert poses.image_size.tolist() == [[10, 20]] * 2


def test_an_empty_set_is_a_set(puppet):
    poses = PoseSet.create(puppet, np.zeros((0, 5, 2)), (10, 20))
    assert len(poses) == 0
    assert len(PoseSet.concat([poses, poses])) == 0
    assert poses.with_note("x").source == ("x",)


def test_spread_rows_take_turns_among_groups(puppet):
    groups = ("a",) * 10 + ("b",) * 2 + ("c",)
    poses = full(puppet, 13, groups=groups)
    for seed in range(5):
        rows = poses.spread_rows(6, np.random.default_rng(seed))
        assert sorted(set(rows.tolist())) == rows.tolist()
        taken = [groups[row] for row in rows]
        assert (taken.count("a"), taken.count("b"), taken.count("c")) == (3, 2, 1)
    assert len({tuple(poses.spread_rows(6, np.random.default_rng(s))) for s in range(5)}) > 1
    assert poses.spread_rows(99, np.random.default_rng(0)).tolist() == list(range(13))
    alone = full(puppet, 13, groups=None).spread_rows(4, np.random.default_rng(0))
    assert len(set(alone.tolist())) == 4
