"""How skeleton images are drawn; it travels with priors, which mean nothing without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexpose.errors import ConfigError
from flexpose.skeleton import Skeleton


@dataclass(frozen=True)
class DrawingStyle:
    """Parameters of alpha, the map from a pose to its skeleton image.

    A limb's brightness at distance d from it is ``exp(-d / sigma**2)`` in unit space (KeypointGAN
    section 5.2 of its released renderer), not a Gaussian; limbs combine by maximum.

    Attributes
    ----------
    size : width and height of the square canvas in pixels, at least 16
    sigma : unit space; .2 is KeypointGAN's at 128 px; .25 keeps lines 2.7 px wide at 64 px
    channels : 3 gives each bone its own colour, 1 draws all bones white
    """

    size: int = 64
    sigma: float = 0.25
    channels: int = 3

    def __post_init__(self) -> None:
        if self.size < 16 or self.sigma <= 0 or self.channels not in (1, 3):
            raise ConfigError(
                f"Drawing style {asdict(self)} is not possible: expected size >= 16, sigma > 0 "
                "and 1 or 3 channels."
            )

    @staticmethod
    def for_size(size: int, channels: int = 3) -> DrawingStyle:
        """The default line width at a canvas size."""
        return DrawingStyle(size, 0.2 if size >= 128 else 0.25, channels)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> DrawingStyle:
        return DrawingStyle(int(data["size"]), float(data["sigma"]), int(data["channels"]))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def limb_colors(self, skeleton: Skeleton) -> NDArray[np.float32]:
        """float32 (E, channels) in [0, 1], one row an edge."""
        if self.channels == 1:
            return np.ones((len(skeleton.edges), 1), dtype=np.float32)
        return np.array(skeleton.edge_colors, dtype=np.float32).reshape(-1, 3) / np.float32(255)
