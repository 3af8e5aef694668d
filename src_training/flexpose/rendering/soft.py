"""Alpha: the differentiable renderer of skeleton images (torch)."""

from __future__ import annotations

import torch
from torch import Tensor

from flexpose.errors import PoseShapeError
from flexpose.rendering.style import DrawingStyle
from flexpose.skeleton import Skeleton

_FAR = 1e3  # unit space; a limb out here leaves no trace on the canvas


class Renderer:
    """Alpha for one skeleton and drawing style.

    KeypointGAN, released renderer: per limb ``exp(-d / sigma**2)``, maximum over limbs per colour
    channel, then ``2x - 1`` (tomasjakab/keypointgan@541b769:models/utils.py).

    Parameters
    ----------
    skeleton, style : what is drawn, and how
    device : where the limb table and the pixel grid live
    """

    def __init__(
        self, skeleton: Skeleton, style: DrawingStyle, device: torch.device | str = "cpu"
    ) -> None:
        self.skeleton = skeleton
        self.style = style
        edges = torch.tensor(skeleton.edges, dtype=torch.long, device=device).reshape(-1, 2)
        self.start, self.end = edges.unbind(1)
        self.colors = torch.from_numpy(style.limb_colors(skeleton)).to(device)
        self._grid = torch.linspace(-1, 1, style.size, device=device)

    def __call__(self, poses: Tensor) -> Tensor:
        """Draw poses.

        Parameters
        ----------
        poses : float (n, J, 2), unit space; limbs with a NaN end are left out

        Returns
        -------
        float (n, channels, size, size) in [-1, 1], differentiable with respect to the poses
        """
        if poses.ndim != 3 or poses.shape[1:] != (self.skeleton.num_joints, 2):
            raise PoseShapeError(
                f"Found poses of shape {tuple(poses.shape)}, expected "
                f"(n, {self.skeleton.num_joints}, 2)."
            )
        known = poses.isfinite().all(dim=2, keepdim=True)
        drawn = known[:, self.start] & known[:, self.end]
        if not len(self.start):
            n, side = len(poses), self.style.size
            return poses.new_full((n, self.style.channels, side, side), -1.0)
        # replace before anything else is computed, so that no NaN enters the backward pass
        start = torch.where(drawn, poses[:, self.start], _FAR)
        end = torch.where(drawn, poses[:, self.end], _FAR)
        glow = self._glow(start, end)
        image = torch.stack(
            [(glow * color.view(1, -1, 1, 1)).amax(dim=1) for color in self.colors.T], dim=1
        )
        return image * 2 - 1

    def glow_gradient(self, poses: Tensor, stride: int = 1) -> tuple[Tensor, Tensor, Tensor]:
        """Brightness of each limb, and how it grows as one of the limb's ends moves.

        Parameters
        ----------
        poses : float (n, J, 2), unit space, finite
        stride : only every so many rows and columns

        Returns
        -------
        brightness float (n, E, h, w) in [0, 1], and its gradients with respect to the limb's start
        and end, float (n, E, 2, h, w) each
        """
        along, dx, dy = self._nearest(poses[:, self.start], poses[:, self.end], stride)
        distance = torch.sqrt(dx * dx + dy * dy + 1e-6)
        glow = torch.exp(distance * (-1 / self.style.sigma**2))
        slope = glow / distance * (1 / self.style.sigma**2)
        away = torch.stack([dx * slope, dy * slope], dim=2)
        by_end = away * along.unsqueeze(2)
        return glow, away - by_end, by_end

    def _glow(self, start: Tensor, end: Tensor) -> Tensor:
        """Brightness (n, E, size, size) in [0, 1] of each limb at each pixel."""
        _, dx, dy = self._nearest(start, end)
        # 1e-6 keeps the gradient of the root finite on the line itself (KeypointGAN's constant)
        distance = torch.sqrt(dx * dx + dy * dy + 1e-6)
        return torch.exp(distance * (-1 / self.style.sigma**2))

    def _nearest(
        self, start: Tensor, end: Tensor, stride: int = 1
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Where each limb (n, E, 2) comes nearest to each pixel.

        Share of the limb's length, and x and y of the pixel from there; float (n, E, h, w) each.
        """
        grid = self._grid[::stride]
        x, y = grid.view(1, 1, 1, -1), grid.view(1, 1, -1, 1)
        ax, ay = start[..., 0, None, None], start[..., 1, None, None]
        bx, by = (end[..., 0, None, None] - ax), (end[..., 1, None, None] - ay)
        length = (bx * bx + by * by).clamp_min(1e-6)
        along = (((x - ax) * bx + (y - ay) * by) / length).clamp(0, 1)
        dx = torch.addcmul(x - ax, along, bx, value=-1)
        dy = torch.addcmul(y - ay, along, by, value=-1)
        return along, dx, dy
