"""Job ``finetune``: the practical detector's training on a few shots alone, from given weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from flexpose.checkpoint import load_checkpoint
from flexpose.compute import prepare, resolve_device
from flexpose.configs.detector import DetectorConfig, HeatmapsConfig
from flexpose.configs.meta import FinetuneConfig
from flexpose.errors import CheckpointError, FlexPoseError
from flexpose.events import JobCancelled, JobEvent, PhaseChanged
from flexpose.io.base import read_poses, write_poses
from flexpose.jobs import CancelToken
from flexpose.models.detector import Design
from flexpose.models.prior import checkpoint_path
from flexpose.poseset import PoseSet
from flexpose.runs import RunDir
from flexpose.skeleton import Skeleton
from flexpose.training.clips import load_clips, load_labels
from flexpose.training.detector import start_from
from flexpose.training.heatmaps import HeatmapTask
from flexpose.training.loop import Schedule, run_task
from flexpose.training.puppets import Puppets

_SHOTS = (1 << 40) + 5  # a random stream


def run(config: FinetuneConfig, run: RunDir, cancel: CancelToken) -> Iterator[JobEvent]:
    """Fine-tune a detector; the shots that were drawn stand in ``shots.npz`` of the run.

    Raises
    ------
    FlexPoseError : there are fewer labelled frames than shots, or an input cannot be read.
    """
    device = resolve_device(config.device)
    prepare(device, config.threads)
    found = load_checkpoint(checkpoint_path(config.start), kind="detector")
    if found.meta.config["method"] != "heatmaps":
        raise CheckpointError(
            f"{config.start} is a detector of the method {found.meta.config['method']}, expected "
            "one by maps of joints."
        )
    design = Design.of(found.meta.config)
    skeleton = Skeleton.from_dict(found.meta.skeleton, found.path)
    yield PhaseChanged("reading frames")
    clips = load_clips(config.frames, design.size, lambda: cancel.cancelled)
    if clips is None:
        yield JobCancelled(0)
        return
    held_out = load_labels(config.validation, clips, skeleton) if config.validation else None
    unseen = () if held_out is None else tuple(clips.names[row] for row in held_out.rows)
    path = run.path / "shots.npz"
    write_poses(draw_shots(config, clips.names, unseen), path)
    task = HeatmapTask(
        as_detector(config, design, path),
        skeleton,
        clips,
        load_labels(path, clips, skeleton),
        Puppets(torch.zeros(0), torch.zeros(0)),
        held_out,
        device,
    )
    start_from(task, config.start)
    schedule = Schedule(
        config.steps, config.preview_every, config.evaluate_every, config.checkpoint_every
    )
    yield from run_task(task, schedule, run, cancel)


def draw_shots(config: FinetuneConfig, names: tuple[str, ...], unseen: tuple[str, ...]) -> PoseSet:
    """Labelled poses of so many of the frames that are not held out."""
    poses = read_poses(config.labels)
    usable = set(names) - set(unseen)
    rows = np.array([i for i, name in enumerate(poses.image_ids or ()) if name in usable])
    wanted = config.shots or max(len(rows), 1)
    if len(rows) < wanted:
        raise FlexPoseError(
            f"{config.labels} labels {len(rows)} of the frames that are not held out, expected at "
            f"least {wanted}.",
            "Ask for fewer shots, or check that names of frames agree.",
        )
    random = np.random.default_rng([config.seed, _SHOTS])
    return poses[np.sort(random.permutation(rows)[:wanted])]


def as_detector(config: FinetuneConfig, design: Design, shots: Path) -> DetectorConfig:
    """The training as ``train-detector`` would do it: shots alone, no puppets, no teacher."""
    own = HeatmapsConfig.model_validate(
        {
            **design.to_config()["heatmaps"],
            "lr": config.lr,
            "puppets": 0,
            "unlabelled_weight": 0,
        }
    )
    same = ("seed", "device", "threads", "frames", "validation", "start", "steps", "batch_size")
    every = ("preview_every", "evaluate_every", "checkpoint_every")
    return DetectorConfig(
        **{name: getattr(config, name) for name in (*same, *every)},
        shots=shots,
        size=design.size,
        width=design.width,
        heatmaps=own,
    )
