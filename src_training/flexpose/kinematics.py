"""Kinematic transfer: a length ratio for each bone, fitted so that poses meet the shots.

Datasets differ in body proportions and in where a joint is marked; a ratio for each bone along
the kinematic tree says just that, with a dozen numbers where tau has thousands. An addition of
ours, composed with the generator's output.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flexpose.models.keypoint_generator import box_normalised
from flexpose.skeleton import Skeleton, bone_tree


class KinematicTransfer(nn.Module):
    """Scales every bone of unit poses by its own ratio, then normalises the box again.

    Left and right bones share a ratio: with a dozen shots, free ratios ran from .4 to 1.8.
    """

    def __init__(self, skeleton: Skeleton) -> None:
        super().__init__()
        order = bone_tree(skeleton)
        flip = skeleton.flip_index
        # without direction: a tree around a cycle may run up one side and down the other
        keys = [frozenset({frozenset((a, b)), frozenset((flip[a], flip[b]))}) for a, b in order]
        names = {key: i for i, key in enumerate(dict.fromkeys(keys))}
        # matrix from bone vectors to positions: each joint is the sum of the bones on its path
        path = torch.zeros(skeleton.num_joints, len(order))
        for bone, (parent, child) in enumerate(order):
            path[child] = path[parent]
            path[child, bone] = 1
        self.register_buffer("path", path, persistent=False)
        parents = torch.tensor([a for a, _ in order], dtype=torch.long)
        children = torch.tensor([b for _, b in order], dtype=torch.long)
        shared = torch.tensor([names[key] for key in keys], dtype=torch.long)
        self.register_buffer("parent_joints", parents, persistent=False)
        self.register_buffer("child_joints", children, persistent=False)
        self.register_buffer("shared", shared, persistent=False)
        self.log_ratio = nn.Parameter(torch.zeros(len(names)))

    path: Tensor
    parent_joints: Tensor
    child_joints: Tensor
    shared: Tensor

    def ratios(self) -> Tensor:
        """The ratio of each tree bone, in the order of `bone_tree`."""
        return self.log_ratio.exp()[self.shared]

    def forward(self, poses: Tensor) -> Tensor:
        """Unit poses (n, J, 2) with scaled bones, box-normalised."""
        bones = (poses[:, self.child_joints] - poses[:, self.parent_joints]) * self.ratios()[
            :, None
        ]
        roots = poses - self.path @ (poses[:, self.child_joints] - poses[:, self.parent_joints])
        return box_normalised(roots + self.path @ bones)
