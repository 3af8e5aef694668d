"""Training pictures by the thousand from a dozen shots: their people in adapted poses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flexpose.difficulty import BinnedRows
from flexpose.geometry import mirrored_unit, unit_to_canvas
from flexpose.rendering.bent import BentPicture
from flexpose.rendering.puppet import Anatomy, Puppet
from flexpose.skeleton import Skeleton
from flexpose.training.clips import Labels, placements

_STREAM = 1 << 40
_SIDEWAYS = 0.005  # product of two facings that is neither from the front nor from behind
_VARIED, _DYE = 0.4, 0.3  # share of puppets in other places and clothes, and how other these are


@dataclass(frozen=True)
class Puppets:
    """Pictures uint8 (n, 3, size, size), keypoints (n, J, 2) in unit space, and bins to draw by."""

    images: Tensor
    keypoints: Tensor
    binned: BinnedRows | None = None


def make_puppets(
    shots: Labels,
    images: NDArray[np.uint8],
    backgrounds: NDArray[np.uint8],
    unpaired: NDArray[np.float32],
    skeleton: Skeleton,
    count: int,
    nearness: float,
    seed: int,
) -> Puppets:
    """``count`` pictures; none where no shot is complete.

    People and animals with a trunk become puppets, limb by limb; of other skeletons, such as faces,
    the whole picture is bent.

    Each pose, or its mirror image, is taken by a shot that has much the same: the better they
    agree, the less has to be bent and the more the picture looks like a photograph. Shots from the
    front take no poses from behind, for their left would be called right; poses that no shot can
    take are left out, and others drawn.

    Parameters
    ----------
    images, backgrounds : uint8 (n, size, size, 3), the shots' crops and the places without people
    unpaired : (P, J, 2), box-normalised poses
    nearness : mean distance a joint at which a shot is taken e times more seldom
    """
    complete = shots.keypoints.isfinite().all(dim=2).all(dim=1).numpy()
    anatomy, size = Anatomy.of(skeleton), images.shape[1]
    none = Puppets(torch.zeros(0, 3, size, size, dtype=torch.uint8), torch.zeros(0))
    if not count or not len(unpaired) or not complete.any():
        return none
    places = placements(shots).numpy()
    keypoints = shots.keypoints.numpy()[complete]
    own = (keypoints - places[:, None, 1:]) / places[:, None, :1]
    canvas = unit_to_canvas(keypoints, size)
    figures = [
        Puppet(image, pose, anatomy, background) if anatomy else BentPicture(image, pose)
        for image, pose, background in zip(
            images[complete], canvas, backgrounds[complete], strict=True
        )
    ]
    places_behind = [figure.background for figure in figures if isinstance(figure, Puppet)]
    random = np.random.default_rng([seed, _STREAM])
    pictures, points = [], []
    fits = np.ones((len(own), len(unpaired)), bool)
    if anatomy is not None:
        fits = _facings(own, anatomy)[:, None] * _facings(unpaired, anatomy) > -_SIDEWAYS
    possible = np.flatnonzero(fits.any(axis=0))
    if not len(possible):
        return none
    for row in possible[random.integers(len(possible), size=count)]:
        pose = unpaired[row]
        both = np.stack([pose, mirrored_unit(pose[None], skeleton.flip_index)[0]])
        distance = np.abs(own - both[:, None]).mean(axis=(2, 3))
        distance[:, ~fits[:, row]] = np.inf
        chances = np.exp(-(distance - distance.min()) / nearness).ravel()
        side, shot = divmod(int(random.choice(len(chances), p=chances / chances.sum())), len(own))
        target = both[side] * places[shot, :1] + places[shot, 1:]
        wanted, figure = unit_to_canvas(target, size), figures[shot]
        points.append(target)
        if isinstance(figure, BentPicture):
            pictures.append(figure.posed(wanted))
            continue
        elsewhere = places_behind[int(random.integers(len(places_behind)))]
        varied = bool(random.random() < _VARIED)
        behind, dye = (elsewhere, _DYE) if varied else (None, 0.0)
        pictures.append(figure.posed(wanted, random, behind, dye))
    stack = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()
    return Puppets(stack, torch.from_numpy(np.stack(points).astype(np.float32)))


def _facings(poses: NDArray[np.float32], anatomy: Anatomy) -> NDArray[np.float32]:
    """How far the trunk's left joints are right of its right ones, (n,); below 0 from behind."""
    trunk, mirror = list(anatomy.trunk), list(anatomy.trunk_mirror)
    left = [a for a, b in zip(trunk, mirror, strict=True) if a < b]
    right = [b for a, b in zip(trunk, mirror, strict=True) if a < b]
    if not left:
        return np.zeros(len(poses), np.float32)
    return np.asarray((poses[:, left, 0] - poses[:, right, 0]).mean(axis=1), np.float32)
