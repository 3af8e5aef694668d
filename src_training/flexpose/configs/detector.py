"""Settings of the detector: what it sees, what poses it expects, how it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from flexpose.configs.base import ConfigBase, JobConfig


class FramesConfig(ConfigBase):
    """Where the unlabelled frames are, and where the person is in them."""

    path: Path = Field(title="Frames", description="A folder, a video, or a COCO file with images.")
    crop: Literal["motion", "boxes", "whole"] = Field(
        "motion",
        title="Crop",
        description="motion: what moves before a background that stands still; boxes: those of "
        "`boxes`; whole: the frame itself.",
    )
    boxes: Path | None = Field(
        None, title="Boxes", description="Poses or boxes of the frames, any readable file."
    )


class DetectorConfig(JobConfig):
    """Learn to read poses off frames, from the frames and poses that belong to no frame."""

    frames: FramesConfig
    poses: Path = Field(
        title="Unpaired poses", description="What poses may look like: adapted samples, any file."
    )
    shots: Path | None = Field(
        None,
        title="Shots",
        description="Labelled frames. They say where in a crop a person stands, and are learned "
        "from where supervised_weight is above 0.",
    )
    validation: Path | None = Field(
        None, title="Held-out labels", description="Of frames that are among the frames."
    )
    size: Literal[32, 64, 128] = Field(64, title="Crop in pixels")
    width: int = Field(
        16,
        ge=4,
        title="Width",
        description="Channels at full resolution; 32 as published.",
        json_schema_extra={"source": "tomasjakab/keypointgan@541b769:models/networks.py"},
    )
    channels: Literal[1, 3] = Field(
        3, title="Channels of skeleton images", description="3 colours bones, so sides differ."
    )
    steps: int = Field(4000, ge=1, title="Steps in all")
    reader_steps: int = Field(
        600, ge=0, title="Steps of the reader alone", description="On drawings of the poses, first."
    )
    batch_size: int = Field(16, ge=2, title="Batch")
    lr: float = Field(
        2e-4,
        gt=0,
        title="Learning rate",
        description="Adam, betas .5 and .999.",
        json_schema_extra={"source": "tomasjakab/keypointgan@541b769:options"},
    )
    reader_lr: float = Field(1e-3, gt=0, title="Learning rate of the reader alone")
    adversarial_weight: float = Field(10.0, ge=0, title="Weight of looking like a skeleton")
    perceptual_weight: float = Field(10.0, ge=0, title="Weight of giving the frame again")
    supervised_weight: float = Field(10.0, ge=0, title="Weight of the shots; 0 in the paper")
    features: Literal["pixels", "mobilenet", "vgg16", "vgg19"] = Field(
        "pixels",
        title="Features compared",
        description="pixels: the image at four resolutions; the others need weights on disk.",
    )
    feature_weights: Path | None = Field(None, title="Weights of the feature network")
    ema: float = Field(0.999, ge=0, lt=1, title="Moving average a step", description="Of Phi.")
    preview_every: int = Field(200, ge=1, title="Steps between previews")
    evaluate_every: int = Field(500, ge=1, title="Steps between evaluations")
    checkpoint_every: int = Field(500, ge=1, title="Steps between checkpoints")
