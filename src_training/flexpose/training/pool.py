"""What a discriminator sees again: images made some steps ago."""

from __future__ import annotations

import torch
from torch import Tensor


class ImagePool:
    """Images made earlier, on the CPU; keeps a discriminator from following the last step only.

    Attributes
    ----------
    images : float (at most ``size``, c, h, w)
    """

    def __init__(self, size: int = 50) -> None:
        self.size = size
        self.images = torch.zeros(0)

    def swapped(self, made: Tensor, random: torch.Generator) -> Tensor:
        """Images (n, c, h, w), half of them exchanged for older ones once the pool is full."""
        if len(self.images) < self.size:
            known = [self.images] if len(self.images) else []
            self.images = torch.cat([*known, made.cpu()])[: self.size]
            return made
        out = made.clone()
        swap = torch.nonzero(torch.rand(len(made), generator=random) < 0.5)[: self.size, 0]
        at = torch.randperm(self.size, generator=random)[: len(swap)]
        out[swap] = self.images[at].to(made.device)
        self.images[at] = made[swap].cpu()
        return out
