"""Jobs ``train-vae`` and ``score``: what is usual among poses, and which are not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flexpose.checkpoint import CheckpointMeta
from flexpose.compute import generator_for, prepare, resolve_device
from flexpose.configs.difficulty import ScoreConfig, VaeConfig
from flexpose.difficulty import quantile_bins
from flexpose.errors import CheckpointError, FlexPoseError
from flexpose.evaluation.difficulty import report
from flexpose.events import JobEvent, JobFinished, JobStarted, PhaseChanged, WarningRaised
from flexpose.geometry import normalised, unit_to_canvas
from flexpose.io.base import atomic_open, read_poses
from flexpose.jobs import CancelToken
from flexpose.mapping import map_poses
from flexpose.models.pose_vae import PoseVae, divergence, load_vae, reconstruction
from flexpose.models.prior import load_weights, with_prefix
from flexpose.poseset import PoseSet
from flexpose.rendering.soft import Renderer
from flexpose.rendering.style import DrawingStyle
from flexpose.runs import RunDir
from flexpose.training.data import SourcePoses, load_source
from flexpose.training.loop import Preview, Schedule, run_task
from flexpose.training.pictures import to_uint8

_INIT = 1 << 40  # random stream beside the steps
_CHUNK = 4096


def run(config: VaeConfig, run: RunDir, cancel: CancelToken) -> Iterator[JobEvent]:
    """Job ``train-vae``."""
    device = resolve_device(config.device)
    prepare(device, config.threads)
    yield PhaseChanged("reading poses")
    source = load_source(config.source)
    held_out = load_source(config.source, config.validation) if config.validation else source
    schedule = Schedule(
        config.steps, config.preview_every, config.evaluate_every, config.checkpoint_every
    )
    yield from run_task(VaeTask(config, source, held_out, device), schedule, run, cancel)


class VaeTask:
    """The autoencoder, its optimiser and its poses."""

    name = "train-vae"

    def __init__(
        self, config: VaeConfig, source: SourcePoses, held_out: SourcePoses, device: torch.device
    ) -> None:
        self.config, self.source, self.held_out, self.device = config, source, held_out, device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(generator_for(config.seed, _INIT).initial_seed())
            model = PoseVae(source.skeleton.num_joints, config.width, config.latent)
        self.model = model.to(device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), config.lr)
        self.style = DrawingStyle.for_size(64)

    @property
    def lr(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def step(self, step: int) -> Mapping[str, Tensor]:
        config, random = self.config, generator_for(self.config.seed, step)
        for group in self.optimizer.param_groups:
            group["lr"] = config.lr * max(0.01, (1 + math.cos(math.pi * step / config.steps)) / 2)
        rows = torch.randint(len(self.source.keypoints), (config.batch_size,), generator=random)
        poses = self.source.keypoints[rows].to(self.device)
        mean, log_variance = self.model.code(poses)
        noise = torch.randn(mean.shape, generator=random).to(self.device)
        again = self.model.decode(mean + noise * (log_variance / 2).exp())
        losses = {
            "distance": reconstruction(again, poses).mean(),
            "divergence": divergence(mean, log_variance).mean(),
        }
        loss = losses["distance"] + config.kl_weight * losses["divergence"]
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return {name: value.detach() for name, value in losses.items()}

    def evaluate(self) -> Mapping[str, float]:
        """Mean score, and the score that one pose of twenty exceeds."""
        scores = scored(self.model, self.held_out.keypoints, self.device)
        return {"score": float(scores.mean()), "score_95": float(scores.quantile(0.95))}

    @torch.no_grad()
    def preview(self) -> Preview:
        """Eight poses above what comes back of them."""
        poses = self.held_out.keypoints[:8].to(self.device)
        again = self.model.decode(self.model.code(poses)[0])
        both = torch.cat([poses, again])
        render = Renderer(self.source.skeleton, self.style, self.device)
        canvas = unit_to_canvas(both.cpu().numpy(), self.style.size)
        return Preview(to_uint8(render(both)), canvas)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return with_prefix("vae.", self.model), {"optimizer": self.optimizer.state_dict()}

    def load_state(self, tensors: Mapping[str, Tensor], train_state: Mapping[str, Any]) -> None:
        load_weights(self.model, tensors, "vae.", "checkpoint")
        if "optimizer" not in train_state:
            raise CheckpointError("The checkpoint holds no optimiser state to go on from.")
        self.optimizer.load_state_dict(train_state["optimizer"])

    def meta(self) -> CheckpointMeta:
        return CheckpointMeta(
            kind="pose-vae",
            skeleton=self.source.skeleton.to_dict(),
            style=self.style.to_dict(),
            config=self.config.model_dump(mode="json"),
            notes=self.source.notes,
            licence="as the poses that it learned from",
        )


def scored(model: PoseVae, poses: Tensor, device: torch.device) -> Tensor:
    """Scores (n,) of poses (n, J, 2), on the CPU."""
    return torch.cat([model.score(part.to(device)).cpu() for part in poses.split(_CHUNK)])


def difficulty(path: Path, poses: PoseSet) -> NDArray[np.float64]:
    """How hard the Pose VAE of a run finds poses, (N,); NaN where a joint that it knows is missing.

    Raises
    ------
    UnknownNameError, CheckpointError : it is not there, or no Pose VAE.
    """
    model, skeleton = load_vae(path)
    mapped = map_poses(poses, skeleton)
    unit = torch.from_numpy(normalised(mapped.keypoints[mapped.complete]))
    out = np.full(len(poses), np.nan)
    out[mapped.complete] = scored(model, unit, torch.device("cpu")).numpy()
    return out


def score(config: ScoreConfig, run: RunDir, cancel: CancelToken) -> Iterator[JobEvent]:
    """Job ``score``: ``scores.npz`` with score, bin and row of each pose; figures and a report.

    Raises
    ------
    FlexPoseError : there are fewer complete poses than bins.
    """
    device = resolve_device(config.device)
    prepare(device, config.threads)
    yield JobStarted("score", None, run.path)
    model, skeleton = load_vae(config.model, device)
    yield PhaseChanged("reading poses")
    poses = map_poses(read_poses(config.poses), skeleton)
    rows = np.flatnonzero(poses.complete)
    if len(rows) < config.bins:
        raise FlexPoseError(
            f"{config.poses}: {len(rows)} of {len(poses)} poses are complete, expected at least "
            f"{config.bins}, one a bin."
        )
    if len(rows) < len(poses):
        left = len(poses) - len(rows)
        yield WarningRaised("poses", f"{left} of {len(poses)} poses lack joints and are left out.")
    keypoints = normalised(poses.keypoints[rows])
    scores = scored(model, torch.from_numpy(keypoints), device).numpy()
    bins = quantile_bins(scores, config.bins)
    with atomic_open(run.path / "scores.npz") as file:
        np.savez(file, row=rows, score=scores, bin=bins)
    yield PhaseChanged("drawing bins")
    report(keypoints, scores, bins, skeleton, run.path, np.random.default_rng(config.seed))
    yield JobFinished(run.path / "report.md")
