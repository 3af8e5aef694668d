"""Long trainings: a process of the command line does the job, and its run folder tells of it.

The process gives its memory back at its end, cannot stall the window, and goes on without it. The
next window follows it again; a run whose process died can be resumed. Without Qt and napari.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from flexpose.commands import find_command, resolve
from flexpose.configs.base import JobConfig, dump_config, load_config
from flexpose.errors import DataFormatError, FlexPoseError, JobFailedError
from flexpose.events import (
    TERMINAL,
    CheckpointSaved,
    JobCancelled,
    JobEvent,
    MapReady,
    PreviewReady,
    ProcessDied,
    StepCompleted,
    WarningRaised,
)
from flexpose.jobs import CancelToken, died, follow_run, guarded, has_finished, last_step, recorded
from flexpose.runs import RunDir
from napari_flexpose.runners import JobRequest, checked

APART = (
    "train-prior", "train-regressor", "train-detector", "predict", "train-translator", "translate",
)  # fmt: skip
"""Commands that take long enough for a process of their own."""
PATIENCE = 20.0
"""Seconds that a process has for ending after a cancel, before it is ended by force."""
LAST_WAIT = 5.0
"""Seconds between asking the system to end a process and its killing it."""
SHOWN_STEPS = 400
"""How many of the steps before we came are handed on; hours of them would stall the window."""
_STARTED = re.compile(r"^--- \d{4}-\d\d-\d\d .*\n", re.MULTILINE)
"""The line that `start_process` writes into the log before another process begins."""


@dataclass(frozen=True)
class ProcessRequest(JobRequest):
    """A job that a process of its own does.

    Attributes
    ----------
    running : whether the process is there already; else `events` starts it
    """

    running: bool = False
    _left: threading.Event = field(init=False, repr=False, default_factory=threading.Event)

    def events(self) -> Iterator[JobEvent]:
        """Follow the run from its first event on; ends without a terminal one when we `leave`."""
        live = threading.Event()
        told = few_of_the_past(self._told(live), live)
        for event in guarded(checked(told, self.run)):
            if self._left.is_set():
                return
            yield event

    def end(self, *, keep: bool = False) -> None:
        """Ask through the run's folder, and remember it: a deaf process is ended by force."""
        super().end(keep=keep)
        with contextlib.suppress(OSError):  # nobody hears of it then, and patience ends
            self.run.request_cancel(keep=keep)

    def leave(self) -> None:
        """Look no more; the process goes on."""
        self._left.set()

    @property
    def outlives(self) -> bool:
        """Whether the job goes on when the window is closed."""
        return True

    def _told(self, live: threading.Event) -> Iterator[JobEvent]:
        """What the process tells; ``live`` is set when all that is old has been read."""
        if not self.running and self.cancel.cancelled:
            yield JobCancelled(0)
            return
        child = None if self.running else start_process(self.command, self.config, self.run)
        watch = _Watch(self.run, self.cancel, child)

        def alive() -> bool:
            live.set()
            return not self._left.is_set() and watch.alive()

        step, checkpoint = 0, None
        try:
            for event in follow_run(self.run, alive=alive):
                step = getattr(event, "step", step)
                if isinstance(event, CheckpointSaved):
                    checkpoint = event.path
                if not isinstance(event, ProcessDied):
                    yield event
                elif watch.forced and not self._left.is_set():
                    yield from recorded(_ended_by_force(step, checkpoint), self.run)
                else:
                    yield death(self.run, child.returncode if child is not None else None)
        finally:
            watch.let_go()


def start_process(command: str, config: JobConfig, run: RunDir) -> subprocess.Popen[bytes]:
    """Begin a job, or go on with it, in a process that outlives this one.

    What it prints goes to the end of the run's log.

    Raises
    ------
    FlexPoseError : the run's folder cannot be written, or the system starts no process.
    """
    words = [sys.executable, "-m", "flexpose.cli", *command.split()]
    words += ["--out", str(run.path), "--resume", "--progress", "none"]
    apart: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        apart = {"creationflags": flags}
    try:
        dump_config(config, run.config_file)
        with run.log_file.open("ab") as log:
            log.write(f"--- {datetime.now():%Y-%m-%d %H:%M:%S} {command}\n".encode())
            log.flush()
            child = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(),
                **apart,
            )
        run.announce(child.pid)
    except OSError as error:
        raise FlexPoseError(
            f"No process can be started for {run.path} ({error.strerror})."
        ) from error
    return child


def spare_processors() -> int:
    """All processors but one, which the window keeps."""
    return max(1, (os.cpu_count() or 2) - 1)


def _environment() -> dict[str, str]:
    """Ours, with one processor left for the window where nobody has chosen."""
    return {"OMP_NUM_THREADS": str(spare_processors()), "PYTHONIOENCODING": "utf-8", **os.environ}


class _Watch:
    """Whether a run's process lives; ends it by force when it does not hear of a cancel.

    Attributes
    ----------
    forced : whether it was ended so
    """

    def __init__(
        self, run: RunDir, cancel: CancelToken, child: subprocess.Popen[bytes] | None
    ) -> None:
        self._run, self._cancel, self._child = run, cancel, child
        self._asked: float | None = None
        self.forced = False

    def alive(self) -> bool:
        """Whether it lives; to be asked again and again."""
        if not self._lives():
            return False
        now = time.monotonic()
        if self._asked is None and self._cancel.cancelled:
            self._asked = now
        if self._asked is not None and now - self._asked > PATIENCE and self._is_ours:
            late = now - self._asked > PATIENCE + LAST_WAIT
            self._signal(getattr(signal, "SIGKILL", signal.SIGTERM) if late else signal.SIGTERM)
        return True

    def let_go(self) -> None:
        """Have a process that goes on waited for, or it would count as alive after its end."""
        if self._child is not None and self._child.poll() is None:
            threading.Thread(target=self._child.wait, daemon=True).start()

    def _lives(self) -> bool:
        if self._child is not None:
            return self._child.poll() is None
        return self._run.process_alive()

    @property
    def _is_ours(self) -> bool:
        """Whether a window started it: another may be somebody's notebook."""
        process = self._run.process()
        here = process.get("host") == socket.gethostname() and process["pid"] != os.getpid()
        return here and self._run.log_file.exists()

    def _signal(self, number: int) -> None:
        self.forced = True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(int(self._run.process()["pid"]), number)


def _ended_by_force(step: int, checkpoint: Path | None) -> Iterator[JobEvent]:
    kept = "Its last checkpoint is kept." if checkpoint else "It had saved no checkpoint yet."
    yield WarningRaised(
        "ended by force", f"It did not answer for {PATIENCE:.0f} s, so its process was ended.", kept
    )
    yield JobCancelled(step, checkpoint)


def few_of_the_past(told: Iterator[JobEvent], live: threading.Event) -> Iterator[JobEvent]:
    """Events; of those before ``live`` is set few steps, and only the latest pictures."""
    pictures: dict[type[JobEvent], JobEvent] = {}
    shown = -1
    for event in told:
        if live.is_set() or isinstance(event, TERMINAL):
            yield from pictures.values()
            pictures = {}
            yield event
        elif isinstance(event, (PreviewReady, MapReady)):
            pictures[type(event)] = event
        elif isinstance(event, StepCompleted):
            part = event.step * SHOWN_STEPS // (event.total_steps or 100 * SHOWN_STEPS)
            if part != shown:
                shown = part
                yield event
                time.sleep(0.002)  # so that the window can keep up
        else:
            yield event


def latest_runs(folder: Path) -> Iterator[RunDir]:
    """The newest run of each command below ``folder``, as far as they began on this computer.

    Only those that a process of their own does: of a command in `APART`, or with a log.
    """
    newest: dict[str, tuple[int, Path]] = {}
    for path in folder.glob("*-*"):
        command, _, number = path.name.rpartition("-")
        if number.isdecimal() and int(number) > newest.get(command, (-1, path))[0]:
            newest[command] = (int(number), path)
    for command, (_, path) in sorted(newest.items()):
        run = RunDir(path)
        if (command in APART or run.log_file.exists()) and _began_here(run):
            yield run


def finished_runs(folder: Path, command: str) -> list[Path]:
    """Runs of a command below ``folder`` that have a result, the newest first."""
    found = [path for path in folder.glob(f"{command}-*") if run_number(path) and _finished(path)]
    return sorted(found, key=run_number, reverse=True)


def run_number(path: Path) -> int:
    """The number at the end of a run's name; 0 without one."""
    tail = path.name.rpartition("-")[2]
    return int(tail) if tail.isdecimal() else 0


def _finished(path: Path) -> bool:
    with contextlib.suppress(FlexPoseError):  # a damaged run has none
        return has_finished(RunDir(path))
    return False


def _began_here(run: RunDir) -> bool:
    try:
        return run.process().get("host") == socket.gethostname()
    except DataFormatError:  # damaged: nothing can be said of its process
        return False


def request_for(run: RunDir, *, running: bool) -> ProcessRequest:
    """What is asked of a run that exists: to be followed, or to be gone on with.

    Raises
    ------
    FlexPoseError : its settings cannot be read, or its name does not begin with a command.
    """
    command = command_of(run)
    config = load_config(resolve(find_command(command).config), run.config_file)
    return ProcessRequest(command, config, run, CancelToken(run), running=running)


def command_of(run: RunDir) -> str:
    """The command whose numbered folder a run has."""
    return re.sub(r"-\d+$", "", run.path.name)


def leave_it(run: RunDir) -> None:
    """Record that an interrupted run is not gone on with; its checkpoints stay."""
    step = last_step(run)
    for _ in recorded(iter([JobCancelled(step.step if step else 0)]), run):
        pass


def death(run: RunDir, code: int | None = None) -> ProcessDied:
    """What is to be said of a run whose process died, with the last that it printed.

    Parameters
    ----------
    code : the process's exit code, below 0 for a signal; None when nobody waited for it
    """
    event, step, name = died(run), last_step(run), run.path.name
    event = replace(event, details=_STARTED.split(event.details)[-1])
    if code is not None and code > 0 and run.process().get("starting"):
        words = f"{name} could not start."
        hint = "Look at the details, mend what they say, then resume."
        return replace(event, error=JobFailedError(words, hint))
    how = "was interrupted"
    if code is not None:
        how = "was killed" if code < 0 else f"ended without a word (code {code})"
    when = "before its first step" if step is None else f"after step {step.step:,}"
    memory = " Perhaps memory ran out." if how == "was killed" else ""
    words = f"{name} {how} {when}.{memory}"
    return replace(event, error=JobFailedError(words, _where_resuming_begins(run)))


def _where_resuming_begins(run: RunDir) -> str:
    try:
        latest = (run.checkpoints / "latest").read_text(encoding="utf-8").strip()
    except OSError:
        return "Resume starts it again; it had saved nothing yet."
    return f"Resume goes on from step {int(latest.rpartition('-')[2]):,}."
