"""Settings of ``train-meta`` and ``finetune``: a detector that learns quickly from few shots."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from flexpose.configs.base import JobConfig
from flexpose.configs.detector import FramesConfig, NetworkConfig

REPTILE = "Nichol 2018; openai/supervised-reptile:supervised_reptile"


class MetaConfig(JobConfig):
    """Learn weights from which few labelled frames of another domain are soon learned."""

    frames: FramesConfig
    labels: Path = Field(title="Labels", description="Their skeleton is learned.")
    validation: Path | None = Field(
        None,
        title="Held-out labels",
        description="Of frames that are among the frames, from which nothing is learned then.",
    )
    size: Literal[32, 64, 128, 256] = Field(64, title="Crop in pixels")
    width: int = Field(16, ge=4, title="Size of the network", description="Not of a resnet.")
    network: NetworkConfig = Field(default_factory=NetworkConfig, title="Network")
    loss: Literal["entropy", "mse", "kl"] = Field(
        "mse", title="Loss", description="As that of train-detector's heatmaps."
    )
    tasks: Literal["batches", "domains"] = Field(
        "batches",
        title="What a task is",
        description="batches: a batch of any frames and their copies, the same for all inner "
        "steps, as published; domains: one clip, plain or under one warp, from which each inner "
        "step draws a batch.",
    )
    warps: tuple[Literal["affine", "elastic", "perspective"], ...] = Field(
        ("affine", "elastic", "perspective"),
        title="Warped copies",
        description="One of the labelled frames a warp, keypoints with the pixels.",
        json_schema_extra={"source": "Choi, section 4.2"},
    )
    augment: bool = Field(
        True, title="Mirror and tint", description="As train-uda does, beside warps. Published: no."
    )
    steps: int = Field(1000, ge=1, title="Meta-steps")
    meta_lr: float = Field(
        0.05,
        gt=0,
        le=1,
        title="Meta step size",
        description="Beta: how far the weights go towards those of a task.",
        json_schema_extra={"source": "Choi, section 4.2"},
    )
    meta_falls: bool = Field(False, title="Let it fall to 0", json_schema_extra={"source": REPTILE})
    update: Literal["per-task", "averaged"] = Field(
        "per-task",
        title="When the weights go",
        description="After each task, as published, or after `meta_batch` tasks, by their mean.",
    )
    meta_batch: int = Field(5, ge=1, title="Tasks of a mean", json_schema_extra={"source": REPTILE})
    inner_steps: int = Field(
        5,
        ge=1,
        title="Inner steps",
        description="One of SGD makes Reptile plain SGD of rate lr times meta_lr.",
        json_schema_extra={"source": REPTILE},
    )
    inner_optimizer: Literal["sgd", "adam"] = Field(
        "adam", title="Inner optimiser", description="Anew for each task; Adam's beta1 is 0."
    )
    lr: float = Field(
        1e-3, gt=0, title="Inner learning rate", json_schema_extra={"source": REPTILE}
    )
    batch_size: int = Field(16, ge=2, title="Pictures an inner step")
    preview_every: int = Field(250, ge=1, title="Steps between previews")
    evaluate_every: int = Field(250, ge=1, title="Steps between evaluations")
    checkpoint_every: int = Field(250, ge=1, title="Steps between checkpoints")


class FinetuneConfig(JobConfig):
    """Learn a few labelled frames from the weights of another detector."""

    start: Path = Field(
        title="Start from", description="A run of train-meta, train-uda or train-detector."
    )
    frames: FramesConfig
    labels: Path = Field(title="Labels", description="Shots are drawn from them.")
    shots: int | None = Field(
        16, ge=1, title="Shots", description="Drawn at random, with the seed; all when empty."
    )
    validation: Path | None = Field(
        None,
        title="Held-out labels",
        description="Of frames that are among the frames, which are no shots then.",
    )
    steps: int = Field(200, ge=1, title="Steps")
    batch_size: int = Field(16, ge=2, title="Pictures a step")
    lr: float = Field(1e-3, gt=0, title="Highest learning rate", description="AdamW, one cycle.")
    preview_every: int = Field(50, ge=1, title="Steps between previews")
    evaluate_every: int = Field(50, ge=1, title="Steps between evaluations")
    checkpoint_every: int = Field(200, ge=1, title="Steps between checkpoints")
