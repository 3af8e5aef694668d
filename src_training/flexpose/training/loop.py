"""The one training loop. An algorithm is a `TrainTask`; `run_task` drives it and tells of it."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flexpose.checkpoint import (
    CheckpointMeta,
    latest_checkpoint,
    load_checkpoint,
    mark_latest,
    save_checkpoint,
)
from flexpose.compute import translate_out_of_memory
from flexpose.errors import TrainingDivergedError
from flexpose.events import (
    CheckpointSaved,
    JobCancelled,
    JobEvent,
    JobFinished,
    JobStarted,
    MetricsReady,
    PreviewReady,
    StepCompleted,
)
from flexpose.jobs import CancelToken
from flexpose.runs import RunDir

REPORT_SECONDS = 0.2
"""Least time between two `StepCompleted`; losses leave the device only then."""


class Preview(NamedTuple):
    """What a task shows: uint8 (n, H, W, 3) RGB; float32 (n, J, 2) canvas pixels or None."""

    images: NDArray[np.uint8]
    keypoints: NDArray[np.float32] | None = None


class TrainTask(Protocol):
    """The mathematics of one algorithm: what a step is, what to show, what to save.

    Step k draws its randomness from ``generator_for(seed, k)``, so that a resumed run equals an
    uninterrupted one.
    """

    @property
    def name(self) -> str:
        """For people, such as ``train-prior``."""

    @property
    def lr(self) -> float:
        """Current learning rate of the main optimiser."""

    def step(self, step: int) -> Mapping[str, Tensor]:
        """Do optimisation step ``step`` (from 1); detached 0-d losses on the device.

        A loss that is only computed now and then may be absent from the other steps.
        """

    def evaluate(self) -> Mapping[str, float]:
        """Metrics on held-out data; may be empty."""

    def preview(self) -> Preview:
        """Pictures of the same latents each time."""

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weights by name, and what only training needs (optimisers; tensors and plain data)."""

    def load_state(self, tensors: Mapping[str, Tensor], train_state: Mapping[str, Any]) -> None:
        """Take back what `state` gave; tensors come on the CPU.

        Raises
        ------
        CheckpointError : the state does not fit this task.
        """

    def meta(self) -> CheckpointMeta:
        """Say what travels with the weights; the loop fills in step and metrics."""


@dataclass(frozen=True)
class Schedule:
    """How long to train, and after how many steps to do what; 0 means never.

    The last step counts as due for all that is not switched off, and always leaves a checkpoint;
    the newest ``keep_last`` checkpoints stay on disk.
    """

    steps: int
    preview_every: int = 0
    evaluate_every: int = 0
    checkpoint_every: int = 0
    keep_last: int = 2

    def due(self, every: int, step: int) -> bool:
        """Whether something that happens every so many steps happens after ``step``."""
        return every > 0 and (step % every == 0 or step == self.steps)


def run_task(
    task: TrainTask, schedule: Schedule, run: RunDir, cancel: CancelToken
) -> Iterator[JobEvent]:
    """Train until the schedule's end, from the run's latest checkpoint if there is one.

    Yields
    ------
    Events; the last is `JobFinished` with the final checkpoint's path (also after stopping early)
    or `JobCancelled` with a checkpoint to go on from.

    Raises
    ------
    TrainingDivergedError : a loss stopped being finite; no checkpoint is written from then on.
    DeviceMemoryError : the device ran out of memory.
    CheckpointError : the latest checkpoint cannot be read or a new one not be written.
    """
    with translate_out_of_memory():
        yield from _steps(task, schedule, run, cancel)


def _steps(
    task: TrainTask, schedule: Schedule, run: RunDir, cancel: CancelToken
) -> Iterator[JobEvent]:
    saver = _Saver(task, run.checkpoints, schedule.keep_last)
    start = saver.restore()
    yield JobStarted(task.name, schedule.steps, run.path)
    meter = _Meter()
    began, reported = time.monotonic(), float("-inf")
    for step in range(start + 1, schedule.steps + 1):
        if cancel.cancelled or cancel.stopped:
            meter.check(step - 1)
            if cancel.stopped and schedule.evaluate_every:  # what is kept should say how good it is
                saver.metrics = dict(task.evaluate())
                yield MetricsReady(step - 1, saver.metrics, "val")
            if saver.saved != step - 1:
                yield CheckpointSaved(step - 1, saver.save(step - 1))
            # asked again: a cancel that follows a stop wins
            cancelled = cancel.cancelled
            yield JobCancelled(step - 1, saver.path) if cancelled else JobFinished(saver.path)
            return
        meter.add(task.step(step))
        now = time.monotonic()
        if now - reported >= REPORT_SECONDS or step == schedule.steps:
            reported = now
            seconds_left = (now - began) / (step - start) * (schedule.steps - step)
            yield StepCompleted(step, schedule.steps, meter.read(step), task.lr, seconds_left)
        if schedule.due(schedule.preview_every, step):
            yield PreviewReady(step, *task.preview())
        if schedule.due(schedule.evaluate_every, step):
            saver.metrics = dict(task.evaluate())
            yield MetricsReady(step, saver.metrics, "val")
        if schedule.due(schedule.checkpoint_every, step):
            meter.check(step)
            yield CheckpointSaved(step, saver.save(step))
    if saver.saved is None or saver.saved < schedule.steps:
        yield CheckpointSaved(schedule.steps, saver.save(schedule.steps))
    yield JobFinished(saver.path)


class _Meter:
    """Means of losses since the last reading, kept on the device."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, losses: Mapping[str, Tensor]) -> None:
        for name, loss in losses.items():
            self._sums[name] = self._sums[name] + loss if name in self._sums else loss.clone()
            self._counts[name] = self._counts.get(name, 0) + 1

    def check(self, step: int) -> dict[str, float]:
        """Means so far; raises `TrainingDivergedError` when one is not finite."""
        if not self._sums:
            return {}
        # one transfer for all
        values = torch.stack([total.float() for total in self._sums.values()]).tolist()
        for name, value in zip(self._sums, values, strict=True):
            if not np.isfinite(value):
                raise TrainingDivergedError(name, step)
        return {
            name: value / self._counts[name] for name, value in zip(self._sums, values, strict=True)
        }

    def read(self, step: int) -> dict[str, float]:
        """Like `check`, and begin anew."""
        means = self.check(step)
        self._sums.clear()
        self._counts.clear()
        return means


class _Saver:
    """Writes the checkpoints of a run and keeps the last few."""

    def __init__(self, task: TrainTask, folder: Path, keep_last: int) -> None:
        self._task, self._folder, self._keep_last = task, folder, keep_last
        self.metrics: Mapping[str, float] = {}
        self.saved: int | None = None  # step of the latest checkpoint
        self.path: Path | None = None

    def restore(self) -> int:
        """Load the latest checkpoint into the task; its step, 0 when there is none."""
        latest = latest_checkpoint(self._folder)
        if latest is None:
            return 0
        found = load_checkpoint(latest, kind=self._task.meta().kind)
        self._task.load_state(found.tensors, found.train_state or {})
        self.metrics, self.saved, self.path = found.meta.metrics, found.meta.step, latest
        return found.meta.step

    def save(self, step: int) -> Path:
        """Write the checkpoint of this step."""
        tensors, train_state = self._task.state()
        meta = replace(self._task.meta(), step=step, metrics=self.metrics)
        folder = self._folder / f"step-{step:06d}"
        if folder.exists():  # written, but the process ended before ``latest`` named it
            shutil.rmtree(folder)
        self.path = save_checkpoint(folder, tensors=tensors, meta=meta, train_state=train_state)
        self.saved = step
        mark_latest(folder)
        self._prune()
        return folder

    def _prune(self) -> None:
        steps = [p for p in self._folder.iterdir() if re.fullmatch(r"step-\d+", p.name)]
        steps.sort(key=lambda p: int(p.name.removeprefix("step-")))
        for old in steps[: -self._keep_last]:
            shutil.rmtree(old)
        for left in self._folder.glob(
            "step-*.partial"
        ):  # of a process that was killed while saving
            shutil.rmtree(left)
