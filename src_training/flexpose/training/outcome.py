"""How an adaptation turned out: its distance to the shots, and what it makes, in pictures."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from flexpose.checkpoint import CheckpointMeta, sha256_of
from flexpose.configs.adaptation import AdaptConfig
from flexpose.configs.baselines import BaselineConfig
from flexpose.errors import CheckpointError
from flexpose.geometry import unit_to_canvas
from flexpose.losses import energy_distance
from flexpose.models.prior import Prior
from flexpose.rendering.soft import Renderer
from flexpose.sampling import PoseModel, PoseSampler, among_mixups
from flexpose.training.loop import Preview
from flexpose.training.pictures import to_uint8

COLLAPSED = 0.5
"""Spread ratio below which generated poses hardly differ from each other any more."""


@torch.no_grad()
def outcome(model: PoseModel, shots: Tensor, random: torch.Generator) -> Mapping[str, float]:
    """Energy distance to the shots (M, J, 2) and spread against them, of 1,000 samples.

    Mixups of the shots count in the first and not in the second: they would hide a collapse.
    """
    sampler = PoseSampler(model, mixup_share=0)
    made = sampler.draw(1000, random)
    wanted = shots.cpu().flatten(1)
    spread = made.flatten(1).var(dim=0).sum().sqrt() / wanted.var(dim=0).sum().sqrt()
    drawn = among_mixups(made, shots, model.mixup_share, random)
    return {
        "energy_distance": float(energy_distance(drawn.flatten(1), wanted)),
        "spread_ratio": float(spread),
        "kept_share": sampler.counts.kept / max(sampler.counts.made, 1),
    }


def adapted_meta(config: AdaptConfig | BaselineConfig, prior: Prior) -> CheckpointMeta:
    """What a checkpoint of an adapted model says of it."""
    return CheckpointMeta(
        kind="adapted",
        skeleton=prior.skeleton.to_dict(),
        style=prior.style.to_dict(),
        config=config.model_dump(mode="json"),
        parent={"path": str(config.prior), "sha256": sha256_of(prior.path)},
        licence=prior.meta.licence,
    )


def check_same_shots(tensors: Mapping[str, Tensor], shots: Tensor) -> None:
    """Refuse to go on with a run that began with other shots.

    Raises
    ------
    CheckpointError : the checkpoint's shots differ, or it has none.
    """
    saved = tensors.get("shots")
    if saved is None or not torch.equal(saved, shots.cpu()):
        raise CheckpointError(
            "The run was started with other shots than there are now.",
            "Start a new run for the new shots.",
        )


def nearest_shots(poses: Tensor, shots: Tensor) -> Tensor:
    """The shot (n, J, 2) nearest to each pose (n, J, 2)."""
    return shots[torch.cdist(poses.flatten(1), shots.flatten(1)).argmin(dim=1)]


@torch.no_grad()
def three_rows(prior: Prior, source: Tensor, adapted: Tensor, shots: Tensor) -> Preview:
    """Three rows of eight: source samples, the same latents adapted, the nearest shots.

    All (n, J, 2) in unit space.
    """
    rows = torch.cat([source, adapted, nearest_shots(adapted, shots)])
    render = Renderer(prior.skeleton, prior.style, rows.device)
    canvas = unit_to_canvas(rows.cpu().numpy(), prior.style.size)
    return Preview(to_uint8(render(rows)), canvas)
