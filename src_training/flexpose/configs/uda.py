"""Settings of ``train-uda``: a detector for frames without labels, from labelled ones elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from flexpose.configs.base import ConfigBase, JobConfig
from flexpose.configs.detector import FramesConfig, NetworkConfig
from flexpose.configs.difficulty import DrawingConfig

REGDA = "Jiang 2021; thuml/Transfer-Learning-Library:examples/domain_adaptation/keypoint_detection"
UDAPE = "Kim 2022; VisionLearningGroup/UDA_PoseEstimation:train_human.py"


class AugmentConfig(ConfigBase):
    """How pictures are turned and moved while a detector learns; tints and noise come with it."""

    mirror: bool = Field(True, title="Mirror half of them", description="Published: no.")
    rotation_deg: float = Field(
        30.0,
        ge=0,
        le=180,
        title="Rotation",
        description="Either way. RegDA 180, of people 30; UDAPE 60, of hands 180.",
    )
    shear_deg: float = Field(
        15.0, ge=0, le=40, title="Shear", description="Either way and axis. RegDA 0, UDAPE 30."
    )
    shift: float = Field(0.1, ge=0, le=1, title="Shift", description="Of half a crop, either way.")
    least_scale: float = Field(
        0.75,
        gt=0,
        title="Least scale",
        description="RegDA 1 (crops of .6 to 1.3 of the area), UDAPE .6.",
    )
    most_scale: float = Field(1.3, gt=0, title="Most scale")


class RegDaConfig(ConfigBase):
    """RegDA: a second head must be wrong on the target, and features must make it right."""

    lr: float = Field(
        0.1,
        gt=0,
        title="Learning rate of the heads",
        description="SGD; in adaptation the rest of the network has a tenth of it.",
        json_schema_extra={"source": REGDA},
    )
    lr_gamma: float = Field(
        1e-4,
        ge=0,
        title="Fall of the learning rate",
        description="lr (1 + gamma t)^-.75 after t steps of adaptation.",
        json_schema_extra={"source": REGDA},
    )
    margin: float = Field(
        4.0, ge=0, title="Weight of both heads agreeing on the source",
        json_schema_extra={"source": REGDA},
    )  # fmt: skip
    trade_off: float = Field(
        1.0, ge=0, title="Weight of the target", json_schema_extra={"source": REGDA}
    )
    gradient: float = Field(
        0.1,
        ge=0,
        title="Share of the second head's gradient that features feel",
        description="2 g / (1 + exp(-t / warm)) - g after t steps: nearly half at t = warm.",
        json_schema_extra={"source": REGDA},
    )
    gradient_warm: int = Field(
        1000, ge=1, title="Steps of its warm start", json_schema_extra={"source": REGDA}
    )


class UdapeConfig(ConfigBase):
    """UDAPE: a mean teacher, exact affine consistency, and the target's look for source frames."""

    style_steps: int = Field(
        400,
        ge=0,
        title="Steps of the style network",
        description="The first of all; 0 leaves style alone. Of an `own` encoder half of them "
        "are for the encoder.",
    )
    style_encoder: Literal["own", "mobilenet", "vgg19"] = Field(
        "own",
        title="Encoder of the style network",
        description="own: a small one that learns; the others need weights on disk, vgg19 is the "
        "published one.",
    )
    style_encoder_weights: Path | None = Field(None, title="Weights of the style encoder")
    style_lr: float = Field(
        1e-3,
        gt=0,
        title="Learning rate of the style network",
        description="Adam, lr / (1 + 5e-5 t). Published: 1e-5.",
        json_schema_extra={"source": UDAPE},
    )
    style_weight: float = Field(
        0.1, ge=0, title="Weight of style beside content", json_schema_extra={"source": UDAPE}
    )
    restyle: float = Field(
        0.5,
        ge=0,
        le=1,
        title="Share of batches in the other domain's look",
        description="Source for the student, target for the teacher.",
        json_schema_extra={"source": UDAPE},
    )
    ema: float = Field(
        0.999, ge=0, lt=1, title="Weight of the past", json_schema_extra={"source": UDAPE}
    )
    teacher_buffers: Literal["average", "upstream"] = Field(
        "average",
        title="Batch statistics of the teacher",
        description="average: those of the student, averaged as its weights are, and the teacher "
        "teaches in evaluation mode; upstream: its own, for it teaches in training mode.",
    )
    consistency_weight: float = Field(
        1.0, ge=0, title="Weight of the teacher", json_schema_extra={"source": UDAPE}
    )
    mask_ratio: float = Field(
        0.5,
        ge=0,
        lt=1,
        title="Share of joints that teach nothing",
        description="The least sure of a batch.",
        json_schema_extra={"source": UDAPE},
    )
    occlude_rate: float = Field(
        0.5,
        ge=0,
        le=1,
        title="Share of target pictures with a joint covered",
        json_schema_extra={"source": UDAPE},
    )
    occlude_from: float = Field(
        0.9,
        title="Peak from which a joint is covered",
        json_schema_extra={"source": UDAPE},
    )
    occlude_size: float = Field(
        10 / 256,
        gt=0,
        lt=0.5,
        title="Half the side of the cover",
        description="Of the crop; at least a pixel.",
        json_schema_extra={"source": UDAPE},
    )


class UdaConfig(DrawingConfig, JobConfig):
    """Learn to read poses off frames without labels, from labelled frames of another domain."""

    source: FramesConfig = Field(title="Source", description="The labelled frames.")
    labels: Path = Field(title="Labels of the source")
    skeleton: str | None = Field(
        None,
        title="Skeleton that is learned",
        description="A name or a YAML file; all labels are mapped to it. That of the source's "
        "labels when empty.",
    )
    target: FramesConfig = Field(title="Target", description="The frames without labels.")
    target_labels: Path | None = Field(
        None, title="Labels of the target", description="For the method `oracle` alone."
    )
    validation: Path | None = Field(
        None,
        title="Held-out labels",
        description="Of frames that are among the target: for figures, and to calibrate "
        "confidence. Nothing is learned from these frames, see `transductive`.",
    )
    transductive: bool = Field(
        False,
        title="Learn from the held-out frames too",
        description="Without their labels: the published protocol of LSP, whose training and test "
        "images are the same.",
    )
    select: Literal["last", "target-test"] = Field(
        "last",
        title="Which network is kept",
        description="last: that of the last step; target-test: the one with the best PCK@.05 on "
        "the held-out labels. The published codes do so, and report figures on the same labels.",
    )
    method: Literal["source-only", "regda", "udape", "oracle"] = Field(
        "udape",
        title="Method",
        description="source-only and oracle learn from labels of the source and of the target "
        "alone, as a bound below and above.",
    )
    start: Path | None = Field(
        None,
        title="Start from",
        description="A detector of the same network and loss, such as one of source-only; the "
        "steps on the source alone are then best 0.",
    )
    loss: Literal["mse", "kl"] = Field(
        "mse",
        title="Loss of source-only and oracle",
        description="As that of train-detector's heatmaps. RegDA's is kl, UDAPE's mse.",
    )
    scores: Path | None = Field(
        None, title="Scores", description="Or scores.npz of `score`, of the file of labels."
    )
    size: Literal[32, 64, 128, 256] = Field(64, title="Crop in pixels")
    width: int = Field(16, ge=4, title="Size of the network", description="Not of a resnet.")
    network: NetworkConfig = Field(default_factory=NetworkConfig, title="Network")
    augment: AugmentConfig = Field(default_factory=AugmentConfig, title="Augmentation")
    steps: int = Field(3000, ge=1, title="Steps in all")
    pretrain_steps: int = Field(
        1000,
        ge=0,
        title="Steps on the source alone",
        description="Of RegDA and UDAPE, before adaptation.",
    )
    batch_size: int = Field(16, ge=2, title="Pictures a step", description="Of either domain.")
    lr: float = Field(1e-3, gt=0, title="Learning rate", description="Adam; RegDA has its own.")
    lr_drops: tuple[float, ...] = Field(
        (0.643, 0.857),
        title="Where the learning rate falls to a tenth",
        description="Shares of the steps without those of style; for RegDA of the steps on the "
        "source alone. Published: after 45 and 60 of 70 epochs.",
    )
    regda: RegDaConfig = Field(default_factory=RegDaConfig, title="RegDA")
    udape: UdapeConfig = Field(default_factory=UdapeConfig, title="UDAPE")
    preview_every: int = Field(250, ge=1, title="Steps between previews")
    evaluate_every: int = Field(500, ge=1, title="Steps between evaluations")
    checkpoint_every: int = Field(500, ge=1, title="Steps between checkpoints")
