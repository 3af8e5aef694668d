"""Beta: a network learns to read keypoints back from skeleton images (FlexPose, section 3.4).

Target poses leave the source's support and generated images are imperfect, so training poses are
the source's under strong affine, limb and joint changes, and their drawings are blurred, dimmed,
erased and noisy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from flexpose.checkpoint import CheckpointMeta, load_checkpoint
from flexpose.compute import generator_for, prepare, resolve_device
from flexpose.configs.prior import RegressorConfig
from flexpose.errors import CheckpointError, ConfigError
from flexpose.events import JobEvent, PhaseChanged
from flexpose.geometry import unit_to_canvas
from flexpose.jobs import CancelToken
from flexpose.models.generator import styles
from flexpose.models.keypoint_generator import TaughtMapping, box_normalised
from flexpose.models.prior import (
    checkpoint_path,
    load_generator,
    load_weights,
    with_prefix,
)
from flexpose.models.regressor import PoseRegressor, score_loss, soft_argmax
from flexpose.models.stylegan import StyleGenerator
from flexpose.rendering.soft import Renderer
from flexpose.rendering.style import DrawingStyle
from flexpose.runs import RunDir
from flexpose.skeleton import Skeleton, bone_tree
from flexpose.training.data import SourcePoses, draw_batch, load_source
from flexpose.training.loop import Preview, Schedule, run_task
from flexpose.training.pictures import to_uint8

_EVALUATE, _INIT = 1 << 40, (1 << 40) + 1  # random streams beside the steps
_SCORE_WEIGHT = 0.02  # leads while joints are far off, about level with the distance at the end


def run(config: RegressorConfig, run: RunDir, cancel: CancelToken) -> Iterator[JobEvent]:
    """Job ``train-regressor``."""
    device = resolve_device(config.device)
    prepare(device, config.threads)
    yield PhaseChanged("reading poses")
    source = load_source(config.source)
    held_out = load_source(config.source, config.validation) if config.validation else source
    drawer = None
    if config.generator:
        style = DrawingStyle.for_size(config.size, config.channels)
        drawer = taught_generator(config.generator, source.skeleton, style, device)
    task = RegressorTask(config, source, held_out, device, drawer)
    schedule = Schedule(
        config.steps, config.preview_every, config.evaluate_every, config.checkpoint_every
    )
    yield from run_task(task, schedule, run, cancel)


class RegressorTask:
    """Beta, its optimiser, and the pictures it learns from."""

    name = "train-regressor"

    def __init__(
        self,
        config: RegressorConfig,
        source: SourcePoses,
        held_out: SourcePoses,
        device: torch.device,
        drawer: StyleGenerator | None = None,
    ) -> None:
        self.config, self.source, self.held_out = config, source, held_out
        self.device, self.drawer = device, drawer
        self.style = DrawingStyle.for_size(config.size, config.channels)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(generator_for(config.seed, _INIT).initial_seed())
            model = PoseRegressor(source.skeleton.num_joints, config.channels, config.width)
        if config.start:
            found = load_checkpoint(checkpoint_path(config.start), kind="regressor")
            load_weights(model, found.tensors, "regressor.", found.path)
        self.model = model.to(device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), config.lr)
        # three line widths, since generated lines are never exactly as wide as drawn ones
        self.renderers = [
            Renderer(
                source.skeleton,
                DrawingStyle(config.size, self.style.sigma * factor, config.channels),
                device,
            )
            for factor in (0.88, 1.0, 1.15)
        ]

    @property
    def lr(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def step(self, step: int) -> Mapping[str, Tensor]:
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = config.lr * max(0.01, (1 + math.cos(math.pi * step / config.steps)) / 2)
        random = generator_for(config.seed, step)
        poses, images = self._drawn(random)
        if self.drawer is not None:
            more_poses, more_images = self._generated(random)
            poses = torch.cat([poses, more_poses])
            images = torch.cat([images, more_images])
        scores = self.model.scores(images)
        read, _ = soft_argmax(scores)
        # absolute error: a joint that cannot be seen must not outweigh all others
        loss = (read - poses).abs().mean() + _SCORE_WEIGHT * score_loss(scores, poses)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        pixels = (read.detach() - poses).norm(dim=2).mean() * (config.size - 1) / 2
        return {"loss": loss.detach(), "pixels": pixels}

    def _drawn(self, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Poses (n, J, 2) under strong changes, and corrupted drawings of them."""
        poses = draw_batch(
            self.source.keypoints, self.config.batch_size, self.source.skeleton, random
        )
        poses = limbs_turned(poses, bone_tree(self.source.skeleton), random)
        poses = joined(poses, self.source.skeleton.symmetric_pairs, random)
        quarter = len(poses) // 4
        strong, mild = distorted(poses[:quarter], random), distorted(poses[quarter:], random, 0.3)
        poses = torch.cat([strong, mild]).to(self.device)
        which = int(torch.randint(len(self.renderers), (), generator=random))
        return poses, corrupted(self.renderers[which](poses), random)

    @torch.no_grad()
    def _generated(self, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Pictures of an image prior, and the poses that they are meant to show."""
        assert self.drawer is not None and isinstance(self.drawer.mapping, TaughtMapping)
        z = torch.randn(self.config.batch_size // 2, self.drawer.z_dim, generator=random)
        z = z.to(self.device)
        images = self.drawer.synthesize(styles(self.drawer, z), random).images
        assert images is not None
        return self.drawer.mapping.pose(z), images

    @torch.no_grad()
    def evaluate(self) -> Mapping[str, float]:
        """Joint distance in canvas pixels on clean drawings of held-out poses: mean and tail.

        With an image prior also on its pictures.
        """
        poses = self.held_out.keypoints[:2000].to(self.device)
        pixels = self._pixels((chunk, self.renderers[1](chunk)) for chunk in poses.split(200))
        metrics = {
            "mean_joint_distance_px": pixels.mean().item(),
            "p99_joint_distance_px": pixels.flatten().quantile(0.99).item(),
        }
        if self.drawer is not None:
            random = generator_for(self.config.seed, _EVALUATE)
            made = self._pixels(self._generated(random) for _ in range(16))
            metrics["mean_joint_distance_generated_px"] = made.mean().item()
        return metrics

    def _pixels(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
        """Distances (n, J) of what is read from images to their poses, over pairs of both."""
        parts = [(self.model(images)[0] - poses).norm(dim=2) for poses, images in pairs]
        return torch.cat(parts) * (self.config.size - 1) / 2

    @torch.no_grad()
    def preview(self) -> Preview:
        random = generator_for(self.config.seed, _EVALUATE)
        _, images = self._drawn(random)
        images = images[:16]
        read, _ = self.model(images)
        pictures = torch.cat([images, self.renderers[1](read)])
        return Preview(to_uint8(pictures), unit_to_canvas(read.cpu().numpy(), self.config.size))

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return with_prefix("regressor.", self.model), {"optimizer": self.optimizer.state_dict()}

    def load_state(self, tensors: Mapping[str, Tensor], train_state: Mapping[str, Any]) -> None:
        load_weights(self.model, tensors, "regressor.", "checkpoint")
        if "optimizer" not in train_state:
            raise CheckpointError("The checkpoint holds no optimiser state to go on from.")
        self.optimizer.load_state_dict(train_state["optimizer"])

    def meta(self) -> CheckpointMeta:
        return CheckpointMeta(
            kind="regressor",
            skeleton=self.source.skeleton.to_dict(),
            style=self.style.to_dict(),
            config=self.config.model_dump(mode="json"),
            notes=self.source.notes,
            licence="as the source poses; weights trained on COCO-2017 annotations: CC BY 4.0",
        )


def taught_generator(
    name: str, skeleton: Skeleton, style: DrawingStyle, device: torch.device
) -> StyleGenerator:
    """An image generator whose poses are known, because a keypoint generator is inside.

    Raises
    ------
    ConfigError : the prior is of another kind, or draws otherwise than beta is to read.
    """
    prior = load_generator(name, device)
    generator = prior.generator
    if not isinstance(generator, StyleGenerator) or not isinstance(
        generator.mapping, TaughtMapping
    ):
        raise ConfigError(
            f"The prior {name} had no teacher, so the poses of its images are not known.",
            "Leave `generator` empty.",
        )
    if not prior.skeleton.same_layout(skeleton) or prior.style != style:
        raise ConfigError(
            f"The prior {name} draws {prior.skeleton.name} as {prior.style.to_dict()}, the "
            f"regressor is to read {skeleton.name} as {style.to_dict()}.",
            "Give both the same skeleton, size and channels.",
        )
    return generator


def limbs_turned(
    poses: Tensor, bones: Sequence[tuple[int, int]], random: torch.Generator
) -> Tensor:
    """Poses (n, J, 2), half of them with every bone of a tree turned about its parent's end.

    Brings limbs to where the source seldom has them, such as both arms on one side.
    """
    n = len(poses)
    strength = 0.8 * torch.rand(n, generator=random) * (torch.rand(n, generator=random) < 0.5)
    out, angles = poses.clone(), torch.zeros(poses.shape[:2])
    for parent, child in bones:
        angle = angles[:, parent] + strength * torch.randn(n, generator=random)
        x, y = (poses[:, child] - poses[:, parent]).unbind(dim=1)
        cos, sin = angle.cos(), angle.sin()
        turned = torch.stack([cos * x - sin * y, sin * x + cos * y], dim=1)
        out[:, child], angles[:, child] = out[:, parent] + turned, angle
    return box_normalised(out)


def joined(
    poses: Tensor, pairs: Sequence[tuple[int, int]], random: torch.Generator, share: float = 0.3
) -> Tensor:
    """Poses (n, J, 2), some with one pair of left and right joints drawn together.

    Limbs that cross or meet (two hands on one racket) hide each other and are rare in most sources.
    """
    if not pairs:
        return poses
    n = len(poses)
    chosen = torch.tensor(pairs)[torch.randint(len(pairs), (n,), generator=random)]
    rows = torch.arange(n)[:, None]
    ends = poses[rows, chosen]
    pull = 0.6 + 0.4 * torch.rand(n, 1, 1, generator=random)
    pull = pull * (torch.rand(n, 1, 1, generator=random) < share)
    poses = poses.clone()
    poses[rows, chosen] = ends.lerp(ends.mean(dim=1, keepdim=True), pull)
    return poses


def distorted(poses: Tensor, random: torch.Generator, amount: float = 1.0) -> Tensor:
    """Poses (n, J, 2) after random affine maps and joint jitter, still within the canvas.

    ``amount`` scales all changes: 1 leaves the source's support, 0 changes nothing.
    """
    n, joints, _ = poses.shape

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=random) * (high - low) + low

    angle = uniform(-np.pi / 4, np.pi / 4, n) * amount
    scale = (uniform(0.55, 1.1, n, 1) * uniform(0.8, 1.2, n, 2)).lerp(torch.ones(()), 1 - amount)
    cos, sin = angle.cos(), angle.sin()
    turn = torch.stack([cos, -sin, sin, cos], dim=1).view(n, 2, 2)
    poses = (poses @ turn.transpose(1, 2)) * scale[:, None]
    # each pose has a jitter strength of its own: most stay human, some become scribbles
    strength = 0.25 * amount * uniform(0, 1, n, 1, 1).pow(3)
    poses = poses + torch.randn(n, joints, 2, generator=random) * strength
    poses = poses + uniform(-0.15, 0.15, n, 1, 2) * amount
    return poses.clamp(-0.98, 0.98)


def corrupted(images: Tensor, random: torch.Generator) -> Tensor:
    """Drawings (n, c, h, w) with the faults of generated ones: blur, dim patches, gaps, noise.

    Half stay clean: colours alone tell where a straight limb bends into the next bone, and stronger
    or more frequent faults cost the reading of good drawings more than they gained on others.
    """
    n, channels, height, width = images.shape
    device = images.device
    ink = (images + 1) / 2
    blurred = F.avg_pool2d(ink, 3, stride=1, padding=1)
    amount = torch.rand(n, 1, 1, 1, generator=random).to(device)
    dirty = ink + (blurred - ink) * amount
    dim = 0.7 + 0.45 * torch.rand(n, channels, 4, 4, generator=random)
    dim = F.interpolate(dim, (height, width), mode="bilinear").to(device)
    dirty = dirty * dim
    hole = torch.rand(n, 1, height // 4, width // 4, generator=random) < 0.02
    hole = F.interpolate(hole.float(), (height, width), mode="nearest").to(device)
    dirty = dirty * (1 - hole)
    strength = 0.1 * torch.rand(n, 1, 1, 1, generator=random)
    noise = torch.randn(n, channels, height, width, generator=random) * strength
    dirty = dirty + noise.to(device)
    clean = torch.rand(n, 1, 1, 1, generator=random).to(device) < 0.5
    return torch.where(clean, ink, dirty) * 2 - 1
