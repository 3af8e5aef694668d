from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from held_runner import HeldRunner

from flexpose.configs.adaptation import AdaptConfig
from flexpose.errors import FlexPoseError
from flexpose.events import JobFinished, MapReady, PreviewReady
from flexpose.skeleton import load_skeleton

pytest.importorskip("qtpy")
from qtpy.QtCore import QPointF
from qtpy.QtGui import QImage

from napari_flexpose.desk import JobDesk
from napari_flexpose.session import FlexPoseSession
from napari_flexpose.studio import Studio
from napari_flexpose.widgets.pose_map import PoseMap
from napari_flexpose.widgets.preview import PreviewPane

BODY = load_skeleton("body15")
COUNTS = {"source": 30, "shots": 4, "adapted": 10}


def map_event(step: int = 20, shift: float = 0.0) -> MapReady:
    random = np.random.default_rng(0)
    places = random.uniform(-10, 10, (44, 2)).astype(np.float32)
    places[34:] += shift
    poses = random.uniform(-0.8, 0.8, (44, 15, 2)).astype(np.float32)
    return MapReady(step, places, poses, COUNTS)


def preview_event() -> PreviewReady:
    random = np.random.default_rng(1)
    keypoints = random.uniform(5, 58, (24, 15, 2)).astype(np.float32)
    return PreviewReady(20, np.zeros((24, 64, 64, 3), np.uint8), keypoints)


@pytest.fixture
def pane(tmp_path: Path, qtbot):
    session, runner = FlexPoseSession(), HeldRunner()
    desk = JobDesk(runner)
    pane = PreviewPane(session, Studio(session, desk), desk)
    qtbot.addWidget(pane)
    pane.resize(1000, 280)
    pane.show()
    desk.start("adapt", AdaptConfig(shots=tmp_path / "shots.json"), tmp_path)
    pane.tell = runner.tell
    return pane


@pytest.fixture
def shown_map(qtbot) -> PoseMap:
    widget = PoseMap()
    qtbot.addWidget(widget)
    widget.resize(400, 400)
    widget.show()
    widget.show_map(map_event(), BODY)
    return widget


def test_the_newest_preview_is_shown_with_words(pane):
    assert not pane.save.isEnabled()
    pane.tell(preview_event())
    assert "After step 20" in pane.hint.text()
    assert pane.save.isEnabled()
    pane.tell(map_event())
    assert pane.map.plot.isVisible()


def test_poses_are_drawn_and_not_the_coarse_pictures(pane):
    empty = QImage.fromData(pane.rows.png())
    pane.tell(preview_event())
    drawn = QImage.fromData(pane.rows.png())
    assert drawn.size() == empty.size()
    colours = {drawn.pixelColor(x, y).name() for x in range(0, 1600, 3) for y in range(0, 590, 3)}
    assert {"#56b4e9", "#e69f00", "#ffffff"} <= colours


def test_the_slider_moves_each_pose_from_its_source_to_where_it_was_adapted(pane):
    assert not pane.blend.isEnabled()
    event = preview_event()
    pane.tell(event)
    assert pane.blend.isEnabled()
    source, adapted, nearest = event.keypoints.reshape(3, 8, 15, 2)
    for percent, expected in ((100, adapted), (0, source), (25, 0.75 * source + 0.25 * adapted)):
        pane.blend.setValue(percent)
        for column in range(8):
            np.testing.assert_allclose(pane.rows.pose(8 + column), expected[column], rtol=1e-5)
            np.testing.assert_array_equal(pane.rows.pose(column), source[column])
            np.testing.assert_array_equal(pane.rows.pose(16 + column), nearest[column])
    assert pane.rows.titles == ("Source", "25 % moved", "Nearest shot")


def test_the_slider_stays_with_the_next_preview_and_starts_anew_with_the_next_run(pane, tmp_path):
    pane.tell(preview_event())
    pane.blend.setValue(40)
    pane.tell(preview_event())
    assert pane.blend.value() == 40
    pane.tell(JobFinished())
    pane._desk.start("adapt", AdaptConfig(shots=tmp_path / "shots.json"), tmp_path)
    assert pane.blend.value() == 100
    assert pane.rows.titles[1] == "Adapted"


@pytest.mark.parametrize("name", ["preview.png", "preview.svg"])
def test_previews_are_saved(pane, tmp_path, name):
    pane.tell(preview_event())
    pane.export(tmp_path / name)
    data = (tmp_path / name).read_bytes()
    assert (b"<svg" in data) if name.endswith("svg") else data.startswith(b"\x89PNG")


def test_another_ending_is_refused(pane, tmp_path):
    with pytest.raises(FlexPoseError, match="neither"):
        pane.export(tmp_path / "preview.gif")


def test_a_new_run_starts_with_empty_tiles(pane, tmp_path):
    pane.tell(preview_event())
    pane.tell(JobFinished())
    assert pane.rows.preview is not None
    pane._desk.start("adapt", AdaptConfig(shots=tmp_path / "shots.json"), tmp_path)
    assert pane.rows.preview is None


def test_without_the_optional_package_the_map_says_what_to_install(tmp_path, qtbot, monkeypatch):
    monkeypatch.setattr(Studio, "has_map", False)
    session = FlexPoseSession()
    desk = JobDesk(HeldRunner())
    pane = PreviewPane(session, Studio(session, desk), desk)
    qtbot.addWidget(pane)
    assert "pip install openTSNE" in pane.map.words.text()


def test_only_adapted_dots_move(shown_map):
    view = shown_map.plot.getViewBox().viewRange()
    fixed = [shown_map.dots[kind].getData() for kind in ("source", "shots")]
    before = shown_map.dots["adapted"].getData()
    shown_map.show_map(map_event(40, shift=3.0), BODY)
    assert shown_map.plot.getViewBox().viewRange() == view
    for old, kind in zip(fixed, ("source", "shots"), strict=True):
        np.testing.assert_array_equal(shown_map.dots[kind].getData(), old)
    np.testing.assert_allclose(shown_map.dots["adapted"].getData()[0], before[0] + 3, atol=1e-4)


def test_pointing_at_a_dot_shows_its_pose(shown_map):
    event = map_event()
    row = shown_map.nearest(QPointF(*event.places[31].tolist()))
    assert row == 31
    shown_map.show_row(row)
    assert shown_map.card.isVisible()
    assert shown_map.card.words == "Your shot 2"
    np.testing.assert_array_equal(shown_map.card.pose, event.poses[31])
    shown_map.show_row(shown_map.nearest(QPointF(500, 500)))
    assert not shown_map.card.isVisible()


def test_a_map_of_an_unknown_skeleton_is_shown_without_poses(shown_map):
    shown_map.show_map(map_event(), None)
    shown_map.show_row(3)
    assert not shown_map.card.isVisible()
