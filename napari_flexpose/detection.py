"""Detection: from labelled frames to suggestions on all others. Without Qt and napari.

Both jobs, training and prediction, are the command line's, in processes of their own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from psygnal import Signal

from flexpose.configs.base import load_config
from flexpose.configs.detector import DetectorConfig, PredictConfig
from flexpose.errors import FlexPoseError
from flexpose.events import JobEvent, JobFinished, MetricsReady, PreviewReady
from flexpose.io.coco import write_coco
from flexpose.mapping import find_mapping
from flexpose.poseset import PoseSet
from flexpose.runs import numbered
from napari_flexpose.desk import JobDesk
from napari_flexpose.process_runner import finished_runs
from napari_flexpose.session import FlexPoseSession
from napari_flexpose.studio import Studio, spare_threads
from napari_flexpose.words import about

TRAIN, PREDICT = "train-detector", "predict"
PREDICTIONS = "predictions-*.coco.json"
"""Files that predictions go to, in the project's runs."""
LEAST_SHOTS = 4
PICTURES_EVERY = 100
"""Steps between two looks at how far it is: about half a minute on a small computer."""
HELD_FROM, HELD_EVERY = 20, 5
"""From so many shots on every fifth is kept from training, to measure and to calibrate."""
MEASURED_PACE = 0.29
"""Seconds a step of 16 crops of 64 px at width 16 on one processor core (docs/detector.md)."""


class Detection:
    """The detector of the open project.

    Attributes
    ----------
    detector : run of the newest training that finished; a failed one replaces nothing
    preview : the latest pictures of a job, uint8 (n, H, W, 3), or None
    figures : latest held-out figures of the training, by name
    """

    changed = Signal()
    predicted = Signal(object)
    """The file of a prediction that has just finished."""

    def __init__(self, session: FlexPoseSession, studio: Studio, desk: JobDesk) -> None:
        self.session, self.studio, self._desk = session, studio, desk
        self.detector: Path | None = None
        self.preview: Any = None
        self.figures: Mapping[str, float] = {}
        desk.happened.connect(self._on_event)
        session.project_changed.connect(self._on_project)
        self._on_project()

    # ------------------------------------------------------------ may it begin?

    def readiness(self) -> str:
        """Why training is not possible yet, in one sentence; empty when it is."""
        return self.studio.readiness(LEAST_SHOTS)

    @property
    def working(self) -> bool:
        """Whether one of the two jobs runs."""
        request = self._desk.request
        ours = request is not None and request.command in (TRAIN, PREDICT)
        return ours and self._desk.state != "idle"

    def estimate(self, settings: Mapping[str, Any]) -> str:
        """How long training takes, in one sentence; empty where it was not measured."""
        try:
            frames = {**settings.get("frames", {}), "path": Path("-")}
            config = load_config(DetectorConfig, overrides={**settings, "frames": frames})
        except FlexPoseError:
            return ""
        plain = config.method == "heatmaps" and config.heatmaps.backbone == "none"
        if not plain or config.device not in ("auto", "cpu"):
            return ""
        work = (config.size / 64) ** 2 * (config.width / 16) ** 2 * config.batch_size / 16
        return f"Takes {about(MEASURED_PACE * work * config.steps)} on one processor core."

    # ------------------------------------------------------------ jobs

    def train(self, settings: Mapping[str, Any], unseen: Collection[str] = ()) -> None:
        """Train on the labelled frames, then predict on all of them.

        Parameters
        ----------
        settings : of `DetectorConfig`; ``frames`` may say how to crop, the path is the project's
        unseen : frames that were accepted without a look; they teach nothing

        Raises
        ------
        FlexPoseError : too few shots, a wrong setting, or another job runs.
        """
        problem = self.readiness() or self._desk.busy
        if problem:
            raise FlexPoseError(problem)
        self.session.save()
        shots = self.studio.shots()
        shots = shots[np.array([name not in unseen for name in shots.image_ids or ()], bool)]
        if len(shots) < LEAST_SHOTS:
            raise FlexPoseError(
                f"Complete frames that somebody has looked at: {len(shots)}; at least "
                f"{LEAST_SHOTS} are needed.",
                "Label some, or accept some one by one in Review.",
            )
        given = {"preview_every": PICTURES_EVERY, **spare_threads(), **settings}
        given |= self._poses(shots)
        given["frames"] = {
            **settings.get("frames", {}),
            "path": self.session.opened_project().images,
        }
        load_config(DetectorConfig, overrides={**given, "shots": Path("unwritten")})
        kept, held = _held_out(shots)
        given["shots"] = self.studio.written(kept)
        if held is not None:
            given["validation"] = given["shots"].with_name(
                given["shots"].name.replace("shots-", "held-out-")
            )
            write_coco(held, given["validation"])
        self.preview, self.figures = None, {}
        self._desk.start(TRAIN, load_config(DetectorConfig, overrides=given), self.studio.runs)

    def predict(self, crop: str = "motion") -> None:
        """Find the pose in every frame, with the detector in use.

        Raises
        ------
        FlexPoseError : there is none yet, or another job runs.
        """
        if self.detector is None:
            raise FlexPoseError("There is no detector yet.", "Train one first.")
        self.session.save()
        given = {
            **spare_threads(),
            "model": self.detector,
            "frames": {"path": self.session.opened_project().images, "crop": crop},
            "out": numbered(self.studio.runs, "predictions", ".coco.json"),
        }
        self._desk.start(PREDICT, load_config(PredictConfig, overrides=given), self.studio.runs)

    def _poses(self, shots: PoseSet) -> dict[str, Any]:
        """What poses may look like: the model in use, where it knows all joints of the shots."""
        source = self.studio.source
        prior = self.studio.skeleton_of(self.studio.prior_in_use())
        if prior is None or find_mapping(prior, shots.skeleton).missing:
            return {}
        return {"model": source}

    # ------------------------------------------------------------ what happens

    def _on_event(self, event: JobEvent) -> None:
        request = self._desk.request
        if request is None or request.command not in (TRAIN, PREDICT):
            return
        if isinstance(event, PreviewReady):
            self.preview = event.images
            self.changed.emit()
        elif isinstance(event, MetricsReady) and request.command == TRAIN:
            self.figures = event.metrics
            self.changed.emit()
        elif isinstance(event, JobFinished) and request.command == TRAIN:
            self.detector = request.run.path
            assert isinstance(request.config, DetectorConfig)
            crop = request.config.frames.crop
            self._desk.then(lambda: self._predict_next(crop))
            self.changed.emit()
        elif isinstance(event, JobFinished):
            self._desk.then(lambda: self.predicted.emit(Path(event.result)))

    def _predict_next(self, crop: str) -> None:
        try:
            self.predict(crop)
        except FlexPoseError as error:  # a full disk, say; the detector is there all the same
            self.session.failed.emit(str(error))

    def _on_project(self) -> None:
        self.detector, self.preview, self.figures = None, None, {}
        if self.session.project is not None:
            self.detector = next(iter(finished_runs(self.studio.runs, TRAIN)), None)
        self.changed.emit()


def _held_out(shots: PoseSet) -> tuple[PoseSet, PoseSet | None]:
    """Shots to learn from, and those to measure by once there are many."""
    if len(shots) < HELD_FROM:
        return shots, None
    held = np.arange(len(shots)) % HELD_EVERY == HELD_EVERY - 1
    return shots[~held], shots[held]
