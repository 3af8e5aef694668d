"""A trained detector of either method, for use: crops to keypoints and how sure they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from flexpose.calibration import Calibration
from flexpose.checkpoint import Checkpoint, load_checkpoint
from flexpose.models.heatmaps import NEAR, PoseNet, new_network, read_both_ways
from flexpose.models.keypoint_gan import SkeletonPainter, SkeletonReader, TrainedReader
from flexpose.models.maps import Reading
from flexpose.models.prior import checkpoint_path, frozen, load_weights
from flexpose.rendering.soft import Renderer
from flexpose.rendering.style import DrawingStyle
from flexpose.skeleton import Skeleton

UNCALIBRATED = Calibration(offset=-0.2, slope=0.9, drift=-0.15)
"""Without held-out labels: fits test frames of the embedded mannequin and of JHMDB golf together
(docs/detector.md says how far off it was on each)."""


@dataclass(frozen=True)
class Design:
    """How a detector by maps is made; the words of `DetectorConfig` and its ``heatmaps``."""

    size: int
    width: int
    backbone: str = "none"
    head_layers: int = 1
    loss: str = "entropy"

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Design:
        """Out of a checkpoint's config; what early ones do not say is the default."""
        own = ("backbone", "head_layers", "loss")
        found = {name: config["heatmaps"][name] for name in own if name in config["heatmaps"]}
        return cls(int(config["size"]), int(config["width"]), **found)

    def to_config(self) -> dict[str, Any]:
        """What `of` and `load_detector` read."""
        rest = asdict(self)
        return {
            "method": "heatmaps",
            "size": rest.pop("size"),
            "width": rest.pop("width"),
            "heatmaps": rest,
        }

    @property
    def peaked(self) -> bool:
        """Whether maps are Gaussians whose peaks are read, rather than scores of probabilities."""
        return self.loss == "mse"

    def network(self, joints: int, weights: Path | None = None, *, load: bool = True) -> PoseNet:
        """The network; see `new_network`."""
        return new_network(
            joints, self.width, self.backbone, weights, load=load, head_layers=self.head_layers
        )


@dataclass(frozen=True)
class Detector:
    """What is left of a training.

    Attributes
    ----------
    skeleton : whose joints are found
    size : crops in pixels
    read : crops (n, 3, size, size) in [-1, 1] to keypoints in their unit space, and belief
    calibration : from belief to probability
    """

    skeleton: Skeleton
    size: int
    read: Callable[[Tensor], Reading]
    calibration: Calibration


def load_detector(name: str | Path, device: torch.device | str = "cpu") -> Detector:
    """Load a trained detector: a run's or checkpoint's folder.

    Raises
    ------
    UnknownNameError, CheckpointError : it is not there, or not usable.
    """
    found = load_checkpoint(checkpoint_path(name), kind="detector")
    skeleton = Skeleton.from_dict(found.meta.skeleton, found.path)
    config = found.meta.config
    loader = _load_heatmaps if config["method"] == "heatmaps" else _load_keypoint_gan
    return Detector(
        skeleton,
        int(config["size"]),
        loader(found, skeleton, device),
        Calibration(*found.tensors["calibration"].tolist()),
    )


def _load_heatmaps(
    found: Checkpoint, skeleton: Skeleton, device: torch.device | str
) -> Callable[[Tensor], Reading]:
    design = Design.of(found.meta.config)
    network = design.network(skeleton.num_joints, load=False)
    load_weights(network, found.tensors, "teacher.", found.path)
    frozen(network, device)
    return partial(read_both_ways, network, flip_index=skeleton.flip_index, peaked=design.peaked)


def _load_keypoint_gan(
    found: Checkpoint, skeleton: Skeleton, device: torch.device | str
) -> Callable[[Tensor], Reading]:
    style, width = DrawingStyle.from_dict(found.meta.style), int(found.meta.config["width"])
    painter = SkeletonPainter(style.channels, width)
    beta = found.tensors.get("reader.regressor.score.weight")
    reader: torch.nn.Module
    if beta is None:
        reader = SkeletonReader(skeleton.num_joints, style.channels, width)
    else:
        reader = TrainedReader(skeleton.num_joints, style.channels, beta.shape[1])
    load_weights(painter, found.tensors, "painter_ema.", found.path)
    load_weights(reader, found.tensors, "reader.", found.path)
    for network in (painter, reader):
        frozen(network, device)
    return partial(paint_and_read, painter, reader, Renderer(skeleton, style, torch.device(device)))


@torch.no_grad()
def paint_and_read(
    painter: torch.nn.Module, reader: torch.nn.Module, render: Renderer, images: Tensor
) -> Reading:
    """KeypointGAN's reading; belief falls with what the mirrored picture says otherwise.

    It falls too where the drawing is not that of the pose that was read from it.
    """
    flip = list(render.skeleton.flip_index)
    drawn = painter(torch.cat([images, images.flip(3)]))
    plain, turned = reader(drawn).chunk(2)
    turned = turned[:, flip] * turned.new_tensor([-1.0, 1.0])
    unlike = (render(plain) - drawn[: len(images)]).abs().mean(dim=(1, 2, 3))
    apart = (plain - turned).norm(dim=2) / NEAR
    return Reading(plain, torch.exp(-0.5 * apart - unlike[:, None]))
