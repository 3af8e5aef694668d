import sys

import numpy as np
import pytest

from flexpose.errors import MissingDependencyError, PoseShapeError
from flexpose.evaluation import figures
from flexpose.geometry import normalised
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
