"""Configs of source priors: ``train-prior`` and ``train-regressor``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from flexpose.configs.base import ConfigBase, JobConfig


class SourceConfig(ConfigBase):
    """Which poses a prior learns."""

    poses: Path = Field(title="Source poses", description="Any file that `convert` reads.")
    skeleton: str = Field(
        "body15",
        title="Skeleton",
        description="The prior's: a shipped one by name, or a YAML file of your own. Joints are "
        "mapped by name.",
    )
    min_side: float = Field(
        48.0,
        ge=0,
        title="Smallest pose",
        description="Longer side of the pose's box in pixels; small people have coarse labels.",
        json_schema_extra={"source": "ours"},
    )


class KeypointGeneratorConfig(ConfigBase):
    """Generator in keypoint space (f, A, phi without pixels)."""

    kind: Literal["keypoints"] = "keypoints"
    z_dim: int = Field(32, ge=2, title="Latent size")
    w_dim: int = Field(64, ge=2, title="Size of w")
    width: int = Field(128, ge=8, title="Features of a layer")
    depth: int = Field(6, ge=2, title="Style layers")
    mapping_depth: int = Field(4, ge=1, title="Mapping layers")
    disc_width: int = Field(256, ge=8, title="Features of the discriminator")


class ImageGeneratorConfig(ConfigBase):
    """StyleGAN over skeleton images."""

    kind: Literal["image"] = "image"
    modulation: Literal["adain", "demod"] = Field(
        "adain",
        title="Modulation",
        description="adain is StyleGAN, the paper's; demod is StyleGAN2.",
        json_schema_extra={"source": "FlexPose, section 3.2"},
    )
    size: Literal[32, 64, 128, 256] = Field(64, title="Canvas in pixels")
    channels: Literal[1, 3] = Field(
        3,
        title="Image channels",
        description="3 gives each bone its own colour.",
        json_schema_extra={"source": "FlexPose, section 3.2"},
    )
    z_dim: int = Field(64, ge=2, title="Latent size")
    w_dim: int = Field(64, ge=2, title="Size of w")
    mapping_depth: int = Field(4, ge=1, title="Mapping layers")
    channel_base: int = Field(
        1024,
        ge=256,
        title="Feature budget",
        description="Features at resolution r are base / r, at most channel_max.",
    )
    channel_max: int = Field(64, ge=8, title="Most features of a layer")
    taught_by: KeypointGeneratorConfig | None = Field(
        None,
        title="Keypoint generator inside",
        description="Sizes of the teacher, whose poses become w; set by train-prior.",
    )


GeneratorConfig = Annotated[
    KeypointGeneratorConfig | ImageGeneratorConfig, Field(discriminator="kind")
]


class PriorConfig(JobConfig):
    """Train a source prior: generator and discriminator on the poses of a large dataset."""

    source: SourceConfig
    generator: GeneratorConfig = Field(default_factory=KeypointGeneratorConfig)
    teacher: str | None = Field(
        None,
        title="Teacher",
        description="A keypoint prior that becomes part of an image generator's mapping: latents "
        "mean its poses, and the first teacher_steps teach how to draw them. Without it the GAN "
        "starts from noise, which wants a GPU.",
        json_schema_extra={"source": "ours"},
    )
    regressor: str | None = Field(
        None,
        title="Regressor",
        description="Reads an image generator's poses when it is evaluated.",
    )
    start: str | None = Field(
        None,
        title="Start from",
        description="A trained prior of the same sizes, such as a shipped one, whose training "
        "goes on from its averaged generator and its discriminator.",
    )
    teacher_steps: int = Field(0, ge=0, title="Steps with the teacher, before the GAN steps")
    teacher_lr: float = Field(
        0.01,
        gt=0,
        title="Learning rate with the teacher",
        description="Regression bears a larger one than a GAN. Falls to a twentieth (cosine).",
    )
    steps: int = Field(12_000, ge=1, title="Steps in all")
    batch_size: int = Field(128, ge=4, title="Batch")
    lr: float = Field(1e-3, gt=0, title="Learning rate", description="Adam, betas 0 and .99.")
    r1_gamma: float = Field(
        1.0,
        ge=0,
        title="R1 weight",
        description="At 64 px .1 let the discriminator run away within 16 kimg, 4 did not.",
        json_schema_extra={"source": "ours"},
    )
    r1_every: int = Field(16, ge=1, title="Steps between R1 penalties")
    mixing: float = Field(0.0, ge=0, le=1, title="Share of batches with style mixing")
    ema_kimg: float = Field(
        10.0,
        gt=0,
        title="EMA half-life in thousand poses",
        json_schema_extra={"source": "NVlabs/stylegan@1e0d5c7:training/training_loop.py"},
    )
    rotation_deg: float = Field(
        0.0, ge=0, le=45, title="Augmentation: rotation", description="Standard deviation, degrees."
    )
    mirror: bool = Field(
        True, title="Augmentation: mirror", description="Half the poses, sides exchanged."
    )
    preview_every: int = Field(500, ge=1, title="Steps between previews")
    evaluate_every: int = Field(2000, ge=1, title="Steps between evaluations")
    checkpoint_every: int = Field(1000, ge=1, title="Steps between checkpoints")
    validation: Path | None = Field(
        None, title="Held-out poses", description="Evaluated against; the source itself when empty."
    )


class RegressorConfig(JobConfig):
    """Train beta: skeleton image to keypoints."""

    source: SourceConfig
    size: Literal[32, 64, 128, 256] = Field(64, title="Canvas in pixels")
    channels: Literal[1, 3] = Field(3, title="Image channels")
    width: int = Field(16, ge=4, title="Features at full resolution")
    generator: str | None = Field(
        None,
        title="Image prior",
        description="With a teacher inside. Adds half a batch of its images, whose poses are "
        "known, so that beta learns to read imperfect drawings.",
    )
    start: str | None = Field(
        None, title="Start from", description="A trained regressor of the same sizes."
    )
    steps: int = Field(20_000, ge=1, title="Steps")
    batch_size: int = Field(64, ge=4, title="Batch")
    lr: float = Field(
        1e-3, gt=0, title="Learning rate", description="Adam, cosine to a hundredth of it."
    )
    preview_every: int = Field(500, ge=1, title="Steps between previews")
    evaluate_every: int = Field(1000, ge=1, title="Steps between evaluations")
    checkpoint_every: int = Field(1000, ge=1, title="Steps between checkpoints")
    validation: Path | None = Field(None, title="Held-out poses")
