"""Whether the window stays responsive while it adapts: stalls of its event loop.

    xvfb-run -a python benchmarks/latency.py

Needs no data: labels are those of the embedded mannequin. A timer that should fire every 5 ms notes
when it fires; a stall is the time by which it is late, in milliseconds. The phases are told apart,
since loading torch has other reasons to stall than a step has.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import napari
import numpy as np
from qtpy.QtCore import QEventLoop, Qt, QTimer

from flexpose.annotation.label import FrameLabel
from flexpose.events import JobStarted, PhaseChanged
from flexpose.mannequin import mannequin_frames
from napari_flexpose.thread_runner import wait_until
from napari_flexpose.widgets.adapt_panel import AdaptPanel
from napari_flexpose.widgets.main import FlexPoseDock

TICK_MS = 5
PROMISED_MS = 100


class Pulse:
    """Milliseconds by which a timer was late, by phase of the job.

    Beside each the milliseconds that the process itself computed meanwhile: on a machine that does
    other things too, the rest is theirs.
    """

    def __init__(self) -> None:
        self.phase = "before"
        self.late: dict[str, list[tuple[float, float]]] = {}
        self._last, self._used = time.perf_counter(), time.process_time()
        self.timer = QTimer()
        self.timer.setTimerType(Qt.TimerType.PreciseTimer)
        self.timer.setInterval(TICK_MS)
        self.timer.timeout.connect(self._beat)
        self.timer.start()

    def _beat(self) -> None:
        now, used = time.perf_counter(), time.process_time()
        late = max((now - self._last) * 1000 - TICK_MS, 0.0)
        own = min((used - self._used) * 1000, late)
        self.late.setdefault(self.phase, []).append((late, own))
        self._last, self._used = now, used

    def worst(self) -> float:
        """The longest stall that was our own."""
        return max(own for beats in self.late.values() for _, own in beats)

    def table(self) -> str:
        """A line a phase."""
        lines = [
            f"{'phase':24}{'beats':>8}{'99 %':>8}{'worst':>8}{'own 99 %':>10}{'own worst':>11}"
        ]
        for phase, beats in self.late.items():
            late, own = np.array(beats).T
            usual, own_usual = np.percentile(late, 99), np.percentile(own, 99)
            lines.append(
                f"{phase:24}{len(beats):8}{usual:8.0f}{late.max():8.0f}"
                f"{own_usual:10.0f}{own.max():11.0f}"
            )
        return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prior", default="body15")
    parser.add_argument("--steps", type=int, default=160)
    args = parser.parse_args()
    viewer = napari.Viewer()
    with tempfile.TemporaryDirectory() as folder, dock_with_labels(viewer, Path(folder)) as dock:
        panel = dock.findChildren(AdaptPanel)[0]
        dock.adapt_step.set_open(True)
        panel.prior.setCurrentText(args.prior)
        panel.form.set_values({"steps": args.steps})
        wait_until(lambda: False, 2.0)
        pulse = Pulse()

        def on_event(event: object) -> None:
            if isinstance(event, PhaseChanged):
                pulse.phase = event.name
            elif isinstance(event, JobStarted):
                pulse.phase = "adapting"

        dock.desk.happened.connect(on_event)
        run_loop(1000)
        pulse.phase = "starting"
        panel.start.click()
        while dock.desk.state != "idle":
            run_loop(50)
        pulse.phase = "after"
        run_loop(3000)
        sys.stdout.write(f"{type(dock.desk.ended).__name__}\n")
        sys.stdout.write(f"{pulse.table()}\n")
    viewer.close()
    return 0 if pulse.worst() < PROMISED_MS else 1


def run_loop(milliseconds: int) -> None:
    """Let Qt's own loop run, as in a window that nobody drives."""
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


@contextmanager
def dock_with_labels(viewer: napari.Viewer, folder: Path) -> Iterator[FlexPoseDock]:
    """The dock on twelve labelled frames of the mannequin."""
    frames = mannequin_frames(0)
    images = folder / "frames"
    images.mkdir()
    labels = {}
    for row in np.linspace(0, len(frames) - 1, 12).astype(int).tolist():
        name = f"{row:04d}.png"
        cv2.imwrite(str(images / name), frames.image(row)[..., ::-1])
        state = frames.poses.visibility[row]
        labels[name] = FrameLabel(
            points=frames.poses.keypoints[row], state=state, suggested=np.zeros(len(state), bool)
        )
    dock = FlexPoseDock(viewer)
    viewer.window.add_dock_widget(dock, area="right", name="FlexPose")
    dock.session.create(images, frames.poses.skeleton)
    dock.session.apply(labels, "label")
    try:
        yield dock
    finally:
        dock.shut_down()


if __name__ == "__main__":
    sys.exit(main())
