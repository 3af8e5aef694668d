"""Puppets: a labelled frame, cut into limbs that are put together in another pose.

What a dozen shots lack is not appearance but poses. Their images hold the person, the clothes and
the place; adapted poses say how the person may stand; a puppet shows both, with a label that is
exact by construction. Ours; the papers have nothing like it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from flexpose.skeleton import Skeleton

Array = NDArray[np.float32]
Image = NDArray[np.uint8]

CORE = ("shoulder", "hip", "neck", "pelvis", "thorax", "spine", "belly", "tail_root")
"""What joints of the trunk are called, up to a side before it."""

_THICKNESS = {"hip": 0.17, "knee": 0.13, "shoulder": 0.13, "elbow": 0.11, "neck": 0.2}
_USUAL_THICKNESS = 0.13
"""Radius of the limb that begins at a joint, as a share of the trunk's length: of people in shirts
and trousers (the mannequin's are .06 to .1; a mask may be generous where a matte cuts it out)."""
_TRUNK_MARGIN = 0.12
_BEYOND = {"head": 0.9, "wrist": 0.55, "ankle": 0.4}
_USUAL_BEYOND = 0.1
"""How far flesh goes on beyond the last joint, as a share of its limb: skull, hand, foot."""
_REACH, _BLIND_REACH = 1.8, 1.3
"""Radii within which a pixel belongs to the nearest limb, with and without a matte."""
_STRETCH, _HEAD_STRETCH = (0.3, 2.0), (0.85, 1.2)
"""A foreshortened limb is stretched no further; and a head, which looks much the same from all
sides, hardly at all."""
_FRONT_ARMS = 0.75  # share of arms before the trunk
_COVERED = 0.5  # share of each bone that a matte must show to be trusted

_SHIRT, _TROUSERS, _HEAD = range(3)


@dataclass(frozen=True)
class Anatomy:
    """Which bones of a skeleton are limbs that can be moved, and which joints are the trunk.

    Attributes
    ----------
    limbs : edges (a, b), a nearer to the trunk, outermost last
    radius : of each limb, a share of the trunk's length
    beyond : how far each goes on beyond its end, a share of its length
    trunk : joints whose hull is the trunk
    trunk_mirror : the same, left and right exchanged
    side : -1, 1 or 0 of each limb: which side it is on
    raised : whether each limb is (part of) an arm, which may be before or behind the trunk
    """

    limbs: tuple[tuple[int, int], ...]
    radius: tuple[float, ...]
    beyond: tuple[float, ...]
    trunk: tuple[int, ...]
    trunk_mirror: tuple[int, ...]
    side: tuple[int, ...]
    raised: tuple[bool, ...]

    @staticmethod
    def of(skeleton: Skeleton) -> Anatomy | None:
        """The anatomy by the joints' names.

        None without three joints of a trunk or any limb, or when a joint belongs to neither.
        """
        kinds = [name.removeprefix("left_").removeprefix("right_") for name in skeleton.joints]
        trunk = tuple(i for i, kind in enumerate(kinds) if kind in CORE)
        limbs = tuple(edge for edge in skeleton.edges if not set(edge) <= set(trunk))
        held = {*trunk, *(joint for limb in limbs for joint in limb)}
        if len(trunk) < 3 or not limbs or len(held) < skeleton.num_joints:
            return None
        starts = {a for a, _ in limbs}
        return Anatomy(
            limbs,
            tuple(_THICKNESS.get(kinds[a], _USUAL_THICKNESS) for a, _ in limbs),
            tuple(
                _USUAL_BEYOND if b in starts else _BEYOND.get(kinds[b], _USUAL_BEYOND)
                for _, b in limbs
            ),
            trunk,
            tuple(skeleton.flip_index[joint] for joint in trunk),
            tuple(_side(skeleton.joints[b]) for _, b in limbs),
            tuple(kinds[a] in ("shoulder", "elbow") for a, _ in limbs),
        )

    def length(self, pose: NDArray[np.floating]) -> float:
        """A measure of the body's size in the units of the pose (J, 2), about the trunk's."""
        bones = [np.linalg.norm(pose[a] - pose[b]) for a, b in self.limbs]
        trunk = pose[list(self.trunk)]
        return float((sum(bones) + np.ptp(trunk, axis=0).max()) / (0.6 * len(self.limbs))) or 1.0


def _side(joint: str) -> int:
    return -1 if joint.startswith("left_") else int(joint.startswith("right_"))


class Puppet:
    """A labelled image, ready to take other poses.

    Parameters
    ----------
    image : uint8 (H, W, 3)
    pose : float (J, 2), complete, in pixels of the image
    anatomy : of the skeleton
    background : uint8 (H, W, 3), the same view without the person, where it is known; it is used
        when the person stands out from it, else the place behind the person is painted over
    """

    def __init__(
        self,
        image: Image,
        pose: NDArray[np.floating],
        anatomy: Anatomy,
        background: Image | None = None,
    ) -> None:
        self.image, self.anatomy = image, anatomy
        self.pose = pose.astype(np.float32)
        matte = None if background is None else _matte(image, background)
        if matte is not None and self._covered(matte) < _COVERED:
            matte = None
        distance = self._distances()
        if matte is None or background is None:
            self.background = self._painted_over(distance)
        else:
            self.background = background
        self._parts = list(self._cut(distance, matte))

    def posed(
        self,
        pose: NDArray[np.floating],
        random: np.random.Generator,
        background: Image | None = None,
        dye: float = 0.0,
    ) -> Image:
        """The person in another pose.

        Parameters
        ----------
        pose : (J, 2), pixels, complete
        random : which limbs are in front, and the dye
        background : uint8 (H, W, 3) to stand before; the own one when None
        dye : trunk with arms, legs, and head each get light of another colour, whose red, green
            and blue differ from white by at most this share

        Returns
        -------
        uint8 (H, W, 3)
        """
        pose = pose.astype(np.float32)
        scale = self.anatomy.length(pose) / self.anatomy.length(self.pose)
        out = (self.background if background is None else background).astype(np.float32)
        height, width = out.shape[:2]
        lights = random.uniform(1 - dye, 1 + dye, (3, 3)).astype(np.float32)
        for part in self._order(random):
            map_to = self._map(part, pose, scale)
            alpha = cv2.warpAffine(self._parts[part], map_to, (width, height))[..., None]
            # colours go on beyond the mask, so that its soft edge shows the person's
            colour = cv2.warpAffine(
                self.image, map_to, (width, height), None, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE
            )
            out += (colour * lights[self._garment(part)] - out) * alpha
        return np.clip(np.rint(out), 0, 255).astype(np.uint8)

    def _garment(self, part: int) -> int:
        """Which of the three colours of light a part gets."""
        if part == len(self.anatomy.limbs) or self.anatomy.raised[part]:
            return _SHIRT
        return _TROUSERS if self.anatomy.side[part] else _HEAD

    def _covered(self, matte: Array) -> float:
        """How much of the least seen bone the matte shows: who stands on one spot is half there."""
        trunk = self.pose[list(self.anatomy.trunk)]
        a = np.concatenate([self.pose[[a for a, _ in self.anatomy.limbs]], trunk])
        b = np.concatenate([self.pose[[b for _, b in self.anatomy.limbs]], trunk[::-1]])
        points = np.stack([a + t * (b - a) for t in (0.15, 0.35, 0.5, 0.65, 0.85)])
        x, y = np.rint(points).astype(int).transpose(2, 0, 1)
        inside = (x >= 0) & (y >= 0) & (x < matte.shape[1]) & (y < matte.shape[0])
        seen = matte[y.clip(0, matte.shape[0] - 1), x.clip(0, matte.shape[1] - 1)]
        return float(np.where(inside, seen, 1).mean(axis=0).min())

    def _distances(self) -> Array:
        """(L + 1, H, W): distance to each limb, and last to the trunk, in their radii."""
        height, width = self.image.shape[:2]
        y, x = np.mgrid[:height, :width].astype(np.float32)
        unit = self.anatomy.length(self.pose)
        maps = []
        for (a, b), radius, beyond in zip(
            self.anatomy.limbs, self.anatomy.radius, self.anatomy.beyond, strict=True
        ):
            (ax, ay), (dx, dy) = self.pose[a], self.pose[b] - self.pose[a]
            along = ((x - ax) * dx + (y - ay) * dy) / max(dx * dx + dy * dy, 1e-3)
            along = np.clip(along, 0, 1 + beyond)
            distance = np.hypot(x - ax - along * dx, y - ay - along * dy)
            maps.append(distance / max(radius * unit, 0.5))
        outside = np.ones((height, width), np.uint8)
        hull = cv2.convexHull(self.pose[list(self.anatomy.trunk)])
        cv2.fillConvexPoly(outside, np.rint(hull * 16).astype(np.int32), 0, shift=4)
        distance = cv2.distanceTransform(outside, cv2.DIST_L2, 5)
        maps.append(distance / max(_TRUNK_MARGIN * unit, 0.5))
        return np.stack(maps).astype(np.float32)

    def _painted_over(self, distance: Array) -> Image:
        """The image without the person: what is around goes on."""
        mask: Image = np.asarray((distance < 1.3).any(axis=0), np.uint8)
        if mask.all():
            return self.image
        grown = np.asarray(cv2.dilate(mask, np.ones((3, 3), np.uint8)), np.uint8)
        return np.asarray(cv2.inpaint(self.image, grown, 3, cv2.INPAINT_TELEA), np.uint8)

    def _cut(self, distance: Array, matte: Array | None) -> Iterator[Array]:
        """Soft masks (H, W) of the parts: around each bone, and what is nearest to it."""
        nearest = distance.argmin(axis=0)
        for part, own in enumerate(distance):
            reach = _BLIND_REACH if matte is None else _REACH
            mask = ((own < 1) | ((nearest == part) & (own < reach))).astype(np.float32)
            if matte is not None:
                mask *= matte
            yield np.asarray(cv2.GaussianBlur(mask, (0, 0), 0.5), np.float32)

    def _order(self, random: np.random.Generator) -> Iterator[int]:
        """Parts from the back to the front: one side behind the other, most arms in front."""
        body = self.anatomy
        sides = [-1, 1] if random.random() < 0.5 else [1, -1]
        front = {side: random.random() < _FRONT_ARMS for side in sides}
        arms = {
            s: [i for i, up in enumerate(body.raised) if up and body.side[i] == s] for s in sides
        }
        for side in sides:
            if not front[side]:
                yield from arms[side]
        for side in sides:  # the outer limb first, so that the inner one covers its beginning
            legs = [i for i, up in enumerate(body.raised) if not up and body.side[i] == side]
            yield from reversed(legs)
        yield len(body.limbs)
        yield from (i for i, side in enumerate(body.side) if side == 0)
        for side in sides:
            if front[side]:
                yield from arms[side]

    def _map(self, part: int, pose: Array, scale: float) -> Array:
        """Affine map (2, 3) that takes a part of the image to where the pose wants it."""
        if part < len(self.anatomy.limbs):
            a, b = self.anatomy.limbs[part]
            if self._garment(part) == _HEAD:  # it stays on its own joint, not on the neck
                return _along(self.pose[b], self.pose[a], pose[b], pose[a], scale, _HEAD_STRETCH)
            return _along(self.pose[a], self.pose[b], pose[a], pose[b], scale, _STRETCH)
        source = self.pose[list(self.anatomy.trunk)]
        # who turns round has his left side on the right: a shirt is taken as it is, not squeezed
        targets = (pose[list(order)] for order in (self.anatomy.trunk, self.anatomy.trunk_mirror))
        return min(
            (_least_squares(source, target, scale) for target in targets), key=lambda fit: fit[1]
        )[0]


def _matte(image: Image, background: Image) -> Array:
    """(H, W) in [0, 1]: what differs from the background by more than is usual."""
    difference = np.abs(image.astype(np.int16) - background).max(axis=2).astype(np.float32)
    difference = cv2.GaussianBlur(difference, (0, 0), 0.7)
    least = max(12.0, 4 * float(np.median(difference)))
    return np.clip(difference / (0.6 * least) - 1, 0, 1).astype(np.float32)


def _along(
    a: Array, b: Array, to_a: Array, to_b: Array, scale: float, stretch: tuple[float, float]
) -> Array:
    """The map that takes one bone to another, from ``a`` on: stretched along, scaled across it."""
    bone, new = b - a, to_b - to_a
    length, new_length = (max(float(np.linalg.norm(v)), 1.0) for v in (bone, new))
    along = float(np.clip(new_length / length, stretch[0] * scale, stretch[1] * scale))
    (x, y), (u, v) = _direction(bone), _direction(new)
    matrix = np.array([[u, -v], [v, u]]) @ np.diag([along, scale]) @ np.array([[x, y], [-y, x]])
    return np.column_stack([matrix, to_a - matrix @ a]).astype(np.float32)


def _direction(vector: Array) -> tuple[float, float]:
    length = float(np.linalg.norm(vector))
    return (float(vector[0]) / length, float(vector[1]) / length) if length > 1e-3 else (0.0, 1.0)


def _least_squares(source: Array, target: Array, scale: float) -> tuple[Array, float]:
    """Affine map of some points to others, held near a similarity of the usual scale; its error.

    A trunk seen from its side has its joints on a line, which leaves its width open.
    """
    middle, new_middle = source.mean(axis=0), target.mean(axis=0)
    x, y = source - middle, target - new_middle
    u, _, vt = np.linalg.svd(y.T @ x)
    turn = u @ np.diag([1.0, np.linalg.det(u @ vt)]) @ vt
    weight = 0.1 * float((x * x).sum())  # of staying a similarity
    matrix = (y.T @ x + weight * scale * turn) @ np.linalg.inv(x.T @ x + weight * np.eye(2))
    error = float(np.square(y - x @ matrix.T).sum())
    return np.column_stack([matrix, new_middle - matrix @ middle]).astype(np.float32), error
