"""Whether the window stays responsive while it adapts: stalls of its event loop.

    xvfb-run -a python benchmarks/latency.py
    xvfb-run -a python benchmarks/latency.py --runs 3 --out docs/results/latency.md

Needs no data: labels are those of the embedded mannequin. A timer that should fire every 5 ms notes
when it fires; a stall is the time by which it is late, in milliseconds. The phases are told apart,
since loading torch has other reasons to stall than a step has. Each run is a process of its own,
for only the first adaptation of a process loads torch.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
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
from flexpose.events import JobFinished, JobStarted, PhaseChanged
from flexpose.mannequin import mannequin_frames
from napari_flexpose.thread_runner import wait_until
from napari_flexpose.widgets.adapt_panel import AdaptPanel
from napari_flexpose.widgets.main import FlexPoseDock

TICK_MS = 5
PROMISED_MS = 100
Beats = dict[str, list[tuple[float, float]]]
"""By phase: milliseconds by which each beat was late, and how many of them were our own."""


class Pulse:
    """Milliseconds by which a timer was late, by phase of the job.

    Beside each the milliseconds that the process itself computed meanwhile: on a machine that does
    other things too, the rest is theirs.
    """

    def __init__(self) -> None:
        self.phase = "before"
        self.late: Beats = {}
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


def table(runs: list[Beats]) -> list[str]:
    """A row a phase, in Markdown; the numbers are milliseconds."""
    lines = [
        "| phase | beats | median | 99 % | worst | worst of each run | worst, our own |",
        "| :--- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for phase in runs[0]:
        late, own = np.concatenate([run[phase] for run in runs if phase in run]).T
        each = ", ".join(f"{np.array(run[phase])[:, 0].max():.0f}" for run in runs if phase in run)
        median, usual = np.percentile(late, [50, 99])
        lines.append(
            f"| {phase} | {len(late)} | {median:.1f} | {usual:.0f} | {late.max():.0f} | {each} "
            f"| {own.max():.0f} |"
        )
    return lines


def worst(runs: list[Beats]) -> tuple[float, float]:
    """The longest stall, and the longest that was our own."""
    late, own = np.concatenate([beats for run in runs for beats in run.values()]).T
    return float(late.max()), float(own.max())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prior", default="body15")
    parser.add_argument("--steps", type=int, default=160)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--out", type=Path, help="Markdown file for the table")
    parser.add_argument("--beats", type=Path, help="JSON file for the beats of one run")
    args = parser.parse_args()
    if args.beats is not None:
        args.beats.write_text(json.dumps(one_run(args.prior, args.steps)), encoding="utf-8")
        return 0
    load = os.getloadavg()[0]
    runs = [in_a_process(args.prior, args.steps) for _ in range(args.runs)]
    latest, own = worst(runs)
    words = (
        f"Written by `benchmarks/latency.py`: {args.prior}, {args.steps} steps, "
        f"{args.runs} runs, each in a new process. {hardware()}, load {load:.1f} before the first "
        "run.\n\n"
        "Milliseconds by which a timer of the window that fires every 5 ms was late. *Our own* is "
        "at most the processor time that the process took in between; on a machine that does other "
        "things too, the rest is theirs.\n\n"
    )
    text = words + "\n".join(table(runs)) + f"\n\nWorst: {latest:.0f} ms, own {own:.0f} ms.\n"
    sys.stdout.write(text)
    if args.out is not None:
        args.out.write_text(text, encoding="utf-8")
    return 0 if own < PROMISED_MS else 1


def in_a_process(prior: str, steps: int) -> Beats:
    """The beats of a run in a new process."""
    with tempfile.TemporaryDirectory() as folder:
        beats = Path(folder) / "beats.json"
        words = ["--prior", prior, "--steps", str(steps), "--beats", str(beats)]
        subprocess.run([sys.executable, __file__, *words], check=True)
        return json.loads(beats.read_text(encoding="utf-8"))


def hardware() -> str:
    """Processor, Python's platform and the commit."""
    import torch  # late: the beats are those of a window that has not loaded it

    from flexpose.compute import hardware as name_of

    model = name_of(torch.device("cpu"))
    words = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    commit = subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    return f"{model}, {os.cpu_count()} cores, {versions}, commit {commit or 'unknown'}"


def one_run(prior: str, steps: int) -> Beats:
    """Adapt once in a window."""
    viewer = napari.Viewer()
    with tempfile.TemporaryDirectory() as folder, dock_with_labels(viewer, Path(folder)) as dock:
        panel = dock.findChildren(AdaptPanel)[0]
        dock.adapt_step.set_open(True)
        panel.prior.setCurrentText(prior)
        panel.form.set_values({"steps": steps})
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
        QTimer.singleShot(0, panel.start.click)
        run_loop(50)
        while dock.desk.state != "idle":
            run_loop(50)
        if not isinstance(dock.desk.ended, JobFinished):
            raise SystemExit(f"The job ended with {dock.desk.ended}.")
        pulse.phase = "after"
        run_loop(3000)
    viewer.close()
    return pulse.late


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
