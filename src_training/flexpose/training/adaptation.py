"""Step 2 of FlexPose: bend a prior towards a few shots (section 3.3).

tau is fitted first, then the two parts that act on generated poses: bone-length ratios, and the
weights by which samples are kept. Each part is optional; all three are steps of one task, so that
cancelling and resuming work alike in all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flexpose.checkpoint import CheckpointMeta, sha256_of
from flexpose.compute import generator_for, prepare, resolve_device
from flexpose.configs.adaptation import AdaptConfig
from flexpose.errors import CheckpointError, FlexPoseError, SkeletonMismatchError
from flexpose.events import CheckpointSaved, JobEvent, MetricsReady, PhaseChanged, WarningRaised
from flexpose.geometry import normalised, unit_to_canvas
from flexpose.io.base import read_poses
from flexpose.jobs import CancelToken
from flexpose.kinematics import KinematicTransfer
from flexpose.losses import energy_distance
from flexpose.mapping import map_poses
from flexpose.models.prior import Prior, load_prior, load_weights, with_prefix
from flexpose.rendering.soft import Renderer
from flexpose.runs import RunDir
from flexpose.sampling import PoseModel, PoseSampler, energy_weights_from, keypoints
from flexpose.skeleton import Skeleton
from flexpose.training.loop import Preview, Schedule, run_task
from flexpose.training.pictures import to_uint8
from flexpose.training.tau import TauFit
from flexpose.weighting import EnergyWeights, effective_share, fit_energy_weights

_POOL, _PREVIEW, _EVALUATE = ((1 << 40) + i for i in range(3))  # random streams beside the steps
COLLAPSED = 0.5
"""Spread ratio below which generated poses hardly differ from each other any more."""


def run(config: AdaptConfig, run: RunDir, cancel: CancelToken) -> Iterator[JobEvent]:
    """Job ``adapt``."""
    device = resolve_device(config.device)
    prepare(device, config.threads)
    yield PhaseChanged("loading the prior")
    prior = load_prior(config.prior, device, config.regressor)
    shots, notes = load_shots(config, prior.skeleton)
    for note in notes:
        yield WarningRaised("shots", note)
    task = AdaptationTask(config, prior, torch.from_numpy(shots).to(device), device)
    schedule = Schedule(task.total_steps, config.preview_every)
    for event in run_task(task, schedule, run, cancel):
        if isinstance(event, CheckpointSaved):
            yield from _judged(task, event.step)
        yield event


def _judged(task: AdaptationTask, step: int) -> Iterator[JobEvent]:
    """Measures of what was fitted, and a warning when it collapsed."""
    metrics = task.evaluate()
    yield MetricsReady(step, metrics, "shots")
    if metrics["spread_ratio"] < COLLAPSED:
        yield WarningRaised(
            "collapse",
            f"The generated poses vary only {metrics['spread_ratio']:.2f} times as much as the "
            "shots: the adaptation has collapsed.",
            "Use matching 'energy', fewer steps or layers, or add shots that differ more.",
        )


def load_shots(config: AdaptConfig, skeleton: Skeleton) -> tuple[NDArray[np.float32], list[str]]:
    """The complete shots (M, J, 2) in the prior's skeleton, normalised, and what was left out.

    Raises
    ------
    SkeletonMismatchError : the shots lack joints of the prior's skeleton.
    FlexPoseError : fewer than two complete shots.
    """
    poses = read_poses(config.shots)
    try:
        mapped = map_poses(poses, skeleton)
    except SkeletonMismatchError as error:
        raise SkeletonMismatchError(
            f"{config.shots}: {error.message} The prior {config.prior} needs them all.", error.hint
        ) from error
    complete = mapped[mapped.complete]
    if len(complete) < 2:
        raise FlexPoseError(
            f"{config.shots}: {len(complete)} of {len(poses)} poses have all joints of "
            f"{skeleton.name}, expected at least 2 shots.",
            "Label a dozen frames with every joint, occluded ones where you guess them.",
        )
    notes = []
    if len(complete) < len(poses):
        notes.append(
            f"{len(poses) - len(complete)} of {len(poses)} shots lack joints of {skeleton.name} "
            "and are left out."
        )
    return normalised(complete.keypoints), notes


class AdaptationTask:
    """tau, bone ratios and sample weights, fitted one after the other.

    Parameters
    ----------
    shots : float (M, J, 2), unit space, box-normalised, on ``device``
    """

    name = "adapt"

    def __init__(
        self, config: AdaptConfig, prior: Prior, shots: Tensor, device: torch.device
    ) -> None:
        self.config, self.prior, self.shots, self.device = config, prior, shots, device
        self.tau: TauFit | None = None
        self.kinematics: KinematicTransfer | None = None
        self.weights: EnergyWeights | None = None
        self._pool: Tensor | None = None
        self._tau_steps = self._kinematic_steps = 0
        if config.transfer.matching != "none":
            self.tau = TauFit(config, prior, shots, device)
            self._tau_steps = config.transfer.steps
        if config.kinematics.enabled:
            self.kinematics = KinematicTransfer(prior.skeleton).to(device)
            self._optimizer = torch.optim.Adam(self.kinematics.parameters(), config.kinematics.lr)
            self._kinematic_steps = config.kinematics.steps
        # at least one step, so that a config without any part still leaves a model
        self.total_steps = self._tau_steps + self._kinematic_steps + 1

    @property
    def lr(self) -> float:
        return self.config.transfer.lr

    def step(self, step: int) -> Mapping[str, Tensor]:
        if self.tau is not None and step <= self._tau_steps:
            return self.tau.step(step)
        if self.kinematics is not None and step < self.total_steps:
            return self._kinematic_step(self.kinematics)
        return self._weight_step()

    def _kinematic_step(self, kinematics: KinematicTransfer) -> Mapping[str, Tensor]:
        """Energy distance of the pool under bone ratios, pulled towards ratio 1."""
        made = kinematics(self._fixed_pool()[:1024]).flatten(1)
        loss = energy_distance(made, self.shots.flatten(1))
        size = kinematics.log_ratio.square().sum()
        self._optimizer.zero_grad(set_to_none=True)
        (loss + self.config.kinematics.l2_weight * size).backward()
        self._optimizer.step()
        return {"energy": loss.detach(), "ratios": size.detach()}

    @torch.no_grad()
    def _weight_step(self) -> Mapping[str, Tensor]:
        if not self.config.weighting.enabled:
            return {}
        pool = self._fixed_pool()
        if self.kinematics is not None:
            pool = self.kinematics(pool)
        flat, shots = pool.flatten(1), self.shots.flatten(1)
        self.weights = fit_energy_weights(flat, shots, self.config.weighting.entropy_weight)
        return {
            "energy": energy_distance(flat, shots, self.weights.weights),
            "effective_share": flat.new_tensor(effective_share(self.weights, flat)),
        }

    @torch.no_grad()
    def _fixed_pool(self) -> Tensor:
        """Poses of g_t that ratios and weights are fitted on; the same after resuming."""
        if self._pool is None:
            sampler = PoseSampler(PoseModel(self.prior, self._transfer))
            random = generator_for(self.config.seed, _POOL)
            self._pool = sampler.draw(self.config.pool_size, random).to(self.device)
        return self._pool

    @property
    def _transfer(self) -> Any:
        return None if self.tau is None else self.tau.transfer

    def model(self) -> PoseModel:
        """What has been fitted so far, ready to sample from."""
        return PoseModel(self.prior, self._transfer, self.kinematics, self.weights, self.shots)

    @torch.no_grad()
    def evaluate(self) -> Mapping[str, float]:
        """Energy distance to the shots and spread against them, of 1,000 poses."""
        sampler = PoseSampler(self.model())
        made = sampler.draw(1000, generator_for(self.config.seed, _EVALUATE)).flatten(1)
        shots = self.shots.cpu().flatten(1)
        spread = made.var(dim=0).sum().sqrt() / shots.var(dim=0).sum().sqrt()
        return {
            "energy_distance": float(energy_distance(made, shots)),
            "spread_ratio": float(spread),
            "kept_share": sampler.counts.kept / max(sampler.counts.made, 1),
        }

    @torch.no_grad()
    def preview(self) -> Preview:
        """Three rows of eight: source sample, the same latent adapted, the nearest shot."""
        random = generator_for(self.config.seed, _PREVIEW)
        z = torch.randn(8, self.prior.generator.z_dim, generator=random).to(self.device)
        model = self.model()
        source = keypoints(self.prior.generator, self.prior, z)
        adapted = keypoints(model.generator, self.prior, z)
        if model.kinematics is not None:
            adapted = model.kinematics(adapted)
        nearest = self.shots[torch.cdist(adapted.flatten(1), self.shots.flatten(1)).argmin(dim=1)]
        rows = torch.cat([source, adapted, nearest])
        render = Renderer(self.prior.skeleton, self.prior.style, self.device)
        canvas = unit_to_canvas(rows.cpu().numpy(), self.prior.style.size)
        return Preview(to_uint8(render(rows)), canvas)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors, train = {"shots": self.shots}, dict[str, Any]()
        if self.tau is not None:
            tensors |= with_prefix("transfer.", self.tau.transfer)
            train["tau"] = self.tau.train_state()
        if self.kinematics is not None:
            tensors |= with_prefix("kinematics.", self.kinematics)
            train["kinematics"] = self._optimizer.state_dict()
        if self.weights is not None:
            tensors |= with_prefix("weighting.", self.weights)
        return tensors, train

    def load_state(self, tensors: Mapping[str, Tensor], train_state: Mapping[str, Any]) -> None:
        shots = tensors.get("shots")
        if shots is None or not torch.equal(shots, self.shots.cpu()):
            raise CheckpointError(
                "The run was started with other shots than there are now.",
                "Start a new run, so that tau fits the shots.",
            )
        try:
            if self.tau is not None:
                load_weights(self.tau.transfer, tensors, "transfer.", "checkpoint")
                self.tau.load_train_state(train_state["tau"])
            if self.kinematics is not None:
                load_weights(self.kinematics, tensors, "kinematics.", "checkpoint")
                self._optimizer.load_state_dict(train_state["kinematics"])
        except KeyError as error:
            raise CheckpointError(f"The checkpoint lacks the state {error}.") from error
        self.weights = energy_weights_from(tensors, "checkpoint", self.device)

    def meta(self) -> CheckpointMeta:
        return CheckpointMeta(
            kind="adapted",
            skeleton=self.prior.skeleton.to_dict(),
            style=self.prior.style.to_dict(),
            config=self.config.model_dump(mode="json"),
            parent={"path": str(self.config.prior), "sha256": sha256_of(self.prior.path)},
            licence=self.prior.meta.licence,
        )
