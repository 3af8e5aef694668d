"""What every adapter offers, and where they are found."""

from __future__ import annotations

import copy
import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from flexpose.configs.baselines import BaselineConfig
from flexpose.errors import ConfigError
from flexpose.models.layers import EqualLinear
from flexpose.models.prior import AnyDiscriminator, AnyGenerator, Prior


@dataclass(frozen=True)
class Setting:
    """What an adapter is given.

    Attributes
    ----------
    config : of the run
    prior : g_s, frozen, with what its poses mean
    generator : a copy of g_s that the adapter may change
    judge : a copy of the prior's discriminator
    shots : float (M, J, 2), unit space, box-normalised: T
    wanted : float (E, J, 2), the same: T*, pose-mixups of the shots
    r1_gamma : weight of the R1 penalty that the prior was trained with
    """

    config: BaselineConfig
    prior: Prior
    generator: AnyGenerator
    judge: AnyDiscriminator
    shots: Tensor
    wanted: Tensor
    r1_gamma: float
    device: torch.device


class Adapter(Protocol):
    """Changes a copy of a generator. It attaches itself when it is made."""

    def __init__(self, setting: Setting) -> None:
        """Freeze, insert and wrap parts of ``setting.generator``.

        Raises
        ------
        ConfigError : the generator lacks what the config names.
        """

    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups of Adam: what is learned, each with its ``lr``."""

    def losses(self, step: int, random: torch.Generator) -> Mapping[str, Tensor]:
        """Weighted losses of a step; their sum is descended. Adversarial ones train D first."""

    def state(self) -> dict[str, Any]:
        """What resuming needs beside the generator and Adam: tensors and plain data."""

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""


@cache
def adapters() -> dict[str, type[Adapter]]:
    """All adapters by kind: the ``ADAPTERS`` of the modules of this package."""
    import flexpose.training.adapters as package

    modules = [
        importlib.import_module(f"{package.__name__}.{module.name}")
        for module in pkgutil.iter_modules(package.__path__)
    ]
    return {
        kind: adapter
        for module in modules
        for kind, adapter in getattr(module, "ADAPTERS", {}).items()
    }


def trained(module: nn.Module) -> list[nn.Parameter]:
    """The parameters of a module that are learned."""
    return [p for p in module.parameters() if p.requires_grad]


@torch.no_grad()
def merged(generator: AnyGenerator, plain: AnyGenerator) -> AnyGenerator:
    """A copy of the ``plain`` generator with the weights that adapters make of theirs."""
    result = copy.deepcopy(plain)
    for name, tensor in result.state_dict().items():
        path, _, leaf = name.rpartition(".")
        tensor.copy_(getattr(generator.get_submodule(path), leaf))
    return result


def affine_of(generator: AnyGenerator, index: int) -> EqualLinear:
    """A of a style layer, counted from 1.

    Raises
    ------
    ConfigError : there is no such layer.
    """
    count = len(generator.style_affine)
    if not 1 <= index <= count:
        raise ConfigError(
            f"Layer {index} was chosen for adaptation, but the generator has layers 1 to {count}."
        )
    affine = generator.style_affine[index - 1]
    assert isinstance(affine, EqualLinear)
    return affine


def filters(generator: AnyGenerator) -> Iterator[nn.Module]:
    """The layers of phi that have a weight, coarsest first."""
    for layer in generator.synthesis:
        if getattr(layer, "weight", None) is not None:
            yield layer
