"""Step 2 of FlexPose: bend a prior towards a few shots (section 3.3).

Three optional parts: tau, the paper's; bone-length ratios; and the weights by which samples are
kept. All are steps of one task, so that cancelling and resuming work alike in all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from flexpose.checkpoint import CheckpointMeta
from flexpose.compute import generator_for, prepare, resolve_device
from flexpose.configs.adaptation import AdaptConfig
from flexpose.errors import CheckpointError, FlexPoseError
from flexpose.events import JobEvent, MetricsReady, PhaseChanged, PreviewReady, WarningRaised
from flexpose.jobs import CancelToken
from flexpose.kinematics import KinematicTransfer
from flexpose.losses import energy_distance, pairwise
from flexpose.models.generator import PoseGenerator
from flexpose.models.prior import Prior, load_prior, load_weights, under_prefix, with_prefix
from flexpose.models.transfer import TransferFunction
from flexpose.runs import RunDir
from flexpose.sampling import PoseModel, chosen_layers, keypoints, weights_from
from flexpose.training.data import load_shots
from flexpose.training.loop import Preview, Schedule, run_task
from flexpose.training.outcome import (
    COLLAPSED,
    adapted_meta,
    check_same_shots,
    outcome,
    three_rows,
)
from flexpose.training.pairs import PairedLoss
from flexpose.training.pose_map import AdaptationMap
from flexpose.weighting import EnergyWeights, fit_energy_weights

_WEIGHTS, _PREVIEW, _EVALUATE, _HELD_OUT = ((1 << 40) + i for i in range(4))  # beside the steps
_CHECK_EVERY = 20  # steps between looks at held-out shots
_POOL = 1024  # poses that weights are fitted on: enough to stand for the prior, quick to compare


def run(config: AdaptConfig, run: RunDir, cancel: CancelToken) -> Iterator[JobEvent]:
    """Job ``adapt``."""
    device = resolve_device(config.device)
    prepare(device, config.threads)
    yield PhaseChanged("loading the prior")
    prior = load_prior(config.prior, device, config.regressor)
    shots, notes = load_shots(config.shots, config.prior, prior.skeleton)
    for note in notes:
        yield WarningRaised("shots", note)
    task = AdaptationTask(config, prior, torch.from_numpy(shots).to(device), device)
    places = None
    if config.map:
        yield PhaseChanged("mapping source poses")
        places = AdaptationMap(prior, task.shots, config.seed)
    schedule = Schedule(task.total_steps, config.preview_every, evaluate_every=task.total_steps)
    for event in run_task(task, schedule, run, cancel):
        yield event
        if isinstance(event, PreviewReady) and places is not None:
            yield places.event(event.step, task.model())
        if isinstance(event, MetricsReady) and event.metrics["spread_ratio"] < COLLAPSED:
            yield WarningRaised(
                "collapse",
                f"The generated poses vary only {event.metrics['spread_ratio']:.2f} times as much "
                "as the shots: the adaptation has collapsed.",
                "Use matching 'energy', fewer steps or layers, or add shots that differ more.",
            )


class AdaptationTask:
    """tau, bone ratios and sample weights.

    Under index and ot, tau is fitted first, by Eq. 5. Then comes one common fit of all that acts
    on the distribution: every ``reweight_every`` steps the weights are fitted to what is generated
    now, and in between tau (matching energy) and the ratios follow the gradient of the weighted
    energy distance. So no part has to explain what another explains better: alone, ratios stretch
    limbs where merely other actions are wanted. The last step fits the weights anew.

    Parameters
    ----------
    shots : float (M, J, 2), unit space, box-normalised, on ``device``
    """

    name = "adapt"

    def __init__(
        self, config: AdaptConfig, prior: Prior, shots: Tensor, device: torch.device
    ) -> None:
        self.config, self.prior, self.shots, self.device = config, prior, shots, device
        self.fitted = shots[: max(len(shots) - config.hold_out, 0)]
        self.held_out = shots[len(self.fitted) :]
        if len(self.fitted) < 2:
            raise FlexPoseError(
                f"With {config.hold_out} of {len(shots)} shots held out fewer than 2 are left to "
                "adapt to.",
                "Hold out fewer, or label more.",
            )
        self.batch_size = config.batch_size or (64 if prior.regressor is not None else 512)
        self.transfer: TransferFunction | None = None
        self.kinematics: KinematicTransfer | None = None
        self.weights: EnergyWeights | None = None
        self._guide: EnergyWeights | None = None  # weights within the fit
        self.pairs: PairedLoss | None = None
        groups, part = [], config.transfer
        if part.matching != "none":
            chosen = chosen_layers(prior.generator, part.layers)
            self.transfer = TransferFunction(prior.generator.layers, chosen, part.bias).to(device)
            groups.append({"params": list(self.transfer.parameters()), "lr": part.lr})
        if part.matching in ("index", "ot"):
            self.pairs = PairedLoss(
                part.pairs,
                part.matching,
                config.regressor,
                config.seed,
                prior,
                self._generator,
                self.fitted,
                device,
            )
        if config.kinematics.enabled:
            self.kinematics = KinematicTransfer(prior.skeleton).to(device)
            groups.append(
                {"params": list(self.kinematics.parameters()), "lr": config.kinematics.lr}
            )
        self.parts = nn.ModuleDict(
            {
                name: module
                for name, module in (("transfer", self.transfer), ("kinematics", self.kinematics))
                if module is not None
            }
        )
        self._optimizer = torch.optim.Adam(groups) if groups else None
        self._best, self._best_value = self._snapshot(), float("inf")
        self.pair_steps = part.pairs.steps if self.pairs is not None else 0
        gradual = part.matching == "energy" or config.kinematics.enabled
        self.fit_steps = config.steps if gradual else 0
        # the last step fits the weights; it is there even for a config without any part
        self.total_steps = self.pair_steps + self.fit_steps + 1

    @property
    def lr(self) -> float:
        return self.config.transfer.lr

    @property
    def _generator(self) -> PoseGenerator:
        return PoseModel(self.prior, self.transfer).generator

    def step(self, step: int) -> Mapping[str, Tensor]:
        if step <= self.pair_steps:
            return self._pair_step(step)
        if step < self.total_steps:
            return self._fit_step(step)
        return self._last_step()

    def _pair_step(self, step: int) -> Mapping[str, Tensor]:
        """Eq. 5 and its regularisers."""
        assert self.pairs is not None
        losses = self.pairs(step)
        loss = losses["pairs"]
        if "energy" in losses:
            loss = loss + self.config.transfer.pairs.energy_weight * losses["energy"]
        return self._descend(loss + self._pull(losses), losses, step)

    def _fit_step(self, step: int) -> Mapping[str, Tensor]:
        """Weighted energy distance of fresh poses to the shots, and its regularisers."""
        if self.pairs is not None and self.transfer is not None:
            self.transfer.requires_grad_(False)  # Eq. 5 alone decides it
        if self.config.weighting.enabled and (
            (step - self.pair_steps - 1) % self.config.reweight_every == 0
        ):
            self._guide = self._fit_weights(step)
        made = self._made(self.batch_size, generator_for(self.config.seed, step)).flatten(1)
        weights = None if self._guide is None else self._guide.follow(made.detach())
        losses = {"energy": energy_distance(made, self.fitted.flatten(1), weights)}
        return self._descend(losses["energy"] + self._pull(losses), losses, step)

    def _pull(self, losses: dict[str, Tensor]) -> Tensor:
        """Regularisers towards the unadapted prior."""
        total = self.shots.new_zeros(())
        if self.transfer is not None and self.config.transfer.identity_weight:
            losses["identity"] = self.transfer.distance_from_identity()
            total = total + self.config.transfer.identity_weight * losses["identity"]
        if self.kinematics is not None:
            losses["ratios"] = self.kinematics.log_ratio.square().sum()
            total = total + self.config.kinematics.l2_weight * losses["ratios"]
        return total

    def _descend(
        self, loss: Tensor, losses: Mapping[str, Tensor], step: int
    ) -> Mapping[str, Tensor]:
        assert self._optimizer is not None
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        if len(self.held_out) and step % _CHECK_EVERY == 0:
            self._remember_best()
        return {name: value.detach() for name, value in losses.items()}

    @torch.no_grad()
    def _remember_best(self) -> None:
        """Keep what came nearest to the held-out shots."""
        made = self._made(512, generator_for(self.config.seed, _HELD_OUT)).flatten(1)
        weights = made.new_full((512,), 1 / 512)
        if self._guide is not None:
            weights = self._guide.share_of(made)
        attraction = weights @ torch.cdist(made, self.held_out.flatten(1)).mean(dim=1)
        value = float(2 * attraction - weights @ pairwise(made) @ weights)
        if value < self._best_value:
            self._best, self._best_value = self._snapshot(), value

    def _snapshot(self) -> dict[str, Tensor]:
        return {name: t.detach().clone() for name, t in self.parts.state_dict().items()}

    @torch.no_grad()
    def _last_step(self) -> Mapping[str, Tensor]:
        if self._best_value < float("inf"):
            self.parts.load_state_dict(self._best)
        if not self.config.weighting.enabled:
            return {}
        self.weights = self._fit_weights(self.total_steps)
        made = self._made(_POOL, generator_for(self.config.seed, _EVALUATE)).flatten(1)
        share = self.weights.share_of(made)
        return {
            "energy": energy_distance(made, self.shots.flatten(1), share),
            "effective_share": 1 / (share.square().sum() * len(made)),
        }

    @torch.no_grad()
    def _fit_weights(self, step: int) -> EnergyWeights:
        random = generator_for(self.config.seed, _WEIGHTS, step)
        pool = self._made(_POOL, random).flatten(1)
        shots = self.fitted if step < self.total_steps else self.shots
        entropy = self.config.weighting.entropy_weight
        return fit_energy_weights(pool, shots.flatten(1), entropy)

    def _made(self, count: int, random: torch.Generator) -> Tensor:
        """Unit poses (count, J, 2) of g_t under the bone ratios, differentiable."""
        z = torch.randn(count, self.prior.generator.z_dim, generator=random).to(self.device)
        chunk = count if torch.is_grad_enabled() else self.model().chunk
        poses = torch.cat([keypoints(self._generator, self.prior, part) for part in z.split(chunk)])
        return poses if self.kinematics is None else self.kinematics(poses)

    def model(self) -> PoseModel:
        """What has been fitted so far, ready to sample from."""
        return PoseModel(
            self.prior,
            self.transfer,
            self.kinematics,
            self._rule,
            self.shots,
            mixup_share=self.config.mixup_share,
        )

    @property
    def _rule(self) -> EnergyWeights | None:
        """The weights as far as they are known: those within the fit until the last step."""
        return self.weights if self.weights is not None else self._guide

    def evaluate(self) -> Mapping[str, float]:
        """As `outcome` says."""
        return outcome(self.model(), self.shots, generator_for(self.config.seed, _EVALUATE))

    @torch.no_grad()
    def preview(self) -> Preview:
        """Source samples, the same latents adapted, the nearest shots."""
        random = generator_for(self.config.seed, _PREVIEW)
        z = torch.randn(8, self.prior.generator.z_dim, generator=random).to(self.device)
        source = keypoints(self.prior.generator, self.prior, z)
        adapted = self._made(8, generator_for(self.config.seed, _PREVIEW))
        return three_rows(self.prior, source, adapted, self.shots)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = {"shots": self.shots, **self.parts.state_dict()}
        if self._rule is not None:
            tensors |= with_prefix("weighting.", self._rule)
        train: dict[str, Any] = {
            "best": self._best,
            "best_value": self._best_value,
            "ended": self.weights is not None,
        }
        if self._optimizer is not None:
            train["optimizer"] = self._optimizer.state_dict()
        if self.pairs is not None:
            train["pairs"] = self.pairs.state()
        if self._guide is not None:
            train["guide"] = self._guide.state_dict()
        return tensors, train

    def load_state(self, tensors: Mapping[str, Tensor], train_state: Mapping[str, Any]) -> None:
        check_same_shots(tensors, self.shots)
        try:
            for name, module in self.parts.items():
                load_weights(module, tensors, f"{name}.", "checkpoint")
            self._best, self._best_value = train_state["best"], train_state["best_value"]
            ended = train_state["ended"]
            if self._optimizer is not None:
                self._optimizer.load_state_dict(train_state["optimizer"])
            if self.pairs is not None:
                self.pairs.load_state(train_state["pairs"])
        except KeyError as error:
            raise CheckpointError(f"The checkpoint lacks the state {error}.") from error
        self._guide = weights_from(train_state.get("guide", {}), "checkpoint", self.device)
        if ended:
            own = under_prefix("weighting.", tensors)
            self.weights = weights_from(own, "checkpoint", self.device)

    def meta(self) -> CheckpointMeta:
        return adapted_meta(self.config, self.prior)
