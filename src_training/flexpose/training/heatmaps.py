"""The practical detector: a dozen labelled frames, puppets of them, and a teacher for the rest.

Supervised by the shots and by puppets (`flexpose.rendering.puppet`), which show the shots' people
in adapted poses. Frames without labels are taught by the network's own moving average: what it
finds in the plain frame must be found in a turned, scaled and tinted copy (mean teacher,
Tarvainen 2017, whose consistency is here equivariance under known similarities).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from flexpose.calibration import Calibration
from flexpose.checkpoint import CheckpointMeta
from flexpose.compute import generator_for
from flexpose.configs.detector import DetectorConfig
from flexpose.errors import CheckpointError
from flexpose.geometry import unit_to_canvas
from flexpose.models.detector import UNCALIBRATED
from flexpose.models.heatmaps import Reading, heatmap_loss, initialised, new_network, read_both_ways
from flexpose.models.prior import load_weights, with_prefix
from flexpose.rendering.raster import draw_overlay
from flexpose.skeleton import Skeleton
from flexpose.training.augment import varied
from flexpose.training.clips import Clips, Labels, measured, signed
from flexpose.training.loop import Preview
from flexpose.training.puppets import Puppets

_INIT = 1 << 40  # a random stream beside the steps
_WARM = 0.1  # of the steps, in which the learning rate rises
_DECAY = 1e-3
_LEARNED_RATE = 0.2  # of the learning rate, for an encoder that knows pictures already
_CLIP_NORM = 1.0
_SHOWN = 192  # pixels of a preview's side; small crops are enlarged about to it


class HeatmapTask:
    """One network, its moving average, and what they learn from.

    Parameters
    ----------
    shots : labelled crops
    puppets : pictures of their people in other poses
    held_out : the same of other frames, or None
    """

    name = "train-detector"

    def __init__(
        self,
        config: DetectorConfig,
        skeleton: Skeleton,
        clips: Clips,
        shots: Labels,
        puppets: Puppets,
        held_out: Labels | None,
        device: torch.device,
    ) -> None:
        self.config, self.skeleton, self.clips, self.device = config, skeleton, clips, device
        self.shots, self.held_out = shots, held_out
        own = config.heatmaps
        self.net = new_network(
            skeleton.num_joints, config.width, own.backbone, own.backbone_weights
        )
        learned = own.backbone != "none"
        random = generator_for(config.seed, _INIT)
        for name, part in self.net.named_children():
            if not (learned and name == "encoder"):
                initialised(part, random)
        self.net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.teacher = copy.deepcopy(self.net).requires_grad_(False)
        # what ImageNet taught is changed more slowly than what begins at random
        self._rates = {"encoder": own.lr * (_LEARNED_RATE if learned else 1), "rest": own.lr}
        inside = set(self.net.encoder.parameters())
        groups = {
            "encoder": list(self.net.encoder.parameters()),
            "rest": [p for p in self.net.parameters() if p not in inside],
        }
        self.optimizer = torch.optim.AdamW(
            [{"params": groups[name], "lr": rate} for name, rate in self._rates.items()],
            weight_decay=_DECAY,
        )
        self.puppets = puppets
        self.calibration = UNCALIBRATED

    @property
    def lr(self) -> float:
        return float(self.optimizer.param_groups[-1]["lr"])

    # ------------------------------------------------------------ a step

    def step(self, step: int) -> Mapping[str, Tensor]:
        config, random = self.config.heatmaps, generator_for(self.config.seed, step)
        share = _cycle(step / self.config.steps)
        for group, rate in zip(self.optimizer.param_groups, self._rates.values(), strict=True):
            group["lr"] = rate * share
        images, keypoints = self._labelled(random)
        images, keypoints = varied(images, keypoints, self.skeleton.flip_index, random)
        certain = torch.ones(keypoints.shape[:2], device=self.device)
        taught = config.unlabelled_weight > 0 and step > config.unlabelled_from * self.config.steps
        count = len(images)
        if taught:
            frames, points, mass = self._taught(random)
            frames, points = varied(frames, points, self.skeleton.flip_index, random)
            images, keypoints = torch.cat([images, frames]), torch.cat([keypoints, points])
            certain = torch.cat([certain, mass * (mass >= config.least_mass)])
        scores = self.net(images)
        loss = heatmap_loss(scores[:count], keypoints[:count], certain[:count])
        losses = {"labelled": loss.detach()}
        if taught:
            unlabelled = heatmap_loss(scores[count:], keypoints[count:], certain[count:])
            # as many as are sure count, so that a bad teacher teaches little
            sure = (certain[count:] > 0).float().mean()
            loss = loss + config.unlabelled_weight * sure * unlabelled
            losses |= {"unlabelled": unlabelled.detach(), "sure": sure}
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), _CLIP_NORM)
        self.optimizer.step()
        self._average(step)
        return losses

    def _labelled(self, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Puppets and shots of a batch, (n, 3, s, s) and (n, J, 2)."""
        count = self.config.batch_size
        share = self.config.heatmaps.puppet_share if len(self.puppets.images) else 0
        posed = round(count * share)
        at = torch.randint(len(self.shots.rows), (count - posed,), generator=random)
        images, keypoints = self.clips.batch(self.shots.rows[at]), self.shots.keypoints[at]
        if posed:
            which = torch.randint(len(self.puppets.images), (posed,), generator=random)
            images = torch.cat([images, signed(self.puppets.images[which])])
            keypoints = torch.cat([keypoints, self.puppets.keypoints[which]])
        return images.to(self.device), keypoints.to(self.device)

    @torch.no_grad()
    def _taught(self, random: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Frames, and what the moving average finds in them and how surely."""
        count = max(self.config.batch_size // 2, 1)
        rows = torch.randint(len(self.clips.names), (count,), generator=random)
        images = self.clips.batch(rows).to(self.device)
        return (images, *self._read(images))

    @torch.no_grad()
    def _average(self, step: int) -> None:
        """Follow the weights slowly, from the first steps on faster; batch statistics at once."""
        keep = min(self.config.heatmaps.ema, step / (step + 10))
        for kept, now in zip(self.teacher.parameters(), self.net.parameters(), strict=True):
            kept.lerp_(now, 1 - keep)
        for own, new in zip(self.teacher.buffers(), self.net.buffers(), strict=True):
            own.copy_(new)

    # ------------------------------------------------------------ what comes of it

    def _read(self, images: Tensor) -> Reading:
        self.teacher.eval()
        return read_both_ways(self.teacher, images, self.skeleton.flip_index)

    @torch.no_grad()
    def read(self, rows: Tensor) -> Reading:
        """Keypoints (n, J, 2) of crops and their certainty (n, J)."""
        parts = [self._read(self.clips.batch(part).to(self.device)) for part in rows.split(64)]
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
        size = self.config.size
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
        return tensors, {"optimizer": self.optimizer.state_dict()}

    def load_state(self, tensors: Mapping[str, Tensor], train_state: Mapping[str, Any]) -> None:
        load_weights(self.net, tensors, "net.", "checkpoint")
        load_weights(self.teacher, tensors, "teacher.", "checkpoint")
        self.calibration = Calibration(*tensors["calibration"].tolist())
        if "optimizer" not in train_state:
            raise CheckpointError("The checkpoint holds no optimiser state to go on from.")
        self.optimizer.load_state_dict(train_state["optimizer"])

    def meta(self) -> CheckpointMeta:
        return CheckpointMeta(
            kind="detector",
            skeleton=self.skeleton.to_dict(),
            style={},
            config=self.config.model_dump(mode="json"),
            licence="as the frames and poses that it learned from",
        )


def _cycle(share: float) -> float:
    """Share of the highest learning rate at a share of the steps: up, then down like a cosine."""
    if share < _WARM:
        return share / _WARM
    return 0.5 + 0.5 * math.cos(math.pi * (share - _WARM) / (1 - _WARM)) + 1e-4
