"""Beta: reads keypoints, with a confidence each, from skeleton images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PoseRegressor(nn.Module):
    """Convolutional encoder with soft-argmax heads.

    Follows KeypointGAN's encoder: 7x7, then strided stages to an eighth of the canvas, soft-argmax
    of marginals (tomasjakab/keypointgan@541b769:models/networks.py). Two changes are ours: the
    positions come from one score map of a quarter of the canvas, which reads them more exactly,
    and a confidence from its peak.

    Parameters
    ----------
    num_joints : J
    channels : image channels
    width : features at half resolution; doubles twice
    """

    def __init__(self, num_joints: int, channels: int = 3, width: int = 16) -> None:
        super().__init__()
        self.num_joints = num_joints
        self.stages = nn.ModuleList(
            [
                _stage(channels, width, kernel=5, stride=2),
                _stage(width, 2 * width, kernel=3, stride=2),
                _stage(2 * width, 4 * width, kernel=3, stride=2),
                _stage(4 * width, 8 * width, kernel=3, stride=2),
            ]
        )
        self.lift = nn.Conv2d(8 * width, 4 * width, 1)
        self.join = _stage(4 * width, 4 * width, kernel=3, stride=1)
        self.lift2 = nn.Conv2d(4 * width, 2 * width, 1)
        self.join2 = _stage(2 * width, 2 * width, kernel=3, stride=1)
        self.score = nn.Conv2d(2 * width, num_joints, 1)

    def features(self, images: Tensor) -> list[Tensor]:
        """The encoder's four feature maps, finest first, from (n, c, h, w) in [-1, 1]."""
        x = images.contiguous(memory_format=torch.channels_last)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def scores(self, images: Tensor) -> Tensor:
        """Score maps (n, J, h / 4, w / 4); their softmax is where the joint may be."""
        _, quarter, eighth, deepest = self.features(images)
        x = self.join(eighth + _double(self.lift(deepest)))
        return self.score(self.join2(quarter + _double(self.lift2(x))))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Keypoints float (n, J, 2) in unit space, and confidences (n, J) in (0, 1].

        The confidence is the probability mass within one score cell of the estimate.
        """
        return soft_argmax(self.scores(images))


def soft_argmax(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Mean position under the softmax of score maps (n, J, h, w), and the mass around it.

    Cell centres are those of pixels of a canvas four times as large, in unit space.
    """
    n, joints, h, w = scores.shape
    mass = scores.flatten(2).softmax(dim=2).view(n, joints, h, w)
    x = _cell_centres(w, scores)
    y = _cell_centres(h, scores)
    px = (mass.sum(dim=2) * x).sum(dim=2)
    py = (mass.sum(dim=3) * y).sum(dim=2)
    near_x = ((x - px.unsqueeze(2)).abs() < 3 / w).to(mass.dtype)
    near_y = ((y - py.unsqueeze(2)).abs() < 3 / h).to(mass.dtype)
    confidence = torch.einsum("njhw,njw,njh->nj", mass, near_x, near_y)
    return torch.stack([px, py], dim=2), confidence


def _cell_centres(cells: int, like: Tensor) -> Tensor:
    """Unit positions of the centres of ``cells`` cells of four canvas pixels each."""
    size = 4 * cells
    pixel = torch.arange(cells, device=like.device, dtype=like.dtype) * 4 + 1.5
    return pixel / (size - 1) * 2 - 1


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


def _stage(in_ch: int, out_ch: int, kernel: int, stride: int) -> nn.Sequential:
    # group norm keeps training and use alike, whatever the batch
    return nn.Sequential(
        nn.Conv2d(in_ch, out_ch, kernel, stride, kernel // 2, bias=False),
        nn.GroupNorm(1, out_ch),
        nn.ReLU(inplace=True),
    )
