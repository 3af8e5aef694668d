"""Studio: from labels to models, synthetic poses and files. Without Qt and napari.

Each long action saves the project, writes its inputs into the project's folder and starts a job
there, so that the command line repeats it exactly.
"""

from __future__ import annotations

import importlib.util
import json
import socket
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import numpy as np
from psygnal import Signal

from flexpose.configs.adaptation import AdaptConfig, SampleConfig
from flexpose.configs.base import JobConfig, load_config, read_values
from flexpose.errors import ConfigError, FlexPoseError, SkeletonMismatchError
from flexpose.events import JobEvent, JobFinished, MapReady, MetricsReady
from flexpose.frames import FrameSource
from flexpose.io.base import atomic_write_text, write_poses
from flexpose.io.coco import CocoAnnotation, CocoDataset, write_coco
from flexpose.io.coco_check import check_coco
from flexpose.io.cvat import write_cvat_labels
from flexpose.io.sleap import write_sleap
from flexpose.io.yolo import YoloWriter
from flexpose.mapping import map_poses
from flexpose.poseset import PoseSet
from flexpose.runs import RunDir, numbered
from flexpose.skeleton import Skeleton
from napari_flexpose.desk import JobDesk
from napari_flexpose.figures import AdaptFigures, energy_distance, reached_shots
from napari_flexpose.priors import PriorShelf
from napari_flexpose.process_runner import spare_processors
from napari_flexpose.session import FlexPoseSession
from napari_flexpose.words import about, counted

MIN_SHOTS = 2
GOOD_SHOTS = 12
"""So many shots the published figures start from."""
DEFAULT_BATCH = {False: 512, True: 64}
"""What `AdaptConfig` takes for keypoint and for image priors; named, so that it can be halved."""
MEASURED_PACE = {False: 3.5 / 161, True: 61.3 / 161}
"""Seconds a step of keypoint and image priors on two processor cores: docs/results/speed.md."""
DRAWN_PACE = {
    (False, False): 1 / 89_190,
    (False, True): 1 / 22_276,
    (True, False): 1 / 426,
    (True, True): 1 / 172,
}
"""Seconds a pose, without writing it, by whether images are drawn and whether the model is adapted:
from the same table."""
LOOK_BACK, PACES = 20, 3
"""Runs that are looked at for how long the next one takes, and how many of them say it."""

_Pace = tuple[tuple[object, ...], float]
"""Settings that decide how long a step or a pose takes, and the seconds that it took."""
Unreviewed = Literal["leave out", "flag", "two files"]
"""What becomes of suggestions that nobody has decided about, when labels are exported."""
IN_USE = "in-use.txt"
"""File in the project's runs that names the adapted run in use."""


class Studio:
    """What can be made of a session's labels.

    Attributes
    ----------
    shelf : the priors that can be adapted
    model : the adapted run that is in use, or None: the plain prior
    candidate : an adapted run that has just finished and is not in use yet
    figures : how good the candidate is, as far as the run has told
    """

    model_changed = Signal()
    """Another model is in use, or there is a new candidate."""

    def __init__(self, session: FlexPoseSession, desk: JobDesk) -> None:
        self.session, self.desk = session, desk
        self.shelf = PriorShelf(session, desk)
        self.model: Path | None = None
        self.candidate: Path | None = None
        self.figures: AdaptFigures | None = None
        self._before: float | None = None
        self._recall: tuple[int, int] | None = None
        self._paces: dict[Path, tuple[int, _Pace | None]] = {}
        self.shelf.changed.connect(self.model_changed.emit)
        desk.happened.connect(self._on_event)
        session.project_changed.connect(self._on_project)
        self._on_project()  # one may be open already

    # ------------------------------------------------------------ shots and priors

    def shots(self) -> PoseSet:
        """The labelled poses of the project, complete frames only."""
        project, frames = self.session.opened_project(), self.session.opened_frames()
        sizes: Mapping[str, tuple[int, int]] = _Sizes(frames)
        return project.shots(image_sizes=sizes)

    def suggestions(self) -> PoseSet:
        """The poses that wait for somebody to decide about them."""
        return self.session.opened_project().suggestions(
            image_sizes=_Sizes(self.session.opened_frames())
        )

    @property
    def num_shots(self) -> int:
        """How many poses `shots` has; quick, for it looks at no image."""
        project = self.session.opened_project()
        labels = (project.label(name) for name in project.names_with_labels)
        return sum(label.complete and label.verdict in ("", "reviewed") for label in labels)

    def presets(self) -> dict[str, dict[str, Any]]:
        """Settings of an adaptation by name; the first is ours, without any change."""
        folder = Path(str(resources.files("flexpose") / "presets"))
        found: dict[str, dict[str, Any]] = {"default": {}}
        for path in sorted(folder.glob("adapt-*.yaml")):
            found[path.stem.removeprefix("adapt-")] = read_values(path)
        return found

    def skeleton_of(self, prior: str) -> Skeleton | None:
        """Skeleton of a prior, in which previews and maps are; None when it is not there."""
        found = self.shelf.find(prior)
        return None if found is None else found.skeleton

    @property
    def has_map(self) -> bool:
        """Whether adaptations can draw a map; it needs an optional package."""
        return importlib.util.find_spec("openTSNE") is not None

    @property
    def source(self) -> str:
        """What `generate` draws from: the model in use, else the first prior that fits, if any."""
        if self.model is not None:
            return str(self.model)
        return "" if self.shelf.first is None else self.shelf.first.card.name

    @property
    def source_words(self) -> str:
        """The same for people."""
        if self.model is not None:
            return f"your adapted model ({self.model.name})"
        first = self.shelf.first
        return "no prior yet" if first is None else f"the prior {first.words} as it is"

    def readiness(self, least: int = MIN_SHOTS) -> str:
        """Why a job that needs ``least`` shots is not possible yet; empty when it is."""
        if self.session.project is None:
            return "Open images and label a dozen poses first."
        count = self.num_shots
        if count < least:
            noun = "frame is" if count == 1 else "frames are"
            return f"{count or 'No'} {noun} complete; label at least {least}, better {GOOD_SHOTS}."
        return ""

    # ------------------------------------------------------------ jobs

    def adapt(self, settings: Mapping[str, Any]) -> None:
        """Adapt a prior to the shots, as ``AdaptConfig`` says; the shots are written for it.

        Raises
        ------
        FlexPoseError : too few shots, a wrong setting, or another job runs.
        """
        problem = self.readiness() or self.desk.busy
        if problem:
            raise FlexPoseError(problem)
        given = self._with_defaults(settings)
        if not given["prior"]:
            raise SkeletonMismatchError(self.shelf.missing, "Learn one from poses first.")
        load_config(AdaptConfig, overrides={**given, "shots": Path("unwritten")})
        shots, skeleton = self.shots(), self.skeleton_of(given["prior"])
        if skeleton is not None:
            map_poses(shots, skeleton)  # says at once which joints are missing
        self.figures = self._before = self._recall = None
        self.drop_candidate()
        path = self.written(shots)
        self._start("adapt", load_config(AdaptConfig, overrides={**given, "shots": path}))

    def _with_defaults(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Settings of an adaptation with what we choose where the user did not."""
        given = {"map": self.has_map, **spare_threads(), **settings}
        first = self.shelf.first
        prior = given.setdefault("prior", "" if first is None else first.card.name)
        draws = self._draws(prior)
        if given.get("batch_size") is None and draws is not None:
            given["batch_size"] = DEFAULT_BATCH[draws]
        return given

    def estimate(self, settings: Mapping[str, Any]) -> str:
        """How long adapting with these settings takes, in one sentence; empty when not known.

        Runs of this project on this computer say it, those with the same settings of all that
        decides the pace; before the first of them our own measurement.
        """
        try:
            given = {**self._with_defaults(settings), "shots": Path("unwritten")}
            config = load_config(AdaptConfig, overrides=given)
        except ConfigError:
            return ""
        draws = self._draws(config.prior)
        known = draws is not None and config.transfer.matching == "energy"
        measured = MEASURED_PACE[draws] if draws is not None and known else None
        return self._takes(config, num_steps(config), measured)

    def estimate_poses(self, settings: Mapping[str, Any]) -> str:
        """How long generating with these settings takes, in one sentence, as `estimate` says."""
        try:
            config = load_config(SampleConfig, overrides={**settings, "model": self.source})
        except ConfigError:
            return ""
        draws, measured = self._draws(self.prior_in_use()), None
        if draws is not None and not config.images:
            measured = DRAWN_PACE[draws, self.model is not None]
        return self._takes(config, config.n, measured, least="at least ")

    def _takes(
        self, config: JobConfig, amount: int, measured: float | None, least: str = ""
    ) -> str:
        paces = self._paces_like(config)
        if paces:
            words = about(float(np.median(paces)) * amount)
            where = "" if config.device == "auto" else f" ({config.device})"
            return f"Takes {words} on this computer{where}, as it did before."
        if measured is None:
            return ""
        words = least + about(measured * amount)
        return f"Takes {words} on two processor cores. It was not run on this computer yet."

    def _draws(self, prior: str) -> bool | None:
        """Whether a prior draws images; None when it is not there."""
        found = self.shelf.find(prior)
        return None if found is None else found.card.draws

    def prior_in_use(self) -> str:
        """The prior that `source` is or was adapted from; empty when its run cannot be read."""
        if self.model is None:
            return self.source
        try:
            return load_config(AdaptConfig, RunDir(self.model).config_file).prior
        except ConfigError:
            return ""

    def _paces_like(self, config: JobConfig) -> list[float]:
        """Seconds a step or pose of the latest finished runs that should take as long."""
        command = "adapt" if isinstance(config, AdaptConfig) else "sample"
        paths = sorted(self.runs.glob(f"{command}-*"), reverse=True)[:LOOK_BACK]
        known = [self._pace_of(RunDir(path)) for path in paths]
        like = _pace_settings(config)
        return [found[1] for found in known if found is not None and found[0] == like][:PACES]

    def _pace_of(self, run: RunDir) -> _Pace | None:
        """What a run tells of its pace; its files are read again only when it has gone on."""
        length = run.events_file.stat().st_size if run.events_file.is_file() else 0
        if self._paces.get(run.path, (None, None))[0] != length:
            self._paces[run.path] = (length, _pace(run))
        return self._paces[run.path][1]

    def generate(self, settings: Mapping[str, Any]) -> None:
        """Draw poses from the model in use, as ``SampleConfig`` says.

        Raises
        ------
        FlexPoseError : a wrong setting, a file that exists already, another job runs, or there is
            nothing to draw from.
        """
        if not self.source:
            raise FlexPoseError(self.shelf.missing, "Learn one in Adapt first.")
        given = {**spare_threads(), **settings, "model": self.source}
        self._start("sample", load_config(SampleConfig, overrides=given))

    def _start(self, command: str, config: JobConfig) -> None:
        self.session.save()
        self.desk.start(command, config, self.runs)

    def use_candidate(self) -> None:
        """Draw from the model that has just been adapted, now and when the project is opened."""
        if self.candidate is None:
            return
        atomic_write_text(self.candidate.parent / IN_USE, f"{self.candidate.name}\n")
        self.model, self.candidate = self.candidate, None
        self.model_changed.emit()

    def drop_candidate(self) -> None:
        """Keep the model that was in use; the new one stays in its run folder."""
        self.candidate = None
        self.model_changed.emit()

    # ------------------------------------------------------------ files

    def export_labels(
        self,
        path: Path,
        unreviewed: Unreviewed = "leave out",
        unseen: Collection[str] = (),
    ) -> tuple[str, ...]:
        """Write the labelled poses, in the format of the name's ending.

        A COCO file (``.json``) gets ``cvat_labels.json`` beside it and is checked. Each of its
        annotations says whether a person has looked at it: ``attributes.reviewed``.

        Parameters
        ----------
        unreviewed : what becomes of frames with suggested joints, in a COCO file; "two files" puts
            them into ``<name>-suggestions`` beside it
        unseen : frames that were accepted without a look, so that they are not reviewed

        Returns
        -------
        what is to be known, one sentence each: how many, what the format forced, what was found

        Raises
        ------
        FlexPoseError : nothing is labelled, or the file cannot be written.
        """
        if path.suffix.lower() == ".json":
            return self._export_coco(path, unreviewed, unseen)
        shots = self._some_shots()
        notes = (f"{counted(len(shots), 'pose')} written to {path.name}.",)
        if path.suffix.lower() == ".slp":
            return (*notes, *write_sleap(shots, path, self.session.opened_frames().root))
        return (*notes, *write_poses(shots, path))

    def _export_coco(
        self, path: Path, unreviewed: Unreviewed, unseen: Collection[str]
    ) -> tuple[str, ...]:
        waiting = None if unreviewed == "leave out" else self.suggestions()
        shots = self.shots()
        if waiting is None or not len(waiting):
            files = {path: self._some_shots()}
        elif unreviewed == "flag":
            files = {path: PoseSet.concat([shots, waiting])}
        else:
            files = {path: self._some_shots(), beside(path, "suggestions"): waiting}
        looked_at = {*(shots.image_ids or ())} - {*unseen}
        written: list[str] = []
        notes: list[str] = []
        for file, poses in files.items():
            reviewed = [name in looked_at for name in poses.image_ids or ()]
            notes += write_coco(_flagged(poses, reviewed), file)
            notes += [found.message for found in check_coco(file) if found.severity == "error"]
            written.append(_written_words(file, reviewed))
        write_cvat_labels(shots.skeleton, path.with_name("cvat_labels.json"))
        if waiting is not None and not len(waiting):
            written.append("No suggestion is waiting.")
        return (*written, *(notes or ["The check found nothing wrong."]))

    def export_yolo(self, folder: Path) -> Iterator[tuple[int, int]]:
        """Write the labelled poses and their images for YOLO's trainer, one image at a time.

        Yields
        ------
        images written so far and their number

        Raises
        ------
        FlexPoseError : nothing is labelled, or the folder cannot be written.
        """
        shots, frames = self._some_shots(), self.session.opened_frames()
        index = {name: i for i, name in enumerate(frames.names)}
        with YoloWriter(folder, shots) as writer:
            names = list(dict.fromkeys(shots.image_ids or ()))
            for number, name in enumerate(names, start=1):
                writer.add(name, frames.read(index[name]))
                yield number, len(names)

    def _some_shots(self) -> PoseSet:
        shots = self.shots()
        if not len(shots):
            raise FlexPoseError("No frame is complete yet, so there is nothing to export.")
        return shots

    def written(self, shots: PoseSet) -> Path:
        """The shots as a file of their own for each job, so that later labels leave it alone."""
        path = numbered(self.session.opened_project().folder / "shots", "shots", ".coco.json")
        write_coco(shots, path)
        return path

    # ------------------------------------------------------------ parts

    def _on_event(self, event: JobEvent) -> None:
        request = self.desk.request
        if request is None or request.command != "adapt":
            return
        if isinstance(event, MapReady):
            self._look_at_map(event)
        elif isinstance(event, MetricsReady) and "energy_distance" in event.metrics:
            self.figures = AdaptFigures.of(event.metrics, self._before)
        elif isinstance(event, JobFinished):
            if self.figures is not None:  # the last map comes before the figures or after them
                self.figures = replace(self.figures, recall=self._recall)
            self.candidate = request.run.path
            self.model_changed.emit()

    def _look_at_map(self, event: MapReady) -> None:
        poses = event.poses.reshape(len(event.poses), -1)
        first, last = event.counts["source"], event.counts["source"] + event.counts["shots"]
        shots = poses[first:last]
        if self._before is None:
            self._before = energy_distance(poses[:first], shots)
        self._recall = (reached_shots(poses[last:], shots), len(shots))

    def _on_project(self) -> None:
        self.candidate = self.figures = None
        self.model = None if self.session.project is None else _model_in_use(self.runs)
        self.model_changed.emit()
        self.desk.look_at(None if self.session.project is None else self.runs)

    @property
    def runs(self) -> Path:
        """Folder of the project's runs."""
        return self.session.opened_project().folder / "runs"


def beside(path: Path, what: str) -> Path:
    """A file of another name beside one: ``labels-suggestions.coco.json``."""
    name, dot, endings = path.name.partition(".")
    return path.with_name(f"{name}-{what}{dot}{endings}")


def _flagged(poses: PoseSet, reviewed: Sequence[bool]) -> CocoDataset:
    """Poses that say, where other tools look too, whether a person has looked at each."""
    return CocoDataset(
        poses=poses,
        annotations=tuple(
            CocoAnnotation(
                source="manual" if seen else "suggested",
                reviewed=seen,
                fields={"attributes": {"reviewed": seen}},
            )
            for seen in reviewed
        ),
    )


def _written_words(path: Path, reviewed: Sequence[bool]) -> str:
    words = f"{counted(len(reviewed), 'pose')} written to {path.name}"
    unseen = len(reviewed) - sum(reviewed)
    return f"{words}, {unseen} of them flagged as not reviewed." if unseen else f"{words}."


def spare_threads() -> dict[str, int]:
    """As a setting of jobs."""
    return {"threads": spare_processors()}


def num_steps(config: AdaptConfig) -> int:
    """Steps of an adaptation, as the engine counts them."""
    part = config.transfer
    pairs = part.pairs.steps if part.matching in ("index", "ot") else 0
    gradual = part.matching == "energy" or config.kinematics.enabled
    return pairs + (config.steps if gradual else 0) + 1


def _pace_settings(config: JobConfig) -> tuple[object, ...]:
    """What decides how long a step or a pose takes."""
    if isinstance(config, AdaptConfig):
        return (config.prior, config.device, config.batch_size, config.transfer)
    assert isinstance(config, SampleConfig)
    return (config.model, config.device, config.images, config.out and config.out.suffix)


def _pace(run: RunDir) -> _Pace | None:
    """How long a run's steps or poses took, with which settings; None when it cannot say so."""
    cls = AdaptConfig if run.path.name.startswith("adapt") else SampleConfig
    try:
        config = load_config(cls, run.config_file)
        if run.process().get("host") != socket.gethostname():
            return None
        lines = run.events_file.read_text(encoding="utf-8").splitlines()
        events = [json.loads(line) for line in lines]
    except (FlexPoseError, OSError, ValueError):  # of another version, or it never began
        return None
    if not events or events[-1]["event"] != "JobFinished":
        return None
    seconds = _step_seconds(events) if cls is AdaptConfig else _pose_seconds(events)
    return None if seconds is None else (_pace_settings(config), seconds)


def _step_seconds(events: Sequence[Mapping[str, Any]]) -> float | None:
    steps = [e for e in events if e["event"] == "StepCompleted" and e["step"] < e["total_steps"]]
    if not steps:
        return None
    return float(steps[-1]["seconds_left"] / (steps[-1]["total_steps"] - steps[-1]["step"]))


def _pose_seconds(events: Sequence[Mapping[str, Any]]) -> float | None:
    told = [e["metrics"] for e in events if e["event"] == "MetricsReady" and e["split"] == "sample"]
    return 1 / told[-1]["poses_per_second"] if told else None


def _model_in_use(runs: Path) -> Path | None:
    """The run that the file in the runs' folder names, if it is still there."""
    note = runs / IN_USE
    if not note.is_file():
        return None
    run = runs / note.read_text(encoding="utf-8").strip()
    return run if run.parent == runs and RunDir(run).checkpoints.is_dir() else None


class _Sizes(Mapping[str, tuple[int, int]]):
    """Image sizes by frame name, looked up only when asked for."""

    def __init__(self, frames: FrameSource) -> None:
        self._frames = frames
        self._index = {name: i for i, name in enumerate(frames.names)}

    def __getitem__(self, name: str) -> tuple[int, int]:
        return self._frames.size(self._index[name])

    def __contains__(self, name: object) -> bool:
        return name in self._index

    def __iter__(self) -> Any:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)
