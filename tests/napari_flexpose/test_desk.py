from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from held_runner import HeldRunner

from flexpose.configs.adaptation import AdaptConfig, SampleConfig
from flexpose.configs.base import dump_config
from flexpose.configs.prior import PriorConfig, SourceConfig
from flexpose.errors import DeviceMemoryError, FlexPoseError
from flexpose.events import (
    JobCancelled,
    JobEvent,
    JobFailed,
    JobFinished,
    JobStarted,
    PhaseChanged,
    StepCompleted,
)
from flexpose.jobs import recorded
from flexpose.runs import RunDir
from napari_flexpose import runners
from napari_flexpose.desk import JobDesk
from napari_flexpose.runners import InlineRunner, JobRequest


@pytest.fixture
def config(tmp_path: Path) -> AdaptConfig:
    return AdaptConfig(shots=tmp_path / "shots.json", batch_size=64)


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], JobDesk]:
    """A desk whose every job is the given one."""

    def make(job: Callable[..., Iterator[JobEvent]]) -> JobDesk:
        monkeypatch.setattr(runners, "resolve", lambda target: job)
        return JobDesk(InlineRunner())

    return make


def heard(desk: JobDesk) -> list[object]:
    """States and events in the order in which the desk tells them."""
    told: list[object] = []
    desk.state_changed.connect(told.append)
    desk.happened.connect(lambda event: told.append(type(event).__name__))
    return told


def test_a_job_runs_from_running_to_idle_with_one_terminal_event(inline, config, tmp_path):
    def job(config: Any, run: Any, cancel: Any) -> Iterator[JobEvent]:
        yield JobStarted("adapt", 1, run.path)
        yield StepCompleted(1, 1)
        yield JobFinished(run.path)

    desk = inline(job)
    told = heard(desk)
    run = desk.start("adapt", config, tmp_path / "runs")
    steps = ["PhaseChanged", "JobStarted", "StepCompleted", "JobFinished"]
    assert told == ["running", *steps, "idle"]
    assert desk.result == run.path
    assert desk.last == StepCompleted(1, 1)


def test_cancelling_ends_the_job_and_leaves_no_result(inline, config, tmp_path):
    def job(config: Any, run: Any, cancel: Any) -> Iterator[JobEvent]:
        yield JobStarted("adapt", 9, run.path)
        for step in range(1, 10):
            if cancel.cancelled:
                yield JobCancelled(step - 1)
                return
            yield StepCompleted(step, 9)

    desk = inline(job)
    states: list[str] = []
    desk.state_changed.connect(states.append)
    desk.happened.connect(lambda e: desk.cancel() if isinstance(e, StepCompleted) else None)
    desk.start("adapt", config, tmp_path)
    assert states == ["running", "cancelling", "idle"]
    assert desk.ended == JobCancelled(1)
    assert desk.result is None


def test_cancelling_before_the_start_does_not_wait_for_it(inline, config, tmp_path):
    begun: list[str] = []

    def job(config: Any, run: Any, cancel: Any) -> Iterator[JobEvent]:
        yield PhaseChanged("loading the prior")
        begun.append("loaded")
        yield JobStarted("adapt", 9, run.path)

    desk = inline(job)
    desk.happened.connect(lambda e: desk.cancel() if isinstance(e, PhaseChanged) else None)
    desk.start("adapt", config, tmp_path)
    assert desk.ended == JobCancelled(0)
    assert not begun


def test_stopping_early_can_still_be_cancelled(config, tmp_path):
    runner = HeldRunner()
    desk = JobDesk(runner)
    desk.start("adapt", config, tmp_path)
    desk.cancel(keep=True)
    assert (desk.state, runner.request.cancel.stopped) == ("stopping", True)
    assert not runner.request.cancel.cancelled
    desk.cancel()
    assert (desk.state, runner.request.cancel.cancelled) == ("cancelling", True)
    runner.tell(JobCancelled(3))
    assert desk.state == "idle"


def test_a_failure_is_told_and_the_desk_is_idle_again(inline, config, tmp_path):
    def job(config: Any, run: Any, cancel: Any) -> Iterator[JobEvent]:
        yield JobStarted("adapt", 9, run.path)
        raise RuntimeError("out of luck")

    desk = inline(job)
    desk.start("adapt", config, tmp_path)
    assert desk.state == "idle"
    assert isinstance(desk.ended, JobFailed)
    assert "out of luck" in str(desk.ended.error)
    assert "RuntimeError" in desk.ended.details


def test_a_watcher_that_fails_does_not_leave_the_desk_busy(config, tmp_path):
    runner = HeldRunner()
    desk = JobDesk(runner)
    desk.happened.connect(lambda event: 1 / 0)
    desk.start("adapt", config, tmp_path)
    with pytest.raises(Exception, match="division"):
        runner.tell(JobFinished())
    assert desk.state == "idle"


def test_a_runner_that_cannot_start_leaves_the_desk_idle(config, tmp_path):
    class Broken(HeldRunner):
        def submit(self, request: JobRequest, on_event: Callable[[JobEvent], None]) -> None:
            raise FlexPoseError("no threads left")

    desk = JobDesk(Broken())
    with pytest.raises(FlexPoseError, match="no threads"):
        desk.start("adapt", config, tmp_path)
    assert desk.state == "idle"


def test_a_second_job_is_refused_with_a_sentence(config, tmp_path):
    desk = JobDesk(HeldRunner())
    desk.start("adapt", config, tmp_path)
    with pytest.raises(FlexPoseError, match=r"running already \(adapt\)"):
        desk.start("adapt", config, tmp_path)


def test_out_of_memory_offers_half_the_batch_and_only_when_asked(config, tmp_path):
    runner = HeldRunner()
    desk = JobDesk(runner)
    first = desk.start("adapt", config, tmp_path)
    assert desk.smaller_batch is None
    runner.tell(JobFailed(DeviceMemoryError("The device ran out of memory.")))
    assert desk.state == "idle"
    assert desk.smaller_batch == 32
    second = desk.retry_smaller()
    assert runner.request.config.batch_size == 32
    assert runner.request.config.transfer.pairs.batch_size == 16  # was 32: pairs need most of it
    assert runner.request.config.steps == config.steps
    assert second.path != first.path


def test_a_batch_that_is_too_small_or_unnamed_is_not_halved(config, tmp_path):
    for size in (None, 16, 31):
        runner = HeldRunner()
        desk = JobDesk(runner)
        desk.start("adapt", config.model_copy(update={"batch_size": size}), tmp_path)
        runner.tell(JobFailed(DeviceMemoryError("The device ran out of memory.")))
        assert desk.smaller_batch is None
        with pytest.raises(FlexPoseError, match="no batch size"):
            desk.retry_smaller()


def test_other_failures_offer_no_smaller_batch(config, tmp_path):
    runner = HeldRunner()
    desk = JobDesk(runner)
    desk.start("adapt", config, tmp_path)
    runner.tell(JobFailed(FlexPoseError("something else")))
    assert desk.smaller_batch is None


def test_a_job_hands_the_interpreter_over_often_and_not_for_ever(inline, config, tmp_path):
    within: list[float] = []

    def job(config: Any, run: Any, cancel: Any) -> Iterator[JobEvent]:
        within.append(sys.getswitchinterval())
        yield JobFinished()

    before = sys.getswitchinterval()
    inline(job).start("adapt", config, tmp_path)
    assert within[0] < before / 5
    assert sys.getswitchinterval() == before


def test_the_command_line_names_the_runs_settings_and_the_file(config, tmp_path):
    runner = HeldRunner()
    desk = JobDesk(runner)
    assert desk.command_line() == ""
    run = desk.start("adapt", config, tmp_path)
    assert desk.command_line() == f"flexpose-train adapt --config {run.config_file}"
    runner.tell(JobFinished())
    out = tmp_path / "my poses.json"
    run = desk.start("sample", SampleConfig(model="body15", out=out), tmp_path)
    assert desk.command_line().endswith(f"--config {run.config_file} --out '{out}' --overwrite")


def test_a_coco_file_that_a_job_made_is_checked(inline, tmp_path):
    out = tmp_path / "poses.json"

    def job(config: Any, run: Any, cancel: Any) -> Iterator[JobEvent]:
        out.write_text('{"images": [], "annotations": [], "categories": []}', encoding="utf-8")
        yield JobStarted("sample", 1, run.path)
        yield JobFinished(out)

    desk = inline(job)
    events: list[JobEvent] = []
    desk.happened.connect(events.append)
    desk.start("sample", SampleConfig(model="body15", out=out), tmp_path)
    checks = [event for event in events if getattr(event, "split", "") == "check"]
    assert len(checks) == 1
    assert checks[0].metrics["errors"] == 1  # no category


# ---------------------------------------------------------------- trainings of earlier windows

NO_PROCESS = 2**22 + 1  # more than a process id can be


def earlier(folder: Path, name: str, pid: int, *events: JobEvent) -> RunDir:
    """A run of a prior's training that an earlier window has left."""
    run = RunDir(folder / name)
    run.path.mkdir(parents=True)
    source = SourceConfig(poses=folder / "poses.npz")
    dump_config(PriorConfig(source=source, steps=500), run.config_file)
    run.announce(pid)
    list(recorded(iter(events), run))
    return run


def test_a_training_that_still_runs_is_followed_again(tmp_path):
    run = earlier(tmp_path, "train-prior-0001", os.getpid(), StepCompleted(3, 500))
    desk = JobDesk(HeldRunner())
    desk.look_at(tmp_path)
    assert desk.state == "running"
    request = desk.request
    assert (request.run, request.command, request.config.steps) == (run, "train-prior", 500)
    assert not desk.interrupted
    desk.look_at(tmp_path)  # the project tells of a change: we look again
    assert desk.request is request


def test_a_training_that_was_asked_to_end_is_still_ending(tmp_path):
    for keep, state in ((True, "stopping"), (False, "cancelling")):
        run = earlier(tmp_path / state, "train-prior-0001", os.getpid())
        run.request_cancel(keep=keep)
        desk = JobDesk(HeldRunner())
        desk.look_at(tmp_path / state)
        assert desk.state == state


def test_an_interrupted_training_is_offered_and_never_begun(tmp_path):
    run = earlier(tmp_path, "train-prior-0002", NO_PROCESS, StepCompleted(30, 500))
    run.checkpoints.mkdir()
    (run.checkpoints / "latest").write_text("step-000020\n")
    desk = JobDesk(HeldRunner())
    desk.look_at(tmp_path)
    assert desk.state == "idle"
    offered, told = desk.interrupted["train-prior"]
    assert offered == run
    assert str(told.error) == (
        "train-prior-0002 was interrupted after step 30. Resume goes on from step 20."
    )
    desk.look_at(None)
    assert not desk.interrupted


@pytest.mark.parametrize("name", ["train-prior-0002", "adapt-0001", "train-prior-notes"])
def test_what_has_ended_or_ran_in_a_window_is_not_offered(tmp_path, name):
    earlier(tmp_path, "train-prior-0001", NO_PROCESS)
    earlier(tmp_path, "train-prior-0003", NO_PROCESS, JobFinished())
    earlier(tmp_path, name, NO_PROCESS)
    desk = JobDesk(HeldRunner())
    desk.look_at(tmp_path)
    assert (desk.state, desk.interrupted) == ("idle", {})


def test_a_run_of_another_computer_is_left_alone(tmp_path):
    run = earlier(tmp_path, "train-prior-0001", NO_PROCESS)
    (run.path / "process.json").write_text('{"pid": 1, "host": "elsewhere"}')
    earlier(tmp_path, "train-regressor-0001", NO_PROCESS)
    (tmp_path / "train-regressor-0001" / "process.json").write_text("{")
    desk = JobDesk(HeldRunner())
    desk.look_at(tmp_path)
    assert (desk.state, desk.interrupted) == ("idle", {})


def test_resuming_forgets_an_old_request_to_end(tmp_path):
    run = earlier(tmp_path, "train-prior-0001", NO_PROCESS)
    run.request_cancel()
    runner = HeldRunner()
    desk = JobDesk(runner)
    desk.resume(run)
    assert (desk.state, runner.request.running) == ("running", False)
    assert not runner.request.cancel.cancelled
    with pytest.raises(FlexPoseError, match="running already"):
        desk.resume(run)


def test_a_run_that_lives_is_not_resumed(tmp_path):
    run = earlier(tmp_path, "train-prior-0001", os.getpid())
    with pytest.raises(FlexPoseError, match="still runs"):
        JobDesk(HeldRunner()).resume(run)


def test_closing_leaves_a_training_to_itself_and_cancels_the_rest(config, tmp_path):
    run = earlier(tmp_path, "train-prior-0001", os.getpid())
    desk = JobDesk(HeldRunner())
    desk.attach(run)
    desk.close()
    assert (desk.state, desk.ended) == ("idle", None)
    assert not (run.path / "cancel").exists()
    desk.start("adapt", config, tmp_path)
    desk.close()
    assert desk.state == "cancelling"


def test_another_training_takes_the_place_of_an_interrupted_one(tmp_path):
    run = earlier(tmp_path, "train-prior-0001", NO_PROCESS)
    desk = JobDesk(HeldRunner())
    desk.look_at(tmp_path)
    changes: list[bool] = []
    desk.interrupted_changed.connect(lambda: changes.append(True))
    second = desk.start("train-prior", PriorConfig(source=SourceConfig(poses=run.path)), tmp_path)
    assert (second.path.name, desk.interrupted) == ("train-prior-0002", {})
    assert changes == [True]


def test_what_follows_on_a_job_begins_once_everybody_has_heard_of_its_end(inline, config, tmp_path):
    def job(config: Any, run: Any, cancel: Any) -> Iterator[JobEvent]:
        yield JobFinished(run.path)

    desk = inline(job)
    told = heard(desk)
    desk.then(lambda: told.append((desk.state, desk.busy)))
    for _ in range(2):  # but only once
        desk.start("adapt", config, tmp_path)
    assert [entry for entry in told if isinstance(entry, tuple)] == [("idle", "")]
    assert told.index(("idle", "")) == told.index("idle") + 1
