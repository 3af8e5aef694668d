"""Configs of ``train-vae`` and ``score``: which poses are hard."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from flexpose.configs.base import ConfigBase, JobConfig
from flexpose.configs.prior import SourceConfig


class DrawingConfig(ConfigBase):
    """How a training draws what it learns from: by bins of the difficulty of poses."""

    sampling: Literal["uniform", "cl", "hm"] = Field(
        "uniform",
        title="How labelled pictures are drawn",
        description="By bins of difficulty: all alike; cl from easy to hard; hm hard ones more "
        "often. With replacement. Of train-detector these are puppets.",
    )
    vae: Path | None = Field(
        None, title="Pose VAE", description="A run of train-vae that says how hard a pose is."
    )
    bins: int = Field(25, ge=2, title="Bins", json_schema_extra={"source": "Dua 2023, figures"})


class VaeConfig(JobConfig):
    """Train a Pose VAE, whose error says how unusual a pose is."""

    source: SourceConfig
    width: int = Field(256, ge=8, title="Features of a layer")
    latent: int = Field(
        16,
        ge=1,
        title="Latent size",
        description="Of half the numbers of body15: small enough that rare poses come back worse.",
    )
    kl_weight: float = Field(
        3e-3,
        ge=0,
        title="Weight of the divergence",
        description="Lambda of the poster, which gives no value; here beside the summed squared "
        "distances of joints, in halves of the canvas.",
    )
    steps: int = Field(6000, ge=1, title="Steps")
    batch_size: int = Field(256, ge=2, title="Batch")
    lr: float = Field(
        1e-3, gt=0, title="Learning rate", description="Adam, cosine to a hundredth of it."
    )
    preview_every: int = Field(500, ge=1, title="Steps between previews")
    evaluate_every: int = Field(1000, ge=1, title="Steps between evaluations")
    checkpoint_every: int = Field(1000, ge=1, title="Steps between checkpoints")
    validation: Path | None = Field(None, title="Held-out poses")


class ScoreConfig(JobConfig):
    """Score poses by a Pose VAE, bin them by difficulty, and draw what the bins hold."""

    model: Path = Field(title="Pose VAE", description="The run that trained it.")
    poses: Path = Field(title="Poses", description="Any readable file; generated ones too.")
    bins: int = Field(25, ge=2, title="Bins", json_schema_extra={"source": "Dua 2023, figures"})
