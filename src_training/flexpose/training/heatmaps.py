"""The practical detector: a dozen labelled frames, puppets of them, and a teacher for the rest.

Supervised by the shots and by puppets (`flexpose.rendering.puppet`), which show the shots' people
in adapted poses. Frames without labels are taught by the network's own moving average: what it
finds in the plain frame must be found in a turned, scaled and tinted copy (mean teacher,
Tarvainen 2017, whose consistency is here equivariance under known similarities).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from flexpose.compute import generator_for
from flexpose.configs.detector import DetectorConfig
from flexpose.models.detector import Design
from flexpose.skeleton import Skeleton
from flexpose.training.augment import varied
from flexpose.training.clips import Clips, Labels, signed
from flexpose.training.puppets import Puppets
from flexpose.training.reading import ReadingTask, drawn_rows

_WARM = 0.1  # of the steps, in which the learning rate rises
_DECAY = 1e-3
_LEARNED_RATE = 0.2  # of the learning rate, for an encoder that knows pictures already
_CLIP_NORM = 1.0


class HeatmapTask(ReadingTask):
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
        own = config.heatmaps
        design = Design.of(config.model_dump())
        super().__init__(config, design, own, skeleton, clips, held_out, device, averaged=True)
        self.config, self.shots, self.puppets = config, shots, puppets
        # what ImageNet taught is changed more slowly than what begins at random
        self._rates = {"encoder": own.lr * (_LEARNED_RATE if own.learned else 1), "rest": own.lr}
        groups = self.parts()
        optimizer = torch.optim.AdamW(
            [{"params": groups[name], "lr": rate} for name, rate in self._rates.items()],
            weight_decay=_DECAY,
        )
        self.optimizer, self.optimizers = optimizer, {"optimizer": optimizer}

    # ------------------------------------------------------------ a step

    def step(self, step: int) -> Mapping[str, Tensor]:
        config, random = self.config.heatmaps, generator_for(self.config.seed, step)
        share = _cycle(step / self.config.steps)
        for group, rate in zip(self.optimizer.param_groups, self._rates.values(), strict=True):
            group["lr"] = rate * share
        images, keypoints = self._labelled(step / self.config.steps, random)
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
        loss = self.loss(scores[:count], keypoints[:count], certain[:count])
        losses = {"labelled": loss.detach()}
        if taught:
            unlabelled = self.loss(scores[count:], keypoints[count:], certain[count:])
            # as many as are sure count, so that a bad teacher teaches little
            sure = (certain[count:] > 0).float().mean()
            loss = loss + config.unlabelled_weight * sure * unlabelled
            losses |= {"unlabelled": unlabelled.detach(), "sure": sure}
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), _CLIP_NORM)
        self.optimizer.step()
        # slowly, from the first steps on faster
        self.follow(min(config.ema, step / (step + 10)))
        return losses

    def _labelled(self, progress: float, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Puppets and shots of a batch, (n, 3, s, s) and (n, J, 2)."""
        count = self.config.batch_size
        share = self.config.heatmaps.puppet_share if len(self.puppets.images) else 0
        posed = round(count * share)
        at = torch.randint(len(self.shots.rows), (count - posed,), generator=random)
        images, keypoints = self.clips.batch(self.shots.rows[at]), self.shots.keypoints[at]
        if posed:
            number, binned = len(self.puppets.images), self.puppets.binned
            which = drawn_rows(number, binned, posed, progress, random)
            images = torch.cat([images, signed(self.puppets.images[which])])
            keypoints = torch.cat([keypoints, self.puppets.keypoints[which]])
        return images.to(self.device), keypoints.to(self.device)

    @torch.no_grad()
    def _taught(self, random: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Frames, and what the moving average finds in them and how surely."""
        count = max(self.config.batch_size // 2, 1)
        rows = torch.randint(len(self.clips.names), (count,), generator=random)
        images = self.clips.batch(rows).to(self.device)
        return (images, *self.read_images(images))

    def described(self) -> dict[str, Any]:
        return self.config.model_dump(mode="json")


def _cycle(share: float) -> float:
    """Share of the highest learning rate at a share of the steps: up, then down like a cosine."""
    if share < _WARM:
        return share / _WARM
    return 0.5 + 0.5 * math.cos(math.pi * (share - _WARM) / (1 - _WARM)) + 1e-4
