"""Drawn faces with the exact place of 68 landmarks: what the mannequin is for bodies.

A head is the neutral pose of `face68` with depth, in a person's own proportions; frames of a clip
turn it and change its expression. Nobody is shown.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flexpose.mannequin.sample import write_sample
from flexpose.poseset import PoseSet
from flexpose.skeleton import Skeleton, load_skeleton

Array = NDArray[np.float64]

_UNIT = 70.0  # half a jaw's width in the neutral pose
_FAIR, _LIGHT, _TAN, _BROWN, _DARK = (
    (242, 205, 178), (224, 178, 146), (196, 144, 108), (146, 100, 72), (104, 70, 52)
)  # fmt: skip
_BLACK, _CHESTNUT, _BLOND, _GREY = (36, 30, 28), (96, 62, 40), (208, 172, 104), (150, 146, 144)
_PEOPLE = (
    (_FAIR, _BLOND), (_FAIR, _CHESTNUT), (_LIGHT, _BLOND), (_LIGHT, _GREY), (_LIGHT, _BLACK),
    (_TAN, _CHESTNUT), (_TAN, _BLACK), (_BROWN, _BLACK), (_BROWN, _GREY), (_DARK, _BLACK),
)  # fmt: skip
"""Skin and hair."""
_IRIS = ((60, 90, 120), (70, 52, 38), (70, 96, 60))
_WALL = ((196, 206, 214), (214, 204, 190), (150, 170, 160), (120, 130, 150), (226, 224, 220))
_MOUTH, _TEETH = (70, 26, 30), (238, 234, 226)
_SHIFT = 4  # bits of a pixel's fraction, for smooth outlines


@dataclass(frozen=True)
class Looks:
    """Colours of a clip, RGB."""

    skin: tuple[int, int, int]
    hair: tuple[int, int, int]
    wall: tuple[int, int, int]
    iris: tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class FaceSample:
    """Poses of drawn faces, with an image for each.

    Attributes
    ----------
    poses : N poses of the skeleton face68, all visible; groups are the clips, one person each
    """

    poses: PoseSet
    _seed: int = field(repr=False)
    _crowns: Array = field(repr=False)
    _looks: tuple[Looks, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.poses)

    def image(self, index: int) -> NDArray[np.uint8]:
        """Draw an image, uint8 (H, W, 3) RGB; the same pixels whenever it is asked for."""
        side = int(self.poses.image_size[index, 0])
        looks = self._looks[index // (len(self) // len(self._looks))]
        points = self.poses.keypoints[index].astype(np.float64)
        noise = np.random.default_rng([self._seed, 2, index])
        return _draw(points, self._crowns[index], side, looks, self.poses.skeleton, noise)

    def write(self, folder: Path | str) -> Path:
        """Write the images as PNG files and their landmarks as ``faces.coco.json``, its path."""
        return write_sample(Path(folder), self.poses, self.image, "faces.coco.json")


def face_frames(
    seed: int = 0,
    *,
    people: int = 8,
    frames: int = 12,
    image_size: int = 128,
    yaw_deg: float = 0.0,
    turns_deg: float = 22.0,
) -> FaceSample:
    """Make the sample: people, each in a clip of consecutive frames.

    Parameters
    ----------
    yaw_deg : where they look on average, to the picture's right; 0 is into the camera
    turns_deg : standard deviation of the yaw around it
    """
    random = np.random.default_rng([seed, 0])
    skeleton = load_skeleton("face68")
    points, crowns, looks, names, groups = [], [], [], [], []
    for person in range(people):
        head, crown = _head(skeleton, random)
        looks.append(_looks(random))
        for frame, (angles, mood) in enumerate(_acting(frames, yaw_deg, turns_deg, random)):
            both = np.concatenate([_expressive(head, skeleton, mood), crown])
            seen = _projected(both, angles, image_size)
            points.append(seen[: len(head)])
            crowns.append(seen[len(head) :])
            names.append(f"person_{person:02d}/{frame:03d}.png")
            groups.append(f"person_{person:02d}")
    poses = PoseSet.create(
        skeleton,
        np.stack(points).astype(np.float32),
        np.full((people * frames, 2), image_size),
        image_ids=tuple(names),
        groups=tuple(groups),
    )
    return FaceSample(poses, seed, np.stack(crowns), tuple(looks))


def _looks(random: np.random.Generator) -> Looks:
    skin, hair = _PEOPLE[int(random.integers(len(_PEOPLE)))]
    wall, iris = (choices[int(random.integers(len(choices)))] for choices in (_WALL, _IRIS))
    return Looks(skin, hair, wall, iris)


# ---------------------------------------------------------------- the head


def _head(skeleton: Skeleton, random: np.random.Generator) -> tuple[Array, Array]:
    """A person's landmarks (68, 3) and the outline of the crown (n, 3): x right, y down, z near."""
    neutral = skeleton.neutral_pose
    assert neutral is not None
    flat = np.asarray(neutral, np.float64) / _UNIT
    parts = _parts(skeleton)
    depth = 0.95 * np.sqrt(np.clip(1 - (flat[:, 0] / 1.12) ** 2, 0, None))
    depth[parts["jaw"]] -= 0.25
    depth[parts["nose_bridge"]] += np.linspace(0.05, 0.4, 4)
    depth[parts["nose_base"]] += 0.15
    for lips in ("outer_lip", "inner_lip"):
        depth[parts[lips]] += 0.08
    head = np.column_stack([flat, depth])
    lower = np.clip(flat[:, 1] / 1.5, 0, 1)
    head[:, 0] *= 1 + 0.06 * random.normal() - 0.1 * random.normal() * lower
    head[:, 1] *= 1 + 0.05 * random.normal()
    for name, shift in (("nose_base", 0.03), ("nose_bridge", 0.03), ("outer_lip", 0.04)):
        moved = shift * random.normal()
        names = ("outer_lip", "inner_lip") if name == "outer_lip" else (name,)
        for part in names:
            head[parts[part], 1] += moved
    angles = np.linspace(np.pi, 2 * np.pi, 24)
    tall = 1.05 + 0.1 * random.random()
    crown = np.column_stack(
        [1.04 * np.cos(angles), -0.1 + tall * np.sin(angles), np.full(24, 0.05)]
    )
    return head, crown


def _parts(skeleton: Skeleton) -> dict[str, NDArray[np.intp]]:
    """Indices of the landmarks of a part, in their order."""
    kinds = [joint.rpartition("_")[0] for joint in skeleton.joints]
    return {kind: np.flatnonzero([k == kind for k in kinds]) for kind in dict.fromkeys(kinds)}


def _acting(
    frames: int, yaw_deg: float, turns_deg: float, random: np.random.Generator
) -> list[tuple[Array, Array]]:
    """Yaw, pitch, roll in radians and mood (open mouth, smile, brows, blink) of each frame."""
    time = np.linspace(0, 1, frames)[:, None]
    ends = random.normal(size=(2, 7))
    way = ends[0] + (ends[1] - ends[0]) * (3 - 2 * time) * time**2
    angles = np.radians(way[:, :3] * (turns_deg, 8.0, 7.0) + (yaw_deg, 0.0, 0.0))
    angles[:, 0] = np.clip(angles[:, 0], -0.9, 0.9)
    mood = np.column_stack(
        [
            np.clip(0.5 * way[:, 3], 0, 1),
            np.clip(0.5 * way[:, 4], -0.5, 1),
            np.clip(0.5 * way[:, 5], -1, 1),
            np.clip(0.3 + 0.3 * way[:, 6], 0, 0.8),
        ]
    )
    return list(zip(angles, mood, strict=True))


def _expressive(head: Array, skeleton: Skeleton, mood: Array) -> Array:
    """The head with an open mouth, a smile, raised brows, half-closed eyes."""
    head, parts = head.copy(), _parts(skeleton)
    opened, smile, brows, blink = mood
    mouth = np.concatenate([parts["outer_lip"], parts["inner_lip"]])
    middle = head[mouth].mean(axis=0)
    below = np.clip((head[mouth, 1] - middle[1]) / 0.15, 0, 1)
    corner = np.clip(np.abs(head[mouth, 0]) / 0.36, 0, 1) ** 2
    head[mouth, 1] += 0.28 * opened * below * (1 - corner) - 0.1 * smile * corner
    head[mouth, 0] *= 1 + 0.18 * smile - 0.12 * opened
    jaw = parts["jaw"]
    head[jaw, 1] += 0.2 * opened * np.clip((head[jaw, 1] - 0.6) / 0.8, 0, 1)
    for side in ("right", "left"):
        head[parts[f"{side}_brow"], 1] -= 0.1 * brows
        eye = parts[f"{side}_eye"]
        head[eye, 1] += (head[eye, 1].mean() - head[eye, 1]) * blink
    return head


def _projected(points: Array, angles: Array, side: int) -> Array:
    """Points (n, 3) turned and seen from far away, in pixels of a square picture (n, 2)."""
    (cy, cp, cr), (sy, sp, sr) = np.cos(angles), np.sin(angles)
    yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    pitch = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    turned = (points - (0, 0.2, 0)) @ (roll @ pitch @ yaw).T
    return np.asarray(turned[:, :2] * 0.27 * side + (0.5 * side, 0.53 * side) - 0.5)


# ---------------------------------------------------------------- the picture


def _draw(
    points: Array, crown: Array, side: int, looks: Looks, skeleton: Skeleton, noise: Any
) -> NDArray[np.uint8]:
    parts = {name: points[rows] for name, rows in _parts(skeleton).items()}
    across = np.linspace(0.9, 1.1, side)[None, :, None]
    picture = np.clip(np.full((side, side, 3), looks.wall) * across, 0, 255).astype(np.uint8)
    eyes = np.concatenate([parts["right_eye"], parts["left_eye"]]).mean(axis=0)
    unit = float(np.linalg.norm(parts["jaw"][8] - eyes)) / 1.6
    jaw = parts["jaw"]
    neck = np.array([jaw[4], jaw[12], jaw[12] + (0, side), jaw[4] + (0, side)])
    _fill(picture, neck, _shade(looks.skin, 0.8))
    middle = crown[[0, -1]].mean(axis=0)
    _fill(picture, middle + (crown - middle) * 1.14, looks.hair)
    _fill(picture, np.concatenate([jaw, (middle + (crown - middle) * 0.78)[::-1]]), looks.skin)
    for name in ("right", "left"):
        _line(picture, parts[f"{name}_brow"], looks.hair, 0.09 * unit)
        eye = parts[f"{name}_eye"]
        _fill(picture, eye, (246, 244, 240))
        white = np.zeros(picture.shape[:2], np.uint8)
        _fill(white, eye, 255)
        ball = picture.copy()
        _disc(ball, eye.mean(axis=0), 0.1 * unit, looks.iris)
        _disc(ball, eye.mean(axis=0), 0.045 * unit, (16, 14, 14))
        picture[white > 0] = ball[white > 0]
        _line(picture, eye[:4], _shade(looks.skin, 0.4), 0.03 * unit)
    _line(picture, parts["nose_bridge"], _shade(looks.skin, 0.86), 0.05 * unit)
    _line(picture, parts["nose_base"], _shade(looks.skin, 0.6), 0.045 * unit)
    red, green, blue = looks.skin
    lips = (round(0.95 * min(red, 176)), round(0.5 * green), round(0.6 * blue))
    _fill(picture, parts["outer_lip"], lips)
    inner = parts["inner_lip"]
    if np.ptp(inner[:, 1]) > 0.08 * unit:
        _fill(picture, inner, _MOUTH)
        teeth = np.array([*inner[:5], *(inner[1:4] * 0.55 + inner[[7, 6, 5]] * 0.45)[::-1]])
        _fill(picture, teeth, _TEETH)
    else:
        _line(picture, inner[:5], _shade(lips, 0.55), 0.025 * unit)
    grain = noise.normal(0, 3, picture.shape)
    return np.asarray(np.clip(picture + grain, 0, 255), np.uint8)


def _shade(colour: tuple[int, int, int], by: float) -> tuple[int, int, int]:
    r, g, b = (round(value * by) for value in colour)
    return r, g, b


def _fixed(points: Array) -> NDArray[np.int32]:
    return np.rint(points * (1 << _SHIFT)).astype(np.int32)


def _fill(picture: NDArray[np.uint8], outline: Array, colour: Any) -> None:
    cv2.fillPoly(picture, [_fixed(outline)], colour, cv2.LINE_AA, _SHIFT)


def _line(picture: NDArray[np.uint8], points: Array, colour: Any, width: float) -> None:
    thickness = max(1, round(width))
    cv2.polylines(picture, [_fixed(points)], False, colour, thickness, cv2.LINE_AA, _SHIFT)


def _disc(picture: NDArray[np.uint8], centre: Array, radius: float, colour: Any) -> None:
    x, y = _fixed(centre).tolist()
    cv2.circle(picture, (x, y), round(radius * (1 << _SHIFT)), colour, -1, cv2.LINE_AA, _SHIFT)
