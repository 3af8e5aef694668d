"""Beta: reads keypoints, with a confidence each, from skeleton images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PoseRegressor(nn.Module):
    """Convolutional encoder with soft-argmax heads.

    Follows KeypointGAN's encoder: 7x7, then strided stages to an eighth of the canvas, soft-argmax
    of marginals (tomasjakab/keypointgan@541b769:models/networks.py). Two changes are ours: the
    positions come from one score map of half the canvas, which reads them more exactly, and a
    confidence from its peak.

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
        self.lift = nn.ModuleList(nn.Conv2d(2 * k * width, k * width, 1) for k in (4, 2, 1))
        self.join = nn.ModuleList(
            _stage(k * width, k * width, kernel=3, stride=1) for k in (4, 2, 1)
        )
        self.score = nn.Conv2d(width, num_joints, 1)

    def features(self, images: Tensor) -> list[Tensor]:
        """The encoder's four feature maps, finest first, from (n, c, h, w) in [-1, 1]."""
        x = images.contiguous(memory_format=torch.channels_last)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def scores(self, images: Tensor) -> Tensor:
        """Score maps (n, J, h / 2, w / 2); their softmax is where the joint may be."""
        *finer, x = self.features(images)
        for lift, join, seen in zip(self.lift, self.join, reversed(finer), strict=True):
            x = join(seen + _double(lift(x)))
        return self.score(x)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Keypoints float (n, J, 2) in unit space, and confidences (n, J) in (0, 1].

        The confidence is the probability mass within three score cells of the estimate.
        """
        return soft_argmax(self.scores(images))


def soft_argmax(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Mean position under the softmax of score maps (n, J, h, w), and the mass around it.

    A cell is two canvas pixels wide and high; positions are in unit space.
    """
    n, joints, h, w = scores.shape
    mass = scores.flatten(2).softmax(dim=2).view(n, joints, h, w)
    x, y = cell_centres(w, scores), cell_centres(h, scores)
    px = (mass.sum(dim=2) * x).sum(dim=2)
    py = (mass.sum(dim=3) * y).sum(dim=2)
    near_x = ((x - px.unsqueeze(2)).abs() < 6 / w).to(mass.dtype)
    near_y = ((y - py.unsqueeze(2)).abs() < 6 / h).to(mass.dtype)
    confidence = torch.einsum("njhw,njw,njh->nj", mass, near_x, near_y)
    return torch.stack([px, py], dim=2), confidence


def cell_centres(cells: int, like: Tensor) -> Tensor:
    """Unit positions of the centres of ``cells`` score cells of two canvas pixels each."""
    pixel = torch.arange(cells, device=like.device, dtype=like.dtype) * 2 + 0.5
    return pixel / (2 * cells - 1) * 2 - 1


def score_loss(scores: Tensor, poses: Tensor) -> Tensor:
    """Cross-entropy of score maps (n, J, h, w) against Gaussians, one cell wide, at the joints.

    ``poses`` are (n, J, 2) in unit space. A distance of the mean position alone says little about
    where mass should go: with this loss beside it, 800 steps came as far as several thousand.
    """
    h, w = scores.shape[2:]
    x = _gaussian(poses[..., 0], cell_centres(w, scores))
    y = _gaussian(poses[..., 1], cell_centres(h, scores))
    target = (y.unsqueeze(3) * x.unsqueeze(2)).flatten(2)
    return -(target * scores.flatten(2).log_softmax(dim=2)).sum(dim=2).mean()


def _gaussian(position: Tensor, centres: Tensor) -> Tensor:
    """Normalised weights (n, J, cells) of a Gaussian at each position (n, J)."""
    cells = (position.unsqueeze(2) - centres) / (centres[1] - centres[0])
    return (-cells.square() / 2).softmax(dim=2)


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


def _stage(in_ch: int, out_ch: int, kernel: int, stride: int) -> nn.Sequential:
    # group norm keeps training and use alike, whatever the batch
    return nn.Sequential(
        nn.Conv2d(in_ch, out_ch, kernel, stride, kernel // 2, bias=False),
        nn.GroupNorm(1, out_ch),
        nn.ReLU(inplace=True),
    )
