"""Configs of ``adapt``, ``sample`` and the parts of an adapted model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field

from flexpose.configs.base import ConfigBase, JobConfig


class PairsConfig(ConfigBase):
    """How Eq. 5 is fitted under the matchings index and ot."""

    features: Literal["keypoints", "beta", "vgg16", "vgg19", "mobilenet"] = Field(
        "keypoints",
        title="Features compared (Gamma)",
        description="keypoints: joint positions, nearest to the target in our measurements; beta: "
        "the regressor's feature maps and a blur pyramid; the others need weights on disk.",
        json_schema_extra={"source": "FlexPose, Eq. 5 (VGG); ours (beta, keypoints)"},
    )
    feature_weights: Path | None = Field(
        None, title="Weights of the feature network", description="A state dict of torchvision's."
    )
    num_mixups: int = Field(
        1000,
        ge=0,
        title="Pose-mixups (E)",
        description="Size of T*; 0 pairs with the shots themselves.",
        json_schema_extra={"source": "FlexPose, section 4.1"},
    )
    steps: int = Field(400, ge=1, title="Steps")
    batch_size: int = Field(32, ge=2, title="Batch")
    energy_weight: float = Field(
        0.0,
        ge=0,
        title="Energy distance beside pairs",
        description="Weight of the energy distance to the shots.",
    )
    rematch_every: int = Field(50, ge=1, title="Steps between optimal transport assignments")
    pool_size: int = Field(1000, ge=16, title="Latents that optimal transport chooses from")


class TransferConfig(ConfigBase):
    """tau: one matrix on the style codes of a few layers."""

    matching: Literal["none", "index", "ot", "energy"] = Field(
        "energy",
        title="Matching",
        description="Which latent meets which target pose. index: the paper's fixed random pairs; "
        "ot: pairs re-assigned by optimal transport; energy: no pairs, the energy distance of "
        "generated poses to the shots; none: no tau.",
        json_schema_extra={"source": "FlexPose, Eq. 5 (index); ours (ot, energy)"},
    )
    layers: tuple[int, ...] | Literal["all"] = Field(
        (3,),
        title="Layers",
        description="1-based, coarsest first.",
        json_schema_extra={"source": "FlexPose, section 3.3"},
    )
    bias: bool = Field(False, title="Also learn a shift")
    lr: float = Field(2e-3, gt=0, title="Learning rate", description="Adam.")
    identity_weight: float = Field(
        0.3,
        ge=0,
        title="Pull towards the identity",
        description="Weight of the squared entries of U - I. Keeps what the prior knows where a "
        "dozen shots cannot tell; 0 in the paper.",
        json_schema_extra={"source": "ours"},
    )
    pairs: PairsConfig = Field(default_factory=PairsConfig)


class KinematicsConfig(ConfigBase):
    """Bone-length ratios fitted to the shots."""

    enabled: bool = Field(True, title="Kinematic transfer")
    lr: float = Field(0.02, gt=0, title="Learning rate", description="Adam.")
    l2_weight: float = Field(
        0.05, ge=0, title="Pull towards ratio 1", description="Weight of squared log-ratios."
    )


class WeightingConfig(ConfigBase):
    """Energy-weighted sampling."""

    enabled: bool = Field(True, title="Energy-weighted sampling")
    entropy_weight: float = Field(
        0.1,
        gt=0,
        title="Entropy weight",
        description="Smaller follows the shots more closely and rejects more samples.",
    )


class AdaptConfig(JobConfig):
    """Bend a prior towards a few labelled poses."""

    prior: str = Field("body15", title="Prior", description="A shipped name or a folder.")
    shots: Path = Field(title="Shots", description="Labelled target poses, any readable file.")
    regressor: str | None = Field(
        None, title="Regressor", description="Reads image priors; the shipped one when empty."
    )
    transfer: TransferConfig = Field(default_factory=TransferConfig)
    kinematics: KinematicsConfig = Field(default_factory=KinematicsConfig)
    weighting: WeightingConfig = Field(default_factory=WeightingConfig)
    mixup_share: float = Field(
        0.25,
        ge=0,
        lt=1,
        title="Share of pose-mixups",
        description="Of the poses that are drawn from the result so many are T*, mean poses of "
        "pairs of shots: they lie where the target is, the others say what else there may be.",
        json_schema_extra={"source": "ours; the paper adds 1,000 T* to what trains the detector"},
    )
    steps: int = Field(
        160,
        ge=1,
        title="Steps",
        description="Of the common fit of tau (matching energy), ratios and weights.",
    )
    reweight_every: int = Field(
        40, ge=1, title="Steps between fits of the sample weights", description="Within the fit."
    )
    batch_size: int | None = Field(
        None,
        ge=16,
        title="Generated poses a step",
        description="512 for keypoint priors, 64 for image priors when empty.",
    )
    hold_out: int = Field(
        0,
        ge=0,
        title="Held-out shots",
        description="Kept from the fit, which then ends with what came nearest to them.",
    )
    preview_every: int = Field(20, ge=1, title="Steps between previews")
    map: bool = Field(
        False,
        title="Map",
        description="With each preview, place adapted poses on a t-SNE map of source poses.",
    )


class SampleConfig(JobConfig):
    """Draw poses from a prior or an adapted model."""

    model: str = Field(title="Model", description="An adapted run or a prior.")
    out: Annotated[Path | None, tyro.conf.Suppress] = Field(
        None, title="Result", description="COCO .json, .zarr or .npz; the command line's --out."
    )
    overwrite: Annotated[bool, tyro.conf.Suppress] = Field(False, title="Replace the result")
    n: int = Field(32_000, ge=1, title="Number of poses")
    regressor: str | None = Field(None, title="Regressor")
    truncation: float = Field(
        1.0,
        gt=0,
        le=1,
        title="Truncation",
        description="Below 1 pulls poses to the mean one: fewer odd ones, less variety.",
        json_schema_extra={"source": "NVlabs/stylegan@1e0d5c7:training/networks_stylegan.py"},
    )
    reject: float = Field(
        0.05,
        ge=0,
        lt=1,
        title="Self-consistency filter",
        description="Share of generated images left out: those that a drawing of the pose read "
        "from them resembles least. Keypoint priors have no images to filter.",
        json_schema_extra={"source": "ours, on FlexPose section 3.4"},
    )
    mixup_share: float | None = Field(
        None,
        ge=0,
        lt=1,
        title="Share of pose-mixups (T*)",
        description="As the model was adapted when empty.",
        json_schema_extra={"source": "FlexPose, section 4.1"},
    )
    size: int = Field(256, ge=16, title="Canvas of the poses in pixels")
    images: bool = Field(False, title="Skeleton images too (Zarr only)")


class DemoConfig(JobConfig):
    """The main job on the embedded mannequin."""

    prior: str = Field("body15", title="Prior")
    shots: int = Field(12, ge=2, le=192, title="Labelled frames")
    n: int = Field(2000, ge=1, title="Synthetic poses")
    detector_steps: int = Field(
        1500,
        ge=0,
        title="Steps of the detector",
        description="It then labels all other frames; 0 ends with the poses.",
    )
