"""Long trainings as processes: followed, killed, resumed, left and met again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from held_runner import HeldRunner

from flexpose.configs.adaptation import SampleConfig
from flexpose.configs.prior import PriorConfig
from flexpose.events import (
    CheckpointSaved,
    JobCancelled,
    JobEvent,
    JobFailed,
    JobFinished,
    JobStarted,
    MetricsReady,
    PhaseChanged,
    PreviewReady,
    ProcessDied,
    StepCompleted,
    WarningRaised,
)
from flexpose.io import read_poses, write_poses
from flexpose.jobs import CancelToken, has_ended, recorded
from flexpose.runs import RunDir
from napari_flexpose import process_runner
from napari_flexpose.desk import JobDesk
from napari_flexpose.process_runner import ProcessRequest, few_of_the_past
from napari_flexpose.runners import InlineRunner

Settings = Callable[..., PriorConfig]
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"


@pytest.fixture(autouse=True)
def no_process_left(tmp_path: Path) -> Iterator[None]:
    """Kill what a test has started, even when it failed."""
    yield
    for path in tmp_path.rglob("process.json"):
        run = RunDir(path.parent)
        if run.process()["pid"] != os.getpid() and run.process_alive():
            os.kill(run.process()["pid"], signal.SIGKILL)


@pytest.fixture
def settings(tmp_path: Path, puppet, puppet_poses) -> Settings:
    """Of a prior that takes milliseconds a step."""
    (tmp_path / "puppet.yaml").write_text(yaml.safe_dump(puppet.to_dict()), encoding="utf-8")
    write_poses(puppet_poses(80), tmp_path / "source.npz")
    sizes = {"z_dim": 6, "w_dim": 8, "width": 16, "depth": 3, "mapping_depth": 2, "disc_width": 16}
    values = {
        "source": {"poses": tmp_path / "source.npz", "skeleton": str(tmp_path / "puppet.yaml")},
        "generator": {"kind": "keypoints", **sizes},
        "batch_size": 8,
        "checkpoint_every": 10,
        "device": "cpu",
        "threads": 1,
    }
    return lambda steps: PriorConfig.model_validate({**values, "steps": steps})


def watched(desk: JobDesk, act: Callable[[JobEvent], None] = lambda event: None) -> list[JobEvent]:
    """Everything that the desk tells from now on; ``act`` is called with each."""
    told: list[JobEvent] = []
    desk.happened.connect(told.append)
    desk.happened.connect(act)
    return told


def at_step(step: int, act: Callable[[], Any]) -> Callable[[JobEvent], None]:
    """Call ``act`` once, at the first event of this step or a later one."""
    done: list[bool] = []

    def look(event: JobEvent) -> None:
        if isinstance(event, StepCompleted) and event.step >= step and not done:
            done.append(True)
            act()

    return look


def weights(checkpoint: Path) -> dict[str, np.ndarray]:
    from flexpose.checkpoint import load_checkpoint

    return {name: t.numpy() for name, t in load_checkpoint(checkpoint).tensors.items()}


@pytest.mark.slow
def test_a_killed_training_is_offered_and_resumed_to_the_same_end(settings, tmp_path, play):
    desk, runs = JobDesk(InlineRunner()), tmp_path / "runs"

    def kill() -> None:
        os.kill(desk.request.run.process()["pid"], signal.SIGKILL)

    told = watched(desk, at_step(15, kill))
    run = desk.start("train-prior", settings(300), runs)
    died = desk.ended
    assert isinstance(died, ProcessDied)
    assert sum(isinstance(event, (JobFailed, JobFinished, JobCancelled)) for event in told) == 1
    assert desk.state == "idle"
    assert desk.result is None
    assert died.error.message.startswith("train-prior-0001 was killed after step ")
    assert died.error.hint.startswith("Resume goes on from step ")

    later = JobDesk(InlineRunner())
    told = watched(later)
    later.look_at(runs)
    assert later.state == "idle"
    assert not told  # nothing begins by itself
    offered, words = later.interrupted["train-prior"]
    assert offered == run
    assert "was interrupted after step" in str(words.error)
    later.resume(run)
    assert isinstance(later.ended, JobFinished)
    assert not later.interrupted
    assert sum(isinstance(event, JobStarted) for event in told) == 2  # the curve has both parts
    whole = play("train-prior", settings(300), tmp_path / "whole")[-1].result
    found = weights(later.ended.result)
    assert found.keys() == weights(whole).keys()
    for name, values in weights(whole).items():
        np.testing.assert_array_equal(found[name], values, name)
    later.look_at(runs)
    assert not later.interrupted


@pytest.mark.slow
def test_a_training_outlives_the_window_and_is_met_again(settings, tmp_path, qtbot):
    from napari_flexpose.thread_runner import ThreadRunner

    runs = tmp_path / "runs"
    first = JobDesk(ThreadRunner())
    told = watched(first)
    run = first.start("train-prior", settings(400), runs)
    qtbot.waitUntil(lambda: any(isinstance(e, StepCompleted) for e in told), timeout=600_000)
    first.close()
    assert (first.state, first.ended) == ("idle", None)
    assert run.process_alive()

    second = JobDesk(ThreadRunner())
    told = watched(second)
    second.look_at(runs)
    assert (second.state, second.request.command) == ("running", "train-prior")
    assert second.request.config.steps == 400
    qtbot.waitUntil(lambda: second.state == "idle", timeout=600_000)
    assert isinstance(told[0], PhaseChanged)
    assert isinstance(told[-1], JobFinished)
    steps = [event.step for event in told if isinstance(event, StepCompleted)]
    assert (steps[0], steps[-1]) == (1, 400)
    qtbot.waitUntil(lambda: not run.process_alive(), timeout=120_000)


@pytest.mark.slow
def test_a_cancel_reaches_a_process_that_has_not_begun_yet(settings, tmp_path, monkeypatch):
    desk = JobDesk(InlineRunner())
    start = process_runner.start_process

    def impatient(*values: Any) -> subprocess.Popen[bytes]:
        child = start(*values)
        desk.cancel()
        return child

    monkeypatch.setattr(process_runner, "start_process", impatient)
    states: list[str] = []
    desk.state_changed.connect(states.append)
    run = desk.start("train-prior", settings(100_000), tmp_path)
    assert desk.ended == JobCancelled(0, run.checkpoints / "step-000000")
    assert states == ["running", "cancelling", "idle"]


@pytest.mark.slow
def test_stopping_early_keeps_what_there_is(settings, tmp_path):
    desk = JobDesk(InlineRunner())
    watched(desk, at_step(5, lambda: desk.cancel(keep=True)))
    run = desk.start("train-prior", settings(100_000), tmp_path)
    assert isinstance(desk.ended, JobFinished)
    assert desk.result == run.path
    assert desk.last.step < 100_000


@pytest.mark.slow
def test_a_command_that_writes_a_file_runs_in_our_folder_and_is_checked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "poses.json"
    desk = JobDesk(InlineRunner())
    told = watched(desk)
    config = SampleConfig(model="body15", n=20, out=out, device="cpu")
    run = desk.start("sample", config, tmp_path / "project", apart=True)
    assert desk.ended == JobFinished(out)
    assert len(read_poses(out)) == 20
    assert run.process()["pid"] != os.getpid()
    assert not (tmp_path / "runs").exists()
    checks = [e for e in told if isinstance(e, MetricsReady) and e.split == "check"]
    assert [check.metrics["errors"] for check in checks] == [0]


def test_a_process_that_cannot_start_says_why(settings, tmp_path, monkeypatch):
    (tmp_path / "yaml.py").write_text("raise ImportError('this yaml is broken')", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    desk = JobDesk(InlineRunner())
    run = desk.start("train-prior", settings(3), tmp_path / "runs")
    assert isinstance(desk.ended, ProcessDied)
    assert desk.ended.error.message == "train-prior-0001 could not start."
    assert "this yaml is broken" in desk.ended.details
    assert "---" not in desk.ended.details
    assert run.config_file.is_file()
    assert desk.interrupted["train-prior"] == (run, desk.ended)


def test_a_process_that_does_not_answer_is_ended_by_force(settings, tmp_path, monkeypatch):
    def deaf(command: str, config: Any, run: RunDir) -> subprocess.Popen[bytes]:
        child = subprocess.Popen([sys.executable, "-c", DEAF])
        run.log_file.touch()
        run.announce(child.pid)
        list(recorded(iter([StepCompleted(7, 9), CheckpointSaved(5, run.checkpoints)]), run))
        return child

    monkeypatch.setattr(process_runner, "start_process", deaf)
    monkeypatch.setattr(process_runner, "PATIENCE", 0.3)
    monkeypatch.setattr(process_runner, "LAST_WAIT", 0.3)
    desk = JobDesk(InlineRunner())
    told = watched(desk, at_step(7, desk.cancel))
    run = desk.start("train-prior", settings(9), tmp_path)
    assert [type(event) for event in told[-2:]] == [WarningRaised, JobCancelled]
    assert "its process was ended" in told[-2].message
    assert desk.ended == JobCancelled(5, run.checkpoints)
    assert not run.process_alive()
    assert has_ended(run)
    assert not desk.interrupted


def test_a_process_that_no_window_started_is_never_ended(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(process_runner, "PATIENCE", 0.0)
    monkeypatch.setattr(process_runner, "LAST_WAIT", 0.0)
    monkeypatch.setattr(os, "kill", lambda pid, number: number and pytest.fail("a signal was sent"))
    run = RunDir.create("train-prior", root=tmp_path)
    run.begin(settings(9))  # ours: a notebook may train, too
    token = CancelToken(run)
    request = ProcessRequest("train-prior", settings(9), run, token, running=True)
    token.cancel()
    threading.Timer(0.6, request.leave).start()
    assert list(request.events()) == []


def test_of_the_past_few_steps_and_the_latest_pictures_are_told():
    def told(live: threading.Event) -> Iterator[JobEvent]:
        yield JobStarted("job", 100_000, None)
        for step in range(1, 20_001):
            yield StepCompleted(step, 100_000)
            if step % 5_000 == 0:
                yield PreviewReady(step, np.zeros((1, 2, 2, 3), np.uint8))
        live.set()
        for step in range(20_001, 20_004):
            yield StepCompleted(step, 100_000)

    live = threading.Event()
    events = list(few_of_the_past(told(live), live))
    steps = [event.step for event in events if isinstance(event, StepCompleted)]
    assert len(steps) == 81 + 3  # a fifth of 400, and what happens now
    assert steps[-3:] == [20_001, 20_002, 20_003]
    assert [event.step for event in events if isinstance(event, PreviewReady)] == [20_000]


# ---------------------------------------------------------------- the bar


@pytest.fixture
def bar(qtbot, settings, tmp_path):
    from napari_flexpose.widgets.job_bar import JobBar

    desk = JobDesk(HeldRunner())
    bar = JobBar(desk, "train-prior")
    qtbot.addWidget(bar)
    bar.show()
    desk.start("train-prior", settings(9), tmp_path / "runs")
    return bar


def test_the_bar_names_a_training_that_goes_on_without_the_window(bar):
    assert bar.title.text().startswith("train-prior-0001. Goes on")
    assert bar.title.isVisible()


def test_the_bar_offers_to_resume_what_was_killed(bar):
    desk = bar._desk
    run = desk.request.run
    run.announce(1)
    run.begin(desk.request.config)
    desk._runner.tell(process_runner.death(run, -9))
    assert bar.trouble.sentence.text().startswith("train-prior-0001 was killed before its first")
    assert bar.resume.isVisible()
    bar.resume.click()
    assert "still runs" in bar.trouble.sentence.text()  # this process did begin it
    run.announce(2**22 + 1)  # there is no such process
    bar.resume.click()
    assert (desk.state, desk.request.run, desk.request.running) == ("running", run, False)
    assert not bar.offer.isVisible()
    assert not bar.trouble.isVisible()


def test_what_is_left_is_not_offered_again(bar):
    desk = bar._desk
    run = desk.request.run
    run.announce(2**22 + 1)
    desk._runner.tell(process_runner.death(run, -9))
    bar.dismiss.click()
    assert not bar.offer.isVisible()
    assert not bar.trouble.isVisible()
    desk.look_at(run.path.parent)
    assert not desk.interrupted
