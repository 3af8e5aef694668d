"""Job ``train-uda``: frames of two domains are read, then one of four methods learns."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from flexpose.compute import prepare, resolve_device
from flexpose.configs.uda import UdaConfig
from flexpose.errors import FlexPoseError
from flexpose.events import JobCancelled, JobEvent, PhaseChanged, WarningRaised
from flexpose.io.base import read_poses
from flexpose.jobs import CancelToken
from flexpose.runs import RunDir
from flexpose.skeleton import load_skeleton
from flexpose.training.clips import load_clips, load_labels
from flexpose.training.detector import start_from
from flexpose.training.loop import Schedule, run_task
from flexpose.training.uda.labelled import Domain, LabelledTask, check, labelled, one_a_frame
from flexpose.training.uda.regda import RegDaTask
from flexpose.training.uda.udape import UdapeTask


def run(config: UdaConfig, run: RunDir, cancel: CancelToken) -> Iterator[JobEvent]:
    """Train a detector for the target.

    Raises
    ------
    FlexPoseError : settings do not go together, or frames, labels or difficulty cannot be read or
        do not fit each other.
    """
    check(config)
    device = resolve_device(config.device)
    prepare(device, config.threads)
    learned = config.skeleton
    skeleton = read_poses(config.labels).skeleton if learned is None else load_skeleton(learned)
    yield PhaseChanged("reading frames of the target")
    target = load_clips(config.target, config.size, lambda: cancel.cancelled)
    if target is None:
        yield JobCancelled(0)
        return
    held_out = None
    if config.validation is not None:
        one_a_frame(config.validation)
        held_out = load_labels(config.validation, target, skeleton)
    kept = held_out is not None and not config.transductive
    unseen = held_out.rows.numpy() if held_out is not None and kept else np.zeros(0, np.intp)
    if config.method == "oracle":
        assert config.target_labels is not None
        source = labelled(config, target, config.target_labels, skeleton, unseen)
    else:
        yield PhaseChanged("reading frames of the source")
        clips = load_clips(config.source, config.size, lambda: cancel.cancelled)
        if clips is None:
            yield JobCancelled(0)
            return
        source = labelled(config, clips, config.labels, skeleton, np.zeros(0, np.intp))
    if source.left_out:
        yield WarningRaised(
            "difficulty",
            f"{source.left_out} labels have no difficulty, since they lack joints or a score, and "
            "are left out.",
        )
    rows = np.setdiff1d(np.arange(len(target.names)), unseen)
    if not len(rows):
        raise FlexPoseError(
            f"{config.validation}: all {len(target.names)} frames of the target are held out, "
            "expected others to learn from.",
            "Hold out fewer, or set transductive.",
        )
    kinds: dict[str, type[LabelledTask]] = {"regda": RegDaTask, "udape": UdapeTask}
    task = kinds.get(config.method, LabelledTask)(
        config, skeleton, source, Domain(target, torch.from_numpy(rows)), held_out, device
    )
    if config.start is not None:
        start_from(task, config.start)
    schedule = Schedule(
        config.steps, config.preview_every, config.evaluate_every, config.checkpoint_every
    )
    yield from run_task(task, schedule, run, cancel)
