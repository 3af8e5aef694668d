"""Step 1 of FlexPose: a style generator learns the source pose distribution.

Non-saturating logistic GAN with lazy R1 and a moving average of the generator. The same task
trains both generators; only what the discriminator sees differs: keypoints, or alpha of them.
An image generator may first learn to draw the poses of a keypoint prior (its teacher): a GAN over
sparse line drawings needs a GPU, while drawing a given pose is plain regression.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from flexpose.checkpoint import CheckpointMeta, load_checkpoint
from flexpose.compute import generator_for, prepare, resolve_device
from flexpose.configs.prior import (
    ImageGeneratorConfig,
    KeypointGeneratorConfig,
    PriorConfig,
)
from flexpose.errors import CheckpointError, ConfigError, SkeletonMismatchError
from flexpose.evaluation.distributions import compare
from flexpose.events import JobEvent, PhaseChanged
from flexpose.geometry import canvas_poses, normalised, unit_to_canvas
from flexpose.jobs import CancelToken
from flexpose.losses import discriminator_loss, generator_loss, pyramid_l2, r1_penalty
from flexpose.models.generator import styles
from flexpose.models.keypoint_generator import KeypointGenerator, TaughtMapping
from flexpose.models.prior import (
    Prior,
    build_networks,
    checkpoint_path,
    drawing_style,
    load_fitting_regressor,
    load_generator,
    load_weights,
    with_prefix,
)
from flexpose.models.stylegan import StyleGenerator
from flexpose.rendering.soft import Renderer
from flexpose.runs import RunDir
from flexpose.sampling import keypoints
from flexpose.training.data import SourcePoses, draw_batch, load_source
from flexpose.training.loop import Preview, Schedule, run_task
from flexpose.training.pictures import to_uint8

LICENCE = "as the source poses; weights trained on COCO-2017 annotations: CC BY 4.0"
_EVALUATE, _PREVIEW, _INIT, _SAMPLE = ((1 << 40) + i for i in range(4))  # streams beside steps
SOURCE_SAMPLE = 1000
"""Source poses that travel with a prior; as many as a t-SNE map holds."""


_POSE_LAYERS = 4  # up to 8x8: always of the latent that is drawn


def run(config: PriorConfig, run: RunDir, cancel: CancelToken) -> Iterator[JobEvent]:
    """Job ``train-prior``."""
    device = resolve_device(config.device)
    prepare(device, config.threads)
    yield PhaseChanged("reading poses")
    source = load_source(config.source)
    held_out = load_source(config.source, config.validation) if config.validation else source
    teacher = load_generator(config.teacher, device) if config.teacher else None
    if teacher is not None:
        config = with_teacher(config, teacher)
    task = PriorTask(config, source, held_out, device, teacher)
    schedule = Schedule(
        config.steps, config.preview_every, config.evaluate_every, config.checkpoint_every
    )
    yield from run_task(task, schedule, run, cancel)


class PriorTask:
    """Generator, its moving average, discriminator and their optimisers."""

    name = "train-prior"

    def __init__(
        self,
        config: PriorConfig,
        source: SourcePoses,
        held_out: SourcePoses,
        device: torch.device,
        teacher: Prior | None = None,
    ) -> None:
        self.config, self.source, self.held_out = config, source, held_out
        self.device, self.teacher = device, teacher
        generator, disc = build_networks(
            config.generator, source.skeleton, generator_for(config.seed, _INIT)
        )
        self.generator, self.disc = generator.to(device), disc.to(device)
        if teacher is not None:
            if not teacher.skeleton.same_layout(source.skeleton):
                raise SkeletonMismatchError(
                    f"The teacher makes poses of {teacher.skeleton.name}, the source has those of "
                    f"{source.skeleton.name}."
                )
            assert isinstance(self.generator.mapping, TaughtMapping)
            assert isinstance(teacher.generator, KeypointGenerator)
            self.generator.mapping.teacher.load_state_dict(teacher.generator.state_dict())
        elif config.teacher_steps:
            raise ConfigError("teacher_steps is set, but no teacher is given.")
        if config.start:
            found = load_checkpoint(checkpoint_path(config.start), kind="prior")
            # only the average is shipped
            load_weights(self.generator, found.tensors, "generator_ema.", found.path)
            load_weights(self.disc, found.tensors, "discriminator.", found.path)
        self.generator_ema = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.style = drawing_style(config.generator)
        self.render = Renderer(source.skeleton, self.style, device)
        self.draws = isinstance(self.generator, StyleGenerator)
        self.beta = None
        if config.regressor:
            self.beta = load_fitting_regressor(
                config.regressor, source.skeleton, self.style, device
            )
        # lazy R1 steps the optimiser as if it acted all the time (StyleGAN2, appendix B)
        lazy = config.r1_every / (config.r1_every + 1)
        trained = [p for p in self.generator.parameters() if p.requires_grad]
        self.g_optimizer = torch.optim.Adam(trained, config.lr, (0.0, 0.99))
        self.d_optimizer = torch.optim.Adam(
            self.disc.parameters(), config.lr * lazy, (0.0, 0.99**lazy)
        )

    @property
    def lr(self) -> float:
        return float(self.g_optimizer.param_groups[0]["lr"])

    def step(self, step: int) -> Mapping[str, Tensor]:
        random = generator_for(self.config.seed, step)
        taught = step <= self.config.teacher_steps
        for group in self.g_optimizer.param_groups:
            # momentum speeds plain regression up; against a moving discriminator it oscillates
            group["betas"] = (0.9 if taught else 0.0, 0.99)
            group["lr"] = self._teacher_lr(step) if taught else self.config.lr
        losses = self._teacher_step(random) if taught else self._gan_step(step, random)
        self._average(step)
        return losses

    def _teacher_lr(self, step: int) -> float:
        """A cosine down to a twentieth: at a constant rate drawings keep wavering."""
        share = step / self.config.teacher_steps
        return self.config.teacher_lr * max(0.05, (1 + math.cos(math.pi * share)) / 2)

    def _teacher_step(self, random: torch.Generator) -> Mapping[str, Tensor]:
        """Draw what the teacher's pose of the same latent looks like.

        Fine layers see the w of another latent half of the time: the pose must come from the
        coarse ones, as it does in a StyleGAN trained with mixing, or tau would have nothing to
        hold on to.
        """
        assert self.teacher is not None
        generator = self.generator
        z = self._latents(self.config.batch_size, random)
        with torch.no_grad():
            target = self.render(keypoints(self.teacher.generator, self.teacher, z))
        w = generator.mapping(z)
        generator.mapping.track(w)
        each = [w] * len(generator.layers)
        if torch.rand((), generator=random).item() < self.config.mixing:
            cut = int(torch.randint(_POSE_LAYERS, len(each), (), generator=random))
            each[cut:] = [w.roll(1, dims=0)] * (len(each) - cut)
        drawn = generator.synthesize(generator.codes(each), random).images
        assert drawn is not None
        loss = pyramid_l2(drawn, target)
        _apply(self.g_optimizer, loss)
        return {"drawing": loss.detach()}

    def _gan_step(self, step: int, random: torch.Generator) -> Mapping[str, Tensor]:
        config = self.config
        real = self._real(random)
        with torch.no_grad():
            fake = self._fake(random)
        loss_d = discriminator_loss(self.disc(real), self.disc(fake))
        total, penalty = loss_d, None
        if config.r1_gamma and step % config.r1_every == 0:
            penalty = r1_penalty(self.disc, real)
            total = loss_d + config.r1_gamma * config.r1_every * penalty
        _apply(self.d_optimizer, total)

        self.disc.requires_grad_(False)
        loss_g = generator_loss(self.disc(self._fake(random)))
        _apply(self.g_optimizer, loss_g)
        self.disc.requires_grad_(True)
        losses = {"generator": loss_g.detach(), "discriminator": loss_d.detach()}
        return losses if penalty is None else {**losses, "r1": penalty.detach()}

    def _real(self, random: torch.Generator) -> Tensor:
        """A batch as the discriminator sees it."""
        config = self.config
        poses = draw_batch(
            self.source.keypoints,
            config.batch_size,
            self.source.skeleton,
            random,
            config.mirror,
            config.rotation_deg,
        ).to(self.device)
        return self.render(poses) if self.draws else poses

    def _fake(self, random: torch.Generator) -> Tensor:
        generator, config = self.generator, self.config
        w = generator.mapping(self._latents(config.batch_size, random))
        generator.mapping.track(w)
        mixed = torch.rand((), generator=random).item() < config.mixing
        if not mixed:
            output = generator.synthesize(generator.codes(w), random)
        else:
            other = generator.mapping(self._latents(config.batch_size, random))
            count = len(generator.layers)
            cut = int(torch.randint(1, count, (), generator=random))
            output = generator.synthesize(
                generator.codes([w] * cut + [other] * (count - cut)), random
            )
        return output.seen

    def _latents(self, count: int, random: torch.Generator) -> Tensor:
        return torch.randn(count, self.generator.z_dim, generator=random).to(self.device)

    @torch.no_grad()
    def _average(self, step: int) -> None:
        """Move the average; its half-life grows with the images seen (ADA's ramp of .05)."""
        batch = self.config.batch_size
        half_life = min(self.config.ema_kimg * 1000, max(step * batch * 0.05, 1e-8))
        keep = 0.5 ** (batch / half_life)
        own = self.generator.state_dict()
        for name, average in self.generator_ema.state_dict().items():
            average.copy_(own[name].lerp(average, keep))

    @torch.no_grad()
    def evaluate(self) -> Mapping[str, float]:
        """Distances of 5,000 generated poses to held-out ones; nothing for images without beta."""
        if self.draws and self.beta is None:
            return {}
        random = generator_for(self.config.seed, _EVALUATE)
        made = [self._sampled(250, random).cpu() for _ in range(20)]
        skeleton = self.source.skeleton
        report = compare(
            canvas_poses(normalised(torch.cat(made).numpy()), skeleton, 256),
            canvas_poses(self.held_out.keypoints.numpy(), skeleton, 256),
            seed=self.config.seed,
        )
        return report.metrics()

    def _sampled(self, count: int, random: torch.Generator) -> Tensor:
        """Keypoints of the averaged generator, read by beta where it draws."""
        latents = self._latents(count, random)
        output = self.generator_ema.synthesize(styles(self.generator_ema, latents))
        if output.keypoints is not None:
            return output.keypoints
        assert self.beta is not None
        return self.beta(output.images)[0]

    @torch.no_grad()
    def preview(self) -> Preview:
        random = generator_for(self.config.seed, _PREVIEW)
        output = self.generator_ema.synthesize(
            styles(self.generator_ema, self._latents(16, random))
        )
        if output.keypoints is None:
            return Preview(to_uint8(output.seen))
        canvas = unit_to_canvas(output.keypoints.cpu().numpy(), self.style.size)
        return Preview(to_uint8(self.render(output.keypoints)), canvas)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = {
            **with_prefix("generator.", self.generator),
            **with_prefix("generator_ema.", self.generator_ema),
            **with_prefix("discriminator.", self.disc),
            "source_sample": self._source_sample(),
        }
        optimizers = {"g": self.g_optimizer.state_dict(), "d": self.d_optimizer.state_dict()}
        return tensors, optimizers

    def _source_sample(self) -> Tensor:
        """Some source poses, for maps of the prior's distribution."""
        random = generator_for(self.config.seed, _SAMPLE)
        rows = torch.randperm(len(self.source.keypoints), generator=random)[:SOURCE_SAMPLE]
        return self.source.keypoints[rows]

    def load_state(self, tensors: Mapping[str, Tensor], train_state: Mapping[str, Any]) -> None:
        load_weights(self.generator, tensors, "generator.", "checkpoint")
        load_weights(self.generator_ema, tensors, "generator_ema.", "checkpoint")
        load_weights(self.disc, tensors, "discriminator.", "checkpoint")
        if set(train_state) != {"g", "d"}:
            raise CheckpointError("The checkpoint holds no optimiser state to go on from.")
        self.g_optimizer.load_state_dict(train_state["g"])
        self.d_optimizer.load_state_dict(train_state["d"])

    def meta(self) -> CheckpointMeta:
        return CheckpointMeta(
            kind="prior",
            skeleton=self.source.skeleton.to_dict(),
            style=self.style.to_dict(),
            config=self.config.model_dump(mode="json"),
            notes=self.source.notes,
            licence=LICENCE,
        )


def _apply(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def with_teacher(config: PriorConfig, teacher: Prior) -> PriorConfig:
    """The config whose image generator has the teacher inside.

    Raises
    ------
    ConfigError : the generator makes keypoints itself, or the teacher draws images.
    """
    inside = PriorConfig.model_validate(dict(teacher.meta.config)).generator
    if not isinstance(config.generator, ImageGeneratorConfig) or not isinstance(
        inside, KeypointGeneratorConfig
    ):
        raise ConfigError(
            "A teacher is a keypoint prior for an image generator; one of the two is of another "
            "kind.",
            "Set generator.kind to image, or leave the teacher out.",
        )
    generator = config.generator.model_copy(update={"taught_by": inside})
    return config.model_copy(update={"generator": generator})
