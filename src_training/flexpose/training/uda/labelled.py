"""Labelled frames drawn by difficulty, and learning from them alone: source-only and oracle."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer

from flexpose.calibration import Calibration
from flexpose.compute import generator_for
from flexpose.configs.uda import UdaConfig
from flexpose.difficulty import BinnedRows
from flexpose.errors import ConfigError, FlexPoseError
from flexpose.io.base import read_npz, read_poses
from flexpose.models.detector import Design
from flexpose.models.prior import with_prefix
from flexpose.poseset import PoseSet
from flexpose.skeleton import Skeleton
from flexpose.training.augment import mirrored_at_random, random_affine, tinted, warped
from flexpose.training.clips import Clips, Labels, load_labels
from flexpose.training.pose_vae import difficulty
from flexpose.training.reading import ReadingTask, drawn_rows

SLOW = 0.1
"""Of the learning rate, for what changes slowly: encoders that know pictures already."""

_FIGURE = "pck@.05"  # the published codes choose by that of the limbs


@dataclass(frozen=True)
class Domain:
    """What a training takes of some frames.

    Attributes
    ----------
    clips : their crops
    rows : int (n,), which crops are used
    keypoints : float32 (n, J, 2) unit space, NaN unknown; or None without labels
    binned : how they are drawn; all alike when None
    left_out : labels without a difficulty, which are not used
    """

    clips: Clips
    rows: Tensor
    keypoints: Tensor | None = None
    binned: BinnedRows | None = None
    left_out: int = 0

    def draw(self, count: int, progress: float, random: torch.Generator) -> Tensor:
        """Which of ``rows`` (count,), with replacement, at a share of the training."""
        return drawn_rows(len(self.rows), self.binned, count, progress, random)


def labelled(
    config: UdaConfig, clips: Clips, path: Path, skeleton: Skeleton, unseen: NDArray[np.intp]
) -> Domain:
    """Labels of clips, in bins of difficulty where the sampling wants it.

    Parameters
    ----------
    unseen : rows of the clips that teach nothing

    Raises
    ------
    FlexPoseError : no label is left; a frame has two people; or difficulty is wanted and not
        given, or of other poses.
    """
    one_a_frame(path)
    labels, poses = load_labels(path, clips, skeleton), read_poses(path)
    place = np.flatnonzero(clips.rows(poses.image_ids or ()) >= 0)  # in the file
    use = np.flatnonzero(~np.isin(labels.rows.numpy(), unseen))
    if not len(use):
        raise FlexPoseError(
            f"{path}: all {len(labels.rows)} labelled frames are held out, expected others to "
            "learn from.",
        )
    binned, count = None, len(use)
    if config.sampling != "uniform":
        scores = _scores(config, poses, path)[place[use]]
        use, scores = use[np.isfinite(scores)], scores[np.isfinite(scores)]
        binned = BinnedRows.of(scores, config.bins, config.sampling)
    which = torch.from_numpy(use)
    return Domain(clips, labels.rows[which], labels.keypoints[which], binned, count - len(use))


def one_a_frame(path: Path) -> None:
    """Refuse labels of several people in a frame, whose crop would be that of one of them.

    Raises
    ------
    FlexPoseError : there are such.
    """
    names = Counter(read_poses(path).image_ids or ())
    double = next((name for name, count in names.items() if count > 1), None)
    if double is not None:
        raise FlexPoseError(
            f"{path} labels {names[double]} people in {double}, expected one a frame.",
            "Keep one of them.",
        )


def _scores(config: UdaConfig, poses: PoseSet, path: Path) -> NDArray[np.float64]:
    """Difficulty (N,) of the poses of a file; NaN where there is none."""
    if config.vae is not None:
        return difficulty(config.vae, poses)
    assert config.scores is not None
    out = np.full(len(poses), np.nan)
    found = read_npz(config.scores, ("row", "score"))
    if len(found["row"]) and found["row"].max() >= len(poses):
        raise FlexPoseError(
            f"{config.scores} scores row {found['row'].max()}, but {path} has {len(poses)} poses.",
            "Give the scores of this file of labels.",
        )
    out[found["row"]] = found["score"]
    return out


class LabelledTask(ReadingTask):
    """A network that learns from labelled frames; what adapts goes on from here.

    Parameters
    ----------
    source : labelled
    target : where it shall read, for figures, previews, and methods that learn from it
    loss : that of the settings when None
    """

    name = "train-uda"

    def __init__(
        self,
        config: UdaConfig,
        skeleton: Skeleton,
        source: Domain,
        target: Domain,
        held_out: Labels | None,
        device: torch.device,
        *,
        loss: str | None = None,
        averaged: bool = False,
    ) -> None:
        own = config.network
        maps = loss or config.loss
        design = Design(config.size, config.width, own.backbone, own.head_layers, maps)
        super().__init__(
            config, design, own, skeleton, target.clips, held_out, device, averaged=averaged
        )
        self.config, self.source, self.target = config, source, target
        self.optimizers: dict[str, Optimizer] = {"labelled": self.new_optimizer()}
        self.main = "labelled"
        self._best: tuple[float, dict[str, Tensor], Calibration] | None = None

    def new_optimizer(self) -> Optimizer:
        return torch.optim.Adam(self.groups(self.config.lr))

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """The encoder, slower where it knows pictures already, and the rest."""
        parts, slow = self.parts(), lr * (SLOW if self.learned else 1)
        return [{"params": parts["encoder"], "lr": slow}, {"params": parts["rest"], "lr": lr}]

    @property
    def lr(self) -> float:
        """Of the optimiser that is ``main`` at present."""
        return float(self.optimizers[self.main].param_groups[-1]["lr"])

    # ------------------------------------------------------------ a step

    def step(self, step: int) -> Mapping[str, Tensor]:
        random = generator_for(self.config.seed, step)
        share = step / self.config.steps
        images, keypoints = self.labelled_batch(share, random)
        return {"labelled": self.learn(images, keypoints, share)}

    def labelled_batch(self, share: float, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Turned and tinted pictures (n, 3, s, s), and their keypoints (n, J, 2).

        ``share`` of the steps are over, by which CL opens its bins.
        """
        assert self.source.keypoints is not None
        drawn = self.source.draw(self.config.batch_size, share, random)
        images = self.source.clips.batch(self.source.rows[drawn]).to(self.device)
        keypoints = self.source.keypoints[drawn].to(self.device)
        if self.config.augment.mirror:
            flip = self.skeleton.flip_index
            images, keypoints = mirrored_at_random(images, keypoints, flip, random)
        images, keypoints = warped(images, keypoints, self.random_view(random))
        return tinted(images, random), keypoints

    def target_batch(self, random: torch.Generator) -> Tensor:
        """Plain pictures (n, 3, s, s) of the target."""
        drawn = self.target.draw(self.config.batch_size, 1.0, random)
        return self.target.clips.batch(self.target.rows[drawn]).to(self.device)

    def random_view(self, random: torch.Generator) -> Tensor:
        """Affine maps (batch, 2, 3) of unit space, as the settings allow."""
        own = self.config.augment
        turn, shear = math.radians(own.rotation_deg), math.radians(own.shear_deg)
        scales, count = (own.least_scale, own.most_scale), self.config.batch_size
        return random_affine(count, random, turn, shear, scales, own.shift).to(self.device)

    def learn(self, images: Tensor, keypoints: Tensor, share: float) -> Tensor:
        """A step on labelled pictures, at a share of the schedule; its loss."""
        loss = self.loss(self.net(images), keypoints)
        self.descend(loss, self.drop(share), "labelled")
        return loss.detach()

    def drop(self, share: float) -> float:
        """Factor of the learning rate at a share of its schedule."""
        return float(0.1 ** sum(share > drop for drop in self.config.lr_drops))

    def descend(self, loss: Tensor, factor: float, *names: str) -> None:
        """One step of the named optimisers, at a factor of their first learning rates.

        Whatever else the loss depends on keeps no gradient of it.
        """
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for name in names:
            for group in self.optimizers[name].param_groups:
                group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor
            self.optimizers[name].step()

    # ------------------------------------------------------------ which network is kept

    def evaluate(self) -> Mapping[str, float]:
        """As `ReadingTask`; with ``select: target-test`` the best teacher so far is put aside."""
        figures = super().evaluate()
        if self.config.select == "last":
            return figures
        if self._best is None or figures[_FIGURE] > self._best[0]:
            weights = {k: v.clone() for k, v in with_prefix("teacher.", self.teacher).items()}
            self._best = figures[_FIGURE], weights, self.calibration
        return {**figures, f"best {_FIGURE}": self._best[0]}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors, train_state = super().state()
        if self._best is not None:
            figure, weights, calibration = self._best
            train_state["running"] = with_prefix("teacher.", self.teacher)
            train_state["best"] = figure
            tensors |= {**weights, "calibration": torch.tensor(calibration)}
        return tensors, train_state

    def load_state(self, tensors: Mapping[str, Tensor], train_state: Mapping[str, Any]) -> None:
        super().load_state({**tensors, **train_state.get("running", {})}, train_state)
        if "best" in train_state:
            kept = {k: v for k, v in tensors.items() if k.startswith("teacher.")}
            best = {k: v.clone().to(self.device) for k, v in kept.items()}
            self._best = train_state["best"], best, self.calibration


def check(config: UdaConfig) -> None:
    """Refuse settings that do not go together.

    Raises
    ------
    ConfigError : one misses what it needs.
    """
    if config.method == "oracle" and config.target_labels is None:
        raise ConfigError(
            "The method oracle learns from labels of the target, and none are given.",
            "Name them as target_labels, or choose another method.",
        )
    if config.select == "target-test" and config.validation is None:
        raise ConfigError(
            "To select by the target's test, labels of it are needed, and none are given.",
            "Name them as validation, or choose select: last.",
        )
    given = [name for name in ("vae", "scores") if getattr(config, name) is not None]
    if config.sampling != "uniform" and len(given) != 1:
        raise ConfigError(
            f"The sampling {config.sampling} needs to know how hard poses are, from one of vae "
            f"and scores; found {' and '.join(given) or 'neither'}.",
            "Name a run of train-vae as vae, or choose sampling: uniform.",
        )
    before = {"regda": 0, "udape": config.udape.style_steps}.get(config.method)
    if before is not None and before + config.pretrain_steps >= config.steps:
        raise ConfigError(
            f"Found {before + config.pretrain_steps} steps before adaptation of {config.steps} "
            "in all: none is left to adapt.",
            "Raise steps, or lower pretrain_steps" + (" or udape.style_steps." if before else "."),
        )
