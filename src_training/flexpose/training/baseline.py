"""Job ``adapt-baseline``: a prior adapted in one of the ways that tau is compared with.

The result is an adapted model like any other; its whole generator lies in the checkpoint.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flexpose.checkpoint import CheckpointMeta, load_checkpoint
from flexpose.compute import generator_for, prepare, resolve_device
from flexpose.configs.baselines import BaselineConfig
from flexpose.configs.prior import PriorConfig
from flexpose.errors import CheckpointError
from flexpose.events import JobEvent, PhaseChanged, WarningRaised
from flexpose.geometry import normalised
from flexpose.jobs import CancelToken
from flexpose.losses import energy_distance
from flexpose.mixup import pose_mixup
from flexpose.models.keypoint_generator import KeypointGenerator
from flexpose.models.prior import (
    AnyDiscriminator,
    Prior,
    build_networks,
    load_prior,
    load_weights,
    with_prefix,
)
from flexpose.models.stylegan import StyleGenerator
from flexpose.runs import RunDir
from flexpose.sampling import PoseModel, keypoints
from flexpose.training.adapters.base import Setting, adapters, merged, trained
from flexpose.training.data import load_shots
from flexpose.training.loop import Preview, Schedule, run_task
from flexpose.training.outcome import adapted_meta, check_same_shots, outcome, three_rows

_PREVIEW, _EVALUATE, _CHECK, _MIXUP = ((1 << 40) + i for i in range(4))  # beside the steps
_CHECKED = 512  # poses a check


def run(config: BaselineConfig, run: RunDir, cancel: CancelToken) -> Iterator[JobEvent]:
    """Adapt."""
    device = resolve_device(config.device)
    prepare(device, config.threads)
    yield PhaseChanged("loading the prior")
    prior = load_prior(config.prior, device, config.regressor)
    shots, notes = load_shots(config.shots, config.prior, prior.skeleton)
    for note in notes:
        yield WarningRaised("shots", note)
    task = BaselineTask(config, prior, torch.from_numpy(shots).to(device), device)
    schedule = Schedule(config.steps, config.preview_every, evaluate_every=config.steps)
    yield from run_task(task, schedule, run, cancel)


class BaselineTask:
    """An adapter, its optimiser, the moving average of what it learns, and the best of that.

    Parameters
    ----------
    shots : float (M, J, 2), unit space, box-normalised, on ``device``
    """

    name = "adapt-baseline"

    def __init__(
        self, config: BaselineConfig, prior: Prior, shots: Tensor, device: torch.device
    ) -> None:
        self.config, self.prior, self.shots, self.device = config, prior, shots, device
        wanted = shots
        if config.num_mixups:
            mixer = np.random.default_rng([config.seed, _MIXUP])
            mixed = pose_mixup(shots.cpu().numpy(), config.num_mixups, mixer)
            wanted = torch.from_numpy(normalised(mixed)).to(device)
        assert isinstance(prior.generator, KeypointGenerator | StyleGenerator)
        self.source, self.generator = prior.generator, copy.deepcopy(prior.generator)
        judge, r1_gamma = load_judge(prior)
        setting = Setting(
            config, prior, self.generator, judge.to(device), shots, wanted, r1_gamma, device
        )
        self.adapter = adapters()[config.adapter.kind](setting)
        self.optimizer = torch.optim.Adam(self.adapter.groups())
        self.learned = trained(self.generator)
        self.average = [p.detach().clone() for p in self.learned]
        self.best, self.best_value = self.average, float("inf")

    @property
    def lr(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def step(self, step: int) -> Mapping[str, Tensor]:
        losses = self.adapter.losses(step, generator_for(self.config.seed, step))
        self.optimizer.zero_grad(set_to_none=True)
        torch.stack([loss for loss in losses.values() if loss.requires_grad]).sum().backward()
        self.optimizer.step()
        keep = min(self.config.ema, step / (step + 10))
        with torch.no_grad():
            for kept, now in zip(self.average, self.learned, strict=True):
                kept.lerp_(now, 1 - keep)
            if step % self.config.check_every == 0 or step == self.config.steps:
                self._remember_best()
        return {name: loss.detach() for name, loss in losses.items()}

    def _remember_best(self) -> None:
        random = generator_for(self.config.seed, _CHECK)
        made = self._made(self.average, _CHECKED, random)
        value = float(energy_distance(made.flatten(1), self.shots.flatten(1)))
        if value < self.best_value:
            self.best, self.best_value = [p.clone() for p in self.average], value

    @torch.no_grad()
    def _made(self, weights: list[Tensor], count: int, random: torch.Generator) -> Tensor:
        """Poses (count, J, 2) of the generator with other weights."""
        own = [p.detach().clone() for p in self.learned]
        self._put(weights)
        model = PoseModel(self.prior, own=self.generator)
        z = torch.randn(count, self.generator.z_dim, generator=random).to(self.device)
        parts = [keypoints(self.generator, self.prior, part) for part in z.split(model.chunk)]
        self._put(own)
        return torch.cat(parts)

    @torch.no_grad()
    def _put(self, weights: list[Tensor]) -> None:
        for parameter, weight in zip(self.learned, weights, strict=True):
            parameter.copy_(weight)

    def model(self) -> PoseModel:
        """What came nearest to the shots so far, ready to sample from."""
        own = [p.detach().clone() for p in self.learned]
        self._put(self.best)
        best = merged(self.generator, self.source)
        self._put(own)
        return PoseModel(self.prior, own=best, shots=self.shots)

    def evaluate(self) -> Mapping[str, float]:
        """As `outcome` says."""
        return outcome(self.model(), self.shots, generator_for(self.config.seed, _EVALUATE))

    def preview(self) -> Preview:
        """Source samples, the same latents adapted, the nearest shots."""
        random = generator_for(self.config.seed, _PREVIEW)
        z = torch.randn(8, self.generator.z_dim, generator=random).to(self.device)
        with torch.no_grad():
            source = keypoints(self.prior.generator, self.prior, z)
        adapted = self._made(self.best, 8, generator_for(self.config.seed, _PREVIEW))
        return three_rows(self.prior, source, adapted, self.shots)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        generator = self.model().generator
        assert isinstance(generator, torch.nn.Module)
        tensors = {"shots": self.shots, **with_prefix("generator.", generator)}
        return tensors, {
            "learned": [p.detach() for p in self.learned],
            "average": self.average,
            "best": self.best,
            "best_value": self.best_value,
            "optimizer": self.optimizer.state_dict(),
            "latents": [p.detach() for p in self._others()],
            "adapter": self.adapter.state(),
        }

    def _others(self) -> list[Tensor]:
        """What is learned beside the generator."""
        inside = {id(p) for p in self.learned}
        every = [p for group in self.optimizer.param_groups for p in group["params"]]
        return [p for p in every if id(p) not in inside]

    def load_state(self, tensors: Mapping[str, Tensor], train_state: Mapping[str, Any]) -> None:
        check_same_shots(tensors, self.shots)
        self._put(train_state["learned"])
        with torch.no_grad():
            for other, saved in zip(self._others(), train_state["latents"], strict=True):
                other.copy_(saved)
        self.average = [t.to(self.device) for t in train_state["average"]]
        self.best = [t.to(self.device) for t in train_state["best"]]
        self.best_value = train_state["best_value"]
        self.optimizer.load_state_dict(train_state["optimizer"])
        self.adapter.load_state(train_state["adapter"])

    def meta(self) -> CheckpointMeta:
        return adapted_meta(self.config, self.prior)


def load_judge(prior: Prior) -> tuple[AnyDiscriminator, float]:
    """The discriminator that a prior was trained against, and the weight of its R1 penalty.

    Raises
    ------
    CheckpointError : the prior came without one.
    """
    found = load_checkpoint(prior.path, kind="prior")
    config = PriorConfig.model_validate(dict(found.meta.config))
    _, judge = build_networks(config.generator, prior.skeleton)
    if not any(name.startswith("discriminator.") for name in found.tensors):
        raise CheckpointError(
            f"{prior.path} holds no discriminator, which adversarial adapters start from.",
            "Take a prior of train-prior.",
        )
    load_weights(judge, found.tensors, "discriminator.", found.path)
    return judge, config.r1_gamma
