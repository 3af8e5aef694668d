"""In the real window with a skeleton of one's own: from labels to a prior, files and pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from flexpose.annotation.label import FrameLabel
from flexpose.io.coco import write_coco
from flexpose.io.coco_check import check_coco
from flexpose.io.coco_read import read_coco
from flexpose.poseset import PoseSet
from flexpose.skeleton import Skeleton
from napari_flexpose import pictures, priors

pytestmark = [pytest.mark.gui, pytest.mark.slow]
WAIT = 600_000  # milliseconds that a child may take on a machine with other work
SIZE = 80  # pixels of a frame's sides
LIZARD = Skeleton(
    name="lizard4",
    joints=("snout", "shoulder", "hip", "tail_tip"),
    edges=((1, 0), (1, 2), (2, 3)),
    root=1,
    category="lizard",
)


def crawling(count: int, seed: int) -> np.ndarray:
    """Poses (count, 4, 2) of a body that bends, in pixels of a frame."""
    random = np.random.default_rng(seed)
    heading = random.uniform(-0.6, 0.6, count)
    bends = heading[:, None] + np.cumsum(random.normal(0, 0.35, (count, 3)), axis=1)
    steps = np.array([10, 16, 14]) * random.uniform(0.9, 1.1, (count, 3))
    ways = steps[..., None] * np.stack([np.cos(bends), np.sin(bends)], axis=2)
    spine = np.cumsum(np.concatenate([np.zeros((count, 1, 2)), ways], axis=1), axis=1)
    middle = (spine.max(axis=1) + spine.min(axis=1)) / 2
    place = SIZE / 2 + random.uniform(-8, 8, (count, 2))
    return (spine + (place - middle)[:, None]).astype(np.float32)


@pytest.fixture
def film(tmp_path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """Two clips of eight frames each, and where the joints are."""
    folder, truth = tmp_path / "terrarium", {}
    ground = np.random.default_rng(1).integers(60, 110, (SIZE, SIZE, 3)).astype(np.uint8)
    for number, pose in enumerate(crawling(16, seed=2)):
        picture = ground.copy()
        points = [tuple(np.rint(point).astype(int).tolist()) for point in pose]
        for (a, b), width in zip(LIZARD.edges, (5, 7, 3), strict=True):
            cv2.line(picture, points[a], points[b], (60, 200, 120), width)
        cv2.circle(picture, points[0], 4, (40, 90, 220), -1)
        name = f"{number // 8}/{number % 8}.png"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), picture)
        truth[name] = pose
    return folder, truth


def press(user: Any, button: Any) -> None:
    from qtpy.QtCore import Qt

    user.qtbot.waitUntil(lambda: button.isVisible() and button.isEnabled())
    user.qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_a_lizard_goes_the_whole_way(open_dock, film, tmp_path, monkeypatch):
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QFileDialog

    from napari_flexpose.widgets.adapt_panel import AdaptPanel

    folder, truth = film
    others = tmp_path / "lizards.coco.json"
    write_coco(PoseSet.create(LIZARD, crawling(300, seed=3), (SIZE, SIZE)), others)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *a: (str(others), ""))
    monkeypatch.setattr(priors, "STEPS", 30)
    monkeypatch.setattr(pictures, "STEPS", 4)
    user = open_dock(folder, LIZARD)
    user.viewer.window.resize(1270, 780)
    dock, qtbot = user.dock, user.qtbot

    def until_idle() -> None:
        qtbot.waitUntil(lambda: dock.desk.state == "idle", timeout=WAIT)

    dock.adapt_step.set_open(True)
    panel = dock.findChild(AdaptPanel)
    assert dock.adapt_step.state == "needs a prior"
    assert "No prior fits the skeleton lizard4" in panel.about.text()
    assert not panel.start.isEnabled()
    press(user, panel.learn.choose)
    assert "300 complete poses of lizard4" in panel.learn.words.text()
    press(user, panel.learn.begin)
    assert dock.adapt_step.state == "learning a prior"
    labels = {
        name: FrameLabel(points=pose, state=np.full(4, 2, np.int8), suggested=np.zeros(4, bool))
        for name, pose in list(truth.items())[::3]
    }
    dock.session.apply(labels, "label")  # meanwhile
    until_idle()
    assert panel.learning.job.trouble.sentence.text() == ""
    assert panel.learning.outcome.text().startswith("lizard4 (learned 1) is ready.")
    assert panel.prior.currentText() == "lizard4 (learned 1)"

    # so that most of what a prior of thirty steps makes is kept
    panel.form.set_values({"steps": 8, "weighting": {"entropy_weight": 5.0}})
    press(user, panel.start)
    until_idle()
    assert panel.job.trouble.sentence.text() == ""
    assert dock.preview.rows.can_blend  # drawn from keypoints of its own skeleton
    assert dock.preview.map.plot.isVisible()
    press(user, panel.result.use)

    dock.detect_step.set_open(True)
    detect = dock.detect_panel
    detect.length.setItemData(0, 20)
    detect.length.setCurrentIndex(0)
    detect.form.set_values({"size": 32, "width": 4, "batch_size": 2, "heatmaps": {"puppets": 8}})
    press(user, detect.start)
    qtbot.waitUntil(
        lambda: dock.reviewer.loaded or detect.training.trouble.isVisible(), timeout=WAIT
    )
    assert detect.training.trouble.sentence.text() == ""
    assert dock.detection.detector is not None
    config = dock.desk.request.config
    assert json.loads(Path(config.out).read_text())["categories"][0]["name"] == "lizard"
    assert dock.reviewer.total == len(truth) - len(labels)

    out = tmp_path / "labels.coco.json"
    dock.studio.export_labels(out, "flag", dock.reviewer.unseen)
    assert [found.message for found in check_coco(out) if found.severity == "error"] == []
    assert read_coco(out).poses.skeleton.joints == LIZARD.joints
    assert len(read_coco(out).poses) == len(truth)

    dock.adapt_step.set_open(True)
    box = panel.pictures
    qtbot.mouseClick(box.fold.header, Qt.MouseButton.LeftButton)
    assert "from what the detector suggests" in box.ready.text()
    assert not panel.setup.isVisible()
    box.crop.setCurrentIndex(1)
    press(user, box.learn)
    qtbot.waitUntil(lambda: box.pairs.isVisible() or box.learning.trouble.isVisible(), timeout=WAIT)
    assert box.learning.trouble.sentence.text() == ""
    until_idle()
    box.count.setValue(3)
    box.target.setText(str(tmp_path / "painted"))
    press(user, box.export)
    until_idle()
    assert box.painting.trouble.sentence.text() == ""
    assert "marked as synthetic" in box.outcome.text()
    document = json.loads((tmp_path / "painted" / "synthetic.coco.json").read_text())
    assert [image["synthetic"] for image in document["images"]] == [True] * 3
    assert [a["num_keypoints"] for a in document["annotations"]] == [4] * 3
