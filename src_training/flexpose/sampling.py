"""Drawing poses: z -> g_t -> beta -> filter -> kinematics -> weighted acceptance, and T*."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from flexpose.checkpoint import load_checkpoint, sha256_of
from flexpose.configs.adaptation import AdaptConfig
from flexpose.configs.baselines import BaselineConfig
from flexpose.errors import CheckpointError, ConfigError, FlexPoseError, UnknownNameError
from flexpose.geometry import normalised
from flexpose.kinematics import KinematicTransfer
from flexpose.mixup import pose_mixup
from flexpose.models.generator import PoseGenerator, PoseOutput, styles
from flexpose.models.prior import (
    Prior,
    checkpoint_path,
    frozen,
    load_prior,
    load_weights,
    under_prefix,
)
from flexpose.models.transfer import TransferFunction, TransferredGenerator
from flexpose.weighting import EnergyWeights

_CHUNK = {"image": 128, "keypoints": 4096}  # latents a forward pass; larger ones fall out of cache
_HOPELESS = 200  # chunks in a row without one accepted pose


@dataclass(frozen=True)
class PoseModel:
    """A prior and what adaptation added to it; each part may be absent.

    Attributes
    ----------
    prior : g_s with its skeleton, drawing style and beta
    transfer : tau
    kinematics : bone-length ratios
    weights : acceptance rule
    shots : float32 (M, J, 2), unit space: T
    mixup_share : so much of what is drawn is T*, pose-mixups of the shots
    own : a generator in the place of g_s, from an adaptation that changed its weights
    """

    prior: Prior
    transfer: TransferFunction | None = None
    kinematics: KinematicTransfer | None = None
    weights: EnergyWeights | None = None
    shots: Tensor | None = None
    own: PoseGenerator | None = None
    mixup_share: float = 0.0

    @property
    def generator(self) -> PoseGenerator:
        """g_t, or g_s when nothing was adapted."""
        if self.own is not None:
            return self.own
        if self.transfer is None:
            return self.prior.generator
        return TransferredGenerator(self.prior.generator, self.transfer)

    @property
    def chunk(self) -> int:
        """How many latents to run at once."""
        return _CHUNK["image" if self.prior.regressor is not None else "keypoints"]


def load_model(
    name: str | Path, device: torch.device | str = "cpu", regressor: str | Path | None = None
) -> PoseModel:
    """Load an adapted run, or a plain prior, for sampling.

    Raises
    ------
    CheckpointError : the folder is no model, or was adapted from another prior than is there now.
    """
    path = checkpoint_path(name)
    found = load_checkpoint(path)
    if found.meta.kind == "prior":
        return PoseModel(load_prior(name, device, regressor))
    if found.meta.kind != "adapted":
        raise CheckpointError(
            f"{path} holds a {found.meta.kind}, expected a prior or an adapted model."
        )
    saved = dict(found.meta.config)
    config: AdaptConfig | BaselineConfig
    if "adapter" in saved:
        config = BaselineConfig.model_validate(saved)
    else:
        config = AdaptConfig.model_validate(saved)
    parent = found.meta.parent or {}
    try:
        prior = load_prior(_moved(config.prior, path), device, regressor or config.regressor)
    except UnknownNameError as error:
        lost = "prior" if error.name == config.prior else "regressor"
        raise CheckpointError(
            f"{path} was adapted with the {lost} {error.name}, which is not there any more.",
            "Put it back to where it was.",
        ) from error
    have = sha256_of(prior.path)
    if parent.get("sha256") != have:
        raise CheckpointError(
            f"{path} was adapted from a prior with the hash {str(parent.get('sha256'))[:8]}..., "
            f"but {config.prior} is now {have[:8]}...",
            "Adapt again, or put that prior back.",
        )
    if isinstance(config, BaselineConfig):
        own = copy.deepcopy(prior.generator)
        assert isinstance(own, nn.Module)
        load_weights(own, found.tensors, "generator.", path)
        return PoseModel(prior, own=own, shots=found.tensors.get("shots"))
    return _assemble(prior, found.tensors, config, str(path), device)


def _moved(prior: str, run: Path) -> str | Path:
    """The prior; when it has gone, the run of its name beside the adapted one: both may have moved.

    Whether it is the same one, its hash says.
    """
    beside = run.parent / Path(prior).name
    gone = Path(prior).is_absolute() and not Path(prior).exists()
    return beside if gone and beside.is_dir() else prior


def _assemble(
    prior: Prior,
    tensors: dict[str, Tensor],
    config: AdaptConfig,
    where: str,
    device: torch.device | str,
) -> PoseModel:
    """The parts that a checkpoint holds."""
    transfer = kinematics = None
    if any(name.startswith("transfer.") for name in tensors):
        chosen = chosen_layers(prior.generator, config.transfer.layers)
        transfer = TransferFunction(prior.generator.layers, chosen, config.transfer.bias)
        load_weights(transfer, tensors, "transfer.", where)
        frozen(transfer, device)
    if any(name.startswith("kinematics.") for name in tensors):
        kinematics = KinematicTransfer(prior.skeleton)
        load_weights(kinematics, tensors, "kinematics.", where)
        frozen(kinematics, device)
    weights = weights_from(under_prefix("weighting.", tensors), where, device)
    shots = tensors.get("shots")
    return PoseModel(prior, transfer, kinematics, weights, shots, mixup_share=config.mixup_share)


def weights_from(
    part: Mapping[str, Tensor], where: str, device: torch.device | str
) -> EnergyWeights | None:
    """The acceptance rule of its saved tensors, None when there are none."""
    if not part:
        return None
    try:
        rule = EnergyWeights(
            part["shots"],
            part["pool"],
            part["weights"],
            float(part["entropy_weight"]),
            float(part["ceiling"]),
        )
    except KeyError as error:
        raise CheckpointError(f"{where}: the tensor {error} of the weights is missing.") from error
    return rule.to(device)


def generate(generator: PoseGenerator, z: Tensor, truncation: float = 1.0) -> PoseOutput:
    """phi(A(f(z))), through tau where the generator has one."""
    return generator.synthesize(styles(generator, z, truncation))


def keypoints(generator: PoseGenerator, prior: Prior, z: Tensor) -> Tensor:
    """Unit keypoints (n, J, 2) of a generator: its own, or read by the prior's beta."""
    output = generate(generator, z)
    return output.keypoints if output.keypoints is not None else prior.read(output)[0]


def among_mixups(
    poses: Tensor, shots: Tensor | None, share: float, random: torch.Generator
) -> Tensor:
    """Unit poses and so many pose-mixups of the shots that these are ``share`` of all, shuffled."""
    if not share or shots is None:
        return poses
    count = round(len(poses) * share / (1 - share))
    numbers = np.random.default_rng(int(torch.randint(1 << 62, (), generator=random)))
    mixed = normalised(pose_mixup(shots.cpu().numpy(), count, numbers))
    both = torch.cat([poses, torch.from_numpy(mixed).to(poses)])
    return both[torch.randperm(len(both), generator=random)]


def chosen_layers(generator: PoseGenerator, layers: tuple[int, ...] | str) -> list[int]:
    """1-based layer indices of a config's choice."""
    if isinstance(layers, str):
        return [layer.index for layer in generator.layers]
    return list(layers)


@dataclass
class Drawn:
    """Counts of a sampling run, for its report."""

    made: int = 0
    inconsistent: int = 0
    unlikely: int = 0
    kept: int = 0


class PoseSampler:
    """Draws unit poses from a model, in order and repeatably from a random source.

    Parameters
    ----------
    reject : share of images that the self-consistency filter drops; its threshold is set on the
        first 1024 images
    truncation : pull of w towards its mean, 1 for none
    mixup_share : instead of the model's

    Raises
    ------
    ConfigError : mixups are asked of a model without shots.
    """

    def __init__(
        self,
        model: PoseModel,
        reject: float = 0.05,
        truncation: float = 1.0,
        mixup_share: float | None = None,
    ) -> None:
        self.model, self.truncation = model, truncation
        self.mixup_share = model.mixup_share if mixup_share is None else mixup_share
        if self.mixup_share and model.shots is None:
            raise ConfigError(
                "A plain prior has no shots, so there are no pose-mixups to draw.",
                "Leave mixup_share empty, or name an adapted run.",
            )
        self.generator = model.generator
        self.device = self.generator.w_mean.device
        self.counts = Drawn()
        self._threshold = float("inf")
        if model.prior.regressor is not None and reject > 0:
            errors = [
                self._read(torch.Generator().manual_seed(i), model.chunk)[1] for i in range(8)
            ]
            self._threshold = float(torch.cat(errors).quantile(1 - reject))

    @torch.no_grad()
    def chunks(self, random: torch.Generator) -> Iterator[Tensor]:
        """Endless chunks (k, J, 2) of accepted unit poses, of varying length.

        Raises
        ------
        FlexPoseError : next to nothing is accepted.
        """
        model, empty = self.model, 0
        while True:
            poses, errors = self._read(random, model.chunk)
            self.counts.made += len(poses)
            consistent = errors <= self._threshold
            self.counts.inconsistent += int((~consistent).sum())
            poses = poses[consistent]
            if model.kinematics is not None:
                poses = model.kinematics(poses)
            if model.weights is not None:
                accepted = model.weights.accept(poses.flatten(1), random)
                self.counts.unlikely += int((~accepted).sum())
                poses = poses[accepted]
            self.counts.kept += len(poses)
            empty = 0 if len(poses) else empty + 1
            if empty > _HOPELESS:
                raise FlexPoseError(
                    f"Of {self.counts.made} generated poses none of the last "
                    f"{_HOPELESS * model.chunk} resembles the shots.",
                    "Adapt again with a larger entropy weight.",
                )
            if len(poses):
                yield among_mixups(poses, model.shots, self.mixup_share, random)

    def draw(self, count: int, random: torch.Generator) -> Tensor:
        """``count`` unit poses (count, J, 2) on the CPU."""
        parts: list[Tensor] = []
        have = 0
        for chunk in self.chunks(random):
            parts.append(chunk.cpu())
            have += len(chunk)
            if have >= count:
                break
        return torch.cat(parts)[:count]

    @torch.no_grad()
    def _read(self, random: torch.Generator, count: int) -> tuple[Tensor, Tensor]:
        """Fresh keypoints (n, J, 2) and their images' inconsistency (n,), 0 without images."""
        z = torch.randn(count, self.generator.z_dim, generator=random).to(self.device)
        output = generate(self.generator, z, self.truncation)
        if output.keypoints is not None:
            return output.keypoints, output.keypoints.new_zeros(count)
        return self.model.prior.read(output)
