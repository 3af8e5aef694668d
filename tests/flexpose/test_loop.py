"""The training loop: event order, exact resuming, cancelling anywhere, failing safely."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flexpose import checkpoint
from flexpose.checkpoint import CheckpointMeta, load_checkpoint
from flexpose.compute import generator_for
from flexpose.errors import CheckpointError, DeviceMemoryError, TrainingDivergedError
from flexpose.events import (
    TERMINAL,
    CheckpointSaved,
    JobCancelled,
    JobFailed,
    JobFinished,
    MetricsReady,
    PreviewReady,
    StepCompleted,
)
from flexpose.jobs import CancelToken, guarded, recorded
from flexpose.runs import RunDir
from flexpose.training import loop
from flexpose.training.loop import Preview, Schedule, run_task


class FakeTask:
    """Fits a line; ``at`` holds what to do before a step."""

    name = "fake"
    lr = 0.1

    def __init__(self, at=None, kind="fake"):
        torch.manual_seed(1)
        self.net = torch.nn.Linear(3, 1)
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=self.lr)
        self.at = at or {}
        self.kind = kind
        self.steps = []

    def step(self, step):
        if step in self.at:
            self.at[step]()
        self.steps.append(step)
        x = torch.randn(4, 3, generator=generator_for(5, step))
        loss = (self.net(x) - x.sum(1, keepdim=True)).square().mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        losses = {"fit": loss.detach()}
        return losses if step % 2 else {**losses, "even": torch.tensor(float(step))}

    def evaluate(self):
        return {"bias": float(self.net.bias.detach())}

    def preview(self):
        return Preview(np.zeros((2, 4, 4, 3), np.uint8))

    def state(self):
        return dict(self.net.state_dict()), {"optimiser": self.optimiser.state_dict()}

    def load_state(self, tensors, train_state):
        self.net.load_state_dict(tensors)
        self.optimiser.load_state_dict(train_state["optimiser"])

    def meta(self):
        return CheckpointMeta(kind=self.kind, skeleton={"name": "toy"})


def play(task, schedule, path, cancel=None):
    run = RunDir(path)
    path.mkdir(exist_ok=True)
    return list(recorded(guarded(run_task(task, schedule, run, cancel or CancelToken(run))), run))


def weights(task):
    return torch.cat([p.detach().flatten() for p in task.net.parameters()])


def raising(error):
    def act():
        raise error

    return act


def test_events_come_in_order_with_one_terminal(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "REPORT_SECONDS", 1000.0)
    events = play(FakeTask(), Schedule(6, 2, 3, 4), tmp_path)
    kinds = [(type(e).__name__, getattr(e, "step", None)) for e in events]
    assert kinds == [
        ("JobStarted", None),
        ("StepCompleted", 1),
        ("PreviewReady", 2),
        ("MetricsReady", 3),
        ("PreviewReady", 4),
        ("CheckpointSaved", 4),
        ("StepCompleted", 6),
        ("PreviewReady", 6),
        ("MetricsReady", 6),
        ("CheckpointSaved", 6),
        ("JobFinished", None),
    ]
    assert events[-1] == JobFinished(tmp_path / "checkpoints" / "step-000006")
    last = next(e for e in events if isinstance(e, StepCompleted) and e.step == 6)
    assert last.losses["even"] == pytest.approx(4)  # mean of 2, 4, 6: steps that had it
    assert (last.lr, last.seconds_left, last.total_steps) == (0.1, 0, 6)
    metrics = [e for e in events if isinstance(e, MetricsReady)][-1].metrics
    assert load_checkpoint(tmp_path).meta.metrics == metrics
    assert load_checkpoint(tmp_path).meta.step == 6


def test_intervals_of_zero_mean_never_but_the_end_is_kept(tmp_path):
    events = play(FakeTask(), Schedule(2), tmp_path)
    assert not [e for e in events if isinstance(e, (PreviewReady, MetricsReady))]
    assert [e.step for e in events if isinstance(e, CheckpointSaved)] == [2]


def test_steps_are_reported_at_most_five_times_a_second(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(loop.time, "monotonic", lambda: now[0])

    def tick():
        now[0] += 0.0625  # exact in binary

    events = play(FakeTask(dict.fromkeys(range(1, 101), tick)), Schedule(100), tmp_path)
    reports = [e for e in events if isinstance(e, StepCompleted)]
    assert [e.step for e in reports] == [*range(1, 101, 4), 100]
    assert reports[1].seconds_left == pytest.approx((100 - reports[1].step) * 0.0625)


@pytest.mark.parametrize("stop", [1, 2, 4])
def test_resuming_equals_not_having_stopped_bit_for_bit(stop, tmp_path):
    whole, first, second = FakeTask(), FakeTask(), FakeTask()
    play(whole, Schedule(5), tmp_path / "whole")
    play(first, Schedule(stop), tmp_path / "parts")
    play(second, Schedule(5), tmp_path / "parts")
    assert second.steps == list(range(stop + 1, 6))
    assert torch.equal(weights(second), weights(whole))
    a, b = load_checkpoint(tmp_path / "whole"), load_checkpoint(tmp_path / "parts")
    assert all(torch.equal(a.tensors[k], b.tensors[k]) for k in a.tensors)


def test_a_finished_run_finishes_again_at_once(tmp_path):
    play(FakeTask(), Schedule(3), tmp_path)
    task = FakeTask()
    events = play(task, Schedule(3), tmp_path)
    assert [type(e).__name__ for e in events] == ["JobStarted", "JobFinished"]
    assert events[-1].result == tmp_path / "checkpoints" / "step-000003"
    assert task.steps == []


@settings(max_examples=12, deadline=None)
@given(at=st.integers(0, 6), every=st.integers(0, 3), keep=st.booleans())
def test_cancelling_anywhere_leaves_a_loadable_checkpoint(at, every, keep):
    with tempfile.TemporaryDirectory() as name:
        path, cancel = Path(name), CancelToken()
        if at == 0:
            cancel.cancel(keep)
        task = FakeTask({at: lambda: cancel.cancel(keep)})
        events = play(task, Schedule(6, checkpoint_every=every), path, cancel)
        assert sum(isinstance(e, TERMINAL) for e in events) == 1
        if at == 6 or keep:  # asked during the last step, there is nothing left to cancel
            assert isinstance(events[-1], JobFinished)
        else:
            assert isinstance(events[-1], JobCancelled)
            assert (events[-1].step, events[-1].checkpoint) == (at, load_checkpoint(path).path)
        saved = [e.step for e in events if isinstance(e, CheckpointSaved)]
        assert saved == sorted(set(saved))
        assert load_checkpoint(path, kind="fake").meta.step == at
        assert not list(path.rglob("*.partial"))
        resumed, whole = FakeTask(), FakeTask()
        play(resumed, Schedule(6), path)
        play(whole, Schedule(6), path / "whole")
        assert torch.equal(weights(resumed), weights(whole))


def test_what_is_kept_early_says_how_good_it_is(tmp_path):
    cancel = CancelToken()
    task = FakeTask({2: lambda: cancel.cancel(True)})
    events = play(task, Schedule(6, evaluate_every=6), tmp_path, cancel)
    (metrics,) = [e for e in events if isinstance(e, MetricsReady)]
    assert metrics.step == 2
    assert load_checkpoint(tmp_path).meta.metrics == metrics.metrics


def test_old_checkpoints_and_leftovers_are_removed(tmp_path):
    leftover = tmp_path / "checkpoints" / "step-000001.partial"
    leftover.mkdir(parents=True)
    play(FakeTask(), Schedule(5, checkpoint_every=1), tmp_path)
    names = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert names == ["latest", "step-000004", "step-000005"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), DeviceMemoryError),
        (TrainingDivergedError("x", 3), TrainingDivergedError),
    ],
)
def test_errors_in_a_step_keep_the_last_checkpoint(error, kind, tmp_path):
    task = FakeTask({3: raising(error)})
    events = play(task, Schedule(6, checkpoint_every=2), tmp_path)
    assert isinstance(events[-1], JobFailed)
    assert type(events[-1].error) is kind
    assert load_checkpoint(tmp_path).meta.step == 2


def test_a_loss_that_is_not_finite_is_named_and_never_saved(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "REPORT_SECONDS", 1000.0)
    task = FakeTask()

    def poison():
        with torch.no_grad():
            task.net.bias.fill_(float("nan"))

    task.at = {3: poison}
    events = play(task, Schedule(6, checkpoint_every=2), tmp_path)
    assert isinstance(events[-1], JobFailed)
    assert isinstance(events[-1].error, TrainingDivergedError)
    assert "'fit'" in str(events[-1].error)
    latest = load_checkpoint(tmp_path)
    assert latest.meta.step == 2
    assert all(bool(t.isfinite().all()) for t in latest.tensors.values())


@pytest.mark.parametrize("target", ["save_file", "os.replace"])
def test_a_full_disk_keeps_the_former_checkpoint(target, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    def fill_the_disk():
        owner = checkpoint.os if target == "os.replace" else checkpoint
        monkeypatch.setattr(owner, target.removeprefix("os."), full)

    events = play(FakeTask({3: fill_the_disk}), Schedule(6, checkpoint_every=2), tmp_path)
    monkeypatch.undo()
    assert isinstance(events[-1], JobFailed)
    assert isinstance(events[-1].error, CheckpointError)
    assert load_checkpoint(tmp_path).meta.step == 2
    assert not list(tmp_path.rglob("*.partial"))
    resumed, whole = FakeTask(), FakeTask()
    play(resumed, Schedule(6), tmp_path)
    play(whole, Schedule(6), tmp_path / "whole")
    assert torch.equal(weights(resumed), weights(whole))


def test_a_checkpoint_of_another_kind_is_not_resumed(tmp_path):
    play(FakeTask(), Schedule(2), tmp_path)
    events = play(FakeTask(kind="other"), Schedule(4), tmp_path)
    assert isinstance(events[-1], JobFailed)
    assert "kind 'fake', expected 'other'" in str(events[-1].error)
