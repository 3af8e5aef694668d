"""Job ``train-detector``: frames, shots and poses are read, then one of two methods learns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from flexpose.checkpoint import load_checkpoint
from flexpose.compute import generator_for, prepare, resolve_device
from flexpose.configs.base import ConfigBase
from flexpose.configs.detector import DetectorConfig
from flexpose.difficulty import BinnedRows
from flexpose.errors import FlexPoseError
from flexpose.events import JobCancelled, JobEvent, PhaseChanged, WarningRaised
from flexpose.geometry import normalised, unit_to_canvas
from flexpose.io.base import read_poses
from flexpose.jobs import CancelToken
from flexpose.mapping import map_poses
from flexpose.mixup import pose_mixup
from flexpose.models.detector import Design
from flexpose.models.prior import checkpoint_path
from flexpose.poseset import PoseSet
from flexpose.runs import RunDir
from flexpose.skeleton import Skeleton
from flexpose.training.clips import backgrounds, load_clips, load_labels
from flexpose.training.data import file_or_model
from flexpose.training.heatmaps import HeatmapTask
from flexpose.training.keypoint_gan import KeypointGanTask
from flexpose.training.loop import Schedule, TrainTask, run_task
from flexpose.training.pose_vae import difficulty
from flexpose.training.puppets import Puppets, make_puppets

C = TypeVar("C", bound=ConfigBase)
_POSES, _MIXUPS = (1 << 40) + 1, (1 << 40) + 2  # random streams


def run(config: DetectorConfig, run: RunDir, cancel: CancelToken) -> Iterator[JobEvent]:
    """Train a detector.

    Raises
    ------
    FlexPoseError : a method misses what it learns from, or an input does not fit another.
    """
    _check(config)
    if config.start is not None:
        config = in_design_of(config, config.start)
    device = resolve_device(config.device)
    prepare(device, config.threads)
    yield PhaseChanged("reading poses")
    shots_file = read_poses(config.shots) if config.shots is not None else None
    skeleton, unpaired = _unpaired(config, shots_file, device)
    yield PhaseChanged("reading frames")
    clips = load_clips(config.frames, config.size, lambda: cancel.cancelled)
    if clips is None:
        yield JobCancelled(0)
        return
    shots = load_labels(config.shots, clips, skeleton) if config.shots else None
    held_out = load_labels(config.validation, clips, skeleton) if config.validation else None
    task: TrainTask
    if config.method == "keypoint-gan":
        task = KeypointGanTask(
            config, skeleton, clips, torch.from_numpy(unpaired), shots, held_out, device
        )
    else:
        assert shots is not None
        yield PhaseChanged("making puppets")
        puppets = make_puppets(
            shots,
            clips.images[shots.rows].permute(0, 2, 3, 1).numpy(),
            backgrounds(config.frames, clips, shots.rows),
            unpaired,
            skeleton,
            config.heatmaps.puppets,
            config.heatmaps.nearness,
            config.seed,
        )
        if len(puppets.images):
            puppets = _binned(config, puppets, skeleton)
        elif config.heatmaps.puppets:
            yield WarningRaised(
                "puppets",
                "No shot is complete, so no puppets are made; the detector learns from the shots "
                "alone.",
            )
        task = HeatmapTask(config, skeleton, clips, shots, puppets, held_out, device)
    if config.start is not None:
        start_from(task, config.start)
    schedule = Schedule(
        config.steps, config.preview_every, config.evaluate_every, config.checkpoint_every
    )
    yield from run_task(task, schedule, run, cancel)


def _check(config: DetectorConfig) -> None:
    if config.method == "heatmaps" and config.shots is None:
        raise FlexPoseError(
            "The method heatmaps learns from labelled frames and was given none.",
            "Name a file of shots, or choose the method keypoint-gan.",
        )
    if config.heatmaps.sampling != "uniform" and config.heatmaps.vae is None:
        raise FlexPoseError(
            f"The sampling {config.heatmaps.sampling} needs to know how hard poses are.",
            "Name a run of train-vae as heatmaps.vae, or choose sampling: uniform.",
        )
    if config.shots is None and config.poses is None and config.model is None:
        raise FlexPoseError(
            "The method keypoint-gan needs to know what poses look like.",
            "Name a model (an adapted run or a prior) or a file of poses.",
        )


def _binned(config: DetectorConfig, puppets: Puppets, skeleton: Skeleton) -> Puppets:
    """Puppets in bins of difficulty, where the sampling wants it.

    Raises
    ------
    FlexPoseError : the Pose VAE knows joints that the puppets lack, or they are fewer than bins.
    """
    own = config.heatmaps
    if own.vae is None or own.sampling == "uniform":
        return puppets
    canvas = unit_to_canvas(puppets.keypoints.numpy(), config.size)
    scores = difficulty(own.vae, PoseSet.create(skeleton, canvas, (config.size, config.size)))
    if not np.isfinite(scores).all():
        raise FlexPoseError(
            f"{own.vae} knows joints that {skeleton.name} lacks, so it cannot say how hard its "
            "poses are.",
            "Train a Pose VAE on poses of this skeleton.",
        )
    return replace(puppets, binned=BinnedRows.of(scores, own.bins, own.sampling))


def _unpaired(
    config: DetectorConfig, shots: PoseSet | None, device: torch.device
) -> tuple[Skeleton, NDArray[np.float32]]:
    """The skeleton that is learned, and box-normalised poses (P, J, 2) in it.

    The project's skeleton, which is that of the shots, decides; without shots that of the poses.
    """
    if config.poses is None and config.model is None:
        assert shots is not None
        complete = shots[shots.complete]
        _enough(len(complete), len(shots), config.shots)
        mixer = np.random.default_rng([config.seed, _MIXUPS])
        mixed = pose_mixup(normalised(complete.keypoints), config.num_poses, mixer)
        return shots.skeleton, normalised(mixed)
    random = generator_for(config.seed, _POSES)
    poses = file_or_model(config.poses, config.model, config.num_poses, random, device)
    skeleton = shots.skeleton if shots is not None else poses.skeleton
    poses = map_poses(poses, skeleton)
    poses = poses[poses.complete]
    _enough(len(poses), len(poses), config.poses)
    return skeleton, normalised(poses.keypoints)


def _enough(complete: int, total: int, path: Path | None) -> None:
    if complete < 2:
        raise FlexPoseError(
            f"{path}: {complete} of {total} poses are complete, expected at least 2, better "
            "thousands."
        )


def in_design_of(config: DetectorConfig, path: Path) -> DetectorConfig:
    """The config with crop, sizes and loss of an earlier detector, unless it asks for others.

    What differs from both the default and the earlier detector stays, for `start_from` to refuse.
    """
    found = load_checkpoint(checkpoint_path(path), kind="detector").meta.config
    if found["method"] != "heatmaps" or config.method != "heatmaps":
        return config
    design = Design.of(found).to_config()
    heatmaps = _adopted(config.heatmaps, design["heatmaps"])
    sizes = {key: design[key] for key in ("size", "width")}
    return _adopted(config, sizes).model_copy(update={"heatmaps": heatmaps})


def _adopted(config: C, values: Mapping[str, Any]) -> C:
    """The config with these values where it has its defaults."""
    fields = type(config).model_fields
    unset = {key: v for key, v in values.items() if getattr(config, key) == fields[key].default}
    return config.model_copy(update=unset)


def start_from(task: TrainTask, path: Path) -> None:
    """Take the weights of an earlier detector; the optimiser starts anew.

    Raises
    ------
    FlexPoseError : it has other sizes, another skeleton or method.
    """
    found = load_checkpoint(checkpoint_path(path), kind="detector")
    own, other = task.meta(), found.meta
    for key in ("method", "width"):
        if own.config[key] != other.config[key]:
            raise FlexPoseError(
                f"{path} has {key} {other.config[key]}, this training {own.config[key]}.",
                "Start from a detector with the same settings, or from none.",
            )
    mine, others = Design.of(own.config), Design.of(other.config)
    if (mine.backbone, mine.head_layers) != (others.backbone, others.head_layers):
        raise FlexPoseError(f"{path} has another encoder or head than this training.")
    if mine.peaked != others.peaked:
        raise FlexPoseError(
            f"{path} learned with the loss {others.loss}, this training has {mine.loss}: what "
            "their maps mean is not the same.",
            f"Set heatmaps.loss: {others.loss}.",
        )
    if own.skeleton["joints"] != other.skeleton["joints"]:
        raise FlexPoseError(f"{path} finds the joints of another skeleton.")
    _, train_state = task.state()
    task.load_state(found.tensors, train_state)
