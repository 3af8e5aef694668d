"""Jobs end in exactly one terminal event, whatever happens; runs can be followed from outside."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest

from flexpose.configs.base import JobConfig
from flexpose.errors import ConfigError, DeviceMemoryError, JobFailedError
from flexpose.events import (
    TERMINAL,
    CheckpointSaved,
    JobCancelled,
    JobFailed,
    JobFinished,
    JobStarted,
    PreviewReady,
    ProcessDied,
    StepCompleted,
)
from flexpose.jobs import (
    CancelToken,
    cancel_on_interrupt,
    follow_run,
    guarded,
    has_ended,
    last_step,
    recorded,
    run_to_completion,
)
from flexpose.runs import RunDir


@pytest.fixture
def run(tmp_path):
    run = RunDir.create("job", tmp_path / "run")
    run.begin(JobConfig())
    return run


def job_that(ending, steps=3, closed=None):
    """A job of some steps that ends by raising, or by yielding, what it is given."""
    try:
        yield JobStarted("job", steps, None)
        for step in range(1, steps + 1):
            yield StepCompleted(step, steps, {"loss": 1 / step})
        yield CheckpointSaved(steps, Path("checkpoint"))
        if isinstance(ending, BaseException):
            raise ending
        if ending is not None:
            yield ending
        yield StepCompleted(steps + 1, steps)  # nobody should see this
    finally:
        if closed is not None:
            closed.append(True)


def names(events):
    return [type(event).__name__ for event in events]


def test_a_good_job_ends_in_finished_and_nothing_follows():
    closed = []
    events = list(guarded(job_that(JobFinished(5), closed=closed)))
    assert names(events) == ["JobStarted", *["StepCompleted"] * 3, "CheckpointSaved", "JobFinished"]
    assert closed


@pytest.mark.parametrize(
    ("ending", "error"),
    [
        (RuntimeError("boom"), JobFailedError),
        (ValueError(), JobFailedError),
        (MemoryError(), JobFailedError),
        (DeviceMemoryError("Out of memory."), DeviceMemoryError),
        (ConfigError("steps: too few."), ConfigError),
    ],
    ids=repr,
)
def test_exceptions_become_one_failed_event(ending, error):
    closed = []
    events = list(guarded(job_that(ending, closed=closed)))
    assert [isinstance(e, TERMINAL) for e in events] == [False] * 5 + [True]
    assert isinstance(events[-1], JobFailed)
    assert type(events[-1].error) is error
    assert not isinstance(events[-1].error, RuntimeError)
    assert "job_that" in events[-1].details
    assert closed


def test_a_job_without_a_last_word_failed():
    events = list(guarded(iter([JobStarted("job", 1, None)])))
    assert names(events) == ["JobStarted", "JobFailed"]


def test_an_error_while_closing_is_reported():
    def job():
        try:
            yield JobFinished()
        finally:
            raise RuntimeError("clean-up")

    (event,) = guarded(job())
    assert isinstance(event, JobFailed)
    assert "clean-up" in str(event.error)


def test_ctrl_c_inside_a_job_counts_as_cancelled():
    events = list(guarded(job_that(KeyboardInterrupt())))
    assert events[-1] == JobCancelled(3, Path("checkpoint"))


def test_a_failed_job_lets_go_of_what_its_frames_held():
    class Big:
        pass

    alive = []

    def job():
        big = Big()
        alive.append(weakref.ref(big))
        yield JobStarted("job", 1, None)
        raise RuntimeError("boom")

    event = list(guarded(job()))[-1]
    gc.collect()
    assert alive[0]() is None
    assert isinstance(event, JobFailed)


def test_closing_early_closes_the_job():
    closed = []
    events = guarded(job_that(JobFinished(), closed=closed))
    next(events)
    events.close()
    assert closed


def test_the_token_tells_cancel_from_stop_early(run):
    token, other = CancelToken(run), CancelToken(run)
    assert not (token.cancelled or token.stopped)
    token.cancel(keep=True)
    assert token.stopped and not token.cancelled and not other.stopped
    token.cancel()
    assert token.cancelled
    run.request_cancel(keep=True)
    assert other.stopped and not other.cancelled
    run.request_cancel()
    assert other.cancelled


def test_the_token_works_across_threads():
    token = CancelToken()
    thread = threading.Thread(target=token.cancel)
    thread.start()
    thread.join()
    assert token.cancelled


def test_the_first_ctrl_c_cancels_and_the_second_ends():
    token = CancelToken()
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as exit_info, cancel_on_interrupt(token):
        signal.raise_signal(signal.SIGINT)
        assert token.cancelled
        signal.raise_signal(signal.SIGINT)
    assert exit_info.value.code == 130
    assert signal.getsignal(signal.SIGINT) is before


def test_followers_see_each_event_as_it_is_recorded(run):
    images = np.zeros((2, 4, 4, 3), np.uint8)
    job = iter([JobStarted("job", 2, run.path), PreviewReady(1, images), JobFinished("done")])
    writing = recorded(job, run)
    following = follow_run(run, alive=lambda: True, poll_seconds=0)
    for written in writing:
        read = next(following)
        assert type(read) is type(written)
    assert read == JobFinished("done")
    with pytest.raises(StopIteration):
        next(following)


def test_half_a_line_is_waited_for(run):
    list(recorded(guarded(job_that(JobFinished(), steps=1)), run))
    whole = run.events_file.read_bytes()
    run.events_file.write_bytes(whole[:-20])
    looks = []

    def alive():
        looks.append(True)
        run.events_file.write_bytes(whole)
        return True

    events = list(follow_run(run, alive=alive, poll_seconds=0))
    assert names(events) == ["JobStarted", "StepCompleted", "CheckpointSaved", "JobFinished"]
    assert len(looks) == 1


def test_a_resumed_run_is_followed_beyond_its_former_end(run):
    list(recorded(guarded(job_that(JobCancelled(1), steps=1)), run))
    with run.events_file.open("a") as file:
        file.write('{"event": "StepCom')  # a line cut short by a crash
    run.begin(JobConfig())
    list(recorded(guarded(job_that(JobFinished(), steps=2)), run))
    events = list(follow_run(run, poll_seconds=0))
    assert names(events).count("JobStarted") == 2
    assert [e for e in events if isinstance(e, TERMINAL)] == [JobFinished()]


DYING = """
import os, sys
from pathlib import Path
from flexpose.configs.base import JobConfig
from flexpose.events import JobStarted, StepCompleted
from flexpose.jobs import guarded, recorded
from flexpose.runs import RunDir
run = RunDir(Path(sys.argv[1]))
run.begin(JobConfig())
def job():
    yield JobStarted("job", 9, run.path)
    yield StepCompleted(1, 9)
    os._exit(9)
list(recorded(guarded(job()), run))
"""


def test_a_dead_process_ends_in_process_died(run):
    subprocess.run([sys.executable, "-c", DYING, str(run.path)], timeout=20)
    run.log_file.write_text("Killed: out of memory", encoding="utf-8")
    events = list(follow_run(run, poll_seconds=0))
    assert names(events) == ["JobStarted", "StepCompleted", "ProcessDied"]
    assert isinstance(events[-1], ProcessDied)
    assert events[-1].details == "Killed: out of memory"


def test_a_full_disk_while_recording_fails_the_job(run, monkeypatch):
    closed = []
    real_open = Path.open

    def full(self, mode="r", *args, **kwargs):
        if self.name == "events.jsonl" and closed == [] and StepCompleted in seen:
            raise OSError(28, "No space left on device")
        return real_open(self, mode, *args, **kwargs)

    seen = set()
    monkeypatch.setattr(Path, "open", full)
    events = []
    for event in recorded(guarded(job_that(JobFinished(), closed=closed)), run):
        seen.add(type(event))
        events.append(event)
    assert names(events) == ["JobStarted", "StepCompleted", "JobFailed"]
    assert "No space left" in str(events[-1].error)
    assert closed


def test_run_to_completion_returns_the_result_or_raises():
    seen = []
    assert run_to_completion(job_that(JobFinished(5)), seen.append) == 5
    assert len(seen) == 6
    with pytest.raises(DeviceMemoryError):
        run_to_completion(job_that(DeviceMemoryError("full")))
    with pytest.raises(JobFailedError, match="boom") as info:
        run_to_completion(job_that(RuntimeError("boom")))
    assert isinstance(info.value.__cause__, RuntimeError)
    with pytest.raises(JobFailedError, match="cancelled"):
        run_to_completion(job_that(JobCancelled(2)))


def test_this_process_counts_as_alive(run):
    assert run.process()["pid"] == os.getpid()
    assert run.process_alive()


def test_a_run_has_ended_once_its_last_process_told_so(run):
    assert not has_ended(run)
    list(recorded(guarded(job_that(JobFinished(), steps=3)), run))
    assert has_ended(run)
    assert last_step(run) == StepCompleted(3, 3, {"loss": 1 / 3})
    run.begin(JobConfig())  # resumed, and not heard of since
    assert not has_ended(run)
    list(recorded(iter([StepCompleted(4, 9)]), run))
    with run.events_file.open("a") as file:
        file.write('{"event": "JobFin')  # still being written
    assert not has_ended(run)
    assert last_step(run) == StepCompleted(4, 9)


def test_the_latest_step_is_found_behind_long_lines(run):
    list(recorded(iter([StepCompleted(1, 9), StepCompleted(2, 9), JobFinished("x" * 9000)]), run))
    assert last_step(run) == StepCompleted(2, 9)
    list(recorded(iter([JobFinished("é" * 70_000)]), run))  # more than is looked at, cut anywhere
    assert last_step(run) is None
