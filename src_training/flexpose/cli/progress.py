"""How the terminal shows a job: a bar, lines of JSON, or nothing but warnings."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from flexpose.events import (
    CheckpointSaved,
    JobEvent,
    JobStarted,
    MetricsReady,
    PhaseChanged,
    StepCompleted,
    WarningRaised,
    event_to_json,
)

ProgressKind = Literal["bar", "jsonl", "none"]


def progress_view(
    kind: ProgressKind, run_dir: Path
) -> AbstractContextManager[Callable[[JobEvent], None]]:
    """Context that gives the function to show events with.

    The bar and warnings go to stderr; ``jsonl`` prints the events to stdout.
    """
    if kind == "bar":
        return _Bar()
    if kind == "jsonl":
        return nullcontext(lambda event: _print_json(event, run_dir))
    return nullcontext(_print_warning)


def _print_json(event: JobEvent, run_dir: Path) -> None:
    # the arrays are written already: events come out of `recorded`
    sys.stdout.write(event_to_json(event, run_dir, write_arrays=False) + "\n")
    sys.stdout.flush()


def _print_warning(event: JobEvent) -> None:
    if isinstance(event, WarningRaised):
        sys.stderr.write(f"Warning: {event.message} {event.suggestion}".rstrip() + "\n")


class _Bar:
    """One line: name, bar, step, time left, losses; warnings and metrics scroll by above it."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, markup=False, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
            TextColumn("{task.fields[losses]}"),
            console=self._console,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Callable[[JobEvent], None]:
        self._progress.start()
        return self._show

    def __exit__(self, *exception: Any) -> None:
        self._progress.stop()

    def _show(self, event: JobEvent) -> None:
        if isinstance(event, (JobStarted, PhaseChanged)):
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._task = self._progress.add_task(
                event.name, total=event.total_steps, left="", losses=""
            )
        elif isinstance(event, StepCompleted) and self._task is not None:
            losses = "  ".join(f"{name} {value:.4g}" for name, value in event.losses.items())
            self._progress.update(
                self._task,
                completed=event.step,
                left=duration(event.seconds_left),
                losses=losses,
            )
        elif isinstance(event, MetricsReady):
            values = "  ".join(f"{name} {value:.4g}" for name, value in event.metrics.items())
            self._console.print(f"step {event.step} ({event.split}): {values}")
        elif isinstance(event, CheckpointSaved):
            self._console.print(f"step {event.step}: saved {event.path.name}")
        elif isinstance(event, WarningRaised):
            self._console.print(f"Warning: {event.message} {event.suggestion}".rstrip())


def duration(seconds: float | None) -> str:
    """Time left for people, such as ``2 h 05 min``; empty when not known."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min left"
    return f"{minutes} min {rest:02d} s left" if minutes else f"{rest} s left"
