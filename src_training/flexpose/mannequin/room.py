"""The room the mannequin moves in: a wall, a floor and a few things to train with."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flexpose.mannequin.body import Part
from flexpose.mannequin.render import (
    SUPERSAMPLING,
    Camera,
    Colour,
    floor_shadow,
    rasterise,
    shade,
    solids,
)

Array = NDArray[np.floating[Any]]

WALL = 2.35  # metres from the person to the wall

LOOKS: tuple[dict[str, Colour], ...] = (
    {"wall": (0.84, 0.82, 0.77), "low": (0.62, 0.69, 0.67), "floor": (0.72, 0.56, 0.40),
     "mat": (0.30, 0.45, 0.52), "ball": (0.86, 0.46, 0.34)},
    {"wall": (0.80, 0.84, 0.86), "low": (0.48, 0.58, 0.68), "floor": (0.66, 0.60, 0.53),
     "mat": (0.52, 0.40, 0.48), "ball": (0.92, 0.74, 0.36)},
    {"wall": (0.88, 0.84, 0.78), "low": (0.76, 0.62, 0.52), "floor": (0.60, 0.50, 0.42),
     "mat": (0.34, 0.48, 0.40), "ball": (0.42, 0.60, 0.74)},
)  # fmt: skip


@dataclass(frozen=True)
class Decor:
    """What makes one room differ from another.

    Attributes
    ----------
    look : colours of wall, floor, mat and ball
    side : 1, or -1 for the mirror image
    shift : metres by which the window and the pictures stand further to that side
    props : which of the things stand there, see ``_things``
    """

    look: Mapping[str, Colour]
    side: float = 1.0
    shift: float = 0.0
    props: tuple[bool, ...] = (True,) * 5

    @staticmethod
    def draw(rng: np.random.Generator) -> Decor:
        """Any colours, either side, most of the things."""

        def colour(hue: float, saturation: tuple[float, float], value: tuple[float, float]) -> Any:
            return colorsys.hsv_to_rgb(hue, rng.uniform(*saturation), rng.uniform(*value))

        look = {
            "wall": colour(rng.random(), (0.02, 0.18), (0.74, 0.92)),
            "low": colour(rng.random(), (0.08, 0.36), (0.46, 0.76)),
            "floor": colour(rng.uniform(0.04, 0.14), (0.12, 0.45), (0.45, 0.76)),
            "mat": colour(rng.random(), (0.15, 0.5), (0.3, 0.6)),
            "ball": colour(rng.random(), (0.45, 0.7), (0.7, 0.95)),
        }
        side = 1.0 if rng.random() < 0.5 else -1.0
        props = tuple((rng.random(5) < 0.7).tolist())
        return Decor(look, side, rng.uniform(-0.5, 0.9), props)


@dataclass(frozen=True)
class Room:
    """The picture behind the person.

    Attributes
    ----------
    image : float32 (H, W, 3), colours of 0-1
    floor : float32 (H, W), 1 where the floor is seen
    vignette : float32 (H, W, 1), what the lens lets through, 1 in the middle
    """

    image: Array
    floor: Array
    vignette: Array


def build_room(camera: Camera, rng: np.random.Generator, decor: Decor | None = None) -> Room:
    """Paint the empty room as the camera sees it; without a ``decor``, in one of ``LOOKS``."""
    decor = decor or Decor(LOOKS[rng.integers(len(LOOKS))])
    look = decor.look
    rays = camera.fine_rays
    x0, y0, z0 = camera.position
    with np.errstate(divide="ignore"):
        to_wall = (WALL - y0) / rays[1]
        to_floor = np.where(rays[2] < 0, -z0 / rays[2], np.inf)
    on_floor = to_floor < to_wall
    reach = np.where(on_floor, to_floor, to_wall)
    x = (x0 + reach * rays[0]).astype(np.float32)
    y = (y0 + reach * rays[1]).astype(np.float32)
    z = (z0 + reach * rays[2]).astype(np.float32)
    wall = _wall(np.float32(decor.side) * x - np.float32(decor.shift), z, look)
    colour = np.where(on_floor[..., None], _floor(x, y, look, rng), wall)
    things = solids(_things(decor), camera.position)
    fine = camera.image_size * SUPERSAMPLING
    dark = cv2.resize(floor_shadow(camera, things, 0), (fine, fine))
    colour *= 1 - (dark * on_floor)[..., None]
    raster = rasterise(camera, things, 0)
    lit = shade(raster, camera, things, {**look, **_MATERIALS})
    h, w = raster.part.shape
    window = (slice(raster.top, raster.top + h), slice(raster.left, raster.left + w))
    placed = raster.part >= 0
    colour[window][placed] = lit[placed, :3]
    on_floor[window] &= ~placed
    size = (camera.image_size, camera.image_size)
    image = cv2.resize(colour.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    floor = cv2.resize(on_floor.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return Room(
        np.asarray(image, dtype=np.float32),
        np.asarray(floor, dtype=np.float32),
        _vignette(camera.image_size),
    )


_MATERIALS: dict[str, Colour] = {
    "wood": (0.80, 0.63, 0.43),
    "iron": (0.24, 0.25, 0.28),
    "roller": (0.36, 0.38, 0.44),
    "leather": (0.52, 0.35, 0.26),
    "grip": (0.70, 0.71, 0.73),
}


def _vignette(size: int) -> Array:
    edge = np.linspace(-1, 1, size, dtype=np.float32) ** 2
    return 1 - np.float32(0.11) * (edge[:, None] + edge[None, :])[..., None]


def _floor(x: Array, y: Array, look: Mapping[str, Colour], rng: np.random.Generator) -> Array:
    """Planks, a mat, and the dusk at the foot of the wall."""
    row = np.floor(y / 0.16).astype(int)
    column = np.floor(x / 1.3 + (row * 0.37) % 1).astype(int)
    tone = rng.uniform(0.93, 1.05, (64, 16))[row % 64, column % 16]
    tone *= 1 + 0.025 * np.sin(40 * y + 9 * np.sin(1.7 * x + 5.1 * row))
    seam = np.minimum(np.mod(y / 0.16, 1), 1 - np.mod(y / 0.16, 1)) * 0.16
    tone *= 1 - 0.22 * np.exp(-((seam / 0.007) ** 2))
    colour = np.array(look["floor"]) * tone[..., None]
    # rounded rectangle: the distance outside its core
    edge = np.hypot(np.maximum(np.abs(x) - 1.0, 0), np.maximum(np.abs(y + 0.03) - 0.72, 0)) - 0.12
    on_mat = np.clip(0.5 - edge / 0.012, 0, 1)
    rim = 1 - 0.18 * np.exp(-(((edge + 0.05) / 0.012) ** 2))
    shadow = 1 - 0.22 * np.exp(-np.maximum(edge, 0) / 0.03)
    colour = colour * shadow[..., None] * (1 - on_mat[..., None])
    colour += np.array(look["mat"]) * (rim * on_mat)[..., None]
    dusk = 1 - 0.30 * np.exp(-np.maximum(WALL - y, 0) / 0.28)
    near = 0.90 + 0.10 * np.clip((y + 1.6) / 3, 0, 1)
    return np.asarray(colour * (dusk * near)[..., None])


def _wall(x: Array, z: Array, look: Mapping[str, Colour]) -> Array:
    """Two-tone plaster with a rail, a skirting board, a window and two pictures."""
    colour = np.where((z < 0.95)[..., None], np.array(look["low"]), np.array(look["wall"]))
    colour = colour * (1 + 0.012 * np.sin(23 * x + 4 * np.sin(9 * z)) * np.sin(19 * z))[..., None]

    def band(low: float, high: float, paint: Colour) -> None:
        colour[(z >= low) & (z < high)] = paint

    def panel(left: float, right: float, low: float, high: float, paint: Any) -> None:
        inside = (x >= left) & (x < right) & (z >= low) & (z < high)
        colour[inside] = paint[inside] if isinstance(paint, np.ndarray) else paint

    band(0.93, 0.98, (0.93, 0.92, 0.90))
    band(0.0, 0.11, (0.93, 0.92, 0.90))
    band(0.105, 0.115, (0.70, 0.69, 0.67))
    panel(-1.98, -0.92, 1.12, 2.3, (0.95, 0.95, 0.94))
    sky = (
        np.array([0.72, 0.84, 0.93])
        + np.array([0.18, 0.1, 0.04]) * np.clip((2.2 - z) / 1.1, 0, 1)[..., None]
    )
    panel(-1.92, -1.47, 1.18, 2.3, sky)
    panel(-1.43, -0.98, 1.18, 2.3, sky)
    panel(-2.02, -0.88, 1.08, 1.13, (0.87, 0.86, 0.84))
    panel(0.30, 0.72, 1.20, 1.62, (0.30, 0.32, 0.35))
    panel(0.325, 0.695, 1.225, 1.595, (0.93, 0.90, 0.84))
    round_ = np.hypot(x - 0.51, z - 1.41) < 0.11
    colour[round_] = look["ball"]
    colour[round_ & (z < 1.40)] = look["mat"]
    light = 0.86 + 0.14 * np.clip((z - 0.1) / 1.4, 0, 1)
    light *= 1.04 - 0.06 * np.clip((x + 2) / 4, 0, 1)
    return np.asarray(colour * (light * (1 - 0.2 * np.exp(-z / 0.10)))[..., None])


def _things(decor: Decor) -> list[Part]:
    """Of wall bars, a gym ball, a leather ball, a roller and a dumbbell, those that are there."""

    def rod(a: tuple[float, ...], b: tuple[float, ...], radius: float, material: str) -> Part:
        mirror = np.array([decor.side, 1.0, 1.0])
        ends = (mirror * np.array([a], dtype=float), mirror * np.array([b], dtype=float))
        return Part(*ends, (radius, radius), (material, 1.0, material))

    bars = [rod((0.96, WALL - 0.14, z), (1.64, WALL - 0.14, z), 0.022, "wood")
            for z in np.arange(0.22, 2.3, 0.19)]  # fmt: skip
    posts = [rod((x, WALL - 0.1, 0.0), (x, WALL - 0.1, 2.4), 0.035, "wood") for x in (0.96, 1.64)]
    weights = [rod((1.22 + d, 1.15, 0.07), (1.25 + d, 1.13, 0.07), 0.07, "iron") for d in (0, 0.25)]
    props = (
        [*bars, *posts],
        [rod((-1.22, 1.55, 0.33), (-1.22, 1.55, 0.33), 0.33, "ball")],
        [rod((-0.62, 1.75, 0.15), (-0.62, 1.75, 0.15), 0.15, "leather")],
        [rod((0.12, 1.85, 0.085), (0.62, 1.80, 0.085), 0.085, "roller")],
        [rod((1.22, 1.15, 0.07), (1.5, 1.13, 0.07), 0.018, "grip"), *weights],
    )
    return [part for prop, there in zip(props, decor.props, strict=True) if there for part in prop]
