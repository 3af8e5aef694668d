"""Pose VAE: a variational autoencoder of 2-D keypoints (Dua 2023, poster)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from flexpose.checkpoint import load_checkpoint
from flexpose.models.prior import checkpoint_path, frozen, load_weights
from flexpose.skeleton import Skeleton


class PoseVae(nn.Module):
    """Two layers down to the code's mean and log-variance, two layers back.

    Parameters
    ----------
    num_joints : J
    width, latent : sizes
    """

    def __init__(self, num_joints: int, width: int = 256, latent: int = 16) -> None:
        super().__init__()
        self.num_joints = num_joints
        self.encoder = _layers(2 * num_joints, width, 2 * latent)
        self.decoder = _layers(latent, width, 2 * num_joints)

    def code(self, poses: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (n, latent) of the codes of poses (n, J, 2)."""
        mean, log_variance = self.encoder(poses.flatten(1)).chunk(2, dim=1)
        return mean, log_variance.clamp(-10, 10)

    def decode(self, codes: Tensor) -> Tensor:
        """Poses (n, J, 2) of codes (n, latent)."""
        return self.decoder(codes).view(-1, self.num_joints, 2)

    @torch.no_grad()
    def score(self, poses: Tensor) -> Tensor:
        """Difficulty (n,): the summed squared distance of joints to what the mean code gives."""
        return reconstruction(self.decode(self.code(poses)[0]), poses)


def reconstruction(again: Tensor, poses: Tensor) -> Tensor:
    """Sum over joints of squared distances, (n,), of poses (n, J, 2)."""
    return (again - poses).square().sum(dim=(1, 2))


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL of N(mean, variance) from N(0, I), (n,)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1)


def load_vae(path: str | Path, device: torch.device | str = "cpu") -> tuple[PoseVae, Skeleton]:
    """A trained Pose VAE, and the joints that it knows.

    Raises
    ------
    UnknownNameError, CheckpointError : it is not there, or no Pose VAE.
    """
    found = load_checkpoint(checkpoint_path(path), kind="pose-vae")
    skeleton = Skeleton.from_dict(found.meta.skeleton, found.path)
    config = found.meta.config
    model = PoseVae(skeleton.num_joints, int(config["width"]), int(config["latent"]))
    load_weights(model, found.tensors, "vae.", found.path)
    frozen(model, device)
    return model, skeleton


def _layers(inputs: int, width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, width),
        nn.SiLU(),
        nn.Linear(width, width),
        nn.SiLU(),
        nn.Linear(width, outputs),
    )
