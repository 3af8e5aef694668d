"""What all trainings of detectors by maps share: networks, figures, previews and checkpoints."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from flexpose.calibration import Calibration
from flexpose.checkpoint import CheckpointMeta
from flexpose.compute import generator_for
from flexpose.configs.base import JobConfig
from flexpose.configs.detector import NetworkConfig
from flexpose.difficulty import BinnedRows
from flexpose.errors import CheckpointError
from flexpose.geometry import unit_to_canvas
from flexpose.models.detector import UNCALIBRATED, Design
from flexpose.models.heatmaps import begin, map_loss, read_both_ways
from flexpose.models.maps import Reading
from flexpose.models.prior import load_weights, with_prefix
from flexpose.rendering.raster import draw_overlay
from flexpose.skeleton import Skeleton
from flexpose.training.clips import Clips, Labels, measured
from flexpose.training.loop import Preview

_INIT = 1 << 40  # a random stream beside the steps
_SHOWN = 192  # pixels of a preview's side; small crops are enlarged about to it


def drawn_rows(
    number: int, binned: BinnedRows | None, count: int, progress: float, random: torch.Generator
) -> Tensor:
    """Which of so many rows, int (count,), with replacement; all alike where they have no bins.

    Parameters
    ----------
    progress : share of the training, 0 to 1
    """
    if binned is None:
        return torch.randint(number, (count,), generator=random)
    seed = int(torch.randint(1 << 62, (1,), generator=random))
    return torch.from_numpy(binned.draw(count, progress, np.random.default_rng(seed)))


class ReadingTask:
    """All of a `TrainTask` but the step: a subclass adds ``optimizers`` and `step`.

    Parameters
    ----------
    design, network : how the network is made, and what its encoder begins with
    clips : what figures and previews are made of
    held_out : labelled crops of them for figures, or None
    averaged : the ``teacher``, which predicts, is a copy of its own that follows the network;
        otherwise it is the network itself
    """

    name: str
    optimizers: dict[str, Optimizer]

    def __init__(
        self,
        config: JobConfig,
        design: Design,
        network: NetworkConfig,
        skeleton: Skeleton,
        clips: Clips,
        held_out: Labels | None,
        device: torch.device,
        *,
        averaged: bool,
    ) -> None:
        self.design, self.skeleton, self.device = design, skeleton, device
        self.clips, self.held_out = clips, held_out
        self._config, self.learned = config, network.learned
        self.net = design.network(skeleton.num_joints, network.backbone_weights)
        begin(self.net, generator_for(config.seed, _INIT), network.learned)
        self.net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.teacher = copy.deepcopy(self.net).requires_grad_(False) if averaged else self.net
        self.calibration = UNCALIBRATED

    @property
    def lr(self) -> float:
        first = next(iter(self.optimizers.values()))
        return float(first.param_groups[-1]["lr"])

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Parameters of the encoder, and the rest."""
        encoder = list(self.net.encoder.parameters())
        inside = set(encoder)
        return {
            "encoder": encoder,
            "rest": [p for p in self.net.parameters() if p not in inside],
        }

    def loss(self, maps: Tensor, keypoints: Tensor, weights: Tensor | None = None) -> Tensor:
        """The design's loss of maps (n, J, h, w); all joints count alike without weights (n, J)."""
        if weights is None:
            weights = torch.ones(keypoints.shape[:2], device=keypoints.device)
        return map_loss(self.design.loss, maps, keypoints, weights, self.net.stride)

    @torch.no_grad()
    def follow(self, keep: float, statistics: Literal["copy", "average", "own"] = "copy") -> None:
        """Move the teacher's weights towards the network's, keeping a share of what they were.

        Its batch statistics are copied, averaged likewise, or left as its ``own``.
        """
        for kept, now in zip(self.teacher.parameters(), self.net.parameters(), strict=True):
            kept.lerp_(now, 1 - keep)
        if statistics == "own":
            return
        for own, new in zip(self.teacher.buffers(), self.net.buffers(), strict=True):
            if statistics == "average" and own.is_floating_point():
                own.lerp_(new, 1 - keep)
            else:
                own.copy_(new)

    # ------------------------------------------------------------ what comes of it

    def read_images(self, images: Tensor) -> Reading:
        """What the teacher finds in crops (n, 3, s, s)."""
        training = self.teacher.training
        self.teacher.eval()
        flip, peaked = self.skeleton.flip_index, self.design.peaked
        found = read_both_ways(self.teacher, images, flip, peaked)
        self.teacher.train(training)
        return found

    @torch.no_grad()
    def read(self, rows: Tensor) -> Reading:
        """Keypoints (n, J, 2) of crops and their certainty (n, J)."""
        batches = (self.clips.batch(part).to(self.device) for part in rows.split(64))
        parts = [self.read_images(images) for images in batches]
        return Reading(*(torch.cat(part).cpu() for part in zip(*parts, strict=True)))

    def evaluate(self) -> Mapping[str, float]:
        """As `measured` says, which also calibrates; empty without held-out labels."""
        if self.held_out is None:
            return {}
        self.calibration, figures = measured(self.read, self.clips, self.held_out, UNCALIBRATED)
        return figures

    def preview(self) -> Preview:
        """What the teacher finds in eight frames, spread over all clips."""
        rows = torch.from_numpy(
            np.linspace(0, len(self.clips.names) - 1, 8).round().astype(np.int64)
        )
        found = self.read(rows).keypoints.numpy()
        size = self.design.size
        canvas = unit_to_canvas(found, size)
        pictures = self.clips.images[rows].permute(0, 2, 3, 1).numpy()
        enlarge = max(1, _SHOWN // size)
        drawn = [
            draw_overlay(
                picture.repeat(enlarge, 0).repeat(enlarge, 1),
                points * enlarge + (enlarge - 1) / 2,
                self.skeleton,
            )
            for picture, points in zip(pictures, canvas, strict=True)
        ]
        return Preview(np.stack(drawn), canvas * enlarge + (enlarge - 1) / 2)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = with_prefix("net.", self.net) | with_prefix("teacher.", self.teacher)
        tensors["calibration"] = torch.tensor(self.calibration)
        return tensors, {name: o.state_dict() for name, o in self.optimizers.items()}

    def load_state(self, tensors: Mapping[str, Tensor], train_state: Mapping[str, Any]) -> None:
        load_weights(self.net, tensors, "net.", "checkpoint")
        if self.teacher is not self.net:
            load_weights(self.teacher, tensors, "teacher.", "checkpoint")
        self.calibration = Calibration(*tensors["calibration"].tolist())
        if not self.optimizers.keys() <= train_state.keys():
            raise CheckpointError("The checkpoint holds no optimiser state to go on from.")
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(train_state[name])

    def described(self) -> dict[str, Any]:
        """What the checkpoint says of its making; `Design.of` reads it."""
        training = {"command": self.name, **self._config.model_dump(mode="json")}
        return {**self.design.to_config(), "training": training}

    def meta(self) -> CheckpointMeta:
        return CheckpointMeta(
            kind="detector",
            skeleton=self.skeleton.to_dict(),
            style={},
            config=self.described(),
            licence="as the frames and poses that it learned from",
        )
