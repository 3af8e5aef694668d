"""Reptile (Nichol 2018) over a detector: weights from which a few steps learn another task.

theta' is where a few steps on one task lead from theta; theta then goes a little of that way. The
running statistics of batch normalisation are not weights: what the inner steps made of them is
undone, and the new theta's own are taken from one look at the task.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer

from flexpose.compute import generator_for, prepare, resolve_device
from flexpose.configs.meta import MetaConfig
from flexpose.errors import FlexPoseError
from flexpose.events import JobCancelled, JobEvent, PhaseChanged
from flexpose.io.base import read_poses
from flexpose.jobs import CancelToken
from flexpose.models.detector import Design
from flexpose.runs import RunDir
from flexpose.skeleton import Skeleton
from flexpose.training.augment import (
    bent,
    mirrored_at_random,
    projected,
    random_affine,
    random_field,
    random_perspective,
    tinted,
    warped,
)
from flexpose.training.clips import Clips, Labels, load_clips, load_labels
from flexpose.training.loop import Schedule, run_task
from flexpose.training.reading import ReadingTask

_WARP = 1 << 41  # random streams of the domains' warps, beside the steps
_AFFINE = (0.5, 0.25, (0.7, 1.3), 0.15)  # radians of turn and shear, scales, shift

Pictures = tuple[Tensor, Tensor]


def run(config: MetaConfig, run: RunDir, cancel: CancelToken) -> Iterator[JobEvent]:
    """Job ``train-meta``.

    Raises
    ------
    FlexPoseError : frames or labels cannot be read, or all of them are held out.
    """
    device = resolve_device(config.device)
    prepare(device, config.threads)
    skeleton = read_poses(config.labels).skeleton
    yield PhaseChanged("reading frames")
    clips = load_clips(config.frames, config.size, lambda: cancel.cancelled)
    if clips is None:
        yield JobCancelled(0)
        return
    labels, held_out = load_labels(config.labels, clips, skeleton), None
    if config.validation is not None:
        held_out = load_labels(config.validation, clips, skeleton)
        labels = apart(labels, held_out)
    task = MetaTask(config, skeleton, clips, labels, held_out, device)
    schedule = Schedule(
        config.steps, config.preview_every, config.evaluate_every, config.checkpoint_every
    )
    yield from run_task(task, schedule, run, cancel)


def apart(labels: Labels, held_out: Labels) -> Labels:
    """Labels of other frames than those held out.

    Raises
    ------
    FlexPoseError : there is none.
    """
    use = ~torch.isin(labels.rows, held_out.rows)
    if not use.any():
        raise FlexPoseError(
            f"All {len(use)} labelled frames are held out, expected others to learn from.",
            "Name other labels as validation.",
        )
    return Labels(labels.rows[use], labels.keypoints[use])


class MetaTask(ReadingTask):
    """The weights theta, and the tasks that they learn to be near to.

    Parameters
    ----------
    labels : labelled crops that are learned
    """

    name = "train-meta"

    def __init__(
        self,
        config: MetaConfig,
        skeleton: Skeleton,
        clips: Clips,
        labels: Labels,
        held_out: Labels | None,
        device: torch.device,
    ) -> None:
        own = config.network
        design = Design(config.size, config.width, own.backbone, own.head_layers, config.loss)
        super().__init__(config, design, own, skeleton, clips, held_out, device, averaged=False)
        self.config, self.labels = config, labels
        self.optimizers: dict[str, Optimizer] = {}  # each task has its own
        self.kinds = ("plain", *config.warps)
        clip = clips.clip[labels.rows]
        self.groups = [torch.nonzero(clip == number)[:, 0] for number in clip.unique()]
        self._meta_lr = config.meta_lr

    @property
    def lr(self) -> float:
        return self._meta_lr

    # ------------------------------------------------------------ a step

    def step(self, step: int) -> Mapping[str, Tensor]:
        config, random = self.config, generator_for(self.config.seed, step)
        left = 1 - (step - 1) / config.steps if config.meta_falls else 1.0
        self._meta_lr = config.meta_lr * left
        weights = list(self.net.parameters())
        start = [w.detach().clone() for w in weights]
        statistics = [b.clone() for b in self.net.buffers()]
        moved = [torch.zeros_like(w) for w in start]
        count = config.meta_batch if config.update == "averaged" else 1
        losses: list[dict[str, Tensor]] = []
        for _ in range(count):
            batches = self._task(random)
            losses.append(self._inner(batches))
            with torch.no_grad():
                for total, now, before in zip(moved, weights, start, strict=True):
                    total.add_(now - before, alpha=1 / count)
                    now.copy_(before)
                for own, before in zip(self.net.buffers(), statistics, strict=True):
                    own.copy_(before)
        with torch.no_grad():
            for now, way in zip(weights, moved, strict=True):
                now.add_(way, alpha=self._meta_lr)
            self.net(batches[0][0])  # its own statistics
        return {name: torch.stack([x[name] for x in losses]).mean() for name in losses[0]}

    def _inner(self, batches: list[Pictures]) -> dict[str, Tensor]:
        """Learn one task; the loss at its beginning and at its end."""
        config = self.config
        optimizer: Optimizer = (
            SGD(self.net.parameters(), config.lr)
            if config.inner_optimizer == "sgd"
            else Adam(self.net.parameters(), config.lr, (0.0, 0.999))
        )
        found = []
        for images, keypoints in batches:
            loss = self.loss(self.net(images), keypoints)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            found.append(loss.detach())
        optimizer.zero_grad(set_to_none=True)
        return {"first": found[0], "last": found[-1]}

    # ------------------------------------------------------------ tasks

    def _task(self, random: torch.Generator) -> list[Pictures]:
        """A task's batches, one an inner step."""
        config = self.config
        if config.tasks == "batches":
            rows = torch.randint(len(self.labels.rows), (config.batch_size,), generator=random)
            kinds = torch.randint(len(self.kinds), (config.batch_size,), generator=random)
            return [self._dressed(self._mixed(rows, kinds, random), random)] * config.inner_steps
        domain = int(torch.randint(len(self.groups) * len(self.kinds), (1,), generator=random))
        return [
            self._dressed(self.domain_batch(domain, random), random)
            for _ in range(config.inner_steps)
        ]

    def _dressed(self, pictures: Pictures, random: torch.Generator) -> Pictures:
        """Half of them mirrored, each in another light, if the settings say so."""
        if not self.config.augment:
            return pictures
        images, keypoints = mirrored_at_random(*pictures, self.skeleton.flip_index, random)
        return tinted(images, random), keypoints

    def _mixed(self, rows: Tensor, kinds: Tensor, random: torch.Generator) -> Pictures:
        """Labelled pictures, each plain or under a warp of its own."""
        images, keypoints = self._pictures(rows)
        for number, kind in enumerate(self.kinds):
            which = torch.nonzero(kinds == number)[:, 0]
            if kind != "plain" and len(which):
                at = which.to(self.device)
                images[at], keypoints[at] = warp(kind, images[at], keypoints[at], len(at), random)
        return images, keypoints

    def domain_batch(self, domain: int, random: torch.Generator) -> Pictures:
        """Labelled pictures of one clip, plain or all under the one warp of this domain."""
        group, kind = divmod(domain, len(self.kinds))
        rows = self.groups[group]
        drawn = torch.randint(len(rows), (self.config.batch_size,), generator=random)
        images, keypoints = self._pictures(rows[drawn])
        if self.kinds[kind] == "plain":
            return images, keypoints
        same = generator_for(self.config.seed, _WARP + domain)
        return warp(self.kinds[kind], images, keypoints, 1, same)

    def _pictures(self, rows: Tensor) -> Pictures:
        images = self.clips.batch(self.labels.rows[rows])
        return images.to(self.device), self.labels.keypoints[rows].to(self.device)


def warp(
    kind: str, images: Tensor, keypoints: Tensor, count: int, random: torch.Generator
) -> Pictures:
    """Pictures (n, 3, s, s) and keypoints (n, J, 2) under ``count`` random warps: n, or 1 for all.

    ``kind`` is affine, elastic or perspective.
    """
    apply: Any
    if kind == "affine":
        apply, numbers = warped, random_affine(count, random, *_AFFINE)
    elif kind == "elastic":
        apply, numbers = bent, random_field(count, random)
    else:
        apply, numbers = projected, random_perspective(count, random)
    return apply(images, keypoints, numbers.expand(len(images), *numbers.shape[1:]))
