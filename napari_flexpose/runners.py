"""Where a job runs. This one is synchronous, for tests and scripts; the window has another."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from flexpose.commands import find_command, resolve
from flexpose.configs.base import JobConfig
from flexpose.errors import FlexPoseError
from flexpose.events import (
    JobCancelled,
    JobEvent,
    JobFinished,
    JobStarted,
    MetricsReady,
    PhaseChanged,
    WarningRaised,
)
from flexpose.jobs import CancelToken, guarded, recorded
from flexpose.runs import RunDir
from napari_flexpose.gentle import gentle


@dataclass(frozen=True)
class JobRequest:
    """A job that is to run here: everything is plain data but the token.

    Attributes
    ----------
    command : a row of `flexpose.commands`
    config, run : its settings, and its folder, in which the settings are the first thing written
    cancel : how to end it
    """

    command: str
    config: JobConfig
    run: RunDir
    cancel: CancelToken

    def events(self) -> Iterator[JobEvent]:
        """Drive the job; nothing heavy is imported before the first event is asked for."""
        yield from recorded(guarded(checked(self._job(), self.run)), self.run)

    def end(self, *, keep: bool = False) -> None:
        """Ask the job to end: cancel, or with ``keep`` stop early and finish."""
        self.cancel.cancel(keep)

    def leave(self) -> None:
        """The window closes: a job that runs in it has to end."""
        self.end()

    @property
    def outlives(self) -> bool:
        """Whether the job goes on when the window is closed."""
        return False

    def _job(self) -> Iterator[JobEvent]:
        self._begin()
        yield PhaseChanged("loading the libraries")  # seconds, so the window should say something
        with gentle():
            target = resolve(find_command(self.command).target)
            started = False
            for event in target(self.config, self.run, self.cancel):
                # from its start on the job looks at the token itself, and can save what it has
                started = started or isinstance(event, JobStarted)
                if not started and self.cancel.cancelled:
                    yield JobCancelled(0)
                    return
                yield event

    def _begin(self) -> None:
        """Write what describes the run; on the job's thread, for it looks at many files."""
        try:
            self.run.begin(self.config)
        except OSError as error:
            raise FlexPoseError(
                f"The folder {self.run.path} cannot be written ({error.strerror})."
            ) from error


def checked(events: Iterator[JobEvent], run: RunDir) -> Iterator[JobEvent]:
    """The events; a COCO file that the job made is checked before its end is told."""
    for event in events:
        if isinstance(event, JobFinished) and str(event.result).endswith(".json"):
            yield from _findings(Path(event.result), run.path / "check.json")
        yield event


def _findings(path: Path, report: Path) -> Iterator[JobEvent]:
    """What ``validate`` finds in a file; in a process of its own, for parsing blocks others."""
    yield PhaseChanged("checking the file")
    words = [sys.executable, "-m", "flexpose.cli", "validate", str(path), "--no-clients"]
    done = subprocess.run(
        [*words, "--out", str(report), "--overwrite"], capture_output=True, check=False
    )
    if done.returncode not in (0, 1) or not report.is_file():
        yield WarningRaised("check", f"{path.name} could not be checked.")
        return
    findings = json.loads(report.read_text(encoding="utf-8"))["findings"]
    errors = sum(finding["severity"] == "error" for finding in findings)
    for finding in findings[:1]:
        yield WarningRaised("check", f"{path.name}: {finding['message']}", finding["remedy"])
    counts = {"errors": errors, "warnings": len(findings) - errors}
    yield MetricsReady(0, counts, "check")


class JobRunner(Protocol):
    """Runs jobs, and hands their events over on the thread of whoever submitted."""

    def submit(self, request: JobRequest, on_event: Callable[[JobEvent], None]) -> None:
        """Start a job and return; ``on_event`` gets each event, a terminal one last."""

    def close(self, seconds: float = 5.0) -> None:
        """Leave what runs and wait until nothing of it is left here, at most so long."""


class InlineRunner:
    """Runs a job before ``submit`` returns."""

    def submit(self, request: JobRequest, on_event: Callable[[JobEvent], None]) -> None:
        for event in request.events():
            on_event(event)

    def close(self, seconds: float = 5.0) -> None:
        """Nothing runs after ``submit``."""
