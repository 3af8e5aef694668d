"""RegDA (Jiang 2021): a second head that must err on the target, and features that prevent it.

Where a head errs it mostly takes another joint for the one asked for. So the second head is taught
to do that on the target, and features are then changed until it cannot.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD

from flexpose.compute import generator_for
from flexpose.configs.uda import UdaConfig
from flexpose.models.maps import gaussians, kl_loss, peak_cells
from flexpose.models.prior import load_weights, with_prefix
from flexpose.models.simple_baseline import map_head, slight
from flexpose.skeleton import Skeleton
from flexpose.training.augment import tinted, warped
from flexpose.training.clips import Labels
from flexpose.training.uda.labelled import SLOW, Domain, LabelledTask

_INIT = (1 << 40) + 3  # a random stream beside the steps
_FLOOR = 1e-7  # of the targets of heads, as published
_POWER = -0.75  # of the learning rate's fall


class RegDaTask(LabelledTask):
    """Features, two heads, and their optimisers."""

    def __init__(
        self,
        config: UdaConfig,
        skeleton: Skeleton,
        source: Domain,
        target: Domain,
        held_out: Labels | None,
        device: torch.device,
    ) -> None:
        super().__init__(config, skeleton, source, target, held_out, device, loss="kl")
        head = map_head(self.net.channels, skeleton.num_joints, config.network.head_layers)
        slight(head, generator_for(config.seed, _INIT))
        self.second = head.to(device)
        own, heads = config.regda, list(self.net.out.parameters())
        below = [p for p in self.net.parameters() if all(p is not q for q in heads)]
        self.optimizers |= {
            "features": _sgd(below, own.lr * SLOW),
            "head": _sgd(heads, own.lr),
            "second": _sgd(self.second.parameters(), own.lr),
        }

    def new_optimizer(self) -> SGD:
        lr = self.config.regda.lr
        return _sgd(self.groups(lr), lr)

    # ------------------------------------------------------------ a step

    def step(self, step: int) -> Mapping[str, Tensor]:
        config, random = self.config, generator_for(self.config.seed, step)
        images, keypoints = self.labelled_batch(step / config.steps, random)
        if step <= config.pretrain_steps:
            return {"labelled": self.learn(images, keypoints, step / config.pretrain_steps)}
        self.main, done = "head", step - config.pretrain_steps - 1
        losses = self._agree(images, keypoints, done)
        plain = self.target_batch(random)
        target, _ = warped(plain, plain.new_zeros(len(plain), 0, 2), self.random_view(random))
        target = tinted(target, random)
        return losses | {"false": self._err(target, done), "true": self._prevent(target, done)}

    def _agree(self, images: Tensor, keypoints: Tensor, done: int) -> dict[str, Tensor]:
        """A: on the source both heads find the joints; all learn."""
        own = self.config.regda
        features = self.net.features(images)
        maps = self.net.out(features)
        labelled = self.loss(maps, keypoints)
        second = self.second(scaled_gradient(features, self._share(done)))
        same = disparity(second, pseudo_labels(maps))
        self._adapt(
            labelled + own.margin * own.trade_off * same, done, "features", "head", "second"
        )
        return {"labelled": labelled.detach(), "same": same.detach()}

    def _err(self, images: Tensor, done: int) -> Tensor:
        """B: on the target the second head learns to find the other joints."""
        with torch.no_grad():
            features = self.net.features(images)
            wrong = ground_false(pseudo_labels(self.net.out(features)))
        loss = disparity(self.second(features), wrong)
        self._adapt(self.config.regda.trade_off * loss, done, "second")
        return loss.detach()

    def _prevent(self, images: Tensor, done: int) -> Tensor:
        """C: on the target features learn to make it find the joint itself."""
        features = self.net.features(images)
        with torch.no_grad():
            right = pseudo_labels(self.net.out(features))
        loss = disparity(self.second(scaled_gradient(features, self._share(done))), right)
        self._adapt(self.config.regda.trade_off * loss, done, "features")
        return loss.detach()

    def _share(self, done: int) -> float:
        own = self.config.regda
        return 2 * own.gradient / (1 + math.exp(-done / own.gradient_warm)) - own.gradient

    def _adapt(self, loss: Tensor, done: int, *names: str) -> None:
        self.descend(loss, (1 + self.config.regda.lr_gamma * done) ** _POWER, *names)

    # ------------------------------------------------------------ what is saved

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors, train_state = super().state()
        return tensors, {**train_state, "second_head": with_prefix("", self.second)}

    def load_state(self, tensors: Mapping[str, Tensor], train_state: Mapping[str, Any]) -> None:
        super().load_state(tensors, train_state)
        load_weights(self.second, train_state["second_head"], "", "checkpoint")


def pseudo_labels(maps: Tensor) -> Tensor:
    """Gaussians (n, J, h, w) about the peaks of maps."""
    return gaussians(peak_cells(maps.detach()), (maps.shape[3], maps.shape[2]))


def ground_false(truth: Tensor) -> Tensor:
    """Of each joint the Gaussians (n, J, h, w) of all others, their sum cut off at 1."""
    return (truth.sum(dim=1, keepdim=True) - truth).clamp(0, 1)


def disparity(maps: Tensor, target: Tensor) -> Tensor:
    """How far the second head's maps are from a target, all joints alike."""
    return kl_loss(maps, target, maps.new_ones(maps.shape[:2]), _FLOOR)


def scaled_gradient(features: Tensor, factor: float) -> Tensor:
    """The same features, whose gradient is multiplied by a factor on the way back."""
    return features.detach() + factor * (features - features.detach())


def _sgd(parameters: Any, lr: float) -> SGD:
    return SGD(parameters, lr, momentum=0.9, weight_decay=1e-4, nesterov=True)
