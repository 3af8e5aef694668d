"""KeypointGAN: a detector learns from frames, and from poses that belong to none of them.

Phi draws the skeleton of a photograph, the reader finds its joints, alpha draws them again, and Psi
gives the photograph back from this drawing and another frame of the clip; a discriminator tells
Phi's drawings from those of poses (Jakab 2020; numbers of tomasjakab/keypointgan@541b769). Ours:
the term of the labelled shots, coloured bones, and the moving average of Phi.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flexpose.calibration import Calibration
from flexpose.checkpoint import CheckpointMeta
from flexpose.compute import generator_for
from flexpose.configs.detector import DetectorConfig
from flexpose.errors import CheckpointError
from flexpose.geometry import unit_to_canvas
from flexpose.models.detector import UNCALIBRATED, paint_and_read
from flexpose.models.features import NormalisedDistance, feature_extractor
from flexpose.models.keypoint_gan import (
    Reconstructor,
    SkeletonPainter,
    SkeletonReader,
    TrainedReader,
)
from flexpose.models.maps import Reading
from flexpose.models.patches import PatchDiscriminator, initialised, lsgan
from flexpose.models.prior import load_fitting_regressor, load_weights, with_prefix
from flexpose.rendering.soft import Renderer
from flexpose.rendering.style import DrawingStyle
from flexpose.skeleton import Skeleton
from flexpose.training.augment import moved, tinted
from flexpose.training.clips import Clips, Labels, measured, placed, placements
from flexpose.training.loop import Preview
from flexpose.training.pictures import to_uint8
from flexpose.training.pool import ImagePool

_INIT = 1 << 40  # a random stream beside the steps
_CLIP_NORM = 1.0
_LOOKS = 4  # steps between batches that the average of Phi sees, a fiftieth of the time
_DRAWN_WEIGHT = 0.1  # of the reader's second loss; its first has the rest


class KeypointGanTask:
    """The four networks, their optimisers, and what they learn from.

    Parameters
    ----------
    unpaired : float32 (P, J, 2), box-normalised
    shots, held_out : labelled crops, or None
    """

    name = "train-detector"

    def __init__(
        self,
        config: DetectorConfig,
        skeleton: Skeleton,
        clips: Clips,
        unpaired: Tensor,
        shots: Labels | None,
        held_out: Labels | None,
        device: torch.device,
    ) -> None:
        self.config, self.skeleton, self.clips, self.device = config, skeleton, clips, device
        self.unpaired, self.shots, self.held_out = unpaired, shots, held_out
        self.style = DrawingStyle.for_size(config.size, config.gan.channels)
        self.render = Renderer(skeleton, self.style, device)
        self.places = placements(shots) if shots is not None else torch.zeros(0, 3)
        random = generator_for(config.seed, _INIT)
        scales = config.size.bit_length() - 5  # down to 32 px, at which the judge still sees 2 x 2
        self.nets = nn.ModuleDict(
            {
                name: initialised(network, random)
                for name, network in (
                    ("painter", SkeletonPainter(config.gan.channels, config.width)),
                    ("reconstructor", Reconstructor(config.gan.channels, config.width)),
                    ("judge", PatchDiscriminator(config.gan.channels, 2 * config.width, scales)),
                )
            }
        )
        self.nets["reader"] = self._new_reader(random)
        self.nets.to(device)
        self.alone = 0 if config.gan.reader else config.gan.reader_steps
        self.painter_ema = copy.deepcopy(self.nets["painter"]).eval().requires_grad_(False)
        self.optimizers = {
            name: torch.optim.Adam(
                [p for part in parts for p in self.nets[part].parameters()],
                config.gan.lr,
                (0.5, 0.999),
            )
            for name, parts in (
                ("drawing", ("painter", "reconstructor")),
                ("reader", ("reader",)),
                ("judge", ("judge",)),
            )
        }
        self.perceptual = NormalisedDistance()
        self.gamma = feature_extractor(
            config.gan.features, None, config.gan.feature_weights, device
        )
        self.pool = ImagePool()
        self.calibration = UNCALIBRATED

    @property
    def lr(self) -> float:
        return self.config.gan.lr

    def _new_reader(self, random: torch.Generator) -> nn.Module:
        config = self.config
        joints, channels = self.skeleton.num_joints, config.gan.channels
        if config.gan.reader is None:
            return initialised(SkeletonReader(joints, channels, config.width), random)
        trained = load_fitting_regressor(config.gan.reader, self.skeleton, self.style, "cpu")
        reader = TrainedReader(joints, channels, trained.score.in_channels)
        reader.regressor.load_state_dict(trained.state_dict())
        return reader

    # ------------------------------------------------------------ a step

    def step(self, step: int) -> Mapping[str, Tensor]:
        random = generator_for(self.config.seed, step)
        if step <= self.alone:
            return self._reader_alone(random)
        rows = torch.randint(len(self.clips.names), (self.config.batch_size,), generator=random)
        images = self._images(rows)
        others = self._images(self.clips.neighbours(rows, random))
        poses = self._poses(random)
        losses, drawn = self._draw(images, others, random)
        losses |= self._judge(self.render(poses), drawn, random)
        losses |= self._read(poses, drawn)
        self._average(step - self.alone, images)
        return losses

    def _reader_alone(self, random: torch.Generator) -> dict[str, Tensor]:
        for group in self.optimizers["reader"].param_groups:
            group["lr"] = self.config.gan.reader_lr
        poses = self._poses(random)
        loss = F.mse_loss(self.nets["reader"](self.render(poses)), poses)
        self._descend("reader", loss)
        return {"reader": loss.detach()}

    def _draw(
        self, images: Tensor, others: Tensor, random: torch.Generator
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Phi and Psi: looks like a skeleton, gives the frame again, and fits the shots."""
        config, nets = self.config, self.nets
        drawn = nets["painter"](images)
        nets["judge"].requires_grad_(False)
        nets["reader"].requires_grad_(False)
        losses = {"skeleton": lsgan(nets["judge"](drawn), 1.0)}
        total = config.gan.adversarial_weight * losses["skeleton"]
        if config.gan.perceptual_weight:
            redrawn = self.render(nets["reader"](drawn))
            again = nets["reconstructor"](redrawn, others)
            losses["frame"] = self.perceptual(self.gamma(again), self.gamma(images))
            total = total + config.gan.perceptual_weight * losses["frame"]
        if self.shots is not None and config.gan.supervised_weight:
            losses["shots"] = self._shots_loss(random)
            total = total + config.gan.supervised_weight * losses["shots"]
        self._descend("drawing", total)
        nets["judge"].requires_grad_(True)
        nets["reader"].requires_grad_(True)
        return {name: loss.detach() for name, loss in losses.items()}, drawn.detach()

    def _shots_loss(self, random: torch.Generator) -> Tensor:
        """Phi's drawing of labelled frames, moved, turned and tinted, against alpha's."""
        assert self.shots is not None
        count = min(self.config.batch_size, 8)
        at = torch.randint(len(self.shots.rows), (count,), generator=random)
        images, keypoints = moved(
            self._images(self.shots.rows[at]), self.shots.keypoints[at].to(self.device), random
        )
        return F.mse_loss(self.nets["painter"](tinted(images, random)), self.render(keypoints))

    def _judge(self, real: Tensor, drawn: Tensor, random: torch.Generator) -> dict[str, Tensor]:
        judge = self.nets["judge"]
        loss = (lsgan(judge(real), 1.0) + lsgan(judge(self.pool.swapped(drawn, random)), 0.0)) / 2
        self._descend("judge", loss)
        return {"judge": loss.detach()}

    def _read(self, poses: Tensor, drawn: Tensor) -> dict[str, Tensor]:
        for group in self.optimizers["reader"].param_groups:
            group["lr"] = self.config.gan.lr
        reader = self.nets["reader"]
        exact = F.mse_loss(reader(self.render(poses)), poses)
        again = F.mse_loss(self.render(reader(drawn)), drawn)
        loss = (1 - _DRAWN_WEIGHT) * exact + _DRAWN_WEIGHT * again
        self._descend("reader", loss)
        return {"reader": loss.detach()}

    def _descend(self, name: str, loss: Tensor) -> None:
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for group in optimizer.param_groups:
            nn.utils.clip_grad_norm_(group["params"], _CLIP_NORM)
        optimizer.step()

    @torch.no_grad()
    def _average(self, step: int, images: Tensor) -> None:
        """Follow Phi's weights slowly, in its first steps faster.

        The average sees frames itself, for batch statistics that fit it: under those of Phi's own
        weights its drawings lose limbs.
        """
        keep = min(self.config.gan.ema, step / (step + 10))
        for kept, now in zip(
            self.painter_ema.parameters(), self.nets["painter"].parameters(), strict=True
        ):
            kept.lerp_(now, 1 - keep)
        if step % _LOOKS == 0:
            self.painter_ema.train()(images)
            self.painter_ema.eval()

    # ------------------------------------------------------------ what a step sees

    def _images(self, rows: Tensor) -> Tensor:
        return self.clips.batch(rows).to(self.device)

    def _poses(self, random: torch.Generator) -> Tensor:
        """Unpaired poses (batch, J, 2), standing in the crop as the shots do."""
        count = self.config.batch_size
        poses = self.unpaired[torch.randint(len(self.unpaired), (count,), generator=random)]
        if len(self.places):
            at = torch.randint(len(self.places), (count,), generator=random)
            poses = placed(poses, self.places[at])
        return poses.to(self.device)

    # ------------------------------------------------------------ what comes of it

    def read(self, rows: Tensor) -> Reading:
        """Keypoints (n, J, 2) of crops and their certainty (n, J)."""
        reader = self.nets["reader"].eval()
        read = partial(paint_and_read, self.painter_ema, reader, self.render)
        parts = [read(self._images(part)) for part in rows.split(64)]
        reader.train()
        return Reading(*(torch.cat(part).cpu() for part in zip(*parts, strict=True)))

    def evaluate(self) -> Mapping[str, float]:
        """As `measured` says, which also calibrates; empty without held-out labels."""
        if self.held_out is None:
            return {}
        self.calibration, figures = measured(self.read, self.clips, self.held_out, UNCALIBRATED)
        return figures

    @torch.no_grad()
    def preview(self) -> Preview:
        """Eight frames above their drawings above what the reader finds in these."""
        rows = torch.from_numpy(
            np.linspace(0, len(self.clips.names) - 1, 8).round().astype(np.int64)
        )
        images = self._images(rows)
        drawn = self.painter_ema(images)
        read = self.read(rows).keypoints
        redrawn = self.render(read.to(self.device))
        pictures = [to_uint8(part) for part in (images, drawn, redrawn)]
        canvas = unit_to_canvas(read.numpy(), self.config.size)
        return Preview(np.concatenate(pictures), np.concatenate([canvas] * 3))

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = with_prefix("", self.nets) | with_prefix("painter_ema.", self.painter_ema)
        tensors["calibration"] = torch.tensor(self.calibration)
        return tensors, {
            "optimizers": {name: o.state_dict() for name, o in self.optimizers.items()},
            "pool": self.pool.images,
            "means": self.perceptual.means,
        }

    def load_state(self, tensors: Mapping[str, Tensor], train_state: Mapping[str, Any]) -> None:
        kept = ("painter_ema.", "calibration")
        own = {k: v for k, v in tensors.items() if not k.startswith(kept)}
        load_weights(self.nets, own, "", "checkpoint")
        load_weights(self.painter_ema, tensors, "painter_ema.", "checkpoint")
        self.calibration = Calibration(*tensors["calibration"].tolist())
        if "optimizers" not in train_state:
            raise CheckpointError("The checkpoint holds no optimiser state to go on from.")
        for name, state in train_state["optimizers"].items():
            self.optimizers[name].load_state_dict(state)
        self.pool.images, self.perceptual.means = train_state["pool"], train_state["means"]

    def meta(self) -> CheckpointMeta:
        return CheckpointMeta(
            kind="detector",
            skeleton=self.skeleton.to_dict(),
            style=self.style.to_dict(),
            config=self.config.model_dump(mode="json"),
            licence="as the frames and poses that it learned from",
        )
