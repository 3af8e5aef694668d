"""Analysis by synthesis: poses moved so that alpha draws a given image (torch)."""

from __future__ import annotations

import torch
from torch import Tensor

from flexpose.rendering.soft import Renderer

_STRIDE = 2  # lines are 2.7 px wide or more, so every second row and column sees each of them
_DAMPING = 2.5  # of normal equations whose diagonal is some hundreds for a joint that is seen
_LIMIT = 0.1  # unit space; a step trusts the linear model no farther than a line's glow


class PoseFit:
    """Damped Gauss-Newton steps towards the pose whose drawing is an image.

    Beta reads joints to within a pixel; from there the drawing itself says more exactly where they
    are. A joint that other limbs hide leaves no trace and stays where beta saw it. The paper reads
    with beta alone; on clean drawings two steps take three quarters of its error
    (docs/results/priors.md).

    Parameters
    ----------
    renderer : alpha, whose images are fitted
    """

    def __init__(self, renderer: Renderer) -> None:
        self.renderer = renderer
        dof = 2 * renderer.skeleton.num_joints
        # (E, 4): the coordinates of each limb among those of the pose
        ends = torch.stack([renderer.start, renderer.end], dim=1)
        own = torch.stack([2 * ends, 2 * ends + 1], dim=2).flatten(1)
        self._rows = own.flatten()
        self._cells = (own.unsqueeze(2) * dof + own.unsqueeze(1)).flatten()
        self._damping = _DAMPING * torch.eye(dof, device=ends.device)

    @torch.no_grad()
    def __call__(self, poses: Tensor, images: Tensor, steps: int = 2) -> tuple[Tensor, Tensor]:
        """Fit poses to images.

        Parameters
        ----------
        poses : float (n, J, 2), unit space, finite: where to start
        images : float (n, channels, size, size) in [-1, 1]
        steps : at least 1

        Returns
        -------
        float (n, J, 2), the fitted poses, and float (n,), the mean square difference between
        drawing and image, in their units, before the last step
        """
        wanted = (images[:, :, ::_STRIDE, ::_STRIDE] + 1) / 2
        for _ in range(steps):
            matrix, vector, error = self._normal_equations(poses, wanted)
            step = torch.linalg.solve(matrix + self._damping, vector)
            poses = poses + step.view_as(poses).clamp(-_LIMIT, _LIMIT)
        return poses, 4 * error

    def _normal_equations(self, poses: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """J'J (n, 2J, 2J), J'r (n, 2J) and the mean square of r (n,) of brightness in [0, 1]."""
        glow, by_start, by_end = self.renderer.glow_gradient(poses, _STRIDE)
        weight, pull = torch.zeros_like(glow), torch.zeros_like(glow)
        error = poses.new_zeros(len(poses))
        for color, plane in zip(self.renderer.colors.T, wanted.unbind(1), strict=True):
            # a pixel of a channel follows the limb that is brightest there; of equal ones, which
            # share a joint there, each counts
            tint = color.view(1, -1, 1, 1)
            bright = glow * tint
            top = bright.amax(dim=1, keepdim=True)
            share = (bright == top) * tint
            difference = plane.unsqueeze(1) - top
            weight.addcmul_(share, tint)
            pull.addcmul_(share, difference)
            error += difference.square().mean(dim=(1, 2, 3))
        gradient = torch.cat([by_start, by_end], dim=2).flatten(3)  # (n, E, 4, pixels)
        blocks = (gradient * weight.flatten(2).unsqueeze(2)) @ gradient.transpose(2, 3)
        pulls = (gradient @ pull.flatten(2).unsqueeze(3)).flatten(1)
        n, dof = len(poses), 2 * poses.shape[1]
        matrix = poses.new_zeros(n, dof * dof).index_add_(1, self._cells, blocks.flatten(1))
        vector = poses.new_zeros(n, dof).index_add_(1, self._rows, pulls)
        return matrix.view(n, dof, dof), vector, error / wanted.shape[1]
