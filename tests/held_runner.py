"""A runner for tests of what watches jobs."""

from __future__ import annotations

from collections.abc import Callable

from flexpose.events import JobEvent
from napari_flexpose.runners import JobRequest


class HeldRunner:
    """Runs nothing: the test says what happens, through ``tell``."""

    def submit(self, request: JobRequest, on_event: Callable[[JobEvent], None]) -> None:
        self.request, self.tell = request, on_event

    def close(self, seconds: float = 5.0) -> None:
        pass
