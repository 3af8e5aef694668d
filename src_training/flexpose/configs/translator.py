"""Configs of ``train-translator`` and ``translate``: pictures of poses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field

from flexpose.configs.base import JobConfig
from flexpose.configs.detector import FramesConfig

PICTURES_FILE = "synthetic.coco.json"
"""The poses, in the folder of their pictures."""
CYCLE_GAN = "Zhu 2017; junyanz/pytorch-CycleGAN-and-pix2pix, its defaults"


class TranslatorConfig(JobConfig):
    """Learn to paint pictures of poses, from frames and from poses that belong to none of them."""

    frames: FramesConfig
    poses: Path | None = Field(
        None,
        title="Poses",
        description="What pictures are wanted of: adapted ones; any readable file.",
    )
    source: str | None = Field(
        None,
        title="Model of poses",
        description="An adapted run or a prior to draw them from, in the place of `poses`.",
    )
    num_poses: int = Field(4000, ge=2, title="Poses drawn from the model")
    labels: Path | None = Field(
        None,
        title="Labels",
        description="Of some or all of the frames, by hand or by a detector: their crops and "
        "skeletons are learned as pairs.",
    )
    size: Literal[32, 64, 128, 256] = Field(64, title="Pictures in pixels")
    channels: Literal[1, 3] = Field(
        1,
        title="Channels of skeleton images",
        description="3 colours bones, so sides differ.",
        json_schema_extra={"source": "FlexPose, section 4.3"},
    )
    looks: bool = Field(
        True,
        title="Looks of frames",
        description="What paints a picture is shown another frame of the clip, for person and "
        "clothes, and the place without the person. Without, as in CycleGAN, it has to guess them.",
    )
    width: int = Field(
        16,
        ge=4,
        title="Size of the networks",
        description="Channels of generators and judges at their first layer; 64 as published.",
    )
    blocks: int | None = Field(
        None,
        ge=1,
        title="Residual blocks",
        description="6, and 9 for 256 px, when empty.",
        json_schema_extra={"source": CYCLE_GAN},
    )
    steps: int = Field(3000, ge=1, title="Steps")
    batch_size: int = Field(2, ge=1, title="Pictures a step")
    lr: float = Field(
        5e-4,
        gt=0,
        title="Learning rate",
        description="Adam, betas .5 and .999; falls to 0 in the second half of the steps. 2e-4 in "
        "CycleGAN, whose networks are four times as wide.",
    )
    cycle_weight: float = Field(
        10.0,
        ge=0,
        title="Weight of coming back",
        description="Picture to skeleton image to picture, and the other way round.",
        json_schema_extra={"source": CYCLE_GAN},
    )
    cycle_noise: float = Field(
        0.1,
        ge=0,
        title="Noise on the way back",
        description="On skeleton images made of pictures: clothes and light cannot hide in faint "
        "traces, so pictures come back from what is drawn. 0 in CycleGAN.",
    )
    identity_weight: float = Field(
        0.5,
        ge=0,
        title="Weight of leaving alone what is right already",
        description="A share of the weight of coming back; for 3 channels only.",
        json_schema_extra={"source": CYCLE_GAN},
    )
    paired_weight: float = Field(
        25.0,
        ge=0,
        title="Weight of the labels",
        description="Mean distance of pixels, both ways. 0 in CycleGAN, 100 in pix2pix.",
    )
    perceptual_weight: float = Field(
        1.0,
        ge=0,
        title="Weight of the labelled pictures' features",
        description="Relative to their own running mean, see `features`.",
    )
    features: Literal["pixels", "mobilenet", "vgg16", "vgg19"] = Field(
        "pixels",
        title="Features compared",
        description="pixels: the image at four resolutions; the others need weights on disk.",
    )
    feature_weights: Path | None = Field(None, title="Weights of the feature network")
    ema: float = Field(
        0.998,
        ge=0,
        lt=1,
        title="Weight of the past",
        description="In the moving average of what paints pictures, which is what is used.",
    )
    preview_every: int = Field(250, ge=1, title="Steps between previews")
    checkpoint_every: int = Field(500, ge=1, title="Steps between checkpoints")


class TranslateConfig(JobConfig):
    """Paint a picture of each pose, and write the poses as its keypoints."""

    model: Path = Field(title="Translator", description="The run that trained it.")
    poses: Path | None = Field(None, title="Poses", description="Any readable file.")
    source: str | None = Field(
        None,
        title="Model of poses",
        description="An adapted run or a prior to draw them from, in the place of `poses`.",
    )
    out: Annotated[Path | None, tyro.conf.Suppress] = Field(
        None, title="Result", description="A folder; the command line's --out."
    )
    overwrite: Annotated[bool, tyro.conf.Suppress] = Field(False, title="Replace the result")
    n: int | None = Field(
        None,
        ge=1,
        title="Number of pictures",
        description="Of so many of the poses, drawn at random; of all when empty, and of 100 "
        "that a model draws.",
    )
    batch_size: int = Field(16, ge=1, title="Batch")
