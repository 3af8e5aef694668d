"""Jobs and searches on worker threads of napari's; the only module that knows of threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from napari.qt.threading import FunctionWorker, create_worker
from qtpy.QtCore import QObject, QTimer, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QApplication

from flexpose.errors import FlexPoseError
from flexpose.events import JobEvent
from flexpose.frames import FrameSource
from flexpose.jobs import CancelToken
from flexpose.suggestion import Suggestion, suggest_frames
from napari_flexpose.runners import JobRequest

_FIRST_THE_WINDOW = 300
"""Milliseconds in which the window shows what a click changed, before the job takes its share.

While the system links torch, painting anew waits for it: a pane that opened then took 0.4 s.
"""


class ThreadRunner:
    """One worker at a time. Events arrive on the GUI thread, the job's terminal event last."""

    def __init__(self) -> None:
        self._worker: _JobWorker | None = None
        self._relay: _Relay | None = None

    def submit(self, request: JobRequest, on_event: Callable[[JobEvent], None]) -> None:
        relay = self._relay = _Relay()
        relay.happened.connect(on_event)
        worker = create_worker(_Job(request, relay), _start_thread=False, _worker_class=_JobWorker)
        assert isinstance(worker, _JobWorker)
        worker.request = request
        worker.finished.connect(self._ended)
        self._worker = worker
        QTimer.singleShot(_FIRST_THE_WINDOW, worker.start)

    def close(self, seconds: float = 5.0) -> None:
        """Leave what runs and wait for its end, at most so long; events still arrive meanwhile."""
        if self._worker is not None:
            self._worker.quit()
        wait_until(lambda: self._worker is None, seconds)

    def _ended(self) -> None:
        self._worker = None


class _JobWorker(FunctionWorker[None]):  # type: ignore[misc]
    """Lets the job end in its own way: napari quits its workers when a window closes.

    A worker on the job's generator would be left in the middle of a step then, without a last
    checkpoint and without a terminal event.
    """

    request: JobRequest

    def quit(self) -> None:
        """Leave the job: cancel it, unless it goes on without us."""
        self.request.leave()


class _Relay(QObject):
    """Carries events from the worker's thread to the one that made this object."""

    happened = Signal(object)


@dataclass(frozen=True)
class _Job:
    """What the worker does; napari shows its words when it asks whether to close."""

    request: JobRequest
    relay: _Relay

    def __call__(self) -> None:
        for event in self.request.events():
            self.relay.happened.emit(event)

    def __str__(self) -> str:
        return f"FlexPose's job {self.request.command}"


class Search(QObject):
    """Suggests frames on a worker thread; its signals arrive on the GUI thread."""

    progressed = Signal(int, int)
    found = Signal(object)
    """The suggestions, in a list."""
    failed = Signal(str)
    ended = Signal()
    """After finding, failing or being cancelled."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._cancel: CancelToken | None = None
        self._worker: FunctionWorker[object] | None = None

    @property
    def running(self) -> bool:
        """Whether a search goes on."""
        return self._cancel is not None

    def start(self, source: FrameSource, labelled: Collection[str], count: int) -> None:
        """Look for ``count`` frames that differ from the labelled ones and from each other."""
        if self.running:
            return
        token = self._cancel = CancelToken()

        def search() -> list[Suggestion] | FlexPoseError:
            try:
                return suggest_frames(
                    source, labelled, count, cancel=token, on_progress=self.progressed.emit
                )
            except FlexPoseError as error:
                return error

        worker = create_worker(search, _start_thread=False)
        assert isinstance(worker, FunctionWorker)
        worker.returned.connect(self._returned)
        worker.finished.connect(self._ended)
        self._worker = worker
        worker.start()

    def cancel(self) -> None:
        """End the search; nothing is found then."""
        if self._cancel is not None:
            self._cancel.cancel()

    def close(self) -> None:
        """Cancel, and wait a moment for the end."""
        self.cancel()
        wait_until(lambda: self._worker is None, 2.0)

    def _returned(self, result: list[Suggestion] | FlexPoseError) -> None:
        cancelled = self._cancel is None or self._cancel.cancelled
        self._cancel = None
        if isinstance(result, FlexPoseError):
            self.failed.emit(str(result))
        elif not cancelled:
            self.found.emit(result)
        self.ended.emit()

    def _ended(self) -> None:
        self._worker = None


def wait_until(done: Callable[[], bool], seconds: float) -> bool:
    """Keep the window alive until ``done()``, at most so long; whether it was done."""
    deadline = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline:
        QApplication.processEvents()
        time.sleep(0.01)
    return done()
