"""Which latent meets which target pose in Eq. 5."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def optimal_pairs(made: Tensor, wanted: Tensor, shape_only: bool) -> tuple[Tensor, Tensor]:
    """Assign target poses to generated ones at the least total squared distance.

    Fixed random pairs (the paper's) pull every style towards one mean pose, since latents know
    nothing of the poses they are paired with; assigned pairs ask each latent for a pose near its
    own.

    Parameters
    ----------
    made : (N, J, 2) unit poses of a pool of latents; wanted : (E, J, 2) target poses
    shape_only : compare poses centred on their mean joint at unit size, which pairs like actions
        before the generator has moved

    Returns
    -------
    rows into ``made`` and into ``wanted``, both long (min(N, E),)
    """
    x, y = (_shape(p) if shape_only else p.flatten(1) for p in (made, wanted))
    cost = torch.cdist(x, y).square().cpu().numpy().astype(np.float64)
    rows, columns = linear_sum_assignment(cost)
    return torch.from_numpy(rows), torch.from_numpy(columns)


def _shape(poses: Tensor) -> Tensor:
    centred = poses - poses.mean(dim=1, keepdim=True)
    return torch.nn.functional.normalize(centred.flatten(1), dim=1)
