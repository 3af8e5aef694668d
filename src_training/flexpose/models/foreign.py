"""Weights of other people's StyleGANs in our `StyleGenerator`, from state dicts only.

Key by key, with the factors in which the parametrisations differ. The layouts were read in
rosinality/stylegan2-pytorch@bef283a:model.py, rosinality/style-based-gan-pytorch@07fa60b:model.py
and NVlabs/stylegan2-ada-pytorch@d72cc7d:training/networks.py.
"""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal, get_args

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from flexpose.checkpoint import CheckpointMeta, save_checkpoint
from flexpose.configs.base import config_error
from flexpose.configs.prior import ImageGeneratorConfig, PriorConfig, SourceConfig
from flexpose.errors import CheckpointError, UnknownNameError
from flexpose.models.prior import drawing_style, frozen, with_prefix
from flexpose.models.stylegan import StyleGenerator, channels_at
from flexpose.rendering.style import DrawingStyle
from flexpose.skeleton import Skeleton

Family = Literal["rosinality-stylegan2", "rosinality-stylegan1", "nvlabs-ada"]
Keys = dict[str, tuple[str, float]]
"""Our tensor's name -> the foreign one's and the factor it is multiplied by."""

_HE = math.sqrt(2)  # StyleGAN1 in PyTorch scales by sqrt(2 / fan_in), we by sqrt(1 / fan_in)
_MAPPING_LR = 0.01  # lr_mult of our mapping network, and of both StyleGAN2s'
_SHOWN = 5  # missing keys in an error
_MEAN_OF = 10_000  # latents whose w are averaged where a file holds no mean
_EMA = {
    "rosinality-stylegan2": "g_ema",
    "rosinality-stylegan1": "g_running",
    "nvlabs-ada": "G_ema",
}
_CONVERT = (
    "Convert it with that repository's own code in your clone of it, and only if you trust the "
    'file: python -c "import pickle, torch; '
    "torch.save(pickle.load(open('network.pkl', 'rb'))['G_ema'].state_dict(), 'G_ema.pt')\""
)


def foreign_generator(path: Path | str, family: Family, size: int | None = None) -> StyleGenerator:
    """Load another StyleGAN's averaged generator, frozen; the file says its sizes.

    Parameters
    ----------
    path : ``.safetensors``, or what torch.save wrote: a state dict or a training's checkpoint
    size : canvas in pixels; only ``rosinality-stylegan1`` needs it, since its files hold blocks
        for all sizes, trained or not

    Raises
    ------
    UnknownNameError : there is no such family.
    CheckpointError : the file cannot be read, holds code, lacks tensors, or is of a shape or form
        that `StyleGenerator` does not have.
    """
    return _load(Path(path), family, size)[0]


def import_prior(
    path: Path | str,
    family: Family,
    skeleton: Skeleton,
    style: DrawingStyle | None,
    out: Path,
    size: int | None = None,
) -> Path:
    """Write another StyleGAN as a checkpoint of kind ``prior``; returns ``out``.

    It has no discriminator, so it can be sampled and adapted but not trained on. Its config's
    source is the foreign file.

    Parameters
    ----------
    skeleton, style : what its images show, and how that is drawn; by default as for its canvas
    size : see `foreign_generator`

    Raises
    ------
    UnknownNameError, CheckpointError : see `foreign_generator`; or the style's canvas is another,
        or ``out`` exists.
    ConfigError : a prior's config does not allow these sizes.
    """
    path = Path(path)
    generator, sizes = _load(path, family, size)
    try:
        described = ImageGeneratorConfig.model_validate(sizes)
    except ValidationError as error:
        raise config_error(error, f"{path}: ") from error
    style = style or drawing_style(described)
    if (style.size, style.channels) != (described.size, described.channels):
        raise CheckpointError(
            f"{path} draws {described.size} pixels in {described.channels} channels, the drawing "
            f"style says {style.size} and {style.channels}."
        )
    source = SourceConfig(poses=path.absolute(), skeleton=skeleton.name)
    meta = CheckpointMeta(
        kind="prior",
        skeleton=skeleton.to_dict(),
        style=style.to_dict(),
        config=PriorConfig(source=source, generator=described).model_dump(mode="json"),
        licence=f"as the {family} weights that it was read from",
    )
    return save_checkpoint(out, tensors=with_prefix("generator_ema.", generator), meta=meta)


def _load(path: Path, family: Family, size: int | None) -> tuple[StyleGenerator, dict[str, Any]]:
    """The generator, and the arguments that it was built with."""
    if family not in get_args(Family):
        raise UnknownNameError("family", family, get_args(Family))
    tensors = _state_dict(_read(path), family, path)
    _check_filters(tensors, path)
    if family == "rosinality-stylegan1":
        tensors = _unfused(tensors)
        names = _stylegan1_keys(tensors, size, path)
    elif family == "rosinality-stylegan2":
        names = _stylegan2_keys(tensors)
    else:
        if "mapping.embed.weight" in tensors:
            raise CheckpointError(f"{path} is conditioned on classes, expected none.")
        names = _ada_keys(tensors)
    if "latent_avg" in tensors:
        names["mapping.w_mean"] = ("latent_avg", 1.0)
    missing = [theirs for theirs, _ in names.values() if theirs not in tensors]
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise CheckpointError(
            f"{path} lacks {', '.join(missing[:_SHOWN])}{more}, which a {family} generator has.",
            "Check the family; only its unchanged architecture can be read.",
        )
    sizes = _sizes({ours: tensors[theirs] for ours, (theirs, _) in names.items()}, path)
    if size not in (None, sizes["size"]):
        raise CheckpointError(f"{path} draws {sizes['size']} pixels, not {size}.")
    generator = StyleGenerator(**sizes)
    _fill(generator, tensors, names, path)
    return generator, sizes


def _read(path: Path) -> Any:
    """What a file holds, read without running code from it."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # a namespace of plain values: rosinality's trainings store their arguments as one
        with torch.serialization.safe_globals([Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds pickled code, which is never run here, or is damaged; expected a state "
            "dict.",
            _CONVERT,
        ) from error
    except (OSError, EOFError, RuntimeError, SafetensorError) as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path} cannot be read ({first_line}).") from error


def _state_dict(content: Any, family: Family, path: Path) -> dict[str, Tensor]:
    """The averaged generator's tensors, with ``latent_avg`` beside them where there is one."""
    found = content
    if isinstance(content, Mapping) and isinstance(content.get(_EMA[family]), Mapping):
        found = dict(content[_EMA[family]])
        if "latent_avg" in content:
            found["latent_avg"] = content["latent_avg"]
    if not isinstance(found, Mapping) or not any(isinstance(t, Tensor) for t in found.values()):
        raise CheckpointError(
            f"{path} holds no state dict, expected tensors by name, or those under "
            f"{_EMA[family]!r}."
        )
    return {str(name): t.float() for name, t in found.items() if isinstance(t, Tensor)}


def _check_filters(tensors: Mapping[str, Tensor], path: Path) -> None:
    """StyleGAN2's resampling filter is a buffer, so that a file may come with another."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    for name, filter_ in tensors.items():
        if name.endswith((".resample_filter", ".kernel")):
            expected = torch.outer(taps, taps) / 64
            if filter_.shape != (4, 4) or not torch.allclose(filter_ / filter_.sum(), expected):
                raise CheckpointError(f"{path}: {name} is not the [1, 3, 3, 1] filter.")


def _count(tensors: Mapping[str, Tensor], name: Callable[[int], str]) -> int:
    """How many consecutive names there are from 0; at least 1, so that a lack is named."""
    count = 0
    while name(count) in tensors:
        count += 1
    return max(count, 1)


def _mapping_keys(prefixes: Sequence[str], weight: str, weights: float, biases: float) -> Keys:
    keys: Keys = {}
    for i, prefix in enumerate(prefixes):
        keys[f"mapping.fc.{i}.weight"] = (f"{prefix}.{weight}", weights)
        keys[f"mapping.fc.{i}.bias"] = (f"{prefix}.bias", biases)
    return keys


def _stylegan2_keys(tensors: Mapping[str, Tensor]) -> Keys:
    """rosinality/stylegan2-pytorch: everything as ours."""
    depth = _count(tensors, lambda i: f"style.{i + 1}.weight")
    blocks = _count(tensors, lambda i: f"to_rgbs.{i}.conv.weight")
    keys = _mapping_keys([f"style.{i + 1}" for i in range(depth)], "weight", 1.0, 1.0)
    keys["const"] = ("input.input", 1.0)
    for i, conv in enumerate(["conv1", *(f"convs.{i}" for i in range(2 * blocks))]):
        keys[f"synthesis.{i}.weight"] = (f"{conv}.conv.weight", 1.0)
        keys[f"synthesis.{i}.bias"] = (f"{conv}.activate.bias", 1.0)
        keys[f"synthesis.{i}.noise.strength"] = (f"{conv}.noise.weight", 1.0)
        keys[f"synthesis.{i}.noise.fixed"] = (f"noises.noise_{i}", 1.0)
        for kind in ("weight", "bias"):
            keys[f"style_affine.{i}.{kind}"] = (f"{conv}.conv.modulation.{kind}", 1.0)
    for i, image in enumerate(["to_rgb1", *(f"to_rgbs.{i}" for i in range(blocks))]):
        keys[f"to_image.{i}.weight"] = (f"{image}.conv.weight", 1.0)
        keys[f"to_image.{i}.bias"] = (f"{image}.bias", 1.0)
        for kind in ("weight", "bias"):
            keys[f"image_affine.{i}.{kind}"] = (f"{image}.conv.modulation.{kind}", 1.0)
    return keys


def _ada_keys(tensors: Mapping[str, Tensor]) -> Keys:
    """NVlabs/stylegan2-ada-pytorch: everything as ours, but for weights of convolutions.

    It demodulates them without our 1 / sqrt(fan_in), which cancels but for the eps.
    """
    depth = _count(tensors, lambda i: f"mapping.fc{i}.weight")
    blocks = _count(tensors, lambda i: f"synthesis.b{8 << i}.conv1.weight")
    keys = _mapping_keys([f"mapping.fc{i}" for i in range(depth)], "weight", 1.0, 1.0)
    keys["mapping.w_mean"] = ("mapping.w_avg", 1.0)
    keys["const"] = ("synthesis.b4.const", 1.0)
    convs = ["b4.conv1"] + [f"b{8 << i}.conv{j}" for i in range(blocks) for j in (0, 1)]
    for i, conv in enumerate(convs):
        keys[f"synthesis.{i}.weight"] = (f"synthesis.{conv}.weight", 1.0)
        keys[f"synthesis.{i}.bias"] = (f"synthesis.{conv}.bias", 1.0)
        keys[f"synthesis.{i}.noise.strength"] = (f"synthesis.{conv}.noise_strength", 1.0)
        keys[f"synthesis.{i}.noise.fixed"] = (f"synthesis.{conv}.noise_const", 1.0)
        for kind in ("weight", "bias"):
            keys[f"style_affine.{i}.{kind}"] = (f"synthesis.{conv}.affine.{kind}", 1.0)
    for i in range(blocks + 1):
        image = f"synthesis.b{4 << i}.torgb"
        for kind in ("weight", "bias"):
            keys[f"to_image.{i}.{kind}"] = (f"{image}.{kind}", 1.0)
            keys[f"image_affine.{i}.{kind}"] = (f"{image}.affine.{kind}", 1.0)
    return keys


def _stylegan1_keys(tensors: Mapping[str, Tensor], size: int | None, path: Path) -> Keys:
    """rosinality/style-based-gan-pytorch, fully grown to ``size``.

    Its mapping learns at a lower rate but stores no such factor, and lacks our gain of sqrt(2)
    behind leaky ReLUs.
    """
    known = [4 << i for i in range(1, 9)]
    if size not in known:
        raise CheckpointError(
            f"{path} holds blocks for several sizes, trained or not, and {size} was asked for; "
            f"expected one of {', '.join(map(str, known))}.",
            "Say the size that it was trained to.",
        )
    step = known.index(size) + 1
    depth = _count(tensors, lambda i: f"style.{2 * i + 1}.linear.weight_orig")
    dense = [f"style.{2 * i + 1}.linear" for i in range(depth)]
    keys = _mapping_keys(dense, "weight_orig", 1 / _MAPPING_LR, 1 / (_MAPPING_LR * _HE))
    for i in range(2 * (step + 1)):
        block, part = f"generator.progression.{i // 2}", i % 2 + 1
        if i == 0:
            keys["const"] = (f"{block}.conv1.input", 1.0)  # and no bias: ours stays 0
        else:
            conv = f"{block}.conv2.conv" if part == 2 else f"{block}.conv1.1.conv"
            keys[f"synthesis.{i}.weight"] = (f"{conv}.weight_orig", _HE)
            keys[f"synthesis.{i}.bias"] = (f"{conv}.bias", 1.0)
        keys[f"synthesis.{i}.noise.strength"] = (f"{block}.noise{part}.weight_orig", _HE)
        affine = f"{block}.adain{part}.style.linear"
        keys[f"style_affine.{i}.weight"] = (f"{affine}.weight_orig", _HE)
        keys[f"style_affine.{i}.bias"] = (f"{affine}.bias", 1.0)
    image = f"generator.to_rgb.{step}.conv"
    keys["to_image.0.weight"] = (f"{image}.weight_orig", _HE)
    keys["to_image.0.bias"] = (f"{image}.bias", 1.0)
    return keys


def _unfused(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """StyleGAN1's fused up-convolutions (from 128 px) as plain ones; noise weights rescaled.

    A fused kernel (in, out, 3, 3) is that of a transposed convolution, and a fourth as strong.
    Noise weights (1, C, 1, 1) count as of fan-in C, ours have no such scale.
    """
    plain = dict(tensors)
    for name, tensor in tensors.items():
        if name.endswith(".conv1.0.weight"):
            block = name.removesuffix("0.weight")
            plain[f"{block}1.conv.weight_orig"] = tensor.transpose(0, 1).flip(2, 3) / 4
            if f"{block}0.bias" in tensors:
                plain[f"{block}1.conv.bias"] = tensors[f"{block}0.bias"]
        elif ".noise" in name:
            plain[name] = tensor / math.sqrt(tensor.numel())
    return plain


def _sizes(found: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """Arguments of `StyleGenerator` that fit tensors under our names; their shapes not checked."""
    demod = "image_affine.0.bias" in found
    # the last layer of each resolution
    widths = [found[f"synthesis.{0 if demod else 1}.bias"].numel()]
    while (name := f"synthesis.{2 * len(widths) + (0 if demod else 1)}.bias") in found:
        widths.append(found[name].numel())
    most, base = max(widths), max(width * (4 << i) for i, width in enumerate(widths))
    if widths != [channels_at(4 << i, base, most) for i in range(len(widths))]:
        raise CheckpointError(
            f"{path} has {', '.join(map(str, widths))} features from 4 pixels on, expected "
            "min(base / resolution, most) for some base and most."
        )
    channels = found["to_image.0.bias"].numel()
    if channels not in (1, 3):
        raise CheckpointError(f"{path} draws {channels} channels, expected 1 or 3.")
    depth = sum(name.startswith("mapping.fc.") for name in found) // 2
    return {
        "size": 4 << (len(widths) - 1),
        "channels": channels,
        "modulation": "demod" if demod else "adain",
        "z_dim": found["mapping.fc.0.weight"].shape[-1],
        "w_dim": found[f"mapping.fc.{depth - 1}.bias"].numel(),
        "mapping_depth": depth,
        "channel_base": base,
        "channel_max": most,
    }


def _fill(
    generator: StyleGenerator, tensors: Mapping[str, Tensor], names: Keys, path: Path
) -> None:
    """Copy the tensors in; average w where the file holds no mean of it."""
    own = generator.state_dict()
    for ours, (theirs, factor) in names.items():
        if _dims(tensors[theirs]) != _dims(own[ours]):
            raise CheckpointError(
                f"{path}: {theirs} has the shape {tuple(tensors[theirs].shape)}, expected "
                f"{tuple(own[ours].shape)} up to ones."
            )
        own[ours] = (tensors[theirs] * factor).reshape(own[ours].shape)
    generator.load_state_dict(own)
    frozen(generator, "cpu")
    if "mapping.w_mean" not in names:
        random = torch.Generator().manual_seed(0)
        w = generator.mapping(torch.randn(_MEAN_OF, generator.z_dim, generator=random))
        generator.w_mean.copy_(w.mean(dim=0))


def _dims(tensor: Tensor) -> tuple[int, ...]:
    """Shape without ones: a file's (1, C, 1, 1) is our (C,)."""
    return tuple(n for n in tensor.shape if n != 1)
