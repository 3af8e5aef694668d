"""Pictures of poses: learning to paint them from the project's frames, and painting. Without Qt.

Both jobs, ``train-translator`` and ``translate``, are the command line's, in processes of their
own. What they make is synthetic, and its COCO file says so of each picture and pose.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from flexpose.configs.base import load_config
from flexpose.configs.translator import PICTURES_FILE, TranslateConfig, TranslatorConfig
from flexpose.errors import FlexPoseError
from flexpose.events import JobEvent, JobFinished, PreviewReady
from flexpose.frames import open_frames
from flexpose.geometry import canvas_to_unit
from flexpose.io.base import read_poses
from flexpose.mapping import map_poses
from flexpose.poseset import PoseSet
from flexpose.rendering.raster import skeleton_images
from flexpose.rendering.style import DrawingStyle
from napari_flexpose.detection import PREDICTIONS
from napari_flexpose.process_runner import finished_runs
from napari_flexpose.studio import Studio, spare_threads
from napari_flexpose.words import about, counted

LEARN, PAINT = "train-translator", "translate"
FEWEST = 4
"""Complete frames without which nothing can be learned."""
STEPS = 3000
"""Of learning: docs/pose-images.md shows what comes of them."""
MEASURED_PACE = 0.36
"""Seconds a step of it on one processor core (docs/pose-images.md)."""
PICTURES_EVERY = 100
"""Steps between two looks at how far it is: about half a minute on a small computer."""
SHOWN = 6
"""Pairs of pose and picture that are painted to be looked at."""
_TILE = 128  # pixels of a side of what is shown


class PosePictures:
    """What the open project can paint.

    Attributes
    ----------
    painter : run of the newest learning that finished; a failed one replaces nothing
    preview : the latest sheet of a learning, uint8 (1, H, W, 3), or None
    pairs : skeleton images beside their pictures, uint8 (n, h, 2 h, 3), of the painter; or None
    outcome : what the export that finished last has written, for people
    """

    changed = Signal()

    def __init__(self, studio: Studio) -> None:
        self._studio, self._session, self._desk = studio, studio.session, studio.desk
        self.painter: Path | None = None
        self.preview: NDArray[np.uint8] | None = None
        self.pairs: NDArray[np.uint8] | None = None
        self.outcome = ""
        self._folder: Path | None = None
        self._desk.happened.connect(self._on_event)
        self._session.project_changed.connect(self._on_project)
        self._on_project()

    # ------------------------------------------------------------ may it begin?

    def readiness(self) -> str:
        """Why nothing can be learned yet, in one sentence; empty when it can."""
        if self._studio.model is None:
            return "Adapt a prior first: pictures are painted of the poses of your model."
        return self._studio.readiness(FEWEST)

    @property
    def working(self) -> str:
        """Which of the two jobs runs; empty when none does."""
        request = self._desk.request
        if request is None or self._desk.state == "idle" or request.command not in (LEARN, PAINT):
            return ""
        return request.command

    @property
    def teachers(self) -> str:
        """What it would learn from and how long that takes, for people."""
        words = f"Learns from {counted(self._studio.num_shots, 'complete frame')}"
        if self._predictions is None:
            words += ". It learns more from a detector's suggestions on the others: see Detect."
        else:
            words += " and from what the detector suggests on the others."
        return f"{words} Takes {about(MEASURED_PACE * STEPS)} on one processor core."

    @property
    def _predictions(self) -> Path | None:
        """The newest poses of a detector of this project."""
        return max(self._studio.runs.glob(PREDICTIONS), default=None)

    # ------------------------------------------------------------ jobs

    def learn(self, crop: str = "motion", device: str = "auto") -> None:
        """Learn to paint the people of the frames, then paint some to be looked at.

        Parameters
        ----------
        crop : where the person is, of `FramesConfig`

        Raises
        ------
        FlexPoseError : too few labels, no adapted model, or another job runs.
        """
        problem = self.readiness() or self._desk.busy
        if problem:
            raise FlexPoseError(problem)
        self._session.save()
        given = {
            **spare_threads(),
            "frames": {"path": self._session.opened_project().images, "crop": crop},
            "source": str(self._studio.model),
            "labels": self._studio.written(self._labels()),
            "steps": STEPS,
            "preview_every": PICTURES_EVERY,
            "device": device,
        }
        self.preview = None
        config = load_config(TranslatorConfig, overrides=given)
        self._desk.start(LEARN, config, self._studio.runs)

    def _labels(self) -> PoseSet:
        """Labels, and on frames without one what a detector has found."""
        shots = self._studio.shots()
        if self._predictions is None:
            return shots
        found = map_poses(read_poses(self._predictions), shots.skeleton, allow_missing=True)
        labelled = {*(shots.image_ids or ())}
        others = np.array([name not in labelled for name in found.image_ids or ()], bool)
        return PoseSet.concat([shots, found[others]])

    def export(
        self, out: Path, count: int, device: str = "auto", *, overwrite: bool = False
    ) -> None:
        """Paint pictures of new poses into a folder, with the COCO file of their keypoints.

        Raises
        ------
        FlexPoseError : nothing was learned yet, there is no adapted model, or another job runs.
        """
        if self.painter is None or self._studio.model is None:
            raise FlexPoseError("Nothing can be painted yet.", "Adapt, then learn to paint.")
        given = {
            **spare_threads(),
            "model": self.painter,
            "source": str(self._studio.model),
            "out": out,
            "overwrite": overwrite,
            "n": count,
            "device": device,
            "seed": sum(1 for _ in self._studio.runs.glob(f"{PAINT}-*")),  # others each time
        }
        self.outcome = ""
        config = load_config(TranslateConfig, overrides=given)
        self._desk.start(PAINT, config, self._studio.runs)

    def show_some(self, device: str = "auto") -> None:
        """Paint some others to be looked at.

        Raises
        ------
        FlexPoseError : nothing was learned yet, or another job runs.
        """
        shown = self._shown or Path()
        self.export(shown, SHOWN, device, overwrite=True)

    @property
    def _shown(self) -> Path | None:
        """The folder of the pictures that are looked at."""
        return None if self.painter is None else self.painter / "shown"

    # ------------------------------------------------------------ what happens

    def _on_event(self, event: JobEvent) -> None:
        request = self._desk.request
        if request is None or request.command not in (LEARN, PAINT):
            return
        if isinstance(event, PreviewReady) and request.command == LEARN:
            self.preview = event.images
        elif isinstance(event, JobFinished) and request.command == LEARN:
            self.painter, device = request.run.path, request.config.device
            self._desk.then(lambda: self._show_first(device))
        elif isinstance(event, JobFinished) and event.result == self._shown:
            self.pairs = pairs_of(event.result)
        elif isinstance(event, JobFinished):
            self.outcome = f"Pictures and poses written to {event.result}, marked as synthetic."
        else:
            return
        self.changed.emit()

    def _show_first(self, device: str) -> None:
        try:
            self.show_some(device)
        except FlexPoseError as error:  # a full disk, say; it has learned all the same
            self._session.failed.emit(str(error))

    def _on_project(self) -> None:
        project = self._session.project
        folder = None if project is None else project.folder
        if folder == self._folder:  # only another skeleton or work list
            return
        self._folder, self.outcome = folder, ""
        self.painter = self.preview = self.pairs = None
        if folder is not None:
            self.painter = next(iter(finished_runs(self._studio.runs, LEARN)), None)
        if self._shown is not None and self._shown.is_dir():
            with contextlib.suppress(FlexPoseError):  # damaged: others can be painted
                self.pairs = pairs_of(self._shown)
        self.changed.emit()


def pairs_of(folder: Path) -> NDArray[np.uint8]:
    """The first painted pictures of a folder, each right of its skeleton image, (n, h, 2 h, 3).

    Raises
    ------
    FlexPoseError : they cannot be read.
    """
    poses, frames = read_poses(folder / PICTURES_FILE), open_frames(folder / PICTURES_FILE)
    poses = poses[:SHOWN]
    unit = canvas_to_unit(poses.keypoints, int(poses.image_size[0, 0]))
    drawn = skeleton_images(unit, poses.skeleton, DrawingStyle.for_size(_TILE, channels=1))
    painted = [_enlarged(frames.read(row)) for row in range(len(poses))]
    return np.concatenate([drawn.repeat(3, axis=3), np.stack(painted)], axis=2)


def _enlarged(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(image, (_TILE, _TILE), interpolation=cv2.INTER_CUBIC), np.uint8)
