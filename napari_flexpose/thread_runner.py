"""Jobs and searches on worker threads of napari's; the only module that knows of threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from napari.qt.threading import FunctionWorker, GeneratorWorker, create_worker
from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QApplication

from flexpose.errors import FlexPoseError
from flexpose.events import JobEvent
from flexpose.frames import FrameSource
from flexpose.jobs import CancelToken
from flexpose.suggestion import Suggestion, suggest_frames
from napari_flexpose.runners import JobRequest


class ThreadRunner:
    """One worker at a time. Events arrive on the GUI thread.

    The worker is never quit: it would leave the job hanging in the middle of a step. Whoever wants
    it to end uses the request's token, and the job's terminal event is the last thing it yields.
    """

    def __init__(self) -> None:
        self._worker: GeneratorWorker | None = None
        self._cancel: Callable[[], None] = lambda: None

    def submit(self, request: JobRequest, on_event: Callable[[JobEvent], None]) -> None:
        worker = create_worker(request.events, _start_thread=False)
        assert isinstance(worker, GeneratorWorker)
        worker.yielded.connect(on_event)
        worker.finished.connect(self._ended)
        self._worker, self._cancel = worker, request.cancel.cancel
        worker.start()

    def close(self, seconds: float = 5.0) -> None:
        """Cancel what runs and wait for its end, at most so long; events still arrive meanwhile."""
        self._cancel()
        wait_until(lambda: self._worker is None, seconds)

    def _ended(self) -> None:
        self._worker = None


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
