"""One cell of an experiment: a row on a target from a seed. Its jobs, its poses, its measures.

A cell is a folder. What is finished in it is not done again, so an experiment that was interrupted
goes on where it stopped, and cells can run in any number of processes.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from flexpose.commands import find_command, resolve
from flexpose.compute import generator_for, resolve_device
from flexpose.configs.base import ConfigBase, load_config, read_values
from flexpose.configs.experiment import (
    ExperimentSpec,
    ReproduceConfig,
    RowSpec,
    SourceSpec,
    TargetSpec,
)
from flexpose.configs.prior import SourceConfig
from flexpose.errors import ConfigError, FlexPoseError
from flexpose.evaluation.difficulty import transfer_figures
from flexpose.evaluation.distributions import compare
from flexpose.evaluation.keypoints import score_keypoints
from flexpose.events import JobEvent, StepCompleted
from flexpose.experiments.domains import (
    Target,
    below,
    digest_of,
    joined,
    load_target,
    plain,
)
from flexpose.experiments.lessons import Job, Lessons
from flexpose.geometry import FILL, canvas_poses, normalised
from flexpose.io.base import atomic_write_text, read_poses, write_poses
from flexpose.jobs import CancelToken, recorded, run_to_completion
from flexpose.mannequin.faces import face_frames
from flexpose.mapping import map_poses
from flexpose.mixup import angle_mixup, pose_mixup
from flexpose.models.prior import Prior, load_prior
from flexpose.poseset import PoseSet
from flexpose.runs import RunDir
from flexpose.shipped import preset
from flexpose.skeleton import load_skeleton
from flexpose.training.data import load_source
from flexpose.training.inversion import invert, latent_mixup

CANVAS = 256  # pixels that poses are written in
_PAPER_PIXELS = 128  # of the paper's MSE-Pixel
_CONSTANT = ("mean-pose", "mean-source")
"""Recipes that say the same of every frame."""
_TAIL = 0.1  # share of the last steps whose Eq. 5 is averaged


@dataclass(frozen=True)
class Cell:
    """A row on a target from a seed."""

    target: str
    row: str
    seed: int

    @property
    def folder(self) -> str:
        """Its place below the experiment's folder."""
        return f"cells/{plain(self.target)}/{plain(self.row)}/seed-{self.seed}"


class Bench:
    """An experiment at one scale, in a folder.

    Parameters
    ----------
    out : folder of the experiment
    """

    def __init__(self, spec: ExperimentSpec, config: ReproduceConfig, out: Path) -> None:
        self.spec, self.config, self.out = spec, config, out
        if config.scale not in spec.scales:
            raise ConfigError(
                f"{spec.title} has no scale {config.scale}.",
                f"It has {', '.join(spec.scales)}.",
            )
        self.scale = spec.scales[config.scale]
        learned = self.scale.measure == "pictures"
        for row in {cell.row: self.row(cell) for cell in self.cells}.values():
            if row.recipe not in _CONSTANT and (row.recipe in ("uda", "finetune")) != learned:
                raise ConfigError(
                    f"The row {row.name} has the recipe {row.recipe}, its scale the measure "
                    f"{self.scale.measure}; uda and finetune go with pictures, others but means "
                    "do not."
                )
        self._targets: dict[str, Target] = {}
        self._sources: dict[str, NDArray[np.float32]] = {}

    @cached_property
    def cells(self) -> list[Cell]:
        """All cells that the config asks for, seed by seed: every row soon has its first one."""
        words = self.config.rows
        return [
            Cell(target, row.name, seed)
            for seed in self.config.seeds or self.scale.seeds
            for target in self.scale.targets
            for row in self.spec.rows
            if (not row.targets or target in row.targets)
            and (not self.scale.rows or row.name in self.scale.rows)
            and (row.source is None or row.source in self.scale.sources)
            and (not words or any(word in row.name for word in words))
        ]

    def row(self, cell: Cell) -> RowSpec:
        return next(row for row in self.spec.rows if row.name == cell.row)

    # ------------------------------------------------------------ what cells share

    def shared(self) -> Iterator[Job]:
        """Jobs that must be done before any cell, one by one: the next may need the last."""
        for name in dict.fromkeys(cell.target for cell in self.cells):
            yield from self._studio(name, self.scale.targets[name])
        for name in dict.fromkeys(self.source_name(cell) for cell in self.cells):
            source = self.scale.sources[name]
            if source.pictures is not None:
                yield from self._studio(f"{name} pictures", source.pictures)
                yield from self.lessons.of_source(name)
            elif source.prior is None:
                settings = joined({"source": {"poses": self._source_file(name)}}, source.train)
                yield "train-prior", self._prior_folder(name), settings
        if self.scale.measure == "pictures":
            yield from self.lessons.starts()

    def _studio(self, name: str, spec: TargetSpec) -> Iterator[Job]:
        if spec.studio is not None:
            motion = [below(self.config.data, Path(p)) for p in spec.studio["motion"]]
            yield "make-studio", self.made(name), {**spec.studio, "motion": motion}

    @cached_property
    def lessons(self) -> Lessons:
        """What detectors of labelled pictures learn from."""
        return Lessons(self)

    def made(self, name: str) -> Path:
        """Folder of frames that were made for a domain."""
        return self.out / "made" / plain(name)

    def source_name(self, cell: Cell) -> str:
        """The row's source, else the target's, else the scale's first."""
        named = self.row(cell).source or self.scale.targets[cell.target].source
        return named or next(iter(self.scale.sources))

    def _source_file(self, name: str) -> Path:
        """The poses of a source in one file; several are joined in the prior's skeleton."""
        source = self.scale.sources[name]
        paths = [below(self.config.data, path) for path in source.poses]
        if source.sample is not None:
            return self._drawn(name)
        if len(paths) == 1:
            return paths[0]
        joined = self.out / "made" / f"{name}.npz"
        if not joined.exists():
            joined.parent.mkdir(parents=True, exist_ok=True)
            skeleton = load_skeleton(self.skeleton_name(source))
            parts = [map_poses(read_poses(path), skeleton) for path in paths]
            write_poses(PoseSet.concat(parts), joined)
        return joined

    def _drawn(self, name: str) -> Path:
        """A source of drawn faces: of other people than the target's, who look into the camera."""
        path = self.out / "made" / f"{name}.npz"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_poses(face_frames(1, people=64, frames=8, image_size=CANVAS).poses, path)
        return path

    def skeleton_name(self, source: SourceSpec) -> str:
        """Whose joints a source without a prior has."""
        return str(source.train.get("source", {}).get("skeleton", "body15"))

    def prior_name(self, cell: Cell) -> str:
        """What ``--prior`` has to be for a cell."""
        name = self.source_name(cell)
        return self.scale.sources[name].prior or str(self._prior_folder(name))

    def _prior_folder(self, name: str) -> Path:
        """Of the prior of a source that has none; of other settings it is another."""
        return self.out / "priors" / f"{plain(name)}-{digest_of(self.scale.sources[name])}"

    def prior(self, cell: Cell) -> Prior:
        return load_prior(self.prior_name(cell))

    def target(self, name: str) -> Target:
        """A target domain, read once."""
        if name not in self._targets:
            first = next(cell for cell in self.cells if cell.target == name)
            source = self.scale.sources[self.source_name(first)]
            if source.pictures is not None:
                skeleton = load_skeleton(self.skeleton_name(source))
            else:
                skeleton = self.prior(first).skeleton
            spec, made = self.scale.targets[name], self.made(name)
            seen = self.scale.measure in ("detector", "pictures")
            self._targets[name] = load_target(name, spec, self.config.data, skeleton, made, seen)
        return self._targets[name]

    def source_poses(self, cell: Cell) -> NDArray[np.float32]:
        """Poses of a cell's source, (n, J, 2) normalised; the prior's own sample without a file."""
        name = self.source_name(cell)
        if name not in self._sources:
            source = self.scale.sources[name]
            if source.poses or source.sample:
                file = SourceConfig(
                    poses=self._source_file(name), skeleton=self.skeleton_name(source)
                )
                self._sources[name] = load_source(file).keypoints.numpy()
            else:
                sample = self.prior(cell).source_sample
                if sample is None:
                    raise FlexPoseError(f"The prior {source.prior} holds no sample of its source.")
                self._sources[name] = normalised(sample.numpy())
        return self._sources[name]

    # ------------------------------------------------------------ a cell

    def run(self, cell: Cell, cancel: CancelToken) -> dict[str, Any]:
        """What a finished cell says; done now unless it was before with the same settings."""
        folder = self.out / cell.folder
        asked, done = folder / "asked.json", folder / "cell.json"
        settings = json.dumps(self._asked(cell), indent=1)
        if folder.exists() and (not asked.exists() or asked.read_text() != settings):
            shutil.rmtree(folder)  # of other settings, from which nothing can be taken over
        if done.exists():
            return dict(json.loads(done.read_text()))
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write_text(asked, settings)
        began = time.perf_counter()
        metrics = self._measured(cell, folder, cancel)
        result = {
            "target": cell.target,
            "row": cell.row,
            "seed": cell.seed,
            "metrics": {key: value for key, value in metrics.items() if np.isfinite(value)},
            "seconds": time.perf_counter() - began,
        }
        atomic_write_text(done, json.dumps(result, indent=1))
        return result

    def _asked(self, cell: Cell) -> dict[str, Any]:
        """The settings that decide a cell's result."""
        row = self.row(cell)
        source = self.scale.sources[self.source_name(cell)]
        asked = {
            "row": _said(row, {"start"}, {"paper", "targets", "x", "line"}),
            "source": _said(source, {"pictures"}),
            "target": _said(
                self.scale.targets[cell.target], {"draw", "photographs", "most", "settings"}
            ),
            "size": self.scale.size,
            "settings": json.loads(json.dumps(self.scale.settings, default=str)),
            "measure": self.scale.measure,
        }
        if self.scale.measure == "pictures":
            asked |= {"start": self.lessons.start(cell)[0], "bins": self.scale.bins}
        return asked

    def _measured(self, cell: Cell, folder: Path, cancel: CancelToken) -> Mapping[str, float]:
        row, target = self.row(cell), self.target(cell.target)
        if self.scale.measure == "pairs-loss":
            return {"pairs": self.adapted(cell, cancel)["pairs_left"]}
        if self.scale.measure == "pictures":
            if row.recipe in _CONSTANT:
                found = _in_boxes(self._mean(cell), target.test)
            else:
                model = self.lessons.learn(cell, folder / "detector", cancel)
                found = self.predicted(model, target, folder, cancel)
            bins = self.lessons.difficulty(cell)
            return transfer_figures(found, target.test, bins) | self._scored(found, target)
        if row.recipe in _CONSTANT and self.scale.measure == "detector":
            return self._scored(_in_boxes(self._mean(cell), target.test), target)
        poses = self.poses(cell, cancel)
        made = canvas_poses(poses, target.test.skeleton, CANVAS)
        if self.scale.measure == "distribution":
            return compare(made, target.test).metrics()
        write_poses(made, folder / "poses.npz")
        found = self._detected(cell, row, target, folder, cancel)
        if row.recipe == "shots":  # a dozen are no distribution to compare with thousands
            return self._scored(found, target)
        return compare(made, target.test).metrics() | self._scored(found, target)

    def poses(self, cell: Cell, cancel: CancelToken) -> NDArray[np.float32]:
        """What the row makes, (n, J, 2) normalised."""
        row, target = self.row(cell), self.target(cell.target)
        size = row.size or self.scale.size
        shots = normalised(target.shots(row.shots, cell.seed).keypoints)
        random = np.random.default_rng([cell.seed, 7])
        if row.recipe == "mixup-codes":
            return self._between_codes(cell, shots, size)
        if row.recipe not in ("source", "adapt", "baseline"):
            return self._without_model(cell, shots, size, random)
        mixups = _mixups(row, size)
        mixed = normalised(pose_mixup(shots, mixups, random))
        model = self.prior_name(cell)
        if row.recipe != "source":
            self.adapted(cell, cancel)
            model = str(self.out / cell.folder / "adapted")
        drawn = self.out / cell.folder / "drawn.npz"
        settings = {"model": model, "n": size - mixups, "out": drawn, "overwrite": True}
        self.job("sample", drawn.parent / "sample", {**settings, "seed": cell.seed}, cancel)
        poses = normalised(read_poses(drawn).keypoints)
        return np.concatenate([poses, mixed])

    def _without_model(
        self, cell: Cell, shots: NDArray[np.float32], size: int, random: np.random.Generator
    ) -> NDArray[np.float32]:
        """Poses of the recipes that need no prior."""
        row, target = self.row(cell), self.target(cell.target)
        match row.recipe:
            case "shots":
                return shots
            case "mean-pose" | "mean-source":
                return self._mean(cell)[None]
            case "mixup":
                return normalised(pose_mixup(shots, size, random))
            case "mixup-angles":
                return normalised(angle_mixup(shots, size, random, target.train.skeleton))
            case "aligned":
                return normalised(target.train.keypoints)
        mixups = _mixups(row, size)
        mixed = normalised(pose_mixup(shots, mixups, random))
        source = random.permutation(self.source_poses(cell))[: size - mixups]
        return np.concatenate([source, mixed])

    def _mean(self, cell: Cell) -> NDArray[np.float32]:
        """The mean of the shots or of the source's poses, (J, 2) normalised."""
        row = self.row(cell)
        if row.recipe == "mean-pose":
            poses = normalised(self.target(cell.target).shots(row.shots, cell.seed).keypoints)
        elif self.scale.measure == "pictures":
            poses = self.lessons.source_poses(cell)
        else:
            poses = self.source_poses(cell)
        return normalised(poses.mean(axis=0, keepdims=True))[0]

    def _between_codes(
        self, cell: Cell, shots: NDArray[np.float32], size: int
    ) -> NDArray[np.float32]:
        """Mixtures of the shots' codes in the prior."""
        device = resolve_device(self.config.device)
        prior = load_prior(self.prior_name(cell), device)
        codes = invert(prior, torch.from_numpy(shots).to(device), generator_for(cell.seed, 1))
        return latent_mixup(prior, codes, size, generator_for(cell.seed, 2)).cpu().numpy()

    def adapted(self, cell: Cell, cancel: CancelToken) -> dict[str, float]:
        """Adapt a prior as the row says; the last losses."""
        row, folder = self.row(cell), self.out / cell.folder
        shots = folder / "shots.npz"
        write_poses(self.target(cell.target).shots(row.shots, cell.seed), shots)
        command = "adapt" if row.recipe == "adapt" else "adapt-baseline"
        settings = joined(row.settings, self.scale.settings.get(command, {}))
        own = {"prior": self.prior_name(cell), "shots": shots, "seed": cell.seed}
        return self.job(command, folder / "adapted", {**own, **settings}, cancel)

    def _detected(
        self, cell: Cell, row: RowSpec, target: Target, folder: Path, cancel: CancelToken
    ) -> PoseSet:
        """Train a detector with the cell's poses; what it finds in test frames."""
        if target.frames is None:
            raise FlexPoseError(f"The target {target.title} has no frames to train a detector on.")
        for name, poses in (
            ("shots", target.shots(row.shots, cell.seed)),
            ("train", target.train),
        ):
            write_poses(poses, folder / f"{name}.json")
        settings = joined(row.detector, self.scale.settings.get("train-detector", {}))
        own = {
            "frames": {"path": target.frames, "crop": "boxes", "boxes": folder / "train.json"},
            "shots": folder / "shots.json",
            "poses": folder / "poses.npz",
            "seed": cell.seed,
        }
        self.job("train-detector", folder / "detector", {**own, **settings}, cancel)
        return self.predicted(folder / "detector", target, folder, cancel)

    def predicted(self, model: Path, target: Target, folder: Path, cancel: CancelToken) -> PoseSet:
        """What a detector finds in the test frames."""
        write_poses(target.test, folder / "test.json")
        found = folder / "found.json"
        settings = {
            "model": model,
            "frames": {"path": target.frames, "crop": "boxes", "boxes": folder / "test.json"},
            "out": found,
            "overwrite": True,
            "rounds": 1,
        }
        self.job("predict", folder / "predict", settings, cancel)
        return read_poses(found)

    def _scored(self, found: PoseSet, target: Target) -> dict[str, float]:
        """How near the joints found in test frames are."""
        figures = dict(score_keypoints(found, target.test, self.scale.reference).overall)
        figures["distance_128"] = figures["distance_percent"] * _PAPER_PIXELS / 100
        return figures

    def job(
        self, command: str, folder: Path, settings: Mapping[str, Any], cancel: CancelToken
    ) -> dict[str, float]:
        """Run a job in a folder, or go on with it; means of the last tenth of its losses."""
        done = folder / "done.json"
        if done.exists():
            return dict(json.loads(done.read_text()))
        row = find_command(command)
        settings = dict(settings)
        values = {"device": self.config.device, "threads": self.config.threads}
        if name := settings.pop("config", None):  # a preset, as on the command line
            values |= read_values(preset(command, str(name)))
        config = load_config(resolve(row.config), overrides=joined(values, settings))
        started = (folder / "config.yaml").is_file()
        run = RunDir.open(folder) if started else RunDir.create(command, folder)
        run.begin(config)
        losses: list[Mapping[str, float]] = []
        events = resolve(row.target)(config, run, cancel)

        def remember(event: JobEvent) -> None:
            if isinstance(event, StepCompleted):
                losses.append(event.losses)

        run_to_completion(recorded(events, run), remember)
        means = {}
        for key in {key for step in losses for key in step}:
            told = [step[key] for step in losses if key in step]
            means[key] = float(np.mean(told[-max(1, round(_TAIL * len(told))) :]))
        atomic_write_text(done, json.dumps(means))
        return means


def _mixups(row: RowSpec, size: int) -> int:
    """How many of a row's poses are mixed-up shots; Direct, S and T*, has 1,000 unless it says."""
    asked = row.mixups or (1000 if row.recipe == "direct" else 0)
    return round(asked * size if asked < 1 else min(asked, size // 2))


def _in_boxes(pose: NDArray[np.float32], frames: PoseSet) -> PoseSet:
    """One normalised pose (J, 2) in the box of every frame."""
    boxes = frames.boxes
    assert boxes is not None
    middle, side = boxes[:, None, :2] + boxes[:, None, 2:] / 2, boxes[:, 2:].max(axis=1)
    keypoints = middle + pose * side[:, None, None] / (2 * FILL)
    return PoseSet.create(frames.skeleton, keypoints, frames.image_size, image_ids=frames.image_ids)


def _said(spec: ConfigBase, later: set[str], never: Set[str] = frozenset()) -> dict[str, Any]:
    """What a spec says; of fields that came later only what is not their default.

    So cells that were finished before these fields came are still known.
    """
    fields = type(spec).model_fields
    unsaid = {
        name
        for name in later
        if getattr(spec, name) == fields[name].get_default(call_default_factory=True)
    }
    return spec.model_dump(mode="json", exclude=unsaid | never)
