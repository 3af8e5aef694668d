"""What *Pictures from poses* knows and does, without a window and without training anything."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from held_runner import HeldRunner

from flexpose.annotation.label import FrameLabel
from flexpose.configs.translator import PICTURES_FILE, TranslateConfig, TranslatorConfig
from flexpose.errors import FlexPoseError
from flexpose.events import JobCancelled, JobEvent, JobFinished, PreviewReady, event_to_json
from flexpose.io.base import read_poses
from flexpose.io.coco import synthetic_name, write_coco
from flexpose.poseset import PoseSet
from flexpose.skeleton import Skeleton
from napari_flexpose.desk import JobDesk
from napari_flexpose.pictures import LEARN, PAINT, SHOWN, STEPS, PosePictures, pairs_of
from napari_flexpose.session import FlexPoseSession
from napari_flexpose.studio import IN_USE, Studio

SIDE = 64


class Work:
    """A project whose adapted model is in use, and whose jobs the test tells of."""

    def __init__(self, session: FlexPoseSession) -> None:
        self.session, self.runner = session, HeldRunner()
        self.runs = session.opened_project().folder / "runs"
        self.model = self.runs / "adapt-0001"
        (self.model / "checkpoints").mkdir(parents=True)
        (self.runs / IN_USE).write_text(self.model.name, encoding="utf-8")
        self.studio = Studio(session, JobDesk(self.runner))
        self.pictures = PosePictures(self.studio)

    def label(self, count: int) -> tuple[str, ...]:
        """Complete all frames but the last ones; their names."""
        names = self.session.opened_frames().names[:count]
        joints = self.session.skeleton.num_joints
        points = np.linspace(5, 30, 2 * joints, dtype=np.float32).reshape(joints, 2)
        state, suggested = np.full(joints, 2, np.int8), np.zeros(joints, bool)
        label = FrameLabel(points=points, state=state, suggested=suggested)
        self.session.apply(dict.fromkeys(names, label), "label")
        return names

    def end(self, event: JobEvent) -> Path:
        """End the job, on the disk and for who watches it; its run."""
        run, config = self.runner.request.run, self.runner.request.config
        run.begin(config)
        run.events_file.write_text(event_to_json(event, run.path) + "\n", encoding="utf-8")
        self.runner.tell(event)
        return run.path

    def learn(self) -> Path:
        """Learn to paint, and end with the first pictures; the painter."""
        self.pictures.learn("whole", "cpu")
        run = self.end(JobFinished(None))
        painted(run / "shown", self.session.skeleton)
        self.end(JobFinished(run / "shown"))
        return run


def painted(folder: Path, skeleton: Skeleton, count: int = SHOWN) -> None:
    """A folder as ``translate`` leaves it, all pictures of one red."""
    names = tuple(synthetic_name(number + 1) for number in range(count))
    points = np.random.default_rng(0).uniform(8, 56, (count, skeleton.num_joints, 2))
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), np.full((SIDE, SIDE, 3), (0, 0, 200), np.uint8))
    write_coco(
        PoseSet.create(skeleton, points, (SIDE, SIDE), image_ids=names), folder / PICTURES_FILE
    )


@pytest.fixture
def work(session: FlexPoseSession) -> Work:
    return Work(session)


def test_why_nothing_can_be_learned_is_said(work):
    assert "label at least 4" in work.pictures.readiness()
    work.label(4)
    assert work.pictures.readiness() == ""
    (work.runs / IN_USE).unlink()
    without = PosePictures(Studio(work.session, JobDesk(HeldRunner())))
    with pytest.raises(FlexPoseError, match="Adapt a prior first"):
        without.learn()
    with pytest.raises(FlexPoseError, match="learn to paint"):
        without.export(work.runs / "pictures", 5)


def test_it_learns_the_models_poses_from_the_projects_frames(work):
    work.label(4)
    assert "4 complete frames. It learns more from a detector" in work.pictures.teachers
    work.pictures.learn("whole", "cpu")
    request, config = work.runner.request, work.runner.request.config
    assert isinstance(config, TranslatorConfig)
    assert (request.command, request.outlives, work.pictures.working) == (LEARN, True, LEARN)
    assert (config.source, config.poses, config.steps) == (str(work.model), None, STEPS)
    assert config.frames.path == work.session.opened_project().images
    assert config.frames.crop == "whole"
    assert len(read_poses(config.labels)) == 4
    with pytest.raises(FlexPoseError, match="running already"):
        work.pictures.learn()


def test_frames_without_labels_are_learned_as_the_detector_sees_them(work, puppet):
    names = (*work.label(4), "unlabelled.png")
    kept = work.studio.shots()
    found = PoseSet.create(
        puppet, np.full((len(names), puppet.num_joints, 2), 9.0), (120, 100), image_ids=names
    )
    write_coco(found, work.runs / "predictions-0001.coco.json")
    assert "from what the detector suggests on the others" in work.pictures.teachers
    work.pictures.learn()
    labels = read_poses(work.runner.request.config.labels)
    assert sorted(labels.image_ids) == sorted(names)
    np.testing.assert_allclose(labels.keypoints[: len(kept)], kept.keypoints, atol=0.01)


def test_what_was_learned_paints_some_at_once(work):
    work.label(4)
    work.pictures.learn("whole", "cpu")
    sheet = np.zeros((1, 8, 16, 3), np.uint8)
    work.runner.tell(PreviewReady(1, sheet))
    assert work.pictures.preview is sheet
    painter = work.end(JobFinished(None))
    request, config = work.runner.request, work.runner.request.config
    assert isinstance(config, TranslateConfig)
    assert (request.command, request.outlives) == (PAINT, True)
    assert (config.model, config.source) == (painter, str(work.model))
    assert (config.n, config.out, config.overwrite) == (SHOWN, painter / "shown", True)
    painted(painter / "shown", work.session.skeleton)
    work.end(JobFinished(painter / "shown"))
    assert work.pictures.pairs.shape == (SHOWN, 128, 256, 3)
    assert (work.pictures.working, work.pictures.outcome) == ("", "")


def test_pictures_are_exported_and_others_each_time(work, tmp_path):
    work.label(4)
    work.learn()
    seeds = []
    for name in ("a", "b"):
        work.pictures.export(tmp_path / name, 500, "cpu")
        config = work.runner.request.config
        assert (config.n, config.out, config.overwrite) == (500, tmp_path / name, False)
        seeds.append(config.seed)
        work.end(JobFinished(tmp_path / name))
        assert work.pictures.outcome.endswith("marked as synthetic.")
        assert str(tmp_path / name) in work.pictures.outcome
    assert len(set(seeds)) == 2
    work.pictures.export(tmp_path / "c", 1)
    work.end(JobCancelled(0))
    assert work.pictures.outcome == ""


def test_a_cancelled_learning_replaces_nothing(work):
    work.label(4)
    painter = work.learn()
    work.pictures.learn()
    work.end(JobCancelled(7))
    assert work.pictures.painter == painter
    assert work.runner.request.command == LEARN  # nothing followed


def test_pictures_are_there_when_the_project_is_opened_again(work):
    work.label(4)
    painter = work.learn()
    folder = work.session.opened_project().folder
    work.session.close()
    assert (work.pictures.painter, work.pictures.pairs) == (None, None)
    work.session.open(folder)
    assert work.pictures.painter == painter
    assert work.pictures.pairs is not None


def test_a_pair_is_a_drawn_pose_left_of_its_picture(puppet, tmp_path):
    painted(tmp_path, puppet, count=2)
    pairs = pairs_of(tmp_path)
    assert pairs.shape == (2, 128, 256, 3)
    assert (pairs[:, :, 128:] == (200, 0, 0)).all()
    places = np.rint(read_poses(tmp_path / PICTURES_FILE).keypoints * 127 / 63).astype(int)
    for pair, points in zip(pairs, places, strict=True):
        for a, b in puppet.edges:
            assert pair[points[a, 1], points[a, 0]].min() > 100
            assert pair[points[b, 1], points[b, 0]].min() > 100
