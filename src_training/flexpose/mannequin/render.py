"""Camera, ray caster and light: solids become pixels, each with an exact depth.

A part is the union of the spheres between its two ends. In the part's squashed frame a ray
``o + s d`` touches the sphere at share ``t`` where ``|o + s d - t b|^2 = (r0 + t (r1 - r0))^2``;
the surface is where the derivative by ``t`` vanishes too, which leaves a quadratic in ``s``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flexpose.mannequin.body import Part

Array = NDArray[np.floating[Any]]
Colour = tuple[float, float, float]

SUPERSAMPLING = 2
LIGHT = np.array([-0.45, -0.62, 1.0]) / np.linalg.norm([-0.45, -0.62, 1.0])


@dataclass(frozen=True)
class Camera:
    """Pinhole camera that looks down from above head height; pixel (0, 0) is a pixel's centre."""

    image_size: int
    position: tuple[float, float, float] = (0.45, -4.7, 2.75)
    target: tuple[float, float, float] = (0.0, 0.0, 0.99)
    zoom: float = 1.96  # focal length in image sizes

    @cached_property
    def axes(self) -> Array:
        """(3, 3), rows: right, down and forward in the world."""
        forward = np.subtract(self.target, self.position)
        forward = forward / np.linalg.norm(forward)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right = right / np.linalg.norm(right)
        return np.stack([right, np.cross(forward, right), forward])

    def project(self, points: Array) -> Array:
        """World points (..., 3) to pixels and depth (..., 3): x, y, metres along the axis."""
        local = (points - np.array(self.position)) @ self.axes.T
        depth = local[..., 2:]
        centre = (self.image_size - 1) / 2
        return np.concatenate(
            [local[..., :2] / depth * self.zoom * self.image_size + centre, depth], axis=-1
        )

    def ray(self, pixels: Array) -> Array:
        """Directions (..., 3) through pixels (..., 2), of depth 1."""
        centre = (self.image_size - 1) / 2
        local = (pixels - centre) / (self.zoom * self.image_size)
        return np.concatenate([local, np.ones_like(local[..., :1])], axis=-1) @ self.axes

    @cached_property
    def fine_rays(self) -> Array:
        """float32 (3, H, W): the rays of the supersampled image."""
        n = SUPERSAMPLING * self.image_size
        grid = (np.arange(n) + 0.5) / SUPERSAMPLING - 0.5
        rays = self.ray(np.stack(np.meshgrid(grid, grid), axis=-1)).astype(np.float32)
        return np.ascontiguousarray(np.moveaxis(rays, -1, 0))


@dataclass(frozen=True)
class Solids:
    """Parts of F frames, ready for rays from one eye; (F, P, ...) arrays in squashed frames.

    Attributes
    ----------
    linear : (F, P, 3, 3) world directions to the part's frame
    eye : (F, P, 3) from the part's start to the eye
    axis : (F, P, 3) from start to end
    radii : (P, 2) metres
    ends : (F, P, 2, 3) sphere centres in the world
    paints : for each part its material, where it changes, and to what
    held : bool (P,)
    """

    linear: Array
    eye: Array
    axis: Array
    radii: Array
    ends: Array
    paints: list[tuple[str, float, str]]
    held: NDArray[np.bool_]


def solids(parts: Sequence[Part], position: Sequence[float]) -> Solids:
    """Gather parts for the rays of an eye at ``position``."""
    frames = len(parts[0].start)
    linear = np.empty((frames, len(parts), 3, 3))
    for i, part in enumerate(parts):
        axes = np.eye(3) if part.frame is None else np.swapaxes(part.frame, 1, 2)
        linear[:, i] = axes / np.array(part.squash)[:, None]
    ends = np.stack([np.stack([part.start, part.end], axis=1) for part in parts], axis=1)
    return Solids(
        linear=linear,
        eye=np.einsum("fpij,fpj->fpi", linear, np.array(position) - ends[:, :, 0]),
        axis=np.einsum("fpij,fpj->fpi", linear, ends[:, :, 1] - ends[:, :, 0]),
        radii=np.array([part.radii for part in parts]),
        ends=ends,
        paints=[part.paint for part in parts],
        held=np.array([part.held for part in parts]),
    )


def hit(rays: Array, eye: Array, axis: Array, radii: Array) -> tuple[Array, Array]:
    """First hit of rays with tapered capsules.

    Parameters
    ----------
    rays : (..., 3, N) directions in the capsule's frame, of any length
    eye, axis : (..., 3) from the capsule's start to the rays' origin, and to its end
    radii : (..., 2)

    Returns
    -------
    (..., N) multiples of the ray's direction, infinite where it misses; and shares of the axis
    """
    r0, r1 = radii[..., 0], radii[..., 1]
    bb = (axis * axis).sum(-1)
    dr = r1 - r0
    ob, oo = (eye * axis).sum(-1), (eye * eye).sum(-1)

    def spread(value: Array) -> Array:
        return np.asarray(value, dtype=rays.dtype)[..., None]

    dd = (rays * rays).sum(axis=-2)
    do = (eye[..., None, :].astype(rays.dtype) @ rays)[..., 0, :]
    k = np.where(bb > dr**2, bb - dr**2, np.inf)  # one end swallows the other: no cone between
    m = ob + r0 * dr
    with np.errstate(invalid="ignore", divide="ignore"):
        best = _entry(dd, do, spread(oo - r0**2))
        share = np.zeros_like(best)
        if not bb.any():
            return best, share
        db = (axis[..., None, :].astype(rays.dtype) @ rays)[..., 0, :]
        end = _entry(dd, do - db, spread(oo - 2 * ob + bb - r1**2))
        share[end < best] = 1
        best = np.minimum(best, end)
        k_, m_ = spread(k), spread(m)
        side = _entry(dd - db * db / k_, do - db * (m_ / k_), spread(oo - r0**2 - m * m / k))
        t = (m_ + side * db) / k_
        closer = (t >= 0) & (t <= 1) & (side < best)
    return np.where(closer, side, best), np.where(closer, t, share)


def _entry(a: Array, b: Array, c: Array) -> Array:
    """Root at which ``a s^2 + 2 b s + c`` falls through 0, infinite where there is none ahead."""
    root = (-b - np.sqrt(b * b - a * c)) / a
    return np.where(root > 0, root, np.float32(np.inf))


@dataclass(frozen=True)
class Raster:
    """What the rays of a rectangle of the supersampled image hit.

    Attributes
    ----------
    top, left : place of the rectangle, supersampled pixels
    depth : float32 (h, w) metres along the camera's axis, infinite where nothing is
    part : int16 (h, w) index of the part, -1 where nothing is
    share : float32 (h, w) how far along the part, 0-1
    normal : float32 (3, h, w) outward in the world, of any length
    """

    top: int
    left: int
    depth: Array
    part: NDArray[np.int16]
    share: Array
    normal: Array


def rasterise(camera: Camera, scene: Solids, frame: int) -> Raster:
    """Cast the rays of one frame; the nearest part wins each pixel."""
    outlines = _outlines(camera, scene, frame)
    every = np.concatenate(outlines)
    limit = SUPERSAMPLING * camera.image_size
    # whole pixels of the final image, so that shrinking needs no padding
    x0, y0 = np.clip(every.min(axis=0) // SUPERSAMPLING * SUPERSAMPLING, 0, limit)
    x1, y1 = np.clip((every.max(axis=0) // SUPERSAMPLING + 1) * SUPERSAMPLING, x0 + 2, limit)
    shape = (int(y1 - y0), int(x1 - x0))
    rays = camera.fine_rays[:, y0:y1, x0:x1].reshape(3, -1)
    depth = np.full(rays.shape[1], np.inf, np.float32)
    part = np.full(rays.shape[1], -1, np.int16)
    share = np.zeros(rays.shape[1], np.float32)
    normal = np.zeros_like(rays)
    for i, outline in enumerate(outlines):
        at = _inside((outline - [x0, y0]).astype(np.int32), shape)
        linear = scene.linear[frame, i].astype(np.float32)
        local = linear @ rays.take(at, axis=1)
        eye, axis = scene.eye[frame, i], scene.axis[frame, i]
        s, t = hit(local, eye, axis, scene.radii[i])
        near = np.flatnonzero(s < depth.take(at))
        at, s, t = at[near], s[near], t[near]
        surface = local.take(near, axis=1) * s + eye[:, None].astype(np.float32)
        surface -= t * axis[:, None].astype(np.float32)
        depth[at], part[at], share[at] = s, i, t
        normal[:, at] = linear.T @ surface
    return Raster(
        int(y0), int(x0), depth.reshape(shape), part.reshape(shape), share.reshape(shape),
        normal.reshape(3, *shape),
    )  # fmt: skip


def _outlines(camera: Camera, scene: Solids, frame: int) -> list[NDArray[np.int32]]:
    """For each part a convex polygon (K, 2) that holds it, in whole supersampled pixels."""
    low, high = discs(camera, scene.ends[frame], scene.radii)
    centre, size = (low + high) / 2, (high - low) / 2
    # an octagon around a circle reaches 1.083 radii out; a little more for rounding
    corners = centre[..., None, :] + (size[..., None, :] * 1.083 + 0.3) * _OCTAGON
    pixels = np.round((corners + 0.5) * SUPERSAMPLING - 0.5).astype(np.int32)
    return [cv2.convexHull(points.reshape(-1, 2))[:, 0] for points in pixels]


_TURNS = (np.arange(8) + 0.5) * np.pi / 4
_OCTAGON = np.stack([np.cos(_TURNS), np.sin(_TURNS)], axis=1)


def _inside(polygon: NDArray[np.int32], shape: tuple[int, int]) -> NDArray[np.intp]:
    """Flat indices of the pixels of an image of ``shape`` inside a convex polygon."""
    mask = np.zeros(shape, np.uint8)
    cv2.fillConvexPoly(mask, polygon, 1.0)
    return np.flatnonzero(mask.view(bool))


def discs(camera: Camera, centres: Array, radii: Array) -> tuple[Array, Array]:
    """Low and high corners (..., 2), in pixels, of boxes around spheres (..., 3)."""
    seen = camera.project(centres)
    # a sphere off the axis is stretched a little; its nearer depth more than makes up for it
    size = (camera.zoom * camera.image_size * 1.03 * radii / (seen[..., 2] - radii))[..., None]
    return seen[..., :2] - size, seen[..., :2] + size


def shade(
    raster: Raster, camera: Camera, scene: Solids, colours: Mapping[str, Colour]
) -> NDArray[np.float32]:
    """Light a raster: float32 (h, w, 4), colours of 0-1, black where nothing is; and cover."""
    at = np.flatnonzero(raster.part >= 0)
    part = raster.part.ravel()[at]
    normal = raster.normal.reshape(3, -1).take(at, axis=1)
    normal /= np.sqrt((normal * normal).sum(axis=0))
    changes = np.array([change for _, change, _ in scene.paints], np.float32)
    palette = np.array([colours[m] for a, _, b in scene.paints for m in (a, b)], np.float32)
    second = raster.share.ravel()[at] >= changes[part]
    ambient = 0.45 + 0.11 * normal[2]
    ambient += 0.1 * np.maximum(-camera.axes[2].astype(np.float32) @ normal, 0)
    ambient *= 1 - 0.55 * _crowding(raster).ravel()[at]
    sun = 0.62 * np.maximum(LIGHT.astype(np.float32) @ normal, 0)
    light = np.stack([0.97 * ambient + 1.06 * sun, ambient + sun, 1.05 * ambient + 0.92 * sun], 1)
    out = np.zeros((*raster.part.shape, 4), np.float32)
    flat = out.reshape(-1, 4)
    flat[at, :3] = palette.take(2 * part + second, axis=0) * light
    flat[at, 3] = 1
    return out


def _crowding(raster: Raster) -> Array:
    """How far (0-1) each pixel lies behind the parts around it: a cheap ambient occlusion."""
    cover = (raster.part >= 0).astype(np.float32)
    depth = np.where(cover > 0, raster.depth, np.float32(0))
    width = max(3, cover.shape[0] // 14) | 1
    nearby = cv2.blur(depth, (width, width)) / np.maximum(cv2.blur(cover, (width, width)), 1e-3)
    return np.asarray(np.clip((depth - nearby) / 0.12, 0, 1))


def floor_shadow(camera: Camera, scene: Solids, frame: int) -> Array:
    """float32 (H, W): share of light, 0-1, that the figure takes from the floor."""
    size = camera.image_size
    centres, radii = scene.ends[frame], scene.radii
    ring = np.concatenate([_OCTAGON, np.zeros((8, 1))], axis=1) * radii[..., None, None]
    height = centres[..., 2:]
    away = (centres - height * LIGHT / LIGHT[2])[..., None, :] + ring
    below = (centres * [1, 1, 0])[..., None, :] + 0.9 * ring
    away, below = (
        np.round(camera.project(p.reshape(len(p), -1, 3))[..., :2] * 16).astype(np.int32)
        for p in (away, below)
    )
    cast = np.zeros((size, size), np.uint8)
    touch = np.zeros((size, size), np.uint8)
    lowest = height.min(axis=(1, 2))
    near = 255 * np.exp(-np.maximum(lowest - 0.02, 0) / 0.16)
    for i in np.argsort(-lowest):
        cv2.fillConvexPoly(cast, cv2.convexHull(away[i]), 255.0, cv2.LINE_AA, 4)
        cv2.fillConvexPoly(touch, cv2.convexHull(below[i]), float(int(near[i])), cv2.LINE_AA, 4)
    soft = size / 256
    lit = 1 - cv2.GaussianBlur(cast, (0, 0), 1.6 * soft) * np.float32(0.34 / 255)
    lit *= 1 - cv2.GaussianBlur(touch, (0, 0), 1.9 * soft) * np.float32(0.5 / 255)
    return np.asarray(1 - lit, dtype=np.float32)
