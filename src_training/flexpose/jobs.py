"""Jobs: iterators of events that end in exactly one terminal event.

A job is ``run(config, run: RunDir, cancel: CancelToken) -> Iterator[JobEvent]``. Whoever starts one
drives ``recorded(guarded(job), run)``; another process sees the same events with `follow_run`.
"""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from flexpose.errors import FlexPoseError, JobFailedError
from flexpose.events import (
    TERMINAL,
    CheckpointSaved,
    JobCancelled,
    JobEvent,
    JobFailed,
    JobFinished,
    ProcessDied,
    StepCompleted,
    event_from_json,
    event_to_json,
)
from flexpose.runs import RunDir

_LOG_TAIL = 2000  # characters of the log that go with a ProcessDied
_EVENTS_TAIL = 1 << 16  # bytes in which the latest step is looked for
_LAST_ONES = frozenset(cls.__name__ for cls in TERMINAL)


class CancelToken:
    """A request to end a job; safe to use from several threads.

    *Cancel* ends in `JobCancelled`; *stop early* (``keep=True``) ends in `JobFinished` with what
    there is. With a run, the files ``cancel`` and ``stop`` in its folder count as well, so another
    process can ask through `RunDir.request_cancel`.
    """

    def __init__(self, run: RunDir | None = None) -> None:
        self._run = run
        self._cancel = threading.Event()
        self._stop = threading.Event()

    def cancel(self, keep: bool = False) -> None:
        """Ask the job to end; with ``keep``, to stop early and finish."""
        (self._stop if keep else self._cancel).set()

    @property
    def cancelled(self) -> bool:
        """Whether somebody cancelled; wins over stopping early."""
        return self._cancel.is_set() or self._asked("cancel")

    @property
    def stopped(self) -> bool:
        """Whether somebody asked to stop early and keep the result."""
        return self._stop.is_set() or self._asked("stop")

    def _asked(self, name: str) -> bool:
        return self._run is not None and (self._run.path / name).exists()


@contextlib.contextmanager
def cancel_on_interrupt(cancel: CancelToken) -> Iterator[None]:
    """Within: the first Ctrl-C cancels, the second ends the process. Main thread only.

    Raises
    ------
    SystemExit : code 130, at the second Ctrl-C.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        if cancel.cancelled:
            raise SystemExit(130)
        cancel.cancel()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def guarded(job: Iterator[JobEvent]) -> Iterator[JobEvent]:
    """Events of a job, with exactly one terminal event at the end, whatever happens inside.

    Exceptions become `JobFailed`, Ctrl-C becomes `JobCancelled` with the last checkpoint saved.
    The job is always closed, and what its frames held (tensors on a device) is let go.
    """
    step, checkpoint = 0, None
    terminal: JobEvent | None = None
    try:
        for event in job:
            if isinstance(event, TERMINAL):
                terminal = event
                break
            step = getattr(event, "step", step)
            if isinstance(event, CheckpointSaved):
                checkpoint = event.path
            yield event
        else:
            terminal = JobFailed(JobFailedError("The job ended without saying how it went."))
        _close(job)  # here too, so that what its clean-up raises is reported
    except KeyboardInterrupt:
        terminal = JobCancelled(step, checkpoint)
    except FlexPoseError as error:
        terminal = _failure(error, error)
    except Exception as error:  # noqa: BLE001 -- a watcher must hear of every end
        what = f"{type(error).__name__}: {error}".removesuffix(": ")
        unforeseen = JobFailedError(f"Something unforeseen ended the job ({what}).")
        unforeseen.__cause__ = error
        terminal = _failure(unforeseen, error)
    finally:
        _close(job)
    yield terminal


def _failure(shown: FlexPoseError, raised: BaseException) -> JobFailed:
    details = "".join(traceback.format_exception(raised))
    link: BaseException | None = raised
    while link is not None:
        # frames kept alive by a traceback would hold the job's tensors
        traceback.clear_frames(link.__traceback__)
        link = link.__cause__ or link.__context__
    return JobFailed(shown, details)


def _close(job: Iterator[JobEvent]) -> None:
    close = getattr(job, "close", None)  # iterators that are no generators have nothing to close
    if close is not None:
        close()


def recorded(job: Iterator[JobEvent], run: RunDir) -> Iterator[JobEvent]:
    """Append each event to ``<run>/events.jsonl`` before passing it on.

    When the file cannot be written (a full disk), the job is closed and ends in `JobFailed`.
    """
    try:
        for event in job:
            try:
                line = event_to_json(event, run.path)
                with run.events_file.open("a", encoding="utf-8") as file:
                    file.write(line + "\n")
            except OSError as error:
                yield JobFailed(
                    JobFailedError(
                        f"{run.events_file} cannot be written ({error.strerror}).",
                        "Make room on the disk and resume the run.",
                    )
                )
                return
            yield event
    finally:
        _close(job)


def follow_run(
    run: RunDir, *, alive: Callable[[], bool] | None = None, poll_seconds: float = 0.2
) -> Iterator[JobEvent]:
    """Events that another process records, from the first on, until its terminal event.

    Parameters
    ----------
    alive : says whether that process lives; by default from ``process.json``. Whoever started the
        process should give this (``lambda: child.poll() is None``): an ended child counts as alive
        until its parent has asked for it.
    poll_seconds : pause between two looks at the file

    Yields
    ------
    The events; `ProcessDied` when the process ended without a terminal event.
    """
    position, last = 0, False
    while True:
        lines, position = _complete_lines(run.events_file, position)
        for end, line in lines:
            event = event_from_json(line, run.path)
            if not isinstance(event, TERMINAL):
                yield event
            elif end > run.process().get("events_from", 0):  # else ended before it was resumed
                yield event
                return
        if last:
            yield died(run)
            return
        # one more look after the end, for what was written in between
        last = not (alive() if alive else not run.process() or run.process_alive())
        if not last:
            time.sleep(poll_seconds)


def _complete_lines(path: Path, position: int) -> tuple[list[tuple[int, str]], int]:
    """Lines written since ``position`` (bytes), each with the position after it."""
    if not path.exists():
        return [], position
    with path.open("rb") as file:
        file.seek(position)
        data = file.read()
    lines = []
    for raw in data.split(b"\n")[:-1]:  # what follows the last newline is still being written
        position += len(raw) + 1
        lines.append((position, raw.decode("utf-8", errors="replace")))
    return lines, position


def has_ended(run: RunDir) -> bool:
    """Whether the run's last process told how it ended; a run without events has not."""
    lines, _ = _complete_lines(run.events_file, _tail_start(run))
    if not lines or lines[-1][0] <= run.process().get("events_from", 0):
        return False
    return _name(lines[-1][1]) in _LAST_ONES


def has_finished(run: RunDir) -> bool:
    """Whether the run's last process ended well, with a result."""
    lines, _ = _complete_lines(run.events_file, _tail_start(run))
    return has_ended(run) and _name(lines[-1][1]) == JobFinished.__name__


def last_step(run: RunDir) -> StepCompleted | None:
    """The latest step that the run told of lately."""
    lines, _ = _complete_lines(run.events_file, _tail_start(run))
    for _, line in reversed(lines):
        if _name(line) == StepCompleted.__name__:
            event = event_from_json(line, run.path)
            return event if isinstance(event, StepCompleted) else None
    return None


def _tail_start(run: RunDir) -> int:
    """Where the latest lines of the event file begin, in bytes; the first may be cut."""
    if not run.events_file.exists():
        return 0
    return max(run.events_file.stat().st_size - _EVENTS_TAIL, 0)


def _name(line: str) -> str:
    """Which event a line holds; empty when it is cut or damaged."""
    try:
        return str(json.loads(line)["event"])
    except (ValueError, KeyError, TypeError):
        return ""


def died(run: RunDir) -> ProcessDied:
    """What is to be said of a run whose process ended without a word: the end of its log."""
    log = ""
    if run.log_file.exists():
        log = run.log_file.read_text(encoding="utf-8", errors="replace")[-_LOG_TAIL:]
    error = JobFailedError(
        f"The process of {run.path} ended without a word.",
        "It may have been killed for lack of memory; resume it from its last checkpoint.",
    )
    return ProcessDied(error, log)


def run_to_completion(
    job: Iterator[JobEvent], on_event: Callable[[JobEvent], None] | None = None
) -> Any:
    """Drive a job to its end and return the result of its `JobFinished`; for scripts and tests.

    Raises
    ------
    FlexPoseError : the error of a `JobFailed`, or a `JobFailedError` when the job was cancelled.
    """
    for event in guarded(job):
        if on_event is not None:
            on_event(event)
        if isinstance(event, JobFinished):
            return event.result
        if isinstance(event, JobFailed):
            raise event.error
        if isinstance(event, JobCancelled):
            raise JobFailedError(f"The job was cancelled after step {event.step}.")
    raise AssertionError("guarded always ends in a terminal event")
