import sys

import numpy as np
import pytest

from flexpose.errors import DataFormatError, MissingDependencyError, PoseShapeError
from flexpose.evaluation import embedding
from flexpose.evaluation.embedding import PoseMap


def clusters(count, seed=0):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(1).normal(0, 3, (4, 8))
    return centres[np.arange(count) % 4] + rng.normal(0, 0.3, (count, 8))


@pytest.fixture(scope="module")
def pose_map():
    pytest.importorskip("openTSNE")
    return PoseMap.fit(clusters(80), seed=3)


def test_placing_leaves_the_map_unchanged(pose_map):
    before = pose_map.positions.copy()
    first = pose_map.place(clusters(20, seed=5))
    pose_map.place(clusters(30, seed=6) + 1)
    np.testing.assert_array_equal(pose_map.positions, before)
    np.testing.assert_array_equal(pose_map.place(clusters(20, seed=5)), first)
    with pytest.raises(ValueError, match="read-only"):
        pose_map.positions[0] = 0


def test_every_source_pose_lands_near_itself(pose_map):
    placed = pose_map.place(pose_map.features)
    distance = np.linalg.norm(placed - pose_map.positions, axis=1)
    assert distance.max() < 0.05 * np.ptp(pose_map.positions, axis=0).max()


def test_a_new_pose_lands_among_its_own_kind(pose_map):
    placed = pose_map.place(clusters(40, seed=9))
    gap = np.linalg.norm(placed[:, None] - pose_map.positions, axis=2)
    assert (gap.argmin(axis=1) % 4 == np.arange(40) % 4).all()


def test_placed_poses_do_not_influence_each_other(pose_map):
    points = clusters(12, seed=4)
    together = pose_map.place(points)
    np.testing.assert_allclose(pose_map.place(points[3:4]), together[3:4], atol=1e-9)
    assert pose_map.place(points[:0]).shape == (0, 2)


def test_the_same_seed_gives_the_same_map(pose_map):
    again = PoseMap.fit(clusters(80), seed=3)
    np.testing.assert_array_equal(again.positions, pose_map.positions)


def test_a_saved_map_places_as_the_map_it_was(pose_map, tmp_path):
    path = tmp_path / "map.npz"
    pose_map.save(path)
    loaded = PoseMap.load(path)
    np.testing.assert_array_equal(loaded.positions, pose_map.positions)
    np.testing.assert_array_equal(loaded.rows, pose_map.rows)
    points = clusters(10, seed=8)
    np.testing.assert_array_equal(loaded.place(points), pose_map.place(points))
    assert [p.name for p in tmp_path.iterdir()] == ["map.npz"]


def test_large_sets_are_drawn_by_seed(monkeypatch):
    pytest.importorskip("openTSNE")
    monkeypatch.setattr(embedding, "MAX_POINTS", 30)
    features = clusters(90)
    small = PoseMap.fit(features, seed=0)
    assert small.positions.shape == (30, 2)
    np.testing.assert_array_equal(small.features, features[small.rows])
    assert (np.diff(small.rows) > 0).all()


def test_what_cannot_be_mapped_is_refused(pose_map):
    with pytest.raises(PoseShapeError, match="Found 9 poses to map, expected at least 10"):
        PoseMap.fit(clusters(9))
    with pytest.raises(PoseShapeError, match="expected 8"):
        pose_map.place(np.zeros((3, 5)))
    with pytest.raises(PoseShapeError, match="finite"):
        pose_map.place(np.full((3, 8), np.nan))


def test_files_that_are_no_map_are_refused(tmp_path):
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"no zip")
    with pytest.raises(DataFormatError, match=r"broken\.npz"):
        PoseMap.load(broken)
    other = tmp_path / "other.npz"
    np.savez(
        other, features=np.zeros((3, 4)), positions=np.zeros((2, 2)), rows=np.arange(3), seed=0
    )
    with pytest.raises(DataFormatError, match=r"expected \(n, D\), \(n, 2\) and \(n,\)"):
        PoseMap.load(other)


def test_missing_open_tsne_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "openTSNE", None)
    with pytest.raises(MissingDependencyError, match="pip install openTSNE"):
        PoseMap.fit(clusters(20))
