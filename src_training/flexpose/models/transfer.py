"""Tau: one square matrix on the style codes of chosen layers (FlexPose, Eq. 4 and 6)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flexpose.errors import ConfigError
from flexpose.models.generator import PoseGenerator, PoseOutput, StyleLayer


class TransferFunction(nn.Module):
    """tau = diag(I, ..., U_l, ..., I), starting as the identity.

    Parameters
    ----------
    layers : the generator's style layers
    chosen : 1-based indices of the layers that get a matrix
    bias : also learn a shift of each code; A's own bias already lies inside the code

    Raises
    ------
    ConfigError : no layer is chosen, or one that does not exist.
    """

    def __init__(
        self, layers: Sequence[StyleLayer], chosen: Sequence[int], bias: bool = False
    ) -> None:
        super().__init__()
        by_index = {layer.index: layer for layer in layers}
        if not chosen:
            raise ConfigError("No layer was chosen for adaptation.", "Name one, such as 3.")
        for index in chosen:
            if index not in by_index:
                raise ConfigError(
                    f"Layer {index} was chosen for adaptation, but the generator has layers 1 to "
                    f"{len(by_index)}."
                )
        self.U = nn.ParameterDict(
            {str(i): nn.Parameter(torch.eye(by_index[i].style_dim)) for i in sorted(set(chosen))}
        )
        self.shift = nn.ParameterDict(
            {str(i): nn.Parameter(torch.zeros(by_index[i].style_dim)) for i in sorted(set(chosen))}
            if bias
            else {}
        )

    def forward(self, codes: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Style codes after tau; codes of other layers pass through."""
        out = list(codes)
        for name, matrix in self.U.items():
            at = int(name) - 1
            out[at] = out[at] @ matrix.T
            if name in self.shift:
                out[at] = out[at] + self.shift[name]
        return tuple(out)

    def distance_from_identity(self) -> Tensor:
        """Sum of the squared entries of U - I over the adapted layers."""
        parts = [(u - torch.eye(len(u), device=u.device)).square().sum() for u in self.U.values()]
        return torch.stack(parts).sum()


class TransferredGenerator(nn.Module):
    """g_t = phi . tau . A . f: a source generator with tau on its codes."""

    def __init__(self, source: PoseGenerator, transfer: TransferFunction) -> None:
        super().__init__()
        self.source, self.transfer = source, transfer
        self.z_dim, self.layers = source.z_dim, source.layers

    @property
    def w_mean(self) -> Tensor:
        return self.source.w_mean

    def mapping(self, z: Tensor) -> Tensor:
        """f, the source's."""
        return self.source.mapping(z)

    def codes(self, w: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
        """tau(A(w))."""
        return self.transfer(self.source.codes(w))

    def synthesize(
        self, codes: Sequence[Tensor], noise: torch.Generator | None = None
    ) -> PoseOutput:
        """phi, the source's."""
        return self.source.synthesize(codes, noise)
