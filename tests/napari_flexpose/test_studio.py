from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from held_runner import HeldRunner

from flexpose.annotation.label import FrameLabel
from flexpose.cli.__main__ import main
from flexpose.configs.adaptation import AdaptConfig
from flexpose.errors import FlexPoseError, SkeletonMismatchError
from flexpose.events import JobFinished, MapReady, MetricsReady
from flexpose.io.base import read_poses
from flexpose.mannequin import mannequin_frames
from flexpose.skeleton import Skeleton
from napari_flexpose.desk import JobDesk
from napari_flexpose.figures import AdaptFigures, energy_distance
from napari_flexpose.runners import InlineRunner
from napari_flexpose.session import FlexPoseSession
from napari_flexpose.studio import Studio
from napari_flexpose.words import time_left

METRICS = {"energy_distance": 0.09, "spread_ratio": 1.1, "kept_share": 0.4}


def labelled(session: FlexPoseSession, count: int = 4) -> None:
    """Give the first frames the mannequin's poses, shrunk into the images."""
    frames = mannequin_frames(0)
    rows = np.linspace(0, len(frames) - 1, count).astype(int)
    assert session.frames is not None
    labels = {}
    for name, row in zip(session.frames.names, rows, strict=False):
        points = frames.poses.keypoints[row] / frames.poses.image_size[row].max() * 90
        state = np.full(len(points), 2, np.int8)
        labels[name] = FrameLabel(points=points, state=state, suggested=np.zeros(len(points), bool))
    session.apply(labels, "label")


@pytest.fixture
def shots(images: Path, body: Skeleton):
    session = FlexPoseSession()
    session.create(images, body)
    labelled(session)
    yield session
    session.close()


@pytest.fixture
def runner() -> HeldRunner:
    return HeldRunner()


@pytest.fixture
def studio(shots: FlexPoseSession, runner: HeldRunner) -> Studio:
    return Studio(shots, JobDesk(runner))


def finish(studio: Studio, runner: HeldRunner) -> Path:
    """End the job as the engine does; its run."""
    path = runner.request.run.path
    (path / "checkpoints").mkdir(exist_ok=True)
    runner.tell(MetricsReady(1, METRICS, "val"))
    runner.tell(JobFinished(path))
    return path


def test_readiness_says_what_is_missing(images, body):
    session = FlexPoseSession()
    studio = Studio(session, JobDesk(HeldRunner()))
    assert "Open images" in studio.readiness()
    session.create(images, body)
    assert studio.readiness() == "No frames are complete; label at least 2, better 12."
    labelled(session, 2)
    assert studio.readiness() == ""
    session.close()


def test_adapting_writes_the_shots_and_names_what_decides_the_result(studio, runner):
    studio.adapt({"steps": 3})
    config = runner.request.config
    assert isinstance(config, AdaptConfig)
    assert len(read_poses(config.shots)) == 4
    assert config.steps == 3
    assert config.batch_size == 512  # so that half of it can be named
    assert config.threads is not None


def test_the_default_batches_are_the_engines(studio, runner, tmp_path):
    from flexpose.models.prior import load_prior
    from flexpose.training.adaptation import AdaptationTask, load_shots

    studio.adapt({})
    config = runner.request.config.model_copy(update={"batch_size": None})
    prior = load_prior("body15")
    poses, _ = load_shots(config, prior.skeleton)
    import torch

    task = AdaptationTask(config, prior, torch.from_numpy(poses), torch.device("cpu"))
    assert task.batch_size == runner.request.config.batch_size


def test_shots_without_the_priors_joints_are_refused_at_once(images, puppet, runner):
    session = FlexPoseSession()
    session.create(images, puppet)
    assert session.frames is not None
    points = np.arange(10, dtype=np.float32).reshape(5, 2)
    label = FrameLabel(points=points, state=np.full(5, 2, np.int8), suggested=np.zeros(5, bool))
    session.apply(dict.fromkeys(session.frames.names, label), "label")
    studio = Studio(session, JobDesk(runner))
    with pytest.raises(SkeletonMismatchError):
        studio.adapt({})
    assert studio.desk.state == "idle"
    session.close()


def test_a_finished_model_waits_for_the_users_word(studio, runner, shots):
    studio.adapt({})
    run = finish(studio, runner)
    assert (studio.candidate, studio.model) == (run, None)
    studio.drop_candidate()
    assert (studio.candidate, studio.model) == (None, None)
    studio.adapt({})
    run = finish(studio, runner)
    studio.use_candidate()
    assert (studio.candidate, studio.model) == (None, run)
    assert studio.source == str(run)


def test_the_model_in_use_is_remembered_with_the_project(studio, runner, shots, images):
    studio.adapt({})
    run = finish(studio, runner)
    studio.use_candidate()
    folder = shots.project.folder
    shots.close()
    assert studio.model is None
    shots.open(folder)
    assert studio.model == run


def test_figures_compare_with_the_source_poses(studio, runner):
    random = np.random.default_rng(0)
    poses = random.normal(size=(9, 15, 2)).astype(np.float32)
    studio.adapt({})
    counts = {"source": 4, "shots": 3, "adapted": 2}
    runner.tell(MapReady(1, np.zeros((9, 2), np.float32), poses, counts))
    finish(studio, runner)
    flat = poses.reshape(9, -1)
    assert studio.figures == AdaptFigures(0.09, energy_distance(flat[:4], flat[4:7]), 1.1, 0.4)


def test_figures_are_plain_sentences():
    figures = AdaptFigures(0.09, 0.31, 1.1, 0.4)
    assert figures.words[:2] == (
        "Distance to your poses: 0.09, was 0.31 before.",
        "Variety: 1.1 times that of your shots.",
    )
    assert figures.warning == ""
    assert AdaptFigures(-0.05, None, 1.0, 1.0).words[0] == "Distance to your poses: 0.00."
    assert "hardly differ" in replace(figures, variety=0.3).warning
    assert "further" in replace(figures, distance=0.4).warning


def test_energy_distance_equals_the_engines():
    import torch

    from flexpose.losses import energy_distance as engine

    random = np.random.default_rng(1)
    made, shots = random.normal(size=(20, 6)), random.normal(1, 1, size=(5, 6))
    expected = float(engine(torch.from_numpy(made), torch.from_numpy(shots)))
    assert energy_distance(made, shots) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(2, "a few seconds"), (22, "about 20 s"), (100, "about 2 min"), (7200, "about 2.0 hours")],
)
def test_time_left_is_rounded_as_people_do(seconds, words):
    assert time_left(seconds) == f"{words} left"


def test_exported_labels_are_checked_and_come_with_cvats_labels(studio, tmp_path):
    words = studio.export_labels(tmp_path / "labels.json")
    assert words == ("4 poses written to labels.json.", "The check found nothing wrong.")
    assert len(read_poses(tmp_path / "labels.json")) == 4
    cvat = json.loads((tmp_path / "cvat_labels.json").read_text(encoding="utf-8"))
    assert len(cvat[0]["sublabels"]) == 15


def test_an_abandoned_yolo_export_leaves_nothing(studio, tmp_path):
    steps = studio.export_yolo(tmp_path / "yolo")
    assert next(steps) == (1, 4)
    steps.close()
    assert not list(tmp_path.glob("yolo*"))
    assert list(studio.export_yolo(tmp_path / "yolo"))[-1] == (4, 4)
    assert len(list((tmp_path / "yolo").rglob("*.txt"))) == 4


def test_labels_are_exported_for_sleap(studio, tmp_path):
    sleap_io = pytest.importorskip("sleap_io")
    studio.export_labels(tmp_path / "labels.slp")
    assert len(sleap_io.load_slp(str(tmp_path / "labels.slp"))) == 4


def test_nothing_labelled_is_nothing_to_export(images, puppet, tmp_path):
    session = FlexPoseSession()
    session.create(images, puppet)
    studio = Studio(session, JobDesk(HeldRunner()))
    with pytest.raises(FlexPoseError, match="nothing to export"):
        studio.export_labels(tmp_path / "labels.json")
    session.close()


@pytest.mark.slow
def test_the_copied_command_does_what_the_window_did(shots, tmp_path, monkeypatch):
    studio = Studio(shots, JobDesk(InlineRunner()))
    studio.adapt({"steps": 3, "batch_size": 32, "map": False, "threads": 1})
    assert studio.desk.state == "idle"
    command = studio.desk.command_line().split()[1:]
    studio.use_candidate()
    first = tmp_path / "window.json"
    studio.generate({"n": 40, "num_mixups": 5, "out": first, "threads": 1})
    assert studio.desk.result == first
    again = tmp_path / "again"
    monkeypatch.chdir(tmp_path)
    assert main([*command, "--out", str(again), "--progress", "none"]) == 0
    second = tmp_path / "terminal.json"
    words = ["--n", "40", "--num-mixups", "5", "--threads", "1", "--progress", "none"]
    assert main(["sample", "--model", str(again), "--out", str(second), *words]) == 0
    window, terminal = read_poses(first), read_poses(second)
    assert len(window) == 45
    np.testing.assert_array_equal(window.keypoints, terminal.keypoints)
