"""Configs of ``adapt-baseline``: ways to adapt that tau is compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from flexpose.configs.adaptation import PairsConfig
from flexpose.configs.base import ConfigBase, JobConfig


class LoraConfig(ConfigBase):
    """Low-rank change of the style affine A, or of the style codes."""

    kind: Literal["lora"] = "lora"
    where: Literal["affine", "codes"] = Field(
        "affine",
        title="Where",
        description="affine: A's weight, its bias learned in full; codes: (I + B A) on the codes.",
        json_schema_extra={"source": "ours, after microsoft/LoRA@c4593f0:loralib/layers.py"},
    )
    rank: int = Field(8, ge=1, title="Rank")
    alpha: float = Field(
        8.0, gt=0, title="Alpha", description="The change is scaled by alpha / rank."
    )
    layers: tuple[int, ...] | Literal["all"] = Field(
        "all", title="Layers", description="1-based, coarsest first."
    )
    matching: Literal["index", "ot", "energy"] = Field(
        "energy", title="Matching", description="As of `adapt`: Eq. 5 (index, ot) or energy."
    )
    pairs: PairsConfig = Field(default_factory=PairsConfig)
    lr: float = Field(2e-3, gt=0, title="Learning rate", description="Adam.")


class AdaganConfig(ConfigBase):
    """Scales and shifts of style codes, and a latent for each shot."""

    kind: Literal["adagan"] = "adagan"
    features: Literal["beta", "vgg16", "vgg19", "mobilenet"] = Field(
        "beta",
        title="Features compared (Gamma)",
        description="Of image priors; keypoint priors compare coordinates alone.",
    )
    feature_weights: Path | None = Field(None, title="Weights of the feature network")
    feature_weight: float = Field(0.1, ge=0, title="Weight of the features")
    gaussian_weight: float = Field(0.1, ge=0, title="Weight of latents being Gaussian")
    change_weight: float = Field(0.02, ge=0, title="Weight of scales at 1 and shifts at 0")
    latent_noise: float = Field(0.01, ge=0, title="Noise on latents", description="Deviation.")
    lr: float = Field(2e-3, gt=0, title="Learning rate of scales and shifts", description="Adam.")
    latent_lr: float = Field(
        0.05,
        gt=0,
        title="Learning rate of latents",
        json_schema_extra={
            "source": "nogu-atsu/small-dataset-image-generation:configs/default.yml (BigGAN)"
        },
    )


class AdversarialConfig(ConfigBase):
    """What adapters with a discriminator share."""

    lr: float = Field(
        2e-3,
        gt=0,
        title="Learning rate",
        description="Adam, betas 0 and .99, of generator and discriminator.",
        json_schema_extra={"source": "sangwoomo/FreezeD:stylegan/finetune.py"},
    )
    r1_gamma: float | None = Field(
        None,
        ge=0,
        title="R1 weight",
        description="The one that the prior was trained with when empty. FreezeD's code has 10, "
        "for photographs; on poses that holds the discriminator at chance.",
    )
    r1_every: int = Field(1, ge=1, title="Steps between R1 penalties")


class FinetuneConfig(AdversarialConfig):
    """All weights go on learning."""

    kind: Literal["finetune"] = "finetune"


class FreezedConfig(AdversarialConfig):
    """All weights but the discriminator's early layers."""

    kind: Literal["freezed"] = "freezed"
    frozen: float = Field(
        0.5,
        ge=0,
        le=1,
        title="Frozen share of the discriminator's layers",
        description="From its input.",
    )


class AdafmConfig(AdversarialConfig):
    """A scale and a shift for each kernel, and the mapping."""

    kind: Literal["adafm"] = "adafm"
    frozen: float = Field(0.5, ge=0, le=1, title="Frozen share of the discriminator's layers")


class CdcConfig(AdversarialConfig):
    """All weights, and samples keep their likeness to each other."""

    kind: Literal["cdc"] = "cdc"
    consistency_weight: float = Field(
        1000.0,
        ge=0,
        title="Weight of likeness",
        json_schema_extra={"source": "utkarshojha/few-shot-gan-adaptation:train.py, kl_wt"},
    )


AdapterConfig = Annotated[
    FinetuneConfig | FreezedConfig | LoraConfig | AdaganConfig | AdafmConfig | CdcConfig,
    Field(discriminator="kind"),
]


class BaselineConfig(JobConfig):
    """Adapt a prior in another way than tau, to compare."""

    prior: str = Field("body15", title="Prior", description="A shipped name or a folder.")
    shots: Path = Field(title="Shots", description="Labelled target poses, any readable file.")
    regressor: str | None = Field(
        None, title="Regressor", description="Reads image priors; the shipped one when empty."
    )
    adapter: AdapterConfig = Field(default_factory=FinetuneConfig, title="Adapter")
    num_mixups: int = Field(
        1000,
        ge=0,
        title="Pose-mixups (E)",
        description="What discriminators are shown; 0 shows the shots alone.",
        json_schema_extra={"source": "FlexPose, section 4.1"},
    )
    steps: int = Field(1000, ge=1, title="Steps")
    batch_size: int = Field(64, ge=4, title="Batch")
    ema: float = Field(
        0.98,
        ge=0,
        lt=1,
        title="Weight of the past",
        description="In the moving average that is kept.",
    )
    check_every: int = Field(
        50,
        ge=1,
        title="Steps between checks",
        description="What came nearest to the shots, by energy distance, is kept: fine-tuning on a "
        "dozen shots goes wrong sooner or later.",
    )
    preview_every: int = Field(100, ge=1, title="Steps between previews")
