"""Priors: building generators from configs, and loading trained ones by name or folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from flexpose.checkpoint import CheckpointMeta, load_checkpoint
from flexpose.configs.prior import GeneratorConfig, KeypointGeneratorConfig, PriorConfig
from flexpose.errors import CheckpointError, ConfigError, UnknownNameError
from flexpose.models.generator import PoseGenerator, PoseOutput
from flexpose.models.keypoint_generator import (
    KeypointDiscriminator,
    KeypointGenerator,
    box_normalised,
)
from flexpose.models.regressor import PoseRegressor
from flexpose.models.stylegan import ImageDiscriminator, StyleGenerator
from flexpose.rendering.fit import PoseFit
from flexpose.rendering.soft import Renderer
from flexpose.rendering.style import DrawingStyle
from flexpose.shipped import shipped_priors
from flexpose.skeleton import Skeleton

AnyGenerator = KeypointGenerator | StyleGenerator
AnyDiscriminator = KeypointDiscriminator | ImageDiscriminator


@dataclass(frozen=True)
class Prior:
    """A trained source prior on its device, frozen and in evaluation mode.

    Attributes
    ----------
    generator : g_s (its moving average)
    skeleton, style : what its poses and drawings mean
    meta : the checkpoint's description
    path : the checkpoint folder
    regressor : beta, None for keypoint generators
    source_sample : float32 (n, J, 2), unit space: some of the poses it learned, or None
    source_map : float32 (n, 2), their places on a t-SNE map, or None
    """

    generator: PoseGenerator
    skeleton: Skeleton
    style: DrawingStyle
    meta: CheckpointMeta
    path: Path
    regressor: PoseRegressor | None = None
    source_sample: Tensor | None = None
    source_map: Tensor | None = None

    @cached_property
    def fit(self) -> PoseFit:
        """Alpha turned round: makes what beta reads exact."""
        return PoseFit(Renderer(self.skeleton, self.style, self.generator.w_mean.device))

    def read(self, output: PoseOutput) -> tuple[Tensor, Tensor]:
        """Keypoints read from generated images, and how far each image is from a drawing of them.

        Their values are fitted to the image, their gradient is beta's.

        Returns
        -------
        float (n, J, 2), unit space, box-normalised, and float (n,), mean square difference
        """
        if self.regressor is None or output.images is None:
            raise CheckpointError(f"The prior {self.path} draws images; reading them needs beta.")
        seen = self.regressor(output.images)[0]
        fitted, error = self.fit(seen.detach(), output.images.detach())
        return box_normalised(seen + (fitted - seen).detach()), error


def build_networks(
    config: GeneratorConfig, skeleton: Skeleton, random: torch.Generator | None = None
) -> tuple[AnyGenerator, AnyDiscriminator]:
    """Fresh generator and discriminator; ``random`` decides the initial weights."""
    with torch.random.fork_rng(devices=[]):
        if random is not None:
            torch.manual_seed(random.initial_seed())
        if isinstance(config, KeypointGeneratorConfig):
            disc = KeypointDiscriminator(skeleton, config.disc_width)
            return _keypoint_generator(config, skeleton), disc
        taught = config.taught_by
        if taught is not None and taught.z_dim != config.z_dim:
            raise ConfigError(
                f"The generator's z_dim is {config.z_dim}, its teacher's {taught.z_dim}.",
                "Give both the same.",
            )
        generator = StyleGenerator(
            config.size,
            config.channels,
            config.modulation,
            config.z_dim,
            config.w_dim,
            config.mapping_depth,
            config.channel_base,
            config.channel_max,
            _keypoint_generator(taught, skeleton) if taught is not None else None,
        )
        return generator, ImageDiscriminator(
            config.size, config.channels, config.channel_base, config.channel_max
        )


def _keypoint_generator(config: KeypointGeneratorConfig, skeleton: Skeleton) -> KeypointGenerator:
    return KeypointGenerator(
        skeleton.num_joints,
        config.z_dim,
        config.w_dim,
        config.width,
        config.depth,
        config.mapping_depth,
    )


def drawing_style(config: GeneratorConfig) -> DrawingStyle:
    """How a generator's poses are drawn; keypoint generators have no canvas of their own."""
    if isinstance(config, KeypointGeneratorConfig):
        return DrawingStyle.for_size(64)
    return DrawingStyle.for_size(config.size, config.channels)


def checkpoint_path(name: str | Path) -> Path:
    """A shipped checkpoint by name, or any folder of a checkpoint or run.

    Raises
    ------
    UnknownNameError : neither a shipped name nor an existing folder.
    """
    shipped = shipped_priors()
    if str(name) in shipped:
        return shipped[str(name)]
    if Path(name).is_dir():
        return Path(name)
    raise UnknownNameError("prior or checkpoint folder", str(name), shipped)


def load_generator(name: str | Path, device: torch.device | str = "cpu") -> Prior:
    """Load a source prior without beta.

    Raises
    ------
    UnknownNameError, CheckpointError : it is not there, or not usable.
    """
    found = load_checkpoint(checkpoint_path(name), kind="prior")
    config = PriorConfig.model_validate(dict(found.meta.config))
    skeleton = Skeleton.from_dict(found.meta.skeleton, found.path)
    generator, _ = build_networks(config.generator, skeleton)
    load_weights(generator, found.tensors, "generator_ema.", found.path)
    frozen(generator, device)
    style = DrawingStyle.from_dict(found.meta.style)
    sample, places = (found.tensors.get(f"source_{name}") for name in ("sample", "map"))
    return Prior(
        generator, skeleton, style, found.meta, found.path, source_sample=sample, source_map=places
    )


def load_prior(
    name: str | Path, device: torch.device | str = "cpu", regressor: str | Path | None = None
) -> Prior:
    """Load a source prior, with beta where it draws images.

    Parameters
    ----------
    regressor : beta's checkpoint; by default the shipped one of the prior's skeleton

    Raises
    ------
    UnknownNameError, CheckpointError : one of them is not there, not usable, or they do not fit.
    """
    prior = load_generator(name, device)
    if not isinstance(prior.generator, StyleGenerator):
        return prior
    beta = load_fitting_regressor(regressor, prior.skeleton, prior.style, device)
    return replace(prior, regressor=beta)


def load_fitting_regressor(
    name: str | Path | None, skeleton: Skeleton, style: DrawingStyle, device: torch.device | str
) -> PoseRegressor:
    """Load beta for drawings of a skeleton in a style; the shipped one when it has no name.

    Raises
    ------
    UnknownNameError, CheckpointError : it is not there, not usable, or reads other drawings.
    """
    name = name or f"{skeleton.name}-regressor"
    beta, reads, drawn = load_regressor(name, device)
    if not reads.same_layout(skeleton) or drawn != style:
        raise CheckpointError(
            f"The regressor {name} reads {reads.name} drawn as {drawn.to_dict()}; needed is one "
            f"for {skeleton.name} drawn as {style.to_dict()}.",
            "Train it with train-regressor.",
        )
    return beta


def load_regressor(
    name: str | Path, device: torch.device | str = "cpu"
) -> tuple[PoseRegressor, Skeleton, DrawingStyle]:
    """Load beta with what it reads."""
    found = load_checkpoint(checkpoint_path(name), kind="regressor")
    skeleton = Skeleton.from_dict(found.meta.skeleton, found.path)
    style = DrawingStyle.from_dict(found.meta.style)
    model = PoseRegressor(skeleton.num_joints, style.channels, int(found.meta.config["width"]))
    load_weights(model, found.tensors, "regressor.", found.path)
    frozen(model, device)
    return model, skeleton, style


def frozen(model: nn.Module, device: torch.device | str) -> nn.Module:
    """The module on its device, without gradients, in evaluation mode."""
    return model.to(device).eval().requires_grad_(False)


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor], prefix: str, where: Any) -> None:
    """Load the tensors of one network out of a checkpoint.

    Raises
    ------
    CheckpointError : names or shapes do not fit.
    """
    try:
        model.load_state_dict(under_prefix(prefix, tensors))
    except RuntimeError as error:
        # torch names every tensor, one or more a line; the first says enough
        first = " ".join(str(error).splitlines()[1:2]).strip() or str(error)
        raise CheckpointError(
            f"{where}: its weights do not fit its config ({first[:200]})."
        ) from error


def with_prefix(prefix: str, model: nn.Module) -> dict[str, Tensor]:
    """A network's tensors under a prefix, for a checkpoint."""
    return {prefix + name: tensor for name, tensor in model.state_dict().items()}


def under_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of one network out of a checkpoint's, without their prefix."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
