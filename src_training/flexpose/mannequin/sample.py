"""The sample itself: poses with their images, which are drawn when asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flexpose.errors import ConfigError
from flexpose.mannequin.body import pose_body
from flexpose.mannequin.motion import ACTIONS, clip_motion
from flexpose.mannequin.render import (
    SUPERSAMPLING,
    Camera,
    Colour,
    Raster,
    Solids,
    discs,
    floor_shadow,
    hit,
    rasterise,
    shade,
    solids,
)
from flexpose.mannequin.room import Room, build_room
from flexpose.poseset import PoseSet
from flexpose.skeleton import load_skeleton

Array = NDArray[np.floating[Any]]

NOISE = 0.011  # standard deviation of the sensor, of a range of 1

OWN_DEPTH: Mapping[str, float] = {
    "neck": 0.16, "head": 0.075, "pelvis": 0.19, "shoulder": 0.105, "elbow": 0.085, "wrist": 0.065,
    "hip": 0.175, "knee": 0.085, "ankle": 0.095,
}  # fmt: skip
"""Metres of its own flesh before a joint; with more than that before it, a joint is occluded."""

_FAIR, _LIGHT, _TAN = (0.95, 0.78, 0.67), (0.88, 0.68, 0.54), (0.76, 0.55, 0.41)
_BROWN, _DARK = (0.56, 0.39, 0.29), (0.42, 0.29, 0.22)
_BLACK_HAIR, _BROWN_HAIR, _CHESTNUT = (0.13, 0.11, 0.11), (0.30, 0.20, 0.14), (0.50, 0.31, 0.17)
_BLOND, _GREY, _RED = (0.84, 0.68, 0.40), (0.56, 0.55, 0.55), (0.55, 0.24, 0.13)
_PEOPLE = (
    (_FAIR, _BLOND), (_FAIR, _RED), (_FAIR, _BROWN_HAIR), (_LIGHT, _CHESTNUT),
    (_LIGHT, _BLACK_HAIR), (_LIGHT, _GREY), (_TAN, _BLACK_HAIR), (_TAN, _BROWN_HAIR),
    (_BROWN, _BLACK_HAIR), (_BROWN, _BROWN_HAIR), (_DARK, _BLACK_HAIR), (_DARK, _GREY),
)  # fmt: skip
"""Skin and hair."""
_SHIRT = ((0.20, 0.50, 0.52), (0.88, 0.67, 0.25), (0.84, 0.42, 0.36), (0.22, 0.30, 0.48),
          (0.56, 0.66, 0.50), (0.62, 0.52, 0.70), (0.55, 0.20, 0.26), (0.92, 0.89, 0.82),
          (0.36, 0.56, 0.76))  # fmt: skip
_TROUSERS = ((0.24, 0.25, 0.28), (0.28, 0.36, 0.50), (0.42, 0.43, 0.32), (0.70, 0.61, 0.49),
             (0.46, 0.50, 0.55), (0.20, 0.22, 0.33))  # fmt: skip
_SHOE = ((0.90, 0.90, 0.88), (0.23, 0.24, 0.27), (0.80, 0.33, 0.27), (0.27, 0.46, 0.66))


@dataclass(frozen=True)
class Clip:
    """A dressed person in motion: solids as one camera sees them, and their colours."""

    scene: Solids
    colours: dict[str, Colour]


@dataclass(frozen=True, eq=False)
class MannequinSample:
    """Poses of a mannequin in several actions, with an image for each.

    Attributes
    ----------
    poses : N poses of the skeleton body15; visibility 2, or 1 where the body or what it holds
        hides the joint; groups are the clips
    joints_3d : float64 (N, 15, 3) world metres, see the package's docstring
    camera : the camera, the same for all images
    """

    poses: PoseSet
    joints_3d: Array
    camera: Camera
    _seed: int = field(repr=False)
    _clips: tuple[Clip, ...] = field(repr=False)
    _room: Room = field(repr=False)

    def __len__(self) -> int:
        return len(self.poses)

    def image(self, index: int) -> NDArray[np.uint8]:
        """Draw an image, uint8 (H, W, 3) RGB; the same pixels whenever it is asked for.

        Raises
        ------
        IndexError : there is no such image.
        """
        clip, frame = self._at(index)
        noise = np.random.default_rng([self._seed, 2, index])
        return draw(self.camera, self._room, clip, frame, noise)

    def person_mask(self, index: int) -> NDArray[np.bool_]:
        """Bool (H, W): pixels of which the body (clothes and hair too) covers half or more."""
        clip, frame = self._at(index)
        return draw_mask(self.camera, clip, frame)

    def write(self, folder: Path | str) -> Path:
        """Write the images as PNG files and their keypoints as ``mannequin.coco.json``.

        Image ids become paths inside ``folder``, which is made when missing.

        Returns
        -------
        path of the COCO file
        """
        return write_sample(Path(folder), self.poses, self.image, "mannequin.coco.json")

    def _at(self, index: int) -> tuple[Clip, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"Found image {index}, expected 0 to {len(self) - 1}.")
        frames = len(self) // len(self._clips)
        return self._clips[index // frames], index % frames


def write_sample(
    folder: Path, poses: PoseSet, image: Callable[[int], NDArray[np.uint8]], name: str
) -> Path:
    """Write images as PNG files and their keypoints as a COCO file of this name; its path."""
    from flexpose.io.coco import write_coco

    for index, image_id in enumerate(poses.image_ids or ()):
        path = folder / image_id
        path.parent.mkdir(parents=True, exist_ok=True)
        _, png = cv2.imencode(".png", cv2.cvtColor(image(index), cv2.COLOR_RGB2BGR))
        path.write_bytes(png.tobytes())
    write_coco(poses, folder / name)
    return folder / name


def mannequin_frames(
    seed: int = 0, *, clips_per_action: int = 3, frames_per_clip: int = 24, image_size: int = 256
) -> MannequinSample:
    """Make the sample: eight actions, each in a few clips of consecutive frames.

    Clips differ in speed, amplitude, phase, side, heading and clothes; camera and room stay.

    Parameters
    ----------
    seed : decides everything; 0 or more
    image_size : width and height in pixels

    Raises
    ------
    ConfigError : a number is out of bounds.
    """
    for name, value, least in (
        ("seed", seed, 0),
        ("clips_per_action", clips_per_action, 1),
        ("frames_per_clip", frames_per_clip, 1),
        ("image_size", image_size, 32),
    ):
        if value < least:
            raise ConfigError(f"Found {name} = {value}, expected {least} or more.")
    camera = Camera(image_size)
    skeleton = load_skeleton("body15")
    clips, sets, joints_3d = [], [], []
    for number, (name, action) in enumerate(ACTIONS.items()):
        for take in range(clips_per_action):
            rng = np.random.default_rng([seed, 1, number, take])
            body = pose_body(clip_motion(action, rng, frames_per_clip))
            clip = Clip(solids(body.parts, camera.position), draw_outfit(rng))
            joints = np.stack([body.joints[joint] for joint in skeleton.joints], axis=1)
            joints_3d.append(joints)
            clips.append(clip)
            group = f"{name}_{take}"
            sets.append(
                PoseSet(
                    skeleton=skeleton,
                    keypoints=camera.project(joints)[..., :2].astype(np.float32),
                    visibility=visibility(camera, clip.scene, joints, skeleton.joints),
                    image_size=np.full((frames_per_clip, 2), image_size, dtype=np.int32),
                    boxes=body_boxes(camera, clip.scene),
                    image_ids=tuple(f"{group}/{i:03d}.png" for i in range(frames_per_clip)),
                    groups=(group,) * frames_per_clip,
                    source=(f"flexpose mannequin, seed {seed}",),
                )
            )
    room = build_room(camera, np.random.default_rng([seed, 0]))
    return MannequinSample(
        PoseSet.concat(sets), np.concatenate(joints_3d), camera, seed, tuple(clips), room
    )


def draw(
    camera: Camera, room: Room, clip: Clip, frame: int, noise: np.random.Generator
) -> NDArray[np.uint8]:
    """Picture of a person in a room, uint8 (H, W, 3) RGB; ``noise`` is the sensor's."""
    raster = rasterise(camera, clip.scene, frame)
    figure = _shrink(shade(raster, camera, clip.scene, clip.colours))
    dark = floor_shadow(camera, clip.scene, frame) * room.floor
    canvas = room.image * (1 - dark)[..., None]
    window = canvas[_window(raster)]
    window *= 1 - figure[..., 3:]
    window += figure[..., :3]
    canvas *= room.vignette
    canvas += noise.standard_normal(canvas.shape, dtype=np.float32) * np.float32(NOISE)
    return np.asarray(cv2.convertScaleAbs(np.maximum(canvas, 0), alpha=255), dtype=np.uint8)


def draw_mask(camera: Camera, clip: Clip, frame: int) -> NDArray[np.bool_]:
    """Bool (H, W): pixels of which the body covers half or more."""
    raster = rasterise(camera, clip.scene, frame)
    body = (raster.part >= 0) & ~clip.scene.held[raster.part]
    mask = np.zeros((camera.image_size, camera.image_size), dtype=bool)
    mask[_window(raster)] = _shrink(body.astype(np.float32)) >= 0.5
    return mask


def visibility(
    camera: Camera, scene: Solids, joints: Array, names: tuple[str, ...], girth: float = 1.0
) -> NDArray[np.int8]:
    """Int8 (F, J): 2, or 1 where a ray to the joint is stopped well before the joint.

    ``girth`` is how many times thicker than the sample's the person is.
    """
    seen = camera.project(joints)
    rays = np.swapaxes(camera.ray(seen[..., :2]), 1, 2)
    depth, _ = hit(scene.linear @ rays[:, None], scene.eye, scene.axis, scene.radii)
    own = girth * np.array([OWN_DEPTH[name.split("_")[-1]] for name in names])
    return np.where(seen[..., 2] - depth.min(axis=1) > own, 1, 2).astype(np.int8)


def body_boxes(camera: Camera, scene: Solids) -> Array:
    """(F, 4) boxes around the body's spheres, cut at the image's edges."""
    low, high = discs(camera, scene.ends[:, ~scene.held], scene.radii[~scene.held])
    last = camera.image_size - 1
    corner = np.clip(low.min(axis=(1, 2)), 0, last)
    return np.concatenate([corner, np.clip(high.max(axis=(1, 2)), 0, last) - corner], axis=-1)


def draw_outfit(rng: np.random.Generator) -> dict[str, Colour]:
    """Colours of a person and the clothes; short or long sleeves."""

    def pick(palette: tuple[Colour, ...]) -> Colour:
        return palette[rng.integers(len(palette))]

    def darker(colour: Colour, factor: float) -> Colour:
        return (colour[0] * factor, colour[1] * factor, colour[2] * factor)

    skin, hair = _PEOPLE[rng.integers(len(_PEOPLE))]
    shirt, shoe = pick(_SHIRT), pick(_SHOE)
    sleeve = shirt if rng.random() < 0.4 else skin
    trousers = pick(_TROUSERS)
    return {
        "skin": skin,
        "hair": hair,
        "eye": (0.13, 0.11, 0.12),
        "mouth": (skin[0] * 0.78, skin[1] * 0.56, skin[2] * 0.56),
        "shirt": shirt,
        "collar": darker(shirt, 0.82),
        "sleeve": sleeve,
        "trousers": trousers,
        "shin": trousers,
        "sock": (0.88, 0.87, 0.85),
        "shoe": shoe,
        "sole": (0.95, 0.95, 0.93) if shoe[0] < 0.85 else (0.55, 0.56, 0.58),
        "rubber": (0.16, 0.16, 0.18),
        "steel": (0.76, 0.78, 0.80),
    }


def _window(raster: Raster) -> tuple[slice, slice]:
    """The rows and columns of the image that a raster covers."""
    top, left = raster.top // SUPERSAMPLING, raster.left // SUPERSAMPLING
    h, w = (n // SUPERSAMPLING for n in raster.depth.shape)
    return slice(top, top + h), slice(left, left + w)


def _shrink(fine: Array) -> Array:
    """Supersampled (h, w) or (h, w, c) to pixels of the image, each the mean of its samples."""
    h, w = (n // SUPERSAMPLING for n in fine.shape[:2])
    return np.asarray(cv2.resize(fine, (w, h), interpolation=cv2.INTER_AREA))
