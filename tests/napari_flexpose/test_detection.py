"""What *Detect* knows and does, without a window and without training anything."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import cv2
import numpy as np
import pytest
from held_runner import HeldRunner

from flexpose.annotation.label import FrameLabel
from flexpose.configs.detector import DetectorConfig, PredictConfig
from flexpose.errors import FlexPoseError
from flexpose.events import (
    JobCancelled,
    JobEvent,
    JobFailed,
    JobFinished,
    MetricsReady,
    PreviewReady,
    event_to_json,
)
from flexpose.io.base import read_poses
from flexpose.runs import RunDir
from flexpose.skeleton import Skeleton
from napari_flexpose.desk import JobDesk
from napari_flexpose.detection import HELD_FROM, PREDICT, TRAIN, Detection
from napari_flexpose.session import FlexPoseSession
from napari_flexpose.studio import Studio

NUM_FRAMES = 25


class Work:
    """A project of small frames whose jobs the test tells of."""

    def __init__(self, folder: Path, skeleton: Skeleton) -> None:
        folder.mkdir()
        for number in range(NUM_FRAMES):
            cv2.imwrite(str(folder / f"{number:02d}.png"), np.zeros((40, 40, 3), np.uint8))
        self.session = FlexPoseSession()
        self.session.create(folder, skeleton)
        self.runner = HeldRunner()
        self.desk = JobDesk(self.runner)
        self.studio = Studio(self.session, self.desk)
        self.detection = Detection(self.session, self.studio, self.desk)

    @property
    def runs(self) -> Path:
        assert self.session.project is not None
        return self.session.project.folder / "runs"

    def label(self, count: int) -> list[str]:
        """Complete the first frames; their names."""
        assert self.session.frames is not None
        names = list(self.session.frames.names[:count])
        joints = self.session.skeleton.num_joints
        points = np.linspace(5, 30, 2 * joints, dtype=np.float32).reshape(joints, 2)
        state, suggested = np.full(joints, 2, np.int8), np.zeros(joints, bool)
        label = FrameLabel(points=points, state=state, suggested=suggested)
        self.session.apply(dict.fromkeys(names, label), "label")
        return names

    def train(self, unseen: Collection[str] = ()) -> DetectorConfig:
        """Press the button; what is asked of the job."""
        self.detection.train({"frames": {"crop": "whole"}, "steps": 9}, unseen)
        config = self.runner.request.config
        assert isinstance(config, DetectorConfig)
        return config

    def end(self, event: JobEvent) -> RunDir:
        """End the job, on the disk and for who watches it; its run."""
        run = self.runner.request.run
        run.begin(self.runner.request.config)
        run.events_file.write_text(event_to_json(event, run.path) + "\n", encoding="utf-8")
        self.runner.tell(event)
        return run

    def finish_training(self) -> Path:
        """Train to the end, and drop the prediction that follows; the run."""
        self.train()
        path = self.end(JobFinished(self.runner.request.run.path)).path
        self.end(JobCancelled(0))
        return path


@pytest.fixture
def make(tmp_path: Path):
    made: list[Work] = []

    def work(skeleton: Skeleton) -> Work:
        made.append(Work(tmp_path / f"film-{len(made)}", skeleton))
        return made[-1]

    yield work
    for each in made:
        each.session.close()


@pytest.fixture
def work(make, body: Skeleton) -> Work:
    return make(body)


def names_in(path: Path | None) -> list[str]:
    assert path is not None
    return list(read_poses(path).image_ids or ())


# ---------------------------------------------------------------- may it begin?


def test_readiness_says_what_is_missing(work):
    assert work.detection.readiness() == "No frames are complete; label at least 4, better 12."
    work.label(1)
    assert work.detection.readiness() == "1 frame is complete; label at least 4, better 12."
    with pytest.raises(FlexPoseError, match="1 frame is complete"):
        work.train()
    work.label(4)
    assert work.detection.readiness() == ""


def test_nothing_open_is_said_too():
    session, desk = FlexPoseSession(), JobDesk(HeldRunner())
    detection = Detection(session, Studio(session, desk), desk)
    assert detection.readiness().startswith("Open images")


def test_no_training_begins_beside_another_job(work):
    work.label(4)
    work.train()
    with pytest.raises(FlexPoseError, match="running already"):
        work.train()


def test_a_wrong_setting_is_refused_before_anything_is_written(work):
    work.label(4)
    with pytest.raises(FlexPoseError, match="width"):
        work.detection.train({"width": 1})
    assert work.desk.state == "idle"
    assert not (work.session.project.folder / "shots").exists()


# ---------------------------------------------------------------- what is learnt from


def test_few_shots_are_all_learnt_from(work):
    names = work.label(HELD_FROM - 1)
    config = work.train()
    assert names_in(config.shots) == names
    assert config.validation is None


def test_of_many_shots_every_fifth_is_kept_to_measure_by(work):
    names = work.label(HELD_FROM + 3)
    config = work.train()
    held = [names[number] for number in (4, 9, 14, 19)]
    assert names_in(config.validation) == held
    assert names_in(config.shots) == [name for name in names if name not in held]


def test_frames_that_nobody_looked_at_teach_nothing(work):
    names = work.label(HELD_FROM)
    config = work.train(unseen=names[:2])
    assert names_in(config.shots) == names[2:]
    assert config.validation is None  # they do not count towards many


def test_without_enough_frames_that_somebody_looked_at_nothing_is_trained(work):
    names = work.label(6)
    with pytest.raises(FlexPoseError, match="looked at: 3; at least 4"):
        work.train(unseen=names[:3])
    with pytest.raises(FlexPoseError, match="looked at: 0; at least 4"):
        work.train(unseen=names)
    assert work.desk.state == "idle"


def test_the_job_gets_the_projects_frames_and_the_settings(work):
    work.label(4)
    config = work.train()
    assert config.frames.path == work.session.project.images
    assert config.frames.crop == "whole"
    assert config.steps == 9


def test_poses_come_from_the_model_in_use(work):
    work.label(4)
    assert work.train().model == work.studio.source


def test_a_skeleton_that_the_prior_does_not_know_goes_without_a_model(make, puppet):
    work = make(puppet)
    work.label(4)
    assert work.train().model is None


# ---------------------------------------------------------------- which detector is in use


def test_the_newest_training_that_finished_is_the_detector(work):
    work.label(4)
    assert work.detection.detector is None
    first = work.finish_training()
    assert work.detection.detector == first
    second = work.finish_training()
    assert work.detection.detector == second != first


@pytest.mark.parametrize("end", [JobCancelled(3), JobFailed(FlexPoseError("No."))])
def test_a_training_without_a_result_replaces_nothing(work, end):
    work.label(4)
    before = work.finish_training()
    work.train()
    work.end(end)
    assert work.detection.detector == before
    assert work.desk.state == "idle"  # and nothing follows on it
    again = Detection(work.session, work.studio, work.desk)  # as after opening the project
    assert again.detector == before


def test_another_project_has_another_detector(work, make, body, tmp_path):
    work.label(4)
    work.finish_training()
    other = tmp_path / "other"
    other.mkdir()
    cv2.imwrite(str(other / "a.png"), np.zeros((40, 40, 3), np.uint8))
    work.session.create(other, body)
    assert work.detection.detector is None


# ---------------------------------------------------------------- what happens


def test_prediction_follows_on_training(work):
    work.label(4)
    work.train()
    trained = work.end(JobFinished(work.runner.request.run.path)).path
    assert work.runner.request.command == PREDICT
    config = work.runner.request.config
    assert isinstance(config, PredictConfig)
    assert config.model == trained
    assert config.frames.crop == "whole"  # as it was trained
    assert work.detection.working


def test_a_prediction_that_cannot_begin_is_told_and_the_detector_stays(work, monkeypatch):
    told: list[str] = []
    work.session.failed.connect(told.append)
    work.label(4)
    work.train()
    path = work.runner.request.run.path

    def refuse() -> None:
        raise FlexPoseError("The disk is full.", "Make room.")

    monkeypatch.setattr(work.session, "save", refuse)
    work.end(JobFinished(path))
    assert work.detection.detector == path
    assert work.desk.state == "idle"
    assert told == ["The disk is full. Make room."]


def test_whoever_watches_hears_of_the_end_before_the_next_beginning(work):
    """A panel that heard them the other way round would show nothing of the prediction."""
    heard: list[str] = []
    work.desk.state_changed.connect(heard.append)  # after the detection did
    work.label(4)
    work.train()
    work.end(JobFinished(work.runner.request.run.path))
    assert heard == ["running", "idle", "running"]


def test_predicted_carries_the_file(work):
    files: list[Path] = []
    work.detection.predicted.connect(files.append)
    work.label(4)
    work.train()
    work.end(JobFinished(work.runner.request.run.path))
    out = work.runner.request.config.out
    assert out == work.runs / "predictions-0001.coco.json"
    assert files == []
    work.end(JobFinished(out))
    assert files == [out]


def test_a_cancelled_prediction_gives_no_file(work):
    files: list[Path] = []
    work.detection.predicted.connect(files.append)
    work.label(4)
    work.finish_training()
    assert files == []


def test_each_prediction_is_a_file_of_its_own(work):
    work.label(4)
    work.finish_training()
    (work.runs / "predictions-0001.coco.json").write_text("{}", encoding="utf-8")
    work.detection.predict("motion")
    assert work.runner.request.config.out.name == "predictions-0002.coco.json"


def test_without_a_detector_there_is_nothing_to_predict_with(work):
    with pytest.raises(FlexPoseError, match="no detector yet"):
        work.detection.predict()


def test_pictures_and_figures_are_those_of_the_latest_training(work):
    work.label(4)
    work.train()
    pictures = np.zeros((2, 8, 8, 3), np.uint8)
    work.runner.tell(PreviewReady(3, pictures))
    work.runner.tell(MetricsReady(3, {"pck@.1": 0.8}, "val"))
    assert work.detection.preview is pictures
    assert work.detection.figures == {"pck@.1": 0.8}
    work.end(JobCancelled(3))
    work.train()
    assert work.detection.preview is None
    assert work.detection.figures == {}


def test_other_jobs_say_nothing_about_the_detector(work):
    work.label(4)
    work.studio.adapt({"steps": 3})
    assert not work.detection.working
    work.runner.tell(PreviewReady(1, np.zeros((1, 8, 8, 3), np.uint8)))
    work.runner.tell(JobFinished(work.runner.request.run.path))
    assert work.detection.preview is None
    assert work.detection.detector is None
    assert work.runner.request.command != TRAIN


# ---------------------------------------------------------------- how long


def test_the_time_grows_with_steps_and_with_the_networks_size(work):
    """0.29 s a step: 600 steps are 174 s, 3000 are 870 s, and four times that at 128 px."""
    estimate = work.detection.estimate
    crop = {"frames": {"crop": "motion"}}
    assert estimate({**crop, "steps": 600}) == "Takes about 3 min on one processor core."
    assert estimate({**crop, "steps": 3000}) == "Takes about 14 min on one processor core."
    assert estimate({"size": 128, "steps": 3000}) == "Takes about 58 min on one processor core."


@pytest.mark.parametrize(
    "settings", [{"device": "cuda"}, {"heatmaps": {"backbone": "mobilenet"}}, {"steps": "x"}]
)
def test_of_what_was_not_measured_no_time_is_said(work, settings):
    assert work.detection.estimate(settings) == ""
