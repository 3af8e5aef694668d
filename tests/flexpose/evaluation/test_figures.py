import sys
from dataclasses import replace

import numpy as np
import pytest

from flexpose.errors import MissingDependencyError, PoseShapeError
from flexpose.evaluation import figures
from flexpose.evaluation.scores import CalibrationBin
from flexpose.geometry import normalised
from flexpose.poseset import PoseSet
from flexpose.skeleton import load_skeleton

BODY = load_skeleton("body15")


@pytest.fixture(scope="module")
def poses():
    return normalised(np.random.default_rng(0).uniform(0, 100, (10, BODY.num_joints, 2)))


def rgb(path):
    import matplotlib.image

    return np.round(matplotlib.image.imread(path)[..., :3] * 255).astype(int)


def has(image, color):
    wanted = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return bool((image == wanted).all(axis=-1).any())


def test_edges_know_their_side():
    sides = dict(zip(BODY.edges, BODY.edge_sides, strict=True))
    at = BODY.index
    assert sides[at("pelvis"), at("neck")] == "middle"
    assert sides[at("neck"), at("left_shoulder")] == "left"
    assert sides[at("right_knee"), at("right_ankle")] == "right"
    coco = load_skeleton("coco17")
    across = coco.edges.index((coco.index("left_shoulder"), coco.index("right_shoulder")))
    assert coco.edge_sides[across] == "middle"


def test_pose_sheet_shows_both_sides_and_the_midline_on_a_dark_ground(tmp_path, poses):
    pytest.importorskip("matplotlib")
    image = rgb(figures.pose_sheet(poses, BODY, tmp_path / "sheet.png", columns=4))
    assert image.shape[:2] == (600, 800)  # three rows of four
    for color in (figures.LEFT, figures.RIGHT, figures.MIDLINE, figures.BACKGROUND):
        assert has(image, color)
    assert [p.name for p in tmp_path.iterdir()] == ["sheet.png"]


def test_pose_sheet_leaves_out_bones_without_position(tmp_path, poses):
    pytest.importorskip("matplotlib")
    partial = poses[:1].copy()
    partial[:, [i for i, name in enumerate(BODY.joints) if name.startswith("left")]] = np.nan
    image = rgb(figures.pose_sheet(partial, BODY, tmp_path / "sheet.png", titles=["one"]))
    assert not has(image, figures.LEFT) and has(image, figures.RIGHT)


def test_pose_sheet_refuses_wrong_shapes_and_titles(tmp_path, poses):
    for bad in (poses[:0], poses[:, :3]):
        with pytest.raises(PoseShapeError, match=r"expected \(N, 15, 2\)"):
            figures.pose_sheet(bad, BODY, tmp_path / "sheet.png")
    with pytest.raises(PoseShapeError, match="1 titles for 10 poses"):
        figures.pose_sheet(poses, BODY, tmp_path / "sheet.png", titles=["one"])


def test_other_figures_are_written_in_the_format_of_their_suffix(tmp_path, poses):
    pytest.importorskip("matplotlib")
    steps = np.arange(1, 6)
    figures.bone_length_figure({"a": poses, "b": poses * [1, 2]}, BODY, tmp_path / "bones.png")
    figures.map_figure(poses[0], poses[1, :3], np.empty((0, 2)), tmp_path / "map.pdf")
    figures.curve_figure({"loss": (steps, 1 / steps)}, tmp_path / "curve.svg", title="t", log=True)
    assert (tmp_path / "bones.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "map.pdf").read_bytes().startswith(b"%PDF")
    assert b"<svg" in (tmp_path / "curve.svg").read_bytes()
    assert len(list(tmp_path.iterdir())) == 3


def test_missing_matplotlib_is_named_with_its_remedy(tmp_path, poses, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match="pip install matplotlib"):
        figures.pose_sheet(poses, BODY, tmp_path / "sheet.png")


GREEN = (40, 90, 60)


def green_frame(name):
    return np.full((90, 120, 3), GREEN, np.uint8)


@pytest.fixture
def truth():
    """Twenty people in frames of 120 x 90 pixels."""
    points = np.random.default_rng(0).uniform(20, 80, (20, BODY.num_joints, 2))
    names = tuple(f"{i:02}.png" for i in range(20))
    return PoseSet.create(BODY, points, (120, 90), image_ids=names)


def moved(truth):
    """Predictions, the n-th n pixels off, the surer the nearer."""
    off = np.arange(len(truth), dtype=np.float32)
    sure = np.repeat(1 - off[:, None] / 40, BODY.num_joints, axis=1)
    return replace(truth, keypoints=truth.keypoints + off[:, None, None], confidence=sure)


def test_overlay_sheet_shows_the_best_some_typical_and_the_worst(tmp_path, truth):
    pytest.importorskip("matplotlib")
    seen = []

    def read(name):
        seen.append(int(name[:2]))
        return green_frame(name)

    order = np.random.default_rng(1).permutation(20)
    path = figures.overlay_sheet(
        read, moved(truth)[order], truth, tmp_path / "s.png", rows=(2, 4, 3)
    )
    image = rgb(path)
    assert seen[:2] == [0, 1]
    assert seen[-3:] == [17, 18, 19]
    assert seen == sorted(seen)
    assert seen[2] > 4 and seen[5] < 15
    assert (image == GREEN).all(axis=-1).mean() > 0.3
    for color in (figures.LEFT, figures.RIGHT, figures.BACKGROUND):
        assert has(image, color)


def test_overlay_sheet_without_truth_goes_by_confidence(tmp_path, truth):
    pytest.importorskip("matplotlib")
    seen = []
    unsure = replace(moved(truth), confidence=moved(truth).confidence[::-1])
    for predicted in (unsure, truth):
        path = tmp_path / f"{len(seen)}.png"
        figures.overlay_sheet(
            lambda name: seen.append(name) or green_frame(name),
            predicted,
            None,
            path,
            rows=(1, 1, 1),
        )
    assert (seen[0], seen[2]) == ("19.png", "00.png")
    assert seen[3:] == ["00.png", "10.png", "19.png"]


def test_overlay_sheet_shows_each_of_a_few_once_and_scales_to_the_frame(tmp_path, truth):
    pytest.importorskip("matplotlib")
    seen = []

    def read(name):
        seen.append(name)
        return np.full((180, 240, 3), GREEN, np.uint8)

    partial = truth[:3].keypoints.copy()
    partial[0] = np.nan
    few = PoseSet.create(BODY, partial, (120, 90), image_ids=truth.image_ids[:3])
    figures.overlay_sheet(read, few, truth, tmp_path / "s.png")
    assert sorted(seen) == ["01.png", "02.png"]
    with pytest.raises(PoseShapeError, match="no prediction to draw"):
        figures.overlay_sheet(read, few[:1], truth, tmp_path / "s.png")


def test_reliability_figure_is_written(tmp_path):
    pytest.importorskip("matplotlib")
    bins = [CalibrationBin(5, 0.2, 0.4), CalibrationBin(5, 0.8, 0.7)]
    assert has(rgb(figures.reliability_figure(bins, tmp_path / "r.png")), figures.LEFT)
