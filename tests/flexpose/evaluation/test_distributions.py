import json

import numpy as np
import pytest
import scipy.stats

from flexpose.errors import PoseShapeError, SkeletonMismatchError
from flexpose.evaluation import distributions as d
from flexpose.poseset import PoseSet
from flexpose.skeleton import Skeleton, load_skeleton

BODY = load_skeleton("body15")


def poses(count, seed=0, jitter=12.0, skeleton=BODY):
    """Poses around one random standing figure, in pixels."""
    base = np.random.default_rng(99).uniform(50, 250, (skeleton.num_joints, 2))
    noise = np.random.default_rng(seed).normal(0, jitter, (count, skeleton.num_joints, 2))
    return PoseSet.create(skeleton, base + noise, (320, 320), source=(f"seed {seed}",))


def cloud(count, seed=0, dim=6, scale=1.0):
    return np.random.default_rng(seed).normal(0, scale, (count, dim))


# ---------------------------------------------------------------- features


def test_features_do_not_change_with_place_and_size_of_a_pose():
    keypoints = poses(10).keypoints.astype(np.float64)
    moved = keypoints * 3.7 + np.array([200.0, -40.0])
    np.testing.assert_allclose(d.features(keypoints), d.features(moved), atol=2e-6)


def test_features_put_the_longer_side_of_the_box_to_its_share_of_unit_space():
    vectors = d.features(poses(10)).reshape(10, -1, 2)
    extent = np.ptp(vectors, axis=1)
    np.testing.assert_allclose(extent.max(axis=1), 2 * 0.85, rtol=1e-5)
    np.testing.assert_allclose(vectors.max(axis=1) + vectors.min(axis=1), 0, atol=1e-5)
    assert vectors.dtype == np.float64


def test_features_refuse_incomplete_and_flat_poses_and_other_shapes():
    keypoints = poses(4).keypoints.copy()
    keypoints[2, 3] = np.nan
    with pytest.raises(PoseShapeError, match="1 of 4 poses lack joints, the first is pose 2"):
        d.features(PoseSet.create(BODY, keypoints, (320, 320)))
    keypoints[2] = 7
    with pytest.raises(PoseShapeError, match="Pose 2 has all its joints on one spot"):
        d.features(keypoints)
    with pytest.raises(PoseShapeError, match=r"expected \(N, J, 2\)"):
        d.features(np.zeros((3, 5)))


# ---------------------------------------------------------------- energy distance


def test_energy_distance_in_one_dimension_is_the_square_of_scipys():
    x, y = cloud(40, 1, dim=1), cloud(70, 2, dim=1, scale=2.0)
    expected = scipy.stats.energy_distance(x[:, 0], y[:, 0]) ** 2
    assert d.energy_distance(x, y) == pytest.approx(expected, rel=1e-9)


def test_energy_distance_by_hand():
    # 2 * 5 - 0 - (0 + 6 + 6 + 0) / 4
    gen, real = np.array([[0.0, 0.0]]), np.array([[3.0, 4.0], [-3.0, 4.0]])
    assert d.energy_distance(gen, real) == pytest.approx(10 - 3)


def test_energy_distance_agrees_with_a_plain_double_loop():
    x, y = cloud(15, 1), cloud(12, 2) + 0.5
    mean = {
        name: np.mean([[np.linalg.norm(p - q) for q in b] for p in a])
        for name, a, b in (("xy", x, y), ("xx", x, x), ("yy", y, y))
    }
    expected = 2 * mean["xy"] - mean["xx"] - mean["yy"]
    assert d.energy_distance(x, y) == pytest.approx(expected, rel=1e-9)


# ---------------------------------------------------------------- MMD


def naive_mmd(x, y, widths):
    def kernel(p, q):
        return np.mean([np.exp(-((p - q) ** 2).sum() / (2 * w**2)) for w in widths])

    xx = [kernel(x[i], x[j]) for i in range(len(x)) for j in range(len(x)) if i != j]
    yy = [kernel(y[i], y[j]) for i in range(len(y)) for j in range(len(y)) if i != j]
    xy = [kernel(p, q) for p in x for q in y]
    return np.sqrt(max(np.mean(xx) + np.mean(yy) - 2 * np.mean(xy), 0))


@pytest.mark.parametrize("widths", [(1.5,), (0.7, 1.5, 4.0)])
def test_mmd_agrees_with_a_plain_loop(widths):
    x, y = cloud(15, 1), cloud(12, 2) + 0.5
    assert d.mmd(x, y, widths) == pytest.approx(naive_mmd(x, y, widths), rel=1e-9)


def test_mmd_takes_the_median_distance_of_the_real_set_by_default():
    x, y = cloud(15, 1), cloud(12, 2, scale=3.0)
    median = np.median(scipy.spatial.distance.pdist(y))
    assert d.mmd(x, y) == pytest.approx(d.mmd(x, y, [median]), rel=1e-9)


def test_mmd_looks_at_the_same_rows_of_a_large_reference_for_the_same_seed(monkeypatch):
    monkeypatch.setattr(d, "MEDIAN_ROWS", 20)
    x, y = cloud(50, 1), cloud(60, 2) + 1
    assert d.mmd(x, y, seed=3) == d.mmd(x, y, seed=3)
    assert d.mmd(x, y, seed=3) != d.mmd(x, y, seed=4)


def test_mmd_refuses_a_reference_without_extent():
    with pytest.raises(PoseShapeError, match="bandwidths"):
        d.mmd(cloud(5), np.ones((5, 6)))


# ---------------------------------------------------------------- Fréchet


def with_moments(mean, covariance, count=200):
    """Points whose sample mean and covariance are exactly these."""
    raw = cloud(count, 5, dim=len(mean))
    raw -= raw.mean(axis=0)
    white = raw @ np.linalg.inv(np.linalg.cholesky(np.cov(raw, rowvar=False))).T
    return white @ np.linalg.cholesky(np.asarray(covariance)).T + np.asarray(mean)


def test_frechet_distance_of_gaussians_with_one_eigenbasis_is_known():
    # |m|² + sum (sqrt a - sqrt b)² for covariances that commute
    turn = scipy.stats.ortho_group.rvs(3, random_state=0)
    x = with_moments([0, 0, 0], turn @ np.diag([1.0, 4.0, 9.0]) @ turn.T)
    y = with_moments([1, 2, 2], turn @ np.diag([4.0, 4.0, 1.0]) @ turn.T)
    assert d.frechet_distance(x, y) == pytest.approx(9 + 1 + 0 + 4, rel=1e-9)


def test_frechet_distance_agrees_with_the_general_matrix_root():
    rng = np.random.default_rng(0)
    a, b = (m @ m.T + 0.1 * np.eye(4) for m in rng.normal(size=(2, 4, 4)))
    x, y = with_moments(np.zeros(4), a), with_moments(np.ones(4), b)
    expected = 4 + np.trace(a + b - 2 * np.real(scipy.linalg.sqrtm(a @ b)))
    assert d.frechet_distance(x, y) == pytest.approx(expected, rel=1e-8)


def test_frechet_distance_works_with_fewer_poses_than_dimensions():
    x = cloud(5, 1, dim=30)
    assert d.frechet_distance(x, x[::-1]) == pytest.approx(0, abs=1e-6)
    assert d.frechet_distance(x + 2, x) == pytest.approx(30 * 4, rel=1e-6)


# ---------------------------------------------------------------- nearest neighbours


def test_precision_and_recall_of_hand_made_clusters():
    # real: two clusters of four on a line; generated: three in the first, one far off
    real = np.array([[0.0], [1], [2], [3], [100], [101], [102], [103]])
    gen = np.array([[0.4], [1.4], [2.4], [0.9], [1.9], [2.9], [50], [51]])
    # radius of the generated 50 and 51 with k = 1 is 1: they reach no real point
    assert d.precision_recall(gen, real, k=1) == (6 / 8, 4 / 8)


def test_density_and_coverage_of_hand_made_clusters():
    real = np.array([[0.0], [1], [10], [11]])
    gen = np.array([[0.5], [0.6], [-0.5], [40]])
    # balls of radius 1 around 0 and 1 hold 3 and 2 generated points, those around 10, 11 none
    density, coverage = d.density_coverage(gen, real, k=1)
    assert density == pytest.approx(5 / 4)
    assert coverage == pytest.approx(2 / 4)


def test_neighbour_measures_cut_the_larger_set_to_the_size_of_the_smaller():
    real, gen = cloud(30, 1), cloud(90, 2)
    rows = np.sort(np.random.default_rng(7).choice(90, 30, replace=False))
    assert d.precision_recall(gen, real, seed=7) == d.precision_recall(gen[rows], real)
    assert d.density_coverage(gen, real, seed=7) == d.density_coverage(gen[rows], real)


def test_two_samples_of_one_distribution_have_density_about_one():
    density, coverage = d.density_coverage(cloud(1000, 1), cloud(1000, 2))
    assert density == pytest.approx(1, abs=0.1)
    # expected coverage: 1 - C(N-1, k) / C(2N-1, k), about 1 - 2**-k (Naeem et al., lemma 2)
    assert coverage == pytest.approx(1 - 2**-5, abs=0.03)


def test_equal_poses_count_as_inside_even_where_balls_have_no_extent():
    real = np.repeat(cloud(3, 1), 8, axis=0)
    assert d.precision_recall(real.copy(), real) == (1.0, 1.0)
    assert d.density_coverage(real.copy(), real)[1] == 1.0


# ---------------------------------------------------------------- all together

MEASURES = {
    "energy": d.energy_distance,
    "mmd": d.mmd,
    "frechet": d.frechet_distance,
    "precision and recall": d.precision_recall,
    "density and coverage": d.density_coverage,
    "spread": d.spread_ratio,
}


@pytest.mark.parametrize("name", MEASURES)
def test_the_order_of_rows_does_not_matter(name):
    x, y = cloud(60, 1), cloud(60, 2) * 1.3 + 0.2
    order = np.random.default_rng(0).permutation(60)
    expected = MEASURES[name](x, y)
    assert MEASURES[name](x[order], y[order[::-1]]) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", MEASURES)
def test_a_set_against_itself_is_perfect(name):
    perfect = {
        "precision and recall": (1.0, 1.0),
        "density and coverage": (1 + 1 / 5, 1.0),
        "spread": 1.0,
    }
    x = cloud(80, 1)
    assert MEASURES[name](x, x.copy()) == pytest.approx(perfect.get(name, 0.0), abs=1e-6)


@pytest.mark.parametrize("name", MEASURES)
def test_small_blocks_give_the_same_as_one(name, monkeypatch):
    x, y = cloud(50, 1), cloud(70, 2) + 0.3
    expected = MEASURES[name](x, y)
    monkeypatch.setattr(d, "BLOCK", 333)
    assert MEASURES[name](x, y) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", MEASURES)
def test_too_few_poses_are_refused_in_one_sentence(name):
    with pytest.raises(PoseShapeError, match=r"^Found 0 generated poses, expected at least \d"):
        MEASURES[name](np.zeros((0, 6)), cloud(9))


def test_neighbour_measures_need_more_poses_than_neighbours():
    for measure in (d.precision_recall, d.density_coverage):
        with pytest.raises(PoseShapeError, match="5 real poses, expected at least 6 for 5 nearest"):
            measure(cloud(9), cloud(5))


def test_sets_of_different_dimension_are_refused():
    with pytest.raises(PoseShapeError, match="6 and 4 numbers"):
        d.energy_distance(cloud(9), cloud(9, dim=4))


def test_values_that_are_not_finite_are_refused():
    bad = cloud(9)
    bad[3, 1] = np.nan
    with pytest.raises(PoseShapeError, match="real features hold values that are not finite"):
        d.energy_distance(cloud(9), bad)


def test_spread_of_a_scaled_set_is_its_scale():
    x = cloud(30, 1)
    assert d.spread_ratio(0.3 * x + 5, x) == pytest.approx(0.3)
    with pytest.raises(PoseShapeError, match="equal"):
        d.spread_ratio(x, np.ones((5, 6)))


# ---------------------------------------------------------------- compare


def test_compare_gathers_the_measures_counts_and_provenance():
    gen, real = poses(40, 1, jitter=20), poses(30, 2)
    report = d.compare(gen, real, k=3, seed=4)
    x, y = d.features(gen), d.features(real)
    assert report.energy_distance == d.energy_distance(x, y)
    assert report.mmd == d.mmd(x, y, seed=4)
    assert report.frechet_distance == d.frechet_distance(x, y)
    assert (report.precision, report.recall) == d.precision_recall(x, y, 3, seed=4)
    assert (report.density, report.coverage) == d.density_coverage(x, y, 3, seed=4)
    assert report.spread_ratio > 1
    assert (report.num_gen, report.num_real, report.used_gen, report.used_real) == (40, 30, 40, 30)
    assert report.gen_source == ("seed 1",) and report.real_source == ("seed 2",)
    assert list(report.metrics()) == [column.key for column in d.COLUMNS]


def test_compare_draws_large_sets_by_seed():
    gen, real = poses(60, 1), poses(50, 2)
    report = d.compare(gen, real, max_samples=20, seed=1)
    assert (report.used_gen, report.used_real, report.num_gen) == (20, 20, 60)
    assert report == d.compare(gen, real, max_samples=20, seed=1)
    assert report.energy_distance != d.compare(gen, real, max_samples=20, seed=2).energy_distance


def test_compare_writes_json_and_markdown():
    report = d.compare(poses(20, 1), poses(20, 2))
    data = json.loads(report.to_json())
    assert data["mmd"] == report.mmd
    assert data["real_source"] == ["seed 2"]
    assert set(data["bone_lengths"]["pelvis-neck"]) >= {"gen_mean", "real_std", "difference"}
    text = report.to_markdown()
    assert "| coverage |" in text and "seed 1" in text and "20 of 20 poses" in text
    assert "left_shoulder-left_elbow-left_wrist" in text


def test_compare_refuses_other_joints_and_too_few_poses():
    other = poses(10, skeleton=load_skeleton("penn13"))
    with pytest.raises(SkeletonMismatchError, match="penn13 and body15"):
        d.compare(other, poses(10))
    with pytest.raises(PoseShapeError, match="Found 5 real poses, expected at least 6"):
        d.compare(poses(10), poses(5))
    with pytest.raises(PoseShapeError, match="Found 0 generated poses, expected at least 6"):
        d.compare(poses(0), poses(10))


@pytest.mark.parametrize(
    ("edges", "missing"),
    [((), {"bone_length_error", "joint_angle_error"}), (((0, 1),), {"joint_angle_error"})],
)
def test_what_a_skeleton_does_not_have_is_left_out(edges, missing):
    skeleton = Skeleton(name="points", joints=("a", "b", "c"), edges=edges)
    random = np.random.default_rng(0)
    gen, real = (PoseSet.create(skeleton, random.random((9, 3, 2)), (2, 2)) for _ in range(2))
    report = d.compare(gen, real)
    assert {column.key for column in d.COLUMNS} - set(report.metrics()) == missing
    assert json.loads(report.to_json())["joint_angle_error"] is None
    assert "joint angle error" not in report.to_markdown()
