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
from flexpose.errors import DeviceMemoryError, FlexPoseError, SkeletonMismatchError
from flexpose.events import (
    JobCancelled,
    JobFailed,
    JobFinished,
    MapReady,
    MetricsReady,
    StepCompleted,
    event_to_json,
)
from flexpose.io.base import read_poses
from flexpose.io.coco_read import read_coco
from flexpose.mannequin import mannequin_frames
from flexpose.skeleton import Skeleton
from napari_flexpose.desk import JobDesk
from napari_flexpose.figures import AdaptFigures, energy_distance, reached_shots
from napari_flexpose.runners import InlineRunner
from napari_flexpose.session import FlexPoseSession
from napari_flexpose.studio import Studio, num_steps
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


@pytest.mark.parametrize("name", ["body15", "body15-image"])
def test_the_default_batches_are_the_engines(studio, runner, name):
    """Out of memory, half of what failed is offered, so what is automatic must be named."""
    from flexpose.models.prior import load_prior
    from flexpose.training.adaptation import AdaptationTask
    from flexpose.training.data import load_shots

    studio.adapt({"prior": name})
    config = runner.request.config.model_copy(update={"batch_size": None})
    prior = load_prior(name)
    poses, _ = load_shots(config.shots, config.prior, prior.skeleton)
    import torch

    task = AdaptationTask(config, prior, torch.from_numpy(poses), torch.device("cpu"))
    assert task.batch_size == runner.request.config.batch_size


@pytest.mark.parametrize(("name", "half"), [("body15", 256), ("body15-image", 32)])
def test_out_of_memory_with_an_automatic_batch_starts_again_with_half(studio, runner, name, half):
    studio.adapt({"prior": name})
    runner.tell(JobFailed(DeviceMemoryError("The device ran out of memory.")))
    assert studio.desk.smaller_batch == half
    studio.desk.retry_smaller()
    assert runner.request.config.batch_size == half
    assert studio.desk.state == "running"


def test_before_the_first_run_the_time_is_our_own_measurement(studio):
    other = "on two processor cores. It was not run on this computer yet."
    assert studio.estimate({}) == f"Takes a few seconds {other}"
    assert studio.estimate({"prior": "body15-image"}) == f"Takes about 1 min {other}"
    assert studio.estimate({"steps": 1600}) == f"Takes about 35 s {other}"
    assert studio.estimate({"steps": "x"}) == ""


def finished_run(
    studio: Studio, runner: HeldRunner, seconds_left: float, **settings: object
) -> Path:
    """A run on disk that had so many seconds left after step 40 of 161."""
    studio.adapt(settings)
    run = runner.request.run
    run.begin(runner.request.config)
    left = [(20, 2 * seconds_left), (40, seconds_left), (161, 0.0)]
    events = [StepCompleted(step, 161, {}, None, seconds) for step, seconds in left]
    lines = [event_to_json(event, run.path) for event in [*events, JobFinished(run.path)]]
    run.events_file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    runner.tell(JobFinished(run.path))
    return run.path


def test_finished_runs_say_how_long_the_next_one_takes(studio, runner):
    finished_run(studio, runner, 242.0)  # 2 s a step
    assert studio.estimate({}) == "Takes about 5 min on this computer, as it did before."
    assert studio.estimate({"steps": 9}) == "Takes about 20 s on this computer, as it did before."
    for _ in range(2):
        finished_run(studio, runner, 121.0)  # the middle of three counts
    assert studio.estimate({"steps": 39}) == "Takes about 40 s on this computer, as it did before."


def test_runs_of_other_settings_or_computers_say_nothing(studio, runner, monkeypatch):
    finished_run(studio, runner, 242.0, device="cpu")
    assert "(cpu), as it did before" in studio.estimate({"device": "cpu"})
    for other in ({}, {"device": "cpu", "batch_size": 64}, {"prior": "body15-image"}):
        assert "two processor cores" in studio.estimate(other)
    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    fresh = Studio(studio.session, JobDesk(runner))
    assert "two processor cores" in fresh.estimate({"device": "cpu"})


def test_runs_that_did_not_finish_say_nothing(studio, runner):
    path = finished_run(studio, runner, 242.0)
    events = (path / "events.jsonl").read_text(encoding="utf-8").splitlines()
    (path / "events.jsonl").write_text("\n".join(events[:-1]) + '\n{"eve', encoding="utf-8")
    assert "two processor cores" in studio.estimate({})


def test_the_steps_are_those_of_the_engine(studio, runner):
    from flexpose.models.prior import load_prior
    from flexpose.training.adaptation import AdaptationTask
    from flexpose.training.data import load_shots

    prior = load_prior("body15")
    for transfer, bones in (("energy", True), ("none", True), ("none", False), ("ot", False)):
        studio.adapt(
            {
                "transfer": {"matching": transfer, "pairs": {"features": "keypoints"}},
                "kinematics": {"enabled": bones},
            }
        )
        config = runner.request.config
        runner.tell(JobCancelled(0))
        import torch

        shots = torch.from_numpy(load_shots(config.shots, config.prior, prior.skeleton)[0])
        task = AdaptationTask(config, prior, shots, torch.device("cpu"))
        assert task.total_steps == num_steps(config)


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
    before = energy_distance(flat[:4], flat[4:7])
    reach = (reached_shots(flat[7:], flat[4:7]), 3)
    assert studio.figures == AdaptFigures(0.09, before, 1.1, 0.4, reach)


def test_figures_are_plain_sentences():
    figures = AdaptFigures(0.09, 0.31, 1.1, 0.4, (11, 12))
    assert figures.words == (
        "Distance to your poses: 0.09, before 0.31 (0 is best).",
        "Variety: 1.1 times that of your poses.",
        "Reach: 11 of your 12 poses have a new one nearby.",
        "Kept: 40% of what is drawn, the rest is too far from yours.",
    )
    assert figures.warning == ""
    plain = AdaptFigures(-0.05, None, 1.0, 1.0)
    assert plain.words[0] == "Distance to your poses: 0.00 (0 is best)."
    assert len(plain.words) == 3
    assert "hardly differ" in replace(figures, variety=0.3).warning
    assert "further" in replace(figures, distance=0.4).warning
    assert "Most of your poses" in replace(figures, recall=(5, 12)).warning


def test_a_shot_is_reached_by_what_is_nearer_than_the_next_shot():
    shots = np.array([[0.0, 0.0], [1.0, 0.0], [5.0, 0.0]])
    assert reached_shots(np.array([[0.5, 0.0]]), shots) == 2
    assert reached_shots(np.array([[0.5, 0.0], [8.0, 0.0]]), shots) == 3
    assert reached_shots(np.array([[20.0, 0.0]]), shots) == 0


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


def flags(path: Path) -> dict[str, tuple[object, object, object]]:
    """What a file says of each frame: attribute for other tools, and our own fields."""
    data = read_coco(path)
    return {
        name: (a.fields["attributes"]["reviewed"], a.reviewed, a.source)
        for name, a in zip(data.poses.image_ids, data.annotations, strict=True)
    }


def suggest_last(studio: Studio) -> None:
    """Make the label of the last frame a suggestion."""
    session = studio.session
    label = session.label_of("3.png")
    session.apply({"3.png": replace(label, suggested=np.ones(15, bool))}, "suggest")


MANUAL, SUGGESTED = (True, True, "manual"), (False, False, "suggested")


def test_labels_say_whether_somebody_looked_at_them(studio, tmp_path):
    words = studio.export_labels(tmp_path / "labels.json", unseen=["1.png"])
    assert words[0] == "4 poses written to labels.json, 1 of them flagged as not reviewed."
    assert flags(tmp_path / "labels.json") == {
        **dict.fromkeys(("0.png", "2.png", "3.png"), MANUAL),
        "1.png": SUGGESTED,
    }


def test_suggestions_are_left_out_flagged_or_in_a_second_file(studio, tmp_path):
    suggest_last(studio)
    studio.export_labels(tmp_path / "labels.json")
    assert [*flags(tmp_path / "labels.json")] == ["0.png", "1.png", "2.png"]
    studio.export_labels(tmp_path / "all.json", "flag")
    assert flags(tmp_path / "all.json")["3.png"] == SUGGESTED
    assert flags(tmp_path / "all.json")["2.png"] == MANUAL
    words = studio.export_labels(tmp_path / "two.coco.json", "two files")
    assert words[:2] == (
        "3 poses written to two.coco.json.",
        "1 pose written to two-suggestions.coco.json, 1 of them flagged as not reviewed.",
    )
    assert flags(tmp_path / "two-suggestions.coco.json") == {"3.png": SUGGESTED}
    assert len(flags(tmp_path / "two.coco.json")) == 3


def test_without_suggestions_there_is_one_file(studio, tmp_path):
    words = studio.export_labels(tmp_path / "labels.json", "two files")
    assert "No suggestion is waiting." in words
    assert not (tmp_path / "labels-suggestions.json").exists()


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


def assert_same_checkpoint(one: Path, other: Path) -> None:
    """Bit for bit, and what travels with the weights too."""
    from flexpose.checkpoint import latest_checkpoint, load_checkpoint

    found = [load_checkpoint(latest_checkpoint(run / "checkpoints")) for run in (one, other)]
    assert found[0].tensors.keys() == found[1].tensors.keys()
    for name, tensor in found[0].tensors.items():
        np.testing.assert_array_equal(tensor.numpy(), found[1].tensors[name].numpy(), name)
    assert found[0].meta.metrics == found[1].meta.metrics


@pytest.mark.slow
def test_the_copied_command_does_what_the_window_did(shots, tmp_path, monkeypatch):
    studio = Studio(shots, JobDesk(InlineRunner()))
    studio.adapt({"steps": 3, "batch_size": 32, "map": False, "threads": 1})
    assert studio.desk.state == "idle"
    command = studio.desk.command_line().split()[1:]
    studio.use_candidate()
    first = tmp_path / "window.json"
    studio.generate({"n": 40, "mixup_share": 0.5, "out": first, "threads": 1})
    assert studio.desk.result == first
    again = tmp_path / "again"
    monkeypatch.chdir(tmp_path)
    assert main([*command, "--out", str(again), "--progress", "none"]) == 0
    assert_same_checkpoint(studio.model, again)
    second = tmp_path / "terminal.json"
    words = ["--n", "40", "--mixup-share", "0.5", "--threads", "1", "--progress", "none"]
    assert main(["sample", "--model", str(again), "--out", str(second), *words]) == 0
    window, terminal = read_poses(first), read_poses(second)
    assert len(window) == 40
    np.testing.assert_array_equal(window.keypoints, terminal.keypoints)
