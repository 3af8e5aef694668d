"""JobDesk: the one job that may run at a time, and what is known of it. Without Qt and napari."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from psygnal import Signal

from flexpose.configs.adaptation import AdaptConfig
from flexpose.configs.base import JobConfig
from flexpose.errors import DeviceMemoryError, FlexPoseError
from flexpose.events import (
    TERMINAL,
    JobEvent,
    JobFailed,
    JobFinished,
    ProcessDied,
    StepCompleted,
)
from flexpose.jobs import CancelToken, has_ended
from flexpose.runs import RunDir
from napari_flexpose.process_runner import (
    APART,
    ProcessRequest,
    command_of,
    death,
    latest_runs,
    leave_it,
    request_for,
)
from napari_flexpose.runners import JobRequest, JobRunner

DeskState = Literal["idle", "running", "stopping", "cancelling"]
MIN_BATCH = 16
"""The smallest batch that configs allow."""


class JobDesk:
    """Starts jobs, passes their events on and knows how to end them.

    Whatever happens to a job, its terminal event brings the desk back to idle.

    Attributes
    ----------
    state : what is going on; the two last ones until the job has noticed
    request : the job that runs or ran last
    last : its last progress
    ended : its terminal event, None while it runs
    interrupted : by command, the newest run whose process died, and what is to be said of it
    """

    state_changed = Signal(str)
    happened = Signal(object)
    """Each event of a job, on the thread of the runner's owner."""
    interrupted_changed = Signal()

    def __init__(self, runner: JobRunner) -> None:
        self._runner = runner
        self.state: DeskState = "idle"
        self.request: JobRequest | None = None
        self.last: StepCompleted | None = None
        self.ended: JobEvent | None = None
        self.interrupted: dict[str, tuple[RunDir, ProcessDied]] = {}
        self._next: list[Callable[[], None]] = []

    def start(
        self, command: str, config: JobConfig, folder: Path, *, apart: bool = False
    ) -> RunDir:
        """Begin a job in a new numbered run below ``folder``.

        Parameters
        ----------
        apart : in a process that goes on when the window is closed; long trainings always do

        Raises
        ------
        FlexPoseError : another job runs, or the folder cannot be written.
        """
        self._refuse_a_second()
        try:
            run = RunDir.create(command, root=folder)
        except OSError as error:
            raise FlexPoseError(
                f"The folder {folder} cannot be written ({error.strerror})."
            ) from error
        kind = ProcessRequest if apart or command in APART else JobRequest
        self._submit(kind(command, config, run, CancelToken(run)))
        return run

    def attach(self, run: RunDir) -> None:
        """Follow a job that a process of its own does, from its first event on.

        Raises
        ------
        FlexPoseError : another job runs, or it is no run of a known command.
        """
        self._refuse_a_second()
        self._submit(request_for(run, running=True))
        assert self.request is not None
        token = self.request.cancel
        if self.state == "running" and (token.cancelled or token.stopped):
            self._set("cancelling" if token.cancelled else "stopping")

    def resume(self, run: RunDir) -> None:
        """Go on with an interrupted run from its last checkpoint, in a process of its own.

        Raises
        ------
        FlexPoseError : another job runs, the run's process lives, or it is no run.
        """
        self._refuse_a_second()
        if run.process() and run.process_alive():
            raise FlexPoseError(f"The process of {run.path.name} still runs.", "Wait for its end.")
        request = request_for(run, running=False)
        run.withdraw_requests()
        self._submit(request)

    def dismiss(self, run: RunDir) -> None:
        """Offer an interrupted run no more, now and later; what it saved stays."""
        leave_it(run)
        self._forget(command_of(run))

    def look_at(self, folder: Path | None) -> None:
        """Find what became of the trainings below ``folder``, of none without one.

        One that still runs is followed again; what was interrupted is offered, not begun.
        """
        self.interrupted = {}
        for run in latest_runs(folder) if folder is not None else ():
            if has_ended(run) or self._follows(run):
                continue
            if not run.process_alive():
                self.interrupted[command_of(run)] = (run, death(run))
            elif self.state == "idle":
                with contextlib.suppress(FlexPoseError):  # of another version: left alone
                    self.attach(run)
        self.interrupted_changed.emit()

    def _follows(self, run: RunDir) -> bool:
        return self.state != "idle" and self.request is not None and self.request.run == run

    def _forget(self, command: str) -> None:
        if self.interrupted.pop(command, None) is not None:
            self.interrupted_changed.emit()

    def _refuse_a_second(self) -> None:
        if self.busy:
            raise FlexPoseError(self.busy, "Wait for it, or cancel it.")

    def _submit(self, request: JobRequest) -> None:
        self.request = request
        self.last = self.ended = None
        self._forget(request.command)
        self._set("running")
        try:
            self._runner.submit(request, self._on_event)
        except BaseException:
            self._set("idle")
            raise

    @property
    def busy(self) -> str:
        """Why no job can start now, in one sentence; empty when one can."""
        if self.state == "idle" or self.request is None:
            return ""
        return f"A job is running already ({self.request.command})."

    def cancel(self, *, keep: bool = False) -> None:
        """Ask the job to end: cancel, or with ``keep`` stop early and finish with what there is."""
        if self.state == "idle" or self.request is None:
            return
        self.request.end(keep=keep)
        self._set("stopping" if keep and self.state == "running" else "cancelling")

    def then(self, action: Callable[[], None]) -> None:
        """Do this when the job has ended and everybody has heard of it.

        Who hears of a job's end after its successor began would take that for ended.
        """
        self._next.append(action)

    @property
    def smaller_batch(self) -> int | None:
        """Half the batch of the last job, if it ran out of memory and its batch can be halved."""
        if not isinstance(self.ended, JobFailed) or self.request is None:
            return None
        if not isinstance(self.ended.error, DeviceMemoryError):
            return None
        batch = getattr(self.request.config, "batch_size", None)
        return batch // 2 if batch is not None and batch >= 2 * MIN_BATCH else None

    def retry_smaller(self) -> RunDir:
        """Start the last job again with half the batch; never done without being asked.

        Raises
        ------
        FlexPoseError : there is nothing to halve.
        """
        half = self.smaller_batch
        if self.request is None or half is None:
            raise FlexPoseError("The last job has no batch size to halve.")
        config = self.request.config.model_copy(update={"batch_size": half})
        if isinstance(config, AdaptConfig):
            config = _with_half_pairs(config)
        folder, apart = self.request.run.path.parent, self.request.outlives
        return self.start(self.request.command, config, folder, apart=apart)

    @property
    def result(self) -> Path | None:
        """What the last job made: its model's run or file; None unless it finished."""
        if not isinstance(self.ended, JobFinished) or self.request is None:
            return None
        out = getattr(self.request.config, "out", None)
        return Path(out) if out is not None else self.request.run.path

    def command_line(self) -> str:
        """The line that does in a terminal what the last job did; empty before the first."""
        if self.request is None:
            return ""
        words = ["flexpose-train", self.request.command]
        words += ["--config", str(self.request.run.config_file)]
        out = getattr(self.request.config, "out", None)
        if out is not None:
            words += ["--out", str(out), "--overwrite"]
        return shlex.join(words)

    def close(self) -> None:
        """Cancel what runs here and give it some seconds to end; leave a process to itself."""
        if self.request is not None and self.request.outlives:
            self._runner.close()
            self._set("idle")
            return
        self.cancel()
        self._runner.close()

    def _on_event(self, event: JobEvent) -> None:
        if isinstance(event, StepCompleted):
            self.last = event
        if isinstance(event, TERMINAL):
            self.ended = event
        if isinstance(event, ProcessDied) and self.request is not None:
            self.interrupted[self.request.command] = (self.request.run, event)
        try:
            self.happened.emit(event)
        finally:  # a watcher that fails must not leave the desk busy for ever
            if isinstance(event, TERMINAL):
                self._set("idle")
                self._go_on()
            if isinstance(event, ProcessDied):
                self.interrupted_changed.emit()

    def _go_on(self) -> None:
        """Do what was to be done `then`."""
        actions, self._next = self._next, []
        for action in actions:
            action()

    def _set(self, state: DeskState) -> None:
        if state != self.state:
            self.state = state
            self.state_changed.emit(state)


def _with_half_pairs(config: AdaptConfig) -> AdaptConfig:
    """Pairs have a batch of their own, and under index and ot they need most of the memory."""
    transfer = config.transfer
    half = max(transfer.pairs.batch_size // 2, 2)
    pairs = transfer.pairs.model_copy(update={"batch_size": half})
    transfer = transfer.model_copy(update={"pairs": pairs})
    return config.model_copy(update={"transfer": transfer})
